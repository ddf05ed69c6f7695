//! A file that is being written, on disk or in a store. It has its name when it has been [published](Draft::publish), and not before; it
//! can be taken back until it is [kept](Draft::keep).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use updraft_dataflow::Error;

use crate::columns::spill::Spill;
use crate::compression::{Compression, Target};
use crate::store::Store;
use crate::store::upload::Upload;

/// A file without a name.
pub(super) struct Draft {
    /// Where bytes go, to be compressed on their way.
    target: Target,
    stage: Stage,
}

/// Where it is until then.
enum Stage {
    /// Under another name. The file is a second handle: `target` cannot be asked to sync.
    Disk { part: PathBuf, path: PathBuf, file: File },
    /// In no place that can be seen. What has come through `target` is in `packed`.
    Store { packed: Spill, upload: Upload, path: PathBuf },
}

impl Draft {
    /// At once, not on another thread, where it could come after the sink was told to give up. What is to be
    /// [prepared](Self::prepare) is hidden in stores, too.
    pub(super) fn begin(
        store: Option<&Store>,
        path: PathBuf,
        compression: Compression,
        hidden: bool,
    ) -> Result<Self, Error> {
        let Some(store) = store else { return on_disk(&path, compression).map_err(|error| failed(&path, &error)) };
        let key = if hidden { part(&path) } else { path.clone() };
        let (packed, upload) = (Spill::default(), Upload::begin(store, &key.to_string_lossy())?);
        Ok(Self { target: compression.writer(packed.clone()), stage: Stage::Store { packed, upload, path } })
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.target.write_all(bytes).await;
        self.check(written)?;
        self.send().await
    }

    /// Nothing more will be written: it is whole, and safe on the disk.
    pub(super) async fn finish(&mut self) -> Result<(), Error> {
        let ended = self.target.shutdown().await;
        self.check(ended)?;
        if let Stage::Disk { file, path, .. } = &self.stage {
            file.sync_all().await.map_err(|error| failed(path, &error))?;
        }
        self.send().await
    }

    /// Sends what has come through, where it is sent.
    async fn send(&mut self) -> Result<(), Error> {
        let Stage::Store { packed, upload, .. } = &mut self.stage else { return Ok(()) };
        let mut bytes = Vec::new();
        packed.empty(&mut bytes);
        if bytes.is_empty() { Ok(()) } else { upload.write(bytes).await }
    }

    /// The name that it will have.
    pub(super) fn path(&self) -> &Path {
        let (Stage::Disk { path, .. } | Stage::Store { path, .. }) = &self.stage;
        path
    }

    /// It stays, under its hidden name.
    pub(super) async fn prepare(&mut self) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Disk { .. } => Ok(()),
            Stage::Store { upload, .. } => upload.publish().await,
        }
    }

    /// Gives it its name. On disk this does not wait.
    pub(super) async fn publish(&mut self) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Disk { part, path, .. } => fs::rename(&*part, &*path).map_err(|error| failed(path, &error)),
            Stage::Store { upload, .. } => upload.publish().await,
        }
    }

    /// It stays.
    pub(super) fn keep(self) {
        if let Stage::Store { upload, .. } = self.stage {
            upload.keep();
        }
    }

    /// Removes those that have no name yet; in stores also those that are not kept.
    pub(super) fn discard(drafts: impl IntoIterator<Item = Self>) {
        let mut uploads = Vec::new();
        for draft in drafts {
            match draft.stage {
                // Where it cannot be removed, it is still not taken for a file of the table.
                Stage::Disk { part, .. } => drop(fs::remove_file(part)),
                Stage::Store { upload, .. } => uploads.push(upload),
            }
        }
        Upload::discard(uploads);
    }

    fn check(&self, done: io::Result<()>) -> Result<(), Error> {
        done.map_err(|error| match &self.stage {
            Stage::Disk { path, .. } => failed(path, &error),
            Stage::Store { .. } => error.into(),
        })
    }
}

/// What a file is called until it has its name.
pub(super) fn part(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    path.with_file_name(format!(".{name}.part"))
}

fn on_disk(path: &Path, compression: Compression) -> io::Result<Draft> {
    let part = part(path);
    if let Some(folder) = part.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = fs::File::create(&part)?;
    let target = compression.writer(File::from_std(file.try_clone()?));
    Ok(Draft { target, stage: Stage::Disk { part, path: path.to_owned(), file: File::from_std(file) } })
}

/// Writes a small file that says something by being there.
pub(super) async fn mark(store: Option<&Store>, path: &Path) -> Result<(), Error> {
    match store {
        Some(store) => store.put(&path.to_string_lossy(), Vec::new()).await,
        None => fs::write(path, []).map_err(|error| failed(path, &error)),
    }
}

pub(super) fn failed(path: &Path, error: &io::Error) -> Error {
    let remedy = "check that the folder may be written to and is not full";
    format!("{}: cannot be written: {error}; {remedy}", path.display()).into()
}
