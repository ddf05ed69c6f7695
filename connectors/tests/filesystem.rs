//! Tables that are files: what is written is read again, in all formats, folders and parts; and what is wrong is told.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

#[path = "support/batches.rs"]
mod batches;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{Array, Int64Array, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use batches::{Random, batch, list, nested, numbers, row, scalars, schema};
use proptest::prelude::*;
use support::{All, files, read, read_parts, run, write};
use tempfile::TempDir;
use updraft_connectors::{Collect, Filesystem};
use updraft_dataflow::connector::{Column, Connector, Options, Scan, Table};
use updraft_dataflow::{Bundle, Error, Job, Partition, Rows, Sink, Source};

fn table(schema: &SchemaRef, path: &Path, options: &[(&str, &str)]) -> Table {
    let mut options: Options = options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    if options.get("path").is_none() {
        options.set("path", path.display().to_string());
    }
    options.check("'filesystem'", &Filesystem.options()).unwrap();
    let (primary_key, partition_keys) = (Vec::new(), Vec::new());
    Table { name: "t".into(), schema: schema.clone(), primary_key, partition_keys, options, bounded: true }
}

/// The columns `wanted`, in that order.
fn scan(schema: &SchemaRef, wanted: &[usize]) -> Scan {
    let schema = Arc::new(schema.project(wanted).unwrap());
    Scan { schema, columns: wanted.iter().map(|column| Column::Physical(*column)).collect(), batch: 7 }
}

fn all(schema: &SchemaRef) -> Scan {
    scan(schema, &(0..schema.fields().len()).collect::<Vec<_>>())
}

fn put(table: &Table, batches: &[RecordBatch]) -> Result<(), Error> {
    let bundles = batches.iter().map(|batch| vec![Rows::from(batch.clone())]).collect();
    write(Filesystem.sink(table)?, bundles)
}

fn get(table: &Table, scan: &Scan) -> Result<RecordBatch, Error> {
    Ok(joined(scan, read(Filesystem.source(table, scan)?, 7)?))
}

fn joined(scan: &Scan, all: All<Rows>) -> RecordBatch {
    assert_eq!(all.rejected, []);
    concat_batches(&scan.schema, all.records.iter().map(Rows::batch)).unwrap()
}

/// A first column that numbers rows.
fn numbered(schema: &SchemaRef, rows: usize, random: &mut Random) -> RecordBatch {
    let fields =
        [Arc::new(Field::new("id", DataType::Int64, false))].into_iter().chain(schema.fields().iter().cloned());
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut columns = batch(&schema, rows, random).columns().to_vec();
    columns[0] = Arc::new(Int64Array::from_iter_values(0..rows as i64));
    RecordBatch::try_new(schema, columns).unwrap()
}

fn in_order(batch: &RecordBatch) -> RecordBatch {
    let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>();
    let mut rows: Vec<u32> = (0..batch.num_rows() as u32).collect();
    rows.sort_by_key(|row| ids.value(*row as usize));
    take_record_batch(batch, &UInt32Array::from(rows)).unwrap()
}

/// Each format, and all that it can hold.
fn formats() -> Vec<(&'static [(&'static str, &'static str)], SchemaRef)> {
    let everything = || schema(scalars().into_iter().chain(nested()));
    // Avro has no timestamps of seconds.
    let avro = |data_type: &DataType| !matches!(data_type, DataType::Timestamp(TimeUnit::Second, _));
    vec![
        (
            &[("format", "csv"), ("csv.null-literal", "\\N"), ("compression", "gzip")],
            schema(scalars().into_iter().chain([numbers(), row(vec![DataType::Int64, DataType::Boolean])])),
        ),
        (&[("format", "json"), ("compression", "zstd")], everything()),
        (&[("format", "parquet"), ("parquet.block.size", "1")], everything()),
        (&[("format", "parquet"), ("parquet.compression", "zstd")], everything()),
        (&[("format", "arrow")], everything()),
        (&[("format", "avro")], schema(scalars().into_iter().chain(nested()).filter(avro))),
    ]
}

/// How far each batch has come: never back, and to the end.
#[test]
fn how_much_has_been_read_is_told() {
    for (options, schema) in formats() {
        let folder = TempDir::new().unwrap();
        let batches: Vec<_> = (0..4).map(|seed| batch(&schema, 40, &mut Random::new(seed))).collect();
        let table = table(&schema, folder.path(), options);
        put(&table, &batches).unwrap();
        for mut partition in Filesystem.source(&table, &all(&schema)).unwrap().open().unwrap() {
            let seen = run(move || async move {
                let mut seen = vec![partition.progress().unwrap()];
                while partition.next(7).await.unwrap().is_some() {
                    seen.push(partition.progress().unwrap());
                }
                seen.push(partition.progress().unwrap());
                seen
            });
            assert!(seen.is_sorted_by_key(|progress| progress.read), "{options:?}: {seen:?}");
            assert_eq!(seen[0].read, 0, "{options:?}: {seen:?}");
            assert!(seen[0].whole > 0 && seen.iter().all(|progress| progress.whole == seen[0].whole), "{seen:?}");
            assert_eq!(seen[seen.len() - 1].read, seen[0].whole, "{options:?}: {seen:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(seed in any::<u64>(), rows in 0usize..60) {
        for (options, schema) in formats() {
            let mut random = Random::new(seed);
            let folder = tempfile::tempdir().unwrap();
            let want = numbered(&schema, rows, &mut random);
            let mut table = table(&want.schema(), &folder.path().join("t"), options);
            // By a folder of a few values, which may be NULL.
            let key = want.schema().index_of("c0").unwrap();
            prop_assert_eq!(want.column(key).data_type(), &DataType::Boolean);
            if random.below(2) == 0 {
                table.partition_keys = vec![key];
            }
            put(&table, &[want.slice(0, rows / 3), want.slice(rows / 3, rows - rows / 3)]).unwrap();
            if rows == 0 {
                continue;
            }
            let got = get(&table, &all(&want.schema())).unwrap();
            let got = in_order(&got);
            for (got, (want, field)) in got.columns().iter().zip(want.columns().iter().zip(want.schema().fields())) {
                prop_assert_eq!(got, want, "{:?} {:?}", options, field);
            }
            let mut some: Vec<usize> = (1..schema.fields().len()).rev().filter(|_| random.below(3) == 0).collect();
            some.push(0);
            let got = get(&table, &scan(&want.schema(), &some)).unwrap();
            prop_assert_eq!(in_order(&got), want.project(&some).unwrap());
            // Rows alone.
            let counted: usize = read(Filesystem.source(&table, &scan(&want.schema(), &[])).unwrap(), 7).unwrap().records.iter().map(Rows::len).sum();
            prop_assert_eq!(counted, rows);
        }
    }
}

fn ids() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]))
}

