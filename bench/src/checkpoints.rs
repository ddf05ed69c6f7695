//! What checkpoints cost: the same job without them, with them, and with such as stop it, in turns: throughput, the latency of
//! results, and how much is written. And how long it takes until a job that was ended has its state again.

use std::time::{Duration, Instant};

use clap::{Args as ClapArgs, ValueEnum};
use updraft::connectors::state_store;
use updraft::dataflow::checkpoint::Checkpoints;
use updraft::dataflow::keyed::Context;
use updraft::dataflow::metrics::JobMetrics;
use updraft::prelude::*;

use crate::data::mix;
use crate::{median, or_all};

/// Microseconds of event time between two records.
const STEP: u64 = 1;

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Which jobs; all by default.
    #[arg(long, value_delimiter = ',', value_enum)]
    jobs: Vec<Work>,
    /// How many kernels.
    #[arg(long, default_value_t = 2)]
    kernels: usize,
    /// Seconds of a run that are timed.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Milliseconds between checkpoints.
    #[arg(long, default_value_t = 1000)]
    every: u64,
    /// Thousands of keys of the keyed state, of 256 bytes each.
    #[arg(long, default_value_t = 4000)]
    keys: u64,
    /// How often each is run, with and without checkpoints in turns; medians are told.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// Millions of records a second; as many as can be by default.
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds of event time that one partition may be ahead of the other; any number by default.
    #[arg(long)]
    drift: Option<f64>,
    /// Where checkpoints are kept.
    #[arg(long, default_value = "target/checkpoints")]
    folder: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Work {
    /// W1: records counted by word and second; 100k words.
    W1,
    /// W2: sum, count and maximum by key and second; a million keys.
    W2,
    /// State by key, of which a tenth changes between two checkpoints: the same one for ten of them.
    Keyed,
    /// The same state, restored.
    Recovery,
}

/// How a job takes checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    Running,
    Stopping,
}

/// 256 bytes by key.
#[derive(Clone)]
pub(crate) struct Keep;

pub(crate) type Kept = [[u64; 8]; 4];

impl Process<u64, (u64, u64)> for Keep {
    type State = Kept;
    type Out = u64;
    const TIMERS: bool = false;

    fn record(&mut self, (key, value): (u64, u64), state: &mut Kept, cx: &mut Context<'_, u64, u64>) {
        if state[3][7] == 0 {
            // Bytes that no encoding makes shorter.
            state.as_flattened_mut().iter_mut().zip(0..).for_each(|(word, n)| *word = mix(key * 32 + n) | 1);
        }
        state[0][0] = state[0][0].wrapping_add(value);
        if state[0][0] & 1023 == 0 {
            cx.emit(state[0][0]);
        }
    }
}

struct Run {
    /// How long a million records took.
    million: Duration,
    p99: Duration,
    checkpoints: u64,
    /// Bytes of one, on the average.
    bytes: u64,
}

/// One that does not end. `rate` is how many records it takes in a second, about.
fn job(work: Work, rate: f64, args: &Args) -> Job {
    let job = Job::new("checkpoints");
    macro_rules! source {
        ($make:expr) => {{
            let source = Generator::new($make).count(1 << 40).partitions(args.kernels);
            let source = match args.rate {
                Some(rate) => job.source("records", source.rate(rate * 1e6)),
                None => job.source("records", source),
            }
            .timestamps(|record: &(u64, u64)| Time((record.1 * STEP) as i64), Watermarks::monotonic())
            .epochs(Epochs::WatermarkStep(Duration::from_millis(100)));
            match args.drift {
                Some(drift) => source.align(&Alignment::within(Duration::from_secs_f64(drift))).stream(),
                None => source.stream(),
            }
        }};
    }
    let second = Tumbling::of(Duration::from_secs(1));
    let (sink, _) = Blackhole::new();
    match work {
        Work::W1 => {
            let stream = source!(|n| (mix(n) % 100_000, n));
            stream.key_by(|record| record.0).window(second).aggregate(count()).sink("counts", sink);
        }
        Work::W2 => {
            let stream = source!(|n| (mix(n) % 1_000_000, n));
            let sums = (sum(|r: &(u64, u64)| r.1), count(), max(|r: &(u64, u64)| r.1));
            stream.key_by(|record| record.0).window(second).aggregate(sums).sink("sums", sink);
        }
        Work::Keyed | Work::Recovery => {
            // All keys, and then a tenth of them for ten checkpoints, and then another.
            let (keys, while_) = (args.keys * 1_000, (rate * args.every as f64 / 1e3 * 10.0) as u64);
            let stream = source!(move |n| {
                let key = if n < keys { n } else { (n / while_.max(1) % 10) * (keys / 10) + mix(n) % (keys / 10) };
                (key, n)
            });
            stream.key_by(|record| record.0).process(Keep).sink("rows", sink);
        }
    }
    job
}

