//! `updraft bench streambox`: the six benchmarks of StreamBox (see [`paper`]), by its method.
//!
//! What is told is the highest rate that is sustained with a target latency, found by [`search`]: a latency counts from when the
//! watermark that closes an epoch enters the source to when the epoch's results are with the sink. Each benchmark is one file; its
//! records are made up, as the paper describes them, and replayed from memory ([`replay`]).

mod ablation;
mod distinct;
mod gather;
mod grep;
mod join;
#[cfg(test)]
mod naive;
mod network;
mod paper;
mod probe;
mod replay;
mod search;
mod text;
mod tweets;
mod word_count;

use std::fmt;
use std::time::Duration;

use clap::{Args, ValueEnum};
use updraft::dataflow::Error;
use updraft::prelude::*;

use super::super::Outcome;
use ablation::{Ablation, Switches};
use paper::Rates;
use probe::{Seen, watch};
use replay::Feed;
use search::highest;

/// Measure the benchmarks of StreamBox (ATC 2017): the highest rate that meets a target latency.
#[derive(Args)]
pub(super) struct StreamBox {
    /// Which benchmark; all of them by default.
    #[arg(value_enum)]
    name: Option<Name>,
    /// The latency that most epochs may have, in milliseconds.
    #[arg(long, value_name = "MS", value_delimiter = ',', default_values_t = [1000, 500, 50, 10])]
    target: Vec<u64>,
    /// How many kernels; all cores by default.
    #[arg(long, value_delimiter = ',')]
    kernels: Vec<usize>,
    /// How long a probe of one rate lasts at most. It ends after 25 epochs otherwise, and 2 seconds at least.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// Records that are prepared, to be replayed; by default as many as fill about 100 MB.
    #[arg(long)]
    records: Option<usize>,
    #[command(flatten)]
    switches: Switches,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().map_err(|_| "give a number of seconds".to_string())?;
    if (0.01..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("give from 0.01 to 3600 seconds".into()) }
}

/// A benchmark.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Name {
    /// Lines of a kilobyte that match a regular expression, in sliding windows.
    Grep,
    /// Words of lines, counted in sliding windows.
    WordCount,
    /// Two streams of keys, joined where they are half a second apart.
    Join,
    /// Different URLs, each second.
    Distinct,
    /// Mean round trips between machines, each second.
    Network,
    /// How tweets feel, beside the words that they use, each second.
    Tweets,
}

/// Describes the job of a benchmark over records that are in memory.
struct Prepared(Box<dyn Fn(&Job, Feed)>);

impl Prepared {
    /// What `rows` gives is thrown away.
    fn new<T: updraft::dataflow::Record>(rows: impl Fn(&Job, Feed) -> Stream<T> + 'static) -> Self {
        Self(Box::new(move |job, feed| rows(job, feed).sink("rows", Blackhole::new().0)))
    }
}

impl Name {
    fn prepare(self, records: Option<usize>) -> Prepared {
        let count = records.unwrap_or(match self {
            Self::Grep => 100_000,
            Self::Tweets => 500_000,
            Self::WordCount | Self::Join | Self::Distinct | Self::Network => 1_000_000,
        });
        let count = count.max(2);
        match self {
            Self::Grep => {
                let work = grep::Grep::new(count);
                Prepared::new(move |job, feed| work.rows(job, feed))
            }
            Self::WordCount => {
                let work = word_count::WordCount::new(count);
                Prepared::new(move |job, feed| work.rows(job, feed))
            }
            Self::Join => {
                let work = join::Join::new(count);
                Prepared::new(move |job, feed| work.rows(job, feed))
            }
            Self::Distinct => {
                let work = distinct::Distinct::new(count);
                Prepared::new(move |job, feed| work.rows(job, feed))
            }
            Self::Network => {
                let work = network::Network::new(count);
                Prepared::new(move |job, feed| work.rows(job, feed))
            }
            Self::Tweets => {
                let work = tweets::Tweets::new(count);
                Prepared::new(move |job, feed| work.rows(job, feed))
            }
        }
    }

    fn in_the_paper(self) -> &'static Rates {
        match self {
            Self::Grep => &paper::GREP,
            Self::WordCount => &paper::WORD_COUNT,
            Self::Join => &paper::JOIN,
            Self::Distinct => &paper::DISTINCT,
            Self::Network => &paper::NETWORK,
            Self::Tweets => &paper::TWEETS,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

/// The names of the jobs, apart from those of other benchmarks.
pub(super) fn names() -> impl Iterator<Item = String> {
    Name::value_variants().iter().map(|name| format!("streambox-{name}"))
}

/// One of them, over next to no records.
pub(super) fn job(name: &str) -> Option<Job> {
    let (name, _) = Name::value_variants().iter().zip(names()).find(|(_, other)| other == name)?;
    let job = Job::new(name.to_string());
    (name.prepare(Some(1)).0)(&job, Feed::default());
    Some(job)
}

/// One benchmark on so many kernels.
struct Bench<'a> {
    prepared: &'a Prepared,
    runtime: &'a Runtime,
    limit: Duration,
}

impl Bench<'_> {
    fn watch(&self, rate: Option<f64>, ablation: Option<Ablation>) -> Result<Seen, Error> {
        let (job, feed) = (Job::new("streambox"), Feed { rate, ..Feed::default() });
        let (job, feed) = ablation.map_or((job.clone(), feed), |ablation| (ablation.job(job), ablation.feed(feed)));
        (self.prepared.0)(&job, feed);
        watch(self.runtime, job, self.limit)
    }

