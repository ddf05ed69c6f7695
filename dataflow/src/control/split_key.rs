//! [`SplitKey`]: hot keys of which the records are put together before they come to their owner.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::rehash::Pass;
use super::{Control, Controller, Part, Round, View};
use crate::explain::NodeKind;
use crate::keyed::Splits;
use crate::source::Error;
use crate::time::Epoch;

/// Has all kernels put records of hot keys together, so that the one that owns such a key has less to do: of stages that say
/// [how](crate::operator::Shuffled::combine). Its outcome is the last epoch before.
///
/// A job that goes on from a later checkpoint has the same keys split.
#[derive(Default)]
pub struct SplitKey {
    stage: String,
    /// Whether they are to be split, by key as JSON.
    keys: BTreeMap<String, bool>,
    begun: Option<Begun>,
}

struct Begun {
    control: Arc<Control>,
    splits: Arc<Splits>,
    epoch: Epoch,
}

impl fmt::Debug for SplitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitKey").field("stage", &self.stage).field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl SplitKey {
    /// Nothing so far, of the stages of that name.
    pub fn stage(name: impl Into<String>) -> Self {
        Self { stage: name.into(), ..Self::default() }
    }

    /// Splits a key, which is JSON, as a [cut](super::Cut) tells hot ones.
    #[must_use]
    pub fn split(mut self, key: impl Into<String>) -> Self {
        self.keys.insert(key.into(), true);
        self
    }

    /// Has it whole again.
    #[must_use]
    pub fn join(mut self, key: impl Into<String>) -> Self {
        self.keys.insert(key.into(), false);
        self
    }
}

impl Controller for SplitKey {
    type Message = Pass;
    type Outcome = Epoch;
    const NAME: &'static str = "split-key";

    fn changes(&self, part: &Part) -> bool {
        part.kind == NodeKind::Stage && *self.stage == *part.name
    }

    fn on_init(&mut self, job: &View<'_>) -> Result<Pass, Error> {
        let (control, part) = (job.shared.control.clone(), job.part(NodeKind::Stage, &self.stage)?);
        let Some(splits) = control.splits_of(&self.stage) else {
            let remedy = "say how two of its records become one, by `Shuffled::combine`";
            return Err(format!("keys of {part} cannot be split: {remedy}").into());
        };
        let keys = self.keys.iter().map(|(key, is_split)| Ok((splits.read(key)?, *is_split)));
        self.keys = keys.collect::<Result<_, Error>>()?;
        self.begun = Some(Begun { control, splits, epoch: Epoch::default() });
        Ok(Pass)
    }

    fn on_begin(&mut self, epoch: Epoch) {
        let Some(begun) = &mut self.begun else { return };
        begun.epoch = epoch;
        let mut split = BTreeSet::new();
        begun.control.settings.change(epoch, |kept| {
            let keys = kept.split.entry(self.stage.clone()).or_default();
            keys.retain(|key| self.keys.get(key) != Some(&false));
            keys.extend(self.keys.iter().filter(|(_, is_split)| **is_split).map(|(key, _)| key.clone()));
            split = keys.clone();
        });
        begun.splits.set_after(Some(epoch), split.iter());
    }

    fn on_complete(&mut self) -> Result<Round<Pass, Epoch>, Error> {
        Ok(Round::Done(self.begun.as_ref().map(|begun| begun.epoch).unwrap_or_default()))
    }
}
