//! Updraft beside its peers: the same prepared records, in one process, one engine after the other.
//!
//! Every engine gives a checksum of its complete result, which must be that of the others. Figures are medians; only
//! ratios within a row mean anything on a shared machine. Next: [`data`] (the records), [`engine`] (who runs them).

mod checkpoints;
mod control;
mod data;
mod engine;
mod latency;
mod moves;
mod records;
mod skew;
mod spill;
mod sql;
mod start;
mod timers;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};
use data::Data;
use engine::Engine;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Compare Updraft with other engines and with loops written by hand.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    suite: Option<Suite>,
    /// Which workloads; all by default.
    #[arg(long, value_delimiter = ',', value_enum)]
    workloads: Vec<Workload>,
    /// Which engines; all by default.
    #[arg(long, value_delimiter = ',', value_enum)]
    engines: Vec<Engine>,
    /// How many threads.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    kernels: Vec<usize>,
    /// Millions of records.
    #[arg(long, default_value_t = 8.0)]
    millions: f64,
    /// How often each is run; the median is told.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// The share of records that are out of order, in percent.
    #[arg(long, default_value_t = 10)]
    disorder: u64,
    /// Instead: the latency of window results (W1, W2) at so many million records a second.
    #[arg(long, value_name = "RATE")]
    latency: Option<f64>,
    /// Instead: the latency of records through twenty maps and filters, at such a share of the highest rate.
    #[arg(long, value_name = "SHARE")]
    record_latency: Option<f64>,
    /// Instead: what a timer costs, of as many keys as there are records.
    #[arg(long)]
    timers: bool,
    /// Also tell by how much the process has grown beyond the records; for one workload and engine at a time.
    #[arg(long)]
    memory: bool,
    /// Records between two watermarks.
    #[arg(long, default_value_t = 100_000)]
    epoch: usize,
}

