//! Shards that move from kernel to kernel while their job runs: who works for them, and that nothing is lost on the way, also while a snapshot of
//! them is being saved.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::prelude::*;
use support::{Driver, drivers};
use updraft_dataflow::checkpoint::Checkpoints;
use updraft_dataflow::control::{ControlError, Cut, Load, Monitor, Moved, Rehash, Rescale};
use updraft_dataflow::keyed::{Context, Process, owner_of_key};
use updraft_dataflow::policy::{Pace, Skew};
use updraft_dataflow::sim::{Faults, Sim, stalling};
use updraft_dataflow::testing::{Gathered, Ledger, Scripted, gather};
use updraft_dataflow::{Epochs, Job, Running};
use updraft_kernel::{Runtime, context, kernel_id};

const SHARDS: usize = 8;

/// Tells who works for a key, when, and how often it has come.
#[derive(Clone)]
struct Who;

type Worked = (u64, usize, u64, u64);

impl Process<u64, u64> for Who {
    type State = u64;
    type Out = Worked;

    fn record(&mut self, _: u64, times: &mut u64, cx: &mut Context<'_, u64, Worked>) {
        *times += 1;
        cx.emit((context::epoch().unwrap(), kernel_id().unwrap().0, *cx.key(), *times));
    }
}

/// Numbers by key, some thousands a second, until it is cancelled or all have been given.
fn counted(job: &Job, count: u64) -> Gathered<Worked> {
    let (sink, rows) = gather();
    let source = stalling(Scripted(vec![(0..count).map(|n| vec![n]).collect()]), Duration::from_millis(1));
    let numbers = job.source("numbers", source).epochs(Epochs::Records(7)).stream();
    numbers.key_by(|n| n % 97).process(Who).sink("rows", sink);
    rows
}

/// Where the shards are, and how much has come for each.
fn loads(sim: &Sim, running: &Running) -> Vec<Load> {
    let Cut { parts, .. } = sim.block_on(running.control(Monitor::default())).unwrap();
    parts.into_iter().find(|cut| &*cut.part.name == "process").unwrap().loads
}

fn kernels(loads: &[Load]) -> Vec<usize> {
    loads.iter().map(|load| load.kernel).collect()
}

/// Up to the epoch that a change rides on work is done where it was, and after it where it is to be; and each key is counted without a gap.
#[test]
fn shards_move_between_two_epochs() {
    // Under many schedules: what is under way when they move is another thing each time.
    (0..40).for_each(shards_move);
}

fn shards_move(seed: u64) {
    let sim = Sim::builder(seed).kernels(3).faults(Faults::none().stalls(0.2, Duration::from_millis(5))).build();
    let job = Job::new("moves").shards(SHARDS);
    let rows = counted(&job, 3_000);
    let running = job.start(sim.handle()).unwrap();
    let mut placements = BTreeMap::from([(None, vec![0, 0, 0, 1, 1, 1, 2, 2])]);
    let mut after = |moved: Moved| placements.insert(Some(moved.epoch.0), kernels(&loads(&sim, &running)));
    sim.run_for(Duration::from_millis(100));
    let one = sim.block_on(running.control(Rescale::job(1))).unwrap();
    // The shards of two kernels, and two drivers of the shuffle and of what leads to the sink.
    assert_eq!(one.drivers, 5 + 2 + 2);
    after(one);
    sim.run_for(Duration::from_millis(100));
    let all = sim.block_on(running.control(Rescale::stage("process", 3))).unwrap();
    assert_eq!(all.drivers, 5);
    after(all);
    let moved = running.control(Rehash::stage("process").shard(0, 2).shard(7, 1));
    after(sim.block_on(moved).unwrap());
    sim.block_on(running.join()).unwrap();

    let rows = rows.take();
    assert_eq!(rows.len(), 3_000);
    let mut seen = BTreeMap::new();
    for (epoch, kernel, key, times) in rows {
        let (_, placement) = placements.range(..Some(epoch)).next_back().unwrap();
        let shard = owner_of_key(&key, SHARDS);
        assert_eq!(kernel, placement[shard], "shard {shard} in epoch {epoch}: {placements:?}");
        let before: &mut u64 = seen.entry(key).or_default();
        *before += 1;
        assert_eq!(times, *before, "of key {key}");
    }
    assert_eq!(placements.len(), 4);
    assert!(placements.values().last().unwrap()[0] == 2 && placements.values().last().unwrap()[7] == 1);
}

