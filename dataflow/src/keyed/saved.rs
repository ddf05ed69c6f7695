//! How the keys of a driver are saved and loaded: all of them, or those that have [changed](crate::journal).
//!
//! Nobody waits until they are saved. A snapshot [freezes](freeze) them, which only notes which these are; the driver goes on, and
//! [saves](Frozen::save_more) some now and then. One that is to change before its turn is saved first: copy on write, entry by
//! entry. Those that are [spilled](super::spill) are saved as they are stored, without being brought into memory.

use std::ops::RangeInclusive;

use postcard::fixint;
use serde::{Deserialize, Serialize};

use super::entries::Entries;
use super::keys::Keys;
use super::shuffle::{groups_of, owner_of_hash};
use crate::aggregate::State;
use crate::journal::{Bits, Write};
use crate::snapshot::{Object, Saved, Snapshot, append};
use crate::source::Error;
use crate::stage::KeyGroup;
use crate::table::{Key, hash_of};

/// Bytes of a record, about: what a driver saves at a time.
const BYTES: usize = 32 << 10;
/// Keys that are gone, of a record.
const REMOVED: usize = 1024;
/// Entries that are looked at together.
const ENTRIES: usize = 256;

/// How a record begins.
#[derive(Serialize, Deserialize)]
enum Kept<K> {
    /// What follows of the object is all that there is of its key groups: so many entries.
    Base(u64),
    /// So many entries follow.
    Entries(#[serde(with = "fixint::le")] u32),
    /// Keys that are gone.
    Removed(Vec<K>),
}

/// The first byte of a record of entries, before their number, and how long both are.
const ENTRIES_KIND: u8 = 1;
const HEAD: usize = 5;

/// Entries that a snapshot is made of, and that are not saved yet.
pub(super) struct Frozen<K, V> {
    object: Object,
    groups: RangeInclusive<KeyGroup>,
    /// Keys that are gone.
    removed: Vec<K>,
    /// The places of the others.
    left: Bits,
    /// There are none before this one.
    next: usize,
    /// What they are among, if the driver has forgotten all since.
    kept: Option<Entries<K, V>>,
    /// The record that is being written, and how many entries it has.
    record: Vec<u8>,
    entries: u32,
    /// Records that nobody has taken yet.
    records: Vec<Saved>,
    failed: Option<Error>,
}

impl<K: Key, V: State> Frozen<K, V> {
    fn new(object: Object, groups: RangeInclusive<KeyGroup>, removed: Vec<K>, left: Bits) -> Self {
        let (record, records) = (Vec::new(), Vec::new());
        Self { object, groups, removed, left, next: 0, kept: None, record, entries: 0, records, failed: None }
    }

    /// Saves the entry at a place that is about to change, if it has not been.
    #[inline(always)]
    pub(super) fn before_change(&mut self, at: usize, entry: &(K, V)) {
        if self.left.has(at) && self.kept.is_none() {
            self.save(at, entry);
        }
    }

    /// The driver forgets all of its entries: these.
    pub(super) fn keep(&mut self, entries: Entries<K, V>) {
        match self.kept {
            Some(_) => entries.close(),
            None => self.kept = Some(entries),
        }
    }

    #[cold]
    #[inline(never)]
    fn save(&mut self, at: usize, entry: &(K, V)) {
        self.add(at, |record| append(entry, record));
    }

    /// Adds the entry at a place to the record that is being written.
    fn add(&mut self, at: usize, write: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>) {
        self.left.clear(at);
        if self.record.is_empty() {
            self.record.reserve(BYTES + BYTES / 8);
            self.record.extend([ENTRIES_KIND; HEAD]);
        }
        self.entries += 1;
        if let Err(error) = write(&mut self.record) {
            self.failed = Some(error);
        }
        if self.record.len() >= BYTES {
            self.finish_record();
        }
    }

    fn finish_record(&mut self) {
        let entries = std::mem::take(&mut self.entries).to_le_bytes();
        let mut bytes = std::mem::take(&mut self.record);
        if let Some(head) = bytes.get_mut(1..HEAD) {
            head.copy_from_slice(&entries);
            self.records.push(Saved { object: self.object, groups: self.groups.clone(), bytes });
        }
    }

    /// Saves the next few entries.
    fn save_next(&mut self, entries: &Entries<K, V>) -> Result<(), Error> {
        let full = self.records.len();
        let mut cold = Vec::new();
        for _ in 0..ENTRIES.min(entries.window()) {
            let Some(at) = self.left.first_from(self.next).filter(|_| self.records.len() == full) else { break };
            self.next = at + 1;
            match entries.get(at) {
                Some(entry) => self.save(at, entry),
                None => cold.push(at as u32),
            }
        }
        entries.read(cold, |at, bytes| {
            self.add(at, |record| {
                record.extend_from_slice(bytes);
                Ok(())
            });
        })
    }

