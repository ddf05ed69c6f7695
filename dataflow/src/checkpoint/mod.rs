//! Checkpoints: what a job was at the end of an epoch, stored while it runs on, so that it can go on from there.
//!
//! No barrier flows through the graph, and nobody stops. A checkpoint is asked for by [marking](marks) the epoch that is
//! open: all that epochs after it write belongs to another [generation](crate::Generation). When the marked epoch is complete at
//! a stage, what it has written up to there is a [snapshot](crate::snapshot) without further ado; a source tells where it
//! stands when it closes the epoch, and a sink prepares what it was given. All of them [report](taking); when the last one has, the
//! [coordinator](coordinator) stores what is new, puts the manifest, and has the sinks commit.
//!
//! What is stored, and how a process that has been replaced is kept from doing harm, is said in
//! [`updraft_checkpoint`]. Next: [`Checkpoints`], which a job is given.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::path::Path;
use updraft_checkpoint::{Error as StoreError, Folder, Manifest};

use crate::source::Error;

mod coordinator;
pub(crate) mod marks;
mod stored;
pub(crate) mod taking;

pub(crate) use coordinator::{Stages, start};
pub(crate) use stored::StageNote;
pub(crate) use taking::{Gate, Kind, Report, Taking, note_of, read_note};

/// Where the checkpoints of a job are kept, and how often they are taken.
///
/// Whoever opens a folder takes it over: a process that had it before, and is still there, ends with an error at its next checkpoint.
pub struct Checkpoints {
    folder: Folder,
    from: Option<(u64, Manifest)>,
    damaged: Vec<StoreError>,
    settings: Settings,
}

/// How often checkpoints are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    pub(crate) every: Duration,
    pub(crate) pause: Duration,
    pub(crate) timeout: Duration,
    pub(crate) keep: usize,
    pub(crate) drops: bool,
    pub(crate) stops: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { every: seconds(10), pause: Duration::ZERO, timeout: seconds(600), keep: 2, drops: false, stops: false }
    }
}

impl Checkpoints {
    /// Takes over the folder `root` of a store, and looks for the newest checkpoint there that is whole: all of its files are
    /// read, and their checksums verified.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn open(store: Arc<dyn ObjectStore>, root: &Path) -> Result<Self, StoreError> {
        let folder = Folder::open(store, root).await?;
        let (mut damaged, mut before) = (Vec::new(), None);
        let from = loop {
            let restore = folder.restore(before).await?;
            damaged.extend(restore.damaged);
            let Some((number, manifest)) = restore.checkpoint else { break None };
            match verify(&folder, &manifest).await {
                Ok(()) => break Some((number, manifest)),
                Err(error) => damaged.push(error.damage()?),
            }
            before = Some(number);
        };
        Ok(Self { folder, from, damaged, settings: Settings::default() })
    }

    /// Starts anew, whatever there is. What there is stays until the first checkpoint is stored.
    #[must_use]
    pub fn fresh(mut self) -> Self {
        self.from = None;
        self
    }

    /// How often they are taken; each 10 s by default.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.settings.every = interval;
        self
    }

    /// How long there is none, at least, after one was stored; by default it may be followed by the next at once.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.settings.pause = pause;
        self
    }

    /// After how long it is told which parts of the job a checkpoint still waits for; 10 minutes by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// How many are kept; 2 by default, 1 at least.
    #[must_use]
    pub fn keep(mut self, checkpoints: usize) -> Self {
        self.settings.keep = checkpoints.max(1);
        self
    }

    /// The job stops while a checkpoint is taken: sources read nothing from when it is asked for until it is stored. As barriers that
    /// are aligned and state that is copied would have it; to compare with.
    #[must_use]
    pub fn stopping(mut self) -> Self {
        self.settings.stops = true;
        self
    }

    /// State of which the job has no part any more is dropped, instead of ending it with an error.
    #[must_use]
    pub fn drop_what_is_gone(mut self) -> Self {
        self.settings.drops = true;
        self
    }

    /// The number of the checkpoint that the job goes on from, and what it is made of.
    pub fn goes_on_from(&self) -> Option<(u64, &Manifest)> {
        self.from.as_ref().map(|(number, manifest)| (*number, manifest))
    }

    /// The number of this process among those that have run the job.
    pub(crate) fn attempt(&self) -> u64 {
        self.folder.attempt()
    }

    /// Whether the job had come to its end: then it has only to be made sure that its sinks have committed.
    pub fn is_finished(&self) -> bool {
        self.from.as_ref().is_some_and(|(_, manifest)| manifest.finished)
    }

    /// What is noted of a part.
    pub(crate) fn note(&self, part: &str) -> Option<&serde_json::Value> {
        self.from.as_ref().and_then(|(_, manifest)| manifest.parts.get(part)).map(|part| &part.note)
    }

    /// Whether a job has all the parts that the checkpoint is of.
    pub(crate) fn fit(&self, taking: &Taking) -> Result<(), Error> {
        let (Some((number, manifest)), parts) = (&self.from, taking.parts()) else { return Ok(()) };
        let has = |id: &str| parts.iter().any(|part| *part.id == *id);
        let gone: Vec<_> = manifest.parts.keys().map(String::as_str).filter(|id| !has(id)).collect();
        if !gone.is_empty() && !self.settings.drops {
            let gone = gone.join(", ");
            let remedy = "run the job that it is of, have that state dropped, or start anew";
            return Err(format!("checkpoint {number} has state of what the job does not have: {gone}; {remedy}").into());
        }
        gone.iter().for_each(|id| tracing::warn!("the state of {id} is dropped: the job does not have it any more"));
        for part in parts.iter().filter(|part| !manifest.finished && !manifest.parts.contains_key(&*part.id)) {
            tracing::warn!("{} is new to the job, and begins without state", part.id);
        }
        Ok(())
    }

    /// Newer checkpoints that are damaged.
    pub fn damaged(&self) -> &[StoreError] {
        &self.damaged
    }
}

/// How often a job that runs takes checkpoints: to be changed while it does. What is asked for is as in [`Checkpoints`].
#[derive(Clone, Debug)]
pub struct Schedule(pub(crate) Arc<Taking>);

impl Schedule {
    /// How often they are taken.
    pub fn every(&self, interval: Duration) {
        self.0.set(|settings| settings.every = interval);
    }

    /// How long there is none, at least, after one was stored.
    pub fn pause(&self, pause: Duration) {
        self.0.set(|settings| settings.pause = pause);
    }

    /// After how long it is told which parts of the job a checkpoint still waits for; of the next one.
    pub fn timeout(&self, timeout: Duration) {
        self.0.set(|settings| settings.timeout = timeout);
    }

    /// How many are kept, from the next one on.
    pub fn keep(&self, checkpoints: usize) {
        self.0.set(|settings| settings.keep = checkpoints.max(1));
    }
}

impl fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.from.as_ref().map(|(number, _)| number);
        f.debug_struct("Checkpoints").field("from", &from).field("settings", &self.settings).finish_non_exhaustive()
    }
}

async fn verify(folder: &Folder, manifest: &Manifest) -> Result<(), StoreError> {
    for file in manifest.files() {
        let mut reader = folder.read(file).await?;
        while reader.next().await?.is_some() {}
    }
    Ok(())
}
