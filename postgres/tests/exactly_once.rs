//! The sink in jobs that take checkpoints, whose processes are killed, stopped and replaced, on a server that crashes: what is in the table counts
//! once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

#[path = "../../connectors/tests/support/batches.rs"]
mod batches;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::DataType;
use batches::Random;
use support::{run, schema};
use updraft_dataflow::{Bundle, Epoch, Error, Prepared, Punctuation, RowKind, Rows, Sink, Time};
use updraft_postgres::testing::Cluster;
use updraft_postgres::{TableName, TableSink};

/// How many rows a job writes.
const ALL: u64 = 60;
/// How many keys they have, where they have keys.
const KEYS: u64 = 7;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    /// Without a key.
    Append,
    /// By key, as they come.
    Upsert,
    /// By key, with checkpoints.
    UpsertOnce,
}

struct Process {
    sink: TableSink,
    prepared: Vec<Prepared>,
}

struct Job {
    cluster: Arc<Cluster>,
    kind: Kind,
    process: Process,
    stale: Vec<Process>,
    attempt: u64,
    written: u64,
    /// The last checkpoint that was stored.
    stored: (u64, Vec<Prepared>),
    random: Random,
}

fn sink(cluster: &Cluster, kind: Kind, random: &mut Random) -> TableSink {
    let schema = schema(&[("id", DataType::Int64), ("value", DataType::Int64)]);
    let name = TableName::parse("t").unwrap();
    let sink = TableSink::new(cluster.server(), name, schema).rows(1 + random.below(9) as usize).retries(5);
    match kind {
        Kind::Append => sink,
        Kind::Upsert => sink.primary_key(vec![0]),
        Kind::UpsertOnce => sink.primary_key(vec![0]).exactly_once(true),
    }
}

/// What the `at`th change does: to which key, and what its value is then.
fn change(at: u64, kind: Kind) -> (RowKind, i64, i64) {
    let key = if kind == Kind::Append { at } else { at * 31 % KEYS };
    let row_kind = match at % 5 {
        _ if kind == Kind::Append => RowKind::Insert,
        0 => RowKind::Delete,
        1 | 2 => RowKind::Insert,
        _ => RowKind::UpdateAfter,
    };
    (row_kind, key as i64, at as i64)
}

fn rows(range: Range<u64>, kind: Kind) -> Rows {
    let changes: Vec<_> = range.map(|at| change(at, kind)).collect();
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(changes.iter().map(|change| change.1)));
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(changes.iter().map(|change| change.2)));
    let schema = schema(&[("id", DataType::Int64), ("value", DataType::Int64)]);
    let kinds: Vec<_> = changes.iter().map(|change| change.0).collect();
    Rows::changes(RecordBatch::try_new(schema, vec![keys, values]).unwrap(), kinds)
}

/// What is in the table after so many changes.
fn expected(changes: u64, kind: Kind) -> Vec<String> {
    let mut table = BTreeMap::new();
    for at in 0..changes {
        let (row_kind, key, value) = change(at, kind);
        if row_kind.is_addition() {
            table.insert(key, value)
        } else {
            table.remove(&key)
        };
    }
    table.into_iter().map(|(key, value)| format!("{key}|{value}")).collect()
}

fn seen(cluster: &Cluster) -> Vec<String> {
    cluster.sql("SELECT id, value FROM t ORDER BY id, value").lines().map(str::to_owned).collect()
}

impl Job {
    async fn write(&mut self) -> Result<(), Error> {
        let end = ALL.min(self.written + self.random.below(12));
        let rows = rows(self.written..end, self.kind);
        self.written = end;
        self.process.sink.write(Bundle::from(vec![rows])).await
    }

