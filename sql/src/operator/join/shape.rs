//! What comes out of a join: pairs of rows, or one with nulls in place of the other, in columns.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use updraft_dataflow::{RowKind, Rows};

use super::Input;
use super::condition::Pairs;
use super::log::{Log, NONE};

/// Which columns come out.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) schema: SchemaRef,
    /// Columns of the left input, none where they don't come out; then those of the right one.
    pub(super) left: Vec<usize>,
    pub(super) right: Vec<usize>,
}

impl Shape {
    /// Gives only some of its columns, which are in order.
    ///
    /// # Errors
    /// When it has not so many.
    pub(super) fn narrow(&mut self, columns: &[usize]) -> Result<(), ArrowError> {
        self.schema = Arc::new(self.schema.project(columns)?);
        let left = self.left.len();
        let kept = |from: &[usize], at: usize| {
            columns.iter().filter_map(|column| from.get(column.checked_sub(at)?).copied()).collect()
        };
        (self.left, self.right) = (kept(&self.left, 0), kept(&self.right, left));
        Ok(())
    }

    /// The rows that these pairs make, where [`NONE`] stands for nulls; all are inserted if there are no kinds.
    pub(super) fn rows(
        &self,
        left: &Log,
        right: &Log,
        pairs: &Pairs,
        kinds: Option<Vec<RowKind>>,
    ) -> Result<Rows, ArrowError> {
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for (log, rows, of) in [(left, &pairs.left, &self.left), (right, &pairs.right, &self.right)] {
            if !of.is_empty() {
                let picked = log.pick(rows);
                for column in of {
                    columns.push(picked.column(*column)?);
                }
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(pairs.len()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        Ok(match kinds {
            Some(kinds) => Rows::changes(batch, kinds),
            None => batch.into(),
        })
    }
}

/// Rows that are to come out, of which one input is being looked at and the other is remembered.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) own: Vec<u32>,
    pub(super) other: Vec<u32>,
    pub(super) kinds: Vec<RowKind>,
}

impl Draft {
    pub(super) fn pair(&mut self, own: u32, other: u32, kind: RowKind) {
        self.own.push(own);
        self.other.push(other);
        self.kinds.push(kind);
    }

    /// A row of the input that is being looked at, without another.
    pub(super) fn own(&mut self, row: u32, kind: RowKind) {
        self.pair(row, NONE, kind);
    }

    /// A row that is remembered, without another.
    pub(super) fn other(&mut self, row: u32, kind: RowKind) {
        self.pair(NONE, row, kind);
    }

    /// Pairs of the left input and the right one, and kinds.
    pub(super) fn into_pairs(self, own: Input) -> (Pairs, Vec<RowKind>) {
        let (left, right) = own.order(self.own, self.other);
        (Pairs { left, right }, self.kinds)
    }
}
