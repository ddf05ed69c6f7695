//! Timers: what is due when, over all keys of a driver, and what is pending for a key.
//!
//! A [`TimerQueue`] sorts no more than it has to: timers far ahead lie in buckets of 65 ms, unsorted; a bucket is sorted
//! when it is reached, unless all of it is due and order does not matter; a heap holds what is set in it after that. It is a list of hints:
//! what counts is the key's [`Pending`], so that a timer is deleted by forgetting it there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use serde::{Deserialize, Serialize};

use super::{Clock, Timer};
use crate::time::Time;

/// Microseconds of a bucket, as a power of two.
const BUCKET_BITS: u32 = 16;

pub(crate) struct TimerQueue<K> {
    /// Of the buckets that have been reached, soonest at the end.
    near: Vec<Due<K>>,
    /// Of the same buckets, but set after they were: soonest on top.
    added: BinaryHeap<Reverse<Due<K>>>,
    /// By time, cut to buckets; but the one that the last timer was put into.
    far: BTreeMap<i64, Vec<Due<K>>>,
    /// That one: the next is most likely of the same.
    last: (i64, Vec<Due<K>>),
    /// All buckets below are among the near ones.
    reached: i64,
    /// Timers that were ever set.
    set: u64,
    len: usize,
}

/// Ordered by time, then by when it was set.
struct Due<K> {
    at: i64,
    number: u64,
    key: K,
}

impl<K> PartialEq for Due<K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl<K> Eq for Due<K> {}
impl<K> PartialOrd for Due<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Due<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<K> Default for TimerQueue<K> {
    fn default() -> Self {
        let (near, added) = (Vec::new(), BinaryHeap::new());
        Self { near, added, far: BTreeMap::new(), last: (i64::MIN, Vec::new()), reached: i64::MIN, set: 0, len: 0 }
    }
}

impl<K> TimerQueue<K> {
    /// Adds one.
    pub(crate) fn push(&mut self, at: Time, key: K) {
        self.set += 1;
        self.len += 1;
        let due = Due { at: at.0, number: self.set, key };
        let bucket = at.0 >> BUCKET_BITS;
        if bucket < self.reached {
            self.added.push(Reverse(due));
        } else {
            self.bucket(bucket).push(due);
        }
    }

    /// The timers of a bucket that has not been reached.
    #[inline(always)]
    fn bucket(&mut self, bucket: i64) -> &mut Vec<Due<K>> {
        if self.last.0 != bucket {
            let next = (bucket, self.far.remove(&bucket).unwrap_or_default());
            let (before, timers) = std::mem::replace(&mut self.last, next);
            if !timers.is_empty() {
                self.far.insert(before, timers);
            }
        }
        &mut self.last.1
    }

    /// The first bucket of those that have not been reached.
    fn first(&self) -> Option<i64> {
        let last = (!self.last.1.is_empty()).then_some(self.last.0);
        self.far.first_key_value().map(|(bucket, _)| *bucket).into_iter().chain(last).min()
    }

    /// Whether some timer is due up to `through`. For who takes them by [`pop_any`](Self::pop_any).
    pub(super) fn is_due(&mut self, through: Time) -> bool {
        self.reach(through, false);
        self.has_due(through)
    }

    /// Goes on to the next bucket that has a timer that may be due up to `through`, if none is left of that before it.
    fn reach(&mut self, through: Time, sorts: bool) {
        if self.near.is_empty()
            && let Some(bucket) = self.first().filter(|bucket| *bucket <= through.0 >> BUCKET_BITS)
        {
            self.reached = bucket + 1;
            self.near = std::mem::take(self.bucket(bucket));
            let is_all_due = self.reached <= through.0 >> BUCKET_BITS;
            if sorts || !is_all_due {
                self.near.sort_unstable_by(|one, other| other.cmp(one));
            } else {
                self.near.reverse();
            }
        }
    }

    fn has_due(&self, through: Time) -> bool {
        let is_due = |due: Option<&Due<K>>| due.is_some_and(|due| due.at <= through.0);
        is_due(self.near.last()) || is_due(self.added.peek().map(|due| &due.0))
    }

    /// The key of a timer that will be taken so many timers after the next one, if nothing changes.
    pub(super) fn ahead(&self, timers: usize) -> Option<&K> {
        self.near.iter().rev().nth(timers).map(|due| &due.key)
    }

    /// The keys of as many timers that will be taken next, if nothing changes.
    pub(super) fn next(&self, timers: usize) -> impl Iterator<Item = &K> {
        self.near.iter().rev().take(timers).map(|due| &due.key)
    }