fn ids_of(batch: &RecordBatch) -> Vec<i64> {
    batch.column(0).as_primitive::<Int64Type>().values().to_vec()
}

/// A folder with `files` in it.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        support::put(&path, &[text]);
    }
    folder
}

#[test]
fn folders_globs_and_patterns_name_files() {
    let folder = folder(&[
        ("a.csv", b"1\n"),
        ("deep/b.csv.gz", b"2\n"),
        ("deep/c.txt.zst", b"3\n"),
        ("_SUCCESS", b"x\n"),
        (".hidden/d.csv", b"x\n"),
        ("e.csv.part", b"x\n"),
    ]);
    let read = |path: &str, more: &[(&str, &str)]| {
        let options = [&[("format", "csv")], more].concat();
        get(&table(&ids(), &folder.path().join(path), &options), &all(&ids())).map(|batch| ids_of(&batch))
    };
    assert_eq!(read("", &[]).unwrap(), [1, 2, 3]);
    assert_eq!(read("a.csv", &[]).unwrap(), [1]);
    assert_eq!(read("*/*.csv*", &[]).unwrap(), [2]);
    assert_eq!(read("", &[("source.path.regex-pattern", ".*/[ac]\\..*")]).unwrap(), [1, 3]);
    let error = read("none", &[]).unwrap_err().to_string();
    assert!(error.contains("none': no file is there"), "{error}");
}

