//! The slices of a windowed stage: written by each driver for itself, taken from all when the watermark has passed.
//!
//! What the stages of all windows share, whatever slices are kept in ([`Store`]): [`Held::turn_to`] finds the driver's own
//! share of the slice that a time is in; [`Slicer::seal`] takes what no later bundle can write to and deals the hash ranges out.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use updraft_kernel::{give_up, yield_point};

use super::Slicing;
use super::saved::{Role, SliceWriter};
use super::store::{Store, pieces_of};
use crate::snapshot::{Object, Saved, Snapshot};
use crate::source::Error;
use crate::sync::{Mutex, lock};
use crate::time::{Generation, Punctuation, Time};

/// Parts of a slice that are saved at a time.
const PARTS: usize = 8;
/// Keys below which the merge of a slice is not worth dealing out.
const SMALL: usize = 4096;

/// What all drivers' slices have in common.
pub(super) struct Slicer<S> {
    pub(super) slicing: Slicing,
    pub(super) store: S,
    /// Of the hash space: what is merged apart from each other. A power of two.
    pub(super) pieces: usize,
    /// All slices that start before it are sealed.
    sealed: AtomicI64,
    pub(super) bytes: AtomicUsize,
}

/// A driver's slices that are not sealed.
///
/// What a snapshot is made of is not written any more: records of later generations go to slices of their own. So it is enough
/// to note which of them are still to be saved. The driver [saves](Slicer::save_some) some now and then; those that are sealed
/// before are saved then.
pub(super) struct Open<S: Store> {
    slices: Mutex<Vec<Slice<S>>>,
    /// What was saved of slices that were sealed, until the driver takes it.
    saved: Mutex<Vec<Saved>>,
    /// Slices that were taken out, and are being saved.
    leaving: AtomicUsize,
    /// Whether slices grow large: then the next one starts so.
    large: AtomicBool,
}

impl<S: Store> Default for Open<S> {
    fn default() -> Self {
        Self {
            slices: Mutex::default(),
            saved: Mutex::default(),
            leaving: AtomicUsize::new(0),
            large: AtomicBool::new(false),
        }
    }
}

/// A driver's share of what its records of a span of time come to.
pub(super) struct Slice<S: Store> {
    pub(super) generation: Generation,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) partial: S::Partial,
    /// As what it is in snapshots; none where it is in none yet.
    object: Option<Object>,
    /// The parts of it that are still to be saved.
    unsaved: Range<usize>,
    /// As last accounted.
    bytes: usize,
}

/// Some hash ranges of what an epoch has sealed.
pub struct Part<S: Store> {
    pub(super) pieces: Vec<Piece<S>>,
    /// The watermark.
    pub(super) through: i64,
    pub(super) bytes: usize,
}

/// A hash range of what an epoch has sealed.
pub(super) struct Piece<S: Store> {
    pub(super) index: usize,
    /// By start, oldest first.
    pub(super) slices: Vec<(i64, S::Range)>,
}

impl<S: Store> Slicer<S> {
    /// Results are merged in `parallelism` pieces (rounded up to a power of two, 256 at most).
    pub(super) fn new(slicing: Slicing, store: S, parallelism: usize) -> Self {
        let sealed = AtomicI64::new(i64::MIN);
        Self { slicing, store, pieces: pieces_of(parallelism), sealed, bytes: AtomicUsize::new(0) }
    }

    /// Whether a record at `time` may still come.
    pub(super) fn is_open(&self, time: Time) -> bool {
        time.0 >= self.sealed.load(Ordering::Relaxed)
    }

    /// A driver's slices, for as long as a bundle lasts.
    pub(super) fn hold<'a>(&'a self, open: &'a Open<S>, generation: Generation) -> Held<'a, S> {
        Held { slicer: self, open, generation, slices: Vec::new() }
    }

