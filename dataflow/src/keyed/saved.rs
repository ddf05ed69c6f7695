//! How the keys of a driver are saved and loaded: all of them, or those that have [changed](crate::journal).
//!
//! Nobody waits until they are saved. A snapshot [freezes](freeze) them, which only notes which these are; the driver goes on, and
//! [saves](Frozen::save_more) some now and then. One that is to change before its turn is saved first: copy on write, entry by
//! entry.

use std::ops::RangeInclusive;

use postcard::fixint;
use serde::{Deserialize, Serialize};

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

/// How a record begins.
#[derive(Serialize, Deserialize)]
enum Kept<K> {
    /// What follows of the object is all that there is of its key groups.
    Base,
    /// So many entries follow.
    Entries(#[serde(with = "fixint::le")] u32),
    /// Keys that are gone.
    Removed(Vec<K>),
}

/// The first byte of a record of entries, before their number, and how long both are.
const ENTRIES: u8 = 1;
const HEAD: usize = 5;

/// Entries that a snapshot is made of, and that are not saved yet.
pub(super) struct Frozen<K> {
    object: Object,
    groups: RangeInclusive<KeyGroup>,
    /// Keys that are gone.
    removed: Vec<K>,
    /// The places of the others.
    left: Bits,
    /// There are none before this one.
    next: usize,
    /// The record that is being written, and how many entries it has.
    record: Vec<u8>,
    entries: u32,
    /// Records that nobody has taken yet.
    records: Vec<Saved>,
    failed: Option<Error>,
}

impl<K: Key> Frozen<K> {
    fn new(object: Object, groups: RangeInclusive<KeyGroup>, removed: Vec<K>, left: Bits) -> Self {
        let (record, records) = (Vec::new(), Vec::new());
        Self { object, groups, removed, left, next: 0, record, entries: 0, records, failed: None }
    }

    /// Saves the entry at a place that is about to change, if it has not been.
    #[inline(always)]
    pub(super) fn before_change<V: State>(&mut self, at: usize, entry: &(K, V)) {
        if self.left.has(at) {
            self.save(at, entry);
        }
    }

