//! [`Log`]: numbered entries of which each is put only where there is none yet, so that all who write agree on their order.
//!
//! An entry is a line that tells its checksum, and JSON, which people can read:
//!
//! ```text
//! updraft log 1 6c1e7b0f
//! {"attempt":7,"checkpoint":{"job":"orders","epoch":41,…}}
//! ```
//!
//! Its attempt is the number of the entry by which its writer has taken over. An entry without a checkpoint is such a one.
//!
//! Old entries are deleted. Who is stale could put such a number again: so who has put an entry looks whether it is the
//! newest one, before it takes it for done.

use std::sync::Arc;

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};

use crate::{Error, Manifest};

/// An entry of the log.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The number of the entry by which the writer has taken over.
    pub(crate) attempt: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checkpoint: Option<Manifest>,
}

const HEAD: &str = "updraft log 1 ";

impl Entry {
    pub(crate) fn to_text(&self) -> String {
        let body = serde_json::to_string(self).unwrap_or_else(|error| unreachable!("a manifest is JSON: {error}"));
        format!("{HEAD}{:08x}\n{body}\n", crc32fast::hash(body.as_bytes()))
    }

    pub(crate) fn read(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|error| format!("it is no text: {error}"))?;
        let rest = text.strip_prefix(HEAD).ok_or_else(|| format!("it does not begin with `{HEAD}`"))?;
        let (checksum, body) = rest.split_once('\n').ok_or("it ends within its first line")?;
        let body = body.strip_suffix('\n').ok_or("its end is missing")?;
        if checksum != format!("{:08x}", crc32fast::hash(body.as_bytes())) {
            return Err("its checksum is another one".into());
        }
        serde_json::from_str(body).map_err(|error| error.to_string())
    }
}

/// The log of a folder, as one process knows it.
#[derive(Debug)]
pub(crate) struct Log {
    store: Arc<dyn ObjectStore>,
    folder: Path,
    /// The last entry that is known.
    last: u64,
    /// The own one.
    attempt: u64,
}

impl Log {
    /// Takes over: all who have written before are fenced.
    pub(crate) async fn take_over(store: Arc<dyn ObjectStore>, folder: Path) -> Result<Self, Error> {
        let log = Self { store, folder, last: 0, attempt: 0 };
        loop {
            let number = log.numbers().await?.last().map_or(1, |last| last + 1);
            let text = Entry { attempt: number, checkpoint: None }.to_text();
            match log.create(number, &text).await {
                Ok(()) => {}
                Err(object_store::Error::AlreadyExists { .. }) => continue,
                Err(error) => return Err(Error::store("cannot write", &log.path(number))(error)),
            }
            if log.numbers().await?.last() == Some(&number) {
                return Ok(Self { last: number, attempt: number, ..log });
            }
        }
    }

    /// For who only reads: nobody is fenced.
    pub(crate) fn reading(store: Arc<dyn ObjectStore>, folder: Path) -> Self {
        Self { store, folder, last: 0, attempt: 0 }
    }

    /// Puts a checkpoint where there is nothing, as if a process of that number had taken it.
    pub(crate) async fn put_first(&self, number: u64, checkpoint: Manifest) -> Result<(), Error> {
        let text = Entry { attempt: number, checkpoint: Some(checkpoint) }.to_text();
        self.create(number, &text).await.map_err(Error::store("cannot write", &self.path(number)))
    }

    /// The number by which it has taken over.
    pub(crate) fn attempt(&self) -> u64 {
        self.attempt
    }

    /// Adds a checkpoint: its number. After an error of the store it may be there or not: the next call finds out.
    pub(crate) async fn append(&mut self, checkpoint: Manifest) -> Result<u64, Error> {
        let text = Entry { attempt: self.attempt, checkpoint: Some(checkpoint) }.to_text();
        loop {
            let number = self.last + 1;
            match self.create(number, &text).await {
                Ok(()) => {}
                Err(object_store::Error::AlreadyExists { .. }) => match self.text(number).await? {
                    // It was put, though an error was told.
                    there if there == text.as_bytes() => {}
                    there => match Entry::read(&there) {
                        Ok(entry) if entry.attempt != self.attempt => return Err(self.fenced(number)),
                        // Another checkpoint of this process, of which an error was told; or a torn one, that says nothing.
                        _ => {
                            self.last = number;
                            continue;
                        }
                    },
                },
                Err(error) => return Err(Error::store("cannot write", &self.path(number))(error)),
            }
            self.must_be_newest(number).await?;
            self.last = number;
            return Ok(number);
        }
    }

    /// An error if somebody has taken over.
    pub(crate) async fn must_be_own(&self) -> Result<(), Error> {
        self.must_be_newest(self.last).await
    }

    /// Entries beyond `number` are not by this process.
    async fn must_be_newest(&self, number: u64) -> Result<(), Error> {
        for other in self.numbers().await?.into_iter().filter(|other| *other > number) {
            // Those that an error was told of are one's own.
            if Entry::read(&self.text(other).await?).is_ok_and(|entry| entry.attempt != self.attempt) {
                return Err(self.fenced(other));
            }
        }
        Ok(())
    }

    fn fenced(&self, number: u64) -> Error {
        Error::Fenced { entry: self.path(number) }
    }

    /// All entries there are, in order.
    pub(crate) async fn numbers(&self) -> Result<Vec<u64>, Error> {
        let list = self.store.list(Some(&self.folder)).map_ok(|meta| number_of(&meta.location));
        let numbers: Vec<_> = list.try_collect().await.map_err(Error::store("cannot list", &self.folder))?;
        let mut numbers: Vec<u64> = numbers.into_iter().flatten().collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// An entry.
    pub(crate) async fn entry(&self, number: u64) -> Result<Entry, Error> {
        let text = self.text(number).await?;
        Entry::read(&text).map_err(|reason| Error::damaged(&self.path(number), reason))
    }

    pub(crate) async fn delete(&self, number: u64) -> Result<(), Error> {
        delete(&*self.store, &self.path(number)).await
    }

    async fn create(&self, number: u64, text: &str) -> object_store::Result<()> {
        let options = PutOptions::from(PutMode::Create);
        self.store.put_opts(&self.path(number), text.to_owned().into(), options).await.map(drop)
    }

    async fn text(&self, number: u64) -> Result<Vec<u8>, Error> {
        let path = self.path(number);
        let error = Error::store("cannot read", &path);
        let read = async { self.store.get(&path).await?.bytes().await };
        Ok(read.await.map_err(error)?.to_vec())
    }

    fn path(&self, number: u64) -> Path {
        self.folder.clone().join(format!("{number:020}.json"))
    }
}

/// Deletes an object, if somebody else has not done so.
pub(crate) async fn delete(store: &dyn ObjectStore, path: &Path) -> Result<(), Error> {
    match store.delete(path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(Error::store("cannot delete", path)(error)),
    }
}

fn number_of(path: &Path) -> Option<u64> {
    path.filename()?.strip_suffix(".json")?.parse().ok()
}
