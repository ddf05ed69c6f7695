//! A hash table from keys to accumulators, laid out for windows: filled once, merged once, emitted once.
//!
//! Entries stand densely in the order of insertion, so that merging and emitting are linear scans; an array of
//! slots beside them holds a 32 bit tag of the hash and the entry's index, so that a probe touches an
//! entry only when it is (nearly always) the right one, and growing never touches entries at all.
//! Next: [`crate::partial`], which cuts it into partitions.

use std::hash::{Hash, Hasher};

use updraft_kernel::prefetch;

use crate::aggregate::State;

/// What records are grouped by.
pub trait Key: State + Hash + Eq {}
impl<K: State + Hash + Eq> Key for K {}

/// The hash of a key. It decides the key group that state is stored under, so it must stay the same in all processes and
/// versions. Like any fixed hash it can be attacked by who chooses the keys.
#[inline]
pub(crate) fn hash_of<K: Hash>(key: &K) -> u64 {
    let mut hasher = KeyHasher(0x243F_6A88_85A3_08D3);
    key.hash(&mut hasher);
    hasher.0
}

/// Folded multiplication, as in wyhash and foldhash. Unlike these it reads bytes in pieces that don't overlap: a key is
/// most often in registers, and a read across two stores of it would wait for both (measured: a third of the
/// time of a word count).
struct KeyHasher(u64);

impl KeyHasher {
    #[inline(always)]
    fn word(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(0xF39C_C060_5CED_C835_u64);
        self.0 = (product as u64 ^ (product >> 64) as u64).rotate_left(23);
    }
}

impl Hasher for KeyHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            self.word(tail(rest));
        }
    }
    #[inline]
    fn write_u8(&mut self, n: u8) {
        self.word(u64::from(n));
    }
    #[inline]
    fn write_u16(&mut self, n: u16) {
        self.word(u64::from(n));
    }
    #[inline]
    fn write_u32(&mut self, n: u32) {
        self.word(u64::from(n));
    }
    #[inline]
    fn write_u64(&mut self, n: u64) {
        self.word(n);
    }
    #[inline]
    fn write_usize(&mut self, n: usize) {
        self.word(n as u64);
    }
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

/// Up to seven bytes as a word.
#[inline]
fn tail(bytes: &[u8]) -> u64 {
    let (mut word, mut rest) = (0, bytes);
    if let Some((four, after)) = rest.split_first_chunk::<4>() {
        (word, rest) = (u64::from(u32::from_le_bytes(*four)), after);
    }
    if let Some((two, after)) = rest.split_first_chunk::<2>() {
        (word, rest) = (word << 16 | u64::from(u16::from_le_bytes(*two)), after);
    }
    if let [one] = rest {
        word = word << 8 | u64::from(*one);
    }
    word
}

/// Slots of a table that has entries; a power of two.
const MIN_SLOTS: usize = 16;

/// See the module's page.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, V> {
    /// `tag << 32 | index + 1`, or 0 where empty. A power of two of them, at most 5/8 full.
    slots: Vec<u64>,
    entries: Vec<(K, V)>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { slots: vec![0], entries: Vec::new() }
    }
}

/// The part of a hash that slots are found by. The top bits choose partitions, so these are the low ones.
#[inline]
fn tag(hash: u64) -> u32 {
    hash as u32
}

impl<K: Eq, V> Table<K, V> {
    #[inline]
    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    /// Asks the memory for the slot that `hash` will be looked up in.
    #[inline]
    pub(crate) fn prefetch_slot(&self, hash: u64) {
        prefetch(&self.slots, tag(hash) as usize & self.mask());
    }

    /// Asks the memory for the entry that the slot of `hash` points to.
    #[inline]
    pub(crate) fn prefetch_entry(&self, hash: u64) {
        let slot = self.slots[tag(hash) as usize & self.mask()];
        prefetch(&self.entries, (slot as u32 as usize).wrapping_sub(1));
    }

