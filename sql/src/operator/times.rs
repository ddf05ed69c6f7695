//! Columns of event time: from microseconds and back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion_common::{Result, exec_err};

/// The microseconds of a column of event time, be it TIMESTAMP or TIMESTAMP_LTZ of any precision.
pub(crate) fn micros(column: &ArrayRef) -> Result<Vec<i64>> {
    if column.null_count() > 0 {
        return exec_err!("a row's event time is NULL: leave such rows out (WHERE … IS NOT NULL)");
    }
    if column.data_type() == &DataType::Int64 {
        return Ok(column.as_primitive::<Int64Type>().values().to_vec());
    }
    let zone = match column.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        other => return exec_err!("event time is a TIMESTAMP, not {other}"),
    };
    let column = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
    Ok(column.as_primitive::<TimestampMicrosecondType>().values().to_vec())
}

/// A column of these microseconds.
pub(crate) fn timestamps(micros: impl IntoIterator<Item = i64>, data_type: &DataType) -> Result<ArrayRef> {
    let column: TimestampMicrosecondArray = micros.into_iter().map(Some).collect();
    let column: ArrayRef = match data_type {
        DataType::Timestamp(_, Some(zone)) => Arc::new(column.with_timezone(zone.clone())),
        _ => Arc::new(column),
    };
    Ok(cast(&column, data_type)?)
}