#[test]
fn partitions_depend_on_files_and_settings_alone() {
    let many: Vec<(String, Vec<u8>)> =
        (0..20).map(|at| (format!("{at:02}.csv"), format!("{at}\n").into_bytes())).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, text)| (name.as_str(), &text[..])).collect();
    let of_many = folder(&many);
    let parts = |options: &[(&str, &str)], path: &Path| {
        let table = table(&ids(), path, options);
        let scan = all(&ids());
        let parts = read_parts(Filesystem.source(&table, &scan).unwrap(), 100).unwrap();
        parts.into_iter().map(|part| ids_of(&joined(&scan, part))).collect::<Vec<_>>()
    };
    let dealt = parts(&[("format", "csv")], of_many.path());
    assert_eq!(dealt.len(), 8);
    assert_eq!(dealt[3], [3, 11, 19]);
    assert_eq!(parts(&[("format", "csv"), ("source.partitions", "1")], of_many.path()).len(), 1);
    // One file of ten row groups.
    let folder = folder(&[]);
    let path = folder.path().join("t.parquet");
    let options = [("format", "parquet"), ("parquet.block.size", "1"), ("source.partitions", "4")];
    let batches: Vec<_> =
        (0..10).map(|at| RecordBatch::try_new(ids(), vec![Arc::new(Int64Array::from(vec![at]))]).unwrap()).collect();
    put(&table(&ids(), &path, &options), &batches).unwrap();
    assert_eq!(files(folder.path()), std::slice::from_ref(&path));
    assert_eq!(parts(&options, &path), [vec![0, 1], vec![2, 3, 4], vec![5, 6], vec![7, 8, 9]]);
}