/// Another suite than that of workloads.
#[derive(Subcommand)]
enum Suite {
    /// SQL over files, beside DataFusion.
    Sql(sql::Args),
    /// What checkpoints cost.
    Checkpoints(checkpoints::Args),
    /// What control operations cost.
    Control(control::Args),
    /// What it costs to have another number of kernels work.
    Moves(moves::Args),
    /// What a hot key costs, and a policy that splits it.
    Skew(skew::Args),
    /// What state costs that memory has no room for.
    Spill(spill::Args),
    /// How soon the program answers.
    Start(start::Args),
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Workload {
    /// W1: words counted per second; 100k words, Zipf.
    W1,
    /// W2: sum, count and maximum per key and second; a million keys.
    W2,
    /// W4: pairs of two streams by key and second; 100k keys.
    W4,
    /// State of a million keys: a row for each record.
    Keyed,
    /// Sessions of 100k keys, Zipf.
    Sessions,
    /// W5: lines of a kilobyte that match a regular expression.
    W5,
    /// W6: twenty maps and filters.
    W6,
    /// Nexmark query 1.
    Q1,
    /// Nexmark query 2.
    Q2,
    /// Nexmark query 3: auctions of a category, with sellers of some states.
    Q3,
    /// Nexmark query 4: the average price of each category.
    Q4,
    /// Nexmark query 5.
    Q5,
    /// Nexmark query 7: the highest bid of each window.
    Q7,
    /// Nexmark query 8: new people who sell something in the same window.
    Q8,
    /// Nexmark query 9: the winning bid of each auction.
    Q9,
    /// Nexmark query 11: bids of a bidder and session.
    Q11,
    /// Nexmark query 12: bids of a bidder and window of processing time.
    Q12,
    /// Nexmark query 17: what the bids of an auction and day come to.
    Q17,
}

fn or_all<T: ValueEnum + Clone>(chosen: &[T]) -> Vec<T> {
    if chosen.is_empty() { T::value_variants().to_vec() } else { chosen.to_vec() }
}

fn main() {
    let args = Args::parse();
    match &args.suite {
        Some(Suite::Sql(args)) => return sql::run(args),
        Some(Suite::Checkpoints(args)) => return checkpoints::compare(args),
        Some(Suite::Control(args)) => return control::compare(args),
        Some(Suite::Moves(args)) => return moves::compare(args),
        Some(Suite::Skew(args)) => return skew::compare(args),
        Some(Suite::Spill(args)) => return spill::compare(args),
        Some(Suite::Start(args)) => return start::run(args),
        None => {}
    }
    let records = (args.millions * 1e6) as usize;
    if let Some(share) = args.record_latency {
        for &threads in &args.kernels {
            let (most, latency) = records::measure(records as u64, threads, share);
            let quantiles = latency::QUANTILES.map(|q| latency.quantile(q));
            let [p50, p99, p999] = quantiles.map(|latency| format!("{latency:.1?}"));
            let rate = most * share / 1e6;
            println!("{threads} threads, {rate:.1} of {:.1} M/s: p50 {p50}, p99 {p99}, p99.9 {p999}", most / 1e6);
        }
        return;
    }
    if args.timers {
        for &threads in &args.kernels {
            let [record, timer] = timers::measure(records as u64, threads, args.repeat.max(1));
            println!("{records} keys, {threads} threads: a record {record:?}, a timer {timer:?} more");
        }
        return;
    }
    let (workloads, engines) = (or_all(&args.workloads), or_all(&args.engines));
    println!(
        "{:<8} {:>7}  {:<12} {:>11} {:>16} {:>8}",
        "work", "threads", "engine", "M records/s", "least to most", "of hand"
    );
    for workload in workloads {
        let data = Data::prepare(workload, records, args.disorder, args.epoch);
        if let Some(rate) = args.latency {
            for &threads in &args.kernels {
                for (engine, [p50, p99, p999]) in latency::measure(&data, threads, rate * 1e6) {
                    let quantiles = format!("p50 {p50:.1?}, p99 {p99:.1?}, p99.9 {p999:.1?}");
                    println!("{workload:?} {threads} threads, {rate} M/s, {engine}: {quantiles}");
                }
            }
            continue;
        }
        let before = memory("VmRSS:");
        for &threads in &args.kernels {
            compare(workload, &data, threads, &engines, args.repeat.max(1));
        }
        if args.memory {
            println!("{workload:?} peak growth {} MiB", memory("VmHWM:").saturating_sub(before) >> 10);
        }
    }
}

/// A figure of this process's memory, in KiB.
fn memory(figure: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(figure));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or_default()
}

/// The one in the middle; of an even number, the later of the two. There is one at least.
fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Runs the engines in turns, so that what else the machine does meets them all.
fn compare(workload: Workload, data: &Data, threads: usize, engines: &[Engine], repeat: usize) {
    let mut times = BTreeMap::<usize, Vec<Duration>>::new();
    let mut expected = None;
    for _ in 0..repeat {
        for (index, engine) in engines.iter().enumerate() {
            let begin = Instant::now();
            let Some(checksum) = engine.run(workload, data, threads) else { continue };
            times.entry(index).or_default().push(begin.elapsed());
            if !engine.agrees_on(workload) {
                continue;
            }
            assert_ne!(checksum, 0, "{engine:?} has no result on {workload:?}");
            let expected = *expected.get_or_insert(checksum);
            assert_eq!(checksum, expected, "{engine:?} gives another result on {workload:?}");
        }
    }
    let rate = |time: Duration| data.len() as f64 / time.as_secs_f64() / 1e6;
    let hand = engines.iter().position(|engine| *engine == Engine::Hand).and_then(|hand| times.get(&hand).cloned());
    let hand = hand.map(|mut times| rate(median(&mut times)));
    for (index, mut times) in times {
        let middle = rate(median(&mut times));
        let span = format!("{:.1}–{:.1}", rate(times[times.len() - 1]), rate(times[0]));
        let ratio = hand.map(|hand| format!("{:.2}", middle / hand)).unwrap_or_default();
        let (workload, engine) = (format!("{workload:?}"), format!("{:?}", engines[index]));
        println!("{workload:<8} {threads:>7}  {engine:<12} {middle:>11.1} {span:>16} {ratio:>8}");
    }
}
