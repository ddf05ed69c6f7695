//! The keys that a driver owns, with what is kept of each: for state that stays, where [`crate::table`] is for state that is
//! filled, merged and told.
//!
//! Entries stand side by side in the order in which they came, without gaps; an index of eight bytes a slot says where. So
//! memory is what the entries need, growing copies them in one piece, and removing one moves only the last.

use updraft_kernel::prefetch;

use super::saved::Frozen;
use crate::aggregate::State;
use crate::journal::Journal;
use crate::table::{Key, hash_of};

/// Bytes of a cache line.
const LINE: usize = 64;
/// Slots of an index that is not empty; a power of two.
const MIN_SLOTS: usize = 16;

/// See the module's page.
pub(super) struct Keys<K, V> {
    /// By the low bits of the hash, with linear probing; a power of two of them, at most 5/8 full, or none.
    index: Vec<Slot>,
    entries: Vec<(K, V)>,
    /// Which of them have changed since which snapshot.
    pub(super) changes: Journal<K>,
    /// Those that the last snapshot is made of, as long as not all of them are saved.
    pub(super) frozen: Option<Box<Frozen<K>>>,
}

/// Where an entry stands, and as much of its hash as tells it from nearly all others: neither comparing nor growing has to
/// look at the entry.
#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    /// One more than its place; 0 where there is none.
    entry: u32,
}

const EMPTY: Slot = Slot { hash: 0, entry: 0 };

impl Slot {
    fn new(hash: u64, at: usize) -> Self {
        let entry =
            u32::try_from(at + 1).unwrap_or_else(|_| panic!("a kernel owns at most {} keys of a stage", u32::MAX - 1));
        Self { hash: hash as u32, entry }
    }

    #[inline(always)]
    fn at(self) -> Option<usize> {
        (self.entry as usize).checked_sub(1)
    }
}

impl<K, V> Default for Keys<K, V> {
    fn default() -> Self {
        Self { index: Vec::new(), entries: Vec::new(), changes: Journal::default(), frozen: None }
    }
}

impl<K: Key, V: State> Keys<K, V> {
    #[inline(always)]
    fn mask(&self) -> usize {
        self.index.len().wrapping_sub(1)
    }

    /// Asks the memory for where the index says where the key of `hash` stands.
    #[inline(always)]
    pub(super) fn prefetch(&self, hash: u64) {
        prefetch(&self.index, hash as usize & self.mask());
    }

    /// Asks the memory for what is most likely the entry of that key, and tells where it stands; to be called when the index has
    /// come.
    #[inline(always)]
    pub(super) fn prefetch_entry(&self, hash: u64) -> usize {
        if self.index.is_empty() {
            return usize::MAX;
        }
        let at = self.index[self.probe(hash as usize, |slot| slot.hash == hash as u32)].at().unwrap_or(usize::MAX);
        prefetch(&self.entries, at);
        if size_of::<(K, V)>() > LINE / 2 {
            // Most such entries reach into the next cache line.
            prefetch(&self.entries, at.wrapping_add(1));
        }
        at
    }