    async fn prepare(&mut self, stored: bool) -> Result<(), Error> {
        let prepared = self.process.sink.prepare().await?;
        // As text, as it is kept.
        let prepared: Prepared = serde_json::from_str(&prepared.to_string()).unwrap();
        if stored {
            self.process.prepared.push(prepared);
            self.stored = (self.written, self.process.prepared.clone());
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
    async fn replace(&mut self) -> Result<(), Error> {
        self.attempt += 1;
        let process = Process { sink: sink(&self.cluster, self.kind, &mut self.random), prepared: Vec::new() };
        let mut old = std::mem::replace(&mut self.process, process);
        match self.random.below(4) {
            0 | 1 => self.stale.push(old),
            // Its connection ends with it.
            2 => drop(old),
            _ => {
                old.sink.abort();
                drop(old);
            }
        }
        self.written = self.stored.0;
        self.process.sink.begin(self.attempt, self.stored.1.clone()).await?;
        self.stored.1.drain(..self.stored.1.len().saturating_sub(1));
        Ok(())
    }

    /// A process that was replaced does something: whatever it is, it must be refused, or make no difference.
    async fn disturb(&mut self) {
        if self.stale.is_empty() {
            return;
        }
        let at = self.random.below(self.stale.len() as u64) as usize;
        let stale = &mut self.stale[at];
        match self.random.below(3) {
            0 => {
                let mut failed = stale.sink.write(Bundle::from(vec![rows(0..9, self.kind)])).await.err();
                if failed.is_none() {
                    failed = stale.sink.prepare().await.err();
                }
                let failed = failed.expect("a process that was replaced writes").to_string();
                assert!(failed.contains("another process has taken over"), "{failed}");
            }
            1 => stale.sink.abort(),
            _ => {
                if let Some(prepared) = stale.prepared.pop() {
                    let _ = stale.sink.commit(prepared).await;
                }
            }
        }
    }

    async fn run(&mut self) -> Result<(), Error> {
        self.process.sink.begin(1, Vec::new()).await?;
        self.prepare(true).await?;
        let mut committed = 0;
        while self.written < ALL {
            match self.random.below(40) {
                0..=15 => self.write().await?,
                16..=18 => {
                    let passed = Punctuation { epoch: Epoch(self.written), watermark: Time(0), now: Time(0) };
                    self.process.sink.complete(passed).await?;
                }
                19..=23 => self.prepare(true).await?,
                24..=28 => {
                    self.commit().await?;
                    committed = self.stored.0;
                }
                29..=31 => {
                    let stored = self.random.below(2) == 0;
                    self.prepare(stored).await?;
                    self.replace().await?;
                    committed = self.stored.0;
                }
                32..=38 => self.disturb().await,
                _ => {
                    self.cluster.stop(self.random.below(2) == 0);
                    self.cluster.resume();
                }
            }
            if self.kind != Kind::Upsert {
                assert_eq!(seen(&self.cluster), expected(committed, self.kind));
            }
        }
        self.prepare(true).await?;
        for _ in 0..self.random.below(4) {
            if self.random.below(2) == 0 {
                self.commit().await?;
            }
            self.replace().await?;
            self.disturb().await;
        }
        self.commit().await?;
        self.process.sink.close().await?;
        self.disturb().await;
        Ok(())
    }
}

fn check(kind: Kind, seeds: Range<u64>) {
    let cluster = Arc::new(Cluster::start());
    for seed in seeds {
        let key = if kind == Kind::Append { "" } else { " PRIMARY KEY" };
        cluster.sql(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint{key}, value bigint)"));
        let at = cluster.clone();
        let done = run(move || async move {
            let mut random = Random::new(seed);
            let process = Process { sink: sink(&at, kind, &mut random), prepared: Vec::new() };
            let (stale, stored) = (Vec::new(), (0, Vec::new()));
            let mut job = Job { cluster: at, kind, process, stale, attempt: 1, written: 0, stored, random };
            job.run().await
        });
        done.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(seen(&cluster), expected(ALL, kind), "seed {seed}");
        // Who was aborted may still be clearing up.
        for _ in 0..100 {
            if cluster.sql("SELECT count(*) FROM pg_class WHERE relname LIKE 'updraft_stage%'") == "0" {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let left = cluster.sql("SELECT relname FROM pg_class WHERE relname LIKE 'updraft_stage%'");
        assert_eq!(left, "", "seed {seed}");
    }
}

#[test]
fn rows_without_a_key_are_there_once() {
    check(Kind::Append, 0..8);
}

#[test]
fn rows_with_a_key_are_what_they_should_be() {
    check(Kind::Upsert, 100..108);
}

#[test]
fn rows_with_a_key_appear_with_their_checkpoint() {
    check(Kind::UpsertOnce, 200..208);
}

/// A transaction that is in the middle of something when its process is stopped.
#[test]
fn who_holds_the_row_is_thrown_out() {
    let cluster = Arc::new(Cluster::start());
    cluster.sql("CREATE TABLE t (id bigint, value bigint)");
    let at = cluster.clone();
    run(move || async move {
        let mut random = Random::new(1);
        let mut first = sink(&at, Kind::Append, &mut random);
        first.begin(1, Vec::new()).await.unwrap();
        let prepared = first.prepare().await.unwrap();
        let id = prepared["sink"].as_str().unwrap().to_owned();
        let url =
            format!("host={} port={} user=postgres application_name='updraft {id}'", at.path().display(), at.port());
        let lock = "BEGIN; SELECT * FROM updraft_commits FOR UPDATE; SELECT pg_sleep(600)";
        let mut psql = std::process::Command::new("psql");
        psql.args([&url, "-qAtX", "-c", lock]).stderr(std::process::Stdio::null());
        let mut holder = psql.stdout(std::process::Stdio::null()).spawn().unwrap();
        while at.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") != "1" {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let mut second = sink(&at, Kind::Append, &mut random);
        second.begin(2, vec![prepared]).await.unwrap();
        assert!(!holder.wait().unwrap().success());
        second.write(Bundle::from(vec![rows(0..3, Kind::Append)])).await.unwrap();
        let prepared = second.prepare().await.unwrap();
        second.commit(prepared).await.unwrap();
        assert_eq!(seen(&at), ["0|0", "1|1", "2|2"]);
    });
}
