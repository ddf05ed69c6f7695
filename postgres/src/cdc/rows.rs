//! Rows as they were asked for: columns of the table, and what is known beside them.

use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, new_null_array};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use updraft_dataflow::Error;
use updraft_dataflow::connector::Column;

use super::Settings;
use crate::types::EPOCH;

/// What is known beside the columns.
pub(crate) const METADATA: [&str; 4] = ["database_name", "schema_name", "table_name", "op_ts"];

/// The type of what is known.
pub(crate) fn metadata_type(key: &str) -> DataType {
    match key {
        "op_ts" => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        _ => DataType::Utf8View,
    }
}

/// The columns of the table that are asked for, each once.
pub(super) fn stored(settings: &Settings) -> SchemaRef {
    let columns = settings.columns.iter().zip(settings.schema.fields());
    let stored = columns.filter_map(|(column, field)| match column {
        Column::Physical(at) => Some(Field::new(&settings.names[*at], field.data_type().clone(), true)),
        Column::Metadata(_) => None,
    });
    Arc::new(Schema::new(stored.collect::<Vec<_>>()))
}

/// Rows of a table that was read, with what is known of them: of no transaction.
pub(super) fn arrange(settings: &Settings, batch: &RecordBatch) -> Result<RecordBatch, Error> {
    arrange_at(settings, batch, &vec![-EPOCH; batch.num_rows()])
}

/// Rows that were changed at `times`, in microseconds from 2000 on.
pub(super) fn arrange_at(settings: &Settings, batch: &RecordBatch, times: &[i64]) -> Result<RecordBatch, Error> {
    let (mut stored, rows) = (batch.columns().iter(), batch.num_rows());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(settings.columns.len());
    for column in &settings.columns {
        let table = &settings.table;
        let known = match column {
            Column::Physical(_) => stored.next().cloned(),
            Column::Metadata(key) => match &**key {
                "op_ts" => {
                    let times = TimestampMicrosecondArray::from_iter_values(
                        times.iter().map(|time| time.saturating_add(EPOCH)),
                    );
                    Some(arrow_cast::cast(&(Arc::new(times.with_timezone("UTC")) as ArrayRef), &metadata_type(key))?)
                }
                "table_name" => Some(same(&table.name, rows)),
                "schema_name" => Some(
                    table
                        .schema
                        .as_ref()
                        .map_or_else(|| new_null_array(&DataType::Utf8View, rows), |schema| same(schema, rows)),
                ),
                _ => Some(same(&settings.server.database, rows)),
            },
        };
        columns.push(known.ok_or("fewer columns than asked for")?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let schema = settings.schema.clone();
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

fn same(text: &str, rows: usize) -> ArrayRef {
    let mut builder = StringViewBuilder::with_capacity(rows);
    (0..rows).for_each(|_| builder.append_value(text));
    Arc::new(builder.finish())
}
