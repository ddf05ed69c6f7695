//! Files of a folder that are prepared for a checkpoint: whole, on the disk, and hidden until it is stored.
//!
//! A file is `.part-RUN-ATTEMPT-NUMBER.FORMAT.part` until then, in a store of objects too. `RUN` is drawn by the first
//! attempt and told with all that is prepared: by it a later attempt knows what earlier ones have left behind, in a
//! folder that others write to.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use updraft_dataflow::Error;

use super::draft::{failed, mark, part};
use super::settings::Settings;
use crate::durable::sync_names;
use crate::store::Store;

/// What has been prepared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) run: String,
    /// Where they will be, below the table's path.
    pub(super) files: Vec<String>,
    /// The folders of the partitions that are complete with these files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) complete: Vec<String>,
    /// Those that are to be completed later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) pending: Vec<String>,
}

impl Ended {
    /// Gives the files their names, and marks the partitions that are complete by a file of the name `marker`. A file
    /// that has its name is in order: this may have been done before. Unless it `is_new`, one that is nowhere has been
    /// taken away since.
    pub(super) async fn commit(
        &self,
        settings: &Settings,
        marker: Option<&str>,
        is_new: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let root = settings.path();
        for file in &self.files {
            let path = root.join(file);
            if !name(settings.store.as_ref(), &path).await? {
                let (remedy, path) = ("put it back, or start the job anew", path.display());
                if is_new(file) {
                    return Err(format!("{path}: what was prepared of it is gone: {remedy}").into());
                }
                tracing::warn!(%path, "a file of the last checkpoint is gone: taken away already, or lost");
            }
        }
        let markers: Vec<_> = marker.into_iter().flat_map(|marker| self.markers(&root, marker)).collect();
        for marker in &markers {
            mark(settings.store.as_ref(), marker).await?;
        }
        if settings.store.is_some() {
            return Ok(());
        }
        let files = self.files.iter().map(|file| root.join(file)).chain(markers);
        sync_names(files, &root).await.map_err(|error| failed(&root, &error))
    }

    fn markers(&self, root: &Path, marker: &str) -> Vec<PathBuf> {
        self.complete.iter().map(|folder| root.join(folder).join(marker)).collect()
    }

    /// Removes what attempts before `attempt` have left hidden: it does not count. What cannot be removed is taken for
    /// nothing.
    pub(super) async fn sweep(&self, settings: &Settings, attempt: u64) -> Result<(), Error> {
        let (run, root) = (self.run.clone(), settings.path());
        let is_left = move |name: &str| is_left(name, &run, attempt);
        match &settings.store {
            Some(store) => store.remove_hidden(&settings.path, is_left).await,
            None => Ok(spawn_blocking(move || sweep(&root, &is_left)).await?),
        }
    }
}

/// Gives a file its name, unless it has it; whether it is there then.
async fn name(store: Option<&Store>, path: &Path) -> Result<bool, Error> {
    let hidden = part(path);
    match store {
        Some(store) => store.name_hidden(&hidden.to_string_lossy(), &path.to_string_lossy()).await,
        None => match fs::rename(&hidden, path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(path.exists()),
            named => named.map(|()| true).map_err(|error| failed(path, &error)),
        },
    }
}

/// Whether a file of that name is hidden, of `run`, and of an attempt before `attempt`.
fn is_left(name: &str, run: &str, attempt: u64) -> bool {
    let rest = name.strip_prefix(".part-").and_then(|rest| rest.strip_prefix(run)?.strip_prefix('-'));
    let of = rest.filter(|rest| rest.ends_with(".part")).and_then(|rest| rest.split_once('-')?.0.parse::<u64>().ok());
    of.is_some_and(|of| of < attempt)
}

fn sweep(folder: &Path, is_left: &impl Fn(&str) -> bool) {
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sweep(&entry.path(), is_left);
        } else if entry.file_name().to_str().is_some_and(is_left) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
