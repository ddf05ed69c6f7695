//! What a hot key costs, and what is left of that when a policy looks after it: a job by key at full load, with keys that are all as frequent; then half of all records are of one; then it
//! follows [`Skew`], which splits that key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use updraft::dataflow::keyed::Context;
use updraft::dataflow::policy::{Pace, Skew};
use updraft::prelude::*;

use crate::checkpoints::wait;
use crate::data::mix;
use crate::median;

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Thousands of keys.
    #[arg(long, default_value_t = 100)]
    keys: u64,
    /// How many kernels.
    #[arg(long, default_value_t = 2)]
    kernels: usize,
    /// How much work a record is where its key is owned: rounds of a hash, a nanosecond or so each.
    #[arg(long, default_value_t = 50)]
    work: u64,
    /// How long each is measured, in seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How often.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
}

/// Adds up what comes for each key.
#[derive(Clone)]
struct Totals {
    work: u64,
}

impl Process<u64, (u64, u64)> for Totals {
    type State = u64;
    type Out = (u64, u64);

    fn record(&mut self, (_, value): (u64, u64), total: &mut u64, _: &mut Context<'_, u64, Self::Out>) {
        *total = total.wrapping_add((0..self.work).fold(value, |value, _| std::hint::black_box(mix(value))));
    }
}

/// Millions of records a second, for so long.
fn rate(running: &Running, seconds: f64) -> f64 {
    let (begin, records) = (Instant::now(), running.metrics().records());
    wait(running, || begin.elapsed().as_secs_f64() >= seconds);
    (running.metrics().records() - records) as f64 / 1e6 / begin.elapsed().as_secs_f64()
}

/// How often is looked whether it is fast again.
const LOOK: f64 = 0.1;
/// The share of the throughput with uniform keys that is enough.
const ENOUGH: f64 = 0.85;

pub(crate) fn compare(args: &Args) {
    let runtime = Runtime::builder().kernels(args.kernels).build().expect("kernels start");
    let mut rates: [Vec<f64>; 3] = Default::default();
    let mut recovered = Vec::new();
    for _ in 0..args.repeat.max(1) {
        let (keys, is_hot) = (args.keys * 1_000, Arc::<AtomicBool>::default());
        let hot = is_hot.clone();
        let records = move |n: u64| {
            let of = mix(n);
            let is_hot = of >> 63 == 0 && hot.load(Ordering::Relaxed);
            (if is_hot { 0 } else { of % keys }, n)
        };
        let job = Job::new("skew");
        let source = job.source("records", Generator::new(records).count(1 << 40).partitions(args.kernels));
        let keyed = source.epochs(Epochs::WallClock(Duration::from_millis(10))).stream().key_by(|record| record.0);
        let (sink, _) = Blackhole::new();
        let combined = keyed.shuffle().combine(|into, from| into.1 = into.1.wrapping_add(from.1));
        combined.process(Totals { work: args.work }).sink("rows", sink);
        let running = job.start(runtime.handle()).expect("the job starts");
        rate(&running, args.seconds / 3.0);
        let uniform = rate(&running, args.seconds);
        is_hot.store(true, Ordering::Relaxed);
        rate(&running, args.seconds / 3.0);
        let skewed = rate(&running, args.seconds);
        let (following, begun) =
            (running.follow(Skew::default(), Pace::every(Duration::from_millis(500))), Instant::now());
        while rate(&running, LOOK) < ENOUGH * uniform && begun.elapsed().as_secs_f64() < 10.0 * args.seconds {}
        recovered.push(begun.elapsed());
        let followed = rate(&running, args.seconds);
        following.decided().iter().for_each(|decided| println!("after {}: {}", decided.epoch, decided.why));
        drop(following);
        running.cancel();
        let _ = runtime.block_on(running.join());
        rates.iter_mut().zip([uniform, skewed, followed]).for_each(|(rates, rate)| rates.push(rate));
    }
    println!("{:<34} {:>8} {:>8}", "", "M/s", "of it");
    let middle = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    for (name, rate) in
        ["keys that are all as frequent", "half of all are of one", "and a policy is followed"].iter().zip(middle)
    {
        println!("{name:<34} {rate:>8.2} {:>8.2}", rate / middle[0]);
    }
    println!("{:<34} {:>8.2?}", format!("{ENOUGH} of it again after"), median(&mut recovered));
}