    /// A probe of a rate; once more if it misses the target, as this is no machine of our own.
    fn probe(&self, rate: f64, target: Duration, ablation: Option<Ablation>) -> Result<Seen, Error> {
        let seen = self.watch(Some(rate), ablation)?;
        if seen.meets(rate, target) { Ok(seen) } else { self.watch(Some(rate), ablation) }
    }
}

impl StreamBox {
    pub(super) fn run(self) -> Outcome {
        let cores = std::thread::available_parallelism().map_or(1, Into::into);
        let kernels = if self.kernels.is_empty() { vec![cores] } else { self.kernels.clone() };
        let names = self.name.map_or(Name::value_variants().to_vec(), |name| vec![name]);
        // A rate that meets a target meets those that are longer.
        let mut targets: Vec<_> = self.target.iter().map(|ms| Duration::from_millis(*ms)).collect();
        targets.sort_by(|a, b| b.cmp(a));
        println!("{}", header(!self.switches.chosen().is_empty()));
        for name in names {
            let prepared = name.prepare(self.records);
            for &kernels in &kernels {
                let runtime = Runtime::builder().kernels(kernels).build()?;
                let limit = Duration::from_secs_f64(self.seconds);
                let bench = Bench { prepared: &prepared, runtime: &runtime, limit };
                self.measure(name, kernels, &bench, &targets)?;
            }
        }
        Ok(())
    }

    fn measure(&self, name: Name, kernels: usize, bench: &Bench<'_>, targets: &[Duration]) -> Outcome {
        // As fast as records are taken, and half as much again: a source that never waits may be in the way.
        let mut most = 1.5 * bench.watch(None, None)?.taken;
        for &target in targets {
            let found = highest(most, |rate| {
                let seen = bench.probe(rate, target, None)?;
                Ok(seen.meets(rate, target).then_some(seen))
            })?;
            println!("{}", line(name, kernels, target, found.as_ref()));
            let Some((rate, seen)) = found else { break };
            most = rate;
            for ablation in self.switches.chosen() {
                let mut same = None;
                let without = highest(rate, |rate| {
                    let seen = bench.probe(rate, target, Some(ablation))?;
                    // The first probe is at the rate that was met.
                    same.get_or_insert_with(|| seen.clone());
                    Ok(seen.meets(rate, target).then_some(()))
                })?;
                let without = without.map_or(0.0, |(rate, ())| rate);
                println!("{}", ablation_line(ablation, (rate, &seen), (without, same.as_ref())));
            }
        }
        Ok(())
    }
}

fn header(ablations: bool) -> String {
    let names = format!(
        "{:<12} {:>7} {:>8} {:>12} {:>12} {:>12} {:>12}  {}",
        "benchmark", "kernels", "target", "M records/s", "a kernel", "paper, 4", "paper, 56", "latency, p50 and worst"
    );
    if ablations { names + "; for ablations, at the rate above and without" } else { names }
}

fn line(name: Name, kernels: usize, target: Duration, found: Option<&(f64, Seen)>) -> String {
    let millions = |rate: Option<f64>| rate.map_or("-".to_string(), |rate| format!("{rate:.3}"));
    let rate = found.map(|(rate, _)| rate / 1e6);
    let [few, many] = name.in_the_paper().per_core(target).map(millions);
    format!(
        "{name:<12} {kernels:>7} {:>8} {:>12} {:>12} {few:>12} {many:>12}  {}",
        format!("{} ms", target.as_millis()),
        millions(rate),
        millions(rate.map(|rate| rate / kernels as f64)),
        found.map_or("-".to_string(), |(_, seen)| latencies(seen)),
    )
}

fn ablation_line(ablation: Ablation, (rate, with): (f64, &Seen), (without, same): (f64, Option<&Seen>)) -> String {
    format!(
        "  {ablation:<27} {:>12} {:>12} {:>25}  {} -> {}",
        format!("{:.3}", without / 1e6),
        format!("-{:.0}%", (1.0 - without / rate) * 100.0),
        format!("paper: {}", ablation.in_the_paper()),
        latencies(with),
        same.map_or("-".to_string(), latencies)
    )
}

fn latencies(seen: &Seen) -> String {
    let ms = |span: Duration| format!("{:.1}", span.as_secs_f64() * 1e3);
    seen.latencies().map_or("-".to_string(), |[p50, worst]| format!("{} {} ms", ms(p50), ms(worst)))
}
