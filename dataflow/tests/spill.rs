//! Keyed state that memory has no room for: against the same job with all of it in memory, and against a model; on threads and
//! simulated; with timers, checkpoints and other kernels; and when there is nowhere to put it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use support::{Driver, drivers};
use updraft_dataflow::checkpoint::Checkpoints;
use updraft_dataflow::keyed::{Clock, Context, Process, TimeToLive, Timer};
use updraft_dataflow::testing::{Gathered, Ledger, Scripted, gather};
use updraft_dataflow::{Batch, Epochs, Error, Job, Partition, Running, Sink, Source, Time, Watermarks};
use updraft_kernel::Runtime;
use updraft_kernel::sim::Sim;

/// A folder on a disk in memory, where there is one: tables are synced, and nothing of it has to last.
fn folder() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap()
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

/// Key, number, time.
type Event = (u32, u64, i64);

/// What is kept of a key: some sums, and bytes that make it as large as it is to be.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Kept {
    count: u64,
    sum: u64,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
}

/// Bytes that belong to a key, and tell it from others.
fn bytes_of(key: u32, size: usize) -> Vec<u8> {
    (0..size).map(|n| (key as usize * 31 + n * 7) as u8).collect()
}

/// Keeps so many bytes by key; tells each record's key, how many there have been, and their sum.
#[derive(Clone)]
struct Keep(usize);

impl Process<u32, Event> for Keep {
    type State = Kept;
    type Out = (u32, u64, u64);
    const TIMERS: bool = false;

    fn record(&mut self, (key, n, _): Event, kept: &mut Kept, cx: &mut Context<'_, u32, Self::Out>) {
        if kept.count == 0 {
            kept.bytes = bytes_of(key, self.0);
        }
        assert!(kept.bytes == bytes_of(key, self.0), "the bytes of a key are its own");
        kept.count += 1;
        kept.sum = kept.sum.wrapping_mul(31).wrapping_add(n);
        cx.emit((key, kept.count, kept.sum));
    }

    fn heap_bytes(&self, kept: &Kept) -> usize {
        kept.bytes.capacity()
    }
}

/// As many records as this for each key, which come in rounds, in each in another order.
fn rounds(keys: u32, rounds: u32) -> Vec<Event> {
    let step = (keys as u64 * 5 / 8) | 1;
    let event = |round: u32, n: u32| {
        let key = (n as u64 * step + u64::from(round) * 17) % u64::from(keys);
        (key as u32, u64::from(round * keys + n), i64::from(round * keys + n))
    };
    (0..rounds).flat_map(|round| (0..keys).map(move |n| event(round, n))).collect()
}

/// What [`Keep`] gives.
fn kept(events: &[Event]) -> Vec<(u32, u64, u64)> {
    let mut model = BTreeMap::<u32, (u64, u64)>::new();
    let count = |&(key, n, _): &Event| {
        let (count, sum) = model.entry(key).or_default();
        (*count, *sum) = (*count + 1, sum.wrapping_mul(31).wrapping_add(n));
        (key, *count, *sum)
    };
    let mut rows: Vec<_> = events.iter().map(count).collect();
    rows.sort_unstable();
    rows
}

fn keep(job: &Job, events: &[Event], size: usize, sink: impl Sink<(u32, u64, u64)>) {
    let batches = events.chunks(200).map(<[_]>::to_vec).collect();
    let source = job.source("events", Scripted(vec![batches]));
    let timed =
        source.timestamps(|event: &Event| Time(event.2), Watermarks::monotonic()).epochs(Epochs::Records(2_000));
    timed.stream().key_by(|event| event.0).process(Keep(size)).sink("rows", sink);
}

fn runtime(kernels: usize) -> Runtime {
    Runtime::builder().kernels(kernels).pin(false).build().unwrap()
}

fn sorted<T: Ord>(rows: &Gathered<T>) -> Vec<T> {
    let mut rows = rows.take();
    rows.sort_unstable();
    rows
}

const KEYS: u32 = 8_000;
const SIZE: usize = 3_000;
/// A tenth of what there is.
const BUDGET: usize = KEYS as usize * SIZE / 10;

/// That it has kept to its budget, but for what a bundle of each kernel needs: of a budget as small as this, up to an eighth.
fn within_budget(running: &Running) {
    assert!(running.peak_memory() <= BUDGET + BUDGET / 8, "{} of {BUDGET} bytes", running.peak_memory());
}

/// The same, and that it has put the rest elsewhere.
fn kept_to_budget(running: &Running) {
    within_budget(running);
    assert!(running.metrics().spilled.written().1 > 8 * BUDGET as u64, "{:?}", running.metrics().spilled);
}