#[test]
fn folders_are_columns() {
    let folder = folder(&[
        ("dt=2026-01-01/hour=3/a.json", b"{\"id\":1}\n"),
        ("dt=2026-01-01/hour=__DEFAULT_PARTITION__/a.json", b"{\"id\":2,\"hour\":9}\n"),
    ]);
    let schema = Arc::new(Schema::new(vec![
        Field::new("hour", DataType::Int32, true),
        Field::new("id", DataType::Int64, true),
        Field::new("dt", DataType::Date32, true),
    ]));
    let mut table = table(&schema, folder.path(), &[("format", "json")]);
    table.partition_keys = vec![2, 0];
    let got = in_order(&get(&table, &scan(&schema, &[1, 0, 2])).unwrap());
    let text = |column: &str| {
        let column = got.column_by_name(column).unwrap();
        let column = arrow_cast::cast(column, &DataType::Utf8).unwrap();
        column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(text("hour"), [Some("3".to_owned()), None]);
    assert_eq!(text("dt"), [Some("2026-01-01".to_owned()), Some("2026-01-01".to_owned())]);
    // Written again, the folders are the same.
    let copy = self::folder(&[]);
    let mut to = table.clone();
    to.options.set("path", copy.path().display().to_string());
    put(&to, &[get(&table, &all(&schema)).unwrap()]).unwrap();
    let folders: Vec<_> = files(copy.path())
        .iter()
        .map(|file| file.parent().unwrap().strip_prefix(copy.path()).unwrap().to_owned())
        .collect();
    assert_eq!(folders, [Path::new("dt=2026-01-01/hour=3"), Path::new("dt=2026-01-01/hour=__DEFAULT_PARTITION__")]);
    // A folder that is none of the column's values.
    std::fs::create_dir_all(folder.path().join("dt=x/hour=1")).unwrap();
    std::fs::write(folder.path().join("dt=x/hour=1/b.json"), "{}\n").unwrap();
    let error = get(&table, &all(&schema)).unwrap_err().to_string();
    assert!(error.contains("the folder `dt=x` names no DATE"), "{error}");
}

#[test]
fn files_are_known_by_metadata() {
    let folder = folder(&[("a.csv", b"1\n2\n")]);
    let keys = Filesystem.metadata();
    let fields = keys.iter().map(|(key, data_type)| Field::new(*key, data_type.clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = keys.iter().map(|(key, _)| Column::Metadata((*key).to_owned())).collect();
    let scan = Scan { schema, columns, batch: 10 };
    let got = get(&table(&ids(), folder.path(), &[("format", "csv")]), &scan).unwrap();
    assert_eq!(got.num_rows(), 2);
    assert_eq!(got.column(0).as_string_view().value(1), folder.path().join("a.csv").display().to_string());
    assert_eq!(got.column(1).as_string_view().value(0), "a.csv");
    assert_eq!(got.column(2).as_primitive::<Int64Type>().values(), &[4, 4]);
    let modified = folder.path().join("a.csv").metadata().unwrap().modified().unwrap();
    let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    assert_eq!(got.column(3).as_primitive::<TimestampMillisecondType>().value(1), modified);
}

#[test]
fn new_files_are_read_as_they_appear() {
    let folder = folder(&[("a.csv", b"1\n")]);
    let mut table = table(&ids(), folder.path(), &[("format", "csv"), ("source.monitor-interval", "5 ms")]);
    table.bounded = false;
    assert!(!Filesystem.is_bounded(&table));
    let source = Filesystem.source(&table, &all(&ids())).unwrap();
    let path = folder.path().to_owned();
    run(move || async move {
        let mut partitions = source.open().unwrap();
        assert_eq!(partitions.len(), 1);
        for at in 1..4 {
            let batch = partitions[0].next(10).await.unwrap().unwrap();
            assert_eq!(ids_of(batch.records.as_slice()[0].batch()), [at]);
            assert!(updraft_kernel::clock::timeout(Duration::from_millis(30), partitions[0].next(10)).await.is_none());
            std::fs::write(path.join(".next"), format!("{}\n", at + 1)).unwrap();
            std::fs::rename(path.join(".next"), path.join(format!("{}.csv", 9 - at))).unwrap();
        }
    });
    table.bounded = true;
    assert!(Filesystem.is_bounded(&table));
    assert_eq!(get(&table, &all(&ids())).unwrap().num_rows(), 4);
}

#[test]
fn columns_are_inferred() {
    let infer = |name: &str, text: &[u8], format: &str| {
        let folder = folder(&[(name, text)]);
        let empty = Arc::new(Schema::empty());
        let schema = Filesystem
            .infer(&table(&empty, folder.path(), &[("format", format)]))
            .map_err(|error| error.to_string())?;
        Ok::<_, String>(
            schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect::<Vec<_>>(),
        )
    };
    let named = |name: &str, data_type| (name.to_owned(), data_type);
    let csv = b"id,price,day,at,ok,name\n1,2.5,2026-01-02,2026-01-02 03:04:05,true,x\n2,3,,,,7\n";
    assert_eq!(
        infer("a.csv.gz", csv, "csv").unwrap(),
        [
            named("id", DataType::Int64),
            named("price", DataType::Float64),
            named("day", DataType::Date32),
            named("at", DataType::Timestamp(TimeUnit::Microsecond, None)),
            named("ok", DataType::Boolean),
            named("name", DataType::Utf8View),
        ]
    );
    assert_eq!(infer("a", b"1,x\n", "csv").unwrap(), [named("f0", DataType::Int64), named("f1", DataType::Utf8View)]);
    let json = b"{\"b\":1,\"a\":[{\"x\":null}]}\n{\"c\":\"t\",\"b\":1.5,\"a\":[{\"x\":true}]}\n";
    assert_eq!(
        infer("a", json, "json").unwrap(),
        [
            named("b", DataType::Float64),
            named("a", list(DataType::Struct(vec![Field::new("x", DataType::Boolean, true)].into()))),
            named("c", DataType::Utf8View),
        ]
    );
    let error = infer("a", b"{\"a\":", "json").unwrap_err();
    assert!(error.starts_with("table `t`: its columns cannot be told from"), "{error}");
    // Of files that say it themselves: what was written.
    for (options, schema) in formats().into_iter().filter(|(options, _)| !matches!(options[0].1, "csv" | "json")) {
        let folder = self::folder(&[]);
        let table = table(&schema, folder.path(), options);
        put(&table, &[batch(&schema, 3, &mut Random::new(3))]).unwrap();
        let inferred = Filesystem.infer(&table).unwrap();
        for (got, want) in inferred.fields().iter().zip(schema.fields()) {
            assert_eq!(got.name(), want.name());
            if want.data_type().is_primitive() && options[0].1 != "avro" {
                assert_eq!(got.data_type(), want.data_type());
            }
        }
    }
}

#[test]
fn damaged_files_are_errors_that_name_them() {
    for (options, schema) in formats() {
        let folder = folder(&[]);
        let table = table(&schema, folder.path(), options);
        put(&table, &[batch(&schema, 50, &mut Random::new(5))]).unwrap();
        let file = files(folder.path()).remove(0);
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - 5]).unwrap();
        let error = get(&table, &all(&schema)).unwrap_err().to_string();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert!(error.contains(&name) && error.contains("cannot be read"), "{error}");
    }
}

#[test]
fn files_of_other_columns_are_brought_into_the_tables() {
    let written =
        Arc::new(Schema::new(vec![Field::new("ID", DataType::Int32, false), Field::new("name", DataType::Utf8, true)]));
    let columns: Vec<arrow_array::ArrayRef> = vec![
        Arc::new(arrow_array::Int32Array::from(vec![1, 300])),
        Arc::new(arrow_array::StringArray::from(vec!["a", "b"])),
    ];
    let rows = RecordBatch::try_new(written.clone(), columns).unwrap();
    for format in ["parquet", "arrow", "avro"] {
        let folder = folder(&[]);
        put(&table(&written, folder.path(), &[("format", format)]), std::slice::from_ref(&rows)).unwrap();
        let read = |fields: &[(&str, DataType, bool)]| {
            let fields =
                fields.iter().map(|(name, data_type, nullable)| Field::new(*name, data_type.clone(), *nullable));
            let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
            get(&table(&schema, folder.path(), &[("format", format)]), &all(&schema)).map_err(|error| error.to_string())
        };
        let got = read(&[
            ("missing", DataType::Int64, true),
            ("name", DataType::Utf8View, true),
            ("id", DataType::Int64, false),
        ])
        .unwrap();
        assert_eq!(got.column(0).null_count(), 2);
        assert_eq!(got.column(1).as_string_view().value(1), "b");
        assert_eq!(got.column(2).as_primitive::<Int64Type>().values(), &[1, 300]);
        let error = read(&[("missing", DataType::Int64, false)]).unwrap_err();
        assert!(error.contains("there is no column `missing`, which is NOT NULL; there are ID, name"), "{error}");
        let error = read(&[("id", DataType::Int8, true)]).unwrap_err();
        assert!(error.contains("column `id` is INT, not TINYINT"), "{error}");
    }
}

#[test]
fn what_a_failed_job_wrote_is_taken_back() {
    let folder = folder(&[]);
    let rows = || Bundle::from(vec![Rows::from(batch(&ids(), 1_000, &mut Random::new(1)))]);
    let options = [("format", "csv"), ("sink.rolling-policy.file-size", "1kb")];
    let mut sink = Filesystem.sink(&table(&ids(), folder.path(), &options)).unwrap();
    run(move || async move {
        for _ in 0..3 {
            sink.write(rows()).await.unwrap();
        }
        sink.abort();
    });
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
    // Twice into one folder: the second run adds to the first one's files.
    for runs in 1..3 {
        put(
            &table(&ids(), folder.path(), &options),
            &[batch(&ids(), 1_000, &mut Random::new(1)), batch(&ids(), 1_000, &mut Random::new(2))],
        )
        .unwrap();
        assert_eq!(files(folder.path()).len(), 2 * runs);
        assert_eq!(get(&table(&ids(), folder.path(), &options), &all(&ids())).unwrap().num_rows(), 2_000 * runs);
    }
}

#[test]
fn one_file_is_written_even_without_rows() {
    let folder = folder(&[]);
    let path = folder.path().join("out.csv.gz");
    let table = table(&ids(), &path, &[("format", "csv"), ("csv.header", "true")]);
    put(&table, &[]).unwrap();
    assert_eq!(files(folder.path()), [path]);
    assert_eq!(get(&table, &all(&ids())).unwrap().num_rows(), 0);
}

#[test]
fn a_job_reads_and_writes_tables() {
    let folder = folder(&[]);
    let from = folder.path().join("from");
    let schema = ids();
    let text: String =
        (0..5_000).map(|at| if at % 1_000 == 7 { "x\n".to_owned() } else { format!("{at}\n") }).collect();
    std::fs::create_dir_all(&from).unwrap();
    std::fs::write(from.join("a.csv"), &text).unwrap();
    std::fs::write(from.join("b.csv"), &text).unwrap();
    let job = Job::new("copy");
    let mut source =
        job.source("from", Filesystem.source(&table(&schema, &from, &[("format", "csv")]), &all(&schema)).unwrap());
    let (letters, rejected) = Collect::new();
    source.dead_letters().sink("rejected", letters);
    let to = table(&schema, &folder.path().join("to"), &[("format", "parquet")]);
    source.stream().sink("to", Filesystem.sink(&to).unwrap());
    job.run().unwrap();
    let mut rejected = rejected.take();
    rejected.sort_by_key(|letter| (letter.origin.clone(), letter.line));
    assert_eq!(rejected.len(), 10);
    assert_eq!(
        rejected[0].to_string(),
        format!("{}:8: field `id`: \"x\" is not a BIGINT", from.join("a.csv").display())
    );
    let got = in_order(&get(&to, &all(&schema)).unwrap());
    let want: Vec<i64> = (0..5_000).filter(|at| at % 1_000 != 7).flat_map(|at| [at, at]).collect();
    assert_eq!(ids_of(&got), want);
}
