//! The keys that a driver owns, with what is kept of each: for state that stays, where [`crate::table`] is for state that is
//! filled, merged and told.
//!
//! Entries have places; an index of eight bytes a slot says which. As long as memory has room for all of them they stand there
//! side by side, without gaps: so memory is what the entries need, growing copies them in one piece, and removing one moves only
//! the last. Where it has not, some of the [entries](super::entries) are spilled; then those that are asked for are
//! [fetched](Keys::fetch) before.

use std::sync::Arc;

use updraft_kernel::prefetch;

use super::entries::Entries;
use super::saved::Frozen;
use super::spill::Spill;
use crate::aggregate::State;
use crate::journal::Journal;
use crate::source::Error;
use crate::table::{Key, hash_of};

/// Slots of an index that is not empty; a power of two.
const MIN_SLOTS: usize = 16;

/// See the module's page.
pub(super) struct Keys<K, V> {
    /// By the low bits of the hash, with linear probing; a power of two of them, at most 5/8 full, or none. Once entries are
    /// spilled, 7/8: then it is the most of what has to be in memory.
    index: Vec<Slot>,
    pub(super) entries: Entries<K, V>,
    /// Which of them have changed since which snapshot.
    pub(super) changes: Journal<K>,
    /// Those that the last snapshot is made of, as long as not all of them are saved.
    pub(super) frozen: Option<Box<Frozen<K, V>>>,
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
        Self { index: Vec::new(), entries: Entries::default(), changes: Journal::default(), frozen: None }
    }
}

impl<K, V> Keys<K, V> {
    /// Such that may be spilled to `spill`.
    pub(super) fn spilling(spill: Option<&Arc<Spill>>) -> Self {
        Self { entries: Entries::spilling(spill), ..Self::default() }
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
        self.entries.prefetch(at);
        at
    }

    /// The first slot from that of `hash` on that is empty or as wanted. The index has slots.
    #[inline(always)]
    fn probe(&self, hash: usize, mut is_wanted: impl FnMut(Slot) -> bool) -> usize {
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
        let is_of = |slot: Slot| {
            slot.hash == hash as u32
                && slot.at().is_some_and(|at| {
                    debug_assert!(!self.entries.is_cold(at), "what may be asked for is fetched before");
                    self.entries.get(at).is_some_and(|(other, _)| other == key)
                })
        };
        self.probe(hash as usize, is_of)
    }

    /// Brings all entries into memory that keys of these hashes may have, to be used before they are asked for. `weigh` tells how many
    /// bytes a value owns elsewhere: how many those owned that were not in memory.
    pub(super) fn fetch(
        &mut self,
        hashes: impl Iterator<Item = u64>,
        weigh: impl Fn(&V) -> usize,
    ) -> Result<usize, Error> {
        if !self.entries.has_spilled() || self.index.is_empty() {
            return Ok(0);
        }
        let mut places = Vec::new();
        for hash in hashes {
            let collect = |slot: Slot| {
                let at = slot.at().filter(|at| slot.hash == hash as u32 && self.entries.is_cold(*at));
                places.extend(at.map(|at| at as u32));
                false
            };
            self.probe(hash as usize, collect);
        }
        self.entries.fetch(places, weigh)
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
        let eighths = if self.entries.has_spilled() { 7 } else { 5 };
        if self.entries.len() >= self.index.len() / 8 * eighths {
            self.grow();
        }
        let slot = self.find(hash, &key);
        if let Some(at) = self.index[slot].at() {
            return at;
        }
        let at = self.entries.push((key, create()));
        self.index[slot] = Slot::new(hash, at);
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
        let entry = self.entries.get_mut(at);
        if let Some(frozen) = &mut self.frozen {
            frozen.before_change(at, entry);
        }
        (&entry.0, &mut entry.1)
    }

    /// Forgets the entry at a place that was located; if none was ever spilled, the last one moves there.
    pub(super) fn remove(&mut self, at: usize) {
        if let Some((key, _)) = self.entries.get(at) {
            self.remove_of(at, hash_of(key), None);
        }
    }

    /// The same of a key that is known, of which the entry may be spilled. Only while nothing is frozen.
    pub(super) fn remove_key(&mut self, at: usize, key: K) {
        self.remove_of(at, hash_of(&key), Some(key));
    }

