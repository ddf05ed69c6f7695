//! `window(…).aggregate(…)`: what the records of a key and window come to.

use std::time::Duration;

use crate::aggregate::{Aggregate, State, reduce, top_k};
use crate::bundle::Record;
use crate::join::Side;
use crate::operator::{KeyedStream, Shuffled};
use crate::pipe::Pipe;
use crate::stream::Stream;
use crate::table::Key;
use crate::window::{Assign, CountWindows, Fired, Trigger, TriggeredWindows, Windowed, Windows};

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

impl<I, P, F, W> WindowedStream<I, P, F, W> {
    /// Has windows tell what they have come to before and after their end too.
    pub fn trigger(self, trigger: Trigger) -> TriggeredStream<I, P, F, W> {
        TriggeredStream { windowed: self, trigger, lateness: Duration::ZERO, tick: None }
    }

    /// Keeps windows for so long after their end: late records of them are taken in, and they tell what they have come to
    /// anew. For windows of what comes from a source with event time: only there are records late.
    pub fn allowed_lateness(self, lateness: Duration) -> TriggeredStream<I, P, F, W> {
        TriggeredStream { windowed: self, trigger: Trigger::at_watermark(), lateness, tick: None }
    }
}

/// A stream of which the records are grouped by key and by windows that may fire several times.
#[must_use = "a stream does nothing until it reaches a sink"]
pub struct TriggeredStream<I, P, F, W> {
    windowed: WindowedStream<I, P, F, W>,
    trigger: Trigger,
    lateness: Duration,
    tick: Option<Duration>,
}

impl<I, P, F, W> TriggeredStream<I, P, F, W>
where
    I: Record,
    P: Pipe<I>,
    P::Out: Record,
    W: Assign,
{
    /// As [`WindowedStream::allowed_lateness`].
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.lateness = lateness;
        self
    }

    /// As [`Shuffled::tick`]: how exactly triggers keep to processing time.
    pub fn tick(mut self, span: Duration) -> Self {
        self.tick = Some(span);
        self
    }

    /// What windows tell, each time that they fire. What comes after all that was allowed is counted as late by its source.
    pub fn aggregate<K, A>(self, aggregate: A) -> Stream<Fired<K, A::Out>>
    where
        K: Key,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        A: Aggregate<P::Out>,
    {
        let all = self.fire(aggregate);
        all.flat_map(|side| if let Side::Left(fired) = side { Some(fired) } else { None }).materialize()
    }

    /// The same, and the records that came after all that was allowed.
    pub fn aggregate_with_late<K, A>(self, aggregate: A) -> (Stream<Fired<K, A::Out>>, Stream<P::Out>)
    where
        K: Key,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        A: Aggregate<P::Out>,
    {
        self.fire(aggregate).sides()
    }

    fn fire<K, A>(self, aggregate: A) -> Stream<Side<Fired<K, A::Out>, P::Out>>
    where
        K: Key,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        A: Aggregate<P::Out>,
    {
        let Self { windowed: WindowedStream { stream, key, windows }, trigger, lateness, tick } = self;
        if windows.is_timed() {
            stream.must_be_timed();
        }
        let late = stream.late.clone().map(|late| {
            let name = format!("{} late", stream.names.join(" → "));
            Stream::new(stream.job.clone(), late, stream.pipe.clone(), name.into(), true)
        });
        let mut shuffled: Shuffled<K, P::Out> = KeyedStream { stream, key: key.clone() }.shuffle();
        if let Some(late) = late {
            shuffled = shuffled.union(KeyedStream { stream: late, key });
        }
        if let Some(span) = tick {
            shuffled = shuffled.tick(span);
        }
        shuffled.process_as("window", TriggeredWindows::new(windows, aggregate, trigger, lateness))
    }
}

impl<I, P, F> KeyedStream<I, P, F>
where
    I: Record,
    P: Pipe<I>,
    P::Out: Record,
{
    /// Of each key, what each `size` records in a row come to. See [`CountWindows`].
    pub fn count_window<K, A>(self, size: u64, aggregate: A) -> Stream<(K, A::Out)>
    where
        K: Key,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        A: Aggregate<P::Out>,
    {
        self.sliding_count_window(size, size, aggregate)
    }

    /// Of each key, what the last `size` records come to, each `slide` records. See [`CountWindows`].
    pub fn sliding_count_window<K, A>(self, size: u64, slide: u64, aggregate: A) -> Stream<(K, A::Out)>
    where
        K: Key,
        F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
        A: Aggregate<P::Out>,
    {
        self.shuffle().process_as("count window", CountWindows::new(aggregate, size, slide))
    }
}