    /// The first slot from that of `hash` on that is empty or as wanted. The index has slots.
    #[inline(always)]
    fn probe(&self, hash: usize, is_wanted: impl Fn(Slot) -> bool) -> usize {
        let mask = self.mask();
        let mut slot = hash & mask;
        while self.index[slot].entry != 0 && !is_wanted(self.index[slot]) {
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// The slot of `key`, or the empty one where it belongs.
    #[inline(always)]
    fn find(&self, hash: u64, key: &K) -> usize {
        let is_of = |slot: Slot| slot.hash == hash as u32 && slot.at().is_some_and(|at| self.entries[at].0 == *key);
        self.probe(hash as usize, is_of)
    }

    /// Where `key` stands, with a value made by `create` if it is new: to be used before a key is removed. Most likely at `hint`.
    #[inline(always)]
    pub(super) fn locate(&mut self, hash: u64, key: K, hint: usize, create: impl FnOnce() -> V) -> usize {
        if self.entries.get(hint).is_some_and(|(other, _)| *other == key) {
            return hint;
        }
        self.locate_without(hash, key, create)
    }

    /// The same, where there is no hint.
    pub(super) fn locate_without(&mut self, hash: u64, key: K, create: impl FnOnce() -> V) -> usize {
        if self.entries.len() >= self.index.len() / 8 * 5 {
            self.grow();
        }
        let slot = self.find(hash, &key);
        if let Some(at) = self.index[slot].at() {
            return at;
        }
        let at = self.entries.len();
        self.index[slot] = Slot::new(hash, at);
        self.entries.push((key, create()));
        self.changes.touch(at);
        at
    }

    /// Where `key` stands, if it is there: to be used before a key is removed.
    pub(super) fn position(&self, hash: u64, key: &K) -> Option<usize> {
        if self.index.is_empty() {
            return None;
        }
        self.index[self.find(hash, key)].at()
    }

    /// The entry at a place that was located, to be changed.
    #[inline(always)]
    pub(super) fn at(&mut self, at: usize) -> (&K, &mut V) {
        self.changes.touch(at);
        let entry = &mut self.entries[at];
        if let Some(frozen) = &mut self.frozen {
            frozen.before_change(at, entry);
        }
        (&entry.0, &mut entry.1)
    }

    /// Forgets the entry at a place that was located; the last one moves there.
    pub(super) fn remove(&mut self, at: usize) {
        let slot_of = |keys: &Self, at: usize| {
            let wanted = Slot::new(0, at).entry;
            keys.probe(hash_of(&keys.entries[at].0) as usize, |slot| slot.entry == wanted)
        };
        let last = self.entries.len() - 1;
        let (slot, of_last) = (slot_of(self, at), slot_of(self, last));
        self.index[of_last].entry = self.index[slot].entry;
        if let Some(frozen) = &mut self.frozen {
            [at, last].into_iter().for_each(|at| frozen.before_change(at, &self.entries[at]));
        }
        let (key, _) = self.entries.swap_remove(at);
        self.changes.remove(|| key);
        self.changes.swap_remove(at, last);
        self.vacate(slot);
    }

    /// Forgets all entries.
    pub(super) fn clear(&mut self) {
        let mut frozen = self.frozen.take();
        frozen.iter_mut().for_each(|frozen| frozen.save_all(&self.entries));
        *self = Self { frozen, ..Self::default() };
    }

    /// Empties a slot. Those that had to stand further on because of it move up (Knuth, "The Art of Computer Programming",
    /// vol. 3, 6.4, algorithm R), so that no gap divides them from where they are looked for.
    fn vacate(&mut self, slot: usize) {
        let mask = self.mask();
        let (mut gap, mut next) = (slot, slot);
        loop {
            next = (next + 1) & mask;
            let Slot { hash, entry } = self.index[next];
            if entry == 0 {
                break;
            }
            let home = hash as usize & mask;
            // It may move to the gap if that is not before its own slot.
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(gap) & mask {
                self.index[gap] = self.index[next];
                gap = next;
            }
        }
        self.index[gap] = EMPTY;
    }

    #[cold]
    fn grow(&mut self) {
        let slots = (self.index.len() * 2).max(MIN_SLOTS);
        for slot in std::mem::replace(&mut self.index, vec![EMPTY; slots]) {
            if slot.entry != 0 {
                let free = self.probe(slot.hash as usize, |_| false);
                self.index[free] = slot;
            }
        }
    }

    /// Bytes of memory held, without what keys and values own elsewhere.
    pub(super) fn bytes(&self) -> usize {
        let entries = self.entries.capacity() * size_of::<(K, V)>();
        self.index.capacity() * size_of::<Slot>()
            + entries
            + self.changes.bytes()
            + self.frozen.as_ref().map_or(0, |frozen| frozen.bytes())
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entries, in the order of their places.
    pub(super) fn entries(&self) -> &[(K, V)] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::table::tests::Weak;

    fn agrees<K: Key + std::fmt::Debug>(steps: &[(u16, bool)], key: impl Fn(u16) -> K) -> Result<(), TestCaseError> {
        let (mut keys, mut model) = (Keys::default(), HashMap::new());
        for (n, removes) in steps {
            let key = key(*n);
            let hash = hash_of(&key);
            keys.prefetch(hash);
            let hint = keys.prefetch_entry(hash);
            if *removes {
                let at = keys.position(hash, &key);
                prop_assert_eq!(at.is_some(), model.remove(&key).is_some());
                at.into_iter().for_each(|at| keys.remove(at));
            } else {
                let at = keys.locate(hash, key.clone(), hint, || 0);
                *keys.at(at).1 += 1;
                *model.entry(key).or_insert(0) += 1;
            }
        }
        prop_assert_eq!(&keys.entries().iter().cloned().collect::<HashMap<_, _>>(), &model);
        for key in (0..500).map(key) {
            let at = keys.position(hash_of(&key), &key);
            prop_assert_eq!(at.map(|at| *keys.at(at).1), model.get(&key).copied());
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn agrees_with_a_hash_map(steps in proptest::collection::vec((0u16..300, proptest::bool::weighted(0.3)), 0..2_000)) {
            agrees(&steps, |n| n)?;
            agrees(&steps, Weak)?;
        }
    }
}
