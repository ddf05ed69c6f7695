//! Times as the engine counts them, of columns of any unit.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, Schema, TimeUnit};
use updraft_dataflow::Error;

use super::plan::or_end;

/// A column of times.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeColumn {
    column: usize,
    unit: TimeUnit,
}

impl TimeColumn {
    /// # Errors
    /// When there is no such column, or its type is no timestamp.
    pub(super) fn new(schema: &Schema, column: usize) -> Result<Self, Error> {
        let field =
            schema.fields().get(column).ok_or_else(|| format!("a join by time column {column}, which is not there"))?;
        match field.data_type() {
            DataType::Timestamp(unit, _) => Ok(Self { column, unit: *unit }),
            other => {
                Err(format!("a join by the time '{}', which is {other}: it must be a TIMESTAMP", field.name()).into())
            }
        }
    }

    /// The times of all rows, in microseconds. A row without one ends the job.
    pub(super) fn of(self, batch: &RecordBatch) -> Vec<i64> {
        let column = batch.column(self.column);
        if column.null_count() > 0 {
            let name = batch.schema_ref().field(self.column).name().clone();
            let remedy = format!("leave such rows out before the join: WHERE {name} IS NOT NULL");
            updraft_kernel::give_up(format!("a row whose time '{name}' is NULL cannot be joined by time: {remedy}"));
        }
        let times = or_end(cast(column, &DataType::Int64));
        let times = times.as_primitive::<Int64Type>().values().iter();
        match self.unit {
            TimeUnit::Second => times.map(|time| time.saturating_mul(1_000_000)).collect(),
            TimeUnit::Millisecond => times.map(|time| time.saturating_mul(1_000)).collect(),
            TimeUnit::Microsecond => times.copied().collect(),
            TimeUnit::Nanosecond => times.map(|time| time.div_euclid(1_000)).collect(),
        }
    }
}