    /// The slices that start before `edge`, of all drivers.
    fn take_sealed<'a>(
        &self,
        all: impl Iterator<Item = &'a Open<S>>,
        edge: i64,
    ) -> (BTreeMap<i64, Vec<S::Partial>>, usize) {
        let (mut slices, mut bytes) = (BTreeMap::<i64, Vec<_>>::new(), 0);
        for open in all {
            for slice in self.take_before(open, edge) {
                open.large.store(self.store.is_large(&slice.partial), Ordering::Relaxed);
                bytes += slice.bytes;
                slices.entry(slice.start).or_default().push(slice.partial);
            }
        }
        (slices, bytes)
    }

    /// Takes all slices that the watermark has passed, to be merged in parts; none where nothing is to be done.
    pub(super) fn seal<'a>(&self, all: impl Iterator<Item = &'a Open<S>>, punctuation: Punctuation) -> Vec<Part<S>> {
        let (through, last) = (punctuation.watermark.0, punctuation.watermark == Time::MAX);
        if last {
            self.store.close();
        }
        let edge = self.slicing.edge(through);
        if self.sealed.fetch_max(edge, Ordering::Relaxed) >= edge {
            return Vec::new();
        }
        let (slices, bytes) = self.take_sealed(all, edge);
        if slices.is_empty() && self.slicing.tumbles() {
            let range = if last && self.slicing.is_whole() { self.store.nothing() } else { None };
            let piece = |range| Piece { index: 0, slices: vec![(i64::MIN, range)] };
            return range.into_iter().map(|range| Part { pieces: vec![piece(range)], through, bytes: 0 }).collect();
        }
        let small = slices.values().flatten().map(|partial| self.store.len(partial)).sum::<usize>() < SMALL;
        let pieces = self.deal(slices, if small && self.slicing.tumbles() { 1 } else { self.pieces });
        // The bytes leave with the first part: the next ones follow at once.
        let mut bytes = Some(bytes);
        let mut part = |pieces| Part { pieces, through, bytes: bytes.take().unwrap_or(0) };
        if small { vec![part(pieces)] } else { pieces.into_iter().map(|piece| part(vec![piece])).collect() }
    }

    /// The slices by hash range.
    fn deal(&self, slices: BTreeMap<i64, Vec<S::Partial>>, pieces: usize) -> Vec<Piece<S>> {
        let mut pieces: Vec<_> =
            (0..pieces).map(|index| Piece { index, slices: Vec::with_capacity(slices.len()) }).collect();
        for (start, partials) in slices {
            let ranges = self.store.deal(partials, pieces.len());
            debug_assert_eq!(ranges.len(), pieces.len(), "a range for each piece");
            pieces.iter_mut().zip(ranges).for_each(|(piece, range)| piece.slices.push((start, range)));
        }
        pieces
    }

    /// A driver's slices that start before `edge`, saved if they have to be.
    fn take_before(&self, open: &Open<S>, edge: i64) -> Vec<Slice<S>> {
        let mut taken: Vec<_> = {
            let slices = &mut *lock(&open.slices);
            let taken: Vec<_> = slices.extract_if(.., |slice| slice.start < edge).collect();
            let unsaved = taken.iter().filter(|slice| !slice.unsaved.is_empty()).count();
            open.leaving.fetch_add(unsaved, Ordering::AcqRel);
            taken
        };
        for slice in taken.iter_mut().filter(|slice| !slice.unsaved.is_empty()) {
            let mut saved = Vec::new();
            while !slice.unsaved.is_empty() {
                self.save(slice, PARTS, &mut saved).unwrap_or_else(|error| give_up(error));
                yield_point();
            }
            lock(&open.saved).append(&mut saved);
            open.leaving.fetch_sub(1, Ordering::AcqRel);
        }
        taken
    }

    /// Adds the slices of a driver that generations up to `through` have left to a snapshot: those that are in none yet are
    /// still to be saved.
    pub(super) fn freeze(&self, open: &Open<S>, through: Generation, snapshot: &mut Snapshot) {
        for slice in lock(&open.slices).iter_mut().filter(|slice| slice.generation <= through) {
            match slice.object {
                Some(object) => snapshot.keep(object),
                None => {
                    slice.object = Some(snapshot.create());
                    slice.unsaved = 0..self.store.saved_parts(&slice.partial);
                }
            }
        }
    }

    /// Saves some of what a driver has frozen, first what is sealed first: whether something is left.
    pub(super) fn save_some(&self, open: &Open<S>, saved: &mut Vec<Saved>) -> Result<bool, Error> {
        let is_left = {
            let slices = &mut *lock(&open.slices);
            let unsaved = slices.iter_mut().filter(|slice| !slice.unsaved.is_empty());
            match unsaved.min_by_key(|slice| slice.start) {
                // Whoever seals has to wait for the lock: not for long.
                Some(slice) => {
                    self.save(slice, PARTS, saved)?;
                    true
                }
                // Those that have been taken out are on their way.
                None => open.leaving.load(Ordering::Acquire) > 0,
            }
        };
        saved.append(&mut lock(&open.saved));
        Ok(is_left)
    }

    /// Saves so many parts of a slice.
    fn save(&self, slice: &mut Slice<S>, parts: usize, saved: &mut Vec<Saved>) -> Result<(), Error> {
        let Some(object) = slice.object else { return Ok(()) };
        let mut writer = SliceWriter::new(saved, object, Role::Open, slice.start)?;
        let of = slice.unsaved.end;
        for part in slice.unsaved.by_ref().take(parts) {
            self.store.save_part(&mut slice.partial, part, of, &mut writer)?;
        }
        writer.end();
        Ok(())
    }
}

/// The slices of one driver that a bundle writes to.
pub struct Held<'a, S: Store> {
    pub(super) slicer: &'a Slicer<S>,
    open: &'a Open<S>,
    generation: Generation,
    /// Taken from `open` for as long as the bundle lasts. No other driver looks for them: the bundle's epoch
    /// is open, so none of its slices is sealed.
    pub(super) slices: Vec<Slice<S>>,
}

impl<S: Store> Held<'_, S> {
    /// The number of the slice that holds `time`.
    pub(super) fn turn_to(&mut self, time: i64) -> usize {
        let (start, end) = self.slicer.slicing.slice(time);
        self.slices.iter().position(|slice| slice.start == start).unwrap_or_else(|| {
            let slice = self.take(start).unwrap_or_else(|| self.create(start, end));
            self.slices.push(slice);
            self.slices.len() - 1
        })
    }

    fn take(&self, start: i64) -> Option<Slice<S>> {
        let open = &mut *lock(&self.open.slices);
        let at = open.iter().position(|slice| slice.start == start && slice.generation == self.generation)?;
        Some(open.swap_remove(at))
    }

    fn create(&self, start: i64, end: i64) -> Slice<S> {
        let partial = self.slicer.store.create(self.open.large.load(Ordering::Relaxed));
        Slice { generation: self.generation, start, end, partial, object: None, unsaved: 0..0, bytes: 0 }
    }

    /// Gives the slices back.
    pub(super) fn put_back(mut self) {
        let (store, mut grown) = (&self.slicer.store, 0_usize);
        for slice in &mut self.slices {
            if store.is_large(&slice.partial) {
                self.open.large.store(true, Ordering::Relaxed);
            }
            let bytes = store.bytes(&slice.partial);
            grown = grown.wrapping_add(bytes.wrapping_sub(slice.bytes));
            slice.bytes = bytes;
        }
        lock(&self.open.slices).append(&mut self.slices);
        self.slicer.bytes.fetch_add(grown, Ordering::Relaxed);
    }
}
