//! Jobs that take checkpoints, and die at any moment: killed without a word, in a simulated store that fails, takes its time, loses its
//! answers and tears what it is given. What was committed at the end is what a job gives that nothing happens to.
//!
//! More cases: `PROPTEST_CASES=10000 cargo test -p updraft-dataflow --test checkpoints`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../checkpoint/tests/faulty/mod.rs"]
#[allow(dead_code, reason = "the tests of the store use more of it")]
mod faulty;
mod support;

use std::sync::Arc;
use std::time::Duration;

use faulty::{Dice, Faulty};
use futures_util::{FutureExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;
use support::graph::{self, Case, Rec, cases, interpret};
use updraft_dataflow::aggregate::sum;
use updraft_dataflow::checkpoint::{Changes, Checkpoints};
use updraft_dataflow::keyed::{Context, KeyedStage, Process};
use updraft_dataflow::operator::{Operator, Outbox};
use updraft_dataflow::sim::{Faults, Sim, slow, stalling};
use updraft_dataflow::testing::{Ledger, Scripted, Stored};
use updraft_dataflow::{Bundle, Epochs, Error, Generation, Job, Sink, Stage, Time, Tumbling, Watermarks};

/// How a process of the job ends.
#[derive(Clone, Debug)]
struct Life {
    seed: u64,
    kernels: usize,
    /// When it is killed, in microseconds; the last process is not.
    killed_after: u64,
    /// How often checkpoints are taken, in microseconds.
    every: u64,
    /// Whether it stops meanwhile.
    stops: bool,
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    // Most jobs are short, so most must be killed early to be killed at all.
    let killed_after = prop_oneof![0u64..30_000, 0u64..100_000, 0u64..400_000];
    let every = prop_oneof![200u64..5_000, 1_000u64..60_000];
    let life = (any::<u64>(), 1usize..4, killed_after, every, proptest::bool::weighted(0.2))
        .prop_map(|(seed, kernels, killed_after, every, stops)| Life { seed, kernels, killed_after, every, stops });
    proptest::collection::vec(life, 1..6)
}

/// Runs a process: whether the job has come to its end.
fn live(case: &Case, life: &Life, store: &Arc<Faulty>, ledgers: &mut Vec<Ledger<Rec>>, is_last: bool) -> bool {
    let faults = Faults::none().stalls(0.01, Duration::from_millis(5));
    let sim = Sim::builder(life.seed).kernels(life.kernels).faults(faults).build();
    if is_last {
        store.heal();
    }
    // A store that fails while it is opened is tried again, as who starts a process does.
    let mut tries = 0;
    let checkpoints = loop {
        tries += 1;
        if tries == 10 {
            store.heal();
        }
        if let Ok(checkpoints) = sim.block_on(Checkpoints::open(store.clone(), &Path::from("job"))) {
            let checkpoints = checkpoints.every(Duration::from_micros(life.every)).keep(1);
            break if life.stops { checkpoints.stopping() } else { checkpoints };
        }
    };
    let (job, streams) = graph::build(case, true);
    ledgers.resize_with(streams.len(), Ledger::default);
    for (n, stream) in streams.into_iter().enumerate() {
        stream.sink(format!("sink {n}"), slow(ledgers[n].sink(), Duration::from_millis(20)));
    }
    let running = job.checkpoints(checkpoints).start(sim.handle()).unwrap();
    if !is_last {
        sim.run_for(Duration::from_micros(life.killed_after));
        if !running.is_ended() {
            // Dropped as it is.
            return false;
        }
    }
    match sim.block_on(running.join()) {
        Ok(_) => true,
        Err(error) => {
            assert!(!is_last && error.to_string().contains("as the dice say"), "{error}");
            false
        }
    }
}

/// As many cases as the environment says; by default enough for each of the mutations to be noticed.
fn how_many() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: how_many(), ..ProptestConfig::default() })]

    #[test]
    fn each_record_counts_once(case in cases(), lives in lives(), seed: u64, faults in prop_oneof![Just(0usize), 0usize..6]) {
        let (store, mut ledgers) = (Arc::new(Faulty::new(Dice::new(seed), faults)), Vec::new());
        let last = lives.len() - 1;
        for (n, life) in lives.iter().enumerate() {
            if live(&case, life, &store, &mut ledgers, n == last) {
                break;
            }
        }
        let committed = |ledger: &Ledger<Rec>| {
            let mut rows = ledger.committed();
            rows.sort();
            rows
        };
        prop_assert_eq!(ledgers.iter().map(committed).collect::<Vec<_>>(), interpret(&case));
        prop_assert_eq!(ledgers.iter().map(Ledger::prepared).sum::<usize>(), 0);
        // Once more, the job has nothing left to do.
        prop_assert!(live(&case, &lives[last], &store, &mut ledgers, true));
        prop_assert_eq!(ledgers.iter().map(committed).collect::<Vec<_>>(), interpret(&case));
    }
}

