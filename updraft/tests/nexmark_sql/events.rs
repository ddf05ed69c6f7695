//! The events that the queries run on, straight from the connector: no SQL has seen them.

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{concat_batches, filter, is_not_null};
use updraft::connectors::table::Nexmark;
use updraft::dataflow::connector::{Column, Connector, Options, Scan, Table};
use updraft::dataflow::{Partition, Source};

/// Two events are 2.5 ms apart, so that no two are of the same millisecond: which of two bids came last is never a tie.
const OPTIONS: [(&str, &str); 2] = [("events.num", "30000"), ("first-event.rate", "400")];

/// How many there are: 75 seconds of them.
pub(crate) const COUNT: usize = 30_000;

/// The options, as in `WITH (…)`.
pub(crate) fn options(disorder: &str) -> String {
    let [number, rate] = OPTIONS.map(|(name, value)| format!("'{name}' = '{value}'"));
    format!("{number}, {rate}, 'disorder' = '{disorder}', 'disorder.max' = '4 s'")
}

/// All of one kind: `person`, `auction` or `bid`.
pub(crate) fn of_kind(kind: &str) -> RecordBatch {
    let events = all();
    let column = events.column_by_name(kind).unwrap();
    let there = filter(column, &is_not_null(column).unwrap()).unwrap();
    RecordBatch::from(there.as_struct().clone())
}

fn all() -> RecordBatch {
    let options: Options = OPTIONS.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
    let mut table = Table {
        name: "events".into(),
        schema: std::sync::Arc::new(arrow::datatypes::Schema::empty()),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
        options,
        bounded: true,
    };
    table.schema = Nexmark.infer(&table).unwrap();
    let columns = (0..table.schema.fields().len()).map(Column::Physical).collect();
    let scan = Scan { schema: table.schema.clone(), columns, batch: 8192 };
    let mut partitions = Nexmark.source(&table, &scan).unwrap().open().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut batches = Vec::new();
    for partition in &mut partitions {
        while let Some(batch) = runtime.block_on(partition.next(usize::MAX)).unwrap() {
            batches.extend(batch.records.into_vec().into_iter().map(|rows| rows.batch().clone()));
        }
    }
    let events = concat_batches(&table.schema, &batches).unwrap();
    assert_eq!(events.num_rows(), COUNT);
    events
}
