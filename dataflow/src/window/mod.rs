//! Windows: which records belong together in event time.
//!
//! A kind of window ([`Windows`]) knows the stage that aggregates it. Most are [`Sliced`]: they only say how they are cut into
//! [`Slicing`], and all else is the same: records go into disjoint slices (one update each, however many windows overlap),
//! slices are summed to windows when the watermark passes. To add one: a file here, and a line in the list below.

mod count;
mod global;
mod panes;
mod session;
mod slices;
mod sliding;
mod stage;
pub mod trigger;
mod triggered;
mod tumbling;

pub use count::CountWindows;
pub use session::{Session, Sessions};
pub use sliding::Sliding;
pub use stage::WindowStage;
pub use trigger::{Fired, Timing, Trigger};
pub use triggered::{Assign, Global, TriggeredWindows};
pub use tumbling::Tumbling;

use serde::{Deserialize, Serialize};

use crate::aggregate::Aggregate;
use crate::bundle::Record;
use crate::pipe::Pipe;
use crate::stream::Stream;
use crate::table::Key;
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

/// A kind of window: how records are aggregated by it.
pub trait Windows: Clone + Send + Sync + 'static {
    /// The aggregate of the records of each key and window.
    fn aggregate<I, P, F, K, A>(self, stream: Stream<I, P>, key: F, aggregate: A) -> Stream<Windowed<K, A::Out>>
    where
        I: Record,
        P: Pipe<I>,
        P::Out: Record,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        K: Key,
        A: Aggregate<P::Out>;
}

/// A kind of window that is a sum of disjoint slices of event time.
pub trait Sliced: Clone + Send + Sync + 'static {
    /// How it is cut.
    fn slicing(&self) -> Slicing;
}

impl<W: Sliced> Windows for W {
    fn aggregate<I, P, F, K, A>(self, stream: Stream<I, P>, key: F, aggregate: A) -> Stream<Windowed<K, A::Out>>
    where
        I: Record,
        P: Pipe<I>,
        P::Out: Record,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        K: Key,
        A: Aggregate<P::Out>,
    {
        stream.must_be_timed();
        stream.stage("window", move |pipe, kernels| WindowStage::new(pipe, key, &self, aggregate, pieces(kernels)))
    }
}

/// Pieces of the hash space that windows are merged in: two a kernel, so that one who comes late finds something left; one
/// kernel has nobody to share with.
fn pieces(kernels: usize) -> usize {
    if kernels == 1 { 1 } else { 2 * kernels }
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
