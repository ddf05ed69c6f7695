//! Timers: what is due when, over all keys of a driver, and what is pending for a key.
//!
//! A [`TimerQueue`] sorts no more than it has to: timers far ahead lie in buckets of 65 ms, unsorted; a heap holds
//! those of the buckets that have been reached. It is a list of hints: what counts is the key's [`Pending`], so that a
//! timer is deleted by forgetting it there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use serde::{Deserialize, Serialize};

use super::Timer;
use crate::time::Time;

/// Microseconds of a bucket, as a power of two.
const BUCKET_BITS: u32 = 16;

pub(crate) struct TimerQueue<K> {
    /// Soonest on top.
    near: BinaryHeap<Reverse<Due<K>>>,
    /// By time, cut to buckets.
    far: BTreeMap<i64, Vec<Due<K>>>,
    /// All buckets below are in the heap.
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
        Self { near: BinaryHeap::new(), far: BTreeMap::new(), reached: i64::MIN, set: 0, len: 0 }
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
            self.near.push(Reverse(due));
        } else {
            self.far.entry(bucket).or_default().push(due);
        }
    }

    /// Whether some timer is due up to `through`.
    pub(super) fn is_due(&mut self, through: Time) -> bool {
        while self.near.is_empty()
            && let Some(bucket) = self.far.first_entry()
            && *bucket.key() <= through.0 >> BUCKET_BITS
        {
            self.reached = bucket.key() + 1;
            self.near.extend(bucket.remove().into_iter().map(Reverse));
        }
        self.near.peek().is_some_and(|due| due.0.at <= through.0)
    }

    /// Takes the soonest timer that is due up to `through`.
    pub(crate) fn pop(&mut self, through: Time) -> Option<(Time, K)> {
        if !self.is_due(through) {
            return None;
        }
        let Reverse(due) = self.near.pop()?;
        self.len -= 1;
        Some((Time(due.at), due.key))
    }

    /// Bytes held, about: without what keys own elsewhere.
    pub(crate) fn bytes(&self) -> usize {
        self.len * size_of::<Due<K>>()
    }
}

/// The timers of a key that have not fired, most often one or none.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub(super) struct Pending(Option<Box<Vec<Timer>>>);

impl Pending {
    /// Adds one: whether it is new.
    pub(super) fn add(&mut self, timer: Timer) -> bool {
        let timers = self.0.get_or_insert_default();
        let new = !timers.contains(&timer);
        if new {
            timers.push(timer);
        }
        new
    }

    /// Takes one away: whether it was there.
    pub(super) fn remove(&mut self, timer: Timer) -> bool {
        let Some(timers) = &mut self.0 else { return false };
        let at = timers.iter().position(|other| *other == timer);
        at.map(|at| timers.swap_remove(at));
        if timers.is_empty() {
            self.0 = None;
        }
        at.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Timer> {
        self.0.iter().flat_map(|timers| timers.iter())
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
    }
}
