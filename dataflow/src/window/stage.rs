//! The stage of a windowed aggregate: a pipe, then a share of each slice for each driver, merged when the watermark passes.
//!
//! When an epoch's watermark passes the end of a slice, no later bundle can write to it (lateness is decided at the
//! source), so [`WindowStage::seal`] takes it from all drivers without stopping them, and deals the hash ranges out as
//! parts that any of them merge and emit. What slices are kept in is the [`Store`]'s business: [`super::tables`] for
//! records, [`super::columns`] for rows in columns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use super::panes::{Pane, Panes};
use super::saved::{Kept, Role, SliceWriter};
use super::slices::{Open, Part, Piece, Slicer};
use super::store::{Store, piece_of_group, pieces_of};
use super::{Sliced, Slicing, Tables};
use crate::aggregate::Aggregate;
use crate::bundle::{Bundle, Record};
use crate::pipe::Pipe;
use crate::snapshot::{ALL_GROUPS, Records, Snapshot};
use crate::source::Error;
use crate::stage::{Emit, Keeps, Stage};
use crate::sync::{Mutex, lock};
use crate::table::Key;
use crate::time::{Generation, Punctuation, Time};
use updraft_kernel::yield_point;

/// See the module's page.
pub struct WindowStage<In, P, S: Store> {
    pipe: P,
    reader: S::Reader,
    slicer: Slicer<S>,
    /// The slices that windows to come still need.
    pieces: Vec<Mutex<Panes<S>>>,
    input: std::marker::PhantomData<fn(In)>,
}

/// A driver's share: its own copy of the code, and its slices.
pub struct Local<P, S: Store> {
    pipe: P,
    reader: S::Reader,
    open: Open<S>,
}

impl<In, P, F, K, A> WindowStage<In, P, Tables<P::Out, F, K, A>>
where
    In: Record,
    P: Pipe<In>,
    P::Out: Record,
    F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
    K: Key,
    A: Aggregate<P::Out>,
{
    /// `aggregate` of what comes out of `pipe`, by `key` and window; results are merged in `parallelism` pieces
    /// (rounded up to a power of two, 256 at most).
    pub fn new(pipe: P, key: F, windows: &impl Sliced, aggregate: A, parallelism: usize) -> Self {
        let store = Tables::new(aggregate, pieces_of(parallelism));
        Self::over(pipe, key, windows.slicing(), store, parallelism)
    }
}

impl<In, P, S: Store> WindowStage<In, P, S> {
    pub(super) fn over(pipe: P, reader: S::Reader, slicing: Slicing, store: S, parallelism: usize) -> Self {
        let slicer = Slicer::new(slicing, store, parallelism);
        let pieces = std::iter::repeat_with(Mutex::default).take(slicer.pieces).collect();
        Self { pipe, reader, slicer, pieces, input: std::marker::PhantomData }
    }

    fn emit_slices(&self, piece: Piece<S>, emit: Emit<'_, S::Out>) {
        for (start, range) in piece.slices {
            let window = self.slicer.slicing.window(self.slicer.slicing.first_end_after(start));
            self.slicer.store.tell(window, range, emit);
        }
    }

    fn emit_sums(&self, piece: Piece<S>, through: i64, emit: Emit<'_, S::Out>) {
        let (slicing, store) = (&self.slicer.slicing, &self.slicer.store);
        // Taken out: no lock is held while aggregates work. Nobody else looks for them before the epoch is complete.
        let mut panes = std::mem::take(&mut *lock(&self.pieces[piece.index]));
        let before = panes.bytes(store);
        let mut slices = piece.slices.into_iter().map(|(start, range)| (start, store.whole(range))).peekable();
        while let Some(end) = panes.next_end.or_else(|| Some(slicing.first_end_after(slices.peek()?.0))) {
            panes.next_end = Some(end);
            while let Some((start, slice)) = slices.next_if(|(start, _)| *start < end) {
                panes.push(start, slice, store);
            }
            if end > through {
                break;
            }
            let window = slicing.window(end);
            panes.evict(window.start.0, store);
            // Windows without records are not visited: the next slice says where to go on.
            panes.next_end = if panes.is_empty() { None } else { slicing.end_after(end) };
            panes.tell(window, store, emit);
        }
        if through == i64::MAX {
            // What no window has told of, at the very end of time.
            panes = Panes::default();
        }
        let after = panes.bytes(store);
        self.slicer.bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        *lock(&self.pieces[piece.index]) = panes;
    }

