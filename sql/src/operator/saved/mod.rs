//! How operators save their state, and take it back, perhaps on another number of kernels.
//!
//! Two ways, by how the state changes. [`Entries`] change where they are (keys with what is kept of each, rows that a join
//! remembers): a [`Journal`] tells which have changed, and no others are written. What only comes, waits and goes on is in
//! [`Pieces`], that are never written again. Columns are [`Packed`].
//!
//! An operator that has several of these gives each a number: the first byte of its records.

mod by_key;
mod export;
mod packed;
mod pieces;
mod rows;

use std::ops::RangeInclusive;

use datafusion_common::Result;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
pub(crate) use updraft_dataflow::journal::Journal;
use updraft_dataflow::journal::Write;
use updraft_dataflow::keyed::{groups_of, owner_of_hash};
use updraft_dataflow::{Error, KeyGroup, Object, Saved, Snapshot};

pub(crate) use self::by_key::ByKey;
pub use self::export::Export;
pub(crate) use self::packed::{Packed, Several, hashes_of, numbers, numbers_of};
pub(crate) use self::pieces::Pieces;
pub(crate) use self::rows::{load_rows, save_rows};

/// Which of the instances of an operator one is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    kernel: usize,
    kernels: usize,
}

impl Default for Share {
    fn default() -> Self {
        Self { kernel: 0, kernels: 1 }
    }
}

impl Share {
    /// The one on kernel `kernel` of `kernels`.
    pub(crate) fn new(kernel: usize, kernels: usize) -> Self {
        Self { kernel, kernels }
    }

    /// Whether it owns the keys of a hash.
    pub(crate) fn owns(self, hash: u64) -> bool {
        owner_of_hash(hash, self.kernels) == self.kernel
    }

    /// The key groups that it owns.
    pub(crate) fn groups(self) -> RangeInclusive<KeyGroup> {
        groups_of(self.kernel, self.kernels)
    }

    /// Whether it is the only one that owns what has no key.
    pub(crate) fn is_first(self) -> bool {
        self.kernel == 0
    }

    /// Which of some rows are of keys that it owns, if not all.
    pub(crate) fn own_rows(self, hashes: &[u64]) -> Option<Vec<u32>> {
        if hashes.iter().all(|hash| self.owns(*hash)) {
            return None;
        }
        let rows = hashes.iter().enumerate().filter(|(_, hash)| self.owns(**hash));
        Some(rows.map(|(row, _)| row as u32).collect())
    }
}

/// What is saved entry by entry. Entries have places, that are small numbers.
pub(crate) trait Entries {
    /// What is remembered of an entry that is gone.
    type Gone: Clone;
    /// Some entries, as they are written.
    type Some: Serialize + DeserializeOwned;

    /// What of them is saved.
    fn journal(&mut self) -> &mut Journal<Self::Gone>;
    /// The places of all.
    fn places(&self) -> Vec<u32>;
    /// The hash of an entry's key; `None` where there is no entry.
    fn hash(&self, place: u32) -> Option<u64>;
    /// Those at some places, which become part of an object.
    fn pack(&mut self, places: &[u32], object: Object) -> Result<Self::Some>;
    /// Of those that are gone, the ones that are not there again.
    fn still_gone(&self, gone: Vec<Self::Gone>) -> Vec<Self::Gone>;
    /// What is written of them.
    fn pack_gone(&self, gone: &[Self::Gone]) -> Result<Packed>;
    /// Whether the key of one that is gone is owned.
    fn is_own(gone: &Self::Gone, share: Share) -> bool;
    /// Takes entries back, in place of those that they were before, as far as their keys are owned; tells how many were written.
    fn unpack(&mut self, some: Self::Some, share: Share) -> Result<usize>;
    /// Takes out what is gone.
    fn unpack_gone(&mut self, gone: &Packed) -> Result<()>;
    /// Takes out all of some hashes.
    fn clear(&mut self, of: &dyn Fn(u64) -> bool) -> Result<()>;
}