/// A cut tells how much has come for each shard: as much as there is.
#[test]
fn loads_are_told() {
    let sim = Sim::builder(6).kernels(2).build();
    let job = Job::new("loads").shards(SHARDS);
    let rows = counted(&job, 2_000);
    let running = job.start(sim.handle()).unwrap();
    sim.run_for(Duration::from_millis(300));
    let cut = sim.block_on(running.control(Monitor::default())).unwrap();
    sim.block_on(running.join()).unwrap();
    let mut expected = [0; SHARDS];
    let until = rows.take().into_iter().filter(|(epoch, ..)| *epoch <= cut.epoch.0);
    until.for_each(|(_, _, key, _)| expected[owner_of_key(&key, SHARDS)] += 1);
    let process = cut.parts.iter().find(|cut| &*cut.part.name == "process").unwrap();
    assert_eq!(process.loads.iter().map(|load| load.records).collect::<Vec<_>>(), expected);
    assert_eq!(kernels(&process.loads), [0, 0, 0, 0, 1, 1, 1, 1]);
    assert!(expected.iter().sum::<u64>() > 100);
}

#[test]
fn what_cannot_be_moved_is_told() {
    let sim = Sim::builder(1).kernels(2).build();
    let job = Job::new("moves").shards(SHARDS);
    counted(&job, 200);
    let running = job.start(sim.handle()).unwrap();
    let refused = |moved: Result<Moved, ControlError>| moved.unwrap_err().to_string();
    assert_eq!(
        refused(sim.block_on(running.control(Rescale::job(3)))),
        "rescale: it can be 2 kernels at most, and one at least; not 3"
    );
    assert_eq!(
        refused(sim.block_on(running.control(Rescale::stage("proces", 1)))),
        "rescale: the job has no stage `proces`; it has `numbers → map → shuffle`, `process`, `process → sink`"
    );
    assert_eq!(
        refused(sim.block_on(running.control(Rehash::stage("process").shard(8, 0)))),
        "rehash: stage `process` has 8 shards, counted from 0, and none is 8"
    );
    assert_eq!(
        refused(sim.block_on(running.control(Rehash::stage("process").shard(7, 2)))),
        "rehash: there are 2 kernels, counted from 0, and none is 2"
    );
    assert_eq!(kernels(&loads(&sim, &running)), [0, 0, 0, 0, 1, 1, 1, 1]);
}

/// A job that goes on from a checkpoint has its shards where they were, if there are as many kernels.
#[test]
fn where_shards_are_stays() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let start = |sim: &Sim| {
        let opened = sim.block_on(Checkpoints::open(store.clone(), &Path::from("job"))).unwrap();
        let job = Job::new("moves").shards(SHARDS).checkpoints(opened.every(Duration::from_millis(20)));
        counted(&job, 100_000);
        job.start(sim.handle()).unwrap()
    };
    let moved = [1, 1, 0, 0, 1, 1, 1, 1];
    {
        let sim = Sim::builder(1).kernels(2).build();
        let running = start(&sim);
        sim.run_for(Duration::from_millis(50));
        let rehash = Rehash::stage("process").shard(0, 1).shard(1, 1);
        assert_eq!(sim.block_on(running.control(rehash)).unwrap().drivers, 2);
        sim.run_for(Duration::from_millis(200));
    }
    let sim = Sim::builder(2).kernels(2).build();
    let running = start(&sim);
    sim.run_for(Duration::from_millis(200));
    assert_eq!(kernels(&loads(&sim, &running)), moved);
    drop((running, sim));
    let sim = Sim::builder(3).kernels(1).build();
    assert_eq!(kernels(&loads(&sim, &start(&sim))), [0; SHARDS]);
}

/// How often each key has come, kept with some weight.
#[derive(Clone)]
struct Count;

impl Process<u64, u64> for Count {
    type State = (u64, [u64; 8]);
    type Out = (u64, u64);

    fn record(&mut self, _: u64, (times, _): &mut Self::State, cx: &mut Context<'_, u64, Self::Out>) {
        *times += 1;
        cx.emit((*cx.key(), *times));
    }
}

