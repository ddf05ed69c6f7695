//! [`Settings`]: what operations have set, as of each epoch: a job that goes on from a checkpoint has what was set by then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::versions::Versions;
use crate::epoch::Epochs;
use crate::sync::{Mutex, lock};
use crate::time::Epoch;

/// Ids of operations that are remembered, at most: the newest.
const REMEMBERED: usize = 1024;

/// What has been set so far.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The ids of operations, oldest first.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub(crate) done: VecDeque<String>,
    /// By name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) parameters: BTreeMap<String, Value>,
    /// By name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) sources: BTreeMap<String, SourceSettings>,
    /// The kernels of the drivers of stages, by the stages' names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) placements: BTreeMap<String, Vec<usize>>,
    /// Whether sinks get what comes, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) attached: BTreeMap<String, bool>,
    /// The keys that are split, as JSON, by the names of their stages.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) split: BTreeMap<String, BTreeSet<String>>,
    /// How often checkpoints are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checkpoints: Option<Duration>,
    /// How long a task runs before others have their turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quantum: Option<Duration>,
}

/// What has been set of a source.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SourceSettings {
    /// Records in a bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bundle: Option<usize>,
    /// When epochs are closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) epochs: Option<Epochs>,
}

impl SourceSettings {
    /// With what `newer` says.
    pub(crate) fn with(self, newer: Self) -> Self {
        Self { bundle: newer.bundle.or(self.bundle), epochs: newer.epochs.or(self.epochs) }
    }
}

/// See the module's page.
#[derive(Default)]
pub(crate) struct Settings(Mutex<Versions<Kept>>);

impl Settings {
    /// A job begins with this.
    pub(crate) fn new(kept: Kept) -> Self {
        Self(Mutex::new(Versions::new(kept)))
    }

    /// Changes what holds after `epoch`, the newest one.
    pub(crate) fn change(&self, epoch: Epoch, change: impl FnOnce(&mut Kept)) {
        let versions = &mut *lock(&self.0);
        let mut kept = versions.newest().clone();
        change(&mut kept);
        versions.set_after(epoch, kept);
    }

    /// An operation is done with `epoch`.
    pub(crate) fn done(&self, epoch: Epoch, id: String) {
        self.change(epoch, |kept| {
            kept.done.push_back(id);
            let surplus = kept.done.len().saturating_sub(REMEMBERED);
            kept.done.drain(..surplus);
        });
    }

    /// Whether an operation was done, or is about to be.
    pub(crate) fn is_done(&self, id: &str) -> bool {
        lock(&self.0).newest().done.iter().any(|done| done == id)
    }

    /// What had been set at the end of `epoch`: what holds in the next one.
    pub(crate) fn as_of(&self, epoch: Epoch) -> Kept {
        lock(&self.0).at(epoch.next()).clone()
    }

    /// What holds now.
    pub(crate) fn now(&self) -> Kept {
        lock(&self.0).newest().clone()
    }

    /// Nobody will ask what had been set before the end of `epoch`.
    pub(crate) fn forget_before(&self, epoch: Epoch) {
        lock(&self.0).forget(epoch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_depends_on_the_epoch() {
        let settings = Settings::default();
        let set = |epoch: u64, value: u64| {
            settings.change(Epoch(epoch), |kept| drop(kept.parameters.insert("x".into(), value.into())));
        };
        let as_of = |epoch: u64| settings.as_of(Epoch(epoch)).parameters.get("x").and_then(Value::as_u64);
        set(3, 30);
        set(5, 50);
        assert_eq!([2, 3, 4, 5, 9].map(as_of), [None, Some(30), Some(30), Some(50), Some(50)]);
        settings.forget_before(Epoch(4));
        assert_eq!([3, 4, 5].map(as_of), [Some(30), Some(30), Some(50)]);
        settings.forget_before(Epoch(9));
        assert_eq!(as_of(9), Some(50));
    }

    #[test]
    fn the_newest_ids_are_remembered() {
        let settings = Settings::default();
        (0..=REMEMBERED as u64).for_each(|n| settings.done(Epoch(n), n.to_string()));
        assert!(!settings.is_done("0") && settings.is_done("1") && settings.is_done(&REMEMBERED.to_string()));
    }
}
