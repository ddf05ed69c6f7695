//! Random graphs: several inputs, branches, windows, joins, keyed state, calls that wait; against an interpreter that works on
//! whole lists. On threads, and simulated with faults.
//!
//! More cases: `PROPTEST_CASES=10000 cargo test -p updraft-dataflow --test graphs`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use proptest::prelude::*;
use support::Driver;
use support::graph::{self, Case, Rec, cases, interpret};
use updraft_dataflow::Job;
use updraft_dataflow::explain::{Explanation, NodeKind};
use updraft_dataflow::metrics::JobMetrics;
use updraft_dataflow::sim::{Faults, Sim, failing, slow};
use updraft_dataflow::testing::{Gathered, gather};

/// The job, with sinks for all streams that nothing reads; `faulty` adds slow sinks and sources that stall.
fn build(case: &Case, faulty: bool, fails_after: Option<usize>) -> (Job, Vec<Gathered<Rec>>) {
    let (job, streams) = graph::build(case, faulty);
    let mut gathered = Vec::new();
    for (n, stream) in streams.into_iter().enumerate() {
        let (sink, rows) = gather();
        let sink = slow(sink, Duration::from_millis(if faulty { 50 } else { 0 }));
        match fails_after {
            Some(records) => stream.sink(format!("sink {n}"), failing(sink, records)),
            None => stream.sink(format!("sink {n}"), sink),
        }
        gathered.push(rows);
    }
    (job, gathered)
}

fn sorted(gathered: &[Gathered<Rec>]) -> Vec<Vec<Rec>> {
    let sorted = |rows: &Gathered<Rec>| {
        let mut rows = rows.take();
        rows.sort();
        rows
    };
    gathered.iter().map(sorted).collect()
}

/// What a job says of itself is what has run: each node has read all that those before it have given.
fn flows(explained: &Explanation, metrics: &JobMetrics) -> Result<(), TestCaseError> {
    let (mut stages, mut sinks, mut sources) = (metrics.stages.iter(), metrics.sinks.iter(), metrics.sources.iter());
    let mut given = Vec::new();
    for node in &explained.nodes {
        let (name, read, gives) = match node.kind {
            NodeKind::Source => {
                let source = sources.next().unwrap();
                (&source.name, 0, source.records() - source.late() - source.rejected())
            }
            NodeKind::Stage => {
                let stage = stages.next().unwrap();
                (&stage.name, stage.records_in(), stage.records_out())
            }
            NodeKind::Sink => {
                let sink = sinks.next().unwrap();
                (&sink.name, sink.records_in(), 0)
            }
        };
        prop_assert_eq!(&*node.name, &**name);
        let sum: u64 = node.inputs.iter().map(|edge| given[edge.from]).sum();
        prop_assert_eq!(read, sum, "{} of\n{}", name, explained);
        given.push(gives);
    }
    prop_assert!(sources.next().is_none() && stages.next().is_none() && sinks.next().is_none());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn graphs_give_what_they_mean(case in cases()) {
        let (job, gathered) = build(&case, matches!(case.driver, Driver::Simulated(..)), None);
        let explained = job.explain();
        let metrics = case.driver.run(job);
        prop_assert_eq!(sorted(&gathered), interpret(&case));
        flows(&explained, &metrics)?;
    }

    /// A panic anywhere, or a sink that fails, ends the job with an error, at once and with nothing left running. What
    /// the sinks have is of what they should have had.
    #[test]
    fn faults_end_the_job(case in cases(), seed: u64, kernels in 1usize..4, panics in 0.0..0.01, fails in 0usize..400) {
        let sim = Sim::builder(seed).kernels(kernels).faults(Faults::none().panics(panics)).build();
        let (job, gathered) = build(&case, true, Some(fails));
        let running = job.start(sim.handle()).unwrap();
        let ended = sim.block_on(running.join());
        prop_assert!(running.is_ended());
        let (actual, expected) = (sorted(&gathered), interpret(&case));
        match ended {
            Ok(_) => prop_assert_eq!(actual, expected),
            Err(error) => {
                let error = error.to_string();
                prop_assert!(error.contains("by the simulator"), "{error}");
                for (mut rows, expected) in actual.into_iter().zip(expected) {
                    for row in expected {
                        rows.iter().position(|other| *other == row).map(|at| rows.swap_remove(at));
                    }
                    prop_assert!(rows.is_empty(), "rows that should not be: {rows:?}");
                }
            }
        }
        drop(running);
        prop_assert_eq!(sim.handle().account().used(), 0);
    }

    /// The same seed is the same run: every row in the same order, and the same schedule to its end.
    #[test]
    fn the_same_seed_is_the_same_run(case in cases(), seed: u64, kernels in 1usize..4) {
        let run = || {
            let faults = Faults::none().stalls(0.01, Duration::from_millis(5));
            let sim = Sim::builder(seed).kernels(kernels).faults(faults).build();
            let (job, gathered) = build(&case, true, None);
            sim.block_on(job.start(sim.handle()).unwrap().join()).unwrap();
            (sim.fingerprint(), gathered.iter().map(Gathered::take).collect::<Vec<_>>())
        };
        prop_assert_eq!(run(), run());
    }
}
