//! Large files of lines that several partitions read, and partitions of tables that are told to be complete.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;
mod tables;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use support::{files, read_parts, run};
use tables::lines;
use updraft_connectors::Filesystem;
use updraft_dataflow::connector::{Connector, Table};
use updraft_dataflow::{Bundle, Epoch, Punctuation, Rows, Sink, Time};

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn numbered() -> SchemaRef {
    schema(&[("id", DataType::Int64), ("text", DataType::Utf8View)])
}

fn table(schema: SchemaRef, path: &Path, options: &[(&str, &str)]) -> Table {
    let options = [options, &[("path", path.to_str().unwrap())]].concat();
    let table = tables::bounded(tables::table(schema, &options));
    table.options.check("'filesystem'", &Filesystem.options()).unwrap();
    table
}

/// The rows of each partition, and what was wrong there.
fn parts(table: &Table) -> Vec<(Vec<String>, Vec<String>)> {
    let parts = read_parts(Filesystem.source(table, &tables::scan(table)).unwrap(), 1_000).unwrap();
    let rows = |records: Vec<Rows>| records.iter().flat_map(|rows| lines(rows.batch())).collect();
    let wrong = |letter: updraft_dataflow::DeadLetter| letter.to_string();
    parts.into_iter().map(|part| (rows(part.records), part.rejected.into_iter().map(wrong).collect())).collect()
}

/// Lines of all lengths, some of them empty.
fn text(format: &str, header: bool) -> (String, Vec<String>) {
    let (mut text, mut want) = (String::new(), Vec::new());
    if header {
        text.push_str("text,id\n");
    }
    for id in 0..200 {
        let long = "x".repeat(id * 7 % 40);
        match (format, header) {
            ("json", _) => text.push_str(&format!("{{\"id\":{id},\"text\":\"{long}\"}}\n")),
            (_, true) => text.push_str(&format!("{long},{id}\n")),
            (_, false) => text.push_str(&format!("{id},{long}\r\n")),
        }
        if id % 11 == 0 {
            text.push('\n');
        }
        want.push(format!("{id}|{long}|"));
    }
    (text, want)
}

#[test]
fn each_row_of_a_large_file_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t");
    for (format, header, more) in [
        ("json", false, ("json.ignore-parse-errors", "false")),
        ("csv", true, ("csv.quoted-newlines", "false")),
        ("csv", false, ("csv.disable-quote-character", "true")),
    ] {
        let (text, want) = text(format, header);
        std::fs::write(&path, &text).unwrap();
        for size in ["1", "37", "500", "1000", "100000"] {
            let options = [("format", format), more, ("source.split-size", size), ("source.partitions", "50")];
            let parts = parts(&table(numbered(), &path, &options));
            assert_eq!(parts.len(), text.len().div_ceil(size.parse().unwrap()).min(50), "{size}");
            assert!(parts.iter().all(|(_, wrong)| wrong.is_empty()), "{parts:?}");
            assert_eq!(parts.into_iter().flat_map(|(rows, _)| rows).collect::<Vec<_>>(), want);
        }
    }
}

#[test]
fn files_that_cannot_be_cut_stay_whole() {
    let folder = tempfile::tempdir().unwrap();
    let count = |name: &str, bytes: &[u8], options: &[(&str, &str)]| {
        let path = folder.path().join(name);
        support::put(&path, &[bytes]);
        parts(&table(numbered(), &path, &[&[("source.split-size", "10")], options].concat())).len()
    };
    let (json, _) = text("json", false);
    let (csv, _) = text("csv", false);
    assert_eq!(count("t.json", json.as_bytes(), &[("format", "json")]), 8);
    assert_eq!(count("t.json.gz", json.as_bytes(), &[("format", "json")]), 1);
    std::fs::rename(folder.path().join("t.json.gz"), folder.path().join("packed.json")).unwrap();
    let packed =
        table(numbered(), &folder.path().join("packed.json"), &[("format", "json"), ("source.split-size", "10")]);
    assert_eq!(parts(&packed).len(), 1);
    // A field could hold a newline.
    assert_eq!(count("t.csv", csv.as_bytes(), &[("format", "csv")]), 1);
}

#[test]
fn what_is_wrong_in_a_part_is_named_by_where_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.json");
    std::fs::write(&path, "{\"id\":1}\nbad\n{\"id\":2}\n{\"id\":3}\nworse\n{\"id\":4}\n").unwrap();
    let options = [("format", "json"), ("source.split-size", "25"), ("source.partitions", "2")];
    let wrong: Vec<_> = parts(&table(numbered(), &path, &options)).into_iter().map(|(_, wrong)| wrong).collect();
    let name = path.display().to_string();
    assert!(wrong[0][0].starts_with(&format!("{name}:2: ")), "{wrong:?}");
    assert!(wrong[1][0].starts_with(&format!("{name}, from byte 23:1: ")), "{wrong:?}");
}

