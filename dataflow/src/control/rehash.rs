//! [`Rehash`]: shards of a keyed stage that move to other kernels.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::placement::Placement;
use super::{Control, Controller, Instance, Message, Part, Round, View};
use crate::explain::NodeKind;
use crate::source::Error;
use crate::time::Epoch;

/// Moves shards of a stage to other kernels, between two epochs. A [cut](super::Cut) tells where they are, and how much comes for each. Keys of
/// which shards stay where they are notice nothing.
///
/// A job that goes on from a later checkpoint on as many kernels has them where they were.
#[derive(Debug)]
pub struct Rehash {
    stage: String,
    /// By shard.
    to: BTreeMap<usize, usize>,
    moves: Moves,
}

/// What has moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moved {
    /// The last epoch of which the work was done where it was before.
    pub epoch: Epoch,
    /// How many shards and other drivers of stages have moved.
    pub drivers: usize,
}

impl Rehash {
    /// Nothing so far, of the stages of that name.
    pub fn stage(name: impl Into<String>) -> Self {
        Self { stage: name.into(), to: BTreeMap::new(), moves: Moves::default() }
    }

    /// Moves a shard to a kernel, both counted from 0.
    #[must_use]
    pub fn shard(mut self, shard: usize, kernel: usize) -> Self {
        self.to.insert(shard, kernel);
        self
    }
}

impl Controller for Rehash {
    type Message = Pass;
    type Outcome = Moved;
    const NAME: &'static str = "rehash";

    fn changes(&self, part: &Part) -> bool {
        part.kind == NodeKind::Stage && *self.stage == *part.name
    }

    fn on_init(&mut self, job: &View<'_>) -> Result<Pass, Error> {
        job.part(NodeKind::Stage, &self.stage)?;
        let (kernels, changed) = (job.shared.kernels, |part: &Part| self.changes(part));
        self.moves = Moves::of(job, changed, |part, drivers| {
            let mut new = drivers.to_vec();
            for (shard, kernel) in &self.to {
                let Some(place) = new.get_mut(*shard) else {
                    let shards = drivers.len();
                    return Err(format!("{part} has {shards} shards, counted from 0, and none is {shard}").into());
                };
                if *kernel >= kernels {
                    return Err(format!("there are {kernels} kernels, counted from 0, and none is {kernel}").into());
                }
                *place = *kernel;
            }
            Ok(new)
        })?;
        Ok(Pass)
    }

    fn on_begin(&mut self, epoch: Epoch) {
        self.moves.hold_after(epoch);
    }

    fn on_complete(&mut self) -> Result<Round<Pass, Moved>, Error> {
        Ok(Round::Done(self.moves.moved))
    }
}

/// What rides through the job so that all know when its epoch is over: nobody has anything to do for it.
#[derive(Debug)]
pub struct Pass;

impl Message for Pass {
    type Visit = ();
    type Answer = ();

    fn concerns(&self, _: &Part) -> bool {
        false
    }

    fn on_init(&self, _: &Part, _: usize) {}

    fn on_complete(&self, (): &mut (), _: &mut Instance<'_>) {}
}

/// Placements that are to change.
#[derive(Default)]
pub(super) struct Moves {
    control: Option<Arc<Control>>,
    /// By stage: its name, where its drivers are to be, and where they are.
    stages: Vec<(Arc<str>, Arc<[usize]>, Arc<Placement>)>,
    pub(super) moved: Moved,
}

impl fmt::Debug for Moves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stages: Vec<_> = self.stages.iter().map(|(name, to, _)| (name, to)).collect();
        f.debug_struct("Moves").field("stages", &stages).field("moved", &self.moved).finish_non_exhaustive()
    }
}

impl Moves {
    /// Those of the stages that are meant: `place` says where their drivers are to be.
    pub(super) fn of(
        job: &View<'_>,
        is_meant: impl Fn(&Part) -> bool,
        place: impl Fn(&Part, &[usize]) -> Result<Vec<usize>, Error>,
    ) -> Result<Self, Error> {
        let control = &job.shared.control;
        let mut stages = Vec::new();
        for part in job.parts.iter().filter(|part| is_meant(part)) {
            if let Some(placement) = control.placement(part) {
                stages.push((part.name.clone(), place(part, &placement.newest())?.into(), placement));
            }
        }
        Ok(Self { control: Some(control.clone()), stages, moved: Moved::default() })
    }

    pub(super) fn hold_after(&mut self, epoch: Epoch) {
        let mut drivers = 0;
        for (_, to, placement) in &self.stages {
            drivers += placement.newest().iter().zip(&**to).filter(|(was, is)| was != is).count();
            placement.set_after(epoch, to.clone());
        }
        self.moved = Moved { epoch, drivers };
        let Some(control) = &self.control else { return };
        control.settings.change(epoch, |kept| {
            kept.placements.extend(self.stages.iter().map(|(name, to, _)| (name.to_string(), to.to_vec())));
        });
    }
}
