//! [`Rewire`]: branches of a job that are added and removed while it runs.
//!
//! A *branch* is a sink, and all stages that nothing but that sink needs. Branches are described with their job: so what goes there has a type, and what they keep and
//! commit has its place in each checkpoint. Which of them get records changes between two epochs. What nobody needs then is given to nobody: not even the first
//! stage of a removed branch is given a bundle. Punctuations go there all the same, so that epochs, checkpoints and other operations know no difference.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::rehash::Pass;
use super::versions::Versions;
use super::{Control, Controller, Part, Round, View};
use crate::explain::NodeKind;
use crate::source::Error;
use crate::time::Epoch;

/// Adds branches to a job, and removes others, all between the same two epochs; a branch is called by its sink. Its outcome is the last epoch before.
///
/// The sink of a branch that is removed gets what is of the epochs up to that one, and commits it as always. What the branch keeps stays; windows that are open
/// close without what comes meanwhile, and what they give then is given to nobody. A branch that is added again gets what comes from then on. A job
/// that goes on from a later checkpoint has the same branches.
#[derive(Debug, Default)]
pub struct Rewire {
    /// Whether a sink is to get what comes.
    sinks: BTreeMap<String, bool>,
    begun: Option<(Arc<Control>, Epoch)>,
}

impl Rewire {
    /// Nothing so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the branch that ends in a sink; in all sinks of that name, if there are several.
    #[must_use]
    pub fn with(mut self, sink: impl Into<String>) -> Self {
        self.sinks.insert(sink.into(), true);
        self
    }

    /// Removes it.
    #[must_use]
    pub fn without(mut self, sink: impl Into<String>) -> Self {
        self.sinks.insert(sink.into(), false);
        self
    }
}

impl Controller for Rewire {
    type Message = Pass;
    type Outcome = Epoch;
    const NAME: &'static str = "rewire";

    fn changes(&self, part: &Part) -> bool {
        part.kind == NodeKind::Sink && self.sinks.contains_key(&*part.name)
    }

    fn on_init(&mut self, job: &View<'_>) -> Result<Pass, Error> {
        for sink in self.sinks.keys() {
            job.part(NodeKind::Sink, sink)?;
        }
        self.begun = Some((job.shared.control.clone(), Epoch::default()));
        Ok(Pass)
    }

    fn on_begin(&mut self, epoch: Epoch) {
        let Some((control, at)) = &mut self.begun else { return };
        *at = epoch;
        for (sink, is_attached) in &self.sinks {
            control.attachment(sink).set_after(epoch, *is_attached);
        }
        let sinks = self.sinks.iter().map(|(sink, is_attached)| (sink.clone(), *is_attached));
        control.settings.change(epoch, |kept| kept.attached.extend(sinks));
    }

    fn on_complete(&mut self) -> Result<Round<Pass, Epoch>, Error> {
        Ok(Round::Done(self.begun.as_ref().map(|(_, epoch)| *epoch).unwrap_or_default()))
    }
}

/// Whether a sink gets what comes.
pub(crate) struct Attachment(ArcSwap<Versions<bool>>);

impl Attachment {
    pub(crate) fn new(is_attached: bool) -> Self {
        Self(ArcSwap::from_pointee(Versions::new(is_attached)))
    }

    /// What is of `epoch`.
    pub(crate) fn holds_at(&self, epoch: Epoch) -> bool {
        *self.0.load().at(epoch)
    }

    fn set_after(&self, epoch: Epoch, is_attached: bool) {
        Versions::change(&self.0, Some(epoch), is_attached);
    }

    /// All epochs up to `epoch` are complete.
    pub(crate) fn forget(&self, epoch: Epoch) {
        Versions::forget_in(&self.0, epoch);
    }
}

/// Who needs what is given to a stage or to a sink: the sinks that it comes to in the end.
#[derive(Clone)]
pub(crate) struct Needed(Arc<[Arc<Attachment>]>);

impl Needed {
    pub(crate) fn by(sinks: impl Iterator<Item = Arc<Attachment>>) -> Self {
        Self(sinks.collect())
    }

    /// Whether somebody needs what is of `epoch`. What comes to no sink at all is there for something else.
    #[inline]
    pub(crate) fn in_epoch(&self, epoch: Epoch) -> bool {
        self.0.is_empty() || self.0.iter().any(|sink| sink.holds_at(epoch))
    }
}
