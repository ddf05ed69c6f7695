//! Sinks in jobs that take checkpoints, and are killed: what can be seen at the end has been written once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;
mod tables;

#[path = "support/batches.rs"]
mod batches;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use batches::Random;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use support::{files, read, run};
use tempfile::TempDir;
use updraft_connectors::{FileSink, Files, Filesystem, memory_store};
use updraft_dataflow::connector::{AnySink, Connector, Table};
use updraft_dataflow::{Bundle, Epoch, Error, Prepared, Punctuation, Rows, Sink, Time};

/// How many rows a job writes.
const ALL: u64 = 60;

/// What may be done beside writing.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Fate {
    /// The process may be killed before its first checkpoint is stored.
    early: bool,
    /// The processes that are replaced are only stopped, and go on.
    stale: bool,
}

/// A process: its sink, and what it has prepared and not committed.
struct Process<S> {
    sink: S,
    prepared: Vec<Prepared>,
}

/// A job with its checkpoints.
struct Job<T, S> {
    make: Box<dyn Fn() -> S>,
    rows: Box<dyn Fn(Range<u64>) -> Vec<T>>,
    process: Process<S>,
    stale: Vec<Process<S>>,
    attempt: u64,
    written: u64,
    /// The last checkpoint that was stored.
    stored: (u64, Vec<Prepared>),
    random: Random,
}

impl<T: Send + Sync + 'static, S: Sink<T>> Job<T, S> {
    async fn start(
        make: Box<dyn Fn() -> S>,
        rows: Box<dyn Fn(Range<u64>) -> Vec<T>>,
        seed: u64,
    ) -> Result<Self, Error> {
        let (process, random) = (Process { sink: make(), prepared: Vec::new() }, Random::new(seed));
        let (stale, stored) = (Vec::new(), (0, Vec::new()));
        let mut job = Self { make, rows, process, stale, attempt: 1, written: 0, stored, random };
        job.process.sink.begin(1, Vec::new()).await?;
        Ok(job)
    }

    async fn write(&mut self, most: u64) -> Result<(), Error> {
        let end = ALL.min(self.written + self.random.below(most));
        let rows = (self.rows)(self.written..end);
        self.written = end;
        if rows.is_empty() { Ok(()) } else { self.process.sink.write(Bundle::from(rows)).await }
    }

    async fn prepare(&mut self, stored: bool) -> Result<(), Error> {
        let prepared = self.process.sink.prepare().await?;
        // As text, as it is kept.
        let prepared: Prepared = serde_json::from_str(&prepared.to_string()).unwrap();
        if stored {
            self.stored = (self.written, vec![prepared.clone()]);
            self.process.prepared.push(prepared);
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), Error> {
        for prepared in std::mem::take(&mut self.process.prepared) {
            for _ in 0..=self.random.below(2) {
                self.process.sink.commit(prepared.clone()).await?;
            }
        }
        Ok(())
    }

    /// Another process goes on from the last checkpoint.
    async fn replace(&mut self, fate: Fate) -> Result<(), Error> {
        self.attempt += 1;
        let process = Process { sink: (self.make)(), prepared: Vec::new() };
        let old = std::mem::replace(&mut self.process, process);
        if fate.stale && self.random.below(2) == 0 {
            self.stale.push(old)
        } else {
            std::mem::forget(old.sink)
        }
        self.written = self.stored.0;
        self.process.sink.begin(self.attempt, self.stored.1.clone()).await
    }

    /// A process that was replaced does something.
    async fn disturb(&mut self) {
        let count = self.stale.len() as u64;
        if count == 0 {
            return;
        }
        let stale = &mut self.stale[self.random.below(count) as usize];
        if self.random.below(2) == 0 {
            // Whether it fails is its own affair.
            let _ = stale.sink.write(Bundle::from((self.rows)(0..9))).await;
        } else if let Some(prepared) = stale.prepared.pop() {
            let _ = stale.sink.commit(prepared).await;
        }
    }

    async fn run(&mut self, fate: Fate, seen: impl Fn(u64)) -> Result<(), Error> {
        if !fate.early {
            self.prepare(true).await?;
        }
        let mut committed = 0;
        while self.written < ALL {
            match self.random.below(9) {
                0..=3 => self.write(12).await?,
                4 => self.process.sink.complete(passed(self.written)).await?,
                5 => self.prepare(true).await?,
                6 => {
                    self.commit().await?;
                    committed = self.stored.0;
                }
                7 => {
                    let stored = self.random.below(2) == 0;
                    self.prepare(stored).await?;
                    self.replace(fate).await?;
                    committed = self.stored.0;
                }
                _ => self.disturb().await,
            }
            seen(committed);
        }
        self.prepare(true).await?;
        let ends = self.random.below(4);
        for _ in 0..ends {
            if self.random.below(2) == 0 {
                self.commit().await?;
            }
            if self.random.below(2) == 0 {
                self.commit().await?;
                // Killed just after it was closed.
                self.process.sink.close().await?;
            }
            self.replace(fate).await?;
            self.disturb().await;
        }
        self.commit().await?;
        self.process.sink.close().await?;
        self.disturb().await;
        self.stale.iter_mut().for_each(|stale| stale.sink.abort());
        Ok(())
    }
}

