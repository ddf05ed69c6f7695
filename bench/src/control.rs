//! What control costs: the same job alone, watched once a second, and with a hundred messages a second that wait at each stage: throughput and
//! the latency of results. And how long a message takes through a job of ten stages, at full load and at half of it.

use std::time::{Duration, Instant};

use clap::{Args as ClapArgs, ValueEnum};
use updraft::dataflow::control::{Asked, Controller, Instance, Message, Monitor, Part, Round, View};
use updraft::dataflow::{Epoch, Error};
use updraft::kernel::clock::{self, Nanos};
use updraft::prelude::*;

use crate::data::mix;
use crate::{median, or_all};

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Which jobs; all by default.
    #[arg(long, value_delimiter = ',', value_enum)]
    jobs: Vec<Work>,
    /// How many kernels.
    #[arg(long, default_value_t = 2)]
    kernels: usize,
    /// Seconds of a run that are timed.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Blocking messages a second.
    #[arg(long, default_value_t = 100)]
    messages: u64,
    /// How often each is run, in turns; medians are told.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// Millions of records a second, of W1 and W2; as many as can be by default.
    #[arg(long)]
    rate: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Work {
    /// W1: records counted by word and second; 100k words.
    W1,
    /// W2: sum, count and maximum by key and second; a million keys.
    W2,
    /// Ten stages, one after the other.
    Stages,
}

/// What is asked of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Nothing,
    Monitor,
    Messages,
}

/// A message that does nothing, and waits for all drivers of each stage. Its outcome is how long it took through the job.
#[derive(Default)]
struct Ping(Option<Nanos>);

struct Pinged;

impl Message for Pinged {
    type Visit = ();
    type Answer = ();
    const BLOCKING: bool = true;

    fn on_init(&self, _: &Part, _: usize) {}
    fn on_complete(&self, (): &mut (), _: &mut Instance<'_>) {}
}

impl Controller for Ping {
    type Message = Pinged;
    type Outcome = Duration;
    const NAME: &'static str = "ping";

