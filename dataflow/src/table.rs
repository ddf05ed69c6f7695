//! A hash table from keys to accumulators, laid out for windows: filled once, merged once, emitted once.
//!
//! Open addressing with linear probing, each entry inside its slot: an update touches one cache line, and merging and
//! emitting are linear scans. Two tables are scanned in the same order of hashes, so merging one into the other walks
//! through the memory of both.
//! Next: [`crate::partial`], which cuts it into partitions.

use std::hash::{Hash, Hasher};
use std::num::NonZeroU8;

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

/// Bytes of a cache line.
const LINE: usize = 64;
/// Slots of a table that has entries; a power of two.
const MIN_SLOTS: usize = 16;
/// A key this far from its slot tells that keys have come in the order of their hashes, as they do out of another
/// table: those at the front would crowd together long before the table is full. Then it grows early.
const FAR: usize = 32;

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Table<K, V> {
    /// A power of two of them, at most 5/8 full.
    slots: Vec<Slot<K, V>>,
    len: usize,
}

/// The tag's niche is what tells the two apart: an entry is one byte larger than its key and value.
#[derive(Clone, Debug)]
enum Slot<K, V> {
    Empty,
    Full { tag: NonZeroU8, key: K, value: V },
}

impl<K, V> Slot<K, V> {
    fn entry(&self) -> Option<(&K, &V)> {
        if let Self::Full { key, value, .. } = self { Some((key, value)) } else { None }
    }

    fn into_entry(self) -> Option<(K, V)> {
        if let Self::Full { key, value, .. } = self { Some((key, value)) } else { None }
    }
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { slots: vec![Slot::Empty], len: 0 }
    }
}

/// Some bits of a hash that neither partitions (the top ones) nor slots (the low ones) are found by: comparing
/// them spares nearly all comparisons of different keys.
#[inline]
fn tag(hash: u64) -> NonZeroU8 {
    NonZeroU8::MIN | (hash >> 40) as u8
}

impl<K: Hash + Eq, V> Table<K, V> {
    #[inline]
    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    /// Asks the memory for the slot that `hash` will be looked up in.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        let at = hash as usize & self.mask();
        prefetch(&self.slots, at);
        if size_of::<Slot<K, V>>() > LINE / 2 {
            // Most such slots reach into the next cache line.
            prefetch(&self.slots, at + 1);
        }
    }

    /// The value of `key`, made by `create` where there is none yet.
    #[inline]
    pub(crate) fn entry(&mut self, hash: u64, key: K, create: impl FnOnce() -> V) -> &mut V {
        if self.len >= self.slots.len() / 8 * 5 {
            self.grow();
        }
        self.entry_with_room(hash, key, create)
    }

    /// The same, for a table that has room for one more key.
    #[inline]
    pub(crate) fn entry_with_room(&mut self, hash: u64, key: K, create: impl FnOnce() -> V) -> &mut V {
        let mut at = self.find(hash, &key);
        if let Slot::Empty = self.slots[at] {
            if at.wrapping_sub(hash as usize) & self.mask() >= FAR && self.len > self.slots.len() / 4 {
                self.grow();
                at = self.find(hash, &key);
            }
            self.slots[at] = Slot::Full { tag: tag(hash), key, value: create() };
            self.len += 1;
        }
        match &mut self.slots[at] {
            Slot::Full { value, .. } => value,
            Slot::Empty => unreachable!("it was filled above"),
        }
    }

    /// The slot that holds `key`, or the empty one where it belongs.
    #[inline]
    fn find(&self, hash: u64, sought: &K) -> usize {
        let mask = self.mask();
        let mut at = hash as usize & mask;
        loop {
            match &self.slots[at] {
                Slot::Full { tag: other, key, .. } if *other != tag(hash) || key != sought => at = (at + 1) & mask,
                _ => return at,
            }
        }
    }

    /// The value of `key`.
    pub(crate) fn get(&self, hash: u64, key: &K) -> Option<&V> {
        Some(self.slots[self.find(hash, key)].entry()?.1)
    }

    /// Makes room for so many more keys.
    pub(crate) fn reserve(&mut self, more: usize) {
        let slots = ((self.len + more) * 8).div_ceil(5).next_power_of_two();
        if slots > self.slots.len() {
            self.rebuild(slots);
        }
    }

    #[cold]
    fn grow(&mut self) {
        self.rebuild((self.slots.len() * 2).max(MIN_SLOTS));
    }

    fn rebuild(&mut self, size: usize) {
        let slots = std::iter::repeat_with(|| Slot::Empty).take(size).collect();
        for slot in std::mem::replace(&mut self.slots, slots) {
            if let Slot::Full { key, .. } = &slot {
                let at = self.find(hash_of(key), key);
                self.slots[at] = slot;
            }
        }
    }
}

