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
use updraft_checkpoint::Folder;

use crate::control::settings;
use crate::job::Job;
use crate::source::Error;

mod coordinator;
pub(crate) mod ids;
mod layout;
pub(crate) mod marks;
mod plan;
mod reading;
mod spool;
mod stored;
pub(crate) mod taking;

pub(crate) use coordinator::{Stages, start};
pub use layout::{Column, Layout, Table};
pub use plan::{Becomes, Changes, Plan};
pub use reading::{StateReader, layout_of};
pub(crate) use spool::{Spool, Waiting};
pub(crate) use stored::StageNote;
pub(crate) use taking::{Gate, Report, Taking, note_of, read_note};
pub use updraft_checkpoint::{Archive, Copied, Error as StoreError, Kept, Manifest};

use ids::Id;

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
    pub(crate) changes: Changes,
    pub(crate) stops: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            every: seconds(10),
            pause: Duration::ZERO,
            timeout: seconds(600),
            keep: 2,
            changes: Changes::Strict,
            stops: false,
        }
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

    /// How often they are taken; each 10 s by default. Where windows close within a tenth of that, it is just after they have: then there is
    /// the least to be saved.
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

    /// Whether a job goes on that is not the one that the checkpoint is of; by default it does not.
    #[must_use]
    pub fn changes(mut self, changes: Changes) -> Self {
        self.settings.changes = changes;
        self
    }

    /// What becomes of the checkpoint in `job`, and of the job; none where it starts anew.
    ///
    /// # Errors
    /// When two of its operators were given the same id.
    pub fn plan(&self, job: &Job) -> Result<Option<Plan>, Error> {
        let (ids, committed) = job.ids()?;
        let parts: Vec<_> = ids.into_iter().flatten().collect();
        Ok(self.from.as_ref().map(|(number, manifest)| Plan::of(*number, manifest, &parts, &committed)))
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

    /// Takes out what a job of these parts does not go on from.
    ///
    /// # Errors
    /// When the job is another one, unless it may be.
    pub(crate) fn fit(&mut self, parts: &[Id], committed: &[Arc<str>]) -> Result<(), Error> {
        let Some((number, manifest)) = &mut self.from else { return Ok(()) };
        let plan = Plan::of(*number, manifest, parts, committed);
        if plan.has_changes() && self.settings.changes == Changes::Strict {
            let remedy = "run the job that it is of, allow the changes (`Changes::Allow`), or start anew";
            return Err(format!("checkpoint {number} is of another job:\n{plan}{remedy}").into());
        }
        if let Some(sink) = plan.of_those(&Becomes::Lost).next() {
            let remedy =
                "let it be part of the job once more, have another one commit it (`Job::commits`), or start anew";
            return Err(format!(
                "{sink} is gone, and what it has prepared for checkpoint {number} would be lost: {remedy}"
            )
            .into());
        }
        if manifest.finished && plan.of_those(&Becomes::New).next().is_some() {
            let remedy = "start anew";
            return Err(format!(
                "checkpoint {number} is of a job that had come to its end; what is new gets nothing:\n{plan}{remedy}"
            )
            .into());
        }
        if !plan.is_plain() {
            tracing::info!("goes on from checkpoint {number}:\n{plan}");
        }
        let goes = |id: &String| matches!(plan.parts.get(id), None | Some(Becomes::Rebuilt(_) | Becomes::Dropped));
        manifest.parts.retain(|id, _| !goes(id));
        Ok(())
    }

    /// What had been set by control operations.
    pub(crate) fn control(&self) -> Result<settings::Kept, Error> {
        let set = self.from.as_ref().map(|(_, manifest)| &manifest.control).filter(|set| !set.is_null());
        set.map_or_else(|| Ok(settings::Kept::default()), |set| read_note("what was set", set))
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
