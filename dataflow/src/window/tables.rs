//! [`Tables`]: slices of records, kept in tables of rows ([`crate::partial`], [`crate::table`]).
//!
//! The walk of a record: [`Writer::write`] finds its slice and updates the driver's own table, and no record is ever sent to
//! another kernel.

use std::marker::PhantomData;

use super::saved::SliceWriter;
use super::slices::Held;
use super::store::Store;
use super::{Window, Windowed};
use crate::aggregate::{Aggregate, Over};
use crate::bundle::{Bundle, Record, Times};
use crate::partial::{BATCH, Partial, Shares, Spare, align, join, merge_into};
use crate::pipe::Pipe;
use crate::snapshot::Rest;
use crate::source::Error;
use crate::stage::{Emit, KeyGroup};
use crate::table::{Key, Table, hash_of};
use crate::time::Time;

/// Rows of a bundle of results.
const ROWS: usize = 2048;

/// See the module's page.
pub struct Tables<T, F, K, A: Aggregate<T>> {
    aggregate: Over<T, A>,
    piece_bits: u32,
    spare: Spare<K, A::Item, A::Acc>,
    key: PhantomData<fn() -> F>,
}

impl<T, F, K, A> Tables<T, F, K, A>
where
    T: Record,
    F: Fn(&T) -> K + Clone + Send + Sync + 'static,
    K: Key,
    A: Aggregate<T>,
{
    /// To be merged in so many pieces, a power of two.
    pub(super) fn new(aggregate: A, pieces: usize) -> Self {
        let (aggregate, piece_bits) = (Over::new(aggregate), pieces.ilog2());
        Self { aggregate, piece_bits, spare: Spare::default(), key: PhantomData }
    }

    fn emit_rows(&self, window: Window, rows: impl Iterator<Item = (K, A::Acc)>, emit: Emit<'_, Windowed<K, A::Out>>) {
        let mut rows = rows.map(|(key, acc)| Windowed { window, key, value: self.aggregate.aggregate.finish(acc) });
        loop {
            let mut bundle = Vec::with_capacity(rows.size_hint().0.min(ROWS));
            bundle.extend(rows.by_ref().take(ROWS));
            if bundle.is_empty() {
                return;
            }
            emit(Bundle::from(bundle).with_times(Times::Same(window.last())));
            updraft_kernel::yield_point();
        }
    }
}

