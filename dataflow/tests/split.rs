//! Hot keys that are split while their job runs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use updraft_dataflow::checkpoint::Checkpoints;
use updraft_dataflow::control::{Ask, Cut, Monitor, SplitKey};
use updraft_dataflow::keyed::{Context, Process, Timer};
use updraft_dataflow::policy::{Pace, Skew};
use updraft_dataflow::sim::{Faults, Sim, stalling};
use updraft_dataflow::testing::{Ledger, Scripted, gather};
use updraft_dataflow::{Epochs, Job, Sink, Time, Watermarks};

/// So many records, their sum, and the greatest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Sums {
    count: u64,
    sum: u64,
    most: u64,
}

fn add(into: &mut Sums, from: Sums) {
    *into = Sums { count: into.count + from.count, sum: into.sum + from.sum, most: into.most.max(from.most) };
}

/// Tells what has come of a key when all has, and how often it was called for it.
#[derive(Clone)]
struct Total;

type Told = (String, Sums, u64);

impl Process<String, (u64, Sums)> for Total {
    type State = (Sums, u64);
    type Out = Told;

    fn record(&mut self, (_, sums): (u64, Sums), state: &mut (Sums, u64), cx: &mut Context<'_, String, Told>) {
        // Of records that are combined, the latest time.
        assert_eq!(cx.time(), Time(sums.most as i64));
        cx.set_timer(Time(i64::MAX - 1));
        add(&mut state.0, sums);
        state.1 += 1;
    }
    fn timer(&mut self, _: Timer, (sums, calls): &mut (Sums, u64), cx: &mut Context<'_, String, Told>) {
        cx.emit((format!("key {}", cx.key()), *sums, *calls));
    }
}

/// Half of all numbers are of key 0.
fn key(n: u64) -> u64 {
    if n.is_multiple_of(2) { 0 } else { n % 13 }
}

/// Numbers up to `count`, several at a time, summed by key.
fn totals(job: &Job, count: u64, sink: impl Sink<Told>) {
    let of = |part: u64| (0..count).filter(|n| n / 2 % 2 == part).collect::<Vec<_>>();
    let batches = [of(0), of(1)].map(|numbers| numbers.chunks(20).map(<[_]>::to_vec).collect());
    let source = job.source("numbers", stalling(Scripted(batches.to_vec()), Duration::from_millis(2)));
    let timed = source.timestamps(|n| Time(*n as i64), Watermarks::monotonic()).epochs(Epochs::Records(30));
    let sums = timed.stream().map(|n| (key(n), Sums { count: 1, sum: n, most: n }));
    let keyed = sums.key_by(|(key, _)| key.to_string()).shuffle();
    keyed.combine(|into, from| add(&mut into.1, from.1)).process(Total).sink("totals", sink);
}

fn naive(count: u64) -> BTreeMap<String, Sums> {
    let mut sums = BTreeMap::new();
    for n in 0..count {
        add(sums.entry(format!("key {}", key(n))).or_default(), Sums { count: 1, sum: n, most: n });
    }
    sums
}

fn by_key(told: Vec<Told>) -> BTreeMap<String, Sums> {
    let count = told.len();
    let by_key: BTreeMap<_, _> = told.into_iter().map(|(key, sums, _)| (key, sums)).collect();
    assert_eq!(by_key.len(), count, "each key is told once");
    by_key
}

/// Splits keys, or has them whole again.
fn split(changes: &[(u64, bool)]) -> SplitKey {
    // As JSON, however it is written.
    let text = |key: u64| format!(" \"{key}\"");
    changes.iter().fold(SplitKey::stage("process"), |all, (key, is_split)| {
        if *is_split { all.split(text(*key)) } else { all.join(text(*key)) }
    })
}

type Changes = Vec<(u64, Vec<(u64, bool)>)>;

