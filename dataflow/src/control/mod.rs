//! Control operations: how a job is watched and changed while it runs.
//!
//! There is no second network for control. What an operation asks is a [`Message`] that rides on a punctuation: it is put on the epoch that
//! is open, which is closed at once, and so it comes to each [`Instance`] (a partition of a source, a driver's share of a stage, a sink)
//! exactly where that epoch ends there: after all records of it and of those before, and before the next one is complete. In a source
//! no record is read in between. Each instance gives an answer; the [`Controller`] gathers them, and says what came of it when the
//! last sink has given its own. It may then send another message: [`Round::Again`].
//!
//! Operations are one file each: [`monitor`], [`set`], [`pause`], [`drain`], [`rescale`], [`rehash`], [`split_key`], [`swap`], [`rewire`]. To write one, see [`Controller`]. How messages travel is
//! in [`ride`]; who goes when, and what becomes of operations that nobody answers, in [`ask`].
//!
//! After Mai et al., "Chi: a scalable and programmable control plane for distributed stream processing systems", VLDB 2018, §4; on epochs
//! instead of barriers, so that nothing is held up where bundles of later epochs are worked on already.

use std::fmt;
use std::sync::Arc;

use updraft_kernel::Handle;

use crate::explain::NodeKind;
use crate::keyed::HotKey;
use crate::metrics::JobMetrics;
use crate::source::Error;
use crate::time::{Epoch, Punctuation};
use crate::worker::Shared;

pub mod ask;
pub mod drain;
pub mod monitor;
pub mod parameter;
pub mod pause;
pub(crate) mod placement;
pub mod rehash;
pub mod rescale;
pub mod rewire;
pub(crate) mod ride;
pub mod set;
pub(crate) mod settings;
pub mod split_key;
pub mod swap;
pub(crate) mod versions;

pub use ask::{Ask, Asked, ControlError};
pub use drain::Drain;
pub use monitor::{Cut, Load, Monitor, PartCut, Rate, Seen};
pub use parameter::Parameter;
pub use pause::{Pause, Resume};
pub use rehash::{Moved, Rehash};
pub use rescale::Rescale;
pub use rewire::Rewire;
pub(crate) use ride::Control;
pub use set::Set;
pub(crate) use set::SourceChange;
pub use split_key::SplitKey;
pub use swap::{Function, Swap, Swappable};

/// One operation, where it is asked for: makes the messages, and gathers the answers.
///
/// [`on_init`](Self::on_init) comes first; then, for each message, [`on_begin`](Self::on_begin), [`on_next`](Self::on_next) for each answer
/// as it comes, and [`on_complete`](Self::on_complete) after the last one; [`on_dispose`](Self::on_dispose) when all is over.
pub trait Controller: Send + 'static {
    /// What it sends through the job.
    type Message: Message;
    /// What comes of it.
    type Outcome: Send + 'static;

    /// What it is called in logs and errors.
    const NAME: &'static str;

    /// Whether it changes a part of the job: operations that change the same one are done one after the other, in the order in which
    /// they were asked for.
    fn changes(&self, part: &Part) -> bool {
        let _ = part;
        false
    }

    /// What to send, to this job. It is its turn: nobody else changes what it [changes](Self::changes).
    ///
    /// # Errors
    /// When it cannot be done. Nothing has happened then.
    fn on_init(&mut self, job: &View<'_>) -> Result<Self::Message, Error>;

    /// The message is on the punctuation that closes `epoch`, and nobody has begun the next one. To be quick: all sources wait.
    fn on_begin(&mut self, epoch: Epoch) {
        let _ = epoch;
    }

    /// An instance has answered.
    fn on_next(&mut self, answer: Answer<<Self::Message as Message>::Answer>) {
        let _ = answer;
    }

    /// All have.
    ///
    /// # Errors
    /// When it has failed, and the job is as it was.
    fn on_complete(&mut self) -> Result<Round<Self::Message, Self::Outcome>, Error>;

    /// It is over: done, failed, or the job has ended before that.
    fn on_dispose(&mut self) {}
}

/// What follows when all instances have answered.
#[derive(Debug)]
pub enum Round<M, O> {
    /// Another message.
    Again(M),
    /// Nothing: this has come of it.
    Done(O),
}

