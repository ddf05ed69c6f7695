//! [`SortColumn`]: what rows are ordered by.

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::Schema;
use datafusion_common::Result;

use super::codec::{Codec, Encoded, columns_of};

/// A column to order by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SortColumn {
    /// Its number.
    pub column: usize,
    /// Which way, and where NULL is.
    pub options: SortOptions,
}

impl SortColumn {
    /// From the least to the greatest, NULL before all (as in Flink).
    pub fn ascending(column: usize) -> Self {
        Self { column, options: SortOptions { descending: false, nulls_first: true } }
    }

    /// From the greatest to the least, NULL behind all (as in Flink).
    pub fn descending(column: usize) -> Self {
        Self { column, options: SortOptions { descending: true, nulls_first: false } }
    }
}

/// Rows as bytes that compare as they are ordered.
#[derive(Debug)]
pub(crate) struct Order {
    columns: Vec<usize>,
    codec: Codec,
}

impl Order {
    pub(crate) fn new(schema: &Schema, by: &[SortColumn]) -> Result<Self> {
        let sorted = by.iter().map(|by| (schema.field(by.column).data_type().clone(), by.options));
        Ok(Self { columns: by.iter().map(|by| by.column).collect(), codec: Codec::sorted(sorted)? })
    }

    pub(crate) fn encode(&self, rows: &RecordBatch) -> Result<Encoded> {
        self.codec.encode(&columns_of(rows, &self.columns))
    }
}
