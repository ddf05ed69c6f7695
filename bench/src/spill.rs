//! What state costs that memory has no room for: the same job over budget, and with all in memory. Over budget first, for what a
//! process has held at most never falls.

use std::time::Instant;

use clap::Args as ClapArgs;
use serde::{Deserialize, Serialize};
use updraft::dataflow::keyed::Context;
use updraft::prelude::*;

use crate::data::mix;
use crate::memory;

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// How many kernels.
    #[arg(long, default_value_t = 2)]
    kernels: usize,
    /// The budget, in MB.
    #[arg(long, default_value_t = 64)]
    budget: usize,
    /// How many times as large the state is.
    #[arg(long, default_value_t = 10)]
    times: usize,
    /// Bytes of a key.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Records of each key, after the first; in no order.
    #[arg(long, default_value_t = 4)]
    records: u64,
    /// The share of records, in percent, that are of a hundredth of the keys.
    #[arg(long, default_value_t = 0)]
    skew: u64,
    /// Where is spilled to.
    #[arg(long, default_value = "target/spilled")]
    folder: String,
}

/// So many bytes by key, and a count.
#[derive(Clone)]
struct Keep(usize);

#[derive(Clone, Default, Serialize, Deserialize)]
struct Kept {
    count: u64,
    text: String,
}

impl Process<u64, u64> for Keep {
    type State = Kept;
    type Out = u64;
    const TIMERS: bool = false;

    fn record(&mut self, key: u64, kept: &mut Kept, cx: &mut Context<'_, u64, u64>) {
        if kept.count == 0 {
            kept.text = (0..self.0 / 16).map(|n| format!("{:016x}", mix(key * 1024 + n as u64))).collect();
        }
        kept.count += 1;
        if kept.count & 1023 == 0 {
            cx.emit(kept.count);
        }
    }

    fn heap_bytes(&self, kept: &Kept) -> usize {
        kept.text.capacity()
    }
}

fn run(args: &Args, spills: bool) {
    let budget = args.budget << 20;
    let keys = (budget * args.times / args.size.max(1)).max(100) as u64;
    let (records, skew) = (keys * args.records, args.skew);
    let runtime = Runtime::builder().kernels(args.kernels).build().expect("kernels start");
    let job = Job::new("spill");
    let job = if spills { job.memory_budget(budget).spill_to(&args.folder) } else { job.never_spill() };
    let (sink, _) = Blackhole::new();
    let key = move |n: u64| match n.checked_sub(keys) {
        None => n,
        Some(n) if mix(n) % 100 < skew => mix(!n) % (keys / 100),
        Some(n) => mix(!n) % keys,
    };
    let source = Generator::new(key).count(keys + records).partitions(args.kernels);
    job.source("records", source).stream().key_by(|key| *key).process(Keep(args.size)).sink("rows", sink);
    let begin = Instant::now();
    let running = job.start(runtime.handle()).expect("the job starts");
    let metrics = runtime.block_on(running.join()).expect("the job ends well");
    let took = begin.elapsed().as_secs_f64();
    let ((_, written), (_, read)) = (metrics.spilled.written(), metrics.spilled.read_back());
    println!(
        "{:<10} {:>9.2} {:>10.1} {:>10.1} {:>10.1} {:>10.1}",
        if spills { "over budget" } else { "in memory" },
        metrics.records() as f64 / took / 1e6,
        running.peak_memory() as f64 / 1e6,
        memory("VmHWM:") as f64 / 1e3,
        written as f64 / 1e6,
        read as f64 / 1e6,
    );
}

pub(crate) fn compare(args: &Args) {
    println!(
        "{} MB of state by key, {} bytes each; a budget of {} MB",
        args.budget * args.times,
        args.size,
        args.budget
    );
    println!("{:<10} {:>9} {:>10} {:>10} {:>10} {:>10}", "", "M/s", "charged MB", "RSS MB", "written MB", "read MB");
    run(args, true);
    run(args, false);
}
