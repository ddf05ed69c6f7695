//! [`Pause`] and [`Resume`]: sources that are not read for a while. What has been read is worked on to its end, and checkpoints go on.

use super::set::{Set, SetSources, SourceChange};
use super::{Answer, Controller, Part, Round, View};
use crate::source::Error;
use crate::time::Epoch;

/// Has sources read nothing until they are [resumed](Resume): each stops between two batches, at the end of an epoch that is the same for all. It is
/// done when all records of that epoch, which is its outcome, and of those before are with the sinks.
///
/// A job that goes on from a checkpoint reads all of its sources.
#[derive(Debug)]
pub struct Pause(Set);

/// Has sources that were [paused](Pause) go on.
#[derive(Debug)]
pub struct Resume(Set);

impl Pause {
    /// All sources.
    pub fn all() -> Self {
        Self(Set::new().change(None, switch(true)))
    }

    /// One of them.
    pub fn source(name: impl Into<String>) -> Self {
        Self(Set::new().change(Some(name.into()), switch(true)))
    }
}

impl Resume {
    /// All sources.
    pub fn all() -> Self {
        Self(Set::new().change(None, switch(false)))
    }

    /// One of them.
    pub fn source(name: impl Into<String>) -> Self {
        Self(Set::new().change(Some(name.into()), switch(false)))
    }
}

fn switch(pause: bool) -> SourceChange {
    SourceChange { pause: Some(pause), ..SourceChange::default() }
}

impl Controller for Pause {
    type Message = SetSources;
    type Outcome = Epoch;
    const NAME: &'static str = "pause";

    fn changes(&self, part: &Part) -> bool {
        self.0.changes(part)
    }

    fn on_init(&mut self, job: &View<'_>) -> Result<SetSources, Error> {
        self.0.on_init(job)
    }

    fn on_begin(&mut self, epoch: Epoch) {
        self.0.on_begin(epoch);
    }

    fn on_next(&mut self, _: Answer<()>) {}

    fn on_complete(&mut self) -> Result<Round<SetSources, Epoch>, Error> {
        self.0.on_complete()
    }
}

impl Controller for Resume {
    type Message = SetSources;
    type Outcome = Epoch;
    const NAME: &'static str = "resume";

    fn changes(&self, part: &Part) -> bool {
        self.0.changes(part)
    }

    fn on_init(&mut self, job: &View<'_>) -> Result<SetSources, Error> {
        self.0.on_init(job)
    }

    fn on_begin(&mut self, epoch: Epoch) {
        self.0.on_begin(epoch);
    }

    fn on_next(&mut self, _: Answer<()>) {}

    fn on_complete(&mut self) -> Result<Round<SetSources, Epoch>, Error> {
        self.0.on_complete()
    }
}
