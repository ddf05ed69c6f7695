//! The stage of a windowed aggregate: a pipe, then per-kernel partial tables, merged when the watermark passes.
//!
//! The walk of a record: [`Writer::write`] finds its slice and updates the kernel's own [`Partial`], and no record
//! is ever sent to another kernel. When an epoch's watermark passes the end of a slice, no later bundle can
//! write to it (lateness is decided at the source), so [`WindowStage::seal`] takes it from all kernels
//! without stopping them, and deals the hash ranges out as parts that any kernels merge and emit.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use super::panes::Panes;
use super::{Slicing, Window, Windowed, Windows};
use crate::aggregate::{Accumulate, Aggregate, Over};
use crate::bundle::{Bundle, Record, Times};
use crate::partial::{BATCH, DEEP, Partial, Shares, Spare, align, join, merge_into};
use crate::pipe::Pipe;
use crate::source::Error;
use crate::stage::{Emit, KeyGroup, Stage};
use crate::sync::{Mutex, lock};
use crate::table::{Key, Table, hash_of};
use crate::time::{Generation, Punctuation, Time};

/// Rows of a bundle of results.
const ROWS: usize = 2048;
/// Keys below which the merge of a slice is not worth dealing out.
const SMALL: usize = 4096;

type Item<A> = <A as Accumulate>::Item;
type Acc<A> = <A as Accumulate>::Acc;

/// See the module's page.
pub struct WindowStage<In, P, F, K, A>
where
    P: Pipe<In>,
    A: Aggregate<P::Out>,
{
    pipe: P,
    key: F,
    aggregate: Over<P::Out, A>,
    slicing: Slicing,
    /// Of the hash space: what is merged apart from each other. A power of two.
    pieces: Vec<Mutex<Panes<K, A::Acc>>>,
    /// All slices that start before it are sealed.
    sealed: AtomicI64,
    bytes: AtomicUsize,
    spare: Spare<K, A::Item, A::Acc>,
    input: std::marker::PhantomData<fn(In)>,
}

/// A kernel's share: its own copy of the code, and its slices.
pub struct Local<P, F, K, I, V> {
    pipe: P,
    key: F,
    open: Mutex<Vec<Slice<K, I, V>>>,
    /// Whether slices grow large: then the next one starts deep.
    deep: AtomicBool,
}

struct Slice<K, I, V> {
    generation: Generation,
    start: i64,
    end: i64,
    partial: Partial<K, I, V>,
    /// As last accounted.
    bytes: usize,
}

/// Some hash ranges of what an epoch has sealed.
pub struct Part<K, I, V> {
    pieces: Vec<Piece<K, I, V>>,
    through: i64,
    bytes: usize,
}

struct Piece<K, I, V> {
    index: usize,
    /// By start, oldest first: all kernels' shares of each of the piece's ranges.
    slices: Vec<(i64, Vec<Shares<K, I, V>>)>,
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
    pub fn new(pipe: P, key: F, windows: &impl Windows, aggregate: A, parallelism: usize) -> Self {
        let slicing = windows.slicing();
        let pieces = parallelism.clamp(1, DEEP).next_power_of_two();
        Self {
            pipe,
            key,
            aggregate: Over::new(aggregate),
            slicing,
            pieces: std::iter::repeat_with(Mutex::default).take(pieces).collect(),
            sealed: AtomicI64::new(i64::MIN),
            bytes: AtomicUsize::new(0),
            spare: Spare::default(),
            input: std::marker::PhantomData,
        }
    }