    fn on_init(&mut self, _: &View<'_>) -> Result<Pinged, Error> {
        Ok(Pinged)
    }
    fn on_begin(&mut self, _: Epoch) {
        self.0 = Some(clock::now());
    }
    fn on_complete(&mut self) -> Result<Round<Pinged, Duration>, Error> {
        Ok(Round::Done(clock::now().since(self.0.unwrap_or_default())))
    }
}

struct Run {
    /// Millions of records a second.
    rate: f64,
    p99: Duration,
    /// How long messages took through the job.
    trips: Vec<Duration>,
    /// How long an epoch lasted, on the average.
    epoch: Duration,
}

fn job(work: Work, rate: Option<f64>, args: &Args) -> Job {
    let job = Job::new("control");
    macro_rules! source {
        ($make:expr) => {{
            let source = Generator::new($make).count(1 << 40).partitions(args.kernels);
            match rate {
                Some(rate) => job.source("records", source.rate(rate * 1e6)),
                None => job.source("records", source),
            }
            .timestamps(|record: &(u64, u64)| Time(record.1 as i64), Watermarks::monotonic())
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
        Work::Stages => {
            let first = source!(|n| (mix(n), n)).materialize();
            let last = (1..10).fold(first, |stream, _| stream.map(|(word, n)| (mix(word), n)).materialize());
            last.sink("records", sink);
        }
    }
    job
}

fn run(work: Work, rate: Option<f64>, asks: Asks, args: &Args) -> Run {
    let runtime = Runtime::builder().kernels(args.kernels).build().expect("kernels start");
    let running = job(work, rate, args).start(runtime.handle()).expect("the job starts");
    let metrics = running.metrics();
    // Until it is under way.
    let warm = Instant::now();
    while warm.elapsed() < Duration::from_millis(500) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (begin, before) = (Instant::now(), metrics.records());
    let (mut epochs, _) = metrics.latencies.after(0);
    let (first, mut latencies) = (epochs, Vec::new());
    let (mut pings, mut cuts) = (Vec::<Asked<Duration>>::new(), 0_u32);
    while begin.elapsed().as_secs_f64() < args.seconds {
        std::thread::sleep(Duration::from_millis(1));
        let (now, new) = metrics.latencies.after(epochs);
        epochs = now;
        latencies.extend(new);
        let elapsed = begin.elapsed();
        match asks {
            Asks::Nothing => {}
            Asks::Monitor if elapsed.as_secs() >= u64::from(cuts) => {
                runtime.block_on(running.control(Monitor::default())).expect("the job runs");
                cuts += 1;
            }
            Asks::Monitor => {}
            Asks::Messages => {
                while (pings.len() as u128) < elapsed.as_micros() * u128::from(args.messages) / 1_000_000 {
                    pings.push(running.control(Ping::default()));
                }
            }
        }
    }
    let elapsed = begin.elapsed();
    let records = metrics.records() - before;
    let trips = pings.into_iter().map(|ping| runtime.block_on(ping).expect("the job runs")).collect();
    running.cancel();
    runtime.block_on(running.join()).expect_err("it does not end");
    latencies.sort_unstable();
    let p99 = latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default();
    let epoch = elapsed.div_f64((epochs - first).max(1) as f64);
    Run { rate: records as f64 / 1e6 / elapsed.as_secs_f64(), p99, trips, epoch }
}

pub(crate) fn compare(args: &Args) {
    println!("{:<7} {:>9} {:>8} {:>7} {:>10} {:>7}", "job", "", "M/s", "ratio", "p99", "ratio");
    for work in or_all(&args.jobs) {
        if work == Work::Stages {
            trips(args);
            continue;
        }
        let ways = [Asks::Nothing, Asks::Monitor, Asks::Messages];
        let mut runs = ways.map(|_| Vec::new());
        for _ in 0..args.repeat.max(1) {
            ways.iter().zip(&mut runs).for_each(|(asks, runs)| runs.push(run(work, args.rate, *asks, args)));
        }
        let medians = runs.each_ref().map(|runs| {
            let mut rates: Vec<_> = runs.iter().map(|run| run.rate).collect();
            rates.sort_by(f64::total_cmp);
            (rates[rates.len() / 2], median(&mut runs.iter().map(|run| run.p99).collect::<Vec<_>>()))
        });
        let (rate_alone, p99_alone) = medians[0];
        for (asks, (rate, p99)) in ways.iter().zip(medians) {
            let (rates, latencies) = (rate / rate_alone, p99.as_secs_f64() / p99_alone.as_secs_f64());
            let (work, asks) = (format!("{work:?}"), format!("{asks:?}"));
            println!("{work:<7} {asks:>9} {rate:>8.2} {rates:>7.3} {p99:>10.2?} {latencies:>7.2}");
        }
    }
}

/// How long messages take through ten stages.
fn trips(args: &Args) {
    let full = run(Work::Stages, None, Asks::Nothing, args).rate;
    for (load, rate) in [("half", Some(full / 2.0)), ("full", None)] {
        let runs: Vec<_> = (0..args.repeat.max(1)).map(|_| run(Work::Stages, rate, Asks::Messages, args)).collect();
        let epoch = median(&mut runs.iter().map(|run| run.epoch).collect::<Vec<_>>());
        let mut trips: Vec<_> = runs.into_iter().flat_map(|run| run.trips).collect();
        trips.sort_unstable();
        let (p50, p99) = (trips[trips.len() / 2], trips[trips.len() * 99 / 100]);
        let epochs = p99.as_secs_f64() / epoch.as_secs_f64();
        println!(
            "ten stages, {load} load: {p50:.2?} (p50), {p99:.2?} (p99); an epoch lasts {epoch:.2?}, so {epochs:.1} epochs"
        );
    }
}