/// Opens the folder for a job that takes checkpoints so.
fn opened(takes: Takes, runtime: &Runtime, args: &Args) -> Checkpoints {
    let (store, root) = state_store(&args.folder).expect("the folder can be made");
    let opened = runtime.block_on(Checkpoints::open(store, &root)).expect("the folder can be opened");
    let opened = opened.every(Duration::from_millis(args.every));
    if takes == Takes::Stopping { opened.stopping() } else { opened }
}

/// Runs a job for so many seconds. What comes before is not timed: until there is a checkpoint of all keys; state that is there counts,
/// not how it comes to be.
fn run(work: Work, rate: f64, takes: Takes, args: &Args) -> Run {
    let runtime = Runtime::builder().kernels(args.kernels).build().expect("kernels start");
    let mut job = job(work, rate, args);
    let _ = std::fs::remove_dir_all(&args.folder);
    if takes != Takes::Nothing {
        job = job.checkpoints(opened(takes, &runtime, args));
    }
    let running = job.start(runtime.handle()).expect("the job starts");
    let metrics = running.metrics();
    wait(&running, || given(metrics) >= if work == Work::Keyed { enough(args) } else { 1 });
    let taken = metrics.checkpoints.count();
    // The second from now on is begun after now.
    wait(&running, || takes == Takes::Nothing || work != Work::Keyed || metrics.checkpoints.count() >= taken + 2);

    let (begin, before) = (Instant::now(), given(metrics));
    let (mut epochs, _) = metrics.latencies.after(0);
    let mut latencies = Vec::new();
    let mut newest = metrics.checkpoints.last().map(|(number, ..)| number);
    let (mut checkpoints, mut bytes) = (0, 0);
    wait(&running, || {
        let (now, new) = metrics.latencies.after(epochs);
        epochs = now;
        latencies.extend(new);
        if let Some((number, _, written, _)) = metrics.checkpoints.last().filter(|last| Some(last.0) != newest) {
            (newest, checkpoints, bytes) = (Some(number), checkpoints + 1, bytes + written);
        }
        begin.elapsed().as_secs_f64() >= args.seconds
    });
    let million = begin.elapsed().div_f64(((given(metrics) - before) as f64 / 1e6).max(1e-6));
    running.cancel();
    let ended = runtime.block_on(running.join()).expect_err("it does not end");
    assert!(ended.to_string().ends_with("cancelled"), "{ended}");
    latencies.sort_unstable();
    let p99 = latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default();
    Run { million, p99, checkpoints, bytes: bytes / checkpoints.max(1) }
}

