//! Sinks, and that what they write can be read again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use support::{read, run, write};
use updraft_connectors::{Blackhole, Channel, Collect, DeadLetters, FileSink, Files};
use updraft_dataflow::{
    Batch, Bundle, DeadLetter, Epoch, Error, Job, JobError, Partition, Punctuation, Sink, Source, Time,
};
use updraft_kernel::{Runtime, clock};

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

/// How a job ends, once some of its results are in the `.part`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ends {
    Well,
    SourceFails,
    OperatorPanics,
    Cancelled,
    Drained,
}

/// Gives many visits, and then what ends its job, once the `.part` is there.
struct Fateful {
    ends: Ends,
    given: bool,
    part: PathBuf,
}

/// The number of a visit that no operator can bear.
const FATAL: u64 = u64::MAX;

impl Source for Fateful {
    type Item = Visit;
    type Partition = Self;
    fn open(self) -> Result<Vec<Self>, Error> {
        Ok(vec![self])
    }
}

impl Partition for Fateful {
    type Item = Visit;
    async fn next(&mut self, _: usize) -> Result<Option<Batch<Visit>>, Error> {
        if !std::mem::replace(&mut self.given, true) {
            return Ok(Some(visits(20_000).into()));
        }
        while !self.part.exists() {
            clock::sleep(Duration::from_millis(1)).await;
        }
        match self.ends {
            Ends::Well => Ok(None),
            Ends::SourceFails => Err("the source fails".into()),
            Ends::OperatorPanics => Ok(Some(vec![Visit { count: FATAL, ..visits(1).remove(0) }].into())),
            Ends::Cancelled | Ends::Drained => std::future::pending().await,
        }
    }
    fn position(&self) -> String {
        "somewhere".into()
    }
}

/// Runs a job that writes to `path` and ends so.
fn run_to(ends: Ends, path: &Path) -> Result<(), JobError> {
    let runtime = Runtime::builder().kernels(2).pin(false).build().unwrap();
    let part = PathBuf::from(format!("{}.part", path.display()));
    let job = Job::new("fateful");
    job.source("visits", Fateful { ends, given: false, part: part.clone() })
        .stream()
        .map(|visit| if visit.count == FATAL { panic!("a fatal visit") } else { visit })
        .sink("file", FileSink::csv(path));
    let running = job.start(runtime.handle()).unwrap();
    if matches!(ends, Ends::Cancelled | Ends::Drained) {
        while !part.exists() {
            std::thread::yield_now();
        }
        if ends == Ends::Drained { running.drain() } else { running.cancel() }
    }
    runtime.block_on(running.join()).map(drop)
}

#[test]
fn a_job_that_ends_badly_leaves_no_part_of_a_file() {
    for name in ["out.csv", "out.csv.gz"] {
        for ends in [Ends::Well, Ends::Drained, Ends::SourceFails, Ends::OperatorPanics, Ends::Cancelled] {
            let folder = tempfile::tempdir().unwrap();
            let ended = run_to(ends, &folder.path().join(name));
            let ends_well = matches!(ends, Ends::Well | Ends::Drained);
            assert_eq!(ended.is_ok(), ends_well, "{ends:?}: {ended:?}");
            let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            if ends_well {
                assert_eq!(left, [name], "{ends:?}");
                let all = read(Files::path(folder.path().join(name)).csv::<Visit>(), 1_000).unwrap();
                assert_eq!(all.records, visits(20_000));
            } else {
                assert!(left.is_empty(), "{ends:?}: {left:?}");
            }
        }
    }
}

#[test]
fn a_job_that_ends_badly_leaves_the_file_of_the_last_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.csv");
    std::fs::write(&path, "from the last run").unwrap();
    run_to(Ends::SourceFails, &path).unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), b"from the last run");
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