    #[cold]
    #[inline(never)]
    fn save<V: State>(&mut self, at: usize, entry: &(K, V)) {
        self.left.clear(at);
        if self.record.is_empty() {
            self.record.reserve(BYTES + BYTES / 8);
            self.record.extend([ENTRIES; HEAD]);
        }
        self.entries += 1;
        if let Err(error) = append(entry, &mut self.record) {
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

    /// Saves the next entry: whether there was one.
    fn save_next<V: State>(&mut self, entries: &[(K, V)]) -> bool {
        let Some(at) = self.left.first_from(self.next) else { return false };
        self.next = at;
        self.save(at, &entries[at]);
        true
    }

    /// Saves all that is left.
    pub(super) fn save_all<V: State>(&mut self, entries: &[(K, V)]) {
        while self.save_next(entries) {}
    }

    /// Saves a record's worth of entries, or of keys that are gone, and gives what has been saved: whether something is left.
    fn save_more<V: State>(&mut self, entries: &[(K, V)], snapshot: &mut Snapshot) -> Result<bool, Error> {
        if self.removed.is_empty() {
            let full = self.records.len();
            while self.records.len() == full && self.save_next(entries) {}
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
        self.left.bytes() + self.removed.capacity() * size_of::<K>() + self.record.capacity() + records
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
            let object = snapshot.add_whole(groups.clone(), &Kept::<()>::Base)?;
            keys.frozen = Some(Box::new(Frozen::new(object, groups, Vec::new(), Bits::all(len))));
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
    let is_left = frozen.save_more(keys.entries(), snapshot)?;
    keys.frozen = is_left.then_some(frozen);
    Ok(is_left)
}

/// Takes a record back, as far as the driver owns its keys. `insert` puts an entry in, and `forget` hears of those that are taken out.
pub(super) fn load<K: Key, V: State>(
    keys: &mut Keys<K, V>,
    (driver, drivers): (usize, usize),
    saved: &Saved,
    mut insert: impl FnMut(&mut Keys<K, V>, K, V),
    mut forget: impl FnMut(&V),
) -> Result<(), Error> {
    let is_own = |hash: u64| owner_of_hash(hash, drivers) == driver;
    let (kept, mut rest) = saved.begin::<Kept<K>>()?;
    match kept {
        Kept::Base => {
            for at in (0..keys.len()).rev() {
                if saved.groups.contains(&KeyGroup::of(hash_of(&keys.entries()[at].0))) {
                    forget(&keys.entries()[at].1);
                    keys.remove(at);
                }
            }
            keys.changes.reads_base(saved.object, saved.has_all_of(driver, drivers));
        }
        Kept::Entries(entries) => {
            for _ in 0..entries {
                let (key, value) = rest.next::<(K, V)>()?;
                let hash = hash_of(&key);
                if !is_own(hash) {
                    continue;
                }
                if let Some(at) = keys.position(hash, &key) {
                    forget(&keys.entries()[at].1);
                    keys.remove(at);
                }
                insert(keys, key, value);
            }
            keys.changes.read(saved.object, entries as usize, |_| true);
        }
        Kept::Removed(removed) => {
            for key in removed {
                if let Some(at) = keys.position(hash_of(&key), &key) {
                    forget(&keys.entries()[at].1);
                    keys.remove(at);
                }
            }
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

    use super::*;

    /// What a driver does.
    #[derive(Clone, Debug)]
    enum Step {
        Change(u16),
        Remove(u16),
        Freeze,
        SaveMore,
        Clear,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            20 => (0u16..200).prop_map(Step::Change),
            5 => (0u16..200).prop_map(Step::Remove),
            1 => Just(Step::Freeze),
            4 => Just(Step::SaveMore),
            1 => Just(Step::Clear),
        ];
        proptest::collection::vec(step, 0..600)
    }

    /// The keys that all records of a snapshot's objects are of.
    fn read(objects: &[Object], records: &[Saved]) -> BTreeMap<u16, (u32, Vec<u8>)> {
        let mut keys = Keys::<u16, (u32, Vec<u8>)>::default();
        let mut records: Vec<_> = records.iter().filter(|saved| objects.contains(&saved.object)).collect();
        records.sort_by_key(|saved| saved.object);
        for saved in records {
            let insert = |keys: &mut Keys<_, _>, key, value| {
                keys.locate_without(hash_of(&key), key, || value);
            };
            load(&mut keys, (0, 1), saved, insert, |_| {}).expect("what was saved can be read");
        }
        keys.entries().iter().cloned().collect()
    }

    proptest! {
        /// A snapshot is of the moment when it was begun, whatever is done until it is saved.
        #[test]
        fn what_is_frozen_does_not_change(steps in steps()) {
            // A record has room for a dozen of them.
            let value = |n: u32| (n, vec![n as u8; BYTES / 12]);
            let (mut keys, mut n, mut first) = (Keys::default(), 0, true);
            let next = Arc::default();
            let (mut frozen, mut objects, mut records) = (BTreeMap::new(), Vec::new(), Vec::new());
            for step in steps {
                n += 1;
                match step {
                    Step::Change(key) => {
                        let at = keys.locate_without(hash_of(&key), key, || value(n));
                        *keys.at(at).1 = value(n);
                    }
                    Step::Remove(key) => keys.position(hash_of(&key), &key).into_iter().for_each(|at| keys.remove(at)),
                    Step::Clear => keys.clear(),
                    Step::SaveMore => {
                        let mut snapshot = Snapshot::new(Arc::clone(&next));
                        let is_left = save_more(&mut keys, &mut snapshot).unwrap();
                        records.append(&mut snapshot.saved);
                        if !is_left && !first {
                            prop_assert_eq!(&read(&objects, &records), &frozen);
                        }
                    }
                    // A second one before the first one is saved saves that.
                    Step::Freeze => {
                        let mut snapshot = Snapshot::new(Arc::clone(&next));
                        freeze(&mut keys, 0, 1, &mut snapshot).unwrap();
                        (first, frozen) = (false, keys.entries().iter().cloned().collect());
                        objects = snapshot.objects;
                        records.append(&mut snapshot.saved);
                    }
                }
            }
        }
    }
}
