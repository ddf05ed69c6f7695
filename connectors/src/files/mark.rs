//! [`Mark`]: what a process that follows a file leaves for the next, which finds the file again by it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::follow::{Inode, inode};
use super::path::Named;
use super::read::Left;
use crate::format::Stand;

/// What of the files that are followed is left to read.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Followed {
    /// Compressed ones.
    pub(super) history: Left,
    pub(super) tails: Vec<Mark>,
}

/// A file that is followed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) path: Named,
    pub(super) inode: Inode,
    /// Some bytes before the place: another file may have got the inode since, or the same one been written anew.
    pub(super) before: Vec<u8>,
    pub(super) entry: Entry,
}

/// Where the first read of a file begins.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Entry {
    Start,
    /// After the last newline before that byte.
    Before(u64),
    At(Stand),
}

/// How many bytes are compared.
const BEFORE: u64 = 32;

impl Entry {
    fn byte(self) -> u64 {
        match self {
            Self::Start => 0,
            Self::Before(byte) => byte,
            Self::At(stand) => stand.spot.byte,
        }
    }

    /// Some bytes before it; none where they cannot be read.
    pub(super) fn before(self, file: &Option<File>) -> Vec<u8> {
        let mut bytes = vec![0; self.byte().min(BEFORE) as usize];
        let at = self.byte() - bytes.len() as u64;
        match file.as_ref().map(|file| file.read_exact_at(&mut bytes, at)) {
            Some(Ok(())) => bytes,
            _ => Vec::new(),
        }
    }
}

impl Mark {
    /// The file, under whatever name, and where to begin: it may have been written anew. `paths` are where it may be,
    /// too.
    pub(super) fn find(&self, paths: &[PathBuf]) -> Option<(File, Entry)> {
        let siblings = || self.path.0.parent()?.read_dir().ok();
        let siblings = siblings().into_iter().flatten().flatten().map(|entry| entry.path());
        let found = paths.iter().cloned().chain(siblings).filter_map(|path| Some((self.open(&path).ok()??, path)));
        let mut anew = None;
        for (file, path) in found {
            if self.entry.before(&Some(file.try_clone().ok()?)) == self.before {
                return Some((file, self.entry));
            }
            // Where it is not one of those that are followed, it is another one.
            if anew.is_none() && paths.contains(&path) {
                anew = Some((file, Entry::Start));
            }
        }
        anew
    }

    fn open(&self, path: &Path) -> io::Result<Option<File>> {
        if inode(&path.metadata()?) != self.inode {
            return Ok(None);
        }
        let file = File::open(path)?;
        Ok((inode(&file.metadata()?) == self.inode).then_some(file))
    }
}
