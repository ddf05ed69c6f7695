//! A folder for as long as somebody holds it: no other process has it, and what one that was killed has left goes when the
//! next one makes its own.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

const PREFIX: &str = "updraft-spill-";
const SUFFIX: &str = ".lock";

/// See the module's page.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Stands beside it, and is locked as long as the process lives.
    _lock: NamedTempFile,
}

impl Folder {
    /// A new one in `parent`, which is made if it is not there.
    pub(super) fn new(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        sweep(parent);
        loop {
            let lock = tempfile::Builder::new().prefix(PREFIX).suffix(SUFFIX).tempfile_in(parent)?;
            // Who sweeps between the two takes it for one that was left, and deletes it.
            if lock.as_file().try_lock().is_ok() && lock.path().exists() {
                let path = lock.path().with_extension("");
                make(&path)?;
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("`{}` could not be deleted, and will be by the next job: {error}", self.path.display());
        }
    }
}

/// Nobody else may look into it: it holds what users keep.
fn make(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Deletes what processes have left that are gone. What cannot be deleted is left: it is somebody else's.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX)) {
            continue;
        }
        let path = entry.path();
        if let Ok(lock) = File::open(&path)
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(path.with_extension(""));
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(parent: &Path) -> Vec<String> {
        let names = fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn what_was_left_goes_and_what_is_used_stays() {
        let parent = tempfile::tempdir().unwrap();
        // As a process leaves it that was killed: nobody holds the lock.
        let left = parent.path().join(format!("{PREFIX}left"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join("table"), "some").unwrap();
        fs::write(parent.path().join(format!("{PREFIX}left{SUFFIX}")), "").unwrap();
        fs::write(parent.path().join("other.lock"), "of somebody else").unwrap();

        let one = Folder::new(parent.path()).unwrap();
        fs::write(one.path().join("table"), "some").unwrap();
        let other = Folder::new(parent.path()).unwrap();
        assert_ne!(one.path(), other.path());
        assert!(!left.exists() && one.path().join("table").exists());
        assert_eq!(names(parent.path()).len(), 5);
        drop((one, other));
        assert_eq!(names(parent.path()), ["other.lock"]);
    }
}
