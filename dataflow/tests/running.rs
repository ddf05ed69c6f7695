//! Jobs while they run: backpressure, failures, draining, dead letters, idle sources.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use updraft_dataflow::aggregate::{count, sum};
use updraft_dataflow::testing::{Scripted, gather};
use updraft_dataflow::{
    Batch, Bundle, DeadLetter, Epochs, Error, Idle, Job, Partition, Punctuation, Sink, Sliding, Source, Time, Tumbling,
    Watermarks, Windowed,
};
use updraft_kernel::{Nanos, Runtime, Signal, clock};

fn runtime(kernels: usize) -> Runtime {
    Runtime::builder().kernels(kernels).pin(false).build().unwrap()
}

/// A source of `u64`s without end, or so it seems.
struct Numbers {
    next: u64,
    end: u64,
    read: Arc<AtomicU64>,
}

impl Source for Numbers {
    type Item = u64;
    type Partition = Self;
    fn open(self) -> Result<Vec<Self>, Error> {
        Ok(vec![self])
    }
}

impl Partition for Numbers {
    type Item = u64;
    async fn next(&mut self, limit: usize) -> Result<Option<Batch<u64>>, Error> {
        let end = self.end.min(self.next + limit as u64);
        let batch: Vec<u64> = (self.next..end).collect();
        self.next = end;
        self.read.store(end, Ordering::SeqCst);
        Ok((!batch.is_empty()).then(|| batch.into()))
    }
    fn position(&self) -> String {
        format!("number {}", self.next)
    }
}

/// A sink that takes nothing until it is let.
struct Stopped {
    go: Arc<Signal>,
    stopped: Arc<AtomicBool>,
    sum: Arc<AtomicU64>,
}

