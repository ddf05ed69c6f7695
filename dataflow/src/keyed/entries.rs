//! The entries of a driver's keys by place: those that memory has room for, and those that are [spilled](super::spill).
//!
//! As long as there is room for all they stand side by side in the order of their places; one that is removed leaves its place to
//! the last. From the first one on that is spilled, entries keep their places, a place tells where its entry is, and one that is
//! left is given to the next new key. So neither the index nor the [journal](crate::journal) hear of what is spilled, as in
//! FASTER (Chandramouli et al., SIGMOD 2018), where a hash index in memory knows of records on disk.
//!
//! What is spilled first is what was not used since the hand of a clock came by the last time. It is written only if it has
//! changed since it was read. Who wants to use an entry [fetches](Entries::fetch) it before, best together with others.

use std::sync::Arc;

use updraft_kernel::{prefetch, yield_point};

use super::spill::{Batch, Spill, Store};
use crate::aggregate::State;
use crate::journal::Bits;
use crate::snapshot::append;
use crate::source::Error;
use crate::table::Key;

/// Bytes of a cache line.
const LINE: usize = 64;
/// Instead of where an entry is in memory: it is spilled, or there is none.
const SPILLED: u32 = u32::MAX;
const NONE: u32 = u32::MAX - 1;

/// See the module's page.
pub(super) struct Entries<K, V> {
    /// Those in memory.
    warm: Vec<(K, V)>,
    /// By how many of them there may be more room at a time.
    step: usize,
    /// How many are to come, about, as who restores them knows.
    expected: usize,
    /// Once something was spilled.
    cold: Option<Box<Cold>>,
}

/// What there is beside entries in memory.
struct Cold {
    store: Store,
    /// Where the entry of each place is.
    places: Vec<u32>,
    /// What is known of each that is in memory.
    known: Vec<Known>,
    /// Places without an entry.
    free: Vec<u32>,
    /// Where the hand of the clock stands.
    hand: usize,
}

#[derive(Clone, Copy)]
struct Known {
    place: u32,
    /// Whether it was used since the hand came by.
    is_used: bool,
    /// Whether it is another than the one that is stored.
    has_changed: bool,
    /// Whether it is being written.
    is_leaving: bool,
}

impl Known {
    fn of_new(place: usize) -> Self {
        Self { place: place as u32, is_used: true, has_changed: true, is_leaving: false }
    }
}

impl<K, V> Default for Entries<K, V> {
    fn default() -> Self {
        Self { warm: Vec::new(), step: usize::MAX, expected: 0, cold: None }
    }
}

impl Cold {
    #[inline(always)]
    fn at(&self, place: usize) -> usize {
        self.places.get(place).map_or(usize::MAX, |at| *at as usize)
    }

    /// Notes that an entry is used, and may be changed.
    #[inline(always)]
    fn touch(&mut self, place: usize) -> usize {
        let at = self.places[place] as usize;
        let known = &mut self.known[at];
        (known.is_used, known.has_changed) = (true, true);
        at
    }

    /// An entry was taken out of those in memory, and the last one of these has moved there.
    fn moved(&mut self, at: usize) {
        self.known.swap_remove(at);
        if let Some(known) = self.known.get(at) {
            self.places[known.place as usize] = at as u32;
        }
    }
}

/// Makes room for one more, not for twice as many.
fn push<T>(list: &mut Vec<T>, value: T) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 8).max(64));
    }
    list.push(value);
}

impl<K, V> Entries<K, V> {
    /// Such that may be spilled to `spill`.
    pub(super) fn spilling(spill: Option<&Arc<Spill>>) -> Self {
        let step = spill.map_or(usize::MAX, |spill| (spill.step() / size_of::<(K, V)>().max(1)).max(1));
        Self { step, ..Self::default() }
    }

    /// So many more are to come, about: room for them is not made by moving those that are there again and again.
    pub(super) fn expect(&mut self, more: usize) {
        self.expected = self.warm.len().saturating_add(more);
    }

