//! [`Rescale`]: how many kernels work for a stage, or for the whole job.

use super::placement::spread;
use super::rehash::{Moved, Moves, Pass};
use super::{Controller, Part, Round, View};
use crate::explain::NodeKind;
use crate::source::Error;
use crate::time::Epoch;

/// Has the first so many kernels work for stages, and others not. Shards of keyed stages that have to move do so between two epochs; they are spread
/// evenly, and as few move as can. Partitions of sources and sinks stay where they are.
///
/// A job that goes on from a later checkpoint on as many kernels has the same.
#[derive(Debug)]
pub struct Rescale {
    stage: Option<String>,
    kernels: usize,
    moves: Moves,
}

impl Rescale {
    /// All stages.
    pub fn job(kernels: usize) -> Self {
        Self { stage: None, kernels, moves: Moves::default() }
    }

    /// One of them; all of that name, if there are several.
    pub fn stage(name: impl Into<String>, kernels: usize) -> Self {
        Self { stage: Some(name.into()), ..Self::job(kernels) }
    }
}

impl Controller for Rescale {
    type Message = Pass;
    type Outcome = Moved;
    const NAME: &'static str = "rescale";

    fn changes(&self, part: &Part) -> bool {
        part.kind == NodeKind::Stage && self.stage.as_ref().is_none_or(|stage| **stage == *part.name)
    }

    fn on_init(&mut self, job: &View<'_>) -> Result<Pass, Error> {
        let all = job.shared.kernels;
        if !(1..=all).contains(&self.kernels) {
            return Err(format!("it can be {all} kernels at most, and one at least; not {}", self.kernels).into());
        }
        if let Some(name) = &self.stage {
            job.part(NodeKind::Stage, name)?;
        }
        let changed = |part: &Part| self.changes(part);
        self.moves = Moves::of(job, changed, |_, drivers| Ok(spread(drivers, self.kernels)))?;
        Ok(Pass)
    }

    fn on_begin(&mut self, epoch: Epoch) {
        self.moves.hold_after(epoch);
    }

    fn on_complete(&mut self) -> Result<Round<Pass, Moved>, Error> {
        Ok(Round::Done(self.moves.moved))
    }
}
