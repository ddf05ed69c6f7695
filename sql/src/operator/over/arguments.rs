//! [`Arguments`]: the columns that the calls of OVER aggregates look at.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use datafusion_common::Result;
use datafusion_physical_expr::PhysicalExpr;

use super::super::log::compact;
use super::Call;

/// The columns that calls look at, row by row of the partition.
pub(super) struct Arguments {
    pub(super) columns: Vec<ArrayRef>,
    pub(super) counted: Option<BooleanArray>,
}

/// Those of a call.
pub(super) fn arguments(call: &Call, rows: &RecordBatch) -> Result<Arguments> {
    let array = |value: &Arc<dyn PhysicalExpr>| value.evaluate(rows)?.into_array(rows.num_rows());
    let (columns, counted) = match call {
        Call::Aggregate(aggregate) => (aggregate.arguments(rows)?, aggregate.counted(rows)?),
        Call::RowNumber | Call::Rank | Call::DenseRank => (Vec::new(), None),
        Call::Lag { value, default, .. } => {
            let default = default.iter().map(array);
            (std::iter::once(array(value)).chain(default).collect::<Result<_>>()?, None)
        }
    };
    Ok(Arguments { columns, counted })
}

impl Arguments {
    /// Those of some rows: copied, where they are to stay.
    pub(super) fn slice(&self, rows: Range<usize>, stay: bool) -> Result<Self> {
        let counted = self.counted.as_ref().map(|counted| counted.slice(rows.start, rows.len()));
        let numbers = UInt32Array::from_iter_values(rows.start as u32..rows.end as u32);
        let slice = |column: &ArrayRef| match stay {
            true => Ok(compact(&take(column, &numbers, None)?)),
            false => Ok(column.slice(rows.start, rows.len())),
        };
        Ok(Self { columns: self.columns.iter().map(slice).collect::<Result<_>>()?, counted })
    }
}
