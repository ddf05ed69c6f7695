//! `join`: records of two keyed streams that belong together. What the joins do is in [`crate::join`].

use crate::aggregate::State;
use crate::bundle::Record;
use crate::checkpoint::{Column, Layout};
use crate::join::interval::{Interval, IntervalJoin};
use crate::join::temporal::TemporalJoin;
use crate::join::window::WindowJoinStage;
use crate::join::{Kind, Side};
use crate::operator::{KeyedStream, Shuffled};
use crate::pipe::Pipe;
use crate::stream::Stream;
use crate::table::Key;
use crate::window::Sliced;

/// Two keyed streams, to be joined.
#[must_use = "a stream does nothing until it reaches a sink"]
pub struct JoinedStreams<L, R> {
    left: L,
    right: R,
}

impl<I: Record, P: Pipe<I>, F> KeyedStream<I, P, F> {
    /// This stream and another, to be joined by key.
    pub fn join<J: Record, Q: Pipe<J>, G>(
        self,
        other: KeyedStream<J, Q, G>,
    ) -> JoinedStreams<Self, KeyedStream<J, Q, G>> {
        JoinedStreams { left: self, right: other }
    }
}

impl<I, P, F, J, Q, G> JoinedStreams<KeyedStream<I, P, F>, KeyedStream<J, Q, G>>
where
    I: Record,
    P: Pipe<I>,
    P::Out: State,
    J: Record,
    Q: Pipe<J>,
    Q::Out: State,
{
    /// Records of the same key and window, when the window is over; the results' event time is the window's last moment.
    ///
    /// # Panics
    /// When one of the streams has no event time.
    pub fn window<K, W, X>(self, windows: W, kind: X) -> Stream<X::Out>
    where
        K: Key,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        G: Fn(&Q::Out) -> K + Clone + Send + Sync + 'static,
        W: Sliced,
        X: Kind<P::Out, Q::Out>,
    {
        let (left, right) = (self.left, self.right);
        left.stream.must_be_timed();
        right.stream.must_be_timed();
        let (key, other) = (left.key, right.key);
        let left = left.stream.map(move |record| (key(&record), Side::Left(record)));
        let right = right.stream.map(move |record| (other(&record), Side::Right(record)));
        let kept = Layout::of("window join")
            .table("records", [Column::of::<K>("key"), Column::of::<P::Out>("left"), Column::of::<Q::Out>("right")])
            .sliced(&windows.slicing());
        left.union(right).stage("window join", move |_, _| WindowJoinStage::new(kind, &windows)).keeps(kept)
    }

    /// Records of the same key that are not too far apart. A pair comes with the later of the two, and has its time. What
    /// has no partner has its own time, and so holds back the watermark of what follows by the interval's length.
    ///
    /// # Panics
    /// When one of the streams has no event time.
    pub fn within<K, X>(self, interval: Interval, kind: X) -> Stream<X::Out>
    where
        K: Key,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        G: Fn(&Q::Out) -> K + Clone + Send + Sync + 'static,
        X: Kind<P::Out, Q::Out>,
    {
        self.shuffle().process_as("interval join", IntervalJoin::new(kind, interval))
    }

    /// Each record of the first stream with the record of the second that was the key's last at its time, when the watermark
    /// has passed it: the second stream is a table, of which the rows have versions.
    ///
    /// # Panics
    /// When one of the streams has no event time.
    pub fn as_of<K, X>(self, kind: X) -> Stream<X::Out>
    where
        K: Key,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        G: Fn(&Q::Out) -> K + Clone + Send + Sync + 'static,
        X: Kind<P::Out, Q::Out>,
    {
        self.shuffle().process_as("temporal join", TemporalJoin::new(kind))
    }

    /// Both to the kernels that own their keys.
    ///
    /// # Panics
    /// When one of the streams has no event time.
    pub fn shuffle<K>(self) -> Shuffled<K, Side<P::Out, Q::Out>>
    where
        K: Key,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        G: Fn(&Q::Out) -> K + Clone + Send + Sync + 'static,
    {
        let (left, right) = (self.left, self.right);
        left.stream.must_be_timed();
        right.stream.must_be_timed();
        let (key, other) = (left.key, right.key);
        let left = left.stream.map(move |record| (key(&record), Side::Left(record)));
        let right = right.stream.map(move |record| (other(&record), Side::Right(record)));
        Shuffled::of(left).and(right)
    }
}
