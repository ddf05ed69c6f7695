//! Functions and processes of which another version takes over while their job runs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::prelude::*;
use updraft_dataflow::checkpoint::Checkpoints;
use updraft_dataflow::control::Swap;
use updraft_dataflow::keyed::{Context, Process, Timer};
use updraft_dataflow::sim::{Faults, Sim, slow, stalling};
use updraft_dataflow::testing::{Ledger, Scripted, gather};
use updraft_dataflow::{Epochs, Job, Time, Watermarks};
use updraft_kernel::context;

/// Records that come one at a time.
fn scripted(count: u64) -> Scripted<u64> {
    Scripted(vec![(0..count).map(|n| vec![n]).collect()])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Each epoch has one version, at all operators that call it, and those that were asked for come one after the other.
    #[test]
    fn a_function_has_one_version_in_an_epoch(
        seed: u64, kernels in 1usize..4, quota in 1usize..20,
        swaps in proptest::collection::vec((0u64..100_000, 0usize..3), 0..8),
    ) {
        let faults = Faults::none().stalls(0.05, Duration::from_millis(30));
        let sim = Sim::builder(seed).kernels(kernels).faults(faults).build();
        let job = Job::new("versions");
        let function = job.function("version", "0", |_: &u64| 0).or("1", |_| 1).or("2", |_| 2);
        let (one, other) = (function.clone(), function);
        let source = stalling(scripted(200), Duration::from_millis(5));
        let numbers = job.source("numbers", source).bundle(1).epochs(Epochs::Records(quota)).stream();
        let first = numbers.map(move |n| (n, one.call(&n), context::epoch().unwrap())).materialize().rebalance();
        let (sink, rows) = gather();
        first.map(move |(n, version, epoch)| (n, version, other.call(&n), epoch)).sink("rows", slow(sink, Duration::from_millis(5)));
        let running = job.start(sim.handle()).unwrap();
        let mut versions = BTreeMap::from([(0, 0)]);
        let mut asked = Vec::new();
        for (after, version) in &swaps {
            sim.run_for(Duration::from_micros(*after));
            asked.push((running.control(Swap::new("version", version.to_string())), *version));
        }
        sim.block_on(running.join()).unwrap();
        for (asked, version) in asked {
            if let Ok(epoch) = sim.block_on(asked) {
                versions.insert(epoch.0 + 1, version);
            }
        }
        let rows = rows.take();
        prop_assert_eq!(rows.len(), 200);
        for (n, one, other, epoch) in rows {
            let (_, expected) = versions.range(..=epoch).next_back().unwrap();
            prop_assert_eq!((one, other), (*expected, *expected), "record {} of epoch {}: {:?}", n, epoch, &versions);
        }
    }
}

/// Counts what comes for each key, and tells that with its own version; a timer, set by one version, tells who it fires in.
#[derive(Clone)]
struct Counting {
    version: &'static str,
    /// What becomes of instances.
    notes: Arc<Mutex<Vec<(&'static str, &'static str)>>>,
}

type Told = (&'static str, u64, u64, bool);

impl Process<u64, u64> for Counting {
    type State = u64;
    type Out = Told;

    fn open(&mut self, _: usize, _: usize) {
        self.notes.lock().unwrap().push((self.version, "open"));
    }
    fn record(&mut self, _: u64, count: &mut u64, cx: &mut Context<'_, u64, Told>) {
        if *count == 0 {
            cx.set_timer(Time(i64::MAX - 1));
        }
        *count += 1;
        cx.emit((self.version, *cx.key(), *count, false));
    }
    fn timer(&mut self, _: Timer, count: &mut u64, cx: &mut Context<'_, u64, Told>) {
        cx.emit((self.version, *cx.key(), *count, true));
    }
    fn close(&mut self) {
        self.notes.lock().unwrap().push((self.version, "close"));
    }
}

#[test]
fn a_version_finds_the_state_of_the_one_before() {
    let sim = Sim::builder(3).kernels(2).build();
    let job = Job::new("counts").shards(1);
    let notes = Arc::<Mutex<Vec<_>>>::default();
    let version = |version| Counting { version, notes: notes.clone() };
    let counting = job.swappable("counting", "one", version("one")).or("other", version("other"));
    let (sink, rows) = gather();
    let source = job.source("numbers", stalling(scripted(900), Duration::from_millis(2)));
    let timed = source.timestamps(|n| Time(*n as i64), Watermarks::monotonic()).epochs(Epochs::Records(9));
    timed.stream().key_by(|n| n % 3).process(counting).sink("rows", sink);
    let running = job.start(sim.handle()).unwrap();
    sim.run_for(Duration::from_millis(200));
    sim.block_on(running.control(Swap::new("counting", "other"))).unwrap();
    let error = sim.block_on(running.control(Swap::new("counting", "third"))).unwrap_err();
    assert_eq!(error.to_string(), "swap: `counting` has no version \"third\"; it has `one`, `other`");
    sim.block_on(running.join()).unwrap();

    let rows = rows.take();
    for key in 0..3 {
        let of_key: Vec<_> = rows.iter().filter(|row| row.1 == key && !row.3).collect();
        assert_eq!(of_key.iter().map(|row| row.2).collect::<Vec<_>>(), (1..=300).collect::<Vec<_>>());
        assert!(of_key.is_sorted_by_key(|row| row.0) && of_key[0].0 == "one" && of_key[299].0 == "other");
        let timers: Vec<_> = rows.iter().filter(|row| row.1 == key && row.3).collect();
        assert_eq!(timers, [&("other", key, 300, true)]);
    }
    assert_eq!(*notes.lock().unwrap(), [("one", "open"), ("one", "close"), ("other", "open"), ("other", "close")]);
}

/// A job that goes on from a checkpoint has the version that was at work there.
#[test]
fn the_version_at_work_stays() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let ledger = Ledger::default();
    let start = |sim: &Sim| {
        let opened = sim.block_on(Checkpoints::open(store.clone(), &Path::from("job"))).unwrap();
        let job = Job::new("versions").checkpoints(opened.every(Duration::from_millis(20)));
        let function = job.function("version", "one", |n: &u64| (*n, 1)).or("other", |n| (*n, 2));
        let source = stalling(scripted(1_000), Duration::from_millis(2));
        job.source("numbers", source).stream().map(move |n| function.call(&n)).sink("rows", ledger.sink());
        job.start(sim.handle()).unwrap()
    };
    {
        let sim = Sim::new(1);
        let running = start(&sim);
        sim.run_for(Duration::from_millis(100));
        sim.block_on(running.control(Swap::new("version", "other"))).unwrap();
        sim.run_for(Duration::from_millis(100));
    }
    let sim = Sim::new(2);
    sim.block_on(start(&sim).join()).unwrap();
    let mut rows = ledger.committed();
    rows.sort_unstable();
    assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), (0..1_000).collect::<Vec<_>>());
    assert!(rows.is_sorted_by_key(|row| row.1) && rows[0].1 == 1 && rows[900].1 == 2);
}
