//! The files: facts as Parquet, CSV and JSON lines, and what they are joined with. The same in each run.

use std::fs::{File, create_dir_all, rename};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::parquet::arrow::ArrowWriter;

use crate::data::mix;

/// Rows of a batch that is written.
const BATCH: usize = 65_536;
/// How many things are sold, and to how many.
const ITEMS: u64 = 1_000_000;
const USERS: u64 = 200_000;
/// 2024-01-01, in milliseconds.
const START: i64 = 1_704_067_200_000;

/// A table of both: its name, its file, its columns, and how those are declared.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) format: &'static str,
    pub(super) path: PathBuf,
    pub(super) schema: SchemaRef,
    pub(super) columns: &'static str,
}

/// All of them.
pub(super) struct Files {
    pub(super) tables: Vec<Table>,
}

/// Something sold.
struct Fact {
    id: u64,
    item: u64,
    user: u64,
    amount: u64,
}

impl Fact {
    fn new(id: u64) -> Self {
        let random = mix(id);
        Self { id, item: random % ITEMS, user: mix(random) % USERS, amount: mix(random ^ 1) % 10_000 }
    }

    fn category(&self) -> String {
        format!("category-{}", self.item % 100)
    }

    fn name(&self) -> String {
        format!("customer number {}", self.user)
    }

    fn price(&self) -> f64 {
        (mix(self.amount ^ self.id << 20) % 1_000_000) as f64 / 100.0
    }

    fn millis(&self) -> i64 {
        START + self.id as i64 * 10
    }

    /// As ISO 8601 has it, with a blank: the day of the month may go on beyond its end nowhere, as there are few enough.
    fn time(&self) -> String {
        let millis = self.millis() - START;
        let (day, rest) = (millis / 86_400_000, millis % 86_400_000);
        let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1_000 % 60);
        format!("2024-01-{:02} {hour:02}:{minute:02}:{second:02}.{:03}", day + 1, rest % 1_000)
    }
}

const FACTS: &str = "id BIGINT, item BIGINT, user_id BIGINT, amount BIGINT, category STRING, name STRING, \
     price DOUBLE, ts TIMESTAMP(3)";

fn facts_schema() -> SchemaRef {
    let number = |name| Field::new(name, DataType::Int64, true);
    let text = |name| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        number("id"),
        number("item"),
        number("user_id"),
        number("amount"),
        text("category"),
        text("name"),
        Field::new("price", DataType::Float64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
    ]))
}

impl Files {
    /// Those in `folder`, which are made if they are not there.
    pub(super) fn prepare(folder: &Path, rows: usize) -> Self {
        let folder = folder.join(format!("sql-{rows}"));
        create_dir_all(&folder).expect("the folder of the files can be made");
        let dimension = |name, columns, texts: &str| {
            let field = |name: &str| {
                let kind = if name == texts { DataType::Utf8 } else { DataType::Int64 };
                Field::new(name, kind, true)
            };
            let schema =
                Arc::new(Schema::new(vec![field("id"), field(if texts.is_empty() { "weight" } else { texts })]));
            Table { name, format: "parquet", path: folder.join(format!("{name}.parquet")), schema, columns }
        };
        let facts = |name, format| {
            let path = folder.join(format!("facts.{format}"));
            Table { name, format, path, schema: facts_schema(), columns: FACTS }
        };
        let tables = vec![
            facts("facts", "parquet"),
            facts("csv", "csv"),
            facts("json", "json"),
            dimension("users", "id BIGINT, country STRING", "country"),
            dimension("items", "id BIGINT, weight BIGINT", ""),
        ];
        for table in &tables {
            if !table.path.exists() {
                eprintln!("making {}", table.path.display());
                let partial = table.path.with_extension("partial");
                write(table, &partial, rows as u64);
                rename(&partial, &table.path).expect("a file can be renamed");
            }
        }
        Self { tables }
    }
}

fn write(table: &Table, path: &Path, rows: u64) {
    match table.name {
        "facts" => parquet(table, path, rows, facts),
        "users" => parquet(table, path, USERS, users),
        "items" => parquet(table, path, ITEMS, items),
        "csv" => text(path, "id,item,user_id,amount,category,name,price,ts\n", rows, csv_line),
        _ => text(path, "", rows, json_line),
    }
}

fn parquet(table: &Table, path: &Path, rows: u64, columns: impl Fn(std::ops::Range<u64>) -> Vec<ArrayRef>) {
    let file = File::create(path).expect("a file can be made");
    let mut writer = ArrowWriter::try_new(file, table.schema.clone(), None).expect("the schema is right");
    for start in (0..rows).step_by(BATCH) {
        let columns = columns(start..rows.min(start + BATCH as u64));
        let batch = RecordBatch::try_new(table.schema.clone(), columns).expect("the columns are right");
        writer.write(&batch).expect("a file can be written");
    }
    writer.close().expect("a file can be written");
}

fn numbers(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values.map(|value| value as i64)))
}

fn facts(ids: std::ops::Range<u64>) -> Vec<ArrayRef> {
    let facts: Vec<_> = ids.map(Fact::new).collect();
    vec![
        numbers(facts.iter().map(|fact| fact.id)),
        numbers(facts.iter().map(|fact| fact.item)),
        numbers(facts.iter().map(|fact| fact.user)),
        numbers(facts.iter().map(|fact| fact.amount)),
        Arc::new(StringArray::from_iter_values(facts.iter().map(Fact::category))),
        Arc::new(StringArray::from_iter_values(facts.iter().map(Fact::name))),
        Arc::new(Float64Array::from_iter_values(facts.iter().map(Fact::price))),
        Arc::new(TimestampMillisecondArray::from_iter_values(facts.iter().map(Fact::millis))),
    ]
}

fn users(ids: std::ops::Range<u64>) -> Vec<ArrayRef> {
    let country = |id: u64| format!("country {}", mix(id) % 50);
    vec![numbers(ids.clone()), Arc::new(StringArray::from_iter_values(ids.map(country)))]
}

fn items(ids: std::ops::Range<u64>) -> Vec<ArrayRef> {
    vec![numbers(ids.clone()), numbers(ids.map(|id| mix(id) % 100))]
}

fn text(path: &Path, header: &str, rows: u64, line: fn(&mut BufWriter<File>, &Fact) -> std::io::Result<()>) {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).expect("a file can be made"));
    let written = file.write_all(header.as_bytes());
    let written = written.and_then(|()| (0..rows).try_for_each(|id| line(&mut file, &Fact::new(id))));
    written.and_then(|()| file.flush()).expect("a file can be written");
}

fn csv_line(file: &mut BufWriter<File>, fact: &Fact) -> std::io::Result<()> {
    let Fact { id, item, user, amount } = fact;
    let (category, name, price, time) = (fact.category(), fact.name(), fact.price(), fact.time());
    writeln!(file, "{id},{item},{user},{amount},{category},{name},{price},{time}")
}

fn json_line(file: &mut BufWriter<File>, fact: &Fact) -> std::io::Result<()> {
    let Fact { id, item, user, amount } = fact;
    let (category, name, price, time) = (fact.category(), fact.name(), fact.price(), fact.time());
    write!(file, "{{\"id\":{id},\"item\":{item},\"user_id\":{user},\"amount\":{amount},\"category\":\"{category}\",")?;
    writeln!(file, "\"name\":\"{name}\",\"price\":{price},\"ts\":\"{time}\"}}")
}
