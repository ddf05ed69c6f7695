//! One file that is written by one attempt after the other, each of which goes on where a checkpoint was taken.
//!
//! An attempt has a file of its own, `.NAME.ATTEMPT.part`, so that none can disturb another that is still there. It
//! begins as a copy of what was prepared for the checkpoint; the file that this was copied from stays until a
//! checkpoint knows of the copy. At the end of the job it takes the name.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::task::spawn_blocking;
use updraft_dataflow::Error;

use crate::compression::{Compression, Target};
use crate::durable::sync_names;

/// What has been prepared: so much of an attempt's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grown {
    attempt: u64,
    bytes: u64,
}

/// A file that is not whole.
pub(crate) struct Growing {
    parts: Parts,
    attempt: u64,
    compression: Compression,
    /// `None`: a former attempt has published it.
    open: Option<Open>,
    prepared: Option<Grown>,
}

/// The names of its attempts' files.
#[derive(Clone)]
struct Parts {
    path: PathBuf,
}

struct Open {
    target: Target,
    /// A second handle: the bytes go through `target`, which cannot be asked to sync.
    file: File,
    /// Whether anything has come since what is in it was ended. What is compressed must be, even if it is nothing.
    dirty: bool,
}

impl Growing {
    /// Goes on from what was prepared, or begins.
    pub(crate) async fn begin(
        path: &Path,
        compression: Compression,
        attempt: u64,
        prepared: Option<Grown>,
    ) -> Result<Self, Error> {
        let parts = Parts { path: path.to_owned() };
        let copied = parts.clone();
        let copy = spawn_blocking(move || copied.copy(attempt, prepared)).await?;
        let file = copy.map_err(|error| parts.failed(&error))?;
        let open = match file {
            Some(file) => {
                let open = Open::new(File::from_std(file), compression, prepared.is_none()).await;
                Some(open.map_err(|error| parts.failed(&error))?)
            }
            None if parts.published(prepared) => None,
            None => return Err(parts.lost(prepared)),
        };
        let kept = prepared.map(|grown| grown.attempt);
        parts.sweep(attempt, kept);
        let prepared = prepared.filter(|_| open.is_none());
        Ok(Self { parts, attempt, compression, open, prepared })
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let Some(open) = &mut self.open else {
            let (path, remedy) = (self.parts.path.display(), "start the job anew to write it anew");
            return Err(
                format!("{path}: was whole when the checkpoint was taken, and is to be written: {remedy}").into()
            );
        };
        open.dirty = true;
        open.target.write_all(bytes).await.map_err(|error| self.parts.failed(&error))
    }

    /// What has come so far is safe on the disk. Compressed bytes end there, and begin anew with the next.
    pub(crate) async fn prepare(&mut self) -> Result<Grown, Error> {
        let done = self.try_prepare().await;
        done.map_err(|error| self.parts.failed(&error))
    }

    async fn try_prepare(&mut self) -> io::Result<Grown> {
        if let (Some(grown), None | Some(Open { dirty: false, .. })) = (self.prepared, &self.open) {
            return Ok(grown);
        }
        let Some(open) = &mut self.open else { return Err(ErrorKind::NotFound.into()) };
        if open.dirty {
            open.end(self.compression).await?;
        }
        open.file.sync_all().await?;
        if self.prepared.is_none() {
            sync_names([self.parts.of(self.attempt)], self.parts.folder()).await?;
        }
        let grown = Grown { attempt: self.attempt, bytes: open.file.metadata().await?.len() };
        self.prepared = Some(grown);
        Ok(grown)
    }

    /// A checkpoint knows of what was prepared: what former attempts have written is needed no more.
    pub(crate) fn commit(&self, grown: Grown) {
        self.parts.sweep(grown.attempt, None);
    }

    /// Gives the file its name.
    pub(crate) async fn publish(&mut self) -> Result<(), Error> {
        self.prepare().await?;
        if self.open.take().is_some() {
            let named = self.parts.name(self.attempt);
            named.map_err(|error| self.parts.failed(&error))?;
            let synced = sync_names([self.parts.path.clone()], self.parts.folder()).await;
            synced.map_err(|error| self.parts.failed(&error))?;
        }
        self.parts.sweep(self.attempt, None);
        Ok(())
    }

    /// Removes what no checkpoint can know of.
    pub(crate) fn abort(&mut self) {
        if self.open.take().is_some() && self.prepared.is_none() {
            // Where it cannot be removed, it is still not taken for the file.
            let _ = fs::remove_file(self.parts.of(self.attempt));
        }
    }
}

impl Open {
    async fn new(file: File, compression: Compression, dirty: bool) -> io::Result<Self> {
        Ok(Self { target: compression.writer(file.try_clone().await?), file, dirty })
    }

    async fn end(&mut self, compression: Compression) -> io::Result<()> {
        self.target.shutdown().await?;
        self.target = compression.writer(self.file.try_clone().await?);
        self.dirty = false;
        Ok(())
    }
}

impl Parts {
    fn of(&self, attempt: u64) -> PathBuf {
        let name = self.path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        self.path.with_file_name(format!(".{name}.{attempt}.part"))
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or_else(|| Path::new(""))
    }

    /// Makes the file of an attempt, of as much as was prepared: whoever has written that may still add to it. `None`
    /// where that is not there.
    fn copy(&self, attempt: u64, prepared: Option<Grown>) -> io::Result<Option<fs::File>> {
        let from = prepared.map(|grown| Ok((fs::File::open(self.of(grown.attempt))?, grown.bytes))).transpose();
        let from = match from {
            Err(error) if io::Error::kind(&error) == ErrorKind::NotFound => return Ok(None),
            from => from?,
        };
        let mut to = fs::File::create(self.of(attempt))?;
        if let Some((from, bytes)) = from
            && io::copy(&mut from.take(bytes), &mut to)? < bytes
        {
            return Ok(None);
        }
        Ok(Some(to))
    }

    /// Whether what was prepared has its name already.
    fn published(&self, prepared: Option<Grown>) -> bool {
        let is_whole = |grown: Grown| self.path.metadata().is_ok_and(|file| file.len() == grown.bytes);
        prepared.is_some_and(is_whole)
    }

    /// Gives an attempt's file its name, unless a later one has.
    fn name(&self, attempt: u64) -> io::Result<()> {
        match fs::rename(self.of(attempt), &self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound && self.path.exists() => Ok(()),
            named => named,
        }
    }

    /// Removes the files of attempts before `attempt`, but for one. What cannot be removed is in nobody's way.
    fn sweep(&self, attempt: u64, kept: Option<u64>) {
        let folder = if self.folder().as_os_str().is_empty() { Path::new(".") } else { self.folder() };
        let name = self.path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let start = format!(".{name}.");
        for entry in folder.read_dir().into_iter().flatten().flatten() {
            let file = entry.file_name();
            let of =
                file.to_str().and_then(|file| file.strip_prefix(&start)?.strip_suffix(".part")?.parse::<u64>().ok());
            if of.is_some_and(|of| of < attempt && Some(of) != kept) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn lost(&self, prepared: Option<Grown>) -> Error {
        let part = self.of(prepared.map_or(0, |grown| grown.attempt));
        let remedy = "put it back, or start the job anew";
        format!("{}: what was written of {} is gone: {remedy}", part.display(), self.path.display()).into()
    }

    fn failed(&self, error: &io::Error) -> Error {
        let remedy = "check that its folder is there, may be written to and is not full";
        format!("{}: cannot be written: {error}; {remedy}", self.path.display()).into()
    }
}
