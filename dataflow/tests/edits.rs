//! Jobs that are edited between their runs: branches come and go, filters change, statements are put in another order. Each record
//! counts for what there was when it was read, and state stays with the operator that it is of.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::prelude::*;
use updraft_dataflow::aggregate::{count, sum};
use updraft_dataflow::checkpoint::{Becomes, Changes, Checkpoints};
use updraft_dataflow::keyed::{Context, Process};
use updraft_dataflow::sim::{Sim, stalling};
use updraft_dataflow::testing::{Ledger, Scripted};
use updraft_dataflow::{Job, Stream, Time, Tumbling, Watermarks};

const RECORDS: i64 = 300;
const BRANCHES: usize = 4;
const KEYS: i64 = 5;

/// What a branch lets through, and whether another operator with state follows; in order of description.
#[derive(Clone, Debug)]
struct Branch {
    number: usize,
    modulus: i64,
    again: bool,
}

/// A run, until it is killed; the last one ends by itself.
#[derive(Clone, Debug)]
struct Life {
    branches: Vec<Branch>,
    seed: u64,
    kernels: usize,
    killed_after: u64,
    every: u64,
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let branches = proptest::collection::btree_map(0..BRANCHES, (2i64..5, any::<bool>()), 1..=BRANCHES);
    let branches = branches.prop_map(|branches| branches.into_iter().collect::<Vec<_>>()).prop_shuffle();
    let branches = branches.prop_map(|branches| {
        branches.into_iter().map(|(number, (modulus, again))| Branch { number, modulus, again }).collect::<Vec<_>>()
    });
    let life = (branches, any::<u64>(), 1usize..4, 0u64..200_000, 1_000u64..30_000).prop_map(
        |(branches, seed, kernels, killed_after, every)| Life { branches, seed, kernels, killed_after, every },
    );
    proptest::collection::vec(life, 2..6)
}

/// The sum of what has come, by key.
#[derive(Clone)]
struct Running;

impl Process<i64, (i64, i64)> for Running {
    type State = i64;
    type Out = (i64, i64);

    fn record(&mut self, (key, n): (i64, i64), sum: &mut i64, cx: &mut Context<'_, i64, (i64, i64)>) {
        *sum += n;
        cx.emit((key, *sum));
    }
}

fn build(life: &Life, checkpoints: Checkpoints, ledgers: &[Ledger<(i64, i64)>]) -> Job {
    let job = Job::new("numbers");
    let batches = (0..RECORDS).map(|n| vec![n]).collect();
    let source = stalling(Scripted(vec![batches]), Duration::from_millis(2));
    let numbers = job.source("numbers", source).stream();
    for branch in &life.branches {
        let Branch { number, modulus, again } = *branch;
        let kept = numbers.share().filter(move |n| n % modulus != 0).map(|n| (n % KEYS, n));
        let sums = kept.key_by(|(key, _)| *key).process(Running).uid(format!("sums {number}"));
        let name = format!("out {number}");
        if again {
            // Called by what it reads.
            sums.key_by(|(key, _)| *key).process(Running).sink(name, ledgers[number].sink());
        } else {
            sums.sink(name, ledgers[number].sink());
        }
    }
    let checkpoints = checkpoints.every(Duration::from_micros(life.every)).changes(Changes::Allow);
    let plan = checkpoints.plan(&job).unwrap();
    for id in plan.iter().flat_map(|plan| plan.gone_sinks()) {
        let number: usize = id.strip_prefix("sink out ").unwrap().parse().unwrap();
        job.commits(id, ledgers[number].sink());
    }
    job.checkpoints(checkpoints)
}

/// What an interpreter keeps of a branch: sums by key, and sums of these.
type Kept = [BTreeMap<i64, i64>; 2];