/// A process that lives on although another has taken over ends with an error, and commits nothing.
#[test]
fn who_was_replaced_commits_nothing() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let ledger = Ledger::default();
    let sim = Sim::builder(1).kernels(2).build();
    let start = || {
        let opened = sim.block_on(Checkpoints::open(store.clone(), &Path::from("job"))).unwrap();
        let job = Job::new("numbers").checkpoints(opened.every(Duration::from_millis(50)));
        let batches = (0..200).map(|n| vec![n]).collect();
        let source = stalling(Scripted(vec![batches]), Duration::from_millis(100));
        job.source("numbers", source).stream().sink("rows", ledger.sink());
        job.start(sim.handle()).unwrap()
    };
    let replaced = start();
    sim.run_for(Duration::from_millis(500));
    assert!(!ledger.committed().is_empty() && !replaced.is_ended());
    let running = start();
    let error = sim.block_on(replaced.join()).unwrap_err();
    assert!(error.to_string().contains("another process has taken over"), "{error}");
    sim.block_on(running.join()).unwrap();
    assert_eq!(ledger.committed(), (0..200).collect::<Vec<_>>());
}

/// A job that is suspended goes on where it was; its windows have not fired.
#[test]
fn who_is_suspended_goes_on_another_time() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let ledger = Ledger::default();
    let mut processes = 0;
    loop {
        processes += 1;
        let sim = Sim::builder(processes).kernels(2).build();
        let opened = sim.block_on(Checkpoints::open(store.clone(), &Path::from("job"))).unwrap();
        let job = Job::new("sum").checkpoints(opened.every(Duration::from_secs(3_600)));
        let batches = (0..100).map(|n| vec![n]).collect();
        let source = stalling(Scripted(vec![batches]), Duration::from_millis(100));
        let timed = job.source("numbers", source).timestamps(|n: &i64| Time(n / 60 * 60), Watermarks::monotonic());
        let windows = timed.stream().key_by(|_| ()).window(Tumbling::of(Duration::from_micros(60)));
        windows.aggregate(sum(|n: &i64| *n)).map(|row| row.value).sink("rows", ledger.sink());
        let running = job.start(sim.handle()).unwrap();
        sim.run_for(Duration::from_millis(200));
        if running.is_ended() {
            break;
        }
        sim.block_on(running.suspend().unwrap());
        // The first process has taken one before it began.
        assert_eq!(running.metrics().checkpoints.count(), 1 + u64::from(processes == 1));
    }
    assert!(processes > 3);
    assert_eq!(ledger.committed(), [(0..60).sum(), (60..100).sum::<i64>()]);
}