    fn writer<'a>(
        &'a self,
        local: &'a Local<P, F, K, A::Item, A::Acc>,
        generation: Generation,
    ) -> Writer<'a, F, K, Over<P::Out, A>> {
        Writer {
            slicing: self.slicing,
            piece_bits: self.pieces.len().ilog2(),
            aggregate: &self.aggregate,
            key: &local.key,
            generation,
            open: &local.open,
            deep: &local.deep,
            spare: &self.spare,
            held: Vec::new(),
            batches: std::array::from_fn(|_| Vec::with_capacity(BATCH)),
            pair: [0; 2],
            start: i64::MAX,
            middle: i64::MAX,
            end: i64::MIN,
        }
    }

    fn tumbles(&self) -> bool {
        self.slicing.slide == self.slicing.size
    }

    /// The slices that start before `edge`, of all kernels.
    fn take_sealed(
        &self,
        locals: &[Local<P, F, K, A::Item, A::Acc>],
        edge: i64,
    ) -> (BTreeMap<i64, Vec<Partial<K, A::Item, A::Acc>>>, usize) {
        let (mut slices, mut bytes) = (BTreeMap::<i64, Vec<_>>::new(), 0);
        for local in locals {
            for slice in lock(&local.open).extract_if(.., |slice| slice.start < edge) {
                local.deep.store(slice.partial.is_large(), Ordering::Relaxed);
                bytes += slice.bytes;
                slices.entry(slice.start).or_default().push(slice.partial);
            }
        }
        (slices, bytes)
    }

    fn emit_window(&self, end: i64, rows: impl Iterator<Item = (K, A::Acc)>, emit: Emit<'_, Windowed<K, A::Out>>) {
        let window = Window { start: Time(end.saturating_sub(self.slicing.size)), end: Time(end) };
        let mut rows = rows.map(|(key, acc)| Windowed { window, key, value: self.aggregate.aggregate.finish(acc) });
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
            let end = start.saturating_add(self.slicing.size);
            let (mut table, mut used) = (self.spare.table(), 0);
            for shares in ranges.into_iter().filter(|shares| !shares.is_empty()) {
                table = join(shares, &self.aggregate, table, &self.spare);
                used = table.len();
                self.emit_window(end, table.drain(), emit);
            }
            self.spare.give_table(table, used);
        }
    }

    fn emit_sliding(&self, piece: Piece<K, A::Item, A::Acc>, through: i64, emit: Emit<'_, Windowed<K, A::Out>>) {
        let panes = &mut *lock(&self.pieces[piece.index]);
        let before = panes.bytes();
        let mut slices = piece.slices.into_iter().map(|(start, ranges)| (start, self.whole(ranges))).peekable();
        while let Some(end) = panes.next_end.or_else(|| Some(self.slicing.first_end_after(slices.peek()?.0))) {
            panes.next_end = Some(end);
            while let Some((start, slice)) = slices.next_if(|(start, _)| *start < end) {
                panes.push(start, slice, &self.aggregate);
            }
            if end > through {
                break;
            }
            panes.evict(end.saturating_sub(self.slicing.size), &self.aggregate);
            // Windows without records are not visited: the next slice says where to go on.
            panes.next_end = (!panes.is_empty()).then(|| end.saturating_add(self.slicing.slide));
            self.emit_panes(panes, end, emit);
        }
        let after = panes.bytes();
        self.bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }

    fn emit_panes(&self, panes: &Panes<K, A::Acc>, end: i64, emit: Emit<'_, Windowed<K, A::Out>>) {
        let mut rows = Vec::new();
        panes.for_each(&self.aggregate, |key, acc| {
            rows.push((key, acc));
            if rows.len() == ROWS {
                self.emit_window(end, rows.drain(..), emit);
            }
        });
        self.emit_window(end, rows.into_iter(), emit);
    }

    /// All ranges of a slice as one table.
    fn whole(&self, ranges: Vec<Shares<K, A::Item, A::Acc>>) -> Table<K, A::Acc> {
        let mut tables = ranges.into_iter().map(|shares| join(shares, &self.aggregate, Table::default(), &self.spare));
        let mut whole = tables.next().unwrap_or_default();
        tables.for_each(|table| merge_into(&mut whole, table.into_entries(), &self.aggregate));
        whole
    }
}

type Slices<K, A> = Vec<Slice<K, Item<A>, Acc<A>>>;

