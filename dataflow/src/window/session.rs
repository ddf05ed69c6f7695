//! Session windows: the records of a key that follow each other without a gap.
//!
//! A [`Process`] over the open sessions of each key, most often one. What a session is made of can be far apart, so kernels could not
//! tell from their own shares which sessions are over: each key is in one place instead, and only what the aggregate
//! looks at is sent there.

use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Window, Windowed, Windows};
use crate::aggregate::Aggregate;
use crate::bundle::Record;
use crate::keyed::{Context, Process, Timer};
use crate::operator::Shuffled;
use crate::pipe::Pipe;
use crate::stream::Stream;
use crate::table::Key;
use crate::time::{Time, micros};

/// Windows of records that follow each other with no more than `gap` between them; from the first record to `gap` after the
/// last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    pub(super) gap: i64,
}

impl Session {
    /// Sessions that end when nothing has come for `gap`. Two records that are exactly so far apart are of one session.
    ///
    /// # Panics
    /// When `gap` is less than a microsecond.
    pub fn with_gap(gap: Duration) -> Self {
        let gap = micros(gap);
        assert!(gap > 0, "the gap of a session must be at least a microsecond long");
        Self { gap }
    }
}

impl Windows for Session {
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
        let sessions = Sessions { gap: self.gap, aggregate: aggregate.clone(), of: PhantomData };
        let items = stream.map(move |record| (key(&record), aggregate.item(&record)));
        Shuffled::of(items).process_as("session", sessions)
    }
}

/// The process of session windows, over what `A` looks at of records of type `T`.
pub struct Sessions<T, A> {
    gap: i64,
    aggregate: A,
    of: PhantomData<fn(T)>,
}

impl<T, A: Clone> Clone for Sessions<T, A> {
    fn clone(&self) -> Self {
        Self { gap: self.gap, aggregate: self.aggregate.clone(), of: PhantomData }
    }
}

/// A session that may go on.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Run<V> {
    first: i64,
    last: i64,
    value: V,
}

/// The open sessions of a key: further apart than the gap.
#[derive(Clone, Serialize, Deserialize)]
pub struct Open<V> {
    run: Option<Run<V>>,
    /// With records that are out of order there may be several.
    #[expect(clippy::box_collection, reason = "one word for what is rare: there is a value for each key")]
    more: Option<Box<Vec<Run<V>>>>,
}

impl<V> Default for Open<V> {
    fn default() -> Self {
        Self { run: None, more: None }
    }
}

impl<V> Open<V> {
    fn take_all(&mut self) -> impl Iterator<Item = Run<V>> {
        self.run.take().into_iter().chain(self.more.take().into_iter().flat_map(|more| *more))
    }

    fn put_all(&mut self, mut runs: Vec<Run<V>>) {
        self.run = runs.pop();
        self.more = (!runs.is_empty()).then(|| Box::new(runs));
    }
}

impl<T: Record, A: Aggregate<T>> Sessions<T, A> {
    /// A record that does not simply go on with the only session that there is.
    #[cold]
    fn fit_in(&self, time: i64, item: A::Item, open: &mut Open<A::Acc>) {
        let mut run = Run { first: time, last: time, value: self.aggregate.create() };
        self.aggregate.update(&mut run.value, item);
        let mut apart = Vec::new();
        for other in open.take_all() {
            if other.first <= run.last.saturating_add(self.gap) && run.first <= other.last.saturating_add(self.gap) {
                run.first = run.first.min(other.first);
                run.last = run.last.max(other.last);
                self.aggregate.merge(&mut run.value, other.value);
            } else {
                apart.push(other);
            }
        }
        apart.push(run);
        open.put_all(apart);
    }

    /// The first moment at which a session whose last record was at `last` is over.
    fn over(&self, last: i64) -> Time {
        Time(last.saturating_add(self.gap).saturating_add(1))
    }
}

impl<K, T, A> Process<K, A::Item> for Sessions<T, A>
where
    K: Key,
    T: Record,
    A: Aggregate<T>,
{
    type State = Open<A::Acc>;
    type Out = Windowed<K, A::Out>;

    #[inline]
    fn record(&mut self, item: A::Item, open: &mut Open<A::Acc>, cx: &mut Context<'_, K, Self::Out>) {
        let time = cx.time().0;
        match open {
            Open { run: Some(run), more: None } if time >= run.first && time <= run.last.saturating_add(self.gap) => {
                run.last = run.last.max(time);
                self.aggregate.update(&mut run.value, item);
            }
            Open { run: None, more: None } => {
                let mut value = self.aggregate.create();
                self.aggregate.update(&mut value, item);
                open.run = Some(Run { first: time, last: time, value });
                cx.set_timer(self.over(time));
            }
            _ => {
                self.fit_in(time, item, open);
                cx.set_timer(self.over(time));
            }
        }
    }

    /// Tells the sessions that are over; the key's next timer is when another may be.
    fn timer(&mut self, _: Timer, open: &mut Open<A::Acc>, cx: &mut Context<'_, K, Self::Out>) {
        let watermark = cx.watermark();
        if let Open { run: Some(run), more: None } = open
            && self.over(run.last) > watermark
        {
            cx.set_timer(self.over(run.last));
            return;
        }
        let mut go_on = Vec::new();
        for run in open.take_all() {
            if self.over(run.last) > watermark {
                cx.set_timer(self.over(run.last));
                go_on.push(run);
                continue;
            }
            let window = Window { start: Time(run.first), end: Time(run.last.saturating_add(self.gap)) };
            let row = Windowed { window, key: cx.key().clone(), value: self.aggregate.finish(run.value) };
            cx.emit_at(Time(window.end.0.saturating_sub(1)), row);
        }
        if go_on.is_empty() {
            cx.clear();
        } else {
            open.put_all(go_on);
        }
    }

    /// A session that ends at the watermark is told when that has moved on.
    fn lag(&self) -> Duration {
        Duration::from_micros(1)
    }
}
