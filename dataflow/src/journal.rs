//! [`Journal`]: which entries have changed since which snapshot, so that a snapshot writes no more than it has to.
//!
//! What is stored is a *base*, which has all entries, and *runs*, each with those that have changed since the one before, and
//! what was removed. As soon as there are eight runs of about the same length they are written anew as one, and when they have as
//! many entries as the base, all is: so there are a logarithmic number of them, and an entry that changes is written a
//! logarithmic number of times, as in a log-structured merge tree (O'Neil et al., Acta Informatica 1996; "tiered" ones, which write
//! least: Dayan and Idreos, SIGMOD 2018). A run of which nearly all has changed again since goes sooner: the little that has not is
//! written with the next one, so that keys that change all the time are stored once, not in each run. What is in a run is told by a bit
//! for each entry, not by its stored bytes: nothing is read to merge them.
//!
//! Entries have places, which are small numbers. They keep them until they are [moved](Journal::swap_remove) or
//! [renumbered](Journal::renumber).

use crate::snapshot::Object;

/// Runs of about the same length, the last one so many times as long as the first one at most, that are written anew as one.
const FAN_IN: usize = 8;
/// A run goes as soon as all but one of so many of its entries have changed again.
const STALE: usize = 8;

/// A bit for each place.
#[derive(Clone, Debug, Default)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// The first `len`.
    pub(crate) fn all(len: usize) -> Self {
        let mut words = vec![u64::MAX; len / 64];
        words.extend(Some((1 << (len % 64)) - 1).filter(|rest| *rest != 0));
        Self(words)
    }

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
        let is_set = self.has(last);
        self.clear(last);
        match is_set {
            true if at != last => self.set(at),
            _ => self.clear(at),
        }
    }

    pub(crate) fn clear(&mut self, at: usize) {
        self.0.get_mut(at / 64).into_iter().for_each(|word| *word &= !(1 << (at % 64)));
    }

    #[inline(always)]
    pub(crate) fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// The first place from `at` on that is set.
    pub(crate) fn first_from(&self, at: usize) -> Option<usize> {
        let first = self.0.get(at / 64)? & (u64::MAX << (at % 64));
        let rest = self.0.iter().skip(at / 64 + 1).copied();
        let (skipped, word) = std::iter::once(first).chain(rest).enumerate().find(|(_, word)| *word != 0)?;
        Some((at / 64 + skipped) * 64 + word.trailing_zeros() as usize)
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.0.capacity() * 8
    }

    fn add(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// How many there are that the other ones are not among.
    fn without(&self, other: &Self) -> usize {
        let others = other.0.iter().copied().chain(std::iter::repeat(0));
        self.0.iter().zip(others).map(|(word, other)| (word & !other).count_ones() as usize).sum()
    }

    /// Keeps those that are wanted.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let gone: Vec<_> = self.iter().filter(|at| !keep(*at)).collect();
        gone.into_iter().for_each(|at| self.clear(at));
    }

    /// The places of those that are set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
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
#[derive(Clone, Debug)]
pub struct Run<G> {
    /// How it is stored; `None` of what is not stored yet.
    object: Option<Object>,
    /// The places of entries that are new, or may have changed.
    pub changed: Bits,
    /// What was removed. Some may be there again.
    pub removed: Vec<G>,
}

impl<G> Default for Run<G> {
    fn default() -> Self {
        Self { object: None, changed: Bits::default(), removed: Vec::new() }
    }
}

impl<G> Run<G> {
    fn len(&self) -> usize {
        self.changed.len() + self.removed.len()
    }

    fn absorb(&mut self, mut other: Self) {
        self.changed.add(&other.changed);
        self.removed.append(&mut other.removed);
    }
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Journal<G> {
    /// Objects that together hold all entries, as they once were; none before the first snapshot.
    base: Vec<Object>,
    /// Entries in them.
    base_len: usize,
    /// Oldest first.
    runs: Vec<Run<G>>,
    /// Since the last snapshot.
    now: Run<G>,
}

impl<G> Default for Journal<G> {
    fn default() -> Self {
        Self { base: Vec::new(), base_len: 0, runs: Vec::new(), now: Run::default() }
    }
}

/// What has to be written.
pub enum Write<G> {
    /// Nothing.
    Nothing,
    /// What is in a run.
    Run(Run<G>),
    /// All entries.
    All,
}

impl<G> Journal<G> {
    /// The entry at a place is new, or may have changed.
    #[inline(always)]
    pub fn touch(&mut self, at: usize) {
        self.now.changed.set(at);
    }

    /// An entry is gone. Its place may be given to another, at once by [`swap_remove`](Self::swap_remove).
    pub fn remove(&mut self, gone: impl FnOnce() -> G) {
        if !self.base.is_empty() || !self.runs.is_empty() {
            self.now.removed.push(gone());
        }
    }

    /// The entry at a place, which is gone, leaves it to the one at the last place.
    pub fn swap_remove(&mut self, at: usize, last: usize) {
        self.runs.iter_mut().chain([&mut self.now]).for_each(|run| run.changed.swap_remove(at, last));
    }

    /// Entries have other places: `before` has the old one of each.
    pub fn renumber(&mut self, before: &[u32]) {
        for run in self.runs.iter_mut().chain([&mut self.now]) {
            let mut changed = Bits::default();
            let places = before.iter().enumerate().filter(|(_, before)| run.changed.has(**before as usize));
            places.for_each(|(at, _)| changed.set(at));
            run.changed = changed;
        }
    }