    /// Takes the soonest timer that is due up to `through`.
    pub(crate) fn pop(&mut self, through: Time) -> Option<(Time, K)> {
        self.reach(through, true);
        if !self.has_due(through) {
            return None;
        }
        let added_is_sooner = match (self.near.last(), self.added.peek()) {
            (Some(near), Some(added)) => added.0 < *near,
            (near, _) => near.is_none(),
        };
        let due = if added_is_sooner { self.added.pop().map(|due| due.0) } else { self.near.pop() }?;
        self.len -= 1;
        Some((Time(due.at), due.key))
    }

    /// Takes some timer that is due up to `through`: in no particular order, so that whole buckets need not be sorted.
    pub(super) fn pop_any(&mut self, through: Time) -> Option<K> {
        self.reach(through, false);
        if self.near.last().is_some_and(|due| due.at <= through.0) {
            self.len -= 1;
            return self.near.pop().map(|due| due.key);
        }
        self.pop(through).map(|(_, key)| key)
    }

    /// Bytes held, about: without what keys own elsewhere.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// When they are due, in no particular order.
    pub(crate) fn times(&self) -> impl Iterator<Item = Time> {
        let near = self.near.iter().chain(self.added.iter().map(|Reverse(due)| due));
        near.chain(self.far.values().chain([&self.last.1]).flatten()).map(|due| Time(due.at))
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.len * size_of::<Due<K>>()
    }
}

/// The timers of a key that have not fired, most often one or none: 16 bytes.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub(super) enum Pending {
    #[default]
    None,
    One(Timer),
    #[expect(clippy::box_collection, reason = "one word for what is rare: there is a value for each key")]
    Many(Box<Vec<Timer>>),
}

impl Pending {
    fn as_slice(&self) -> &[Timer] {
        match self {
            Self::None => &[],
            Self::One(timer) => std::slice::from_ref(timer),
            Self::Many(timers) => timers,
        }
    }

    /// Adds one: whether it is new.
    pub(super) fn add(&mut self, timer: Timer) -> bool {
        if self.as_slice().contains(&timer) {
            return false;
        }
        match self {
            Self::None => *self = Self::One(timer),
            Self::One(one) => *self = Self::Many(Box::new(vec![*one, timer])),
            Self::Many(timers) => timers.push(timer),
        }
        true
    }

    /// Takes one away: whether it was there.
    pub(super) fn remove(&mut self, timer: Timer) -> bool {
        let Some(at) = self.as_slice().iter().position(|other| *other == timer) else { return false };
        match self {
            Self::Many(timers) if timers.len() > 1 => {
                timers.swap_remove(at);
            }
            _ => *self = Self::None,
        }
        true
    }

    /// Takes the soonest of a clock that is due up to `through`.
    pub(super) fn take_due(&mut self, clock: Clock, through: Time) -> Option<Timer> {
        let due = self.iter().filter(|timer| timer.clock == clock && timer.at <= through);
        let soonest = *due.min_by_key(|timer| timer.at)?;
        self.remove(soonest);
        Some(soonest)
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Timer> {
        self.as_slice().iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn gives_what_is_due_in_order(
            steps in proptest::collection::vec((0i64..500_000, proptest::collection::vec(-300_000i64..900_000, 0..20)), 0..30),
        ) {
            let (mut queue, mut model) = (TimerQueue::default(), Vec::new());
            let (mut through, mut number) = (0, 0);
            for (advance, timers) in steps {
                for at in timers {
                    // Some are overdue when they are set.
                    let at = through + at;
                    queue.push(Time(at), number);
                    model.push((at, number));
                    number += 1;
                }
                through += advance;
                model.sort();
                let due = model.partition_point(|(at, _)| *at <= through);
                let expected: Vec<_> = model.drain(..due).map(|(at, n)| (Time(at), n)).collect();
                let given: Vec<_> = std::iter::from_fn(|| queue.pop(Time(through))).collect();
                prop_assert_eq!(given, expected);
                prop_assert_eq!(queue.len, model.len());
            }
        }

        #[test]
        fn gives_all_that_is_due_if_in_no_order(
            steps in proptest::collection::vec((0i64..500_000, proptest::collection::vec(-300_000i64..900_000, 0..20)), 0..30),
        ) {
            let (mut queue, mut model) = (TimerQueue::default(), Vec::new());
            let mut through = 0;
            for (advance, timers) in steps {
                for at in timers {
                    let at = through + at;
                    queue.push(Time(at), at);
                    model.push(at);
                }
                through += advance;
                model.sort();
                let expected: Vec<_> = model.drain(..model.partition_point(|at| *at <= through)).collect();
                let mut given: Vec<_> = std::iter::from_fn(|| queue.pop_any(Time(through))).collect();
                given.sort();
                prop_assert_eq!(given, expected);
                prop_assert_eq!(queue.len, model.len());
            }
        }
    }
}
