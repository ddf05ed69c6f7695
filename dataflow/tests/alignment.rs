//! Partitions that wait for the slowest: how far ahead they are read, by what they see of each other.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use updraft_dataflow::testing::gather;
use updraft_dataflow::{Alignment, Batch, Epochs, Error, Idle, Job, Partition, Source, Time, Watermarks};
use updraft_kernel::clock;
use updraft_kernel::sim::Sim;

/// The times of a partition's records in batches, each with how long it takes to be read, in milliseconds.
type Script = Vec<(u64, Vec<i64>)>;

/// How far each partition of a job has been read, and how far one was ahead of the slowest when it was read on.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<(Vec<i64>, i64)>>);

/// A source of all that is seen by the others.
struct Watched {
    scripts: Vec<(usize, Script)>,
    seen: Seen,
}

struct WatchedPartition {
    number: usize,
    left: std::vec::IntoIter<(u64, Vec<i64>)>,
    seen: Seen,
}

impl Source for Watched {
    type Item = i64;
    type Partition = WatchedPartition;

    fn open(self) -> Result<Vec<WatchedPartition>, Error> {
        let open = |(number, script): (usize, Script)| WatchedPartition {
            number,
            left: script.into_iter(),
            seen: self.seen.clone(),
        };
        Ok(self.scripts.into_iter().map(open).collect())
    }
}

impl Partition for WatchedPartition {
    type Item = i64;

    async fn next(&mut self, _: usize) -> Result<Option<Batch<i64>>, Error> {
        let next = self.left.next();
        {
            let (read, lead) = &mut *self.seen.0.lock().unwrap();
            if next.is_none() {
                read[self.number] = i64::MAX;
                return Ok(None);
            }
            *lead = read[self.number].saturating_sub(*read.iter().min().unwrap()).max(*lead);
        }
        let (takes, times) = next.unwrap_or_default();
        clock::sleep(Duration::from_millis(takes)).await;
        if let Some(last) = times.iter().max() {
            let read = &mut self.seen.0.lock().unwrap().0[self.number];
            *read = (*read).max(*last);
        }
        Ok(Some(Batch::from(times)))
    }

    fn position(&self) -> String {
        format!("partition {}", self.number)
    }
}

#[derive(Clone, Debug)]
struct Case {
    scripts: Vec<Script>,
    /// Whether each partition is of a source of its own.
    apart: bool,
    drift: Option<u64>,
    step: u64,
    idle: Option<Duration>,
    kernels: usize,
    seed: u64,
}

/// How far one was ahead at most, and what came of it all.
fn run(case: &Case) -> (i64, Vec<i64>) {
    let (sim, job, seen) =
        (Sim::builder(case.seed).kernels(case.kernels).build(), Job::new("aligned"), Seen::default());
    seen.0.lock().unwrap().0 = vec![0; case.scripts.len()];
    let alignment = case.drift.map(|drift| Alignment::within(Duration::from_micros(drift)));
    let scripts: Vec<_> = case.scripts.iter().cloned().enumerate().collect();
    let size = if case.apart { 1 } else { scripts.len() };
    let sinks = scripts.chunks(size).enumerate().map(|(number, scripts)| {
        let source = Watched { scripts: scripts.to_vec(), seen: seen.clone() };
        let mut input = job
            .source(&*format!("source {number}"), source)
            .timestamps(|time: &i64| Time(*time), Watermarks::monotonic())
            .epochs(Epochs::WatermarkStep(Duration::from_micros(case.step)))
            .idle(Idle { after: case.idle, follow_clock: false });
        if let Some(alignment) = &alignment {
            input = input.align(alignment);
        }
        let (sink, rows) = gather();
        input.stream().sink(&*format!("rows {number}"), sink);
        rows
    });
    let sinks: Vec<_> = sinks.collect();
    sim.block_on(job.start(sim.handle()).unwrap().join()).unwrap();
    let mut rows: Vec<_> = sinks.into_iter().flat_map(|rows| rows.take()).collect();
    rows.sort_unstable();
    let lead = seen.0.lock().unwrap().1;
    (lead, rows)
}

fn cases() -> impl Strategy<Value = Case> {
    // Batches of a few records: how long they take, and how far apart the records are.
    let batch = (0u64..200, prop::collection::vec(0i64..40, 1..5));
    let script = prop::collection::vec(batch, 0..40).prop_map(|batches| {
        // From the beginning on, for a partition says nothing before its watermark has made a step.
        let mut now = 0;
        let mut time = |step: i64| {
            now += step;
            now - step
        };
        batches.into_iter().map(|(takes, steps)| (takes, steps.into_iter().map(&mut time).collect())).collect()
    });
    let scripts = prop::collection::vec(script, 1..5);
    (scripts, any::<bool>(), 0u64..300, 1u64..100, 1usize..4, any::<u64>()).prop_map(
        |(scripts, apart, drift, step, kernels, seed)| Case {
            scripts,
            apart,
            drift: Some(drift),
            step,
            idle: None,
            kernels,
            seed,
        },
    )
}

proptest! {
    #[test]
    fn nobody_is_read_far_ahead(case in cases()) {
        let (lead, rows) = run(&case);
        let mut all: Vec<_> = case.scripts.iter().flatten().flat_map(|(_, times)| times.clone()).collect();
        all.sort_unstable();
        prop_assert_eq!(rows, all);
        // A partition tells how far it is in steps.
        let most = case.drift.unwrap_or_default() + case.step + 1;
        prop_assert!(lead <= most as i64, "ahead by {lead}, and not by {most}");
    }
}

/// One that gives a record a second, and one that gives all at once.
fn uneven() -> Case {
    let slow = (0..100).map(|n| (1_000, vec![n * 10])).collect();
    let quick = (0..1_000).map(|n| (0, vec![n])).collect();
    Case { scripts: vec![slow, quick], apart: false, drift: Some(50), step: 10, idle: None, kernels: 2, seed: 1 }
}

#[test]
fn without_it_they_are() {
    assert!(run(&uneven()).0 <= 60);
    assert_eq!(run(&Case { drift: None, ..uneven() }).0, 998);
}

#[test]
fn who_is_idle_holds_nobody_back() {
    let case = Case { idle: Some(Duration::from_millis(100)), ..uneven() };
    let (lead, rows) = run(&case);
    assert!(lead > 500, "{lead}");
    // What comes behind those that went on is late.
    assert!(rows.len() >= 1_000);
}