fn changes() -> impl Strategy<Value = Changes> {
    proptest::collection::vec((0u64..60_000, proptest::collection::vec((0u64..13, any::<bool>()), 0..4)), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn what_is_split_comes_to_the_same(
        seed: u64, kernels in 1usize..4, shards in 1usize..6, changes in changes(),
    ) {
        let faults = Faults::none().stalls(0.05, Duration::from_millis(30));
        let sim = Sim::builder(seed).kernels(kernels).faults(faults).build();
        let job = Job::new("totals").shards(shards);
        let (sink, told) = gather();
        totals(&job, 2_000, sink);
        let running = job.start(sim.handle()).unwrap();
        for (after, changed) in &changes {
            sim.run_for(Duration::from_micros(*after));
            drop(running.control(split(changed)));
        }
        sim.block_on(running.join()).unwrap();
        prop_assert_eq!(by_key(told.take()), naive(2_000));
    }

    #[test]
    fn what_is_split_stays_so_over_crashes(
        lives in proptest::collection::vec((any::<u64>(), 1usize..4, 0u64..60_000, 500u64..20_000, changes()), 1..5),
    ) {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let ledger = Ledger::default();
        let last = lives.len() - 1;
        for (n, (seed, kernels, killed_after, every, changes)) in lives.into_iter().enumerate() {
            let sim = Sim::builder(seed).kernels(kernels).build();
            let opened = sim.block_on(Checkpoints::open(store.clone(), &Path::from("job"))).unwrap();
            let job = Job::new("totals").shards(4).checkpoints(opened.every(Duration::from_micros(every)));
            totals(&job, 2_000, ledger.sink());
            let running = job.start(sim.handle()).unwrap();
            for (after, changed) in &changes {
                sim.run_for(Duration::from_micros(*after));
                drop(running.control(split(changed)));
            }
            if n == last {
                sim.block_on(running.join()).unwrap();
            } else {
                sim.run_for(Duration::from_micros(killed_after));
            }
        }
        prop_assert_eq!(by_key(ledger.committed()), naive(2_000));
    }
}

#[test]
fn a_split_key_calls_its_owner_once_a_bundle() {
    for (splits, least, most) in [(false, 1_077, 1_077), (true, 100, 250)] {
        let sim = Sim::builder(7).kernels(2).build();
        let job = Job::new("totals").shards(4);
        let (sink, told) = gather();
        totals(&job, 2_000, sink);
        let running = job.start(sim.handle()).unwrap();
        if splits {
            sim.block_on(running.control(split(&[(0, true), (5, true), (5, false)]))).unwrap();
        }
        sim.block_on(running.join()).unwrap();
        for (key, sums, calls) in told.take() {
            match &*key {
                "key 0" => assert!((least..=most).contains(&calls) && sums.count == 1_077, "{calls} {sums:?}"),
                _ => assert_eq!(calls, sums.count, "{key} is whole"),
            }
        }
    }
}

#[test]
fn a_policy_splits_what_is_hot() {
    let sim = Sim::builder(3).kernels(2).build();
    let job = Job::new("totals").shards(4);
    let (sink, told) = gather();
    totals(&job, 100_000, sink);
    let running = job.start(sim.handle()).unwrap();
    let following = running.follow(Skew::default(), Pace::every(Duration::from_millis(100)));
    let Cut { parts, .. } = sim.block_on(running.control(Monitor::default())).unwrap();
    assert!(parts.iter().all(|cut| cut.part.is_splittable == (&*cut.part.name == "process")));
    sim.run_for(Duration::from_secs(1));
    let decided = following.decided();
    assert!(decided[0].is_done && decided[0].why.starts_with("key \"0\" alone is "), "{decided:?}");
    sim.block_on(running.join()).unwrap();
    let hot = told.take().into_iter().find(|(key, ..)| key == "key 0").unwrap();
    assert!(hot.1.count > 50_000 && hot.2 < 25_000, "{hot:?}");
}

#[test]
fn what_cannot_be_split_is_told() {
    let sim = Sim::new(1);
    let job = Job::new("totals");
    totals(&job, 1_000, gather().0);
    let running = job.start(sim.handle()).unwrap();
    let refused = |operation: SplitKey| sim.block_on(running.control(operation)).unwrap_err().to_string();
    let error = refused(SplitKey::stage("process").split("5"));
    assert!(error.starts_with("split-key: 5 is no key: invalid type: integer `5`, expected a string"), "{error}");
    let shuffle = running.metrics().stages[0].name.to_string();
    assert_eq!(
        refused(SplitKey::stage(&*shuffle).split("5")),
        format!(
            "split-key: keys of stage `{shuffle}` cannot be split: say how two of its records become one, by `Shuffled::combine`"
        )
    );
    assert!(refused(SplitKey::stage("sums")).starts_with("split-key: the job has no stage `sums`"));
    // Once more by the same name: it is done once.
    let once = || Ask::new(SplitKey::stage("process").split("\"0\"")).id("one");
    assert!(sim.block_on(running.control(once())).is_ok());
    assert!(sim.block_on(running.control(once())).is_err());
}