impl<K, V> Table<K, V> {
    /// Keys held.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether it has memory.
    pub(crate) fn is_grown(&self) -> bool {
        self.slots.len() > 1
    }

    /// Whether scanning all its slots for `used` keys takes longer than growing a new table.
    pub(crate) fn is_sparse(&self, used: usize) -> bool {
        used < self.slots.len() / 16
    }

    /// Bytes of memory held, without what keys and values own elsewhere.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<K, V>>()
    }

    /// The entries, in order of their hashes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        Entries { inner: self.slots.iter().filter_map(Slot::entry), left: self.len }
    }

    /// Takes all entries out, in order of their hashes; the memory stays.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (K, V)> {
        let left = std::mem::take(&mut self.len);
        let slots = self.slots.iter_mut();
        Entries { inner: slots.filter_map(|slot| std::mem::replace(slot, Slot::Empty).into_entry()), left }
    }

    /// The entries, in order of their hashes.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = (K, V)> {
        Entries { inner: self.slots.into_iter().filter_map(Slot::into_entry), left: self.len }
    }
}

/// Entries of which the number is known: what is made of them is allocated once.
struct Entries<I> {
    inner: I,
    left: usize,
}

impl<I: Iterator> Iterator for Entries<I> {
    type Item = I::Item;

    #[inline]
    fn next(&mut self) -> Option<I::Item> {
        self.left = self.left.checked_sub(1)?;
        self.inner.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;

    /// A key of which the hash is weak: long probe sequences and equal tags.
    #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
    pub(crate) struct Weak(pub(crate) u16);

    impl Hash for Weak {
        fn hash<H: Hasher>(&self, hasher: &mut H) {
            (self.0 % 3).hash(hasher);
        }
    }

    fn agrees<K: Key + std::fmt::Debug>(keys: &[u16], key: impl Fn(u16) -> K) -> Result<(), TestCaseError> {
        let mut table = Table::default();
        let mut model = HashMap::new();
        for n in keys {
            let key = key(*n);
            *table.entry(hash_of(&key), key.clone(), || 0) += 1;
            *model.entry(key).or_insert(0) += 1;
        }
        prop_assert_eq!(table.len(), model.len());
        for key in (0..500).map(key) {
            prop_assert_eq!(table.get(hash_of(&key), &key), model.get(&key));
        }
        prop_assert_eq!(&table.iter().map(|(k, v)| (k.clone(), *v)).collect::<HashMap<_, _>>(), &model);
        prop_assert_eq!(&table.clone().into_entries().collect::<HashMap<_, _>>(), &model);
        prop_assert_eq!(&table.drain().collect::<HashMap<_, _>>(), &model);
        prop_assert!(table.len() == 0 && table.iter().next().is_none());
        Ok(())
    }

    proptest! {
        #[test]
        fn agrees_with_a_hash_map(keys in proptest::collection::vec(0u16..500, 0..2_000)) {
            agrees(&keys, |n| n)?;
            agrees(&keys, Weak)?;
        }
    }

    #[test]
    fn keys_that_come_in_order_of_their_hashes_stay_near_their_slots() {
        let mut large = Table::default();
        (0..150_000_u64).for_each(|n| *large.entry(hash_of(&n), n, || 0) += 1);
        let mut small = Table::default();
        // As many others, so that the fronts of both would share the same slots.
        (150_000..230_000_u64).for_each(|n| *small.entry(hash_of(&n), n, || 0) += 1);
        large.into_entries().for_each(|(key, n)| *small.entry(hash_of(&key), key, || 0) += n);
        let mask = small.mask();
        let far = |(at, slot): (usize, &Slot<u64, i32>)| {
            if let Slot::Full { key, .. } = slot { at.wrapping_sub(hash_of(key) as usize) & mask } else { 0 }
        };
        assert_eq!(small.len(), 230_000);
        assert!(small.slots.iter().enumerate().map(far).max() < Some(4 * FAR));
    }
}