/// What rides on a punctuation, and what each instance does when it comes there.
///
/// For each instance: [`on_init`](Self::on_init) and [`on_begin`](Self::on_begin) when the first of its inputs has closed the epoch,
/// [`on_next`](Self::on_next) for each of its inputs, [`on_complete`](Self::on_complete) when all have and no bundle of the epoch is left, and
/// [`on_dispose`](Self::on_dispose) when the punctuation has gone on from there. None of them may wait.
pub trait Message: Send + Sync + 'static {
    /// What an instance keeps of it, from the first input to the end.
    type Visit: Send + 'static;
    /// What an instance says to it.
    type Answer: Send + 'static;

    /// Whether the punctuation waits at a stage until all of the stage's drivers have dealt with the message. Else it goes on before.
    const BLOCKING: bool = false;

    /// Whether it is for a part of the job. Others pass it on, and give no answer.
    fn concerns(&self, part: &Part) -> bool {
        let _ = part;
        true
    }

    /// It has come to an instance.
    fn on_init(&self, part: &Part, number: usize) -> Self::Visit;

    /// The first of its inputs has brought it.
    fn on_begin(&self, visit: &mut Self::Visit) {
        let _ = visit;
    }

    /// One of its inputs has brought it: the first one, too.
    fn on_next(&self, visit: &mut Self::Visit) {
        let _ = visit;
    }

    /// All of its inputs have, and the epoch is over there: the moment to read or change it.
    fn on_complete(&self, visit: &mut Self::Visit, instance: &mut Instance<'_>) -> Self::Answer;

    /// The punctuation has gone on.
    fn on_dispose(&self, visit: Self::Visit) {
        let _ = visit;
    }
}

/// A source, a stage or a sink.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Its number in the job, from 0.
    pub number: usize,
    /// What it is.
    pub kind: NodeKind,
    /// Its name, as in [`explain`](crate::Job::explain); of a stage, its operators.
    pub name: Arc<str>,
    /// How many instances it has: partitions of a source, drivers of a stage, one of a sink.
    pub instances: usize,
    /// Whether each of them owns some of the keys.
    pub is_keyed: bool,
    /// Whether keys can be [split](SplitKey).
    pub is_splittable: bool,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

/// Where a message is dealt with.
pub struct Instance<'a> {
    /// Which part of the job it is one of.
    pub part: &'a Part,
    /// Which one, from 0.
    pub number: usize,
    /// What closes the epoch there.
    pub at: Punctuation,
    /// What the part has done by the end of the epoch; of a source, the partition.
    pub seen: Seen,
    /// What the driver of a stage has to do.
    pub load: Option<Load>,
    pub(crate) hot: Option<&'a dyn Fn() -> Vec<HotKey>>,
    /// What changes there after the epoch, of a partition of a source.
    pub(crate) change: Option<&'a mut SourceChange>,
}

impl fmt::Debug for Instance<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, number, at, seen, load, .. } = self;
        let mut f = f.debug_struct("Instance");
        f.field("part", part)
            .field("number", number)
            .field("at", at)
            .field("seen", seen)
            .field("load", load)
            .finish_non_exhaustive()
    }
}

impl<'a> Instance<'a> {
    pub(crate) fn new(part: &'a Part, number: usize, at: Punctuation, seen: Seen) -> Self {
        Self { part, number, at, seen, load: None, hot: None, change: None }
    }

    /// The keys that most records of the driver of a keyed stage are of, about.
    pub fn hot_keys(&self) -> Vec<HotKey> {
        self.hot.map(|hot| hot()).unwrap_or_default()
    }
}

/// What an instance has said to a message.
#[derive(Debug)]
pub struct Answer<T> {
    /// Which part of the job it is one of.
    pub part: Arc<Part>,
    /// Which one, from 0.
    pub number: usize,
    /// What it said.
    pub said: T,
}

/// A job, as a [`Controller`] sees it when it begins.
pub struct View<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) handle: &'a Handle,
    /// What it has done so far.
    pub metrics: &'a Arc<JobMetrics>,
    /// Its parts: sources first, then stages in the order of the data, then sinks.
    pub parts: &'a [Arc<Part>],
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("parts", &self.parts).finish_non_exhaustive()
    }
}

impl View<'_> {
    /// The part of that kind and name.
    ///
    /// # Errors
    /// When there is none: the error names those that there are.
    pub fn part(&self, kind: NodeKind, name: &str) -> Result<&Arc<Part>, Error> {
        let of_kind = || self.parts.iter().filter(|part| part.kind == kind);
        of_kind().find(|part| *part.name == *name).ok_or_else(|| {
            let names: Vec<_> = of_kind().map(|part| format!("`{}`", part.name)).collect();
            format!("the job has no {kind} `{name}`; it has {}", names.join(", ")).into()
        })
    }
}

#[cfg(all(test, shuttle))]
mod shuttle;
