//! The columns of a batch that is being filled.

use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::SchemaRef;
use arrow_select::filter::filter_record_batch;
use updraft_dataflow::Error;

use super::{Cells, batch_of};

/// Rows, so far.
pub(crate) struct Columns {
    schema: SchemaRef,
    pub(crate) cells: Vec<Cells>,
    len: usize,
    /// Rows that are to be left out.
    bad: Vec<usize>,
}

impl Columns {
    /// None yet.
    ///
    /// # Errors
    /// When values of some column cannot be read from text.
    pub(crate) fn new(schema: SchemaRef) -> Result<Self, Error> {
        let cells = schema.fields().iter().map(Cells::new).collect::<Result<_, _>>()?;
        Ok(Self { schema, cells, len: 0, bad: Vec::new() })
    }

    /// Makes room for so many rows.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.cells.iter_mut().for_each(|cells| cells.reserve(rows));
    }

    /// Their names and types.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows that have been accepted or rejected: the number of the one that is being filled.
    pub(crate) fn row(&self) -> usize {
        self.len
    }

    /// Rows that have been accepted.
    pub(crate) fn good(&self) -> usize {
        self.len - self.bad.len()
    }

    /// The row is whole: each column has a value of it.
    pub(crate) fn accept(&mut self) {
        self.len += 1;
    }

    /// The row, however much of it is there, is left out.
    pub(crate) fn reject(&mut self) {
        self.bad.push(self.len);
        self.len += 1;
        for cells in &mut self.cells {
            cells.settle();
            cells.pad(self.len);
        }
    }

    /// The last `rows` that were accepted, after the last one that was rejected, are left out, too.
    pub(crate) fn retract(&mut self, rows: usize) {
        self.bad.extend(self.len - rows..self.len);
    }

    /// The rows that have been accepted; none are left.
    pub(crate) fn take(&mut self) -> Result<RecordBatch, Error> {
        let len = std::mem::take(&mut self.len);
        let columns = self.cells.iter_mut().map(Cells::finish).collect();
        let batch = batch_of(&self.schema, columns, len)?;
        let bad = std::mem::take(&mut self.bad);
        if bad.is_empty() {
            return Ok(batch);
        }
        let mut keep = vec![true; len];
        bad.into_iter().for_each(|row| keep[row] = false);
        Ok(filter_record_batch(&batch, &BooleanArray::from(keep))?)
    }
}
