//! Windows: which records belong together in event time.
//!
//! A window type says how it is cut into [`Slicing`]; all else is the same for all of them: records go into
//! disjoint slices (one update each, however many windows overlap), slices are summed to windows
//! when the watermark passes. To add one: a file here, and a line in the list below.

mod panes;
mod sliding;
mod stage;
mod tumbling;

pub use sliding::Sliding;
pub use stage::WindowStage;
pub use tumbling::Tumbling;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// A span of event time: from `start`, up to but not including `end`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Window {
    /// The first moment within.
    pub start: Time,
    /// The first moment after.
    pub end: Time,
}

/// One row of a windowed aggregate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Windowed<K, V> {
    /// The window.
    pub window: Window,
    /// What the records have in common.
    pub key: K,
    /// What the aggregate says of them.
    pub value: V,
}

/// A kind of window that is a sum of disjoint, equally long slices of event time.
pub trait Windows: Clone + Send + Sync + 'static {
    /// How it is cut.
    fn slicing(&self) -> Slicing;
}

/// Windows of `size`, one each `slide`, with an edge at `offset`; all in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slicing {
    /// The length of a window.
    pub size: i64,
    /// From the start of one window to the start of the next; at most `size`.
    pub slide: i64,
    /// Where some window starts.
    pub offset: i64,
}

impl Slicing {
    /// The slice that holds `time`: its start, and its end. Slices end where windows start or end, so there are
    /// at most two of them a slide, whatever the sizes ("paired windows": Krishnamurthy et al., "On-the-fly Sharing for
    /// Streamed Aggregation", SIGMOD 2006, §3). Saturates at the ends of time.
    #[inline]
    pub(crate) fn slice(&self, time: i64) -> (i64, i64) {
        let start = align_down(time, self.slide, self.offset);
        let (ends_at, next) = (start.saturating_add(self.size % self.slide), start.saturating_add(self.slide));
        if time < ends_at { (start, ends_at) } else { (ends_at, next) }
    }

    /// The end of the first window that ends after `time`.
    pub(crate) fn first_end_after(&self, time: i64) -> i64 {
        // Windows end where windows start plus `size`.
        align_down(time, self.slide, self.offset.saturating_add(self.size)).saturating_add(self.slide)
    }
}

/// The greatest `offset + n * step` not after `time`.
#[inline]
fn align_down(time: i64, step: i64, offset: i64) -> i64 {
    let past = time.wrapping_sub(offset).rem_euclid(step);
    time.saturating_sub(past)
}
