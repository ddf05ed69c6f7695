//! What checkpoints cost: the same job with and without them, in turns: throughput, the latency of results, and how much is written.

use std::time::{Duration, Instant};

use clap::{Args as ClapArgs, ValueEnum};
use updraft::connectors::state_store;
use updraft::dataflow::checkpoint::Checkpoints;
use updraft::dataflow::keyed::Context;
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
    /// Seconds that a run takes, about.
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
    /// State by key, of which a tenth changes between two checkpoints.
    Keyed,
}

/// 256 bytes by key.
#[derive(Clone)]
struct Keep;

type Kept = [[u64; 8]; 4];

impl Process<u64, (u64, u64)> for Keep {
    type State = Kept;
    type Out = u64;
    const TIMERS: bool = false;

    fn record(&mut self, (_, value): (u64, u64), state: &mut Kept, cx: &mut Context<'_, u64, u64>) {
        state[0][0] = state[0][0].wrapping_add(value);
        if state[0][0] & 1023 == 0 {
            cx.emit(state[0][0]);
        }
    }
}

struct Run {
    took: Duration,
    p99: Duration,
    /// Of the last checkpoint.
    bytes: u64,
    stored: Duration,
    count: u64,
}

fn job(work: Work, records: u64, args: &Args) -> Job {
    let job = Job::new("checkpoints");
    macro_rules! source {
        ($make:expr) => {{
            let source = Generator::new($make).count(records).partitions(args.kernels);
            match args.rate {
                Some(rate) => job.source("records", source.rate(rate * 1e6)),
                None => job.source("records", source),
            }
            .timestamps(|record: &(u64, u64)| Time((record.1 * STEP) as i64), Watermarks::monotonic())
            .epochs(Epochs::WatermarkStep(Duration::from_millis(100)))
            .stream()
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
        Work::Keyed => {
            // A tenth of the keys for a while, then another.
            let (keys, while_) = (args.keys * 1_000, records / 20);
            let stream = source!(move |n| {
                let key = if n < keys { n } else { (n / while_.max(1) % 10) * (keys / 10) + mix(n) % (keys / 10) };
                (key, n)
            });
            stream.key_by(|record| record.0).process(Keep).sink("rows", sink);
        }
    }
    job
}

fn run(work: Work, records: u64, takes: bool, args: &Args) -> Run {
    let runtime = Runtime::builder().kernels(args.kernels).build().expect("kernels start");
    let mut job = job(work, records, args);
    let _ = std::fs::remove_dir_all(&args.folder);
    if takes {
        let (store, root) = state_store(&args.folder).expect("the folder can be made");
        let opened = runtime.block_on(Checkpoints::open(store, &root)).expect("the folder can be opened");
        job = job.checkpoints(opened.every(Duration::from_millis(args.every)));
    }
    let begin = Instant::now();
    let running = job.start(runtime.handle()).expect("the job starts");
    let metrics = runtime.block_on(running.join()).expect("the job ends well");
    let (took, checkpoints) = (begin.elapsed(), &metrics.checkpoints);
    // The last one, of a job that has ended, is of nothing.
    let (bytes, stored) = checkpoints.largest();
    Run { took, p99: metrics.latency.quantile(0.99), bytes, stored, count: checkpoints.count() }
}

pub(crate) fn compare(args: &Args) {
    println!(
        "{:<6} {:>9} {:>12} {:>12} {:>6} {:>10} {:>10} {:>6} {:>6} {:>12} {:>10}",
        "job",
        "M records",
        "M/s without",
        "M/s with",
        "ratio",
        "p99 w/o",
        "p99 with",
        "ratio",
        "taken",
        "most MB",
        "took"
    );
    for work in or_all(&args.jobs) {
        // As many as take so long.
        let trial = 500_000;
        let rate = args
            .rate
            .map_or_else(|| trial as f64 / run(work, trial, false, args).took.as_secs_f64(), |rate| rate * 1e6);
        let records = ((rate * args.seconds) as u64).max(if work == Work::Keyed { 2 * args.keys * 1_000 } else { 1 });
        let (mut times, mut p99s, mut with) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()], Vec::new());
        for _ in 0..args.repeat.max(1) {
            for (index, takes) in [false, true].into_iter().enumerate() {
                let run = run(work, records, takes, args);
                times[index].push(run.took);
                p99s[index].push(run.p99);
                if takes {
                    with.push(run);
                }
            }
        }
        let [without, taking] = times.each_mut().map(|times| median(times));
        let [p99_without, p99_with] = p99s.each_mut().map(|times| median(times));
        let most = with.iter().max_by_key(|run| run.bytes).expect("there is a run");
        let rate = |time: Duration| records as f64 / time.as_secs_f64() / 1e6;
        println!(
            "{:<6} {:>9.1} {:>12.2} {:>12.2} {:>6.3} {:>10.2?} {:>10.2?} {:>6.2} {:>6} {:>12.1} {:>10.1?}",
            format!("{work:?}"),
            records as f64 / 1e6,
            rate(without),
            rate(taking),
            without.as_secs_f64() / taking.as_secs_f64(),
            p99_without,
            p99_with,
            p99_with.as_secs_f64() / p99_without.as_secs_f64(),
            most.count,
            most.bytes as f64 / 1e6,
            most.stored,
        );
    }
    let _ = std::fs::remove_dir_all(&args.folder);
}
