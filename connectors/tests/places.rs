//! Sources of tables that go on from where others stood: together they give what one gives that is not disturbed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;
mod tables;

#[path = "support/batches.rs"]
mod batches;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_select::concat::concat_batches;
use batches::{Random, batch, nested, scalars};
use proptest::prelude::*;
use support::{All, put, read_on, read_parts, run, write};
use tempfile::TempDir;
use updraft_connectors::Filesystem;
use updraft_dataflow::connector::{AnySource, Connector, Scan, Table};
use updraft_dataflow::{DeadLetter, Error, Partition, Rows, Source};

fn table(schema: &SchemaRef, path: &Path, options: &[(&str, &str)]) -> Table {
    let options = [options, &[("path", path.to_str().unwrap())]].concat();
    let table = tables::bounded(tables::table(schema.clone(), &options));
    table.options.check("'filesystem'", &Filesystem.options()).unwrap();
    table
}

fn source(table: &Table, rows: usize) -> AnySource {
    Filesystem.source(table, &Scan { batch: rows, ..tables::scan(table) }).unwrap()
}

/// Rows as text, and what was wrong.
fn told(schema: &SchemaRef, parts: Vec<All<Rows>>) -> Vec<(Vec<String>, Vec<DeadLetter>)> {
    let rows = |records: &[Rows]| tables::lines(&concat_batches(schema, records.iter().map(Rows::batch)).unwrap());
    parts.into_iter().map(|part| (rows(&part.records), part.rejected)).collect()
}

/// Reads a table at one go and with breaks.
fn check(table: &Table, rows: usize, seed: u64) {
    let schema = table.schema.clone();
    let want = told(&schema, read_parts(source(table, rows), usize::MAX).unwrap());
    let (mut random, table) = (Random::new(seed), table.clone());
    let times = 1 + random.below(3) as usize;
    let got =
        run(
            move || async move { read_on(|| source(&table, rows), usize::MAX, times, |most| random.below(most)).await },
        );
    assert_eq!(told(&schema, got.unwrap()), want);
}

fn ids() -> SchemaRef {
    let fields = [("id", DataType::Int64), ("text", DataType::Utf8View)];
    Arc::new(Schema::new(fields.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec()))
}

