//! Where the checkpoints of a job are kept, so that `kill -9` at any moment loses none and a process that should be dead harms
//! none.
//!
//! A [`Folder`] of any object store holds files of state and a log:
//!
//! * `data/…`: what stages kept, as [records by key group](file). Each file is written once, under a name that no other attempt
//!   uses, and never changed.
//! * `log/…`: [numbered entries](log), each put only where there is none yet. One says that a process has taken over, another is
//!   a checkpoint: which files it is made of, and what is too small for one ([`Manifest`]). A checkpoint exists when its entry does.
//!
//! All who write to a folder go on from the last entry that they know. Who has been stopped for long, and replaced, finds that
//! its next number is taken: it is [fenced](Error::Fenced), and nothing that it has written counts. What is stored has checksums: what is torn or
//! damaged is [told](Error::Damaged), and the checkpoint before it is taken.
//!
//! What checkpoints are of is not known here: that is said by who calls. Next: [`Folder`], for who runs a job, and [`Archive`], for who looks at what is there.

mod archive;
pub mod file;
mod folder;
mod log;
mod manifest;

pub use archive::{Archive, Copied, Kept};
pub use folder::{Folder, Restore, Swept};
pub use manifest::{File, Manifest, Part};

use object_store::path::Path;

/// What goes wrong with a folder of checkpoints.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store has failed. The same may be tried again: what has been done meanwhile is found out.
    #[error("checkpoints: {what} {path}: {source}")]
    Store {
        /// What was tried.
        what: &'static str,
        /// With which object.
        path: Path,
        /// Why not.
        source: object_store::Error,
    },
    /// Another process has taken over: this one has to stop, and must not commit anything.
    #[error(
        "another process has taken over these checkpoints ({entry}): this one stops, so that no result comes twice"
    )]
    Fenced {
        /// The entry that says so.
        entry: Path,
    },
    /// There are checkpoints already where others should go.
    #[error("there are checkpoints in `{path}` already: name another folder")]
    Occupied {
        /// Where.
        path: Path,
    },
    /// There is nothing.
    #[error("there is no checkpoint in `{path}`")]
    Empty {
        /// Where not.
        path: Path,
    },
    /// What is stored is not what was written.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// Which object.
        path: Path,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    pub(crate) fn store(what: &'static str, path: &Path) -> impl FnOnce(object_store::Error) -> Self + use<> {
        let path = path.clone();
        move |source| Self::Store { what, path, source }
    }

    /// It, if it tells of damage, which may be told and passed by; all others end what is done.
    ///
    /// # Errors
    /// It, if it is another one.
    pub fn damage(self) -> Result<Self, Self> {
        if matches!(self, Self::Damaged { .. }) { Ok(self) } else { Err(self) }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.clone(), reason: reason.into() }
    }
}