/// A record of entries.
#[derive(Serialize, Deserialize)]
enum Record<S> {
    /// What follows of the object is all that there is of its key groups.
    Base,
    /// Entries as they are.
    Some(S),
    /// Entries that are gone.
    Gone(Packed),
}

/// Entries of a record, at most; fewer, where these take too many bytes.
const ENTRIES: usize = 4096;
const BYTES: usize = 1 << 20;

/// Adds entries to a snapshot: those that have changed.
pub(crate) fn save<E: Entries>(
    entries: &mut E,
    part: u8,
    share: Share,
    snapshot: &mut Snapshot,
) -> std::result::Result<(), Error> {
    let all = entries.places();
    let write = entries.journal().take(all.len());
    entries.journal().objects().for_each(|object| snapshot.keep(object));
    match write {
        Write::Nothing => {}
        Write::Run(mut run) => {
            let gone = entries.still_gone(std::mem::take(&mut run.removed));
            run.changed.retain(|place| entries.hash(place as u32).is_some());
            let places: Vec<_> = run.changed.iter().map(|place| place as u32).collect();
            if gone.is_empty() && places.is_empty() {
                return Ok(());
            }
            let object = snapshot.create();
            for gone in gone.chunks(ENTRIES) {
                let record = Record::<E::Some>::Gone(entries.pack_gone(gone)?);
                snapshot.add(object, share.groups(), &(part, record))?;
            }
            run.removed = gone;
            write_some(entries, places, (part, object), snapshot)?;
            entries.journal().wrote_run(object, run);
        }
        Write::All => {
            let object = snapshot.add_whole(share.groups(), &(part, Record::<E::Some>::Base))?;
            let len = all.len();
            write_some(entries, all, (part, object), snapshot)?;
            entries.journal().wrote_all(object, len);
        }
    }
    Ok(())
}

/// Entries at some places, in order of their key groups.
fn write_some<E: Entries>(
    entries: &mut E,
    places: Vec<u32>,
    of: (u8, Object),
    snapshot: &mut Snapshot,
) -> std::result::Result<(), Error> {
    let group = |place: u32| KeyGroup::of(entries.hash(place).unwrap_or_default());
    let mut places: Vec<_> = places.into_iter().map(|place| (group(place), place)).collect();
    places.sort_unstable();
    for some in places.chunks(ENTRIES) {
        write_record(entries, some, of, snapshot)?;
        updraft_kernel::yield_point();
    }
    Ok(())
}

/// One record; or several, if it would be too large.
fn write_record<E: Entries>(
    entries: &mut E,
    some: &[(KeyGroup, u32)],
    (part, object): (u8, Object),
    snapshot: &mut Snapshot,
) -> std::result::Result<(), Error> {
    let places: Vec<_> = some.iter().map(|(_, place)| *place).collect();
    let record = Record::Some(entries.pack(&places, object)?);
    snapshot.add(object, some[0].0..=some[some.len() - 1].0, &(part, record))?;
    if some.len() > 1 && snapshot.saved.pop_if(|record| record.bytes.len() > BYTES).is_some() {
        let (one, other) = some.split_at(some.len() / 2);
        write_record(entries, one, (part, object), snapshot)?;
        write_record(entries, other, (part, object), snapshot)?;
    }
    Ok(())
}

/// Takes a record of entries back.
pub(crate) fn load<E: Entries>(entries: &mut E, share: Share, saved: &Saved) -> std::result::Result<(), Error> {
    let is_own = |gone: &E::Gone| E::is_own(gone, share);
    match saved.read::<(u8, Record<E::Some>)>()?.1 {
        Record::Base => {
            entries.clear(&|hash| saved.groups.contains(&KeyGroup::of(hash)))?;
            entries.journal().reads_base(saved.object, saved.has_all_of(share.kernel, share.kernels));
        }
        Record::Some(some) => {
            let written = entries.unpack(some, share)?;
            entries.journal().read(saved.object, written, is_own);
        }
        Record::Gone(gone) => {
            entries.unpack_gone(&gone)?;
            entries.journal().read(saved.object, 0, is_own);
        }
    }
    Ok(())
}
