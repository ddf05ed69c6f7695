//! That names of files outlast a loss of power: a folder is a file, too.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

/// Has the names of `files` written to the disk, and those of the folders they are in up to `root`.
pub(crate) async fn sync_names(files: impl IntoIterator<Item = PathBuf>, root: &Path) -> io::Result<()> {
    let mut folders = BTreeSet::new();
    for file in files {
        let within = file.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
        folders.extend(within.map(Path::to_owned));
        folders.extend(root.parent().map(Path::to_owned));
    }
    spawn_blocking(move || folders.iter().try_for_each(|folder| sync(folder))).await?
}

fn sync(folder: &Path) -> io::Result<()> {
    // What is relative may be in no folder that has a name.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match File::open(folder)?.sync_all() {
        // Not all file systems can.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}
