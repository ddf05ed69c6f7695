//! [`Archive`]: the checkpoints of a folder, for who looks at them or copies one: a process that runs the job is not disturbed.

use std::collections::BTreeSet;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;

use crate::file::{Reader, Writer};
use crate::log::{Entry, Log, delete};
use crate::{Error, File, Manifest};

/// See the module's page. What is found may be gone a moment later, when the job has taken another checkpoint.
#[derive(Debug)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    root: Path,
    data: Path,
    log: Log,
}

/// A checkpoint of an archive.
#[derive(Clone, PartialEq, Debug)]
pub struct Kept {
    /// Its number.
    pub number: u64,
    /// That of the process that has taken it.
    pub attempt: u64,
    /// What it is made of.
    pub manifest: Manifest,
}

/// What was copied.
#[derive(Debug)]
pub struct Copied {
    /// The number of the checkpoint, where it is from.
    pub number: u64,
    /// What the copy is made of.
    pub manifest: Manifest,
    /// Why newer ones were not copied.
    pub damaged: Vec<Error>,
}

impl Archive {
    /// The folder `root` of a store.
    pub fn new(store: Arc<dyn ObjectStore>, root: &Path) -> Self {
        let [log, data] = ["log", "data"].map(|part| root.clone().join(part));
        Self { log: Log::reading(store.clone(), log), root: root.clone(), data, store }
    }

    /// The folder `root` itself, if it holds checkpoints, or the folders in it that do, by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn all_in(store: &Arc<dyn ObjectStore>, root: &Path) -> Result<Vec<(String, Self)>, Error> {
        let own = Self::new(store.clone(), root);
        if !own.log.numbers().await?.is_empty() {
            return Ok(vec![(String::new(), own)]);
        }
        let list = store.list_with_delimiter(Some(root)).await.map_err(Error::store("cannot list", root))?;
        let mut all = Vec::new();
        for folder in list.common_prefixes {
            let archive = Self::new(store.clone(), &folder);
            if !archive.log.numbers().await?.is_empty() {
                all.push((folder.filename().unwrap_or_default().to_owned(), archive));
            }
        }
        Ok(all)
    }

    /// All checkpoints, oldest first, and why some cannot be read.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn checkpoints(&self) -> Result<(Vec<Kept>, Vec<Error>), Error> {
        let (mut kept, mut damaged) = (Vec::new(), Vec::new());
        for number in self.log.numbers().await? {
            match self.checkpoint(number).await {
                Ok(checkpoint) => kept.extend(checkpoint),
                Err(error) => damaged.push(error.damage()?),
            }
        }
        Ok((kept, damaged))
    }

    /// The one of a number; none where there is none, or it has been deleted meanwhile.
    ///
    /// # Errors
    /// When the store fails, or it is damaged.
    pub async fn checkpoint(&self, number: u64) -> Result<Option<Kept>, Error> {
        match self.log.entry(number).await {
            Ok(Entry { attempt, checkpoint }) => Ok(checkpoint.map(|manifest| Kept { number, attempt, manifest })),
            Err(Error::Store { source: object_store::Error::NotFound { .. }, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a file of a checkpoint.
    ///
    /// # Errors
    /// When the store fails, or the file is not there.
    pub async fn read(&self, file: &File) -> Result<Reader, Error> {
        Reader::open(self.store.clone(), self.data.clone().join(&*file.name), file.clone()).await
    }

    /// Copies the newest checkpoint that is whole to `to`, where there must be none, under the number that `renumber` makes of
    /// its own. All checksums are verified. The copy exists when all of it is there.
    ///
    /// # Errors
    /// When a store fails, there is something in `to`, or there is no checkpoint that is whole.
    pub async fn copy_newest(&self, to: &Self, renumber: impl Fn(u64) -> u64) -> Result<Copied, Error> {
        if !to.log.numbers().await?.is_empty() {
            return Err(Error::Occupied { path: to.root.clone() });
        }
        let (mut damaged, mut tried) = (Vec::new(), BTreeSet::new());
        // What is swept while it is copied is damaged, too; but then there is a newer one.
        loop {
            let numbers = self.log.numbers().await?;
            let Some(number) = numbers.into_iter().rev().find(|number| !tried.contains(number)) else {
                return Err(damaged.pop().unwrap_or_else(|| Error::Empty { path: self.root.clone() }));
            };
            tried.insert(number);
            let copied = match self.checkpoint(number).await {
                Ok(None) => continue,
                Ok(Some(checkpoint)) => self.copy(&checkpoint, to, renumber(number)).await,
                Err(error) => Err(error),
            };
            match copied {
                Ok(manifest) => return Ok(Copied { number, manifest, damaged }),
                Err(error) => {
                    let is_gone = self.checkpoint(number).await.is_ok_and(|checkpoint| checkpoint.is_none());
                    if !is_gone {
                        damaged.push(error.damage()?);
                    }
                }
            }
        }
    }

    /// Copies a checkpoint; what has been copied of one that is damaged is removed.
    async fn copy(&self, from: &Kept, to: &Self, number: u64) -> Result<Manifest, Error> {
        let mut written = Vec::new();
        let copied = self.copy_files(from, to, number, &mut written).await;
        if copied.is_err() {
            for path in written {
                // It is in nobody's way.
                drop(delete(&*to.store, &path).await);
            }
        }
        let manifest = copied?;
        to.log.put_first(number, manifest.clone()).await?;
        Ok(manifest)
    }

    async fn copy_files(
        &self,
        from: &Kept,
        to: &Self,
        number: u64,
        written: &mut Vec<Path>,
    ) -> Result<Manifest, Error> {
        let mut manifest = from.manifest.clone();
        for file in manifest.parts.values_mut().flat_map(|part| &mut part.files) {
            // As if a process of that number had written it.
            let name = format!("{number:020}-{:08}", written.len());
            let path = to.data.clone().join(&*name);
            written.push(path.clone());
            let mut writer = Writer::new(to.store.clone(), path, name);
            let (mut reader, mut record) = (self.read(file).await?, Vec::new());
            while let Some(piece) = reader.next().await? {
                record.push(piece.bytes);
                if piece.ends {
                    writer.write(piece.group, &std::mem::take(&mut record)).await?;
                }
            }
            *file = writer.finish().await?;
        }
        Ok(manifest)
    }
}
