//! [`OverAll`]: window functions over whole partitions, at the end of the input, by DataFusion.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::SchemaRef;
use datafusion_common::Result;
use datafusion_physical_expr::window::WindowExpr;
use updraft_dataflow::checkpoint::Layout;
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::{Bundle, Error, Hashed, Keeps, Punctuation, Rows, Saved, Snapshot, Time};

use super::super::codec::{Codec, columns_of};
use super::super::layout::{self, Described};
use super::super::order::SortColumn;
use super::super::own::{Own, settled};
use super::super::saved::Share;
use super::super::sort::Sorting;

/// Window functions of DataFusion over all rows of each partition: any frame, any order, any function. Rows come out at the
/// end of the input, in order of partition; what was updated or deleted by then is not there.
#[derive(Clone)]
pub struct OverAll {
    input: SchemaRef,
    output: SchemaRef,
    partition: Arc<[usize]>,
    /// By partition, then as the functions want it.
    order: Arc<[SortColumn]>,
    functions: Arc<[Arc<dyn WindowExpr>]>,
    share: Share,
    rows: Own<Sorting>,
}

impl OverAll {
    /// These functions over partitions that are ordered so; `output` has the columns of the input, then theirs. Where
    /// there are no columns of partition, the rows' hashes must be 0.
    pub fn new(
        input: SchemaRef,
        partition: &[usize],
        order: &[SortColumn],
        functions: Vec<Arc<dyn WindowExpr>>,
        output: SchemaRef,
    ) -> Self {
        let by = partition.iter().map(|column| SortColumn::ascending(*column)).chain(order.iter().copied());
        let (order, partition) = (by.collect(), partition.into());
        let (functions, share) = (functions.into(), Share::default());
        Self { input, output, partition, order, functions, share, rows: Own::default() }
    }

    fn finish(&mut self) -> Result<Vec<Rows>> {
        let sorting = self.rows.get(|| Ok(Sorting::default()))?;
        let rows = sorting.sorted(&self.input, &self.order, None)?;
        sorting.clear();
        if rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let mut results = vec![Vec::<ArrayRef>::new(); self.functions.len()];
        for partition in self.partitions(&rows)? {
            for (function, results) in self.functions.iter().zip(&mut results) {
                results.push(function.evaluate(&partition)?);
            }
        }
        let results = results.iter().map(|parts| Ok(concat(&parts.iter().map(|part| &**part).collect::<Vec<_>>())?));
        let columns = rows.columns().iter().cloned().map(Ok).chain(results).collect::<Result<_>>()?;
        Ok(vec![RecordBatch::try_new(self.output.clone(), columns)?.into()])
    }

    fn partitions(&self, rows: &RecordBatch) -> Result<Vec<RecordBatch>> {
        let keys = Codec::of(&self.input, &self.partition)?.encode(&columns_of(rows, &self.partition))?;
        let numbers: Vec<_> = (0..rows.num_rows()).collect();
        let partitions = numbers.chunk_by(|a, b| keys.row(*a) == keys.row(*b));
        Ok(partitions.map(|partition| rows.slice(partition[0], partition.len())).collect())
    }
}

impl Described for OverAll {
    fn layout(&self) -> Layout {
        Layout::of("rows").table("rows", layout::rows(&self.input, &self.partition))
    }
}

impl Operator<Hashed> for OverAll {
    type Out = Rows;

    const KEEPS: Keeps = Keeps::State;

    fn open(&mut self, kernel: usize, kernels: usize) {
        self.share = Share::new(kernel, kernels);
    }

    fn bundle(&mut self, bundle: Bundle<Hashed>, _: &mut Outbox<'_, Rows>) {
        for hashed in bundle.as_slice() {
            settled(self.rows.get(|| Ok(Sorting::default()))).add(hashed.clone());
        }
    }

    fn punctuation(&mut self, punctuation: Punctuation, out: &mut Outbox<'_, Rows>) {
        if punctuation.watermark == Time::MAX {
            out.emit(settled(self.finish()));
        }
    }

    fn bytes(&self) -> usize {
        self.rows.peek().map_or(0, Sorting::bytes)
    }

    fn save(&mut self, snapshot: &mut Snapshot) -> std::result::Result<(), Error> {
        self.rows.get(|| Ok(Sorting::default()))?.save(self.share, snapshot)
    }

    fn load(&mut self, saved: Saved) -> std::result::Result<(), Error> {
        self.rows.get(|| Ok(Sorting::default()))?.load(&self.input, self.share, &saved)
    }
}
