//! [`Journal`]: which entries have changed since which snapshot, so that a snapshot writes no more than it has to.
//!
//! What is stored is a *base*, which has all entries, and *runs*, each with those that have changed since the one before, and
//! what was removed. A run that is less than twice as long as the next one is written anew together with it: so there are a
//! logarithmic number of them, and an entry that changes is written a logarithmic number of times. (As keyed stages do it:
//! `changes.rs` of the engine. Here entries keep their places, until they are [renumbered](Journal::renumber).)

use updraft_dataflow::Object;

/// A bit for each place.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    #[inline]
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

    fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    fn add(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(super) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let gone: Vec<_> = self.iter().filter(|at| !keep(*at)).collect();
        gone.into_iter().for_each(|at| self.0[at / 64] &= !(1 << (at % 64)));
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
#[derive(Clone, Debug)]
pub(super) struct Run<G> {
    /// How it is stored; `None` of what is not stored yet.
    object: Option<Object>,
    pub(super) changed: Bits,
    /// What was removed. Some may be there again.
    pub(super) removed: Vec<G>,
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
pub(crate) struct Journal<G> {
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
pub(super) enum Write<G> {
    /// Nothing.
    Nothing,
    /// What is in a run.
    Run(Run<G>),
    /// All entries.
    All,
}

impl<G> Journal<G> {
    /// The entry at a place is new, or may have changed.
    #[inline]
    pub(crate) fn touch(&mut self, at: usize) {
        self.now.changed.set(at);
    }

    /// An entry is gone. Its place may be given to another.
    pub(crate) fn remove(&mut self, gone: impl FnOnce() -> G) {
        if !self.base.is_empty() || !self.runs.is_empty() {
            self.now.removed.push(gone());
        }
    }

    /// Entries have other places: `before` has the old one of each.
    pub(crate) fn renumber(&mut self, before: &[u32]) {
        for run in self.runs.iter_mut().chain([&mut self.now]) {
            let mut changed = Bits::default();
            let places = before.iter().enumerate().filter(|(_, before)| run.changed.has(**before as usize));
            places.for_each(|(at, _)| changed.set(at));
            run.changed = changed;
        }
    }

    /// What a snapshot has to write, of `len` entries in all. What is stored is what is left of the rest.
    pub(super) fn take(&mut self, len: usize) -> Write<G> {
        let mut run = std::mem::take(&mut self.now);
        if len == 0 {
            // Who shares what is stored with others must tell that it is no more.
            let is_told = self.runs.is_empty() && self.base_len == 0;
            return if is_told { Write::Nothing } else { self.all() };
        }
        if run.len() == 0 {
            return Write::Nothing;
        }
        while let Some(older) = self.runs.pop_if(|older| older.len() < 2 * run.len()) {
            run.absorb(older);
        }
        if self.runs.is_empty() && self.base_len < 2 * run.len() { self.all() } else { Write::Run(run) }
    }

    fn all(&mut self) -> Write<G> {
        *self = Self::default();
        Write::All
    }

    /// `run` is written as `object`.
    pub(super) fn wrote_run(&mut self, object: Object, run: Run<G>) {
        self.runs.push(Run { object: Some(object), ..run });
    }

    /// All entries, so many, are written as `object`.
    pub(super) fn wrote_all(&mut self, object: Object, len: usize) {
        (self.base, self.base_len) = (vec![object], len);
    }

    /// `object` is being read. It is a base: of all keys, so that nothing before it counts, or of some.
    pub(super) fn reads_base(&mut self, object: Object, of_all: bool) {
        self.now = Run::default();
        if of_all {
            *self = Self::default();
        }
        self.base.push(object);
    }

    /// Some of `object` was read: so many entries, not all of them of keys that are owned.
    pub(super) fn read(&mut self, object: Object, entries: usize, is_own: impl Fn(&G) -> bool) {
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
    pub(super) fn objects(&self) -> impl Iterator<Item = Object> {
        self.base.iter().copied().chain(self.runs.iter().filter_map(|run| run.object))
    }

    /// Bytes of memory, without what is elsewhere.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |run: &Run<G>| run.changed.0.len() * 8 + run.removed.len() * size_of::<G>();
        self.runs.iter().chain([&self.now]).map(bytes).sum()
    }
}
