//! Sinks, and that what they write can be read again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use support::{read, run, write};
use updraft_connectors::{Blackhole, Channel, Collect, DeadLetters, FileSink, Files};
use updraft_dataflow::{Bundle, DeadLetter, Epoch, Punctuation, Sink, Time};
use updraft_kernel::clock;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Visit {
    path: String,
    count: u64,
    share: f64,
    note: Option<String>,
}

fn visits(n: u64) -> Vec<Visit> {
    let note = |i: u64| [None, Some("two\nlines, \"quoted\"".to_owned())][(i % 2) as usize].clone();
    (0..n).map(|i| Visit { path: format!("/{i}"), count: i, share: i as f64 / 8.0, note: note(i) }).collect()
}

#[test]
fn files_round_trip_in_all_formats_and_compressions() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["", ".gz", ".zst"] {
        let path = folder.path().join(format!("out{extension}"));
        let bundles = || visits(20_000).chunks(999).map(<[_]>::to_vec).collect();
        write(FileSink::csv(&path), bundles()).unwrap();
        assert_eq!(read(Files::path(&path).csv::<Visit>(), 100).unwrap().records, visits(20_000));
        write(FileSink::json(&path), bundles()).unwrap();
        assert_eq!(read(Files::path(&path).json::<Visit>(), 100).unwrap().records, visits(20_000));
        let size = std::fs::metadata(&path).unwrap().len();
        assert_eq!(size < 500_000, !extension.is_empty(), "{extension}: {size} bytes");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "only whole files are left");
}

#[test]
fn a_file_appears_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.csv");
    let there = path.clone();
    run(move || async move {
        let mut sink = FileSink::csv(&there);
        sink.write(Bundle::from(visits(100_000))).await.unwrap();
        assert!(!there.exists());
        Sink::<Visit>::close(&mut sink).await.unwrap();
        assert!(there.exists());
    });
    write(FileSink::csv(&path), Vec::<Vec<Visit>>::new()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"");
}

#[test]
fn a_file_that_cannot_be_written_is_named_with_a_remedy() {
    let error = write(FileSink::csv("/nowhere/out.csv"), vec![visits(1)]).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/out.csv: cannot be written") && error.contains("check"), "{error}");
}

#[test]
fn collect_gathers_and_blackhole_counts() {
    let (sink, collected) = Collect::new();
    write(sink, vec![vec![1, 2], vec![3]]).unwrap();
    assert_eq!((collected.len(), collected.take(), collected.is_empty()), (3, vec![1, 2, 3], true));

    let (mut sink, counts) = Blackhole::new();
    run(move || async move {
        sink.write(Bundle::from(vec![1u64, 2])).await.unwrap();
        let punctuation = Punctuation { epoch: Epoch(0), watermark: Time(5), now: Time(9) };
        Sink::<u64>::complete(&mut sink, punctuation).await.unwrap();
    });
    assert_eq!((counts.records(), counts.bytes(), counts.epochs(), counts.watermark()), (2, 16, 1, Time(5)));
}

#[test]
fn a_channel_waits_for_its_reader_and_ends_with_it() {
    run(|| async {
        let (mut sink, mut receiver) = Channel::bounded(1);
        sink.write(Bundle::from(vec![1])).await.unwrap();
        let full = clock::timeout(Duration::from_millis(20), sink.write(Bundle::from(vec![2]))).await;
        assert!(full.is_none(), "the channel has room for one");
        assert_eq!(receiver.recv().await.unwrap().into_vec(), [1]);
        drop(receiver);
        let error = sink.write(Bundle::from(vec![3])).await.unwrap_err().to_string();
        assert!(error.contains("keep it"), "{error}");
    });
}

#[test]
fn dead_letters_are_legible_and_lossless() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dead.jsonl");
    let letter = |line, bytes: &[u8]| DeadLetter {
        origin: Arc::from("a.csv"),
        line,
        bytes: bytes.to_vec(),
        reason: "field `n`: no number".into(),
    };
    write(DeadLetters::append(&path), vec![vec![letter(1, b"x,\"y\"")]]).unwrap();
    write(DeadLetters::append(&path), vec![vec![letter(2, b"\\\xFF")]]).unwrap();
    let want = r#"{"origin":"a.csv","line":1,"reason":"field `n`: no number","text":"x,\"y\""}
{"origin":"a.csv","line":2,"reason":"field `n`: no number","escaped":"\\\\\\xff"}
"#;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), want);
}