    /// The value of `key`, made by `create` where there is none yet.
    #[inline]
    pub(crate) fn entry(&mut self, hash: u64, key: K, create: impl FnOnce() -> V) -> &mut V {
        if self.entries.len() >= self.slots.len() / 8 * 5 {
            self.grow();
        }
        self.entry_with_room(hash, key, create)
    }

    /// The same, for a table that has room for one more key.
    #[inline]
    pub(crate) fn entry_with_room(&mut self, hash: u64, key: K, create: impl FnOnce() -> V) -> &mut V {
        let (mask, tag) = (self.mask(), tag(hash));
        let mut at = tag as usize & mask;
        let index = loop {
            let slot = self.slots[at];
            if slot == 0 {
                let index = self.entries.len();
                self.entries.push((key, create()));
                self.slots[at] = u64::from(tag) << 32 | (index as u64 + 1);
                break index;
            }
            let index = slot as u32 as usize - 1;
            if (slot >> 32) as u32 == tag && self.entries[index].0 == key {
                break index;
            }
            at = (at + 1) & mask;
        };
        &mut self.entries[index].1
    }

    /// The value of `key`.
    pub(crate) fn get(&self, hash: u64, key: &K) -> Option<&V> {
        let (mask, tag) = (self.mask(), tag(hash));
        let mut at = tag as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            let (k, v) = &self.entries[slot as u32 as usize - 1];
            if (slot >> 32) as u32 == tag && k == key {
                return Some(v);
            }
            at = (at + 1) & mask;
        }
    }

    /// Makes room for so many more keys.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.entries.reserve(more);
        let slots = ((self.entries.len() + more) * 8).div_ceil(5).next_power_of_two();
        if slots > self.slots.len() {
            self.rebuild(slots);
        }
    }

    #[cold]
    fn grow(&mut self) {
        self.rebuild((self.slots.len() * 2).max(MIN_SLOTS));
    }

    fn rebuild(&mut self, size: usize) {
        // Slots hold an index of 32 bits; a partition that large would be hundreds of gigabytes.
        assert!(self.entries.len() < u32::MAX as usize - 1, "a table partition holds too many keys");
        let mask = size - 1;
        let mut slots = vec![0; size];
        for &slot in self.slots.iter().filter(|slot| **slot != 0) {
            let mut at = (slot >> 32) as usize & mask;
            while slots[at] != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = slot;
        }
        self.slots = slots;
    }
}

impl<K, V> Table<K, V> {
    /// Keys held.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of memory held, without what keys and values own elsewhere.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u64>() + self.entries.capacity() * size_of::<(K, V)>()
    }

    /// The entries, in order of insertion.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, (K, V)> {
        self.entries.iter()
    }

    /// Takes all entries out, in order of insertion; the memory stays.
    pub(crate) fn drain(&mut self) -> std::vec::Drain<'_, (K, V)> {
        self.slots.fill(0);
        self.entries.drain(..)
    }

    /// The entries, in order of insertion.
    pub(crate) fn into_entries(self) -> Vec<(K, V)> {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_hash_map(keys in proptest::collection::vec(0u16..500, 0..2_000), weak in any::<bool>()) {
            // A weak hash makes long probe sequences and equal tags.
            let hash = |k: &u16| if weak { u64::from(*k % 3) } else { hash_of(k) };
            let mut table = Table::default();
            let mut model = HashMap::new();
            for key in &keys {
                *table.entry(hash(key), *key, || 0) += 1;
                *model.entry(*key).or_insert(0) += 1;
            }
            prop_assert_eq!(table.len(), model.len());
            for key in 0..500 {
                prop_assert_eq!(table.get(hash(&key), &key), model.get(&key));
            }
            prop_assert_eq!(table.into_entries().into_iter().collect::<HashMap<_, _>>(), model);
        }
    }
}
