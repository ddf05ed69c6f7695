//! What it costs to have another number of kernels work: a job with much keyed state at full load is scaled down and up again while it runs, beside the same job
//! that is stopped with a checkpoint and started from it. Told: for how long there was no output, and how long results took at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use updraft::connectors::state_store;
use updraft::dataflow::checkpoint::Checkpoints;
use updraft::dataflow::control::Rescale;
use updraft::kernel::clock;
use updraft::prelude::*;

use crate::checkpoints::{Keep, wait};
use crate::data::mix;
use crate::median;

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Thousands of keys, of 256 bytes each.
    #[arg(long, default_value_t = 4_000)]
    keys: u64,
    /// How many kernels: it is scaled down to half of them.
    #[arg(long, default_value_t = 2)]
    kernels: usize,
    /// How long is looked at it after each change, in seconds.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How often it is scaled, and how often it is stopped and started.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// Millions of records a second; as many as can be by default.
    #[arg(long)]
    rate: Option<f64>,
    /// Where its checkpoints are.
    #[arg(long, default_value = "target/bench/moves")]
    folder: String,
}

/// When there was output.
#[derive(Default)]
struct Output {
    last: AtomicU64,
    longest_gap: AtomicU64,
}

impl Output {
    fn came(&self) {
        let now = clock::now().0;
        let last = self.last.swap(now, Ordering::Relaxed);
        if last > 0 {
            self.longest_gap.fetch_max(now.saturating_sub(last), Ordering::Relaxed);
        }
    }
}

struct Started {
    running: Running,
    output: Arc<Output>,
}

/// What was seen for a while.
struct Looked {
    gap: Duration,
    latency: Duration,
    /// Millions of records a second.
    rate: f64,
}

fn start(runtime: &Runtime, args: &Args) -> Started {
    let (store, root) = state_store(&args.folder).expect("the folder can be made");
    let opened = runtime.block_on(Checkpoints::open(store, &root)).expect("the folder can be opened");
    let job = Job::new("moves").checkpoints(opened.every(Duration::from_secs(3_600)));
    let keys = args.keys * 1_000;
    // All keys once, and then any.
    let records = move |n: u64| (if n < keys { n } else { mix(n) % keys }, n);
    let source = Generator::new(records).count(1 << 40).partitions(args.kernels);
    let source = match args.rate {
        Some(rate) => job.source("records", source.rate(rate * 1e6)),
        None => job.source("records", source),
    };
    let output = Arc::<Output>::default();
    let (sink, _) = Blackhole::new();
    let told = output.clone();
    source
        .epochs(Epochs::WallClock(Duration::from_millis(10)))
        .stream()
        .key_by(|record: &(u64, u64)| record.0)
        .process(Keep)
        .inspect(move |_, _| told.came())
        .sink("rows", sink);
    Started { running: job.start(runtime.handle()).expect("the job starts"), output }
}

impl Started {
    /// What happens while something is done, and for a while after that.
    fn look(&self, args: &Args, change: impl FnOnce()) -> Looked {
        let metrics = self.running.metrics();
        let (begin, records) = (Instant::now(), metrics.records());
        let (epochs, _) = metrics.latencies.after(0);
        self.output.longest_gap.store(0, Ordering::Relaxed);
        change();
        wait(&self.running, || begin.elapsed().as_secs_f64() >= args.seconds);
        let (_, latencies) = metrics.latencies.after(epochs);
        Looked {
            gap: Duration::from_nanos(self.output.longest_gap.load(Ordering::Relaxed)),
            latency: latencies.into_iter().max().unwrap_or_default(),
            rate: (metrics.records() - records) as f64 / 1e6 / begin.elapsed().as_secs_f64(),
        }
    }
}

pub(crate) fn compare(args: &Args) {
    let runtime = Runtime::builder().kernels(args.kernels).build().expect("kernels start");
    let _ = std::fs::remove_dir_all(&args.folder);
    let mut started = start(&runtime, args);
    // One partition may be ahead of the other.
    wait(&started.running, || started.running.metrics().records() >= args.keys * 2_000);
    println!("{} MB of state", args.keys * 256 / 1_000);
    println!("{:<22} {:>12} {:>14} {:>8} {:>10}", "", "longest gap", "latest result", "M/s", "done in");
    let (less, all) = ((args.kernels / 2).max(1), args.kernels);
    let mut looks: [Vec<Looked>; 3] = Default::default();
    let mut spans = [Vec::new(), Vec::new()];
    let mut outages = Vec::new();
    for _ in 0..args.repeat.max(1) {
        looks[0].push(started.look(args, || ()));
        for ((kernels, looks), spans) in [less, all].into_iter().zip(&mut looks[1..]).zip(&mut spans) {
            looks.push(started.look(args, || {
                let asked = Instant::now();
                runtime.block_on(started.running.control(Rescale::job(kernels))).expect("the job runs");
                spans.push(asked.elapsed());
            }));
        }
        let stopped = Instant::now();
        runtime.block_on(started.running.suspend().expect("it takes checkpoints"));
        started = start(&runtime, args);
        wait(&started.running, || started.output.last.load(Ordering::Relaxed) > 0);
        outages.push(stopped.elapsed());
        // Its first epochs are long.
        started.look(args, || ());
    }
    started.running.cancel();
    let _ = runtime.block_on(started.running.join());
    let _ = std::fs::remove_dir_all(&args.folder);
    let names = ["nothing".to_owned(), format!("{all} to {less} kernels"), format!("{less} to {all} kernels")];
    let worst = |looks: &[Looked], what: fn(&Looked) -> Duration| looks.iter().map(what).max().unwrap_or_default();
    for (at, (name, looks)) in names.iter().zip(&looks).enumerate() {
        let mut rates: Vec<_> = looks.iter().map(|look| look.rate).collect();
        rates.sort_by(f64::total_cmp);
        let done = at.checked_sub(1).map_or(String::new(), |at| format!("{:.2?}", median(&mut spans[at])));
        println!(
            "{name:<22} {:>12.2?} {:>14.2?} {:>8.2} {done:>10}",
            worst(looks, |look| look.gap),
            worst(looks, |look| look.latency),
            rates[rates.len() / 2],
        );
    }
    println!("{:<22} {:>12.2?}", "stopped and started", median(&mut outages));
}
