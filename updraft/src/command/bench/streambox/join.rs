//! Temporal join: two streams of 64-bit keys; records of the same key that are half a second apart at most.

use std::sync::Arc;
use std::time::Duration;

use updraft::dataflow::join::Inner;
use updraft::dataflow::join::interval::Interval;
use updraft::prelude::*;

use super::super::data::{Random, mix};
use super::replay::{Event, Feed, SECOND};

/// Records a second of event time, of each side.
const PER_SECOND: u64 = 500_000;
/// Different keys; the paper does not say how many.
const KEYS: u64 = 1_000_000;
/// How far apart two records may be, in microseconds.
const APART: i64 = SECOND / 2;

pub(super) struct Join {
    left: Arc<[u64]>,
    right: Arc<[u64]>,
}

/// Two records of a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Pair {
    key: u64,
    left: i64,
    right: i64,
}

impl Join {
    pub(super) fn new(count: usize) -> Self {
        let mut random = Random::new();
        let mut keys = || (0..count / 2).map(|_| mix(random.below(KEYS))).collect();
        Self { left: keys(), right: keys() }
    }

    pub(super) fn rows(&self, job: &Job, feed: Feed) -> Stream<Pair> {
        let feed = feed.share(2);
        let left = feed.read(job, "left", &self.left, (size_of::<Event<u64>>(), PER_SECOND));
        let right = feed.read(job, "right", &self.right, (size_of::<Event<u64>>(), PER_SECOND));
        let apart = Duration::from_micros(APART as u64);
        left.map(timed)
            .key_by(|(key, _)| *key)
            .join(right.map(timed).key_by(|(key, _)| *key))
            .within(Interval::around(apart, apart), Inner)
            .map(|((key, left), (_, right))| Pair { key, left, right })
            .materialize()
    }
}

fn timed(event: Event<u64>) -> (u64, i64) {
    (event.value, event.time)
}

#[cfg(test)]
mod tests {
    use super::super::naive::agree;
    use super::*;

    #[test]
    fn agrees_with_a_naive_evaluation() {
        let mut work = Join::new(4_000);
        // Few keys, so that there are pairs within one window, across two, and too far apart.
        for keys in [&mut work.left, &mut work.right] {
            *keys = keys.iter().map(|key| key % 500).collect();
        }
        let expected = |feed: Feed| {
            let times = feed.share(2).times(PER_SECOND);
            let timed = |keys: &Arc<[u64]>| {
                let keys = keys.clone();
                (0..feed.share(2).count).map(move |n| (times.of(n), keys[n as usize % keys.len()]))
            };
            let mut rights = std::collections::HashMap::<u64, Vec<i64>>::new();
            timed(&work.right).for_each(|(time, key)| rights.entry(key).or_default().push(time));
            let mut rows = Vec::new();
            for (left, key) in timed(&work.left) {
                let near = rights.get(&key).into_iter().flatten().filter(|right| (left - **right).abs() <= APART);
                rows.extend(near.map(|right| format!("{:?}", Pair { key, left, right: *right })));
            }
            rows
        };
        agree(|job, feed| work.rows(job, feed), expected, |row| format!("{row:?}"));
    }
}
