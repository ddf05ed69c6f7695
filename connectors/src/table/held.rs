//! What has been read of standard input before the job that wants it: its beginning, or all of it in a file without a name.

use std::fs::{self, File};
use std::io::{self, BufRead, Seek, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most that is looked at, in bytes.
const SAMPLE: usize = 64 << 10;

struct Held {
    /// What has been read and not been taken.
    bytes: Vec<u8>,
    /// Whether nothing follows.
    is_all: bool,
    /// All of it.
    file: Option<File>,
}

static HELD: Mutex<Held> = Mutex::new(Held { bytes: Vec::new(), is_all: false, file: None });

/// A panic elsewhere leaves the bytes as good as they were.
fn held() -> MutexGuard<'static, Held> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The beginning of standard input, which stays there to be read: until it `is_enough`, and whether it is all. Waits for it.
pub(super) fn peek(is_enough: impl Fn(&[u8]) -> bool) -> io::Result<(Vec<u8>, bool)> {
    let mut held = held();
    let mut stdin = io::stdin().lock();
    while !held.is_all && held.bytes.len() < SAMPLE && !is_enough(&held.bytes) {
        let chunk = stdin.fill_buf()?;
        let read = chunk.len();
        held.bytes.extend_from_slice(chunk);
        held.is_all = read == 0;
        stdin.consume(read);
    }
    Ok((held.bytes.clone(), held.is_all))
}

/// What has been looked at, now for good.
pub(super) fn take() -> Vec<u8> {
    std::mem::take(&mut held().bytes)
}

/// All of standard input, in a file that goes when it is closed. Waits until all is there.
pub(super) fn spooled() -> io::Result<File> {
    let mut held = held();
    if held.file.is_none() {
        let mut file = nameless()?;
        // The beginning may be asked for again.
        file.write_all(&held.bytes)?;
        io::copy(&mut io::stdin().lock(), &mut file)?;
        held.file = Some(file);
    }
    let mut file = match &held.file {
        Some(file) => file.try_clone()?,
        None => return Err(io::ErrorKind::NotFound.into()),
    };
    file.rewind()?;
    Ok(file)
}

/// A file that no folder names any more.
fn nameless() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("updraft-stdin-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}
