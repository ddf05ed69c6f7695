//! The slices of a windowed stage: written by each driver for itself, taken from all when the watermark has passed.
//!
//! What the stages of all windows share: [`Writer::write`] finds a record's slice and updates the driver's own [`Partial`];
//! [`Slicer::seal`] takes what no later bundle can write to and deals the hash ranges out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use super::Slicing;
use crate::aggregate::Accumulate;
use crate::partial::{BATCH, DEEP, Partial, Shares, Spare, align};
use crate::stage::KeyGroup;
use crate::sync::{Mutex, lock};
use crate::table::Key;
use crate::time::{Generation, Punctuation, Time};

/// Keys below which the merge of a slice is not worth dealing out.
const SMALL: usize = 4096;

type Item<A> = <A as Accumulate>::Item;
type Acc<A> = <A as Accumulate>::Acc;

/// What all drivers' slices have in common.
pub(super) struct Slicer<K, A: Accumulate> {
    pub(super) slicing: Slicing,
    pub(super) aggregate: A,
    /// Of the hash space: what is merged apart from each other. A power of two.
    pub(super) pieces: usize,
    /// All slices that start before it are sealed.
    sealed: AtomicI64,
    pub(super) bytes: AtomicUsize,
    pub(super) spare: Spare<K, A::Item, A::Acc>,
}

/// A driver's slices that are not sealed.
pub(super) struct Open<K, I, V> {
    slices: Mutex<Vec<Slice<K, I, V>>>,
    /// Whether slices grow large: then the next one starts deep.
    deep: AtomicBool,
}

impl<K, I, V> Default for Open<K, I, V> {
    fn default() -> Self {
        Self { slices: Mutex::default(), deep: AtomicBool::new(false) }
    }
}

/// A driver's share of what its records of a span of time come to.
pub(super) struct Slice<K, I, V> {
    pub(super) generation: Generation,
    pub(super) start: i64,
    end: i64,
    pub(super) partial: Partial<K, I, V>,
    /// As last accounted.
    bytes: usize,
}

/// Some hash ranges of what an epoch has sealed.
pub struct Part<K, I, V> {
    pub(super) pieces: Vec<Piece<K, I, V>>,
    /// The watermark.
    pub(super) through: i64,
    pub(super) bytes: usize,
}

pub(super) struct Piece<K, I, V> {
    pub(super) index: usize,
    /// By start, oldest first: all drivers' shares of each of the piece's ranges.
    pub(super) slices: Vec<(i64, Vec<Shares<K, I, V>>)>,
}

impl<K: Key, A: Accumulate> Slicer<K, A> {
    /// Results are merged in `parallelism` pieces (rounded up to a power of two, 256 at most).
    pub(super) fn new(slicing: Slicing, aggregate: A, parallelism: usize) -> Self {
        Self {
            slicing,
            aggregate,
            pieces: parallelism.clamp(1, DEEP).next_power_of_two(),
            sealed: AtomicI64::new(i64::MIN),
            bytes: AtomicUsize::new(0),
            spare: Spare::default(),
        }
    }

    /// Whether a record at `time` may still come.
    pub(super) fn is_open(&self, time: Time) -> bool {
        time.0 >= self.sealed.load(Ordering::Relaxed)
    }

    /// Which piece a key group is in.
    pub(super) fn piece_of(&self, group: KeyGroup) -> usize {
        usize::from(group.0) * self.pieces / DEEP
    }

    pub(super) fn writer<'a, F>(
        &'a self,
        open: &'a Open<K, A::Item, A::Acc>,
        key: &'a F,
        generation: Generation,
    ) -> Writer<'a, F, K, A> {
        Writer {
            slicing: self.slicing,
            piece_bits: self.pieces.ilog2(),
            aggregate: &self.aggregate,
            key,
            generation,
            open: &open.slices,
            deep: &open.deep,
            spare: &self.spare,
            held: Vec::new(),
            batches: std::array::from_fn(|_| Vec::with_capacity(BATCH)),
            pair: [0; 2],
            start: i64::MAX,
            middle: i64::MAX,
            end: i64::MIN,
        }
    }

    /// Gives the writer's slices back.
    pub(super) fn put_back<F>(&self, writer: Writer<'_, F, K, A>) {
        self.bytes.fetch_add(writer.put_back(), Ordering::Relaxed);
    }

    /// The slices that start before `edge`, of all drivers.
    fn take_sealed<'a>(
        &self,
        all: impl Iterator<Item = &'a Open<K, A::Item, A::Acc>>,
        edge: i64,
    ) -> (BTreeMap<i64, Vec<Partial<K, A::Item, A::Acc>>>, usize) {
        let (mut slices, mut bytes) = (BTreeMap::<i64, Vec<_>>::new(), 0);
        for open in all {
            for slice in lock(&open.slices).extract_if(.., |slice| slice.start < edge) {
                open.deep.store(slice.partial.is_large(), Ordering::Relaxed);
                bytes += slice.bytes;
                slices.entry(slice.start).or_default().push(slice.partial);
            }
        }
        (slices, bytes)
    }

    /// Takes all slices that the watermark has passed, to be merged in parts; none where nothing is to be done, or where there
    /// are no slices and `only_with_slices`.
    pub(super) fn seal<'a>(
        &self,
        all: impl Iterator<Item = &'a Open<K, A::Item, A::Acc>>,
        punctuation: Punctuation,
        only_with_slices: bool,
    ) -> Vec<Part<K, A::Item, A::Acc>> {
        let through = punctuation.watermark.0;
        if punctuation.watermark == Time::MAX {
            self.spare.close();
        }
        let (edge, _) = self.slicing.slice(through);
        if self.sealed.fetch_max(edge, Ordering::Relaxed) >= edge {
            return Vec::new();
        }
        let (slices, bytes) = self.take_sealed(all, edge);
        if slices.is_empty() && only_with_slices {
            return Vec::new();
        }
        let small = slices.values().flatten().map(Partial::len).sum::<usize>() < SMALL;
        let mut pieces: Vec<_> =
            (0..self.pieces).map(|index| Piece { index, slices: Vec::with_capacity(slices.len()) }).collect();
        for (start, partials) in slices {
            let aligned = align(partials, pieces.len(), &self.aggregate);
            pieces.iter_mut().zip(aligned).for_each(|(piece, ranges)| piece.slices.push((start, ranges)));
        }
        // The bytes leave with the first part: the next ones follow at once.
        let mut bytes = Some(bytes);
        let mut part = |pieces| Part { pieces, through, bytes: bytes.take().unwrap_or(0) };
        if small { vec![part(pieces)] } else { pieces.into_iter().map(|piece| part(vec![piece])).collect() }
    }

    /// Has `visit` called with each slice of `open` that generations up to `through` have left.
    pub(super) fn visit(
        open: &Open<K, A::Item, A::Acc>,
        through: Generation,
        visit: impl FnMut(&mut Slice<K, A::Item, A::Acc>),
    ) {
        lock(&open.slices).iter_mut().filter(|slice| slice.generation <= through).for_each(visit);
    }
}

