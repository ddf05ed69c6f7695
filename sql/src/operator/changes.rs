//! [`Changes`]: what comes out of an operator, row by row, picked from columns.

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use datafusion_common::Result;
use updraft_dataflow::{RowKind, Rows};

/// Rows to give, each of one of several batches.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    picks: Vec<(usize, usize)>,
    kinds: Vec<RowKind>,
}

impl Changes {
    /// Row `row` of batch `batch` does this.
    pub(crate) fn push(&mut self, kind: RowKind, batch: usize, row: usize) {
        self.picks.push((batch, row));
        self.kinds.push(kind);
    }

    /// The rows, of these batches; nothing where there are none.
    pub(crate) fn rows(self, batches: &[&RecordBatch]) -> Result<Vec<Rows>> {
        if self.picks.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![Rows::changes(interleave_record_batch(batches, &self.picks)?, self.kinds)])
    }
}