/// A job of which half of the records are of one key, and whose kernels would have 7 of 8 parts of them and one.
#[test]
fn a_policy_levels_shards() {
    let sim = Sim::builder(9).kernels(2).build();
    let job = Job::new("skewed").shards(SHARDS);
    let keys = |shard: usize| (0..).filter(move |key: &u64| owner_of_key(key, SHARDS) == shard);
    let key_of: Vec<u64> = (0..SHARDS).map(|shard| keys(shard).next().unwrap()).collect();
    let hottest = key_of[0].to_string();
    let of_record = move |n: u64| {
        if n.is_multiple_of(2) { key_of[0] } else { key_of[[1, 2, 3, 1, 2, 3, 4, 5][(n / 2 % 8) as usize]] }
    };
    let (sink, rows) = gather();
    let source = stalling(Scripted(vec![(0..40_000).map(|n| vec![n]).collect()]), Duration::from_millis(1));
    let numbers = job.source("numbers", source).epochs(Epochs::Records(50)).stream();
    numbers.key_by(move |n| of_record(*n)).process(Who).sink("rows", sink);
    let running = job.start(sim.handle()).unwrap();
    let dry = running.follow(Skew::default().records(100), Pace::every(Duration::from_millis(200)).dry());
    sim.run_for(Duration::from_millis(500));
    assert!(dry.decided().iter().all(|decided| !decided.is_done) && !dry.decided().is_empty());
    assert_eq!(kernels(&loads(&sim, &running)), [0, 0, 0, 0, 1, 1, 1, 1], "nothing was done");
    drop(dry);
    let following = running.follow(Skew::default().records(100), Pace::every(Duration::from_millis(200)));
    sim.run_for(Duration::from_secs(2));
    let (before, _) = (loads(&sim, &running), sim.run_for(Duration::from_secs(1)));
    let mut sums = [0; 2];
    for (before, now) in before.iter().zip(loads(&sim, &running)) {
        sums[now.kernel] += now.records - before.records;
    }
    let share = *sums.iter().max().unwrap() as f64 / sums.iter().sum::<u64>() as f64;
    assert!(share < 0.6, "{share} of the records are with one of two kernels: {:?}", following.decided());
    let cut = sim.block_on(running.control(Monitor::default())).unwrap();
    let process = cut.parts.iter().find(|cut| &*cut.part.name == "process").unwrap();
    let hot = process.hot.iter().find(|hot| hot.shard == 0).unwrap();
    assert!(hot.key == hottest && hot.share > 0.9, "all records of its shard are of one key: {hot:?}");
    let decided = following.decided();
    assert!(decided[0].is_done && decided[0].why.starts_with("the busiest kernel has 8"), "{decided:?}");
    sim.block_on(running.join()).unwrap();
    assert_eq!(rows.take().len(), 40_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    /// With snapshots that are saved while shards move, from which the job goes on.
    #[test]
    fn moves_and_snapshots_do_not_disturb_each_other(
        driver in drivers(),
        shards in 1usize..12,
        keys in 1u64..4_000,
        moves in proptest::collection::vec((0usize..12, 0usize..3, 0u64..30_000), 1..12),
        killed_after in 0u64..200_000,
    ) {
        let count = 20_000;
        let ledger = Ledger::default();
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let job = |opened: Checkpoints| {
            let job = Job::new("moves").shards(shards).checkpoints(opened.every(Duration::from_millis(2)));
            let batches = (0..count).collect::<Vec<u64>>().chunks(50).map(<[u64]>::to_vec).collect();
            let source = stalling(Scripted(vec![batches]), Duration::from_millis(2));
            let numbers = job.source("numbers", source).epochs(Epochs::Records(200)).stream();
            numbers.key_by(move |n| n % keys).process(Count).sink("rows", ledger.sink());
            job
        };
        let ask = |running: &Running, (shard, kernel, _): (usize, usize, u64), kernels: usize| {
            let rehash = Rehash::stage("process").shard(shard % shards, kernel % kernels);
            let rescale = Rescale::job(1 + kernel % kernels);
            drop(if shard.is_multiple_of(3) { running.control(rescale) } else { running.control(rehash) });
        };
        let opened = |sim: &Sim| sim.block_on(Checkpoints::open(store.clone(), &Path::from("job"))).unwrap();
        match driver {
            Driver::Simulated(seed, kernels, stalls) => {
                let sim = || {
                    let faults = Faults::none().stalls(stalls, Duration::from_millis(5));
                    Sim::builder(seed).kernels(kernels).faults(faults).build()
                };
                {
                    let sim = sim();
                    let running = job(opened(&sim)).start(sim.handle()).unwrap();
                    for one in &moves {
                        sim.run_for(Duration::from_micros(one.2));
                        ask(&running, *one, kernels);
                    }
                    sim.run_for(Duration::from_micros(killed_after));
                }
                let sim = sim();
                let running = job(opened(&sim)).start(sim.handle()).unwrap();
                moves.iter().for_each(|one| ask(&running, *one, kernels));
                sim.block_on(running.join()).unwrap();
            }
            Driver::Threads(kernels) => {
                let runtime = Runtime::builder().kernels(kernels).pin(false).build().unwrap();
                let opened = runtime.block_on(Checkpoints::open(store.clone(), &Path::from("job"))).unwrap();
                let running = job(opened).start(runtime.handle()).unwrap();
                for one in moves.iter().cycle().take(100) {
                    ask(&running, *one, kernels);
                    std::thread::yield_now();
                }
                runtime.block_on(running.join()).unwrap();
            }
        }
        let expected = (0..count).map(|n| (n % keys, 1 + n / keys)).collect::<Vec<_>>();
        let mut rows = ledger.committed();
        rows.sort_unstable();
        let mut expected = expected;
        expected.sort_unstable();
        prop_assert_eq!(rows, expected);
    }
}
