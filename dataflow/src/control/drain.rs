//! [`Drain`]: a job that reads nothing more, and comes to its end.

use super::set::{Set, SetSources, SourceChange};
use super::{Answer, Controller, Part, Round, View};
use crate::source::Error;
use crate::time::Epoch;

/// Has all sources stop reading at the end of an epoch that is the same for all; then windows fire, and the job ends well. Its outcome is that epoch.
#[derive(Debug)]
pub struct Drain(Set);

impl Default for Drain {
    fn default() -> Self {
        Self(Set::new().change(None, SourceChange { drain: true, ..SourceChange::default() }))
    }
}

impl Controller for Drain {
    type Message = SetSources;
    type Outcome = Epoch;
    const NAME: &'static str = "drain";

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
