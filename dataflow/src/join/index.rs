//! An index of one side of a window join: small, made at once, asked, thrown away.

use crate::bundle::Record;
use crate::table::{Key, hash_of};

/// No record.
const NONE: u32 = u32::MAX;

/// Records by key: where the last of each stands, and from each to the one before it of the same key.
pub(super) struct Index<'a, K, R> {
    records: Vec<&'a (K, R)>,
    /// A power of two of them, at most half full, with linear probing.
    slots: Vec<Slot>,
    /// By record.
    before: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Slot {
    /// As much of the hash as tells keys from nearly all others.
    hash: u32,
    last: u32,
}

impl<'a, K: Key, R: Record> Index<'a, K, R> {
    /// An index of all records of some lists.
    ///
    /// # Panics
    /// When there are more than 2^32 - 1 of them.
    pub(super) fn new(lists: impl Iterator<Item = &'a Vec<(K, R)>> + Clone) -> Self {
        let count = lists.clone().map(Vec::len).sum();
        assert!(count < NONE as usize, "too many records of a window: {count}");
        let mut records = Vec::with_capacity(count);
        lists.for_each(|list| records.extend(list));
        let slots = vec![Slot { hash: 0, last: NONE }; (count * 2).next_power_of_two()];
        let mut index = Self { records, slots, before: Vec::with_capacity(count) };
        for (at, (key, _)) in index.records.iter().enumerate() {
            let hash = hash_of(key);
            let slot = index.find(hash, key);
            index.before.push(index.slots[slot].last);
            index.slots[slot] = Slot { hash: hash as u32, last: at as u32 };
        }
        index
    }

    /// The slot of `key`, or the empty one where it belongs.
    #[inline(always)]
    fn find(&self, hash: u64, key: &K) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let Slot { hash: other, last } = self.slots[at];
            if last == NONE || other == hash as u32 && self.records[last as usize].0 == *key {
                return at;
            }
            at = (at + 1) & mask;
        }
    }

    /// The records of `key`, the last one first, each with its number.
    #[inline(always)]
    pub(super) fn of(&self, key: &K) -> impl Iterator<Item = (usize, &'a R)> {
        let mut at = self.slots[self.find(hash_of(key), key)].last as usize;
        std::iter::from_fn(move || {
            let found = (at, &self.records.get(at)?.1);
            at = self.before[at] as usize;
            Some(found)
        })
    }

    /// All records, by number.
    pub(super) fn records(&self) -> impl ExactSizeIterator<Item = &'a R> {
        self.records.iter().map(|(_, record)| record)
    }
}