    /// How many there are.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        match &self.cold {
            None => self.warm.len(),
            Some(cold) => cold.places.len() - cold.free.len(),
        }
    }

    /// One more than the last place that there may be an entry at.
    pub(super) fn places(&self) -> usize {
        self.cold.as_ref().map_or(self.warm.len(), |cold| cold.places.len())
    }

    /// The places that there are entries at.
    pub(super) fn all(&self) -> Bits {
        let mut all = Bits::all(self.places());
        self.cold.iter().flat_map(|cold| &cold.free).for_each(|place| all.clear(*place as usize));
        all
    }

    /// Whether something was ever spilled.
    #[inline(always)]
    pub(super) fn has_spilled(&self) -> bool {
        self.cold.is_some()
    }

    /// Whether the entry at a place is spilled.
    pub(super) fn is_cold(&self, place: usize) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.places[place] == SPILLED)
    }

    /// How many entries should be fetched at a time.
    pub(super) fn window(&self) -> usize {
        self.cold.as_ref().map_or(usize::MAX, |cold| cold.store.window())
    }

    /// Asks the memory for the entry at a place.
    #[inline(always)]
    pub(super) fn prefetch(&self, place: usize) {
        let at = self.cold.as_ref().map_or(place, |cold| cold.at(place));
        prefetch(&self.warm, at);
        if size_of::<(K, V)>() > LINE / 2 {
            // Most such entries reach into the next cache line.
            prefetch(&self.warm, at.wrapping_add(1));
        }
    }

    /// The entry at a place, if it is in memory.
    #[inline(always)]
    pub(super) fn get(&self, place: usize) -> Option<&(K, V)> {
        match &self.cold {
            None => self.warm.get(place),
            Some(cold) => self.warm.get(cold.at(place)),
        }
    }

    /// The entry at a place, which is in memory, to be changed.
    #[inline(always)]
    pub(super) fn get_mut(&mut self, place: usize) -> &mut (K, V) {
        let at = self.cold.as_mut().map_or(place, |cold| cold.touch(place));
        &mut self.warm[at]
    }

    /// Adds one: its place.
    #[inline(always)]
    pub(super) fn push(&mut self, entry: (K, V)) -> usize {
        if self.warm.len() == self.warm.capacity() {
            self.grow();
        }
        let at = self.warm.len();
        self.warm.push(entry);
        let Some(cold) = &mut self.cold else { return at };
        let place = match cold.free.pop() {
            Some(place) => place as usize,
            None => {
                push(&mut cold.places, NONE);
                cold.places.len() - 1
            }
        };
        cold.places[place] = at as u32;
        push(&mut cold.known, Known::of_new(place));
        place
    }

    #[cold]
    fn grow(&mut self) {
        let len = self.warm.len();
        let more = match &self.cold {
            Some(_) => len / 16,
            // No more than what is there vouches for.
            None => self.expected.saturating_sub(len).clamp(len, 7 * len),
        };
        self.warm.reserve_exact(more.min(self.step).max(4));
    }

    /// Takes in one that was read from where it is stored.
    fn take_back(&mut self, place: u32, entry: (K, V)) {
        if self.warm.len() == self.warm.capacity() {
            self.grow();
        }
        let Some(cold) = &mut self.cold else { return };
        cold.places[place as usize] = self.warm.len() as u32;
        self.warm.push(entry);
        push(&mut cold.known, Known { has_changed: false, ..Known::of_new(place as usize) });
    }

    /// The place of the entry that moves when one is removed.
    pub(super) fn moves(&self) -> Option<usize> {
        if self.cold.is_some() { None } else { self.warm.len().checked_sub(1) }
    }

    /// Takes out the entry at a place. One that is spilled is only forgotten.
    pub(super) fn remove(&mut self, place: usize) -> Option<(K, V)> {
        let Some(cold) = &mut self.cold else { return Some(self.warm.swap_remove(place)) };
        let at = std::mem::replace(&mut cold.places[place], NONE);
        push(&mut cold.free, place as u32);
        if at == SPILLED {
            return None;
        }
        let entry = self.warm.swap_remove(at as usize);
        cold.moved(at as usize);
        Some(entry)
    }

    /// Lets go of all of them.
    pub(super) fn close(self) {
        if let Some(cold) = self.cold {
            cold.store.close();
        }
    }

    /// Bytes of memory held, without what keys and values own elsewhere.
    pub(super) fn bytes(&self) -> usize {
        let beside = self.cold.as_ref().map_or(0, |cold| {
            (cold.places.capacity() + cold.free.capacity()) * size_of::<u32>()
                + cold.known.capacity() * size_of::<Known>()
        });
        self.bytes_in_memory() + beside
    }

    /// The same of entries alone: what may be spilled.
    pub(super) fn bytes_in_memory(&self) -> usize {
        self.warm.capacity() * size_of::<(K, V)>()
    }
}

impl<K: Key, V: State> Entries<K, V> {
    /// Spills entries until so many bytes are free, or all are spilled. `weigh` tells how many bytes a value owns elsewhere:
    /// how many those owned that are spilled.
    pub(super) fn spill(
        &mut self,
        spill: &Arc<Spill>,
        bytes: usize,
        weigh: impl Fn(&V) -> usize,
    ) -> Result<usize, Error> {
        if self.cold.is_none() {
            let known = (0..self.warm.len()).map(|place| Known { is_used: false, ..Known::of_new(place) });
            let places = (0..self.warm.len() as u32).collect();
            let (known, free) = (known.collect(), Vec::new());
            self.cold = Some(Box::new(Cold { store: spill.store()?, places, known, free, hand: 0 }));
        }
        let (mut freed, mut weight) = (0, 0);
        while freed < bytes && !self.warm.is_empty() {
            let (batch, leaving) = self.choose(spill, bytes - freed, &weigh)?;
            let Some(cold) = &mut self.cold else { break };
            cold.store.write(batch)?;
            for at in leaving.into_iter().rev() {
                let at = at as usize;
                cold.places[cold.known[at].place as usize] = SPILLED;
                cold.moved(at);
                let (_, value) = self.warm.swap_remove(at);
                let owned = weigh(&value);
                freed += size_of::<(K, V)>() + owned;
                weight += owned;
            }
        }
        self.warm.shrink_to_fit();
        self.cold.iter_mut().for_each(|cold| cold.known.shrink_to_fit());
        Ok(weight)
    }

