//! [`Sort`]: all rows of an input that ends, in order; and [`EventSort`]: rows in the order of their time, as the watermark
//! passes them.

mod event;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use datafusion_common::{Result, internal_err};
use updraft_dataflow::checkpoint::Layout;
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::{Bundle, Error, Hashed, Keeps, Punctuation, Rows, Saved, Snapshot, Time};

pub use self::event::EventSort;
use super::codec::Codec;
use super::layout::{self, Described};
use super::order::{Order, SortColumn};
use super::own::{Own, settled};
use super::saved::{Pieces, Share, load_rows, save_rows};

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
    share: Share,
    state: Own<Sorting>,
}

/// Rows that are to be sorted, and such as have gone.
#[derive(Default)]
pub(crate) struct Sorting {
    /// As they have come, with their hashes, and numbers.
    batches: Vec<(u64, Hashed)>,
    rows: usize,
    /// What of them is saved; arrivals are batches.
    pieces: Pieces,
    bytes: usize,
}

impl Sort {
    /// Orders rows that only come; gives `fetch` of them (all, where it is `None`) after the first `skip`.
    pub fn new(schema: SchemaRef, by: impl Into<Arc<[SortColumn]>>, skip: usize, fetch: Option<usize>) -> Self {
        Self { schema, by: by.into(), skip, fetch, retracts: false, share: Share::default(), state: Own::default() }
    }

    /// Where rows may be updated or deleted: all are kept.
    #[must_use]
    pub fn retracting(self) -> Self {
        Self { retracts: true, ..self }
    }

    fn take(&mut self, hashed: &Hashed) -> Result<()> {
        let rows = &hashed.rows;
        if !self.retracts && rows.kinds().is_some() {
            return internal_err!(
                "rows are updated or deleted, but the sort was planned for such as are only inserted"
            );
        }
        let state = self.state.get(|| Ok(Sorting::default()))?;
        state.add(hashed.clone());
        match self.fetch {
            // While nothing goes, what is behind the last one that is asked for will stay there.
            Some(fetch) if !self.retracts && state.rows > 2 * (self.skip + fetch) + ROWS => {
                let first = state.sorted(&self.schema, &self.by, Some(self.skip + fetch))?;
                state.clear();
                let hashes = vec![0; first.num_rows()].into();
                state.add(Hashed { hashes, rows: first.into() });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, out: &mut Outbox<'_, Rows>) -> Result<()> {
        let (skip, last) = (self.skip, self.fetch.map(|fetch| self.skip + fetch));
        let state = self.state.get(|| Ok(Sorting::default()))?;
        let sorted = state.sorted(&self.schema, &self.by, last)?;
        state.clear();
        for from in (skip..sorted.num_rows()).step_by(ROWS) {
            out.emit(vec![sorted.slice(from, ROWS.min(sorted.num_rows() - from)).into()]);
        }
        Ok(())
    }
}

impl Sorting {
    pub(crate) fn add(&mut self, hashed: Hashed) {
        let arrived = self.pieces.arrive(hashed.rows.len(), i64::MAX);
        self.rows += hashed.rows.len();
        self.bytes += hashed.rows.bytes();
        self.batches.push((arrived, hashed));
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.batches.clear();
        self.pieces.clear();
        (self.rows, self.bytes) = (0, 0);
    }

    /// The rows that are left, in order; the first `last` of them.
    pub(crate) fn sorted(&mut self, schema: &SchemaRef, by: &[SortColumn], last: Option<usize>) -> Result<RecordBatch> {
        let rows = concat_batches(schema, self.batches.iter().map(|(_, hashed)| hashed.rows.batch()))?;
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

    /// Adds the rows to a snapshot: those that have come since the last one.
    pub(crate) fn save(&mut self, share: Share, snapshot: &mut Snapshot) -> std::result::Result<(), Error> {
        let Some((from, object)) = self.pieces.save(i64::MIN, snapshot) else { return Ok(()) };
        let new = self.batches.iter().filter(|(arrived, _)| *arrived >= from).map(|(_, hashed)| hashed);
        save_rows(new, (0, object), share, snapshot)
    }

    /// Takes a record back.
    pub(crate) fn load(&mut self, schema: &SchemaRef, share: Share, saved: &Saved) -> std::result::Result<(), Error> {
        if let Some(hashed) = load_rows(schema, share, saved)? {
            self.add(hashed);
            self.pieces.read(saved.object);
        }
        Ok(())
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Those that have come, but for as many of each as have gone: the first ones.
    fn left(&self, rows: &RecordBatch) -> Result<Vec<u32>> {
        let all = 0..rows.num_rows() as u32;
        if self.batches.iter().all(|(_, hashed)| hashed.rows.kinds().is_none()) {
            return Ok(all.collect());
        }
        let of =
            |hashed: &Hashed| (0..hashed.rows.len()).map(|row| hashed.rows.kind(row).is_addition()).collect::<Vec<_>>();
        let comes: Vec<bool> = self.batches.iter().flat_map(|(_, hashed)| of(hashed)).collect();
        let encoded = Codec::whole(&rows.schema())?.encode(rows.columns())?;
        let mut gone = HashMap::<&[u8], usize>::new();
        for row in (0..rows.num_rows()).filter(|row| !comes[*row]) {
            *gone.entry(encoded.row(row)).or_default() += 1;
        }
        let mut stays = |row: &u32| match gone.get_mut(encoded.row(*row as usize)) {
            _ if !comes[*row as usize] => false,
            Some(gone) if *gone > 0 => {
                *gone -= 1;
                false
            }
            _ => true,
        };
        Ok(all.filter(|row| stays(row)).collect())
    }
}

impl Described for Sort {
    fn layout(&self) -> Layout {
        Layout::of("rows").table("rows", layout::rows(&self.schema, &[]))
    }
}

impl Operator<Hashed> for Sort {
    type Out = Rows;

    const KEEPS: Keeps = Keeps::State;

    fn open(&mut self, kernel: usize, kernels: usize) {
        self.share = Share::new(kernel, kernels);
    }

    fn bundle(&mut self, bundle: Bundle<Hashed>, _: &mut Outbox<'_, Rows>) {
        bundle.as_slice().iter().for_each(|hashed| settled(self.take(hashed)));
    }

    fn punctuation(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Rows>) {
        if punctuation.watermark == Time::MAX {
            settled(self.finish(out));
        }
    }

    fn bytes(&self) -> usize {
        self.state.peek().map_or(0, Sorting::bytes)
    }

    fn save(&mut self, snapshot: &mut Snapshot) -> std::result::Result<(), Error> {
        self.state.get(|| Ok(Sorting::default()))?.save(self.share, snapshot)
    }

    fn load(&mut self, saved: Saved) -> std::result::Result<(), Error> {
        self.state.get(|| Ok(Sorting::default()))?.load(&self.schema, self.share, &saved)
    }
}
