//! Random graphs: several inputs, branches, windows, joins, keyed state, calls that wait; against an interpreter that works on
//! whole lists. On threads, and simulated with faults.
//!
//! More cases: `PROPTEST_CASES=10000 cargo test -p updraft-dataflow --test graphs`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use proptest::prelude::*;
use support::graph::{self, Case, Rec, cases, interpret};
use support::{Driver, flows, sorted};
use updraft_dataflow::Job;
use updraft_dataflow::explain::{Explanation, NodeKind};
use updraft_dataflow::metrics::{JobMetrics, SourceMetrics};
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

/// What a job says of itself is what has run.
fn has_run(explained: &Explanation, metrics: &JobMetrics) -> Result<(), TestCaseError> {
    let given = |source: &SourceMetrics| source.records() - source.late() - source.rejected();
    let sources = metrics.sources.iter().map(|one| (NodeKind::Source, &*one.name, 0, given(one)));
    let stages = metrics.stages.iter().map(|one| (NodeKind::Stage, &*one.name, one.records_in(), one.records_out()));
    let sinks = metrics.sinks.iter().map(|one| (NodeKind::Sink, &*one.name, one.records_in(), 0));
    flows(explained, sources.chain(stages).chain(sinks))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn graphs_give_what_they_mean(case in cases()) {
        let (job, gathered) = build(&case, matches!(case.driver, Driver::Simulated(..)), None);
        let explained = job.explain();
        let metrics = case.driver.run(job);
        prop_assert_eq!(sorted(&gathered), interpret(&case));
        has_run(&explained, &metrics)?;
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