    /// Puts the panes of all pieces back. All have the same slices, also those that none of a piece's keys are in: when
    /// they turn over must not depend on the keys.
    ///
    /// # Errors
    /// When they are not before each other and the slices that are open, or the next window ended long ago.
    fn restore_panes(
        &self,
        next_end: Option<i64>,
        open: Option<i64>,
        mut sums: BTreeMap<(usize, Role, i64), Vec<S::Sum>>,
    ) -> Result<(), Error> {
        let starts = |role: Role| -> BTreeSet<i64> {
            sums.keys().filter(|(_, other, _)| *other == role).map(|(_, _, start)| *start).collect()
        };
        let (front, back) = (starts(Role::Front), starts(Role::Back));
        let slices = || front.iter().chain(&back);
        if !slices().is_sorted_by(|one, next| one < next)
            || open.is_some_and(|open| slices().any(|start| *start >= open))
        {
            return Err("the snapshot of a window has slices out of order".into());
        }
        let slicing = &self.slicer.slicing;
        let next_end = next_end.zip(slices().next());
        if next_end.is_some_and(|(end, first)| end < slicing.first_end_after(*first)) {
            return Err("the snapshot of a window goes on with one that ended long ago".into());
        }
        let next_end = next_end.map(|(end, _)| end);
        for (index, panes) in self.pieces.iter().enumerate() {
            let mut sum = |role: Role, start: &i64| {
                self.slicer.store.gather(sums.remove(&(index, role, *start)).unwrap_or_default())
            };
            let panes = &mut *lock(panes);
            let before = panes.bytes(&self.slicer.store);
            panes.next_end = next_end;
            front.iter().rev().for_each(|start| panes.restore_front(*start, sum(Role::Front, start)));
            back.iter().for_each(|start| panes.push(*start, sum(Role::Back, start), &self.slicer.store));
            let after = panes.bytes(&self.slicer.store);
            self.slicer.bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Adds the panes of a hash range to a snapshot: those that are in none yet are saved.
    fn save_panes(&self, index: usize, snapshot: &mut Snapshot) -> Result<Option<i64>, Error> {
        // Taken out: nobody else looks for them before the snapshot has been begun.
        let mut panes = std::mem::take(&mut *lock(&self.pieces[index]));
        for (role, slices) in [Role::Front, Role::Back].into_iter().zip(panes.slices()) {
            for Pane { start, sum, object } in slices {
                if let Some(object) = *object {
                    snapshot.keep(object);
                    continue;
                }
                let new = *object.insert(snapshot.create());
                let mut writer = SliceWriter::new(&mut snapshot.saved, new, role, *start)?;
                self.slicer.store.save(sum, &mut writer)?;
                writer.end();
                yield_point();
            }
        }
        let next_end = panes.next_end;
        *lock(&self.pieces[index]) = panes;
        Ok(next_end)
    }
}

impl<In, P, S> Stage for WindowStage<In, P, S>
where
    In: Record,
    P: Pipe<In, Out = S::Record>,
    S: Store,
{
    type In = In;
    type Out = S::Out;
    type Local = Local<P, S>;
    type Part = Part<S>;

    const ABOUT: &'static str = "tables on each kernel, merged by hash range when the watermark has passed";
    const KEEPS: Keeps = Keeps::State;

    fn local(&self, _: usize) -> Self::Local {
        Local { pipe: self.pipe.clone(), reader: self.reader.clone(), open: Open::default() }
    }

    fn bundle(&self, local: &Self::Local, generation: Generation, bundle: Bundle<In>, _: Emit<'_, Self::Out>) {
        let mut held = self.slicer.hold(&local.open, generation);
        self.slicer.store.take_in(&local.reader, &mut held, &local.pipe, bundle);
        held.put_back();
    }

    fn seal(&self, locals: &[Self::Local], punctuation: Punctuation) -> Vec<Self::Part> {
        self.slicer.seal(locals.iter().map(|local| &local.open), punctuation)
    }

    fn kept_from(&self, watermark: Time) -> Option<Time> {
        self.slicer.slicing.kept_from(watermark)
    }

    fn part(&self, _: &Self::Local, part: Self::Part, emit: Emit<'_, Self::Out>) {
        for piece in part.pieces {
            if self.slicer.slicing.tumbles() {
                self.emit_slices(piece, emit);
            } else {
                self.emit_sums(piece, part.through, emit);
            }
        }
        self.slicer.bytes.fetch_sub(part.bytes, Ordering::Relaxed);
    }

    fn state_bytes(&self) -> usize {
        self.slicer.bytes.load(Ordering::Relaxed) + self.slicer.store.spare_bytes()
    }

    fn snapshot(
        &self,
        locals: &[Self::Local],
        driver: usize,
        through: Generation,
        snapshot: &mut Snapshot,
    ) -> Result<(), Error> {
        for index in (driver..self.pieces.len()).step_by(locals.len()) {
            let next_end = self.save_panes(index, snapshot)?;
            // It is the same in all of them.
            if let Some(end) = next_end.filter(|_| index == 0) {
                snapshot.add_whole(ALL_GROUPS, &Kept::NextEnd(end))?;
            }
        }
        self.slicer.freeze(&locals[driver].open, through, snapshot);
        Ok(())
    }

    fn save_more(&self, local: &Self::Local, snapshot: &mut Snapshot) -> Result<bool, Error> {
        self.slicer.save_some(&local.open, &mut snapshot.saved)
    }

    fn restore(&self, locals: &[Self::Local], _: Punctuation, saved: Records<'_>) -> Result<(), Error> {
        let (mut next_end, mut open, mut sums) = (None, None::<i64>, BTreeMap::<_, Vec<_>>::new());
        for record in saved {
            let record = record?;
            let group = *record.groups.start();
            let (kept, rest) = record.begin()?;
            if let Kept::Slice(_, start) = kept
                && self.slicer.slicing.slice(start).0 != start
            {
                return Err("the snapshot of a window has a slice that is none of its".into());
            }
            match kept {
                Kept::NextEnd(end) => next_end = Some(end),
                Kept::Slice(Role::Open, start) => {
                    let sum = self.slicer.store.load(group, rest)?;
                    let local = &locals[usize::from(group.0) % locals.len()];
                    let mut held = self.slicer.hold(&local.open, Generation(0));
                    let at = held.turn_to(start);
                    self.slicer.store.add(&mut held.slices[at].partial, sum);
                    held.put_back();
                    open = Some(open.map_or(start, |open| open.min(start)));
                }
                Kept::Slice(role, start) => {
                    let place = (piece_of_group(group, self.slicer.pieces), role, start);
                    sums.entry(place).or_default().push(self.slicer.store.load(group, rest)?);
                }
            }
        }
        self.restore_panes(next_end, open, sums)
    }
}
