//! [`Waiting`]: records of snapshots that wait to be stored: in memory, or, where that is short, in a file.
//!
//! The file has no name: it goes with the last of its records.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;

use crate::keyed::Spill;
use crate::snapshot::{Object, Saved};
use crate::source::Error;
use crate::stage::KeyGroup;
use crate::sync::{Mutex, lock};

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    records: Vec<Record>,
    /// Bytes of those in memory.
    bytes: usize,
}

/// A [`Saved`] that waits.
#[derive(Debug)]
struct Record {
    object: Object,
    groups: RangeInclusive<KeyGroup>,
    bytes: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Bytes),
    File(Spooled),
}

impl Record {
    fn new(saved: Saved, place: impl FnOnce(Vec<u8>) -> io::Result<Place>) -> io::Result<Self> {
        Ok(Self { object: saved.object, groups: saved.groups, bytes: place(saved.bytes)? })
    }

    /// Bytes of memory.
    fn bytes(&self) -> usize {
        if let Place::Memory(bytes) = &self.bytes { bytes.len() } else { 0 }
    }
}

/// Where in a file the bytes of a record are.
#[derive(Debug)]
struct Spooled {
    file: Arc<Spool>,
    at: u64,
    length: usize,
}

/// A file of records, and how long it is.
#[derive(Debug)]
pub(crate) struct Spool(Mutex<(File, u64)>);

impl Spool {
    fn write(self: &Arc<Self>, bytes: &[u8]) -> io::Result<Spooled> {
        let (file, end) = &mut *lock(&self.0);
        let at = *end;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)?;
        *end += bytes.len() as u64;
        Ok(Spooled { file: self.clone(), at, length: bytes.len() })
    }
}

impl Spooled {
    fn read(&self) -> io::Result<Vec<u8>> {
        let (file, _) = &mut *lock(&self.file.0);
        let mut bytes = vec![0; self.length];
        file.seek(SeekFrom::Start(self.at))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl Waiting {
    /// Of records that have just been saved. Where memory is short they are put into `file`, which is made if there is none.
    pub(crate) fn of(saved: Vec<Saved>, spill: Option<&Spill>, file: &mut Option<Arc<Spool>>) -> Result<Self, Error> {
        let bytes: usize = saved.iter().map(|saved| saved.bytes.len()).sum();
        let Some(spill) = spill.filter(|spill| bytes > 0 && spill.is_short(bytes as isize)) else {
            let in_memory = |saved| Record::new(saved, |bytes| Ok(Place::Memory(bytes.into())));
            let records = saved.into_iter().map(in_memory).collect::<io::Result<_>>()?;
            return Ok(Self { records, bytes });
        };
        let file = match file {
            Some(file) => file,
            none => none.insert(Arc::new(Spool(Mutex::new((spill.file()?, 0))))),
        };
        let in_file = |saved| Record::new(saved, |bytes| Ok(Place::File(file.write(&bytes)?)));
        let records = saved.into_iter().map(in_file).collect::<io::Result<_>>();
        Ok(Self { records: records.map_err(|error| spill.failed(&error))?, bytes: 0 })
    }

    pub(crate) fn extend(&mut self, mut other: Self) {
        self.records.append(&mut other.records);
        self.bytes += other.bytes;
    }

    /// Bytes of memory that records take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Lets go of records of other objects.
    pub(crate) fn retain(&mut self, keep: impl Fn(Object) -> bool) {
        self.records.retain(|record| keep(record.object));
        self.bytes = self.records.iter().map(Record::bytes).sum();
    }

    /// The objects of its records.
    pub(crate) fn objects(&self) -> impl Iterator<Item = Object> {
        self.records.iter().map(|record| record.object)
    }

    /// The records, in order of their objects, and what is in them.
    pub(crate) fn in_order(&mut self) -> impl Iterator<Item = io::Result<(Object, &RangeInclusive<KeyGroup>, Bytes)>> {
        self.records.sort_by_key(|record| record.object);
        self.records.iter().map(|record| {
            let bytes = match &record.bytes {
                Place::Memory(bytes) => bytes.clone(),
                Place::File(spooled) => spooled.read()?.into(),
            };
            Ok((record.object, &record.groups, bytes))
        })
    }
}