/// Whose records from one place to another.
fn interpret(branches: &[Branch], from: i64, to: i64, kept: &mut BTreeMap<usize, Kept>, out: &mut [Vec<(i64, i64)>]) {
    // What is not there is forgotten.
    kept.retain(|number, kept| {
        let branch = branches.iter().find(|branch| branch.number == *number);
        if branch.is_some_and(|branch| !branch.again) {
            kept[1].clear();
        }
        branch.is_some()
    });
    for branch in branches {
        let [sums, again] = kept.entry(branch.number).or_default();
        for n in (from..to).filter(|n| n % branch.modulus != 0) {
            let sum = sums.entry(n % KEYS).or_default();
            *sum += n;
            let mut row = *sum;
            if branch.again {
                let sum = again.entry(n % KEYS).or_default();
                *sum += row;
                row = *sum;
            }
            out[branch.number].push((n % KEYS, row));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn edited_jobs_go_on_with_what_is_theirs(lives in lives()) {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let ledgers: Vec<Ledger<(i64, i64)>> = (0..BRANCHES).map(|_| Ledger::default()).collect();
        let (mut kept, mut expected, mut at) = (BTreeMap::new(), vec![Vec::new(); BRANCHES], (0, 0));
        // Branches that a checkpoint tells of since they were there last: of others nobody knows what was prepared.
        let mut known = [true; BRANCHES];
        let mut before: Option<&Life> = None;
        for (n, life) in lives.iter().enumerate() {
            let sim = Sim::builder(life.seed).kernels(life.kernels).build();
            let opened = sim.block_on(Checkpoints::open(store.clone(), &Path::from("job"))).unwrap();
            // How far the one before had come is known now; if it has stored nothing, it is as if it had not been there.
            let from = opened.goes_on_from().map_or((0, 0), |(number, manifest)| {
                (number, manifest.parts["source numbers"].note[0]["place"].as_i64().unwrap())
            });
            if let Some(before) = before {
                before.branches.iter().for_each(|branch| known[branch.number] = from.0 != at.0);
            }
            if let Some(before) = before.filter(|_| from.0 != at.0) {
                interpret(&before.branches, at.1, from.1, &mut kept, &mut expected);
            }
            (at, before) = (from, Some(life));
            let running = build(life, opened, &ledgers).start(sim.handle()).unwrap();
            if n + 1 < lives.len() {
                sim.run_for(Duration::from_micros(life.killed_after));
            } else {
                sim.block_on(running.join()).unwrap();
            }
            if running.is_ended() {
                break;
            }
        }
        let last = before.unwrap();
        interpret(&last.branches, at.1, RECORDS, &mut kept, &mut expected);
        last.branches.iter().for_each(|branch| known[branch.number] = true);
        for (number, (ledger, mut expected)) in ledgers.iter().zip(expected).enumerate() {
            let mut rows = ledger.committed();
            rows.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(rows, expected);
            prop_assert!(ledger.prepared() == 0 || !known[number]);
        }
    }
}

/// Runs a job for a while: then it is dropped as it is. `build` describes it.
fn run(store: &Arc<dyn ObjectStore>, changes: Changes, build: impl FnOnce(&Job)) -> Result<(), String> {
    let sim = Sim::new(7);
    let opened = sim.block_on(Checkpoints::open(store.clone(), &Path::from("job"))).unwrap();
    let job = Job::new("job");
    build(&job);
    let checkpoints = opened.every(Duration::from_millis(10)).changes(changes);
    let running = job.checkpoints(checkpoints).start(sim.handle()).map_err(|error| error.to_string())?;
    sim.run_for(Duration::from_millis(200));
    assert!(running.metrics().checkpoints.count() > 0 && !running.is_ended());
    Ok(())
}

/// What becomes of the parts of the last checkpoint in a job.
fn plan(store: &Arc<dyn ObjectStore>, build: impl FnOnce(&Job)) -> BTreeMap<String, Becomes> {
    let opened = Sim::new(8).block_on(Checkpoints::open(store.clone(), &Path::from("job"))).unwrap();
    let job = Job::new("job");
    build(&job);
    opened.plan(&job).unwrap().unwrap().parts
}

fn numbers(job: &Job, name: &str) -> Stream<i64> {
    let batches = (0..10_000).map(|n| vec![n]).collect();
    job.source(name.to_owned(), stalling(Scripted(vec![batches]), Duration::from_millis(10))).stream()
}

fn windows(job: &Job, size: u64, counted: bool) {
    let source = stalling(Scripted(vec![(0..10_000).map(|n| vec![n]).collect()]), Duration::from_millis(10));
    let timed = job.source("timed", source).timestamps(|n: &i64| Time(*n), Watermarks::monotonic()).stream();
    let windows = timed.key_by(|n| n % 3).window(Tumbling::of(Duration::from_micros(size)));
    if counted {
        windows.aggregate(count()).sink("windows", Ledger::default().sink());
    } else {
        windows.aggregate(sum(|n: &i64| *n)).sink("windows", Ledger::default().sink());
    }
}

#[test]
fn ids_are_what_they_were_whatever_is_done_elsewhere() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let sums = |stream: Stream<i64>| stream.map(|n| (n % KEYS, n)).key_by(|(key, _)| *key).process(Running);
    run(&store, Changes::Strict, |job| {
        sums(numbers(job, "a")).sink("a", Ledger::default().sink());
        windows(job, 100, true);
    })
    .unwrap();
    let becomes = plan(&store, |job| {
        // Before, between and after: stateless operators, and a branch.
        sums(numbers(job, "b")).sink("b", Ledger::default().sink());
        windows(job, 100, true);
        let a = numbers(job, "a");
        sums(a.share().filter(|n| n % 2 == 0).rebalance()).filter(|_| true).sink("a", Ledger::default().sink());
        a.filter(|_| true).sink("all", Ledger::default().sink());
    });
    let new: Vec<_> = becomes.iter().filter(|(_, becomes)| **becomes != Becomes::Reused).collect();
    let is_new = |id: &str| (id.to_owned(), Becomes::New);
    let expected = BTreeMap::from(["sink all", "sink b", "source b", "stage process of b"].map(is_new));
    assert_eq!(new, expected.iter().collect::<Vec<_>>());
    assert_eq!(becomes["stage process of a"], Becomes::Reused);
    assert_eq!(becomes["stage window of timed"], Becomes::Reused);
}

#[test]
fn state_of_another_kind_is_not_read() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    run(&store, Changes::Strict, |job| windows(job, 100, true)).unwrap();
    for (size, counted, why) in [(200, true, "`200` stands"), (100, false, "was u64, and is i64")] {
        let becomes = plan(&store, |job| windows(job, size, counted));
        let Becomes::Rebuilt(told) = &becomes["stage window of timed"] else { panic!("{becomes:?}") };
        assert!(told.contains(why) || told.contains("was 100, and is 200"), "{told}");
        let refused = run(&store, Changes::Strict, |job| windows(job, size, counted)).unwrap_err();
        assert!(refused.contains("is of another job") && refused.contains("begins empty"), "{refused}");
    }
    run(&store, Changes::Allow, |job| windows(job, 200, true)).unwrap();
    assert!(plan(&store, |job| windows(job, 200, true)).values().all(|becomes| *becomes == Becomes::Reused));
}