impl Sink<u64> for Stopped {
    async fn write(&mut self, bundle: Bundle<u64>) -> Result<(), Error> {
        if self.stopped.load(Ordering::SeqCst) {
            self.go.wait().await;
            self.stopped.store(false, Ordering::SeqCst);
        }
        self.sum.fetch_add(bundle.as_slice().iter().sum(), Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn a_stopped_sink_stops_the_source_and_nothing_is_lost() {
    const N: u64 = 3_000_000;
    for kernels in [1, 2] {
        let runtime = runtime(kernels);
        let (read, go, stopped, total) =
            (Arc::default(), Arc::new(Signal::new()), Arc::new(AtomicBool::new(true)), Arc::default());
        let job = Job::new("stopped");
        job.source("numbers", Numbers { next: 0, end: N, read: Arc::clone(&read) })
            .stream()
            .filter(|n| n % 3 != 0)
            .sink("stopped", Stopped { go: go.clone(), stopped, sum: Arc::clone(&total) });
        let running = job.start(runtime.handle()).unwrap();
        // Until the source has not moved for a while.
        let mut last = u64::MAX;
        while last != read.load(Ordering::SeqCst) {
            last = read.load(Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(last < N / 2, "the source has read {last} records although nobody takes them");
        assert!(running.memory() < 16 << 20, "{} bytes are queued", running.memory());
        go.set();
        runtime.block_on(running.join()).unwrap();
        assert_eq!(total.load(Ordering::SeqCst), (0..N).filter(|n| n % 3 != 0).sum::<u64>());
        assert_eq!(running.memory(), 0, "what was charged has been released");
    }
}

/// A merged window gives more bundles than the stage after it may hold. When each kernel does its own work only, one of
/// them fills that stage, and the other one waits for it to be emptied.
#[test]
fn without_stealing_a_worker_that_waits_for_room_goes_on() {
    const N: u64 = 200_000;
    for _ in 0..50 {
        let runtime = runtime(2);
        let job = Job::new("own work").stealing(false);
        let (sink, rows) = gather();
        let events: Vec<Vec<u64>> = (0..N).collect::<Vec<_>>().chunks(10_000).map(<[_]>::to_vec).collect();
        job.source("events", Scripted(vec![events.clone(), events]))
            .timestamps(|_: &u64| Time(0), Watermarks::monotonic())
            .stream()
            .key_by(|n| *n)
            .window(Tumbling::of(Duration::from_secs(1)))
            .aggregate(count())
            .key_by(|row| row.key % 100)
            .window(Tumbling::of(Duration::from_secs(1)))
            .aggregate(sum(|row: &Windowed<u64, u64>| row.value))
            .sink("rows", sink);
        runtime.block_on(job.start(runtime.handle()).unwrap().join()).unwrap();
        assert_eq!(rows.take().iter().map(|row| row.value).sum::<u64>(), 2 * N);
    }
}

#[test]
fn state_over_budget_slows_but_does_not_stop() {
    let runtime = runtime(2);
    let job = Job::new("tight").memory_budget(100 << 10);
    let (sink, rows) = gather();
    let events: Vec<Vec<u64>> = (0..200).map(|b| (b * 1000..(b + 1) * 1000).collect()).collect();
    job.source("events", Scripted(vec![events]))
        .timestamps(|n: &u64| Time(*n as i64), Watermarks::monotonic())
        .stream()
        .key_by(|n| *n)
        .window(Tumbling::of(Duration::from_micros(50_000)))
        .aggregate(count())
        .sink("rows", sink);
    let running = job.start(runtime.handle()).unwrap();
    runtime.block_on(running.join()).unwrap();
    assert_eq!(rows.take().len(), 200_000);
    assert!(running.peak_memory() > 100 << 10);
    assert_eq!(running.memory(), 0);
}

#[test]
fn a_panic_names_the_operators_and_the_record() {
    let runtime = runtime(2);
    let job = Job::new("panics");
    let (sink, _rows) = gather();
    job.source("numbers", Numbers { next: 0, end: 100_000, read: Arc::default() })
        .stream()
        .map(|n| if n == 77_777 { panic!("cannot bear {n}") } else { n })
        .sink("rows", sink);
    let error = runtime.block_on(job.start(runtime.handle()).unwrap().join()).unwrap_err().to_string();
    assert!(
        error.contains("job `panics`") && error.contains("numbers → map") && error.contains("cannot bear 77777"),
        "{error}"
    );
    // The kernels go on: another job runs.
    let job = Job::new("fine");
    let (sink, rows) = gather();
    job.source("numbers", Numbers { next: 0, end: 10, read: Arc::default() }).stream().sink("rows", sink);
    runtime.block_on(job.start(runtime.handle()).unwrap().join()).unwrap();
    assert_eq!(rows.take().len(), 10);
}

#[test]
fn draining_fires_all_windows() {
    let runtime = runtime(2);
    let job = Job::new("endless");
    let (sink, rows) = gather();
    let read = Arc::default();
    job.source("numbers", Numbers { next: 0, end: u64::MAX, read: Arc::clone(&read) })
        .timestamps(|n: &u64| Time(*n as i64), Watermarks::bounded(Duration::from_secs(1)))
        .stream()
        .key_by(|n| n % 10)
        .window(Sliding::of(Duration::from_secs(4), Duration::from_secs(2)))
        .aggregate(count())
        .sink("rows", sink);
    let running = job.start(runtime.handle()).unwrap();
    while read.load(Ordering::SeqCst) < 100_000 {
        std::thread::yield_now();
    }
    running.drain();
    let metrics = runtime.block_on(running.join()).unwrap();
    // Each record is in two windows.
    assert_eq!(rows.take().iter().map(|row| row.value).sum::<u64>(), metrics.records() * 2);
}

#[test]
fn cancelling_ends_the_job() {
    let runtime = runtime(2);
    let job = Job::new("endless");
    job.source("numbers", Numbers { next: 0, end: u64::MAX, read: Arc::default() }).stream().sink("rows", gather().0);
    let running = job.start(runtime.handle()).unwrap();
    running.cancel();
    assert_eq!(runtime.block_on(running.join()).unwrap_err().to_string(), "job `endless`: cancelled");
}

/// Gives numbers, every seventh of which cannot be decoded.
struct Damaged(Numbers);

impl Source for Damaged {
    type Item = u64;
    type Partition = Self;
    fn open(self) -> Result<Vec<Self>, Error> {
        Ok(vec![self])
    }
}

impl Partition for Damaged {
    type Item = u64;
    async fn next(&mut self, limit: usize) -> Result<Option<Batch<u64>>, Error> {
        let Some(batch) = self.0.next(limit).await? else { return Ok(None) };
        let (bad, good): (Vec<_>, Vec<_>) = batch.records.into_vec().into_iter().partition(|n| n % 7 == 0);
        let letter =
            |n: u64| DeadLetter { origin: "file".into(), line: n, bytes: vec![b'x'], reason: "not a number".into() };
        Ok(Some(Batch { records: good.into(), rejected: bad.into_iter().map(letter).collect() }))
    }
    fn position(&self) -> String {
        self.0.position()
    }
}

#[test]
fn bad_records_stop_the_job_or_are_set_aside() {
    let runtime = runtime(1);
    let source = || Damaged(Numbers { next: 1, end: 1000, read: Arc::default() });
    let job = Job::new("strict");
    job.source("numbers", source()).stream().sink("rows", gather().0);
    let error = runtime.block_on(job.start(runtime.handle()).unwrap().join()).unwrap_err().to_string();
    assert!(error.starts_with("job `strict`: source `numbers`: file:7: not a number"), "{error}");

    let job = Job::new("lenient");
    let mut input = job.source("numbers", source());
    let ((sink, letters), (rows_sink, rows)) = (gather(), gather());
    input.dead_letters().sink("letters", sink);
    input.stream().sink("rows", rows_sink);
    let metrics = runtime.block_on(job.start(runtime.handle()).unwrap().join()).unwrap();
    let lines: Vec<_> = letters.take().iter().map(|letter| letter.line).collect();
    assert_eq!(lines, (1..1000).filter(|n| n % 7 == 0).collect::<Vec<_>>());
    assert_eq!((metrics.rejected(), rows.take().len()), (142, 857));
}

/// Gives its records, and then nothing for ever, until it is drained.
struct Silent(Option<Vec<u64>>);

struct Silents(Vec<Silent>);

impl Source for Silents {
    type Item = u64;
    type Partition = Silent;
    fn open(self) -> Result<Vec<Silent>, Error> {
        Ok(self.0)
    }
}

impl Partition for Silent {
    type Item = u64;
    async fn next(&mut self, _: usize) -> Result<Option<Batch<u64>>, Error> {
        match self.0.take() {
            Some(records) => Ok(Some(records.into())),
            None => std::future::pending().await,
        }
    }
    fn position(&self) -> String {
        "silent".into()
    }
}

#[test]
fn an_idle_partition_holds_nobody_back() {
    let runtime = runtime(2);
    let job = Job::new("idle");
    let (sink, rows) = gather();
    job.source("partitions", Silents(vec![Silent(Some((0..10_000).collect())), Silent(Some(vec![5])), Silent(None)]))
        .timestamps(|n: &u64| Time(*n as i64), Watermarks::monotonic())
        .epochs(Epochs::WatermarkStep(Duration::from_micros(1000)))
        .idle(Idle { after: Some(Duration::from_millis(20)), follow_clock: false })
        .stream()
        .key_by(|_| 0)
        .window(Tumbling::of(Duration::from_micros(1000)))
        .aggregate(sum(|_: &u64| 1_u64))
        .sink("rows", sink);
    let running = job.start(runtime.handle()).unwrap();
    let mut seen = Vec::new();
    // All but the last window come although two partitions are silent.
    while seen.len() < 9 {
        seen.extend(rows.take());
        std::thread::sleep(Duration::from_millis(1));
    }
    running.drain();
    runtime.block_on(running.join()).unwrap();
    seen.extend(rows.take());
    assert_eq!(seen.iter().map(|row| row.value).sum::<u64>(), 10_001);
}

#[test]
fn without_records_windows_may_follow_the_clock() {
    let runtime = runtime(1);
    let job = Job::new("clock");
    let (sink, rows) = gather();
    job.source("partitions", Silents(vec![Silent(Some(vec![10, 20]))]))
        .timestamps(|n: &u64| Time(*n as i64), Watermarks::monotonic())
        .idle(Idle { after: Some(Duration::from_millis(20)), follow_clock: true })
        .stream()
        .key_by(|_| 0)
        .window(Tumbling::of(Duration::from_millis(50)))
        .aggregate(count())
        .sink("rows", sink);
    let running = job.start(runtime.handle()).unwrap();
    let begin: Nanos = clock::now();
    let mut seen = Vec::new();
    while seen.is_empty() && clock::now().since(begin) < Duration::from_secs(60) {
        seen.extend(rows.take());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(seen[0].value, 2);
    running.drain();
    runtime.block_on(running.join()).unwrap();
}

/// A sink that notes how many records each epoch has.
struct Counted {
    records: usize,
    epochs: Arc<Mutex<Vec<usize>>>,
}

impl Sink<u64> for Counted {
    async fn write(&mut self, bundle: Bundle<u64>) -> Result<(), Error> {
        self.records += bundle.len();
        Ok(())
    }
    async fn complete(&mut self, _: Punctuation) -> Result<(), Error> {
        self.epochs.lock().unwrap().push(std::mem::take(&mut self.records));
        Ok(())
    }
}

#[test]
fn without_event_time_epochs_are_of_so_many_records() {
    // On one kernel the sink has an epoch whole before it has anything of the next.
    let runtime = runtime(1);
    let job = Job::new("counted");
    let epochs = Arc::new(Mutex::new(Vec::new()));
    let batches = [5, 0, 9, 1, 7].map(|len| vec![1; len]).to_vec();
    let input = job.source("numbers", Scripted(vec![batches])).epochs(Epochs::Records(7));
    input.stream().sink("counted", Counted { records: 0, epochs: epochs.clone() });
    runtime.block_on(job.start(runtime.handle()).unwrap().join()).unwrap();
    assert_eq!(*epochs.lock().unwrap(), [7, 7, 7, 1]);
}

#[test]
fn union_and_fork_keep_every_record_and_the_lesser_watermark() {
    for kernels in [1, 3] {
        let runtime = runtime(kernels);
        let job = Job::new("diamond");
        let (sink, rows) = gather();
        let events =
            |shift: u64| Scripted(vec![(0..50).map(|b| (b * 20..(b + 1) * 20).map(|n| n + shift).collect()).collect()]);
        let timed = |name: &'static str, shift| {
            let input = job.source(name, events(shift)).timestamps(|n: &u64| Time(*n as i64), Watermarks::monotonic());
            input.epochs(Epochs::Records(33)).stream()
        };
        let (even, odd) = timed("left", 0).union(timed("right", 300).map(|n| n)).fork();
        even.filter(|n| n % 2 == 0)
            .union(odd.filter(|n| n % 2 == 1))
            .key_by(|n| n % 2)
            .window(Tumbling::of(Duration::from_micros(100)))
            .aggregate((count(), sum(|n: &u64| *n)))
            .sink("rows", sink);
        runtime.block_on(job.start(runtime.handle()).unwrap().join()).unwrap();
        let rows = rows.take();
        let totals = rows.iter().fold((0, 0), |total, row| (total.0 + row.value.0, total.1 + row.value.1));
        let all = || (0..1000_u64).chain(300..1300);
        assert_eq!(totals, (2000, all().sum()));
        assert_eq!(rows.len(), 26);
    }
}

#[test]
fn results_that_ignore_boundaries_come_in_the_end() {
    let runtime = runtime(2);
    let rows = |job: Job| {
        let (sink, rows) = gather();
        job.source("numbers", Numbers { next: 0, end: 200_000, read: Arc::default() })
            .timestamps(|n| Time(*n as i64), Watermarks::monotonic())
            .epochs(Epochs::Records(1_000))
            .stream()
            .key_by(|n| n % 7)
            .window(Tumbling::of(Duration::from_millis(10)))
            .aggregate(count())
            .sink("rows", sink);
        let running = job.start(runtime.handle()).unwrap();
        runtime.block_on(running.join()).unwrap();
        assert_eq!(running.memory(), 0);
        let mut rows = rows.take();
        rows.sort();
        rows
    };
    assert_eq!(rows(Job::new("astray").ignore_boundaries()), rows(Job::new("kept")));
}
