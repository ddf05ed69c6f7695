//! The stage of a windowed aggregate: a pipe, then per-driver partial tables, merged when the watermark passes.
//!
//! The walk of a record: [`Writer::write`](super::slices) finds its slice and updates the driver's own table, and no record
//! is ever sent to another kernel. When an epoch's watermark passes the end of a slice, no later bundle can
//! write to it (lateness is decided at the source), so [`WindowStage::seal`] takes it from all drivers
//! without stopping them, and deals the hash ranges out as parts that any of them merge and emit.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::panes::Panes;
use super::slices::{Open, Part, Piece, Slicer};
use super::{Sliced, Window, Windowed};
use crate::aggregate::{Aggregate, Over};
use crate::bundle::{Bundle, Record, Times};
use crate::partial::{Shares, join, merge_into};
use crate::pipe::Pipe;
use crate::source::Error;
use crate::stage::{Emit, KeyGroup, Stage};
use crate::sync::{Mutex, lock};
use crate::table::{Key, Table, hash_of};
use crate::time::{Generation, Punctuation, Time};

/// Rows of a bundle of results.
const ROWS: usize = 2048;
/// See the module's page.
pub struct WindowStage<In, P, F, K, A>
where
    P: Pipe<In>,
    P::Out: Record,
    A: Aggregate<P::Out>,
{
    pipe: P,
    key: F,
    slicer: Slicer<K, Over<P::Out, A>>,
    /// The slices that windows to come still need.
    pieces: Vec<Mutex<Panes<K, A::Acc>>>,
    input: std::marker::PhantomData<fn(In)>,
}

/// A driver's share: its own copy of the code, and its slices.
pub struct Local<P, F, K, I, V> {
    pipe: P,
    key: F,
    open: Open<K, I, V>,
}

/// A key group's state, as stored.
#[derive(Serialize, Deserialize)]
struct Saved<K, V> {
    next_end: Option<i64>,
    /// Slices of which windows may still need the sum, as [`Panes`] hold them.
    front: Vec<(i64, Vec<(K, V)>)>,
    back: Vec<(i64, Vec<(K, V)>)>,
    /// Slices that are not sealed.
    open: Vec<(i64, Vec<(K, V)>)>,
}

impl<K, V> Default for Saved<K, V> {
    fn default() -> Self {
        Self { next_end: None, front: Vec::new(), back: Vec::new(), open: Vec::new() }
    }
}