/// Writes the records of one bundle to the slices of one kernel.
struct Writer<'a, F, K, A: Accumulate> {
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
    held: Slices<K, A>,
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
    fn write<T>(&mut self, time: Time, record: &T, item: impl FnOnce(&T) -> A::Item)
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
    fn turn_to(&mut self, time: i64) -> usize {
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

    fn local(&self) -> Self::Local {
        Local { pipe: self.pipe.clone(), key: self.key.clone(), open: Mutex::default(), deep: AtomicBool::new(false) }
    }

    fn bundle(&self, local: &Self::Local, generation: Generation, bundle: Bundle<In>, _: Emit<'_, Self::Out>) {
        let mut writer = self.writer(local, generation);
        let item = |record: &P::Out| self.aggregate.aggregate.item(record);
        bundle.for_each(|time, record| {
            local.pipe.push(time, record, &mut |time, record| {
                debug_assert!(time.0 >= self.sealed.load(Ordering::Relaxed), "a record behind its stage's watermark");
                writer.write(time, &record, item);
            });
        });
        let grown = writer.put_back();
        self.bytes.fetch_add(grown, Ordering::Relaxed);
    }

    fn seal(&self, locals: &[Self::Local], punctuation: Punctuation) -> Vec<Self::Part> {
        let through = punctuation.watermark.0;
        if punctuation.watermark == Time::MAX {
            self.spare.close();
        }
        let (edge, _) = self.slicing.slice(through);
        if self.sealed.fetch_max(edge, Ordering::Relaxed) >= edge {
            return Vec::new();
        }
        let (slices, bytes) = self.take_sealed(locals, edge);
        if slices.is_empty() && self.tumbles() {
            return Vec::new();
        }
        let small = slices.values().flatten().map(Partial::len).sum::<usize>() < SMALL;
        let mut pieces: Vec<_> =
            (0..self.pieces.len()).map(|index| Piece { index, slices: Vec::with_capacity(slices.len()) }).collect();
        for (start, partials) in slices {
            let aligned = align(partials, pieces.len(), &self.aggregate);
            pieces.iter_mut().zip(aligned).for_each(|(piece, ranges)| piece.slices.push((start, ranges)));
        }
        // The bytes leave with the first part: the next ones follow at once.
        let mut bytes = Some(bytes);
        let mut part = |pieces| Part { pieces, through, bytes: bytes.take().unwrap_or(0) };
        if small { vec![part(pieces)] } else { pieces.into_iter().map(|piece| part(vec![piece])).collect() }
    }

    fn part(&self, _: &Self::Local, part: Self::Part, emit: Emit<'_, Self::Out>) {
        for piece in part.pieces {
            if self.tumbles() {
                self.emit_tumbling(piece, emit);
            } else {
                self.emit_sliding(piece, part.through, emit);
            }
        }
        self.bytes.fetch_sub(part.bytes, Ordering::Relaxed);
    }

    fn state_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed) + self.spare.bytes()
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
            for slice in lock(&local.open).iter_mut().filter(|slice| slice.generation <= through) {
                for table in slice.partial.settled(&self.aggregate) {
                    save(&mut groups, slice.start, table, |saved| &mut saved.open);
                }
            }
        }
        for (group, saved) in &mut groups {
            saved.next_end = lock(&self.pieces[self.piece_of(*group)]).next_end;
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
            self.restore_panes(index, groups.iter().filter(|(group, _)| self.piece_of(*group) == index));
        }
        for (group, saved) in groups {
            let local = &locals[usize::from(group.0) % locals.len()];
            let mut writer = self.writer(local, Generation(0));
            for (start, entries) in saved.open {
                let at = writer.turn_to(start);
                let slice = &mut writer.held[at];
                entries.into_iter().for_each(|(key, acc)| slice.partial.merge(key, acc, &self.aggregate));
            }
            self.bytes.fetch_add(writer.put_back(), Ordering::Relaxed);
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
    fn piece_of(&self, group: KeyGroup) -> usize {
        usize::from(group.0) * self.pieces.len() / DEEP
    }

    fn restore_panes<'a>(&self, index: usize, groups: impl Iterator<Item = &'a (KeyGroup, Saved<K, A::Acc>)>) {
        let panes = &mut *lock(&self.pieces[index]);
        let before = panes.bytes();
        let (mut front, mut back) = (BTreeMap::<i64, Table<_, _>>::new(), BTreeMap::<i64, Table<_, _>>::new());
        for (_, saved) in groups {
            panes.next_end = panes.next_end.or(saved.next_end);
            for (slices, saved) in [(&mut front, &saved.front), (&mut back, &saved.back)] {
                for (start, entries) in saved {
                    merge_into(slices.entry(*start).or_default(), entries.iter().cloned(), &self.aggregate);
                }
            }
        }
        for (start, level) in front.into_iter().rev() {
            panes.restore_front(start, level);
        }
        for (start, slice) in back {
            panes.push(start, slice, &self.aggregate);
        }
        self.bytes.fetch_add(panes.bytes().wrapping_sub(before), Ordering::Relaxed);
    }
}
