//! Drives sources and sinks on a kernel, without a job around them.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

#[path = "../../../connectors/tests/support/kernel.rs"]
mod kernel;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use updraft_dataflow::connector::{Column, Scan, Table};
use updraft_dataflow::{Bundle, Error, Partition, Rows, Sink, Source};

pub(crate) use self::kernel::run;

/// Columns; those whose names end in `!` are NOT NULL.
pub(crate) fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| {
        Field::new(name.trim_end_matches('!'), data_type.clone(), !name.ends_with('!'))
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// All rows of all partitions, in their order.
pub(crate) fn read<S: Source<Item = Rows>>(source: S) -> Result<Vec<Rows>, Error> {
    let partitions = source.open()?;
    run(move || async move {
        let mut all = Vec::new();
        for mut partition in partitions {
            while let Some(batch) = partition.next(7).await? {
                all.extend(batch.records.into_vec());
            }
        }
        Ok(all)
    })
}

/// The same, as one batch.
pub(crate) fn read_all<S: Source<Item = Rows>>(source: S, schema: &SchemaRef) -> RecordBatch {
    let rows = read(source).unwrap();
    concat_batches(schema, rows.iter().map(Rows::batch)).unwrap()
}

/// Writes bundles, and closes the sink.
pub(crate) fn write(mut sink: impl Sink<Rows>, bundles: Vec<Rows>) -> Result<(), Error> {
    run(move || async move {
        for rows in bundles {
            sink.write(Bundle::from(vec![rows])).await?;
        }
        sink.close().await
    })
}

/// Each row as text.
pub(crate) fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    let line = |row: usize| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(line).collect()
}

/// A table `t`.
pub(crate) fn table(schema: SchemaRef, options: &[(&str, &str)]) -> Table {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Table { name: "t".into(), schema, primary_key: Vec::new(), partition_keys: Vec::new(), options, bounded: false }
}

/// All columns.
pub(crate) fn scan(table: &Table) -> Scan {
    let columns = (0..table.schema.fields().len()).map(Column::Physical).collect();
    Scan { schema: table.schema.clone(), columns, batch: 1_000 }
}
