//! [`Folder`]: the checkpoints of a job, for the process that runs it now.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use futures_util::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use crate::file::{Reader, Writer, must_be_there};
use crate::log::{Log, delete};
use crate::{Error, File, Manifest};

/// The checkpoints of a job. Whoever opens a folder takes it over from all who had it open before.
#[derive(Debug)]
pub struct Folder {
    store: Arc<dyn ObjectStore>,
    data: Path,
    log: Log,
    /// How many files were begun.
    begun: u64,
    /// Those that no checkpoint is made of yet.
    open: BTreeSet<String>,
}

/// What a job goes on from.
#[derive(Debug, Default)]
pub struct Restore {
    /// The newest checkpoint that is whole, and its number; none where there is none.
    pub checkpoint: Option<(u64, Manifest)>,
    /// Why newer ones are not.
    pub damaged: Vec<Error>,
}

/// What was deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Entries of the log.
    pub entries: usize,
    /// Files.
    pub files: usize,
    /// Bytes of these.
    pub bytes: u64,
}

impl Folder {
    /// Takes over the folder `root` of a store, which may be empty.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn open(store: Arc<dyn ObjectStore>, root: &Path) -> Result<Self, Error> {
        let [log, data] = ["log", "data"].map(|part| root.clone().join(part));
        let log = Log::take_over(store.clone(), log).await?;
        Ok(Self { store, data, log, begun: 0, open: BTreeSet::new() })
    }

    /// How often the folder was taken over before, at least: greater for each process that opens it. Sinks that can be fenced, are by this.
    pub fn attempt(&self) -> u64 {
        self.log.attempt()
    }

    /// The newest checkpoint, before the one numbered `before` if that turned out to be damaged. That all of its files are there is
    /// looked up; what is in them is verified when they are read.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn restore(&self, before: Option<u64>) -> Result<Restore, Error> {
        let mut restore = Restore::default();
        let numbers = self.log.numbers().await?;
        for number in numbers.into_iter().rev().filter(|number| before.is_none_or(|before| *number < before)) {
            let checkpoint = match self.log.entry(number).await {
                Ok(entry) => entry.checkpoint,
                Err(error) => {
                    restore.damaged.push(error.damage()?);
                    continue;
                }
            };
            let Some(manifest) = checkpoint else { continue };
            match self.is_there(&manifest).await {
                Ok(()) => return Ok(Restore { checkpoint: Some((number, manifest)), ..restore }),
                Err(error) => restore.damaged.push(error.damage()?),
            }
        }
        Ok(restore)
    }

    async fn is_there(&self, manifest: &Manifest) -> Result<(), Error> {
        for file in manifest.files() {
            must_be_there(&*self.store, &self.path(&file.name), file.bytes).await?;
        }
        Ok(())
    }

    /// Begins a file. It lasts if it is part of the next checkpoint that is committed after it is finished.
    pub fn create(&mut self) -> Writer {
        let name = format!("{:020}-{:08}", self.attempt(), self.begun);
        self.begun += 1;
        self.open.insert(name.clone());
        Writer::new(self.store.clone(), self.path(&name), name)
    }

    /// A file will not be part of any checkpoint: it may be deleted.
    pub fn abandon(&mut self, name: &str) {
        self.open.remove(name);
    }

    /// Reads a file of a checkpoint.
    ///
    /// # Errors
    /// When the store fails, or the file is not there.
    pub async fn read(&self, file: &File) -> Result<Reader, Error> {
        Reader::open(self.store.clone(), self.path(&file.name), file.clone()).await
    }

    /// Makes a checkpoint of what it says: its number. From then on it is what [`restore`](Self::restore) finds, here and in whoever takes over.
    ///
    /// # Errors
    /// When the store fails: then it is not known whether it has been made, and the same or a later one may be committed.
    /// When another process has taken over: then it has not been made.
    pub async fn commit(&mut self, checkpoint: Manifest) -> Result<u64, Error> {
        let names: Vec<_> = checkpoint.files().map(|file| file.name.clone()).collect();
        let number = self.log.append(checkpoint).await?;
        names.iter().for_each(|name| self.abandon(name));
        Ok(number)
    }

    /// Deletes all checkpoints but the newest `keep` ones (at least one), and what is part of none and will not be.
    ///
    /// # Errors
    /// When the store fails: then something may be left, that the next call deletes. When another process has taken over.
    pub async fn sweep(&mut self, keep: usize) -> Result<Swept, Error> {
        self.log.must_be_own().await?;
        let (mut kept, mut swept, mut used) = (0, Swept::default(), HashSet::new());
        for number in self.log.numbers().await?.into_iter().rev() {
            if kept == keep.max(1) {
                // Entries go before their files, so that nobody goes on from one that is not whole.
                self.log.delete(number).await?;
                swept.entries += 1;
                continue;
            }
            let entry = match self.log.entry(number).await {
                Ok(entry) => entry,
                Err(error) => {
                    error.damage()?;
                    continue;
                }
            };
            if let Some(manifest) = entry.checkpoint {
                kept += 1;
                used.extend(manifest.files().map(|file| file.name.clone()));
            }
        }
        let all = self.store.list(Some(&self.data)).try_collect::<Vec<_>>().await;
        for meta in all.map_err(Error::store("cannot list", &self.data))? {
            let name = meta.location.filename().unwrap_or_default();
            // What a later attempt writes is none of ours.
            let attempt = name.split('-').next().and_then(|attempt| attempt.parse::<u64>().ok());
            let is_old = attempt.is_some_and(|attempt| attempt <= self.attempt());
            if is_old && !used.contains(name) && !self.open.contains(name) {
                delete(&*self.store, &meta.location).await?;
                swept.files += 1;
                swept.bytes += meta.size;
            }
        }
        Ok(swept)
    }

    fn path(&self, name: &str) -> Path {
        self.data.clone().join(name)
    }
}