pub(crate) fn compare(args: &Args) {
    println!(
        "{:<6} {:>8} {:>6} {:>7} {:>10} {:>7} {:>6} {:>8}",
        "job", "M/s", "", "ratio", "p99", "ratio", "taken", "MB each"
    );
    for work in or_all(&args.jobs) {
        if work == Work::Recovery {
            recover(args);
            continue;
        }
        let rate = args.rate.unwrap_or_else(|| 1.0 / run(work, 1e6, Takes::Nothing, args).million.as_secs_f64()) * 1e6;
        let ways = [Takes::Nothing, Takes::Running, Takes::Stopping];
        let mut runs = ways.map(|_| Vec::new());
        for _ in 0..args.repeat.max(1) {
            ways.iter().zip(&mut runs).for_each(|(takes, runs)| runs.push(run(work, rate, *takes, args)));
        }
        let of = |runs: &[Run], what: fn(&Run) -> Duration| median(&mut runs.iter().map(what).collect::<Vec<_>>());
        let medians =
            runs.each_ref().map(|runs| (1.0 / of(runs, |run| run.million).as_secs_f64(), of(runs, |run| run.p99)));
        let (without, p99_without) = medians[0];
        for ((takes, runs), (rate, p99)) in ways.iter().zip(&runs).zip(medians) {
            println!(
                "{:<6} {:>8.2} {:>6} {:>7.3} {:>10.2?} {:>7.2} {:>6} {:>8.1}",
                format!("{work:?}"),
                rate,
                match takes {
                    Takes::Nothing => "none",
                    Takes::Running => "taken",
                    Takes::Stopping => "stops",
                },
                rate / without,
                p99,
                p99.as_secs_f64() / p99_without.as_secs_f64(),
                runs.iter().map(|run| run.checkpoints).sum::<u64>() / runs.len() as u64,
                runs.iter().map(|run| run.bytes).max().unwrap_or_default() as f64 / 1e6,
            );
        }
    }
    let _ = std::fs::remove_dir_all(&args.folder);
}

/// How long it takes until all keys are there again, beside the time that it takes to read the files.
fn recover(args: &Args) {
    let runtime = Runtime::builder().kernels(args.kernels).build().expect("kernels start");
    let keys = args.keys * 1_000;
    let start = || {
        let endless = job(Work::Recovery, 1e6, args).checkpoints(opened(Takes::Running, &runtime, args));
        endless.start(runtime.handle()).expect("the job starts")
    };
    let suspend = |running: Running| runtime.block_on(running.suspend().expect("it takes checkpoints"));
    let _ = std::fs::remove_dir_all(&args.folder);
    let running = start();
    wait(&running, || given(running.metrics()) > enough(args));
    suspend(running);
    let (mut reads, mut restores, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..args.repeat.max(1) {
        let begin = Instant::now();
        let all = read_all(std::path::Path::new(&args.folder));
        let read = begin.elapsed();
        let begin = Instant::now();
        let running = start();
        wait(&running, || given(running.metrics()) > 0);
        restores.push(begin.elapsed());
        bytes = running.metrics().checkpoints.restored().read;
        assert!(bytes > 0, "it goes on, and does not begin anew");
        // There may be files of the checkpoint before.
        reads.push(read.mul_f64(bytes as f64 / all as f64));
        suspend(running);
    }
    let (read, restored) = (median(&mut reads), median(&mut restores));
    println!(
        "recovery of {keys} keys, {:.0} MB: {restored:.2?}; reading the files: {read:.2?}; ratio {:.2}",
        bytes as f64 / 1e6,
        restored.as_secs_f64() / read.as_secs_f64()
    );
}

/// Waits for something that comes while a job runs, or for its end.
pub(crate) fn wait(running: &Running, mut is_over: impl FnMut() -> bool) {
    while !is_over() && !running.is_ended() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// So many records that all keys have come: one partition is behind the other.
fn enough(args: &Args) -> u64 {
    args.keys * 2_000
}

/// Records that sources have given.
fn given(metrics: &JobMetrics) -> u64 {
    metrics.sources.iter().map(|source| source.records()).sum()
}

/// Reads all files of a folder: how many bytes there are.
fn read_all(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("the folder can be read").flatten();
    let bytes = entries.map(|entry| {
        let path = entry.path();
        if path.is_dir() { read_all(&path) } else { std::fs::read(path).expect("the file can be read").len() as u64 }
    });
    bytes.sum()
}
