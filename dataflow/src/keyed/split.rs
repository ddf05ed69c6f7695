//! Keys that are split: their records are put together by all kernels before they come to the one that owns the key.
//!
//! Of most functions of a key's records it does not matter whether they get them one by one, or several as one: a sum, a maximum, a set, a list of what was bought. A
//! [`Combiner`] says how two of them become one. Where a key is hot, the shuffle, which any kernel does, makes one record of those that a bundle has
//! of it: partial results, which the owner of the key merges. (The combiner of Dean and Ghemawat, "MapReduce: simplified data processing on large clusters", OSDI 2004, §4.3; for
//! the keys alone that are worth it, which changes while the job runs.)

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::bundle::Record;
use crate::control::versions::Versions;
use crate::source::Error;
use crate::table::{Key, hash_of};
use crate::time::{Epoch, Time};

/// The keys of a stage that are split, by epoch.
pub(crate) struct Splits {
    /// Reads a key from JSON: as it is written, and its hash.
    read: fn(&str) -> Result<(String, u64), Error>,
    hashes: ArcSwap<Versions<Arc<[u64]>>>,
}

impl Splits {
    /// None yet, of keys of type `K`.
    pub(crate) fn of<K: Key>() -> Self {
        fn read<K: Key>(text: &str) -> Result<(String, u64), Error> {
            let key: K = serde_json::from_str(text).map_err(|error| format!("{text} is no key: {error}"))?;
            Ok((serde_json::to_string(&key)?, hash_of(&key)))
        }
        Self { read: read::<K>, hashes: ArcSwap::default() }
    }

    /// A key, as it is written, from JSON.
    pub(crate) fn read(&self, text: &str) -> Result<String, Error> {
        (self.read)(text).map(|(key, _)| key)
    }

    /// These, in the epochs after `epoch`; in all, if it is none.
    pub(crate) fn set_after<'a>(&self, epoch: Option<Epoch>, keys: impl Iterator<Item = &'a String>) {
        // What was a key before the job was changed may be none now.
        let hashes = keys.filter_map(|key| (self.read)(key).ok()).map(|(_, hash)| hash);
        Versions::change(&self.hashes, epoch, hashes.collect());
    }

    /// All epochs up to `epoch` are complete.
    pub(crate) fn forget(&self, epoch: Epoch) {
        Versions::forget_in(&self.hashes, epoch);
    }

    /// The hashes of those that are split in the epoch that is worked on.
    fn here(&self) -> Arc<[u64]> {
        self.hashes.load().here().clone()
    }
}

/// How records of a key are put together, and of which keys they are.
pub(crate) struct Combiner<D> {
    splits: Arc<Splits>,
    how: Arc<dyn Combine<D>>,
}

impl<D> Clone for Combiner<D> {
    fn clone(&self) -> Self {
        Self { splits: self.splits.clone(), how: self.how.clone() }
    }
}

impl<K: Key, T: Record> Combiner<(K, T)> {
    /// `combine` adds a record to another one of the same key.
    pub(crate) fn new(combine: impl Fn(&mut T, T) + Send + Sync + 'static) -> Self {
        Self { splits: Arc::new(Splits::of::<K>()), how: Arc::new(combine) }
    }
}

impl<D> Combiner<D> {
    pub(crate) fn splits(&self) -> &Arc<Splits> {
        &self.splits
    }

    /// What there is to put together of a bundle; none where no key is split.
    pub(super) fn partials(&self) -> Option<Partials<'_, D>> {
        let hashes = self.splits.here();
        (!hashes.is_empty()).then(|| Partials { how: &*self.how, hashes, records: Vec::new() })
    }
}

/// How a record of a split key is added to what there is of it.
trait Combine<D>: Send + Sync {
    fn hash(&self, record: &D) -> u64;
    /// Gives it back if it is of another key, of the same hash.
    fn combine(&self, into: &mut D, record: D) -> Option<D>;
}

impl<K: Key, T: Record, F: Fn(&mut T, T) + Send + Sync> Combine<(K, T)> for F {
    fn hash(&self, (key, _): &(K, T)) -> u64 {
        hash_of(key)
    }

    fn combine(&self, into: &mut (K, T), record: (K, T)) -> Option<(K, T)> {
        if into.0 != record.0 {
            return Some(record);
        }
        self(&mut into.1, record.1);
        None
    }
}

/// Records of split keys that are being put together.
pub(super) struct Partials<'a, D> {
    how: &'a dyn Combine<D>,
    hashes: Arc<[u64]>,
    /// By hash: the records so far as one, and the latest of their times.
    records: Vec<(u64, Time, D)>,
}

impl<D> Partials<'_, D> {
    /// Takes a record, if it is of a split key; else gives it back.
    #[inline]
    pub(super) fn take(&mut self, time: Time, record: D) -> Option<D> {
        let hash = self.how.hash(&record);
        if !self.hashes.contains(&hash) {
            return Some(record);
        }
        let mut left = record;
        for (_, latest, into) in self.records.iter_mut().filter(|(of, ..)| *of == hash) {
            match self.how.combine(into, left) {
                Some(other) => left = other,
                None => {
                    *latest = time.max(*latest);
                    return None;
                }
            }
        }
        self.records.push((hash, time, left));
        None
    }

    /// What they have become.
    pub(super) fn into_records(self) -> impl Iterator<Item = (Time, D)> {
        self.records.into_iter().map(|(_, time, record)| (time, record))
    }
}
