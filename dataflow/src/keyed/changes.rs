//! [`Changes`]: which entries have changed since which snapshot, so that a snapshot writes no more than it has to.
//!
//! What is stored is a *base*, which has all entries, and *runs*, each with the entries that have changed since the one before, and the
//! keys that are gone. As in a log-structured merge tree (O'Neil et al., Acta Informatica 1996), a run that is
//! less than twice as long as the next one is written anew together with it: so there are a logarithmic number of them, and an entry that
//! changes is written a logarithmic number of times. What is in a run is told by a bit for each entry, not by its stored
//! bytes: nothing is read to merge them.

use crate::snapshot::Object;

/// A bit for each entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    #[inline(always)]
    fn set(&mut self, at: usize) {
        match self.0.get_mut(at / 64) {
            Some(word) => *word |= 1 << (at % 64),
            None => self.grow(at),
        }
    }

    #[cold]
    fn grow(&mut self, at: usize) {
        self.0.resize(at / 64 + 1, 0);
        self.0[at / 64] |= 1 << (at % 64);
    }

    /// The entry at `last` takes the place of the one at `at`, and leaves its own empty.
    fn swap_remove(&mut self, at: usize, last: usize) {
        let is_set = self.0.get(last / 64).is_some_and(|word| word >> (last % 64) & 1 == 1);
        if let Some(word) = self.0.get_mut(last / 64) {
            *word &= !(1 << (last % 64));
        }
        match (is_set, self.0.get_mut(at / 64)) {
            (true, _) if at != last => self.set(at),
            (false, Some(word)) => *word &= !(1 << (at % 64)),
            _ => {}
        }
    }

    fn add(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The places of those that are set, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = rest.checked_ilog2().map(|_| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(index * 64 + bit)
            })
        })
    }
}

/// What has changed at a time.
#[derive(Debug)]
pub(super) struct Run<K> {
    /// How it is stored; `None` of what is not stored yet.
    object: Option<Object>,
    pub(super) changed: Bits,
    /// Keys that were removed. Some may be there again.
    pub(super) removed: Vec<K>,
}

impl<K> Default for Run<K> {
    fn default() -> Self {
        Self { object: None, changed: Bits::default(), removed: Vec::new() }
    }
}

impl<K> Run<K> {
    fn len(&self) -> usize {
        self.changed.len() + self.removed.len()
    }

    fn absorb(&mut self, mut other: Self) {
        self.changed.add(&other.changed);
        self.removed.append(&mut other.removed);
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Changes<K> {
    /// Objects that together hold all entries, as they once were; none before the first snapshot.
    base: Vec<Object>,
    /// Entries in them.
    base_len: usize,
    /// Oldest first.
    runs: Vec<Run<K>>,
    /// Since the last snapshot.
    now: Run<K>,
}

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Self { base: Vec::new(), base_len: 0, runs: Vec::new(), now: Run::default() }
    }
}

/// What has to be written.
pub(super) enum Write<K> {
    /// Nothing.
    Nothing,
    /// What is in a run.
    Run(Run<K>),
    /// All entries.
    All,
}

impl<K: Clone> Changes<K> {
    /// The entry at `at` may have changed.
    #[inline(always)]
    pub(super) fn touch(&mut self, at: usize) {
        self.now.changed.set(at);
    }

    /// The entry of `key`, at `at`, is gone, and the one at `last` has taken its place.
    pub(super) fn remove(&mut self, key: &K, at: usize, last: usize) {
        if !self.base.is_empty() || !self.runs.is_empty() {
            self.now.removed.push(key.clone());
        }
        self.runs.iter_mut().chain([&mut self.now]).for_each(|run| run.changed.swap_remove(at, last));
    }

    /// What a snapshot has to write. Where no entry is left, that is told, too: other drivers may still need what it was stored in.
    pub(super) fn take(&mut self) -> Write<K> {
        let mut run = std::mem::take(&mut self.now);
        if run.len() == 0 {
            return Write::Nothing;
        }
        while let Some(older) = self.runs.pop_if(|older| older.len() < 2 * run.len()) {
            run.absorb(older);
        }
        if self.runs.is_empty() && self.base_len < 2 * run.len() {
            (self.base, self.base_len) = (Vec::new(), 0);
            return Write::All;
        }
        Write::Run(run)
    }

    /// `run` is written as `object`.
    pub(super) fn wrote_run(&mut self, object: Object, run: Run<K>) {
        self.runs.push(Run { object: Some(object), ..run });
    }

    /// All entries, so many, are written as `object`.
    pub(super) fn wrote_all(&mut self, object: Object, len: usize) {
        (self.base, self.base_len) = (vec![object], len);
    }

    /// `object` is being read. It is a base: of all keys, so that nothing before it counts, or of some.
    pub(super) fn reads_base(&mut self, object: Object, of_all: bool) {
        if of_all {
            *self = Self::default();
        }
        self.base.push(object);
    }

    /// Some of `object` was read: so many entries.
    pub(super) fn read(&mut self, object: Object, entries: usize) {
        let now = std::mem::take(&mut self.now);
        if self.base.last() == Some(&object) {
            self.base_len += entries;
            return;
        }
        match self.runs.last_mut().filter(|run| run.object == Some(object)) {
            Some(run) => run.absorb(now),
            None => self.wrote_run(object, now),
        }
    }

    /// What the state is stored as.
    pub(super) fn objects(&self) -> impl Iterator<Item = Object> {
        self.base.iter().copied().chain(self.runs.iter().filter_map(|run| run.object))
    }

    /// Bytes of memory held, without what keys own elsewhere.
    pub(super) fn bytes(&self) -> usize {
        let bytes = |run: &Run<K>| run.changed.0.capacity() * 8 + run.removed.capacity() * size_of::<K>();
        self.runs.iter().chain([&self.now]).map(bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Bits against a list of booleans, of which entries are taken out as the entries are.
        #[test]
        fn bits_follow_their_entries(steps in proptest::collection::vec((0usize..200, any::<bool>()), 0..200)) {
            let (mut bits, mut model) = (Bits::default(), vec![false; 200]);
            for (at, removes) in steps {
                let at = at % model.len();
                if removes && model.len() > 1 {
                    bits.swap_remove(at, model.len() - 1);
                    model.swap_remove(at);
                } else {
                    bits.set(at);
                    model[at] = true;
                }
                let set: Vec<_> = (0..model.len()).filter(|at| model[*at]).collect();
                prop_assert_eq!(bits.len(), set.len());
                prop_assert_eq!(bits.iter().collect::<Vec<_>>(), set);
            }
        }
    }
}