/// How often checkpoints are taken, and how many are kept, changes while the job runs.
#[test]
fn the_schedule_changes_while_the_job_runs() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let sim = Sim::builder(1).kernels(2).build();
    let opened = sim.block_on(Checkpoints::open(store.clone(), &Path::from("job"))).unwrap();
    let job = Job::new("latest").checkpoints(opened.every(Duration::from_secs(3_600)));
    let source = stalling(Scripted(vec![(0..10_000).map(|n| vec![n]).collect()]), Duration::from_millis(20));
    job.source("numbers", source).stream().key_by(|n| n % 7).process(Latest).sink("rows", Blackhole);
    let running = job.start(sim.handle()).unwrap();
    let taken_in = |time: u64| {
        let before = running.metrics().checkpoints.count();
        sim.run_for(Duration::from_millis(time));
        running.metrics().checkpoints.count() - before
    };
    assert_eq!(taken_in(1_000), 1, "the one before anything is read");
    let schedule = running.schedule().unwrap();
    schedule.every(Duration::from_millis(50));
    assert!((15..=21).contains(&taken_in(1_000)));
    schedule.pause(Duration::from_millis(200));
    schedule.keep(5);
    // Each also takes its time.
    assert!((3..=5).contains(&taken_in(1_000)));
    schedule.every(Duration::from_secs(3_600));
    assert!(taken_in(2_000) <= 1);
}

/// Those that are due are taken when windows have just closed; who asks for one does not wait for that.
#[test]
fn checkpoints_wait_for_windows_to_close() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let sim = Sim::builder(1).kernels(2).build();
    let opened = sim.block_on(Checkpoints::open(store, &Path::from("job"))).unwrap();
    let job = Job::new("windows").checkpoints(opened.every(Duration::from_secs(20)));
    // A record about each 20 ms, 40 in a window, each with a key of its own.
    let source = stalling(Scripted(vec![(0..100_000).map(|n| vec![n]).collect()]), Duration::from_millis(40));
    let numbers = job.source("numbers", source).timestamps(|n: &i64| Time(*n), Watermarks::monotonic());
    let windows =
        numbers.epochs(Epochs::Records(1)).stream().key_by(|n| *n).window(Tumbling::of(Duration::from_micros(40)));
    windows.aggregate(sum(|n: &i64| *n)).sink("rows", Blackhole);
    let running = job.start(sim.handle()).unwrap();
    let saved = |wait: u64, asks: bool| {
        sim.run_for(Duration::from_millis(wait));
        let before = running.metrics().checkpoints.count();
        if asks {
            running.checkpoint();
        }
        while running.metrics().checkpoints.count() == before {
            sim.run_for(Duration::from_millis(10));
        }
        running.metrics().stages.iter().map(|stage| stage.saved()).sum::<u64>()
    };
    saved(0, false);
    let asked: Vec<_> = (0..40).map(|n| saved(n * 7, true)).collect();
    let due: Vec<_> = (0..10).map(|_| saved(0, false)).collect();
    let (most, most_due) = (asked.iter().max().unwrap(), due.iter().max().unwrap());
    assert!(2 * most_due < *most, "{asked:?} bytes of those asked for, {due:?} of those that were due");
}

#[test]
fn a_damaged_checkpoint_is_told_and_the_one_before_is_taken() {
    let store = Arc::new(InMemory::new());
    let run = |seed: u64| {
        let sim = Sim::builder(seed).kernels(1).build();
        let opened = sim.block_on(Checkpoints::open(store.clone(), &Path::from("job"))).unwrap();
        let told = (opened.goes_on_from().map(|(number, _)| number), opened.damaged().len());
        let job = Job::new("latest").checkpoints(opened.every(Duration::from_millis(10)).keep(3));
        let source = stalling(Scripted(vec![(0..500).map(|n| vec![n]).collect()]), Duration::from_millis(20));
        job.source("numbers", source).stream().key_by(|n| n % 7).process(Latest).sink("rows", Blackhole);
        let running = job.start(sim.handle()).unwrap();
        sim.run_for(Duration::from_millis(300));
        assert!(running.metrics().checkpoints.count() > 3);
        told
    };
    assert_eq!(run(1), (None, 0));
    let files = |folder: &str| -> Vec<Path> {
        let list = store.list(Some(&Path::from(folder))).try_collect::<Vec<_>>().now_or_never().unwrap().unwrap();
        list.into_iter().map(|meta| meta.location).collect()
    };
    let newest = files("job/data").into_iter().max().unwrap();
    let bytes = store.get(&newest).now_or_never().unwrap().unwrap().bytes().now_or_never().unwrap().unwrap();
    let mut bytes = bytes.to_vec();
    bytes[30] ^= 1;
    store.put(&newest, bytes.into()).now_or_never().unwrap().unwrap();
    let last = files("job/log").len();
    let (from, damaged) = run(2);
    assert!(from.is_some() && damaged > 0, "{from:?} of {last} entries, {damaged} damaged");
}

