//! [`LatencyTarget`]: bundles, and epochs if they may change, as large as a latency allows.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Change, Decision, Policy};
use crate::control::{Cut, Set};
use crate::epoch::Epochs;
use crate::explain::NodeKind;

/// Records of a bundle that it does not go beyond.
const BUNDLES: RangeInclusive<usize> = 64..=8_192;

/// Holds the 99th percentile of how long results take, from when an epoch is closed, at a target: by smaller bundles, which are sooner out of the way, when it is
/// above it, and by larger ones, which cost less, when it is below half of it.
///
/// (After AIMD and its like, by factors of two: what is too slow is mended at once, what could be cheaper is tried one step at a time.)
#[derive(Clone, Debug)]
pub struct LatencyTarget {
    target: Duration,
    /// Sources whose epochs may change: their spans now, and between which they are to be.
    epochs: BTreeMap<String, (Duration, RangeInclusive<Duration>)>,
    epochs_looked_at: u64,
}

/// Epochs that have to have ended since the last look.
const EPOCHS: u64 = 8;

impl LatencyTarget {
    /// 99 of 100 epochs are to have given their results so soon.
    pub fn of(target: Duration) -> Self {
        Self { target, epochs: BTreeMap::new(), epochs_looked_at: 0 }
    }

    /// Also has a source close an epoch by the clock each such span, as short as it must be and as long as it may. A short one has results sooner, and
    /// costs more. Which records are late may change with it.
    #[must_use]
    pub fn epochs(mut self, source: impl Into<String>, spans: RangeInclusive<Duration>) -> Self {
        self.epochs.insert(source.into(), (*spans.end(), spans));
        self
    }
}

impl Policy for LatencyTarget {
    const NAME: &'static str = "latency";

    fn decide(&mut self, before: &Cut, now: &Cut) -> Vec<Decision> {
        let Some((_, p99)) = now.latency_since(before).filter(|_| now.epochs >= self.epochs_looked_at + EPOCHS) else {
            return Vec::new();
        };
        self.epochs_looked_at = now.epochs;
        let is_slow = p99 > self.target;
        if !is_slow && p99 > self.target / 2 {
            return Vec::new();
        }
        let (mut set, mut told) = (Set::new(), Vec::new());
        for cut in now.parts.iter().filter(|cut| cut.part.kind == NodeKind::Source) {
            let (is, name) = (cut.seen.bundle as usize, &*cut.part.name);
            let wanted = if is_slow { is / 2 } else { is * 2 }.clamp(*BUNDLES.start(), *BUNDLES.end());
            if wanted != is {
                set = set.bundle(name, wanted);
                told.push(format!("{wanted} records at a time of `{name}` instead of {is}"));
                continue;
            }
            if let Some((span, spans)) = self.epochs.get_mut(name) {
                let wanted = if is_slow { *span / 2 } else { *span * 2 }.clamp(*spans.start(), *spans.end());
                if wanted != *span {
                    set = set.epochs(name, Epochs::WallClock(wanted));
                    told.push(format!("epochs of `{name}` of {wanted:?} instead of {span:?}"));
                    *span = wanted;
                }
            }
        }
        if told.is_empty() {
            return Vec::new();
        }
        let why = format!("p99 is {p99:?}, to be {:?}: {}", self.target, told.join(", "));
        vec![Decision { change: Change::Set(set), why }]
    }
}
