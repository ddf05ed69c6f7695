//! The interval join: records of the same key of which the times are not too far apart.

use std::collections::BTreeMap;
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

/// Records of a key that may still find partners, by time, with whether they have found one; in the order in which they came.
#[derive(Clone, Serialize, Deserialize)]
pub struct Waiting<L, R> {
    left: BTreeMap<i64, Vec<(L, bool)>>,
    right: BTreeMap<i64, Vec<(R, bool)>>,
    /// When the next ones are to be dropped.
    timer: Option<Time>,
}

impl<L, R> Default for Waiting<L, R> {
    fn default() -> Self {
        Self { left: BTreeMap::new(), right: BTreeMap::new(), timer: None }
    }
}

impl<L, R> Waiting<L, R> {
    /// When the first of them can find no partner any more.
    fn first_over(&self, interval: Interval) -> Option<Time> {
        let over =
            |first: Option<(&i64, _)>, reach: i64| first.map(|(time, ())| time.saturating_add(reach).saturating_add(1));
        let left = over(self.left.first_key_value().map(|(time, _)| (time, ())), interval.after);
        let right = over(self.right.first_key_value().map(|(time, _)| (time, ())), interval.before);
        left.into_iter().chain(right).min().map(Time)
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
                for (other, rights) in waiting.right.range_mut(from..=to) {
                    for (right, matched) in rights {
                        let row = self.kind.pair(&left, right);
                        row.into_iter().for_each(|row| cx.emit_at(Time(time.max(*other)), row));
                        (found, *matched) = (true, true);
                    }
                }
                waiting.left.entry(time).or_default().push((left, found));
            }
            Side::Right(right) => {
                let mut found = false;
                let (from, to) = (time.saturating_sub(after), time.saturating_add(before));
                for (other, lefts) in waiting.left.range_mut(from..=to) {
                    for (left, matched) in lefts {
                        let row = self.kind.pair(left, &right);
                        row.into_iter().for_each(|row| cx.emit_at(Time(time.max(*other)), row));
                        (found, *matched) = (true, true);
                    }
                }
                waiting.right.entry(time).or_default().push((right, found));
            }
        }
        self.wake(waiting, cx);
    }

    fn timer(&mut self, _: Timer, waiting: &mut Waiting<L, R>, cx: &mut Context<'_, K, J::Out>) {
        let watermark = cx.watermark().0;
        let Interval { before, after } = self.interval;
        waiting.timer = None;
        while let Some(over) = waiting.left.first_entry().filter(|left| left.key().saturating_add(after) < watermark) {
            let (time, records) = over.remove_entry();
            let rows = records.into_iter().filter_map(|(left, matched)| self.kind.left(left, matched));
            rows.for_each(|row| cx.emit_at(Time(time), row));
        }
        while let Some(over) =
            waiting.right.first_entry().filter(|right| right.key().saturating_add(before) < watermark)
        {
            let (time, records) = over.remove_entry();
            let rows = records.into_iter().filter_map(|(right, matched)| self.kind.right(right, matched));
            rows.for_each(|row| cx.emit_at(Time(time), row));
        }
        if waiting.left.is_empty() && waiting.right.is_empty() {
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
        let each = |times: usize, record: usize| times * (size_of::<(i64, Vec<()>)>() + record);
        each(waiting.left.len(), size_of::<(L, bool)>()) + each(waiting.right.len(), size_of::<(R, bool)>())
    }
}

impl<L, R, J> IntervalJoin<L, R, J> {
    /// Has the key looked at again when something of it is over.
    fn wake<K: Key, Out>(&self, waiting: &mut Waiting<L, R>, cx: &mut Context<'_, K, Out>) {
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