    fn remove_of(&mut self, at: usize, hash: u64, key: Option<K>) {
        let slot_of = |keys: &Self, at: usize, hash: u64| {
            let wanted = Slot::new(0, at).entry;
            keys.probe(hash as usize, |slot| slot.entry == wanted)
        };
        let slot = slot_of(self, at, hash);
        // One that moves is in memory.
        let last = self.entries.moves();
        let hash_of_last = last.and_then(|last| self.entries.get(last)).map(|(key, _)| hash_of(key));
        if let Some((last, hash)) = last.zip(hash_of_last) {
            let of_last = slot_of(self, last, hash);
            self.index[of_last].entry = self.index[slot].entry;
        }
        if let Some(frozen) = &mut self.frozen {
            for at in [at].into_iter().chain(last) {
                self.entries.get(at).into_iter().for_each(|entry| frozen.before_change(at, entry));
            }
        }
        let removed = self.entries.remove(at).map(|(key, _)| key).or(key);
        removed.into_iter().for_each(|key| self.changes.remove(|| key));
        self.changes.swap_remove(at, last.unwrap_or(at));
        self.vacate(slot);
    }

    /// Forgets all entries.
    pub(super) fn clear(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        let mut frozen = self.frozen.take();
        match &mut frozen {
            Some(frozen) => frozen.keep(entries),
            None => entries.close(),
        }
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
        self.index.capacity() * size_of::<Slot>()
            + self.entries.bytes()
            + self.changes.bytes()
            + self.frozen.as_ref().map_or(0, |frozen| frozen.bytes())
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use updraft_kernel::Account;

    use super::*;
    use crate::table::tests::Weak;

    impl<K: Key, V: State> Keys<K, V> {
        /// All entries, which are in memory then, in the order of their places.
        pub(in super::super) fn listed(&mut self) -> Vec<(K, V)> {
            let places: Vec<_> = self.entries.all().iter().collect();
            let cold = places.iter().filter(|at| self.entries.is_cold(**at)).map(|at| *at as u32).collect();
            self.entries.fetch(cold, |_| 0).unwrap();
            places.iter().map(|at| self.entries.get(*at).unwrap().clone()).collect()
        }

        /// Has the key's entry in memory, if there is one: its hash.
        pub(in super::super) fn fetched(&mut self, key: &K) -> u64 {
            let hash = hash_of(key);
            self.fetch(std::iter::once(hash), |_| 0).unwrap();
            hash
        }
    }

    /// For who spills by hand: to a disk in memory where there is one, which has nothing to wait for when tables are synced.
    pub(in super::super) fn spill() -> Arc<Spill> {
        let shm = std::path::PathBuf::from("/dev/shm");
        Arc::new(Spill::new(Account::new(usize::MAX), 1, shm.is_dir().then_some(shm), Arc::default()))
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Count(u16),
        Remove(u16),
        /// As many bytes.
        Spill(usize),
    }

    fn steps(spills: u32) -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            140 => (0u16..300).prop_map(Step::Count),
            60 => (0u16..300).prop_map(Step::Remove),
            spills => (0usize..4_000).prop_map(Step::Spill),
        ];
        proptest::collection::vec(step, 0..2_000)
    }

    fn agrees<K: Key + std::fmt::Debug>(steps: &[Step], key: impl Fn(u16) -> K) -> Result<(), TestCaseError> {
        let (mut keys, mut model, spill) = (Keys::<K, u64>::default(), HashMap::new(), spill());
        for step in steps {
            match *step {
                Step::Count(n) => {
                    let key = key(n);
                    let hash = keys.fetched(&key);
                    keys.prefetch(hash);
                    let hint = keys.prefetch_entry(hash);
                    let at = keys.locate(hash, key.clone(), hint, || 0);
                    *keys.at(at).1 += 1;
                    *model.entry(key).or_insert(0) += 1;
                }
                Step::Remove(n) => {
                    let key = key(n);
                    let hash = keys.fetched(&key);
                    let at = keys.position(hash, &key);
                    prop_assert_eq!(at.is_some(), model.remove(&key).is_some());
                    at.into_iter().for_each(|at| keys.remove(at));
                }
                Step::Spill(bytes) => {
                    let before = keys.entries.bytes_in_memory();
                    keys.entries.spill(&spill, bytes, |_| 0).unwrap();
                    let after = keys.entries.bytes_in_memory();
                    prop_assert!(after == 0 || after + bytes <= before, "{bytes} of {before}, and {after} are left");
                }
            }
            prop_assert_eq!(keys.len(), model.len());
        }
        prop_assert_eq!(&keys.listed().into_iter().collect::<HashMap<_, _>>(), &model);
        for key in (0..500).map(key) {
            let at = keys.position(hash_of(&key), &key);
            prop_assert_eq!(at.map(|at| *keys.at(at).1), model.get(&key).copied());
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn agrees_with_a_hash_map(steps in steps(0)) {
            agrees(&steps, |n| n)?;
            agrees(&steps, Weak)?;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn agrees_with_a_hash_map_when_some_are_spilled(steps in steps(5)) {
            agrees(&steps, |n| n)?;
            agrees(&steps, Weak)?;
        }
    }
}
