//! Branches that are added and removed while their job runs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::prelude::*;
use updraft_dataflow::checkpoint::Checkpoints;
use updraft_dataflow::control::{Ask, Asked, Monitor, Rewire};
use updraft_dataflow::sim::{Faults, Sim, slow, stalling};
use updraft_dataflow::testing::{Gathered, Ledger, Scripted, gather};
use updraft_dataflow::{Epoch, Epochs, Job, Running, Sink, Time, Tumbling, Watermarks, aggregate};
use updraft_kernel::context;

/// Numbers that come one at a time, each with its epoch.
type Row = (u64, u64);

/// The branches of a job: the first two share a stage that the others do not need.
const NAMES: [&str; 4] = ["a", "b", "c", "all"];

fn branches<S: Sink<Row>>(job: &Job, count: u64, quota: usize, mut sink: impl FnMut(usize) -> S) {
    let source = stalling(Scripted(vec![(0..count).map(|n| vec![n]).collect()]), Duration::from_millis(5));
    let numbers = job.source("numbers", source).bundle(1).epochs(Epochs::Records(quota)).stream();
    let (left, right) = numbers.map(|n| (n, context::epoch().unwrap())).materialize().fork();
    let (one, other) = left.filter(|_| true).materialize().rebalance().fork();
    let (third, all) = right.materialize().fork();
    let streams = [one.materialize(), other.map(|row| row).materialize(), third.rebalance(), all.materialize()];
    for (at, stream) in streams.into_iter().enumerate() {
        stream.sink(NAMES[at], slow(sink(at), Duration::from_millis(5)));
    }
}

/// Of the numbers, which a sink gets that is there or not from some epochs on.
fn expected(all: &[Row], is_there: &BTreeMap<u64, bool>) -> Vec<u64> {
    let gets = |(_, epoch): &&Row| *is_there.range(..=epoch).next_back().unwrap().1;
    all.iter().filter(gets).map(|(n, _)| *n).collect()
}

fn numbers(rows: Vec<Row>) -> Vec<u64> {
    let mut numbers: Vec<_> = rows.into_iter().map(|(n, _)| n).collect();
    numbers.sort_unstable();
    numbers
}

