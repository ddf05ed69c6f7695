//! A job of one's own, tested under hundreds of schedules: three simulated kernels that stall, a source that stands still, a slow
//! sink; hours of virtual time in a second.
//!
//! `cargo run --release --example 05_simulated`

use std::error::Error;
use std::time::Duration;

use updraft::prelude::*;
use updraft::sim::{Faults, Fingerprint, Sim, slow, stalling};

/// The job under test: visits of each user.
fn job(clicks: Vec<(i64, &'static str)>) -> (Job, updraft::connectors::collect::Collected<(String, u64)>) {
    let job = Job::new("visits");
    let (sink, visits) = Collect::new();
    job.source("clicks", stalling(Memory::new(clicks), Duration::from_secs(60)))
        .timestamps(|click: &(i64, &str)| Time::from_secs(click.0), Watermarks::bounded(Duration::from_secs(30)))
        .bundle(2)
        .stream()
        .key_by(|click| click.1.to_string())
        .window(Session::with_gap(Duration::from_secs(600)))
        .aggregate(count())
        .map(|row| (row.key, row.value))
        .sink("visits", slow(sink, Duration::from_secs(1)));
    (job, visits)
}

fn simulate(seed: u64) -> Result<(Vec<(String, u64)>, Fingerprint), updraft::JobError> {
    let clicks =
        vec![(0, "ann"), (20, "bob"), (10, "ann"), (500, "ann"), (1_200, "bob"), (1_190, "ann"), (5_000, "bob")];
    let faults = Faults::none().stalls(0.02, Duration::from_millis(100));
    let sim = Sim::builder(seed).kernels(3).faults(faults).build();
    let (job, visits) = job(clicks);
    let running = job.start(sim.handle())?;
    sim.block_on(running.join())?;
    Ok((visits.take(), sim.fingerprint()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut expected, _) = simulate(0)?;
    expected.sort();
    let mut hours = 0;
    for seed in 0..500 {
        let (visits, fingerprint) = simulate(seed)?;
        // The same seed is the same run, to the byte.
        assert_eq!((visits.clone(), fingerprint), simulate(seed)?, "seed {seed}");
        // Other seeds are other schedules; the result is the same.
        let mut sorted = visits;
        sorted.sort();
        assert_eq!(sorted, expected, "seed {seed}");
        hours += Duration::from_nanos(fingerprint.time.0).as_secs();
    }
    println!("500 schedules, {} minutes of virtual time, each with these visits:", hours / 60);
    expected.iter().for_each(|(user, clicks)| println!("{user}: {clicks} clicks"));
    Ok(())
}