#[test]
fn what_cannot_be_told_apart_is_not_taken_for_another() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let sums = |stream: Stream<i64>| stream.map(|n| (n % KEYS, n)).key_by(|(key, _)| *key).process(Running);
    let build = |job: &Job, branches: usize| {
        let a = numbers(job, "a");
        for branch in 0..branches {
            sums(a.share()).sink(format!("sink {branch}"), Ledger::default().sink());
        }
    };
    run(&store, Changes::Strict, |job| build(job, 2)).unwrap();
    assert!(plan(&store, |job| build(job, 2)).values().all(|becomes| *becomes == Becomes::Reused));
    let becomes = plan(&store, |job| build(job, 3));
    let Becomes::Rebuilt(why) = &becomes["stage process of a"] else { panic!("{becomes:?}") };
    assert!(why.contains("there were 2 of that name, and are 3: give each a `uid`"), "{why}");
}

#[test]
fn an_id_is_of_one_operator() {
    let job = Job::new("job");
    let a = numbers(&job, "a");
    for name in ["one", "two"] {
        let keyed = a.share().map(|n| (n % KEYS, n)).key_by(|(key, _)| *key).process(Running).uid("sums");
        keyed.sink(name, Ledger::default().sink());
    }
    let error = job.start(Sim::new(1).handle()).unwrap_err().to_string();
    assert!(error.contains("both `process` and `process` are called `stage sums`"), "{error}");
}

#[test]
#[should_panic(expected = "say it right after the source")]
fn what_has_no_state_has_no_id() {
    let job = Job::new("job");
    let _ = numbers(&job, "a").map(|n| n + 1).uid("more");
}

/// What a sink that is gone has prepared is committed, or the job does not start.
#[test]
fn what_was_prepared_is_not_lost() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let ledger = Ledger::<i64>::default();
    run(&store, Changes::Strict, |job| {
        let a = numbers(job, "a");
        a.share().sink("one", ledger.sink());
        a.sink("other", Ledger::<i64>::default().sink());
    })
    .unwrap();
    let lost = run(&store, Changes::Allow, |job| numbers(job, "a").sink("other", Ledger::<i64>::default().sink()));
    assert!(lost.unwrap_err().contains("sink one is gone, and what it has prepared"));
    run(&store, Changes::Allow, |job| {
        numbers(job, "a").sink("other", Ledger::<i64>::default().sink());
        job.commits("sink one", ledger.sink());
    })
    .unwrap();
    assert_eq!(ledger.prepared(), 0);
    let rows = ledger.committed();
    assert!(!rows.is_empty() && rows.iter().copied().eq(0..rows.len() as i64), "{rows:?}");
    assert!(
        !plan(&store, |job| numbers(job, "a").sink("other", Ledger::<i64>::default().sink())).contains_key("sink one")
    );
}
