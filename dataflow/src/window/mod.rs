//! Windows: which records belong together in event time.
//!
//! A kind of window ([`Windows`]) knows the stage that aggregates it. Most are [`Sliced`]: they only say how they are cut into
//! [`Slicing`], and all else is the same: records go into disjoint slices (one update each, however many windows overlap),
//! slices are summed to windows when the watermark passes. To add one: a file here, and a line in the list below.

mod columns;
mod count;
mod cumulating;
mod global;
mod panes;
mod saved;
mod session;
mod slices;
mod slicing;
mod sliding;
mod stage;
mod store;
mod tables;
pub mod trigger;
mod triggered;
mod tumbling;

pub use columns::{Columns, Grouping};
pub use count::CountWindows;
pub use cumulating::Cumulating;
pub use global::Global;
pub use saved::SavedSlice;
pub use session::{Session, Sessions};
pub use slicing::{Shape, Slicing};
pub use sliding::Sliding;
pub use stage::WindowStage;
pub use store::piece_of;
pub use tables::Tables;
pub use trigger::{Fired, Timing, Trigger};
pub use triggered::{Assign, TriggeredWindows};
pub use tumbling::Tumbling;

use serde::{Deserialize, Serialize};

use crate::aggregate::Aggregate;
use crate::bundle::Record;
use crate::checkpoint::{Column, Layout};
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

impl Window {
    /// The last moment within: the event time of what is told of it.
    pub fn last(self) -> Time {
        Time(self.end.0.saturating_sub(1))
    }
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
        let slicing = self.slicing();
        stream.must_be_timed_for(&slicing);
        let name = if slicing.is_whole() { "global window" } else { "window" };
        let kept =
            Layout::of(name).table("groups", [Column::of::<K>("key"), Column::of::<A::Acc>("value")]).sliced(&slicing);
        stream
            .stage(name, move |pipe, kernels| WindowStage::new(pipe, key, &self, aggregate, pieces(kernels)))
            .keeps(kept)
    }
}

/// Pieces of the hash space that windows are merged in: two a kernel, so that one who comes late finds something left; one
/// kernel has nobody to share with.
fn pieces(kernels: usize) -> usize {
    if kernels == 1 { 1 } else { 2 * kernels }
}
