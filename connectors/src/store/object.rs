//! A file that is open for whoever may wait: on disk or in a store, or the pieces of it that matter.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use updraft_dataflow::Error;

use super::{Store, key, runtime};

/// How much of a file on disk is read at a time, in bytes.
const DISK: usize = 1 << 20;
/// The same of an object: each time is a request.
const STORE: usize = 8 << 20;

/// A file.
#[derive(Debug)]
pub(crate) enum Handle {
    Disk(File),
    Store(Object),
    Pieces(Pieces),
}

impl From<File> for Handle {
    fn from(file: File) -> Self {
        Self::Disk(file)
    }
}

/// An object that is read from place to place.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    store: Store,
    path: Arc<str>,
    size: u64,
    at: u64,
}

/// Parts of an object that have been fetched.
#[derive(Clone, Debug)]
pub(crate) struct Pieces {
    size: u64,
    /// By where they begin.
    pieces: Arc<[(u64, Bytes)]>,
}

impl Object {
    pub(crate) fn new(store: Store, path: &str, size: u64) -> Self {
        Self { store, path: path.into(), size, at: 0 }
    }

    fn get(&self, range: Range<u64>) -> Result<Bytes, Error> {
        Ok(self.fetch(vec![range])?.pop().unwrap_or_default())
    }

    fn fetch(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, Error> {
        let (store, path) = (self.store.clone(), self.path.clone());
        runtime::wait(async move {
            let fetched = match &ranges[..] {
                [range] => store.objects.get_range(&key(&path)?, range.clone()).await.map(|bytes| vec![bytes]),
                _ => store.objects.get_ranges(&key(&path)?, &ranges).await,
            };
            fetched.map_err(|error| store.failed(&path, "read", &error))
        })?
    }
}

impl Read for Object {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.size.min(self.at + buffer.len() as u64);
        if end <= self.at {
            return Ok(0);
        }
        let bytes = self.get(self.at..end).map_err(io::Error::other)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }
}

impl Handle {
    /// The same file; where it stands may be shared.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Disk(file) => Self::Disk(file.try_clone()?),
            Self::Store(object) => Self::Store(object.clone()),
            Self::Pieces(pieces) => Self::Pieces(pieces.clone()),
        })
    }

    /// Reads on from where it stands, much at a time.
    pub(crate) fn buffered(self) -> BufReader<Self> {
        let bytes = if matches!(self, Self::Disk(_)) { DISK } else { STORE };
        BufReader::with_capacity(bytes, self)
    }

    /// What is in `ranges`, fetched at once where each would be a request.
    pub(crate) fn fetched(&self, mut ranges: Vec<Range<u64>>) -> Result<Self, Error> {
        let Self::Store(object) = self else { return Ok(self.try_clone()?) };
        ranges.sort_by_key(|range| range.start);
        let bytes = if ranges.is_empty() { Vec::new() } else { object.fetch(ranges.clone())? };
        let pieces = ranges.into_iter().map(|range| range.start).zip(bytes).collect();
        Ok(Self::Pieces(Pieces { size: object.size, pieces }))
    }
}

impl Read for Handle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Disk(file) => file.read(buffer),
            Self::Store(object) => object.read(buffer),
            Self::Pieces(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl Seek for Handle {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let object = match self {
            Self::Disk(file) => return file.seek(to),
            Self::Store(object) => object,
            Self::Pieces(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(from) => object.size.checked_add_signed(from),
            SeekFrom::Current(from) => object.at.checked_add_signed(from),
        };
        object.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(object.at)
    }
}

impl Pieces {
    fn at(&self, start: u64) -> Result<Bytes, ParquetError> {
        let before = self.pieces.partition_point(|(begin, _)| *begin <= start);
        let (begin, bytes) =
            before.checked_sub(1).map(|at| &self.pieces[at]).ok_or(ParquetError::EOF(beyond(start)))?;
        let skipped = (start - begin) as usize;
        if skipped > bytes.len() { Err(ParquetError::EOF(beyond(start))) } else { Ok(bytes.slice(skipped..)) }
    }
}

fn beyond(start: u64) -> String {
    format!("byte {start} is in no column")
}

impl Length for Handle {
    fn len(&self) -> u64 {
        match self {
            Self::Disk(file) => Length::len(file),
            Self::Store(object) => object.size,
            Self::Pieces(pieces) => pieces.size,
        }
    }
}

impl ChunkReader for Handle {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(match self {
            Self::Disk(file) => Box::new(file.get_read(start)?),
            Self::Store(object) => Box::new(BufReader::with_capacity(DISK, Object { at: start, ..object.clone() })),
            Self::Pieces(pieces) => Box::new(io::Cursor::new(pieces.at(start)?)),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        match self {
            Self::Disk(file) => file.get_bytes(start, length),
            Self::Store(object) => object.get(start..start + length as u64).map_err(ParquetError::External),
            Self::Pieces(pieces) => match pieces.at(start)? {
                bytes if bytes.len() >= length => Ok(bytes.slice(..length)),
                _ => Err(ParquetError::EOF(beyond(start + length as u64))),
            },
        }
    }
}