impl<In, P, F, K, A> WindowStage<In, P, F, K, A>
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
        let slicer = Slicer::new(windows.slicing(), Over::new(aggregate), parallelism);
        let pieces = std::iter::repeat_with(Mutex::default).take(slicer.pieces).collect();
        Self { pipe, key, slicer, pieces, input: std::marker::PhantomData }
    }

    fn tumbles(&self) -> bool {
        self.slicer.slicing.slide == self.slicer.slicing.size
    }

    fn emit_window(&self, end: i64, rows: impl Iterator<Item = (K, A::Acc)>, emit: Emit<'_, Windowed<K, A::Out>>) {
        let window = Window { start: Time(end.saturating_sub(self.slicer.slicing.size)), end: Time(end) };
        let mut rows =
            rows.map(|(key, acc)| Windowed { window, key, value: self.slicer.aggregate.aggregate.finish(acc) });
        loop {
            let mut bundle = Vec::with_capacity(rows.size_hint().0.min(ROWS));
            bundle.extend(rows.by_ref().take(ROWS));
            if bundle.is_empty() {
                return;
            }
            emit(Bundle::from(bundle).with_times(Times::Same(Time(end - 1))));
            updraft_kernel::yield_point();
        }
    }

    fn emit_tumbling(&self, piece: Piece<K, A::Item, A::Acc>, emit: Emit<'_, Windowed<K, A::Out>>) {
        for (start, ranges) in piece.slices {
            let end = start.saturating_add(self.slicer.slicing.size);
            let (mut table, mut used) = (self.slicer.spare.table(), 0);
            for shares in ranges.into_iter().filter(|shares| !shares.is_empty()) {
                table = join(shares, &self.slicer.aggregate, table, &self.slicer.spare);
                used = table.len();
                self.emit_window(end, table.drain(), emit);
            }
            self.slicer.spare.give_table(table, used);
        }
    }

    fn emit_sliding(&self, piece: Piece<K, A::Item, A::Acc>, through: i64, emit: Emit<'_, Windowed<K, A::Out>>) {
        // Taken out: no lock is held while aggregates work. Nobody else looks for them before the epoch is complete.
        let mut panes = std::mem::take(&mut *lock(&self.pieces[piece.index]));
        let before = panes.bytes();
        let mut slices = piece.slices.into_iter().map(|(start, ranges)| (start, self.whole(ranges))).peekable();
        while let Some(end) = panes.next_end.or_else(|| Some(self.slicer.slicing.first_end_after(slices.peek()?.0))) {
            panes.next_end = Some(end);
            while let Some((start, slice)) = slices.next_if(|(start, _)| *start < end) {
                panes.push(start, slice, &self.slicer.aggregate);
            }
            if end > through {
                break;
            }
            panes.evict(end.saturating_sub(self.slicer.slicing.size), &self.slicer.aggregate);
            // Windows without records are not visited: the next slice says where to go on.
            panes.next_end = (!panes.is_empty()).then(|| end.saturating_add(self.slicer.slicing.slide));
            self.emit_panes(&panes, end, emit);
        }
        let after = panes.bytes();
        self.slicer.bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        *lock(&self.pieces[piece.index]) = panes;
    }

    fn emit_panes(&self, panes: &Panes<K, A::Acc>, end: i64, emit: Emit<'_, Windowed<K, A::Out>>) {
        let mut rows = Vec::new();
        panes.for_each(&self.slicer.aggregate, |key, acc| {
            rows.push((key, acc));
            if rows.len() == ROWS {
                self.emit_window(end, rows.drain(..), emit);
            }
        });
        self.emit_window(end, rows.into_iter(), emit);
    }

    /// All ranges of a slice as one table.
    fn whole(&self, ranges: Vec<Shares<K, A::Item, A::Acc>>) -> Table<K, A::Acc> {
        let mut tables =
            ranges.into_iter().map(|shares| join(shares, &self.slicer.aggregate, Table::default(), &self.slicer.spare));
        let mut whole = tables.next().unwrap_or_default();
        tables.for_each(|table| merge_into(&mut whole, table.into_entries(), &self.slicer.aggregate));
        whole
    }
}