#[test]
fn state_of_ten_budgets_gives_what_it_gives_in_memory() {
    let (folder, runtime, events) = (folder(), runtime(2), rounds(KEYS, 3));
    let run = |job: Job| {
        let (sink, rows) = gather();
        keep(&job, &events, SIZE, sink);
        let running = job.start(runtime.handle()).unwrap();
        runtime.block_on(running.join()).unwrap();
        assert_eq!(running.memory(), 0);
        (running, sorted(&rows))
    };
    let (in_memory, expected) = run(Job::new("in memory").never_spill());
    assert!(in_memory.peak_memory() > 10 * BUDGET);
    assert_eq!(in_memory.metrics().spilled.written(), (0, 0));
    assert_eq!(expected, kept(&events));
    let (spilled, rows) = run(Job::new("spilled").memory_budget(BUDGET).spill_to(folder.path()));
    kept_to_budget(&spilled);
    assert!(rows == expected);
    assert!(is_empty(folder.path()));
}

/// Suspended once and again, it goes on with other kernels.
#[test]
fn a_job_that_spills_goes_on_from_a_checkpoint() {
    let (folder, events) = (folder(), rounds(KEYS, 4));
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let ledger = Ledger::default();
    let mut processes = 0_u64;
    for kernels in [2, 3, 1] {
        let runtime = runtime(kernels);
        let opened =
            runtime.block_on(Checkpoints::open(store.clone(), &object_store::path::Path::from("job"))).unwrap();
        let checkpoints = opened.every(Duration::from_millis(500));
        let job = Job::new("kept").memory_budget(BUDGET).spill_to(folder.path()).checkpoints(checkpoints);
        keep(&job, &events, SIZE, ledger.sink());
        let running = job.start(runtime.handle()).unwrap();
        processes += 1;
        if processes < 3 {
            // When all keys are there, and some time after that.
            let so_many = u64::from(KEYS) / processes;
            while running.metrics().records() < so_many && !running.is_ended() {
                std::thread::sleep(Duration::from_millis(1));
            }
            runtime.block_on(running.suspend().unwrap());
            assert!(processes > 1 || ledger.committed().len() < events.len());
            kept_to_budget(&running);
        } else {
            runtime.block_on(running.join()).unwrap();
            assert_eq!(running.memory(), 0);
            within_budget(&running);
        }
    }
    let mut rows = ledger.committed();
    rows.sort_unstable();
    assert!(rows == kept(&events));
    assert!(is_empty(folder.path()));
}

/// Sets a timer with each record, and forgets its key when the second one fires.
#[derive(Clone)]
struct Alarms(usize);

impl Process<u32, Event> for Alarms {
    type State = Kept;
    type Out = (u32, i64, u64, u64);

    fn record(&mut self, (key, n, time): Event, kept: &mut Kept, cx: &mut Context<'_, u32, Self::Out>) {
        if kept.bytes.is_empty() {
            kept.bytes = bytes_of(key, self.0);
        }
        kept.count += 1;
        kept.sum = kept.sum.wrapping_mul(31).wrapping_add(n);
        cx.set_timer(Time(time + (n % 700) as i64));
        cx.delete_timer(Time(time - 300));
    }

    fn timer(&mut self, timer: Timer, kept: &mut Kept, cx: &mut Context<'_, u32, Self::Out>) {
        assert!(kept.bytes.is_empty() || kept.bytes == bytes_of(*cx.key(), self.0));
        cx.emit((*cx.key(), timer.at.0, kept.count, kept.sum));
        if kept.sum.is_multiple_of(2) {
            cx.clear();
        }
    }

    fn heap_bytes(&self, kept: &Kept) -> usize {
        kept.bytes.capacity()
    }
}

/// Events, bytes of a key, a budget, and how long a key lives.
type Case = (Vec<(u32, u8)>, usize, usize, Option<u64>);

fn cases() -> impl Strategy<Value = Case> {
    let events = proptest::collection::vec((0u32..400, 0u8..4), 0..3_000);
    (events, 200usize..1_500, 0usize..200_000, proptest::option::of(1u64..2_000))
}

