//! How the keys of a driver are saved and loaded: all of them, or those that have [changed](crate::journal).

use serde::{Deserialize, Serialize};

use super::keys::Keys;
use super::shuffle::{groups_of, owner_of_hash};
use crate::aggregate::State;
use crate::journal::Write;
use crate::snapshot::{Object, Saved, Snapshot};
use crate::source::Error;
use crate::stage::KeyGroup;
use crate::table::{Key, hash_of};

/// Entries of a record, at most.
const ENTRIES: usize = 1024;

/// A record.
#[derive(Serialize, Deserialize)]
enum Kept<E, K> {
    /// What follows of the object is all that there is of its key groups.
    Base,
    /// Entries as they are.
    Entries(Vec<E>),
    /// Keys that are gone.
    Removed(Vec<K>),
}

/// Adds the keys of a driver to a snapshot.
pub(super) fn save<K: Key, V: State>(
    keys: &mut Keys<K, V>,
    driver: usize,
    drivers: usize,
    snapshot: &mut Snapshot,
) -> Result<(), Error> {
    let len = keys.len();
    match keys.changes.take(len) {
        Write::Nothing => {}
        Write::Run(run) => {
            let object = snapshot.create();
            let is_gone = |key: &&K| keys.position(hash_of(key), key).is_none();
            let mut removed: Vec<_> = run.removed.iter().filter(is_gone).collect();
            removed.sort_unstable_by_key(hash_of);
            for some in removed.chunks(ENTRIES) {
                let groups = KeyGroup::of(hash_of(some[0]))..=KeyGroup::of(hash_of(some[some.len() - 1]));
                snapshot.add(object, groups, &Kept::<(), _>::Removed(some.to_vec()))?;
            }
            write(keys, run.changed.iter().collect(), object, snapshot)?;
            keys.changes.wrote_run(object, run);
        }
        Write::All => {
            let object = snapshot.add_whole(groups_of(driver, drivers), &Kept::<(), ()>::Base)?;
            write(keys, (0..len).collect(), object, snapshot)?;
            keys.changes.wrote_all(object, len);
        }
    }
    snapshot.objects.extend(keys.changes.objects());
    snapshot.objects.sort_unstable();
    snapshot.objects.dedup();
    Ok(())
}

/// The entries at some places, in order of their key groups.
fn write<K: Key, V: State>(
    keys: &Keys<K, V>,
    places: Vec<usize>,
    object: Object,
    snapshot: &mut Snapshot,
) -> Result<(), Error> {
    let of = |at: usize| KeyGroup::of(hash_of(&keys.entries()[at].0));
    let mut places: Vec<(KeyGroup, usize)> = places.into_iter().map(|at| (of(at), at)).collect();
    places.sort_unstable();
    for some in places.chunks(ENTRIES) {
        let entries = some.iter().map(|(_, at)| &keys.entries()[*at]).collect();
        snapshot.add(object, some[0].0..=some[some.len() - 1].0, &Kept::<_, ()>::Entries(entries))?;
        updraft_kernel::yield_point();
    }
    Ok(())
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
    match saved.read::<Kept<(K, V), K>>()? {
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
            let before = entries.len();
            for (key, value) in entries {
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
            keys.changes.read(saved.object, before, |_| true);
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