    /// Saves a record's worth of entries, or of keys that are gone, unless there is as much, and gives what has been saved: whether
    /// something is left.
    fn save_more(&mut self, entries: &Entries<K, V>, snapshot: &mut Snapshot) -> Result<bool, Error> {
        if !self.records.is_empty() {
            // There was enough that had to be saved before it changed.
        } else if self.removed.is_empty() {
            while self.records.is_empty() && self.left.first_from(self.next).is_some() {
                self.save_next(entries)?;
            }
        } else {
            let some = self.removed.split_off(self.removed.len().saturating_sub(REMOVED));
            snapshot.add(self.object, self.groups.clone(), &Kept::Removed(some))?;
        }
        let is_left = !self.removed.is_empty() || self.left.first_from(self.next).is_some();
        if !is_left {
            self.finish_record();
        }
        snapshot.saved.append(&mut self.records);
        self.failed.take().map_or(Ok(is_left), Err)
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let records: usize = self.records.iter().map(|saved| saved.bytes.capacity()).sum();
        let kept = self.kept.as_ref().map_or(0, Entries::bytes);
        self.left.bytes() + self.removed.capacity() * size_of::<K>() + self.record.capacity() + records + kept
    }
}

/// Adds the keys of a driver to a snapshot. Those that are not in one yet are frozen.
pub(super) fn freeze<K: Key, V: State>(
    keys: &mut Keys<K, V>,
    driver: usize,
    drivers: usize,
    snapshot: &mut Snapshot,
) -> Result<(), Error> {
    while save_more(keys, snapshot)? {}
    let (len, groups) = (keys.len(), groups_of(driver, drivers));
    match keys.changes.take(len) {
        Write::Nothing => {}
        Write::Run(run) => {
            let object = snapshot.create();
            // Some may be there again: these are among those that have changed, and are read after them.
            keys.frozen = Some(Box::new(Frozen::new(object, groups, run.removed.clone(), run.changed.clone())));
            keys.changes.wrote_run(object, run);
        }
        Write::All => {
            let object = snapshot.add_whole(groups.clone(), &Kept::<()>::Base(len as u64))?;
            keys.frozen = Some(Box::new(Frozen::new(object, groups, Vec::new(), keys.entries.all())));
            keys.changes.wrote_all(object, len);
        }
    }
    snapshot.objects.extend(keys.changes.objects());
    snapshot.objects.sort_unstable();
    snapshot.objects.dedup();
    Ok(())
}

/// Saves some of what is frozen: whether something is left.
pub(super) fn save_more<K: Key, V: State>(keys: &mut Keys<K, V>, snapshot: &mut Snapshot) -> Result<bool, Error> {
    let Some(mut frozen) = keys.frozen.take() else { return Ok(false) };
    let kept = frozen.kept.take();
    let is_left = frozen.save_more(kept.as_ref().unwrap_or(&keys.entries), snapshot)?;
    if is_left {
        frozen.kept = kept;
        keys.frozen = Some(frozen);
    } else if let Some(kept) = kept {
        kept.close();
    }
    Ok(is_left)
}

/// Takes a record back, as far as the driver owns its keys. `insert` puts an entry in, with its key's hash, `forget` hears of those that
/// are taken out of memory, and `fetch` brings those into memory that have keys of these hashes.
pub(super) fn load<K: Key, V: State>(
    keys: &mut Keys<K, V>,
    (driver, drivers): (usize, usize),
    saved: &Saved,
    mut insert: impl FnMut(&mut Keys<K, V>, u64, K, V),
    mut forget: impl FnMut(&V),
    fetch: impl Fn(&mut Keys<K, V>, &mut dyn Iterator<Item = u64>) -> Result<(), Error>,
) -> Result<(), Error> {
    let (kept, mut rest) = saved.begin::<Kept<K>>()?;
    let mut take_out = |keys: &mut Keys<K, V>, hash: u64, key: &K| {
        if let Some(at) = keys.position(hash, key) {
            keys.entries.get(at).into_iter().for_each(|(_, value)| forget(value));
            keys.remove(at);
        }
    };
    match kept {
        Kept::Base(entries) => {
            let count = |first: &KeyGroup, last: &KeyGroup| usize::from(last.0.saturating_sub(first.0)) + 1;
            let (of, own) = (&saved.groups, groups_of(driver, drivers));
            let share = count(of.start().max(own.start()), of.end().min(own.end()));
            keys.entries.expect(entries as usize / count(of.start(), of.end()) * share);
            let mut end = keys.entries.places();
            while end > 0 {
                let first = end.saturating_sub(ENTRIES.min(keys.entries.window()));
                // The last one first, which may move to where another was.
                for (at, key) in keys.entries.keys(first, end)?.into_iter().rev() {
                    if saved.groups.contains(&KeyGroup::of(hash_of(&key))) {
                        keys.entries.get(at).into_iter().for_each(|(_, value)| forget(value));
                        keys.remove_key(at, key);
                    }
                }
                end = first;
            }
            keys.changes.reads_base(saved.object, saved.has_all_of(driver, drivers));
        }
        Kept::Entries(entries) => {
            let mut own = Vec::new();
            for _ in 0..entries {
                let (key, value) = rest.next::<(K, V)>()?;
                let hash = hash_of(&key);
                if owner_of_hash(hash, drivers) == driver {
                    // The memory has time until all of the record are read.
                    keys.prefetch(hash);
                    own.push((hash, key, value));
                }
            }
            fetch(keys, &mut own.iter().map(|(hash, ..)| *hash))?;
            for (hash, key, value) in own {
                take_out(keys, hash, &key);
                insert(keys, hash, key, value);
            }
            keys.changes.read(saved.object, entries as usize, |_| true);
        }
        Kept::Removed(removed) => {
            fetch(keys, &mut removed.iter().map(hash_of))?;
            removed.iter().for_each(|key| take_out(keys, hash_of(key), key));
            keys.changes.read(saved.object, 0, |_| true);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::keys::tests::spill;
    use super::*;

    /// What a driver does.
    #[derive(Clone, Debug)]
    enum Step {
        Change(u16),
        Remove(u16),
        Freeze,
        SaveMore,
        Clear,
        /// So many bytes, those that entries own not counted.
        Spill(usize),
    }

    fn steps(spills: u32) -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            10 => (0u16..200).prop_map(Step::Change),
            // Some change all the time.
            10 => (0u16..6).prop_map(Step::Change),
            5 => (0u16..200).prop_map(Step::Remove),
            1 => Just(Step::Freeze),
            4 => Just(Step::SaveMore),
            1 => Just(Step::Clear),
            spills => (0usize..8_000).prop_map(Step::Spill),
        ];
        proptest::collection::vec(step, 0..600)
    }

    /// The keys that all records of a snapshot's objects are of, some of which are spilled while they are read.
    fn read(objects: &[Object], records: &[Saved], spills: bool) -> BTreeMap<u16, (u32, Vec<u8>)> {
        let (mut keys, spill) = (Keys::<u16, (u32, Vec<u8>)>::default(), spill());
        let mut records: Vec<_> = records.iter().filter(|saved| objects.contains(&saved.object)).collect();
        records.sort_by_key(|saved| saved.object);
        for (n, saved) in records.into_iter().enumerate() {
            let insert = |keys: &mut Keys<_, _>, hash, key, value| {
                keys.locate_without(hash, key, || value);
            };
            let fetch =
                |keys: &mut Keys<_, _>, hashes: &mut dyn Iterator<Item = u64>| keys.fetch(hashes, |_| 0).map(|_| ());
            load(&mut keys, (0, 1), saved, insert, |_| {}, fetch).expect("what was saved can be read");
            if spills && n % 3 == 0 {
                keys.entries.spill(&spill, keys.entries.bytes_in_memory() / 2, |_| 0).unwrap();
            }
        }
        keys.listed().into_iter().collect()
    }

    fn does_not_change(steps: Vec<Step>, spills: bool) -> Result<(), TestCaseError> {
        // A record has room for a dozen of them.
        let value = |n: u32| (n, vec![n as u8; BYTES / 12]);
        let (mut keys, mut n, mut first, spill) = (Keys::default(), 0, true, spill());
        let next = Arc::default();
        let mut model = BTreeMap::new();
        let (mut frozen, mut objects, mut records) = (BTreeMap::new(), Vec::new(), Vec::new());
        for step in steps {
            n += 1;
            match step {
                Step::Change(key) => {
                    let hash = keys.fetched(&key);
                    let at = keys.locate_without(hash, key, || value(n));
                    *keys.at(at).1 = value(n);
                    model.insert(key, value(n));
                }
                Step::Remove(key) => {
                    let hash = keys.fetched(&key);
                    keys.position(hash, &key).into_iter().for_each(|at| keys.remove(at));
                    model.remove(&key);
                }
                Step::Clear => {
                    keys.clear();
                    model.clear();
                }
                Step::Spill(bytes) => {
                    keys.entries.spill(&spill, bytes, |_| 0).unwrap();
                }
                Step::SaveMore => {
                    let mut snapshot = Snapshot::new(Arc::clone(&next));
                    let is_left = save_more(&mut keys, &mut snapshot).unwrap();
                    records.append(&mut snapshot.saved);
                    if !is_left && !first {
                        prop_assert_eq!(&read(&objects, &records, spills), &frozen);
                    }
                }
                // A second one before the first one is saved saves that.
                Step::Freeze => {
                    let mut snapshot = Snapshot::new(Arc::clone(&next));
                    freeze(&mut keys, 0, 1, &mut snapshot).unwrap();
                    (first, frozen) = (false, model.clone());
                    objects = snapshot.objects;
                    records.append(&mut snapshot.saved);
                }
            }
        }
        prop_assert_eq!(keys.listed().into_iter().collect::<BTreeMap<_, _>>(), model);
        Ok(())
    }

    proptest! {
        /// A snapshot is of the moment when it was begun, whatever is done until it is saved.
        #[test]
        fn what_is_frozen_does_not_change(steps in steps(0)) {
            does_not_change(steps, false)?;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn what_is_frozen_does_not_change_when_it_is_spilled(steps in steps(3)) {
            does_not_change(steps, true)?;
        }
    }
}
