//! [`Sort`]: all rows of an input that ends, in order; and [`EventSort`]: rows in the order of their time, as the watermark
//! passes them.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use datafusion_common::{Result, internal_err};
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::{Bundle, Hashed, Punctuation, Rows, Time};

use super::codec::Codec;
use super::held::Held;
use super::order::{Order, SortColumn};
use super::own::{Own, settled};

/// How many rows are given at once, and how many more than needed are kept.
const ROWS: usize = 8192;

/// ORDER BY … OFFSET … LIMIT at the end of the input. All rows must be dealt to one kernel: their hashes are 0.
///
/// Of rows that are equal in what they are ordered by, the one that came first is first. What was updated or deleted
/// by the end is not there.
#[derive(Clone)]
pub struct Sort {
    schema: SchemaRef,
    by: Arc<[SortColumn]>,
    skip: usize,
    fetch: Option<usize>,
    retracts: bool,
    state: Own<Sorting>,
}

/// Rows that are to be sorted.
#[derive(Default)]
pub(crate) struct Sorting {
    batches: Vec<RecordBatch>,
    rows: usize,
    /// How often each row has gone, and there were so many of it to go.
    gone: HashMap<Box<[u8]>, usize>,
    bytes: usize,
}

impl Sort {
    /// Orders rows that only come; gives `fetch` of them (all, where it is `None`) after the first `skip`.
    pub fn new(schema: SchemaRef, by: impl Into<Arc<[SortColumn]>>, skip: usize, fetch: Option<usize>) -> Self {
        Self { schema, by: by.into(), skip, fetch, retracts: false, state: Own::default() }
    }

    /// Where rows may be updated or deleted: all are kept.
    #[must_use]
    pub fn retracting(self) -> Self {
        Self { retracts: true, ..self }
    }

    fn take(&mut self, rows: &Rows) -> Result<()> {
        if !self.retracts && rows.kinds().is_some() {
            return internal_err!(
                "rows are updated or deleted, but the sort was planned for such as are only inserted"
            );
        }
        let state = self.state.get(|| Ok(Sorting::default()))?;
        state.add(rows)?;
        match self.fetch {
            // While nothing goes, what is behind the last one that is asked for will stay there.
            Some(fetch) if !self.retracts && state.rows > 2 * (self.skip + fetch) + ROWS => {
                let first = state.sorted(&self.schema, &self.by, Some(self.skip + fetch))?;
                *state = Sorting::default();
                state.add(&first.into())
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, out: &mut Outbox<'_, Rows>) -> Result<()> {
        let (skip, last) = (self.skip, self.fetch.map(|fetch| self.skip + fetch));
        let state = self.state.get(|| Ok(Sorting::default()))?;
        let sorted = state.sorted(&self.schema, &self.by, last)?;
        *state = Sorting::default();
        for from in (skip..sorted.num_rows()).step_by(ROWS) {
            out.emit(vec![sorted.slice(from, ROWS.min(sorted.num_rows() - from)).into()]);
        }
        Ok(())
    }
}

impl Sorting {
    pub(crate) fn add(&mut self, rows: &Rows) -> Result<()> {
        let come = match rows.kinds() {
            None => rows.batch().clone(),
            Some(kinds) => {
                let encoded = Codec::whole(&rows.schema())?.encode(rows.batch().columns())?;
                let goes = |row: &usize| !kinds[*row].is_addition();
                (0..rows.len())
                    .filter(goes)
                    .for_each(|row| *self.gone.entry(encoded.row(row).into()).or_default() += 1);
                let come: UInt32Array = (0..rows.len()).filter(|row| !goes(row)).map(|row| Some(row as u32)).collect();
                rows.take(&come)?.batch().clone()
            }
        };
        self.rows += come.num_rows();
        self.bytes += Rows::from(come.clone()).bytes();
        self.batches.push(come);
        Ok(())
    }

    /// The rows that are left, in order; the first `last` of them.
    pub(crate) fn sorted(&mut self, schema: &SchemaRef, by: &[SortColumn], last: Option<usize>) -> Result<RecordBatch> {
        let rows = concat_batches(schema, &self.batches)?;
        let mut numbers = self.left(&rows)?;
        let order = Order::new(schema, by)?.encode(&rows)?;
        let compare = |a: &u32, b: &u32| order.row(*a as usize).cmp(order.row(*b as usize)).then(a.cmp(b));
        if let Some(last) = last.filter(|last| *last < numbers.len()) {
            if last > 0 {
                numbers.select_nth_unstable_by(last - 1, compare);
            }
            numbers.truncate(last);
        }
        numbers.sort_unstable_by(compare);
        Ok(Rows::from(rows).take(&UInt32Array::from(numbers))?.batch().clone())
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.gone.len() * size_of::<(Box<[u8]>, usize)>()
    }

    fn left(&mut self, rows: &RecordBatch) -> Result<Vec<u32>> {
        let all = 0..rows.num_rows() as u32;
        if self.gone.is_empty() {
            return Ok(all.collect());
        }
        let encoded = Codec::whole(&rows.schema())?.encode(rows.columns())?;
        let mut stays = |row: &u32| match self.gone.get_mut(encoded.row(*row as usize)) {
            Some(gone) if *gone > 0 => {
                *gone -= 1;
                false
            }
            _ => true,
        };
        Ok(all.filter(|row| stays(row)).collect())
    }
}

impl Operator<Hashed> for Sort {
    type Out = Rows;

    fn bundle(&mut self, bundle: Bundle<Hashed>, _: &mut Outbox<'_, Rows>) {
        bundle.as_slice().iter().for_each(|hashed| settled(self.take(&hashed.rows)));
    }

    fn punctuation(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Rows>) {
        if punctuation.watermark == Time::MAX {
            settled(self.finish(out));
        }
    }

    fn bytes(&self) -> usize {
        self.state.peek().map_or(0, Sorting::bytes)
    }
}

/// ORDER BY a column of event time, then perhaps others: rows come out in order when no earlier one can come any more. All rows
/// must be dealt to one kernel: their hashes are 0.
#[derive(Clone)]
pub struct EventSort {
    schema: SchemaRef,
    time: usize,
    then: Arc<[SortColumn]>,
    held: Own<Held>,
}

impl EventSort {
    /// Orders rows by column `time`, then by others.
    pub fn new(schema: SchemaRef, time: usize, then: impl Into<Arc<[SortColumn]>>) -> Self {
        Self { schema, time, then: then.into(), held: Own::default() }
    }

    fn held(&mut self) -> Result<&mut Held> {
        let (schema, time, then) = (&self.schema, self.time, &self.then);
        self.held.get(|| Held::new(schema.clone(), time, then))
    }

    fn take(&mut self, hashed: &Hashed) -> Result<()> {
        if hashed.rows.kinds().is_some() {
            return internal_err!("a sort by event time is of rows that are only inserted");
        }
        self.held()?.add(hashed)
    }
}

impl Operator<Hashed> for EventSort {
    type Out = Rows;

    fn bundle(&mut self, bundle: Bundle<Hashed>, _: &mut Outbox<'_, Rows>) {
        bundle.as_slice().iter().for_each(|hashed| settled(self.take(hashed)));
    }

    fn punctuation(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Rows>) {
        let released = settled(self.held().and_then(|held| held.release(punctuation.watermark)));
        if released.rows.num_rows() > 0 {
            out.emit(vec![released.rows.into()]);
        }
    }

    fn bytes(&self) -> usize {
        self.held.peek().map_or(0, Held::bytes)
    }
}