fn passed(epoch: u64) -> Punctuation {
    Punctuation { epoch: Epoch(epoch), watermark: Time(0), now: Time(0) }
}

fn schema() -> SchemaRef {
    let fields = [("id", DataType::Int64), ("kind", DataType::Utf8View)];
    Arc::new(Schema::new(fields.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec()))
}

fn rows(ids: Range<u64>) -> Vec<Rows> {
    let kinds = ids.clone().map(|id| Some(["a", "b/c", ""][id as usize % 3]));
    let kinds: ArrayRef = Arc::new(kinds.collect::<StringViewArray>());
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids.map(|id| id as i64)));
    vec![RecordBatch::try_new(schema(), vec![ids, kinds]).unwrap().into()]
}

fn table(path: &str, options: &[(&str, &str)], partitioned: bool, bounded: bool) -> Table {
    let options = [options, &[("path", path)]].concat();
    let mut table = tables::table(schema(), &options);
    table.options.check("'filesystem'", &Filesystem.options()).unwrap();
    table.partition_keys = if partitioned { vec![1] } else { Vec::new() };
    Table { bounded, ..table }
}

/// The first column of what is in a table, in order.
fn ids(table: &Table) -> Vec<u64> {
    let lines = tables::lines(&tables::all(&Filesystem, &Table { bounded: true, ..table.clone() }));
    let mut ids: Vec<u64> = lines.iter().map(|line| line.split_once('|').unwrap().0.parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

/// Those of plain CSV, as files that can be seen have them.
fn seen(folder: &Path) -> Vec<u64> {
    let shown = |path: &PathBuf| !path.file_name().unwrap().to_str().unwrap().starts_with(['.', '_']);
    let texts = files(folder).into_iter().filter(shown).map(|file| std::fs::read_to_string(file).unwrap());
    let id = |line: &str| line.split(',').next().unwrap().parse().unwrap();
    let mut ids: Vec<u64> = texts.flat_map(|text| text.lines().map(id).collect::<Vec<_>>()).collect();
    ids.sort_unstable();
    ids
}

fn write_table(table: &Table, fate: Fate, seed: u64, seen: impl Fn(u64) + Send + 'static) -> Result<(), Error> {
    let table = table.clone();
    run(move || async move {
        let make = move || Filesystem.sink(&table).unwrap();
        let mut job: Job<Rows, AnySink> = Job::start(Box::new(make), Box::new(rows), seed).await?;
        job.run(fate, seen).await
    })
}

fn hidden(folder: &Path) -> Vec<PathBuf> {
    let is_hidden = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with('.');
    files(folder).into_iter().filter(is_hidden).collect()
}

fn fate() -> impl Strategy<Value = Fate> {
    (any::<bool>(), any::<bool>()).prop_map(|(early, stale)| Fate { early, stale })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn a_folder_has_each_row_once(seed in any::<u64>(), fate in fate(), bounded in any::<bool>()) {
        let (folder, mut random, fate) = (TempDir::new().unwrap(), Random::new(seed), Fate { early: false, ..fate });
        let format: &[_] = match random.below(6) {
            0 => &[("format", "json"), ("compression", "gzip")],
            1 => &[("format", "parquet")],
            2 => &[("format", "csv"), ("csv.header", "true")],
            _ => &[("format", "csv"), ("sink.rolling-policy.file-size", "40")],
        };
        let commit = ("sink.partition-commit.policy.kind", "success-file");
        let (options, partitioned) = ([format, &[commit]].concat(), random.below(2) == 0);
        let table = table(folder.path().to_str().unwrap(), &options, partitioned, bounded);
        let (path, is_plain) = (folder.path().to_owned(), format[format.len() - 1].0.starts_with("sink."));
        let check = move |committed: u64| if is_plain { assert_eq!(seen(&path), Vec::from_iter(0..committed)) };
        write_table(&table, fate, seed, check).unwrap();
        assert_eq!(ids(&table), Vec::from_iter(0..ALL));
        assert_eq!(hidden(folder.path()), Vec::<PathBuf>::new());
        let markers = files(folder.path()).iter().filter(|file| file.ends_with("_SUCCESS")).count();
        assert_eq!(markers, if partitioned { 3 } else { 1 });
    }

    #[test]
    fn a_file_has_each_row_once(seed in any::<u64>(), fate in fate(), bounded in any::<bool>()) {
        let (folder, mut random) = (TempDir::new().unwrap(), Random::new(seed));
        let format: &[_] = match random.below(3) {
            0 => &[("format", "json")],
            1 => &[("format", "csv"), ("csv.header", "true")],
            _ => &[("format", "csv")],
        };
        let name = ["t.x", "t.gz", "t.zst", "t.bz2", "t.xz"][random.below(5) as usize];
        let path = folder.path().join("new").join(name);
        let table = table(path.to_str().unwrap(), format, false, bounded);
        let at = path.clone();
        write_table(&table, fate, seed, move |_| assert!(!at.exists())).unwrap();
        // In order, too.
        let lines = tables::lines(&tables::all(&Filesystem, &Table { bounded: true, ..table }));
        let ids: Vec<u64> = lines.iter().map(|line| line.split_once('|').unwrap().0.parse().unwrap()).collect();
        assert_eq!(ids, Vec::from_iter(0..ALL));
        assert_eq!(files(folder.path()), [path]);
    }

    #[test]
    fn a_file_of_records_has_each_once(seed in any::<u64>(), fate in fate()) {
        let (folder, mut random) = (TempDir::new().unwrap(), Random::new(seed));
        let kind = ["json", "csv"][random.below(2) as usize];
        let path = folder.path().join(format!("t.{kind}{}", ["", ".gz", ".zst", ".bz2", ".xz"][random.below(5) as usize]));
        let at = path.clone();
        let visits = |ids: Range<u64>| ids.map(|id| Visit { id, note: format!("{id}, \"noted\"") }).collect::<Vec<_>>();
        run(move || async move {
            let target = at.clone();
            let make = move || if kind == "csv" { FileSink::csv(&target) } else { FileSink::json(&target) };
            let mut job: Job<Visit, FileSink> = Job::start(Box::new(make), Box::new(visits), seed).await.unwrap();
            job.run(fate, |_| assert!(!at.exists())).await.unwrap();
        });
        let files = Files::path(&path);
        let got = if kind == "csv" { read(files.csv::<Visit>(), 100) } else { read(files.json::<Visit>(), 100) };
        assert_eq!(got.unwrap().records, visits(0..ALL));
        assert_eq!(support::files(folder.path()), [path]);
    }

    #[test]
    fn a_store_has_each_row_once(seed in any::<u64>(), fate in fate()) {
        let store = format!("once-{seed}");
        let options = [("format", "csv"), ("sink.partition-commit.policy.kind", "success-file")];
        let table = table(&format!("memory://{store}/t/"), &options, true, true);
        write_table(&table, Fate { early: false, ..fate }, seed, |_| {}).unwrap();
        assert_eq!(ids(&table), Vec::from_iter(0..ALL));
        let objects = memory_store(&store);
        let names = run(move || async move {
            use futures_util::TryStreamExt;
            object_store::ObjectStore::list(&*objects, None).try_collect::<Vec<_>>().await.unwrap()
        });
        let names: Vec<_> = names.iter().map(|object| object.location.filename().unwrap().to_owned()).collect();
        assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
        assert_eq!(names.iter().filter(|name| *name == "_SUCCESS").count(), 3);
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Visit {
    id: u64,
    note: String,
}

#[test]
fn a_table_for_people_goes_on_below_its_header() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("t.txt");
    let at = path.clone();
    run(move || async move {
        let visit = |id| vec![Visit { id, note: "x".repeat(8) }];
        let mut sink = FileSink::table(&at);
        Sink::<Visit>::begin(&mut sink, 1, Vec::new()).await.unwrap();
        sink.write(Bundle::from(visit(1))).await.unwrap();
        let prepared = Sink::<Visit>::prepare(&mut sink).await.unwrap();
        std::mem::forget(sink);
        let mut sink = FileSink::table(&at);
        Sink::<Visit>::begin(&mut sink, 2, vec![prepared]).await.unwrap();
        sink.write(Bundle::from(visit(2))).await.unwrap();
        Sink::<Visit>::close(&mut sink).await.unwrap();
    });
    let want = "id  note\n──  ────────\n 1  xxxxxxxx\n 2  xxxxxxxx\n";
    assert_eq!(std::fs::read_to_string(path).unwrap(), want);
}

#[test]
fn what_cannot_go_on_is_told() {
    let folder = TempDir::new().unwrap();
    let begin = |name: &str, format: &str, prepared: Option<Prepared>| {
        let path = folder.path().join(name);
        let mut sink = Filesystem.sink(&table(path.to_str().unwrap(), &[("format", format)], false, true)).unwrap();
        run(move || async move { sink.begin(2, prepared.into_iter().collect()).await }).unwrap_err().to_string()
    };
    let error = begin("t.parquet", "parquet", None);
    assert!(error.ends_with("cannot write to one parquet file: name a folder (end the path with '/')"), "{error}");
    let error = begin("t.csv", "csv", Some(serde_json::json!({"attempt": 1, "bytes": 5})));
    assert!(error.contains(".t.csv.1.part: what was written of ") && error.contains("is gone: put it back"), "{error}");
}

#[test]
fn what_was_prepared_is_not_taken_back() {
    let folder = TempDir::new().unwrap();
    let files_of = table(folder.path().to_str().unwrap(), &[("format", "csv")], false, true);
    let (path, again) = (folder.path().to_owned(), files_of.clone());
    run(move || async move {
        let mut sink = Filesystem.sink(&files_of).unwrap();
        sink.begin(1, Vec::new()).await.unwrap();
        sink.write(Bundle::from(rows(0..3))).await.unwrap();
        let prepared = sink.prepare().await.unwrap();
        sink.write(Bundle::from(rows(3..9))).await.unwrap();
        sink.abort();
        assert_eq!((seen(&path), files(&path).len()), (Vec::new(), 1));
        let mut sink = Filesystem.sink(&again).unwrap();
        sink.begin(2, vec![prepared]).await.unwrap();
        assert_eq!(seen(&path), [0, 1, 2]);
    });
}