    /// What a snapshot has to write, of `len` entries in all. What is stored is what is left of the rest.
    pub fn take(&mut self, len: usize) -> Write<G> {
        let mut run = std::mem::take(&mut self.now);
        if len == 0 {
            // Who shares what is stored with others must tell that it is no more.
            let is_told = self.runs.is_empty() && self.base_len == 0;
            return if is_told { Write::Nothing } else { self.all() };
        }
        if run.len() == 0 {
            return Write::Nothing;
        }
        self.absorb_stale(&mut run);
        loop {
            let similar = self.runs.iter().rev().take_while(|older| older.len() < FAN_IN * run.len()).count();
            if similar < FAN_IN - 1 {
                break;
            }
            self.runs.drain(self.runs.len() - similar..).for_each(|older| run.absorb(older));
        }
        let len = run.len() + self.runs.iter().map(Run::len).sum::<usize>();
        if len >= self.base_len { self.all() } else { Write::Run(run) }
    }

    /// Has a run that is to be written take over those of which it has nearly all anyway.
    fn absorb_stale(&mut self, run: &mut Run<G>) {
        let mut is_newest = true;
        for at in (0..self.runs.len()).rev() {
            let older = &self.runs[at];
            // What was removed, and came back in a run that stays, must not be removed once more after that.
            let can_go = is_newest || older.removed.is_empty();
            let left = older.changed.without(&run.changed) + older.removed.len();
            if can_go && left * STALE <= older.len() {
                run.absorb(self.runs.remove(at));
            } else {
                is_newest = false;
            }
        }
    }

    fn all(&mut self) -> Write<G> {
        *self = Self::default();
        Write::All
    }

    /// `run` is written as `object`.
    pub fn wrote_run(&mut self, object: Object, run: Run<G>) {
        self.runs.push(Run { object: Some(object), ..run });
    }

    /// All entries, so many, are written as `object`.
    pub fn wrote_all(&mut self, object: Object, len: usize) {
        (self.base, self.base_len) = (vec![object], len);
    }

    /// `object` is being read. It is a base: of all keys, so that nothing before it counts, or of some.
    pub fn reads_base(&mut self, object: Object, of_all: bool) {
        self.now = Run::default();
        if of_all {
            *self = Self::default();
        }
        self.base.push(object);
    }

    /// Some of `object` was read: so many entries, not all of them of keys that are owned.
    pub fn read(&mut self, object: Object, entries: usize, is_own: impl Fn(&G) -> bool) {
        let mut now = std::mem::take(&mut self.now);
        if self.base.last() == Some(&object) {
            self.base_len += entries;
            return;
        }
        now.removed.retain(is_own);
        match self.runs.last_mut().filter(|run| run.object == Some(object)) {
            Some(run) => run.absorb(now),
            None => self.wrote_run(object, now),
        }
    }

    /// What the state is stored as.
    pub fn objects(&self) -> impl Iterator<Item = Object> {
        self.base.iter().copied().chain(self.runs.iter().filter_map(|run| run.object))
    }

    /// Bytes of memory, without what is elsewhere.
    pub fn bytes(&self) -> usize {
        let bytes = |run: &Run<G>| run.changed.bytes() + run.removed.capacity() * size_of::<G>();
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
                prop_assert_eq!(bits.first_from(at), set.iter().copied().find(|set| *set >= at));
                prop_assert_eq!(bits.iter().collect::<Vec<_>>(), set);
                prop_assert_eq!(Bits::all(at).iter().collect::<Vec<_>>(), (0..at).collect::<Vec<_>>());
            }
        }
    }

    /// What is written of a thousand entries, in each of so many snapshots; before each, `changes` tells what changes.
    fn written(snapshots: usize, changes: impl Fn(usize) -> std::ops::Range<usize>) -> (Vec<usize>, Journal<()>) {
        let (len, mut journal) = (1_000, Journal::<()>::default());
        let written = (0..snapshots).map(|number| {
            changes(number).for_each(|at| journal.touch(at));
            let object = Object(number as u64);
            match journal.take(len) {
                Write::Nothing => 0,
                Write::Run(run) => {
                    let written = run.len();
                    journal.wrote_run(object, run);
                    written
                }
                Write::All => {
                    journal.wrote_all(object, len);
                    len
                }
            }
        });
        (written.collect(), journal)
    }

    #[test]
    fn what_changes_all_the_time_is_written_once_each_time() {
        let (written, journal) = written(100, |number| if number == 0 { 0..1_000 } else { 0..100 });
        assert_eq!(written[1..], [100; 99]);
        assert_eq!(journal.objects().collect::<Vec<_>>(), [Object(0), Object(99)]);
    }

    #[test]
    fn the_little_that_is_left_of_a_run_is_written_with_the_next() {
        // Each time one more, of which the first changes no more.
        let (written, journal) = written(90, |number| if number == 0 { 0..1_000 } else { number..number + 100 });
        assert!(written[1..].iter().all(|written| (100..=116).contains(written)), "{written:?}");
        assert!(journal.objects().count() < 12, "{:?}", journal.objects().collect::<Vec<_>>());
    }

    #[test]
    fn what_has_changed_once_is_written_a_logarithmic_number_of_times() {
        let (written, journal) = written(512, |number| if number == 0 { 0..1_000 } else { number..number + 1 });
        assert!(written[1..].iter().sum::<usize>() < 4 * 512, "{written:?}");
        assert!(journal.objects().count() < 4 * FAN_IN);
    }
}
