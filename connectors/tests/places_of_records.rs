//! Sources of records that go on from where others stood: together they give what one gives that is not disturbed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;
mod tables;

#[path = "support/batches.rs"]
mod batches;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::{DataType, Field, Schema};
use batches::Random;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use support::{All, append, put, read_on, read_parts, run};
use tempfile::TempDir;
use updraft_connectors::files::{Begin, FileSource};
use updraft_connectors::format::{Format, Lines};
use updraft_connectors::table::{datagen::Datagen, nexmark::Nexmark as NexmarkTable};
use updraft_connectors::{Files, Generator, Memory, Nexmark};
use updraft_dataflow::connector::{AnySource, Connector, Scan};
use updraft_dataflow::{Partition, Place, Source, Time};
use updraft_kernel::clock;

/// What `source` gives with breaks is what it gives at one go.
fn check<S: Source<Item: PartialEq + Debug>>(source: impl Fn() -> S + Send + 'static, limit: usize, seed: u64) {
    let want = read_parts(source(), limit).unwrap();
    let mut random = Random::new(seed);
    let times = 1 + random.below(3) as usize;
    let got = run(move || async move { read_on(source, limit, times, |most| random.below(most)).await });
    assert_eq!(got.unwrap(), want);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Visit {
    id: u64,
    note: String,
}

fn text(format: &str, random: &mut Random) -> Vec<u8> {
    let mut text = if random.below(3) == 0 { b"\xEF\xBB\xBF".to_vec() } else { Vec::new() };
    if random.below(4) == 0 {
        text.extend(b"longer than a line may be, as nobody would expect of a header, but in front of it\n\n".repeat(2));
    }
    if format == "csv" {
        text.extend(b"note,id\r\n");
    }
    for id in 0..random.below(60) {
        let long = "x".repeat(random.below(30) as usize);
        let note = ["plain", "\"quoted, with\na newline\"", &long][random.below(3) as usize];
        let line = match (format, random.below(12)) {
            (_, 0) => String::new(),
            (_, 1) => "bad".to_owned(),
            (_, 2) => "y".repeat(100),
            (_, 3) => "1,\"open".to_owned(),
            ("json", _) => format!("{{\"id\":{id},\"note\":\"{long}\"}}"),
            _ => format!("{note},{id}"),
        };
        text.extend(line.as_bytes());
        text.extend(if random.below(5) == 0 { &b"\r\n"[..] } else { b"\n" });
    }
    if random.below(3) == 0 {
        text.extend(b"the last one,9");
    }
    text
}

fn fill(folder: &Path, format: &str, random: &mut Random) -> Files {
    for file in 0..1 + random.below(5) {
        let extension = ["", ".gz", ".zst", ".bz2", ".xz"][random.below(5) as usize];
        let path = folder.join(format!("{file}{extension}"));
        put(&path, &[&text(format, random), &text("", random)]);
        if random.below(4) == 0 {
            // Compressed, though its name does not say so.
            std::fs::rename(&path, folder.join(format!("{file}.log"))).unwrap();
        }
    }
    let partitions = 1 + random.below(3) as usize;
    Files::glob(folder.join("*").display().to_string()).partitions(partitions).max_line(70)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn files_are_read_on(seed in any::<u64>(), limit in 1usize..12) {
        let (folder, mut random) = (TempDir::new().unwrap(), Random::new(seed));
        match random.below(3) {
            0 => {
                let files = fill(folder.path(), "csv", &mut random);
                check(move || files.clone().csv::<Visit>(), limit, seed);
            }
            1 => {
                let files = fill(folder.path(), "json", &mut random);
                check(move || files.clone().json::<Visit>(), limit, seed);
            }
            _ => {
                let files = fill(folder.path(), "", &mut random);
                check(move || files.clone().lines(), limit, seed);
            }
        }
    }

    #[test]
    fn what_is_made_up_is_made_up_on(seed in any::<u64>(), limit in 1usize..90, partitions in 1usize..4) {
        check(move || Generator::new(|i| i * 7).count(200).partitions(partitions), limit, seed);
        check(move || Memory::new(Vec::from_iter(0..100)).partitions(partitions).repeat(3), limit, seed);
        check(move || Nexmark::new().count(700).out_of_order(30).partitions(partitions), limit, seed);
        let late = Nexmark::new().count(700).disorder(0.3, Duration::from_millis(2));
        check(move || late.clone().partitions(partitions).bids(), limit, seed);
        let parallelism = partitions.to_string();
        let of = move |connector: &dyn Connector, schema: Schema, options: &[(&str, &str)]| -> AnySource {
            let options = [options, &[("scan.parallelism", &parallelism)]].concat();
            let table = tables::table(Arc::new(schema), &options);
            connector.source(&table, &Scan { batch: limit, ..tables::scan(&table) }).unwrap()
        };
        let fields = [("a", DataType::Int64), ("b", DataType::Utf8View), ("c", DataType::Float64)];
        let schema = Schema::new(fields.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec());
        let datagen = [("fields.a.kind", "sequence"), ("fields.a.start", "5"), ("fields.a.end", "3000"), ("rows-per-second", "1e9")];
        let make = of.clone();
        check_rows(move || make(&Datagen, schema.clone(), &datagen), seed);
        let schema = NexmarkTable.infer(&tables::table(Arc::new(Schema::empty()), &[])).unwrap().as_ref().clone();
        check_rows(move || of(&NexmarkTable, schema.clone(), &[("events.num", "300")]), seed);
    }
}

fn check_rows(source: impl Fn() -> AnySource + Send + 'static, seed: u64) {
    let rows = |part: &All<updraft_dataflow::Rows>| -> Vec<String> {
        part.records.iter().flat_map(|rows| tables::lines(rows.batch())).collect()
    };
    let want: Vec<_> = read_parts(source(), 1).unwrap().iter().map(rows).collect();
    let mut random = Random::new(seed);
    let got = run(move || async move { read_on(source, 1, 2, |most| random.below(most)).await }).unwrap();
    assert_eq!(got.iter().map(rows).collect::<Vec<_>>(), want);
}

#[test]
fn event_time_that_follows_the_calendar_does_so_after_a_pause() {
    let nexmark = || Nexmark::new().rate(1_000.0).without_text();
    let time = run(move || async move {
        let mut partition = nexmark().open().unwrap().remove(0);
        for _ in 0..3 {
            partition.next(20).await.unwrap().unwrap();
        }
        let place = partition.place().unwrap();
        clock::sleep(Duration::from_millis(1_500)).await;
        let mut partition = nexmark().resume(vec![Some(place)]).unwrap().remove(0);
        let first = partition.next(20).await.unwrap().unwrap().records.into_vec()[0].time();
        (Time(0) + clock::wall()).0 - first.0
    });
    assert!((0..1_000_000).contains(&time), "{time}");
}

const POLL: Duration = Duration::from_millis(1);

fn follow(folder: &TempDir) -> FileSource<Lines> {
    Files::glob(folder.path().join("*.log*").display().to_string()).follow(Begin::Start).poll_every(POLL).lines()
}

/// The next records, as many as come within some time; and where it stands then.
fn take<F: Format<Item: Clone>>(source: FileSource<F>, place: Option<Place>, limit: usize) -> (Vec<F::Item>, Place) {
    run(move || async move {
        let partitions = if let Some(place) = place { source.resume(vec![Some(place)]) } else { source.open() };
        let (mut partition, mut records) = (partitions.unwrap().remove(0), Vec::new());
        while records.len() < limit
            && let Some(batch) = clock::timeout(60 * POLL, partition.next(1)).await
        {
            records.extend(batch.unwrap().unwrap().records.into_vec());
        }
        (records, partition.place().unwrap())
    })
}

fn write(folder: &TempDir, name: &str, text: &str) {
    append(&folder.path().join(name), text.as_bytes());
}

fn rename(folder: &TempDir, from: &str, to: &str) {
    std::fs::rename(folder.path().join(from), folder.path().join(to)).unwrap();
}

#[test]
fn a_file_that_was_renamed_meanwhile_is_read_to_its_end_before_the_new_one() {
    for rotated in ["a.log.1", "elsewhere"] {
        let folder = TempDir::new().unwrap();
        write(&folder, "a.log", "1\n2\n3\n4");
        let (records, place) = take(follow(&folder), None, 2);
        assert_eq!(records, ["1", "2"]);
        write(&folder, "a.log", "\n5\n");
        rename(&folder, "a.log", rotated);
        write(&folder, "a.log", "6\n7\n");
        let (records, place) = take(follow(&folder), Some(place), 9);
        assert_eq!(records, ["3", "4", "5", "6", "7"]);
        write(&folder, "a.log", "8\n");
        assert_eq!(take(follow(&folder), Some(place), 9).0, ["8"]);
    }
}

#[test]
fn a_file_that_is_gone_is_left_out_and_a_new_one_of_its_name_is_read() {
    let folder = TempDir::new().unwrap();
    write(&folder, "a.log", "1\n2\n3\n");
    write(&folder, "b.log", "4\n");
    let (records, place) = take(follow(&folder), None, 2);
    assert_eq!(records.len(), 2);
    // It may get the inode of the one that was there.
    std::fs::remove_file(folder.path().join("a.log")).unwrap();
    write(&folder, "a.log", "new 1\nnew 2\nnew 3\n");
    let mut rest = take(follow(&folder), Some(place), 9).0;
    rest.retain(|line| line.starts_with("new"));
    assert_eq!(rest, ["new 1", "new 2", "new 3"]);
}

#[test]
fn a_file_that_has_become_shorter_is_read_anew() {
    let folder = TempDir::new().unwrap();
    write(&folder, "a.log", "1\n2\n3\n");
    let place = take(follow(&folder), None, 2).1;
    std::fs::write(folder.path().join("a.log"), "4\n").unwrap();
    assert_eq!(take(follow(&folder), Some(place.clone()), 9).0, ["4"]);
    // Longer again, but another one.
    std::fs::write(folder.path().join("a.log"), "5\n6\n7\n8\n").unwrap();
    assert_eq!(take(follow(&folder), Some(place), 9).0, ["5", "6", "7", "8"]);
}

#[test]
fn what_was_begun_at_the_end_or_with_a_header_goes_on() {
    let folder = TempDir::new().unwrap();
    write(&folder, "a.log", "note,id\nold,0\n");
    put(&folder.path().join("a.log.1.gz"), &[b"note,id\nolder,0\n"]);
    let source = |from| {
        let files = Files::glob(folder.path().join("*.log*").display().to_string()).follow(from).poll_every(POLL);
        files.csv::<Visit>()
    };
    let visit = |id, note: &str| Visit { id, note: note.to_owned() };
    let place = take(source(Begin::End), None, 0).1;
    write(&folder, "a.log", "one,1\ntwo,2\n");
    let (records, place) = take(source(Begin::End), Some(place), 1);
    assert_eq!(records, [visit(1, "one")]);
    assert_eq!(take(source(Begin::End), Some(place), 9).0, [visit(2, "two")]);
    let (records, place) = take(source(Begin::Start), None, 1);
    assert_eq!(records, [visit(0, "older")]);
    let rest = [visit(0, "old"), visit(1, "one"), visit(2, "two")];
    assert_eq!(take(source(Begin::Start), Some(place), 9).0, rest);
}

#[test]
fn a_file_that_is_shorter_or_gone_is_an_error_that_names_it() {
    for name in ["t.csv", "t.csv.gz"] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(name);
        let rest = |place: Place| {
            let source = Files::path(&path).lines();
            let next = run(move || async move { source.resume(vec![Some(place)])?.remove(0).next(1).await });
            next.unwrap_err().to_string()
        };
        put(&path, &[b"1\n2\n3\n"]);
        let place = take_bounded(Files::path(&path).lines(), 2);
        put(&path, &[b"1"]);
        let error = rest(place.clone());
        assert!(error.contains(&format!("{name}: is to be read on from byte 4, but is shorter: put")), "{error}");
        std::fs::remove_file(&path).unwrap();
        let error = rest(place);
        assert!(error.contains(&format!("{name}: cannot be read: ")), "{error}");
    }
}

fn take_bounded(source: FileSource<Lines>, batches: usize) -> Place {
    run(move || async move {
        let mut partition = source.open().unwrap().remove(0);
        for _ in 0..batches {
            partition.next(1).await.unwrap().unwrap();
        }
        partition.place().unwrap()
    })
}
