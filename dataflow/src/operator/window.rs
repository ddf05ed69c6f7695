//! `window(…).aggregate(…)`: what the records of a key and window come to.

use crate::aggregate::{Aggregate, State, reduce, top_k};
use crate::bundle::Record;
use crate::pipe::Pipe;
use crate::stream::Stream;
use crate::table::Key;
use crate::window::{Windowed, Windows};

/// A stream of which the records are grouped by key and window.
#[must_use = "a stream does nothing until it reaches a sink"]
pub struct WindowedStream<I, P, F, W> {
    pub(crate) stream: Stream<I, P>,
    pub(crate) key: F,
    pub(crate) windows: W,
}

impl<I, P, F, W> WindowedStream<I, P, F, W>
where
    I: Record,
    P: Pipe<I>,
    P::Out: Record,
    W: Windows,
{
    /// One row for each key and window that has records, as soon as the watermark has passed the window's end; the
    /// row's event time is the window's last moment.
    ///
    /// # Panics
    /// When the stream has no event time: without it no window would ever end.
    pub fn aggregate<K, A>(self, aggregate: A) -> Stream<Windowed<K, A::Out>>
    where
        K: Key,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        A: Aggregate<P::Out>,
    {
        self.windows.aggregate(self.stream, self.key, aggregate)
    }

    /// What is left when `combine` has joined all records, two by two; it must be commutative and associative.
    pub fn reduce<K, C>(self, combine: C) -> Stream<Windowed<K, P::Out>>
    where
        K: Key,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        P::Out: State,
        C: Fn(P::Out, P::Out) -> P::Out + Clone + Send + Sync + 'static,
    {
        self.aggregate(reduce(combine))
    }

    /// The `k` records of the highest `score`, best first; of equal ones the lesser record first.
    pub fn top_k<K, S, C>(self, k: usize, score: C) -> Stream<Windowed<K, Vec<P::Out>>>
    where
        K: Key,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        P::Out: State + Ord,
        S: State + Ord,
        C: Fn(&P::Out) -> S + Clone + Send + Sync + 'static,
    {
        self.aggregate(top_k(k, score))
    }
}