#[test]
fn a_newline_is_not_written_where_none_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let options = [("format", "csv"), ("csv.quoted-newlines", "false")];
    let table = table(numbered(), &folder.path().join("t"), &options);
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(vec![1])), Arc::new(StringViewArray::from(vec!["a\nb"]))];
    let rows = Rows::from(RecordBatch::try_new(numbered(), columns).unwrap());
    let error = support::write(Filesystem.sink(&table).unwrap(), vec![vec![rows]]).unwrap_err().to_string();
    assert!(error.contains("'csv.quoted-newlines'"), "{error}");
}

#[test]
fn files_are_compressed_in_all_ways() {
    let folder = tempfile::tempdir().unwrap();
    for (name, extension, magic) in [
        ("gzip", "gz", &b"\x1F\x8B"[..]),
        ("zstd", "zst", b"\x28\xB5"),
        ("bzip2", "bz2", b"BZh"),
        ("xz", "xz", b"\xFD7zXZ"),
    ] {
        let path = folder.path().join(name);
        let table = table(events(), &path, &[("format", "csv"), ("compression", name)]);
        support::write(Filesystem.sink(&table).unwrap(), vec![vec![event("2026-01-02", "10:00", 1)]]).unwrap();
        let file = files(&path).remove(0);
        assert!(file.to_str().unwrap().ends_with(&format!(".csv.{extension}")), "{}", file.display());
        assert!(std::fs::read(&file).unwrap().starts_with(magic));
        // By its name, and by its first bytes.
        for renamed in [format!("t.{extension}"), "t".to_owned()] {
            let path = path.join(renamed);
            std::fs::copy(&file, &path).unwrap();
            let read = self::table(events(), &path, &[("format", "csv")]);
            assert_eq!(lines(&tables::all(&Filesystem, &read)), ["1|2026-01-02|10:00|"]);
        }
    }
}

fn events() -> SchemaRef {
    schema(&[("id", DataType::Int64), ("dt", DataType::Utf8View), ("hm", DataType::Utf8View)])
}

fn event(dt: &str, hm: &str, id: i64) -> Rows {
    let text = |text: &str| -> ArrayRef { Arc::new(StringViewArray::from(vec![text])) };
    RecordBatch::try_new(events(), vec![Arc::new(Int64Array::from(vec![id])), text(dt), text(hm)]).unwrap().into()
}

/// The folders that are complete, and how many files each has.
fn complete(folder: &Path, marker: &str) -> Vec<(String, usize)> {
    let markers = files(folder).into_iter().filter(|file| file.file_name().unwrap() == marker);
    let folders = markers.map(|file| file.parent().unwrap().to_owned());
    let shown = |name: &Path| !name.file_name().unwrap().to_str().unwrap().starts_with(['.', '_']);
    let count =
        |at: &Path| files(at).iter().filter(|file| shown(file) && *file.file_name().unwrap() != *marker).count();
    folders.map(|at| (at.strip_prefix(folder).unwrap().display().to_string(), count(&at))).collect()
}

fn partitioned(folder: &Path, options: &[(&str, &str)]) -> Table {
    let options = [&[("format", "csv"), ("sink.partition-commit.policy.kind", "success-file")], options].concat();
    let mut table = table(events(), folder, &options);
    table.partition_keys = vec![1, 2];
    table.bounded = false;
    table
}

/// 2026-01-02 and so many minutes.
fn minutes(minutes: i64) -> Time {
    Time((1_767_312_000 + minutes * 60) * 1_000_000)
}

fn passed(epoch: u64, watermark: Time) -> Punctuation {
    Punctuation { epoch: Epoch(epoch), watermark, now: Time(0) }
}

