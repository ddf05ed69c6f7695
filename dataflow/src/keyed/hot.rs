//! [`HotKeys`]: the keys that most records are of, from a sample of them.
//!
//! *Space-saving*, after Metwally, Agrawal and El Abbadi, "Efficient computation of frequent and top-k elements in data streams", ICDT 2005, §3: a few counters, of which the least
//! goes to a key that has none, with its count. What a key has at least is its count without the one that it has found. All counts are halved now and then, so that what
//! was hot long ago is not for ever. It holds a few keys a shard, which are not charged to the memory account.

use serde::{Deserialize, Serialize};

use crate::table::Key;

/// Keys that are counted: one of which as many records are as of all others has most of the counts, and those of a sixteenth have one.
const COUNTERS: usize = 16;
/// After so many samples counts are halved.
const HALVED: u32 = 4_096;
/// The share of a shard's records from which on a key is told.
const LEAST: f64 = 0.1;

/// A key that many records are of.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HotKey {
    /// As JSON.
    pub key: String,
    /// Whose it is.
    pub shard: usize,
    /// Of the records that have come of late for that shard, how many are of this key at least: from 0 to 1, about.
    pub share: f64,
}

/// See the module's page.
pub(super) struct HotKeys<K> {
    counters: Vec<Counter<K>>,
    samples: u32,
    /// Which record of a batch is taken: not always the same one, for what comes may have a period.
    next: u32,
}

struct Counter<K> {
    hash: u64,
    key: K,
    count: u32,
    /// What it may not have been counted for.
    found: u32,
}

impl<K> Default for HotKeys<K> {
    fn default() -> Self {
        Self { counters: Vec::new(), samples: 0, next: 0 }
    }
}

impl<K: Key> HotKeys<K> {
    /// Which of so many is to be sampled.
    #[inline]
    pub(super) fn choose(&mut self, of: usize) -> usize {
        self.next = self.next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((u64::from(self.next) * of as u64) >> 32) as usize
    }

    /// A record of this key has come.
    pub(super) fn sample(&mut self, hash: u64, key: &K) {
        self.samples += 1;
        if let Some(counter) = self.counters.iter_mut().find(|counter| counter.hash == hash && counter.key == *key) {
            counter.count += 1;
        } else if self.counters.len() < COUNTERS {
            self.counters.push(Counter { hash, key: key.clone(), count: 1, found: 0 });
        } else if let Some(least) = self.counters.iter_mut().min_by_key(|counter| counter.count) {
            *least = Counter { hash, key: key.clone(), count: least.count + 1, found: least.count };
        }
        if self.samples == HALVED {
            self.samples /= 2;
            self.counters
                .iter_mut()
                .for_each(|counter| (counter.count, counter.found) = (counter.count / 2, counter.found / 2));
        }
    }

    /// Those that have a tenth of the records or more, the hottest first.
    pub(super) fn tell(&self, shard: usize) -> Vec<HotKey> {
        let share = |counter: &Counter<K>| f64::from(counter.count - counter.found) / f64::from(self.samples.max(1));
        let hot = self.counters.iter().filter(|counter| share(counter) >= LEAST);
        let told = |counter: &Counter<K>| {
            let key = serde_json::to_string(&counter.key).unwrap_or_else(|_| format!("hash {:x}", counter.hash));
            HotKey { key, shard, share: share(counter) }
        };
        let mut told: Vec<_> = hot.map(told).collect();
        told.sort_by(|one, other| other.share.total_cmp(&one.share));
        told
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::table::hash_of;

    proptest! {
        /// Nothing is told to have more than it has, and nothing that has much is missed.
        #[test]
        fn what_is_told_is_so(hot in proptest::collection::vec((0u64..100, 1u64..2_000), 1..6), others in 0u64..2_000) {
            let mut records: Vec<u64> = hot.iter().flat_map(|(key, count)| vec![*key; *count as usize]).collect();
            records.extend((0..others).map(|n| 1_000 + n));
            records.truncate(HALVED as usize - 1);
            let n = records.len() as u64;
            // In an order of no meaning.
            records.sort_by_key(|key| hash_of(&(*key, 7_u64)));
            let mut order: Vec<_> = records.into_iter().enumerate().collect();
            order.sort_by_key(|(at, _)| hash_of(&(*at as u64)));
            let (mut keys, mut counts) = (HotKeys::default(), HashMap::<u64, u64>::new());
            for (_, key) in order {
                keys.sample(hash_of(&key), &key);
                *counts.entry(key).or_default() += 1;
            }
            let told: HashMap<_, _> = keys.tell(0).into_iter().map(|hot| (hot.key, hot.share)).collect();
            for (key, share) in &told {
                let exact = counts[&key.parse::<u64>().unwrap()] as f64 / n as f64;
                prop_assert!(*share <= exact + 1e-9, "{key}: {share} instead of {exact}");
            }
            for (key, count) in counts {
                // A key is counted less by what the least counter had, a sixteenth of all at most.
                let surely = count as f64 / n as f64 - 1.0 / COUNTERS as f64;
                prop_assert!(surely < LEAST || told.contains_key(&key.to_string()), "{key} has {count} of {n}");
            }
        }
    }

    #[test]
    fn what_was_hot_long_ago_is_not_told() {
        let mut keys = HotKeys::default();
        (0..HALVED).for_each(|_| keys.sample(1, &1_u64));
        assert_eq!(keys.tell(3), [HotKey { key: "1".into(), shard: 3, share: 1.0 }]);
        (0..8 * HALVED).for_each(|_| keys.sample(2, &2_u64));
        assert_eq!(keys.tell(3).into_iter().map(|hot| hot.key).collect::<Vec<_>>(), ["2"]);
        let chosen: Vec<_> = (0..1_000).map(|_| keys.choose(64)).collect();
        assert!((0..64).all(|at| chosen.contains(&at)));
    }
}
