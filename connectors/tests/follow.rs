//! Files that grow, are renamed, truncated and joined by new ones while they are read.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::{append, put, run};
use tempfile::TempDir;
use updraft_connectors::Files;
use updraft_connectors::files::{Begin, FileSource};
use updraft_connectors::format::{Format, Lines};
use updraft_dataflow::{DeadLetter, Partition, Source};
use updraft_kernel::clock;

/// Looks at the files; the folder is looked at ten times less often.
const POLL: Duration = Duration::from_millis(1);

fn follow(folder: &TempDir, from: Begin) -> FileSource<Lines> {
    options(folder, from).lines()
}

fn options(folder: &TempDir, from: Begin) -> Files {
    Files::glob(folder.path().join("*.log*").display().to_string()).follow(from).poll_every(POLL)
}

/// Follows a folder while `script` works on it: its steps say what to do, and which records must come of it.
struct Follower<F: Format> {
    partition: <FileSource<F> as Source>::Partition,
    rejected: Vec<DeadLetter>,
}

impl<F: Format<Item: PartialEq + std::fmt::Debug>> Follower<F> {
    fn new(source: FileSource<F>) -> Self {
        Self { partition: source.open().unwrap().remove(0), rejected: Vec::new() }
    }

    /// The next records are `want`, in any order, since files are taken in turn.
    async fn expect<W>(&mut self, want: &[W])
    where
        F::Item: PartialEq<W>,
        W: std::fmt::Debug,
    {
        let mut got = Vec::new();
        while got.len() < want.len() {
            let batch = clock::timeout(Duration::from_secs(10), self.partition.next(100)).await;
            let batch = batch.unwrap_or_else(|| panic!("{got:?} is all that came of {want:?}")).unwrap().unwrap();
            got.extend(batch.records.into_vec());
            self.rejected.extend(batch.rejected);
        }
        assert!(got.len() == want.len() && want.iter().all(|w| got.iter().any(|g| g == w)), "{got:?}, not {want:?}");
    }

    /// Nothing comes for longer than it takes to look around.
    async fn expect_nothing(&mut self) {
        let next = clock::timeout(40 * POLL, self.partition.next(100)).await;
        assert!(next.is_none(), "{:?} came", next.map(|batch| batch.unwrap().unwrap().records));
    }
}

fn log(folder: &TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}

fn new_folder(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = log(&folder, "a.log");
    append(&path, text.as_bytes());
    (folder, path)
}

#[test]
fn begins_at_the_start_or_after_the_last_line() {
    run(|| async {
        let (folder, path) = new_folder("1\n2\n3");
        let mut start = Follower::new(follow(&folder, Begin::Start));
        let mut end = Follower::new(follow(&folder, Begin::End));
        start.expect(&["1", "2"]).await;
        end.expect_nothing().await;
        append(&path, b"3\n4\n");
        start.expect(&["33", "4"]).await;
        end.expect(&["33", "4"]).await;
    });
}

#[test]
fn begins_at_the_end_of_a_line_too_long_to_look_back() {
    run(|| async {
        let (folder, path) = new_folder(&"x".repeat(100_000));
        let mut end = Follower::new(follow(&folder, Begin::End));
        end.expect_nothing().await;
        append(&path, b"xxx\nnext\n");
        end.expect(&["next"]).await;
    });
}

#[test]
fn a_partial_line_waits_for_its_end() {
    run(|| async {
        let (folder, path) = new_folder("1\nha");
        let mut follower = Follower::new(follow(&folder, Begin::Start));
        follower.expect(&["1"]).await;
        follower.expect_nothing().await;
        append(&path, b"lf\r");
        follower.expect_nothing().await;
        append(&path, b"\n");
        follower.expect(&["half"]).await;
    });
}

#[test]
fn rotation_by_rename_loses_and_repeats_nothing() {
    run(|| async {
        let (folder, path) = new_folder("1\n");
        let mut follower = Follower::new(follow(&folder, Begin::Start));
        follower.expect(&["1"]).await;
        // The renamed file still matches the pattern, and its writer has not noticed yet.
        fs::rename(&path, log(&folder, "a.log.1")).unwrap();
        append(&path, b"3\n");
        append(&log(&folder, "a.log.1"), b"2\n");
        follower.expect(&["2", "3"]).await;
        append(&log(&folder, "a.log.1"), b"2b\n");
        follower.expect(&["2b"]).await;
        append(&path, b"4\n");
        follower.expect(&["4"]).await;
        follower.expect_nothing().await;
    });
}

#[test]
fn a_file_that_is_gone_is_read_to_its_end() {
    run(|| async {
        let (folder, path) = new_folder("1\n");
        let mut follower = Follower::new(follow(&folder, Begin::Start));
        follower.expect(&["1"]).await;
        fs::rename(&path, log(&folder, "old")).unwrap();
        append(&log(&folder, "old"), b"2\nno newline");
        append(&path, b"3\n");
        follower.expect(&["2", "3"]).await;
        // Only when it has been silent for long is its last line taken as it is.
        follower.expect(&["no newline"]).await;
        append(&log(&folder, "old"), b"too late\n");
        follower.expect_nothing().await;
    });
}

#[test]
fn rotation_by_copy_and_truncate_begins_anew() {
    run(|| async {
        let (folder, path) = new_folder("1\n2\npart");
        let mut follower = Follower::new(follow(&folder, Begin::Start));
        follower.expect(&["1", "2"]).await;
        follower.expect_nothing().await;
        fs::copy(&path, log(&folder, "copy")).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        follower.expect::<&str>(&[]).await;
        while follower.rejected.is_empty() {
            let batch = follower.partition.next(10).await.unwrap().unwrap();
            follower.rejected.extend(batch.rejected);
        }
        assert_eq!((follower.rejected[0].line, &*follower.rejected[0].bytes), (3, &b"part"[..]));
        append(&path, b"3\n");
        follower.expect(&["3"]).await;
    });
}

#[test]
fn new_files_are_read_from_their_start_and_compressed_ones_are_history() {
    run(|| async {
        let (folder, path) = new_folder("1\n");
        put_packed(&log(&folder, "a.log.2.gz"), b"0\n").await;
        let mut start = Follower::new(follow(&folder, Begin::Start));
        let mut end = Follower::new(follow(&folder, Begin::End));
        start.expect(&["0", "1"]).await;
        end.expect_nothing().await;
        append(&log(&folder, "b.log"), b"2\n");
        fs::rename(log(&folder, "a.log.2.gz"), log(&folder, "a.log.3.gz")).unwrap();
        start.expect(&["2"]).await;
        end.expect(&["2"]).await;
        fs::remove_file(&path).unwrap();
        start.expect_nothing().await;
    });
}

async fn put_packed(path: &Path, text: &[u8]) {
    let (path, text) = (path.to_owned(), text.to_owned());
    std::thread::scope(|scope| scope.spawn(|| put(&path, &[&text])).join().unwrap());
}

#[test]
fn csv_followed_from_the_end_knows_its_header() {
    run(|| async {
        let (folder, path) = new_folder("n,text\n1,old\n");
        let mut follower = Follower::new(options(&folder, Begin::End).csv::<(u8, String)>());
        follower.expect_nothing().await;
        append(&path, b"2,\"new\nline\"\n");
        follower.expect(&[(2, "new\nline".to_owned())]).await;
    });
}

#[test]
fn a_name_that_does_not_exist_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let error = follow(&folder, Begin::Start).open().unwrap_err().to_string();
    assert!(error.contains("no file matches"), "{error}");
}