impl<In, P, F, K, A> Stage for WindowStage<In, P, F, K, A>
where
    In: Record,
    P: Pipe<In>,
    P::Out: Record,
    F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
    K: Key,
    A: Aggregate<P::Out>,
{
    type In = In;
    type Out = Windowed<K, A::Out>;
    type Local = Local<P, F, K, A::Item, A::Acc>;
    type Part = Part<K, A::Item, A::Acc>;

    const ABOUT: &'static str = "tables on each kernel, merged by hash range when the watermark has passed";

    fn local(&self, _: usize) -> Self::Local {
        Local { pipe: self.pipe.clone(), key: self.key.clone(), open: Open::default() }
    }

    fn bundle(&self, local: &Self::Local, generation: Generation, bundle: Bundle<In>, _: Emit<'_, Self::Out>) {
        let mut writer = self.slicer.writer(&local.open, &local.key, generation);
        let item = |record: &P::Out| self.slicer.aggregate.aggregate.item(record);
        bundle.for_each(|time, record| {
            local.pipe.push(time, record, &mut |time, record| {
                debug_assert!(self.slicer.is_open(time), "a record behind its stage's watermark");
                writer.write(time, &record, item);
            });
        });
        self.slicer.put_back(writer);
    }

    fn seal(&self, locals: &[Self::Local], punctuation: Punctuation) -> Vec<Self::Part> {
        self.slicer.seal(locals.iter().map(|local| &local.open), punctuation, self.tumbles())
    }

    fn part(&self, _: &Self::Local, part: Self::Part, emit: Emit<'_, Self::Out>) {
        for piece in part.pieces {
            if self.tumbles() {
                self.emit_tumbling(piece, emit);
            } else {
                self.emit_sliding(piece, part.through, emit);
            }
        }
        self.slicer.bytes.fetch_sub(part.bytes, Ordering::Relaxed);
    }

    fn state_bytes(&self) -> usize {
        self.slicer.bytes.load(Ordering::Relaxed) + self.slicer.spare.bytes()
    }

    fn snapshot(&self, locals: &[Self::Local], through: Generation) -> Result<Vec<(KeyGroup, Vec<u8>)>, Error> {
        let mut groups = BTreeMap::<KeyGroup, Saved<K, A::Acc>>::new();
        for panes in self.pieces.iter().map(lock) {
            let (front, back) = panes.slices();
            for (start, table) in front {
                save(&mut groups, *start, table, |saved| &mut saved.front);
            }
            for (start, table) in back {
                save(&mut groups, *start, table, |saved| &mut saved.back);
            }
        }
        for local in locals {
            Slicer::<K, Over<P::Out, A>>::visit(&local.open, through, |slice| {
                for table in slice.partial.settled(&self.slicer.aggregate) {
                    save(&mut groups, slice.start, table, |saved| &mut saved.open);
                }
            });
        }
        for (group, saved) in &mut groups {
            saved.next_end = lock(&self.pieces[self.slicer.piece_of(*group)]).next_end;
        }
        groups.iter().map(|(group, saved)| Ok((*group, postcard::to_allocvec(saved)?))).collect()
    }

    fn restore(&self, locals: &[Self::Local], groups: Vec<(KeyGroup, Vec<u8>)>) -> Result<(), Error> {
        let groups = groups.into_iter().map(|(group, bytes)| {
            let saved = postcard::from_bytes::<Saved<K, A::Acc>>(&bytes);
            saved.map(|saved| (group, saved)).map_err(|e| format!("the snapshot of {group:?} cannot be read: {e}"))
        });
        let groups = groups.collect::<Result<Vec<_>, _>>()?;
        for index in 0..self.pieces.len() {
            self.restore_panes(index, groups.iter().filter(|(group, _)| self.slicer.piece_of(*group) == index));
        }
        for (group, saved) in groups {
            let local = &locals[usize::from(group.0) % locals.len()];
            let mut writer = self.slicer.writer(&local.open, &local.key, Generation(0));
            for (start, entries) in saved.open {
                let at = writer.turn_to(start);
                let slice = &mut writer.held[at];
                entries.into_iter().for_each(|(key, acc)| slice.partial.merge(key, acc, &self.slicer.aggregate));
            }
            self.slicer.put_back(writer);
        }
        Ok(())
    }
}

/// Adds the entries of `table` to the lists of their key groups.
fn save<K: Key, V: Clone>(
    groups: &mut BTreeMap<KeyGroup, Saved<K, V>>,
    start: i64,
    table: &Table<K, V>,
    list: impl Fn(&mut Saved<K, V>) -> &mut Vec<(i64, Vec<(K, V)>)>,
) {
    for (key, acc) in table.iter() {
        let group = KeyGroup((hash_of(key) >> 56) as u8);
        let list = list(groups.entry(group).or_default());
        if list.last().is_none_or(|(last, _)| *last != start) {
            list.push((start, Vec::new()));
        }
        if let Some((_, entries)) = list.last_mut() {
            entries.push((key.clone(), acc.clone()));
        }
    }
}

impl<In, P, F, K, A> WindowStage<In, P, F, K, A>
where
    In: Record,
    P: Pipe<In>,
    P::Out: Record,
    F: Fn(&P::Out) -> K + Clone + Send + Sync + 'static,
    K: Key,
    A: Aggregate<P::Out>,
{
    fn restore_panes<'a>(&self, index: usize, groups: impl Iterator<Item = &'a (KeyGroup, Saved<K, A::Acc>)>) {
        let panes = &mut *lock(&self.pieces[index]);
        let before = panes.bytes();
        let (mut front, mut back) = (BTreeMap::<i64, Table<_, _>>::new(), BTreeMap::<i64, Table<_, _>>::new());
        for (_, saved) in groups {
            panes.next_end = panes.next_end.or(saved.next_end);
            for (slices, saved) in [(&mut front, &saved.front), (&mut back, &saved.back)] {
                for (start, entries) in saved {
                    merge_into(slices.entry(*start).or_default(), entries.iter().cloned(), &self.slicer.aggregate);
                }
            }
        }
        for (start, level) in front.into_iter().rev() {
            panes.restore_front(start, level);
        }
        for (start, slice) in back {
            panes.push(start, slice, &self.slicer.aggregate);
        }
        self.slicer.bytes.fetch_add(panes.bytes().wrapping_sub(before), Ordering::Relaxed);
    }
}
