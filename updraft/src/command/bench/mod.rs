//! `updraft bench`: how fast the built-in operators are on this machine.
//!
//! Records are prepared in memory before the clock starts. Comparisons with other engines are a program of their own: see
//! BENCHMARKS.md.

mod data;
mod streambox;
mod workload;

use std::time::Duration;

use clap::{Args, Subcommand};
use updraft::kernel::clock;
use updraft::{Job, Runtime};

use super::Outcome;
use streambox::StreamBox;
use workload::Workload;

/// Measure built-in workloads on this machine.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    suite: Option<Suite>,
    /// Which workload; all of them by default.
    #[arg(value_enum)]
    name: Option<Workload>,
    /// Millions of records.
    #[arg(long, default_value_t = 5.0)]
    millions: f64,
    /// How many kernels; once with 1 and once with all cores by default.
    #[arg(long)]
    kernels: Option<usize>,
    /// How often each is run; the median is told.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
}

/// The benchmarks of others, by their methods.
#[derive(Subcommand)]
enum Suite {
    #[command(name = "streambox")]
    StreamBox(StreamBox),
}

/// The jobs that are measured.
pub(super) fn names() -> impl Iterator<Item = String> {
    Workload::ALL.iter().map(ToString::to_string).chain(streambox::names())
}

/// One of them, over next to no records.
pub(super) fn job(name: &str) -> Option<Job> {
    let workload = Workload::ALL.into_iter().find(|workload| workload.to_string() == name);
    workload.map(|workload| workload.prepare(1).job()).or_else(|| streambox::job(name))
}

impl Bench {
    pub(crate) fn run(self) -> Outcome {
        match self.suite {
            Some(Suite::StreamBox(streambox)) => streambox.run(),
            None => self.workloads(),
        }
    }

    fn workloads(self) -> Outcome {
        let cores = std::thread::available_parallelism().map_or(1, Into::into);
        let kernels = self.kernels.map_or(if cores > 1 { vec![1, cores] } else { vec![1] }, |kernels| vec![kernels]);
        let workloads = self.name.map_or(Workload::ALL.to_vec(), |name| vec![name]);
        let records = ((self.millions * 1e6) as usize).max(1);
        println!(
            "{:<12} {:>7} {:>12} {:>12} {:>12}",
            "workload", "kernels", "M records/s", "p50 latency", "p99 latency"
        );
        for workload in workloads {
            let prepared = workload.prepare(records);
            for &kernels in &kernels {
                let runtime = Runtime::builder().kernels(kernels).build()?;
                let mut runs = Vec::new();
                for _ in 0..self.repeat.max(1) {
                    let begin = clock::now();
                    let running = prepared.job().start(runtime.handle())?;
                    let metrics = runtime.block_on(running.join())?;
                    runs.push((clock::now().since(begin), [0.5, 0.99].map(|q| metrics.latency.quantile(q))));
                }
                runs.sort();
                let (span, [p50, p99]) = runs[runs.len() / 2];
                let rate = records as f64 / span.as_secs_f64() / 1e6;
                println!("{:<12} {kernels:>7} {rate:>12.1} {:>12} {:>12}", workload.to_string(), ms(p50), ms(p99));
            }
        }
        Ok(())
    }
}

fn ms(span: Duration) -> String {
    format!("{:.2} ms", span.as_secs_f64() * 1e3)
}
