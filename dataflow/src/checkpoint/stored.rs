//! [`Stored`]: how the state of a stage is stored: which of its [objects](Object) are in which file.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use updraft_checkpoint::file::Reader;
use updraft_checkpoint::{Error as StoreError, File, Folder};
use updraft_kernel::yield_point;

use super::spool::Waiting;
use crate::snapshot::{Object, Saved};
use crate::source::Error;
use crate::stage::KeyGroup;
use crate::time::{Epoch, Punctuation, Time};

/// What is noted of a stage.
#[derive(Serialize, Deserialize)]
pub(crate) struct StageNote {
    watermark: Time,
    now: Time,
    /// Of its objects, the first and the last of each run of numbers.
    objects: Vec<(u64, u64)>,
}

impl StageNote {
    /// Of one that was made of these at the end of an epoch.
    pub(crate) fn new(at: Punctuation, objects: &BTreeSet<Object>) -> Self {
        let mut runs = Vec::<(u64, u64)>::new();
        for Object(number) in objects {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *number => *last = *number,
                _ => runs.push((*number, *number)),
            }
        }
        Self { watermark: at.watermark, now: at.now, objects: runs }
    }

    /// How many objects there are.
    pub(super) fn count(&self) -> u64 {
        self.objects.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Whether it is made of an object.
    pub(super) fn has(&self, Object(number): Object) -> bool {
        let at = self.objects.partition_point(|(first, _)| *first <= number);
        at > 0 && number <= self.objects[at - 1].1
    }

    /// What closed that epoch.
    pub(super) fn at(&self, epoch: Epoch) -> Punctuation {
        Punctuation { epoch, watermark: self.watermark, now: self.now }
    }
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Oldest first; in each, objects that are younger than those before.
    files: Vec<(File, BTreeSet<Object>)>,
    /// What is not in a file yet.
    pending: Waiting,
    /// What the state is made of.
    objects: BTreeSet<Object>,
}

impl Stored {
    /// Takes in what has come since, and what the state is made of now.
    pub(super) fn take(&mut self, saved: Waiting, objects: BTreeSet<Object>) {
        self.pending.extend(saved);
        self.pending.retain(|object| objects.contains(&object));
        self.objects = objects;
    }

    /// Bytes of memory that what is not stored yet takes.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.bytes()
    }

    /// Writes what is pending to a file, and forgets files of which nothing is needed: how many bytes were written. After an
    /// error all is as it was before.
    pub(super) async fn write(&mut self, folder: &mut Folder) -> Result<u64, StoreError> {
        self.files.retain(|(_, objects)| !objects.is_disjoint(&self.objects));
        if self.pending.is_empty() {
            return Ok(0);
        }
        let mut writer = folder.create();
        let name = writer.name().to_owned();
        let write = async {
            for saved in self.pending.in_order() {
                let (object, groups, bytes) = saved.map_err(|error| unread(&name, error))?;
                writer.write(groups.start().0, &[head_of(object, groups, bytes.len()), bytes]).await?;
                // It is on a kernel that has other work, too.
                yield_point();
            }
            writer.finish().await
        };
        let file = write.await.inspect_err(|_| folder.abandon(&name))?;
        let (bytes, objects) = (file.bytes, self.pending.objects().collect());
        self.pending = Waiting::default();
        self.files.push((file, objects));
        Ok(bytes)
    }

    /// The files that it is made of, oldest first.
    pub(super) fn files(&self) -> Vec<File> {
        self.files.iter().map(|(file, _)| file.clone()).collect()
    }

    /// As it was stored; which objects are in which file is known when they have been [read](Reading).
    pub(super) fn of(files: Vec<File>, note: &StageNote) -> Self {
        let objects = note.objects.iter().flat_map(|(first, last)| (*first..=*last).map(Object)).collect();
        let files = files.into_iter().map(|file| (file, BTreeSet::new())).collect();
        Self { files, pending: Waiting::default(), objects }
    }

    /// The number of the next object.
    pub(super) fn next_object(&self) -> u64 {
        self.objects.last().map_or(0, |last| last.0 + 1)
    }

    /// Reads all records that the state is made of.
    pub(super) fn reading<'a>(&'a mut self, folder: &'a Folder) -> Reading<'a> {
        Reading { stored: self, folder, through: Through::default() }
    }
}

/// What was to be written to a file could not be read back from where it waited.
fn unread(name: &str, error: std::io::Error) -> StoreError {
    let source = object_store::Error::Generic { store: "spilled state", source: error.into() };
    StoreError::Store { what: "cannot read back what is to be written to", path: name.into(), source }
}

/// What stands before the bytes of a record: with them it is as [`Saved`] is serialised.
fn head_of(object: Object, groups: &RangeInclusive<KeyGroup>, length: usize) -> Bytes {
    let head = postcard::to_allocvec(&(object, groups, length));
    head.unwrap_or_else(|error| unreachable!("numbers can be serialised: {error}")).into()
}

/// How far somebody has read the records of files that follow each other, a bounded number of bytes at a time.
#[derive(Default)]
pub(super) struct Through {
    file: usize,
    reader: Option<Reader>,
}

impl Through {
    /// The next record, and the number of the file that it is in; none at the end. `file` gives those that there are, and `open`
    /// opens one.
    pub(super) async fn next<'a>(
        &mut self,
        file: impl Fn(usize) -> Option<&'a File>,
        open: impl AsyncFn(&File) -> Result<Reader, StoreError>,
    ) -> Result<Option<(usize, Saved)>, Error> {
        while let Some(of) = file(self.file) {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                none => none.insert(open(of).await?),
            };
            if let Some(bytes) = reader.next_record().await? {
                return Ok(Some((self.file, postcard::from_bytes(&bytes)?)));
            }
            (self.file, self.reader) = (self.file + 1, None);
        }
        Ok(None)
    }
}

/// Reads the records of what is stored.
pub(super) struct Reading<'a> {
    stored: &'a mut Stored,
    folder: &'a Folder,
    through: Through,
}

impl Reading<'_> {
    /// The next record; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Saved>, Error> {
        let Self { stored, folder, through } = self;
        while let Some((file, saved)) = through
            .next(|file| stored.files.get(file).map(|(file, _)| file), async |file| folder.read(file).await)
            .await?
        {
            if stored.objects.contains(&saved.object) {
                stored.files[file].1.insert(saved.object);
                return Ok(Some(saved));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_is_written_as_it_is_read(object: u64, first: u8, last: u8, bytes: Vec<u8>) {
            let groups = KeyGroup(first)..=KeyGroup(last);
            let written = [&*head_of(Object(object), &groups, bytes.len()), &bytes].concat();
            let saved = Saved { object: Object(object), groups, bytes };
            prop_assert_eq!(postcard::from_bytes::<Saved>(&written).ok(), Some(saved));
        }
    }
}