/// Adds some sinks, and removes others, by the bits of two numbers.
fn rewire(running: &Running, added: u8, removed: u8) -> (Asked<Epoch>, Vec<(usize, bool)>) {
    let bits = |of: u8| (0..3).filter(move |at| of >> at & 1 == 1);
    let changes: BTreeMap<_, _> = bits(added).map(|at| (at, true)).chain(bits(removed).map(|at| (at, false))).collect();
    let change = |rewire: Rewire, (at, there): (&usize, &bool)| {
        if *there { rewire.with(NAMES[*at]) } else { rewire.without(NAMES[*at]) }
    };
    (running.control(changes.iter().fold(Rewire::new(), change)), changes.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// A sink gets all of the epochs in which it is there, and nothing of others.
    #[test]
    fn a_sink_gets_what_is_of_its_epochs(
        seed: u64, kernels in 1usize..4, quota in 1usize..20, absent in proptest::option::of(0usize..3),
        changes in proptest::collection::vec((0u64..200_000, 0u8..8, 0u8..8), 0..8),
    ) {
        let faults = Faults::none().stalls(0.05, Duration::from_millis(30));
        let sim = Sim::builder(seed).kernels(kernels).faults(faults).build();
        let mut job = Job::new("branches");
        let mut there = [(); 3].map(|()| BTreeMap::from([(0, true)]));
        if let Some(absent) = absent {
            job = job.without(NAMES[absent]);
            there[absent].insert(0, false);
        }
        let mut gathered = Vec::<Gathered<Row>>::new();
        branches(&job, 200, quota, |_| {
            let (sink, rows) = gather();
            gathered.push(rows);
            sink
        });
        let running = job.start(sim.handle()).unwrap();
        let mut asked = Vec::new();
        for (after, added, removed) in &changes {
            sim.run_for(Duration::from_micros(*after));
            asked.push(rewire(&running, *added, *removed));
        }
        sim.block_on(running.join()).unwrap();
        for (asked, changed) in asked {
            if let Ok(epoch) = sim.block_on(asked) {
                changed.into_iter().for_each(|(at, is_there)| _ = there[at].insert(epoch.0 + 1, is_there));
            }
        }
        let mut every = gathered[3].take();
        every.sort_unstable();
        prop_assert_eq!(every.len(), 200);
        for ((rows, there), name) in gathered.iter().zip(&there).zip(NAMES) {
            prop_assert_eq!(numbers(rows.take()), expected(&every, there), "{}: {:?}", name, there);
        }
    }

    /// Also over crashes: what was asked for by name is done once, and holds from then on.
    #[test]
    fn branches_stay_over_crashes(
        lives in proptest::collection::vec((any::<u64>(), 1usize..4, 0u64..100_000, 1_000u64..20_000), 1..5),
        change in 0usize..5,
    ) {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let ledgers = [(); 4].map(|()| Ledger::<Row>::default());
        let last = lives.len() - 1;
        for (n, (seed, kernels, killed_after, every)) in lives.into_iter().enumerate() {
            let sim = Sim::builder(seed).kernels(kernels).build();
            let opened = sim.block_on(Checkpoints::open(store.clone(), &Path::from("job"))).unwrap();
            let job = Job::new("branches").checkpoints(opened.every(Duration::from_micros(every))).without("b");
            branches(&job, 300, 7, |at| ledgers[at].sink());
            let running = job.start(sim.handle()).unwrap();
            if n >= change {
                let wanted = Rewire::new().with("b").without("a");
                drop(running.control(Ask::new(wanted).id("change")));
            }
            if n == last {
                sim.block_on(running.join()).unwrap();
            } else {
                sim.run_for(Duration::from_micros(killed_after));
            }
        }
        let [a, b, c, _] = ledgers.map(|ledger| numbers(ledger.committed()));
        prop_assert_eq!(&c, &(0..300).collect::<Vec<_>>());
        // The one from where on the other was removed.
        let changed = a.len() as u64;
        prop_assert_eq!(a, (0..changed).collect::<Vec<_>>());
        prop_assert_eq!(b, (changed..300).collect::<Vec<_>>());
        prop_assert!(change <= last || changed == 300);
    }
}

/// Nothing is done for who gets nothing; and what a window has when its branch is removed is not told later.
#[test]
fn a_removed_branch_costs_nothing() {
    let sim = Sim::new(5);
    let job = Job::new("sums");
    let source = stalling(Scripted(vec![(0..20_000_u64).map(|n| vec![n]).collect()]), Duration::from_millis(2));
    let timed = job.source("numbers", source).timestamps(|n| Time::from_millis(*n as i64), Watermarks::monotonic());
    let (raw, summed) = timed.epochs(Epochs::Records(10)).stream().materialize().fork();
    let (raw_sink, raw_rows) = gather();
    raw.sink("raw", raw_sink);
    let windows = summed.key_by(|_| ()).window(Tumbling::of(Duration::from_millis(100)));
    let (sink, rows) = gather();
    windows.aggregate(aggregate::count()).map(|row| (row.window.start.as_millis(), row.value)).sink("sums", sink);
    let running = job.start(sim.handle()).unwrap();
    let taken = |sim: &Sim| {
        let cut = sim.block_on(running.control(Monitor::default())).unwrap();
        let stage = cut.parts.iter().find(|cut| cut.part.name.contains("window")).unwrap().seen.records_in;
        let sink = cut.parts.iter().find(|cut| &*cut.part.name == "sums").unwrap();
        (cut.parts[0].seen.records_out, stage, sink.is_attached)
    };
    sim.run_for(Duration::from_millis(400));
    sim.block_on(running.control(Rewire::new().without("sums"))).unwrap();
    let (given, summed, is_attached) = taken(&sim);
    assert!(given > 100 && summed <= given && !is_attached, "{given} {summed}");
    sim.run_for(Duration::from_millis(400));
    let later = taken(&sim);
    assert!(later.0 > given && later.1 == summed, "{later:?}");
    let mut all = rows.take();
    let so_far = all.len();
    sim.block_on(running.control(Rewire::new().with("sums"))).unwrap();
    sim.block_on(running.join()).unwrap();
    assert_eq!(raw_rows.take().len(), 20_000);
    all.extend(rows.take());
    let rows = all;
    assert_eq!(rows[so_far..].last(), Some(&(19_900, 100)), "{rows:?}");
    // The windows that were open then, or began while it was not there, have fewer, or are missing.
    assert!(rows.iter().map(|(_, count)| count).sum::<u64>() < 20_000 && rows.iter().all(|(_, count)| *count <= 100));
}

#[test]
fn what_is_not_there_is_told() {
    let sim = Sim::new(1);
    let job = Job::new("branches").without("d");
    branches(&job, 10, 3, |_| gather().0);
    let error = job.start(sim.handle()).unwrap_err();
    assert_eq!(error.to_string(), "job `branches`: it is to begin without the sink `d`, and has none of that name");
    let job = Job::new("branches");
    branches(&job, 1_000, 3, |_| gather().0);
    let running = job.start(sim.handle()).unwrap();
    let error = sim.block_on(running.control(Rewire::new().without("d"))).unwrap_err();
    assert_eq!(error.to_string(), "rewire: the job has no sink `d`; it has `a`, `b`, `c`, `all`");
}
