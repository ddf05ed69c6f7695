//! Tables and what is read of them, for the tests of connectors.
#![allow(dead_code, reason = "each test uses its part")]

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use updraft_dataflow::Source;
use updraft_dataflow::connector::{AnySource, Column, Connector, Scan, Table};

use crate::support::read;

/// A table `t`.
pub(crate) fn table(schema: SchemaRef, options: &[(&str, &str)]) -> Table {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Table { name: "t".into(), schema, primary_key: Vec::new(), partition_keys: Vec::new(), options, bounded: false }
}

/// The same in a job that is to end.
pub(crate) fn bounded(table: Table) -> Table {
    Table { bounded: true, ..table }
}

/// All columns.
pub(crate) fn scan(table: &Table) -> Scan {
    let columns = (0..table.schema.fields().len()).map(Column::Physical).collect();
    Scan { schema: table.schema.clone(), columns, batch: 1_000 }
}

pub(crate) fn make(connector: &impl Connector, table: &Table) -> AnySource {
    table.options.check(connector.name(), &connector.options()).unwrap();
    connector.source(table, &scan(table)).unwrap()
}

/// All that a table holds, in one batch.
pub(crate) fn all(connector: &impl Connector, table: &Table) -> RecordBatch {
    let batches = batches(make(connector, table));
    concat_batches(&table.schema, &batches).unwrap()
}

pub(crate) fn batches(source: AnySource) -> Vec<RecordBatch> {
    let records = read(source, 10).unwrap().records;
    records.iter().map(|rows| rows.batch().clone()).collect()
}

/// Why a table cannot be read.
pub(crate) fn error(connector: &impl Connector, table: &Table) -> String {
    let opened = connector.source(table, &scan(table)).and_then(|source| source.open().map(drop));
    opened.unwrap_err().to_string()
}

/// Each row as text.
pub(crate) fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default();
    let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| format!("{}|", column.value(row))).collect()).collect()
}

/// The columns of raw lines.
pub(crate) fn raw() -> SchemaRef {
    let line = arrow_schema::Field::new("line", arrow_schema::DataType::Utf8View, true);
    std::sync::Arc::new(arrow_schema::Schema::new(vec![line]))
}