#[test]
fn partitions_are_complete_by_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        ("sink.partition-commit.trigger", "partition-time"),
        ("sink.partition-commit.delay", "1 min"),
        ("partition.time-extractor.timestamp-pattern", "$dt $hm:00"),
    ];
    let mut sink = Filesystem.sink(&partitioned(folder.path(), &options)).unwrap();
    let path = folder.path().to_owned();
    run(move || async move {
        let bundle = |rows: &[Rows]| Bundle::from(rows.to_vec());
        let day = "2026-01-02";
        let ten = |files| ("dt=2026-01-02/hm=00%3A10".to_owned(), files);
        let eleven = |files| ("dt=2026-01-02/hm=00%3A11".to_owned(), files);
        sink.write(bundle(&[event(day, "00:10", 1), event(day, "00:11", 2), event(day, "", 3)])).await.unwrap();
        sink.complete(passed(1, Time(minutes(11).0 - 1))).await.unwrap();
        assert_eq!(complete(&path, "_SUCCESS"), []);
        sink.complete(passed(2, minutes(11))).await.unwrap();
        assert_eq!(complete(&path, "_SUCCESS"), [ten(1)]);
        // A late row makes the partition incomplete anew, and it is told again.
        std::fs::remove_file(path.join(ten(1).0).join("_SUCCESS")).unwrap();
        sink.write(bundle(&[event(day, "00:10", 4)])).await.unwrap();
        assert_eq!(complete(&path, "_SUCCESS"), []);
        sink.complete(passed(3, minutes(12))).await.unwrap();
        assert_eq!(complete(&path, "_SUCCESS"), [ten(2), eleven(1)]);
        let error = sink.write(bundle(&[event(day, "noon", 5)])).await.unwrap_err().to_string();
        assert!(
            error.starts_with("partition dt=2026-01-02/hm=noon: its time would be '2026-01-02 noon:00'"),
            "{error}"
        );
        // NULL has no time: it is complete at the end.
        sink.close().await.unwrap();
        assert_eq!(complete(&path, "_SUCCESS").len(), 3);
    });
}

#[test]
fn partitions_are_complete_by_the_clock() {
    let folder = tempfile::tempdir().unwrap();
    let options = [("sink.partition-commit.delay", "50 ms"), ("sink.partition-commit.success-file.name", "done")];
    let mut sink = Filesystem.sink(&partitioned(folder.path(), &options)).unwrap();
    let path = folder.path().to_owned();
    run(move || async move {
        sink.write(Bundle::from(vec![event("a", "b", 1)])).await.unwrap();
        sink.complete(passed(1, Time::MIN)).await.unwrap();
        assert_eq!(complete(&path, "done"), []);
        updraft_kernel::clock::sleep(Duration::from_millis(60)).await;
        sink.complete(passed(2, Time::MIN)).await.unwrap();
        assert_eq!(complete(&path, "done"), [("dt=a/hm=b".to_owned(), 1)]);
        sink.abort();
    });
}

#[test]
fn without_a_delay_partitions_are_complete_with_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let options = [("sink.rolling-policy.rollover-interval", "50 ms")];
    let mut sink = Filesystem.sink(&partitioned(folder.path(), &options)).unwrap();
    let path = folder.path().to_owned();
    run(move || async move {
        sink.write(Bundle::from(vec![event("a", "b", 1)])).await.unwrap();
        sink.complete(passed(1, Time::MIN)).await.unwrap();
        assert_eq!(complete(&path, "_SUCCESS"), []);
        updraft_kernel::clock::sleep(Duration::from_millis(60)).await;
        sink.complete(passed(2, Time::MIN)).await.unwrap();
        assert_eq!(complete(&path, "_SUCCESS"), [("dt=a/hm=b".to_owned(), 1)]);
        sink.abort();
    });
}

#[test]
fn a_job_with_an_end_completes_all_partitions_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = partitioned(folder.path(), &[("sink.partition-commit.trigger", "partition-time")]);
    table.bounded = true;
    let rows = vec![event("2026-01-02", "1", 1), event("2026-01-03", "2", 2)];
    support::write(Filesystem.sink(&table).unwrap(), vec![rows]).unwrap();
    assert_eq!(complete(folder.path(), "_SUCCESS").len(), 2);
    assert_eq!(lines(&tables::all(&Filesystem, &table)).len(), 2);
}

#[test]
fn what_cannot_be_done_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value, want) in [
        ("sink.partition-commit.policy.kind", "metastore,success-file", "there is 'success-file' only"),
        ("sink.partition-commit.policy.class", "a.B", "no classes"),
        ("sink.partition-commit.trigger", "soon", "'process-time' or 'partition-time'"),
        ("sink.partition-commit.delay", "soon", "not a duration"),
        ("sink.partition-commit.success-file.name", "a/b", "not the name of a file"),
        ("partition.time-extractor.class", "a.B", "no classes"),
        ("auto-compaction", "true", "not compacted"),
    ] {
        let mut table = partitioned(folder.path(), &[]);
        table.options.set(name, value);
        let error = Filesystem.sink(&table).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(want), "{error}");
    }
}