type Slices<K, A> = Vec<Slice<K, Item<A>, Acc<A>>>;

/// Writes the records of one bundle to the slices of one kernel.
pub(super) struct Writer<'a, F, K, A: Accumulate> {
    slicing: Slicing,
    piece_bits: u32,
    aggregate: &'a A,
    key: &'a F,
    generation: Generation,
    open: &'a Mutex<Slices<K, A>>,
    deep: &'a AtomicBool,
    spare: &'a Spare<K, Item<A>, Acc<A>>,
    /// Taken from `open` for as long as the bundle lasts. No other driver looks for them: the bundle's epoch
    /// is open, so none of its slices is sealed.
    pub(super) held: Slices<K, A>,
    /// Updates for either slice of the pair.
    batches: [Vec<(K, Item<A>)>; 2],
    /// The slice of the last record and one beside it, from `start` to `middle` and from there to `end`: most often one
    /// of them is also the next record's. Which one is told without a branch, as records out of order would have
    /// the processor guess wrong.
    pair: [usize; 2],
    start: i64,
    middle: i64,
    end: i64,
}

impl<'a, F, K: Key, A: Accumulate> Writer<'a, F, K, A> {
    /// Takes in what `item` reads from the record.
    #[inline(always)]
    pub(super) fn write<T>(&mut self, time: Time, record: &T, item: impl FnOnce(&T) -> A::Item)
    where
        F: Fn(&T) -> K,
    {
        if time.0 < self.start || time.0 >= self.end {
            self.turn_to(time.0);
        }
        let which = usize::from(time.0 >= self.middle);
        let batch = &mut self.batches[which];
        batch.push(((self.key)(record), item(record)));
        if batch.len() == BATCH {
            self.flush(which);
        }
    }

    #[inline(never)]
    fn flush(&mut self, which: usize) {
        if let Some(slice) = self.held.get_mut(self.pair[which]) {
            slice.partial.update(&mut self.batches[which], self.aggregate);
        }
    }

    /// Makes the slice that holds `time` one of the pair, beside the one before it or after it if this bundle has met one;
    /// its index.
    #[inline(never)]
    pub(super) fn turn_to(&mut self, time: i64) -> usize {
        (0..2).for_each(|which| self.flush(which));
        let (start, end) = self.slicing.slice(time);
        let at = self.held.iter().position(|slice| slice.start == start).unwrap_or_else(|| {
            let slice = self.take(start).unwrap_or_else(|| self.create(start, end));
            self.held.push(slice);
            self.held.len() - 1
        });
        let find = |beside: &dyn Fn(&Slice<K, Item<A>, Acc<A>>) -> bool| self.held.iter().position(beside);
        if let Some(before) = find(&|slice| slice.end == start) {
            self.pair = [before, at];
            (self.start, self.middle, self.end) = (self.held[before].start, start, end);
        } else if let Some(after) = find(&|slice| slice.start == end) {
            self.pair = [at, after];
            (self.start, self.middle, self.end) = (start, end, self.held[after].end);
        } else {
            self.pair = [at, at];
            (self.start, self.middle, self.end) = (start, end, end);
        }
        at
    }

    fn take(&self, start: i64) -> Option<Slice<K, Item<A>, Acc<A>>> {
        let open = &mut *lock(self.open);
        let at = open.iter().position(|slice| slice.start == start && slice.generation == self.generation)?;
        Some(open.swap_remove(at))
    }

    fn create(&self, start: i64, end: i64) -> Slice<K, Item<A>, Acc<A>> {
        let partial = if self.deep.load(Ordering::Relaxed) {
            Partial::deep(self.spare)
        } else {
            Partial::shallow(self.piece_bits, self.spare)
        };
        Slice { generation: self.generation, start, end, partial, bytes: 0 }
    }

    /// Gives the slices back; by how many bytes they have grown (wrapping).
    fn put_back(mut self) -> usize {
        (0..2).for_each(|which| self.flush(which));
        let mut grown = 0_usize;
        for slice in &mut self.held {
            if slice.partial.is_large() {
                self.deep.store(true, Ordering::Relaxed);
            }
            let bytes = slice.partial.bytes();
            grown = grown.wrapping_add(bytes.wrapping_sub(slice.bytes));
            slice.bytes = bytes;
        }
        lock(self.open).append(&mut self.held);
        grown
    }
}