/// The last number of each remainder.
#[derive(Clone)]
struct Latest;

impl Process<i64, i64> for Latest {
    type State = i64;
    type Out = i64;

    fn record(&mut self, n: i64, last: &mut i64, _: &mut Context<'_, i64, i64>) {
        *last = n;
    }
}

/// What is written is what has changed, and over many snapshots not much more.
#[test]
fn snapshots_grow_with_what_changes() {
    const KEYS: i64 = 10_000;
    let stage = KeyedStage::<i64, i64, Latest>::new(Latest, None, 1, Time(0));
    let (locals, mut stored) = ([stage.local(0)], Stored::default());
    let mut touch_and_take = |keys: Vec<i64>| {
        let bundle = keys.into_iter().map(|key| (key, key)).collect::<Vec<_>>().into();
        stage.bundle(&locals[0], Generation(0), bundle, &mut |_| {});
        stored.take(&stage, &locals, Generation(0))
    };
    let all = touch_and_take((0..KEYS).collect());
    assert_eq!(touch_and_take(Vec::new()), 0, "nothing has changed");
    let few = touch_and_take((0..100).collect());
    assert!(few < all / 50, "{few} bytes of a hundredth of the keys, {all} of all");
    let changed: usize =
        (1..100).map(|round| touch_and_take((0..100).map(|n| (round * 37 + n * 13) % KEYS).collect())).sum();
    // Each is merged with those before it a few times.
    assert!(changed < 8 * all, "{changed} bytes in 99 rounds, {all} of all keys");
}

/// Counts bundles, and does not say how that is saved.
#[derive(Clone)]
struct Forgetful(usize);

impl Operator<i64> for Forgetful {
    type Out = usize;

    fn bundle(&mut self, _: Bundle<i64>, out: &mut Outbox<'_, usize>) {
        self.0 += 1;
        out.emit(vec![self.0]);
    }
}

#[test]
fn what_cannot_be_saved_is_told_before_the_job_starts() {
    let sim = Sim::new(1);
    let store = Arc::new(InMemory::new());
    let opened = sim.block_on(Checkpoints::open(store, &Path::from("job"))).unwrap();
    let job = Job::new("forgetful").checkpoints(opened);
    job.source("numbers", Scripted(vec![vec![vec![1]]]))
        .stream()
        .operator("count", Forgetful(0))
        .sink("rows", Blackhole);
    let error = job.start(sim.handle()).unwrap_err();
    assert!(error.to_string().contains("without `save` and `load`"), "{error}");
}

/// Another job does not go on from a checkpoint, unless it is said that state may be dropped.
#[test]
fn another_job_does_not_go_on_by_mistake() {
    let store = Arc::new(InMemory::new());
    let start = |seed: u64, source: &str, drops: bool| {
        let sim = Sim::new(seed);
        let mut opened = sim.block_on(Checkpoints::open(store.clone(), &Path::from("job"))).unwrap();
        if drops {
            opened = opened.changes(Changes::Allow);
        }
        let job = Job::new("job").checkpoints(opened.every(Duration::from_millis(10)));
        let numbers = stalling(Scripted(vec![(0..500).map(|n| vec![n]).collect()]), Duration::from_millis(20));
        job.source(source, numbers).stream().sink("rows", Blackhole);
        let running = job.start(sim.handle()).map_err(|error| error.to_string())?;
        sim.run_for(Duration::from_millis(100));
        Ok(running.metrics().records())
    };
    start(1, "orders", false).unwrap();
    let error: String = start(2, "payments", false).unwrap_err();
    assert!(error.contains("source orders") && error.contains("start anew"), "{error}");
    assert!(start(3, "payments", true).unwrap() > 0);
}

/// Takes everything.
struct Blackhole;

impl<T: updraft_dataflow::bundle::Record> Sink<T> for Blackhole {
    async fn write(&mut self, _: Bundle<T>) -> Result<(), Error> {
        Ok(())
    }
}