/// Records, bad ones among them.
fn text(format: &str, header: bool, random: &mut Random) -> Vec<u8> {
    let mut text = if random.below(3) == 0 { b"\xEF\xBB\xBF".to_vec() } else { Vec::new() };
    if random.below(3) == 0 {
        text.extend(b"\n\n");
    }
    if header {
        text.extend(if random.below(2) == 0 { &b"other,text,id\n"[..] } else { b"id,text\r\n" });
    }
    let moved = text.windows(5).any(|bytes| bytes == b"other");
    for id in 0..random.below(60) {
        let long = "x".repeat(random.below(40) as usize);
        let field = ["plain", "\"quoted, with\na newline and \"\"quotes\"\"\"", &long, ""][random.below(4) as usize];
        let line = match (format, random.below(12)) {
            (_, 0) => String::new(),
            (_, 1) => "bad".to_owned(),
            (_, 2) => "y".repeat(100),
            (_, 3) if format == "csv" => "1,\"open".to_owned(),
            ("json", _) => format!("{{\"id\":{id},\"text\":\"{long}\"}}"),
            (_, _) if moved => format!("-,{field},{id}"),
            _ => format!("{id},{field}"),
        };
        text.extend(line.as_bytes());
        text.extend(if random.below(5) == 0 { &b"\r\n"[..] } else { b"\n" });
    }
    if random.below(3) == 0 {
        text.extend(b"9,the last one");
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn text_is_read_on(seed in any::<u64>(), rows in 1usize..12) {
        let (folder, mut random) = (TempDir::new().unwrap(), Random::new(seed));
        let format = ["csv", "json", "raw"][random.below(3) as usize];
        let header = format == "csv" && random.below(2) == 0;
        for file in 0..1 + random.below(5) {
            let extension = ["", ".gz", ".zst", ".bz2", ".xz"][random.below(5) as usize];
            let (one, other) = (text(format, header, &mut random), text(format, false, &mut random));
            let path = folder.path().join(format!("{file}.{format}{extension}"));
            put(&path, &[&one[..], &other]);
            if random.below(4) == 0 {
                // Compressed, though its name does not say so.
                std::fs::rename(&path, folder.path().join(format!("{file}.log"))).unwrap();
            }
        }
        let schema = if format == "raw" { tables::raw() } else { ids() };
        let partitions = ["1", "3", "8"][random.below(3) as usize];
        let options = [("format", format), ("source.partitions", partitions), ("max-record", "80")];
        check(&table(&schema, folder.path(), &options), rows, seed);
    }

    #[test]
    fn shares_of_a_file_are_read_on(seed in any::<u64>(), rows in 1usize..12) {
        let (folder, mut random) = (TempDir::new().unwrap(), Random::new(seed));
        let format = ["csv", "json"][random.below(2) as usize];
        let header = format == "csv" && random.below(2) == 0;
        std::fs::write(folder.path().join("t"), text(format, header, &mut random)).unwrap();
        let size = ["1", "30", "100", "1000"][random.below(4) as usize];
        let lines = ("csv.quoted-newlines", "false");
        let options = [("format", format), ("source.split-size", size), lines, ("max-record", "80")];
        check(&table(&ids(), folder.path(), &options), rows, seed);
    }

    #[test]
    fn blocks_are_read_on(seed in any::<u64>(), rows in 1usize..12) {
        let (folder, mut random) = (TempDir::new().unwrap(), Random::new(seed));
        let format = ["parquet", "arrow", "avro"][random.below(3) as usize];
        // Avro has no timestamps of seconds.
        let types = scalars().into_iter().chain(nested());
        let types = types.filter(|data_type| !matches!(data_type, DataType::Timestamp(TimeUnit::Second, _)));
        let schema = batches::schema(types);
        let partitions = ["1", "2", "8"][random.below(3) as usize];
        let options = [("format", format), ("parquet.block.size", "1"), ("source.partitions", partitions)];
        let files = table(&schema, folder.path(), &options);
        for _ in 0..1 + random.below(3) {
            let batches = (0..1 + random.below(6)).map(|_| batch(&schema, random.below(30) as usize, &mut random));
            let bundles = batches.map(|batch| vec![Rows::from(batch)]).collect();
            write(Filesystem.sink(&files).unwrap(), bundles).unwrap();
        }
        check(&files, rows, seed);
    }
}

/// Drives the only partition of `table` to after `batches`, and tells where it stands.
fn place(table: &Table, batches: usize) -> serde_json::Value {
    let mut partition = source(table, 1).open().unwrap().remove(0);
    run(move || async move {
        for _ in 0..batches {
            partition.next(1).await.unwrap().unwrap();
        }
        partition.place().unwrap()
    })
}

/// What one gives that goes on from a place; `None`: it does not end.
fn rest(table: &Table, place: serde_json::Value) -> Result<Vec<String>, Error> {
    let (schema, source) = (table.schema.clone(), source(table, 1));
    run(move || async move {
        let mut partition = source.resume(vec![Some(place)])?.remove(0);
        let mut all = All::default();
        let patience = updraft_kernel::clock::now() + Duration::from_millis(200);
        loop {
            tokio::select! {
                batch = partition.next(1) => match batch? {
                    Some(batch) => all.add(batch),
                    None => break,
                },
                () = updraft_kernel::clock::sleep_until(patience) => break,
            }
        }
        Ok(told(&schema, vec![all]).remove(0).0)
    })
}

#[test]
fn what_comes_after_the_place_was_told_is_left_to_those_who_look_for_it() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    file("b", "id,text\n1,one\n2,two\n");
    file("c", "3,three\n");
    let bounded = table(&ids(), folder.path(), &[("format", "csv"), ("source.partitions", "1")]);
    let watched = Table {
        bounded: false,
        ..table(&ids(), folder.path(), &[("format", "csv"), ("source.monitor-interval", "5ms")])
    };
    let (at_end, of_watched) = (place(&bounded, 1), place(&watched, 1));
    file("a", "4,four\n");
    assert_eq!(rest(&bounded, at_end).unwrap(), ["2|two|", "3|three|"]);
    assert_eq!(rest(&watched, of_watched).unwrap(), ["2|two|", "3|three|", "4|four|"]);
    let error = rest(&bounded, place(&watched, 1)).unwrap_err().to_string();
    assert!(error.contains("was looked at for new files: set 'source.monitor-interval'"), "{error}");
}

#[test]
fn a_file_that_is_shorter_or_gone_is_an_error_that_names_it() {
    let folder = TempDir::new().unwrap();
    for name in ["t.csv", "t.csv.gz"] {
        let path = folder.path().join(name);
        put(&path, &[b"1,one\n2,two\n"]);
        let table = table(&ids(), &path, &[("format", "csv")]);
        let place = place(&table, 1);
        put(&path, &[b"1"]);
        let error = rest(&table, place.clone()).unwrap_err().to_string();
        assert!(error.contains(&format!("{name}: is to be read on from byte 6, but is shorter: put")), "{error}");
        std::fs::remove_file(&path).unwrap();
        let error = rest(&table, place).unwrap_err().to_string();
        assert!(error.contains(&format!("{name}: cannot be read: ")), "{error}");
    }
}

/// Text is not read from its beginning: that is not there any more.
#[test]
fn text_that_is_not_compressed_is_read_from_where_it_goes_on() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("t.csv");
    std::fs::write(&path, "text,id\none,1\ntwo,2\nbad,x\n").unwrap();
    let table = table(&ids(), &path, &[("format", "csv")]);
    let place = place(&table, 1);
    std::fs::write(&path, "-------\n-----\ntwo,2\nbad,x\n").unwrap();
    assert_eq!(rest(&table, place.clone()).unwrap(), ["2|two|"]);
    let source = source(&table, 1);
    let letter = run(move || async move {
        let mut partition = source.resume(vec![Some(place)]).unwrap().remove(0);
        partition.next(1).await.unwrap().unwrap();
        partition.next(1).await.unwrap().unwrap().rejected.remove(0)
    });
    assert!(letter.to_string().contains("t.csv:4: field `id`"), "{letter}");
}
