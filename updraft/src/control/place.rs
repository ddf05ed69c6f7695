//! Where control sockets are: a folder of this user's alone, in it one for each process, by its number.

use std::fs::{DirBuilder, Permissions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// What a socket's name ends with, after the number of its process.
const ENDING: &str = "sock";

/// The folder of sockets: `$UPDRAFT_CONTROL`, or else `updraft` in `$XDG_RUNTIME_DIR`, or else one in the system's folder for what is temporary.
pub fn folder() -> PathBuf {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("UPDRAFT_CONTROL")
        .or_else(|| Some(named("XDG_RUNTIME_DIR")?.join("updraft")))
        .unwrap_or_else(|| std::env::temp_dir().join(format!("updraft-{}", own_id())))
}

/// The socket of this process.
pub fn own() -> PathBuf {
    folder().join(format!("{}.{ENDING}", std::process::id()))
}

/// The sockets that there are, by the number of their process.
///
/// # Errors
/// When the folder cannot be read. That there is none is no error.
pub fn all() -> Result<Vec<(u32, PathBuf)>> {
    let entries = match std::fs::read_dir(folder()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut sockets = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let process = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if path.extension().is_some_and(|ending| ending == ENDING) {
            sockets.extend(process.map(|process| (process, path)));
        }
    }
    sockets.sort();
    Ok(sockets)
}

/// Listens at a socket that only this user can reach.
pub(super) fn listen(path: &Path) -> Result<UnixListener> {
    let folder = path.parent().ok_or_else(|| Error::new(ErrorKind::InvalidInput, "a socket is in a folder"))?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let about = std::fs::metadata(folder)?;
    if about.uid() != own_id() || about.mode() & 0o077 != 0 {
        let (folder, remedy) = (folder.display(), "`chmod 700` it, or name another in UPDRAFT_CONTROL");
        return Err(Error::new(ErrorKind::PermissionDenied, format!("{folder} is not this user's alone: {remedy}")));
    }
    // What a process of the same number has left that was killed.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// This user: who owns what this process makes.
fn own_id() -> u32 {
    std::fs::metadata("/proc/self").map_or(0, |about| about.uid())
}