fn alarms(case: &Case, job: &Job) -> Gathered<(u32, i64, u64, u64)> {
    let (events, size, _, live) = case;
    let mut now = 0;
    let timed = events.iter().zip(0..).map(|((key, gap), n)| {
        now += i64::from(*gap);
        (*key, n, now)
    });
    let batches = timed.collect::<Vec<Event>>().chunks(50).map(<[_]>::to_vec).collect();
    let (sink, rows) = gather();
    let source = job.source("events", Scripted(vec![batches]));
    let timed = source.timestamps(|event: &Event| Time(event.2), Watermarks::monotonic());
    let mut keyed = timed.epochs(Epochs::Records(150)).bundle(50).stream().key_by(|event| event.0).shuffle();
    if let Some(live) = live {
        keyed = keyed.time_to_live(TimeToLive { span: Duration::from_micros(*live), clock: Clock::Event });
    }
    keyed.process(Alarms(*size)).sink("rows", sink);
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Timers, keys that are cleared and keys that have lived their time; in the simulation, what is charged is what is there at
    /// each step.
    #[test]
    fn what_is_spilled_does_not_show(case in cases(), driver in drivers()) {
        let folder = folder();
        let in_memory = Job::new("in memory").never_spill();
        let expected = alarms(&case, &in_memory);
        Driver::Simulated(0, 1, 0.0).run(in_memory);
        let spilled = Job::new("spilled").memory_budget(case.2).spill_to(folder.path());
        let rows = alarms(&case, &spilled);
        driver.run(spilled);
        prop_assert_eq!(sorted(&rows), sorted(&expected));
    }
}

/// The same seed is the same run, also when something is spilled.
#[test]
fn a_simulated_run_that_spills_can_be_repeated() {
    let folder = folder();
    let events = rounds(500, 4);
    let run = || {
        let sim = Sim::builder(7).kernels(2).build();
        let job = Job::new("spilled").memory_budget(100 << 10).spill_to(folder.path());
        let (sink, rows) = gather();
        keep(&job, &events, 1_000, sink);
        let metrics = sim.block_on(job.start(sim.handle()).unwrap().join()).unwrap();
        assert!(metrics.spilled.read_back().0 > 1_000);
        (sim.fingerprint(), rows.take())
    };
    let (print, mut rows) = run();
    assert_eq!((print, rows.clone()), run());
    rows.sort_unstable();
    assert!(rows == kept(&events));
    assert!(is_empty(folder.path()));
}

/// The error of a job of which the state does not fit into memory.
fn fails(folder: PathBuf, budget: usize, size: usize, source: impl FnOnce(Vec<Vec<Event>>) -> Lossy) -> String {
    let runtime = runtime(2);
    let job = Job::new("lost").memory_budget(budget).spill_to(folder);
    let (sink, _rows) = gather();
    let batches = rounds(2_000, 3).chunks(100).map(<[_]>::to_vec).collect();
    let stream = job.source("events", source(batches)).epochs(Epochs::Records(500)).stream();
    stream.key_by(|event| event.0).process(Keep(size)).sink("rows", sink);
    runtime.block_on(job.start(runtime.handle()).unwrap().join()).unwrap_err().to_string()
}

/// A source that does something before a batch.
struct Lossy {
    batches: std::vec::IntoIter<Vec<Event>>,
    left: usize,
    then: Box<dyn FnMut() + Send>,
}

impl Lossy {
    fn new(batches: Vec<Vec<Event>>, left: usize, then: impl FnMut() + Send + 'static) -> Self {
        Self { batches: batches.into_iter(), left, then: Box::new(then) }
    }
}

impl Source for Lossy {
    type Item = Event;
    type Partition = Self;

    fn open(self) -> Result<Vec<Self>, Error> {
        Ok(vec![self])
    }
}

impl Partition for Lossy {
    type Item = Event;

    async fn next(&mut self, _: usize) -> Result<Option<Batch<Event>>, Error> {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            (self.then)();
        }
        Ok(self.batches.next().map(Batch::from))
    }

    fn position(&self) -> String {
        String::new()
    }
}

#[test]
fn who_cannot_spill_ends_with_an_error() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = fails(file.join("folder"), 200_000, 1_000, |batches| Lossy::new(batches, 0, || {}));
    assert!(
        error.contains("job `lost`") && error.contains("file/folder") && error.contains("`Job::spill_to`"),
        "{error}"
    );
}

/// Somebody deletes the folder while it is used.
#[test]
fn who_loses_what_is_spilled_ends_with_an_error() {
    let folder = folder();
    let path = folder.path().to_owned();
    let delete = move || {
        let all = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.is_dir()).for_each(|path| drop(fs::remove_dir_all(path)));
    };
    let error = fails(folder.path().into(), 200_000, 1_000, |batches| Lossy::new(batches, 35, delete));
    assert!(error.contains("cannot be kept in") && error.contains("`Job::spill_to`"), "{error}");
}

#[test]
fn a_key_that_is_larger_than_the_budget_ends_with_an_error() {
    let folder = folder();
    let error = fails(folder.path().into(), 2 << 20, 3 << 20, |batches| Lossy::new(batches, 0, || {}));
    assert!(error.contains("the state of a key is of 31") && error.contains("is of 2097152"), "{error}");
    // Whoever was at work on another kernel lets go of it a little later.
    while !is_empty(folder.path()) {
        std::thread::sleep(Duration::from_millis(1));
    }
}