impl<T, F, K, A> Store for Tables<T, F, K, A>
where
    T: Record,
    F: Fn(&T) -> K + Clone + Send + Sync + 'static,
    K: Key,
    A: Aggregate<T>,
{
    type Record = T;
    type Out = Windowed<K, A::Out>;
    type Reader = F;
    type Partial = Partial<K, A::Item, A::Acc>;
    type Range = Vec<Shares<K, A::Item, A::Acc>>;
    type Sum = Table<K, A::Acc>;

    fn create(&self, large: bool) -> Self::Partial {
        if large { Partial::deep(&self.spare) } else { Partial::shallow(self.piece_bits, &self.spare) }
    }

    fn is_large(&self, partial: &Self::Partial) -> bool {
        partial.is_large()
    }

    fn len(&self, partial: &Self::Partial) -> usize {
        partial.len()
    }

    fn bytes(&self, partial: &Self::Partial) -> usize {
        partial.bytes()
    }

    fn sum_bytes(&self, sum: &Self::Sum) -> usize {
        sum.bytes()
    }

    fn spare_bytes(&self) -> usize {
        self.spare.bytes()
    }

    fn close(&self) {
        self.spare.close();
    }

    fn take_in<In, P>(&self, key: &F, held: &mut Held<'_, Self>, pipe: &P, bundle: Bundle<In>)
    where
        In: Record,
        P: Pipe<In, Out = T>,
    {
        let mut writer = Writer::new(key, &self.aggregate, held);
        let item = |record: &T| self.aggregate.aggregate.item(record);
        bundle.for_each(|time, record| {
            pipe.push(time, record, &mut |time, record| writer.write(time, &record, item));
        });
        (0..2).for_each(|which| writer.flush(which));
    }

    fn deal(&self, partials: Vec<Self::Partial>, pieces: usize) -> Vec<Self::Range> {
        align(partials, pieces, &self.aggregate)
    }

    fn tell(&self, window: Window, range: Self::Range, emit: Emit<'_, Self::Out>) {
        let (mut table, mut used) = (self.spare.table(), 0);
        for shares in range.into_iter().filter(|shares| !shares.is_empty()) {
            table = join(shares, &self.aggregate, table, &self.spare);
            used = table.len();
            self.emit_rows(window, table.drain(), emit);
        }
        self.spare.give_table(table, used);
    }

    fn whole(&self, range: Self::Range) -> Self::Sum {
        let tables = range.into_iter().map(|shares| join(shares, &self.aggregate, Table::default(), &self.spare));
        self.gather(tables.collect())
    }

    fn merge(&self, sum: &mut Self::Sum, other: &Self::Sum) {
        merge_into(sum, other.iter().map(|(key, acc)| (key.clone(), acc.clone())), &self.aggregate);
    }

    fn gather(&self, tables: Vec<Self::Sum>) -> Self::Sum {
        let mut tables = tables.into_iter();
        let mut whole = tables.next().unwrap_or_default();
        tables.for_each(|table| merge_into(&mut whole, table.into_entries(), &self.aggregate));
        whole
    }

    fn tell_sum(&self, window: Window, older: &Self::Sum, newer: &Self::Sum, emit: Emit<'_, Self::Out>) {
        let mut rows = Vec::new();
        let mut push = |key: &K, acc: A::Acc| {
            rows.push((key.clone(), acc));
            if rows.len() == ROWS {
                self.emit_rows(window, rows.drain(..), emit);
            }
        };
        for (key, acc) in older.iter() {
            let mut acc = acc.clone();
            if let Some(other) = newer.get(hash_of(key), key) {
                self.aggregate.aggregate.merge(&mut acc, other.clone());
            }
            push(key, acc);
        }
        for (key, acc) in newer.iter().filter(|(key, _)| older.get(hash_of(*key), key).is_none()) {
            push(key, acc.clone());
        }
        self.emit_rows(window, rows.into_iter(), emit);
    }

    fn save(&self, sum: &Self::Sum, writer: &mut SliceWriter<'_>) -> Result<(), Error> {
        sum.iter().try_for_each(|(key, acc)| writer.add(KeyGroup::of(hash_of(key)), &(key, acc)))
    }

    fn saved_parts(&self, partial: &Self::Partial) -> usize {
        partial.parts()
    }

    fn save_part(
        &self,
        partial: &mut Self::Partial,
        part: usize,
        _: usize,
        writer: &mut SliceWriter<'_>,
    ) -> Result<(), Error> {
        partial.visit(part, &self.aggregate, |group, key, acc| writer.add(group, &(key, acc)))
    }

    fn load(&self, _: KeyGroup, saved: Rest<'_>) -> Result<Self::Sum, Error> {
        let mut table = Table::default();
        for entry in saved.values() {
            merge_into(&mut table, [entry?], &self.aggregate);
        }
        Ok(table)
    }

    fn add(&self, partial: &mut Self::Partial, sum: Self::Sum) {
        sum.into_entries().for_each(|(key, acc)| partial.merge(key, acc, &self.aggregate));
    }
}

/// Writes the records of one bundle to the slices of one kernel.
struct Writer<'a, 'b, T: Record, F, K, A: Aggregate<T>>
where
    Tables<T, F, K, A>: Store,
{
    key: &'a F,
    aggregate: &'a Over<T, A>,
    held: &'a mut Held<'b, Tables<T, F, K, A>>,
    /// Updates for either slice of the pair.
    batches: [Vec<(K, A::Item)>; 2],
    /// The slice of the last record and one beside it, from `start` to `middle` and from there to `end`: most often one
    /// of them is also the next record's. Which one is told without a branch, as records out of order would have
    /// the processor guess wrong.
    pair: [usize; 2],
    start: i64,
    middle: i64,
    end: i64,
}

impl<'a, 'b, T, F, K, A> Writer<'a, 'b, T, F, K, A>
where
    T: Record,
    F: Fn(&T) -> K + Clone + Send + Sync + 'static,
    K: Key,
    A: Aggregate<T>,
{
    fn new(key: &'a F, aggregate: &'a Over<T, A>, held: &'a mut Held<'b, Tables<T, F, K, A>>) -> Self {
        let batches = std::array::from_fn(|_| Vec::with_capacity(BATCH));
        Self { key, aggregate, held, batches, pair: [0; 2], start: i64::MAX, middle: i64::MAX, end: i64::MIN }
    }

    /// Takes in what `item` reads from the record.
    #[inline(always)]
    fn write(&mut self, time: Time, record: &T, item: impl FnOnce(&T) -> A::Item) {
        debug_assert!(self.held.slicer.is_open(time), "a record behind its stage's watermark");
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
        if let Some(slice) = self.held.slices.get_mut(self.pair[which]) {
            slice.partial.update(&mut self.batches[which], self.aggregate);
        }
    }

    /// Makes the slice that holds `time` one of the pair, beside the one before it or after it if this bundle has met one.
    #[inline(never)]
    fn turn_to(&mut self, time: i64) {
        (0..2).for_each(|which| self.flush(which));
        let at = self.held.turn_to(time);
        let slices = &self.held.slices;
        let (start, end) = (slices[at].start, slices[at].end);
        if let Some(before) = slices.iter().position(|slice| slice.end == start) {
            self.pair = [before, at];
            (self.start, self.middle, self.end) = (slices[before].start, start, end);
        } else if let Some(after) = slices.iter().position(|slice| slice.start == end) {
            self.pair = [at, after];
            (self.start, self.middle, self.end) = (start, end, slices[after].end);
        } else {
            self.pair = [at, at];
            (self.start, self.middle, self.end) = (start, end, end);
        }
    }
}
