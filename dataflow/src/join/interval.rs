//! The interval join: records of the same key of which the times are not too far apart.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Kind, Side};
use crate::aggregate::State;
use crate::keyed::{Context, Process, Timer};
use crate::table::Key;
use crate::time::{Time, micros};

/// How far the second record may be from the first: from so much before up to so much after it, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interval {
    before: i64,
    after: i64,
}

impl Interval {
    /// Up to `before` earlier and up to `after` later.
    pub fn around(before: Duration, after: Duration) -> Self {
        Self { before: micros(before), after: micros(after) }
    }

    /// The second record at the time of the first, or up to `after` later.
    pub fn after(after: Duration) -> Self {
        Self::around(Duration::ZERO, after)
    }

    /// The second record at the time of the first, or up to `before` earlier.
    pub fn before(before: Duration) -> Self {
        Self::around(before, Duration::ZERO)
    }
}

/// Joins as records come: a pair is told with the later record, at its time; what has found no partner is told when none can
/// come any more, at its own time.
pub struct IntervalJoin<L, R, J> {
    kind: J,
    interval: Interval,
    sides: PhantomData<fn(L, R)>,
}

impl<L, R, J> IntervalJoin<L, R, J> {
    /// Joins what is within `interval`.
    pub fn new(kind: J, interval: Interval) -> Self {
        Self { kind, interval, sides: PhantomData }
    }
}

impl<L, R, J: Clone> Clone for IntervalJoin<L, R, J> {
    fn clone(&self) -> Self {
        Self::new(self.kind.clone(), self.interval)
    }
}

/// Records of a key that may still find partners.
#[derive(Clone, Serialize, Deserialize)]
pub struct Waiting<L, R> {
    left: Held<L>,
    right: Held<R>,
    /// When the next ones are to be dropped.
    timer: Option<Time>,
}

impl<L, R> Default for Waiting<L, R> {
    fn default() -> Self {
        Self { left: Held::default(), right: Held::default(), timer: None }
    }
}

impl<L, R> Waiting<L, R> {
    /// When the first of them can find no partner any more.
    fn first_over(&self, interval: Interval) -> Option<Time> {
        let over = |first: i64, reach: i64| Time(first.saturating_add(reach).saturating_add(1));
        let left = self.left.first().map(|time| over(time, interval.after));
        let right = self.right.first().map(|time| over(time, interval.before));
        left.into_iter().chain(right).min()
    }
}

/// Records of one side by time, those of the same time in the order in which they came; each with whether it has found a
/// partner. Most come in order, at the end.
#[derive(Clone, Serialize, Deserialize)]
struct Held<T>(VecDeque<(i64, T, bool)>);

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Held<T> {
    fn first(&self) -> Option<i64> {
        self.0.front().map(|(time, ..)| *time)
    }

    fn add(&mut self, time: i64, record: T, matched: bool) {
        let is_last = self.0.back().is_none_or(|(last, ..)| *last <= time);
        let at = if is_last { self.0.len() } else { self.0.partition_point(|(other, ..)| *other <= time) };
        self.0.insert(at, (time, record, matched));
    }

    /// Those from one time to another, both included.
    fn within(&mut self, from: i64, to: i64) -> impl Iterator<Item = &mut (i64, T, bool)> {
        let start = self.0.partition_point(|(time, ..)| *time < from);
        let end = self.0.partition_point(|(time, ..)| *time <= to);
        self.0.range_mut(start..end.max(start))
    }

    /// Takes the first if it is over: if it reaches to before the watermark.
    fn take_over(&mut self, reach: i64, watermark: i64) -> Option<(i64, T, bool)> {
        self.0.pop_front_if(|(time, ..)| time.saturating_add(reach) < watermark)
    }

    fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(i64, T, bool)>()
    }
}

impl<K, L, R, J> Process<K, Side<L, R>> for IntervalJoin<L, R, J>
where
    K: Key,
    L: State,
    R: State,
    J: Kind<L, R>,
{
    type State = Waiting<L, R>;
    type Out = J::Out;

    fn record(&mut self, record: Side<L, R>, waiting: &mut Waiting<L, R>, cx: &mut Context<'_, K, J::Out>) {
        let time = cx.time().0;
        let Interval { before, after } = self.interval;
        match record {
            Side::Left(left) => {
                let mut found = false;
                let (from, to) = (time.saturating_sub(before), time.saturating_add(after));
                for (other, right, matched) in waiting.right.within(from, to) {
                    let row = self.kind.pair(&left, right);
                    row.into_iter().for_each(|row| cx.emit_at(Time(time.max(*other)), row));
                    (found, *matched) = (true, true);
                }
                waiting.left.add(time, left, found);
            }
            Side::Right(right) => {
                let mut found = false;
                let (from, to) = (time.saturating_sub(after), time.saturating_add(before));
                for (other, left, matched) in waiting.left.within(from, to) {
                    let row = self.kind.pair(left, &right);
                    row.into_iter().for_each(|row| cx.emit_at(Time(time.max(*other)), row));
                    (found, *matched) = (true, true);
                }
                waiting.right.add(time, right, found);
            }
        }
        self.wake(waiting, cx);
    }

    fn timer(&mut self, _: Timer, waiting: &mut Waiting<L, R>, cx: &mut Context<'_, K, J::Out>) {
        let watermark = cx.watermark().0;
        let Interval { before, after } = self.interval;
        waiting.timer = None;
        while let Some((time, left, matched)) = waiting.left.take_over(after, watermark) {
            self.kind.left(left, matched).into_iter().for_each(|row| cx.emit_at(Time(time), row));
        }
        while let Some((time, right, matched)) = waiting.right.take_over(before, watermark) {
            self.kind.right(right, matched).into_iter().for_each(|row| cx.emit_at(Time(time), row));
        }
        if waiting.first_over(self.interval).is_none() {
            cx.clear();
        } else {
            self.wake(waiting, cx);
        }
    }

    fn lag(&self) -> Duration {
        let lag = if J::WAITS { self.interval.before.max(self.interval.after) } else { 0 };
        Duration::from_micros(lag.unsigned_abs())
    }

    fn heap_bytes(&self, waiting: &Waiting<L, R>) -> usize {
        waiting.left.heap_bytes() + waiting.right.heap_bytes()
    }
}

impl<L, R, J> IntervalJoin<L, R, J> {
    /// Has the key looked at again when something of it is over.
    fn wake<K: Key, Out: 'static>(&self, waiting: &mut Waiting<L, R>, cx: &mut Context<'_, K, Out>) {
        let over = waiting.first_over(self.interval);
        if let Some(over) = over
            && waiting.timer.is_none_or(|timer| over < timer)
        {
            waiting.timer.into_iter().for_each(|timer| cx.delete_timer(timer));
            waiting.timer = Some(over);
            cx.set_timer(over);
        }
    }
}