    /// Which ones are to be spilled next, up to so many bytes or as many as are written at a time: ascending, with those among
    /// them that have to be written.
    fn choose(&mut self, spill: &Spill, bytes: usize, weigh: impl Fn(&V) -> usize) -> Result<(Batch, Vec<u32>), Error> {
        let (mut batch, mut leaving, mut freed) = (Batch::default(), Vec::new(), 0);
        let Some(cold) = &mut self.cold else { return Ok((batch, leaving)) };
        let full = spill.batch();
        // After two rounds all that may be are chosen.
        for _ in 0..2 * self.warm.len() {
            if freed >= bytes || batch.bytes.len() >= full || leaving.len() == self.warm.len() {
                break;
            }
            cold.hand = if cold.hand + 1 < self.warm.len() { cold.hand + 1 } else { 0 };
            let (known, entry) = (&mut cold.known[cold.hand], &self.warm[cold.hand]);
            if known.is_leaving || std::mem::take(&mut known.is_used) {
                continue;
            }
            known.is_leaving = true;
            leaving.push(cold.hand as u32);
            freed += size_of::<(K, V)>() + weigh(&entry.1);
            if known.has_changed {
                let start = batch.bytes.len();
                append(entry, &mut batch.bytes)?;
                let length = batch.bytes.len() - start;
                if length > spill.most() {
                    return Err(format!(
                        "the state of a key is of {length} bytes, and the memory budget is of {}: keep less by key, or \
                         allow more memory (`Job::memory_budget`)",
                        spill.most()
                    )
                    .into());
                }
                batch.entries.push((known.place, start, batch.bytes.len()));
            }
            yield_point();
        }
        leaving.sort_unstable();
        Ok((batch, leaving))
    }

    /// Brings the entries at these places into memory that are not there: how many bytes their values own elsewhere, as `weigh`
    /// tells.
    pub(super) fn fetch(&mut self, mut places: Vec<u32>, weigh: impl Fn(&V) -> usize) -> Result<usize, Error> {
        places.sort_unstable();
        places.dedup();
        let mut weight = 0;
        while !places.is_empty() {
            let later = places.split_off(places.len().min(self.window()));
            let Some(cold) = &self.cold else { break };
            for (place, bytes) in cold.store.read(places)? {
                let entry: (K, V) = decode(&bytes)?;
                weight += weigh(&entry.1);
                self.take_back(place, entry);
            }
            places = later;
        }
        Ok(weight)
    }

    /// Gives what is stored of the entries at these places, which are spilled: as [`append`] writes them. They stay where they are.
    pub(super) fn read(&self, places: Vec<u32>, mut each: impl FnMut(usize, &[u8])) -> Result<(), Error> {
        if let Some(cold) = self.cold.as_ref().filter(|_| !places.is_empty()) {
            cold.store.read(places)?.iter().for_each(|(place, bytes)| each(*place as usize, bytes));
        }
        Ok(())
    }

    /// The keys of the entries at places from `first` to before `end`.
    pub(super) fn keys(&self, first: usize, end: usize) -> Result<Vec<(usize, K)>, Error> {
        let is_cold = |place: &u32| self.is_cold(*place as usize);
        let warm = (first..end).filter_map(|place| Some((place, self.get(place)?.0.clone())));
        let (mut keys, mut failed): (Vec<_>, _) = (warm.collect(), None);
        self.read((first as u32..end as u32).filter(is_cold).collect(), |place, bytes| match decode_key(bytes) {
            Ok(key) => keys.push((place, key)),
            Err(error) => failed = Some(error),
        })?;
        keys.sort_unstable_by_key(|(place, _)| *place);
        failed.map_or(Ok(keys), Err)
    }
}

fn decode<K: Key, V: State>(bytes: &[u8]) -> Result<(K, V), Error> {
    postcard::from_bytes(bytes).map_err(unreadable)
}

/// An entry begins with its key.
fn decode_key<K: Key>(bytes: &[u8]) -> Result<K, Error> {
    postcard::take_from_bytes(bytes).map(|(key, _)| key).map_err(unreadable)
}

fn unreadable(error: postcard::Error) -> Error {
    format!("an entry that was spilled cannot be read: {error}: its type does not read what it writes").into()
}
