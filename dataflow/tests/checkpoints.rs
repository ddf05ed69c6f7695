//! Jobs that take checkpoints, and die at any moment: killed without a word, in a simulated store that fails, takes its time, loses its
//! answers and tears what it is given. What was committed at the end is what a job gives that nothing happens to.
//!
//! More cases: `PROPTEST_CASES=10000 cargo test -p updraft-dataflow --test checkpoints`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../checkpoint/tests/faulty/mod.rs"]
#[allow(dead_code, reason = "the tests of the store use more of it")]
mod faulty;
mod support;

use std::sync::Arc;
use std::time::Duration;

use faulty::{Dice, Faulty};
use object_store::path::Path;
use proptest::prelude::*;
use support::graph::{self, Case, Rec, cases, interpret};
use updraft_dataflow::checkpoint::Checkpoints;
use updraft_dataflow::sim::{Faults, Sim, slow};
use updraft_dataflow::testing::Ledger;

/// How a process of the job ends.
#[derive(Clone, Debug)]
struct Life {
    seed: u64,
    kernels: usize,
    /// When it is killed, in microseconds; the last process is not.
    killed_after: u64,
    /// How often checkpoints are taken, in microseconds.
    every: u64,
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let life = (any::<u64>(), 1usize..4, 0u64..400_000, 1_000u64..60_000)
        .prop_map(|(seed, kernels, killed_after, every)| Life { seed, kernels, killed_after, every });
    proptest::collection::vec(life, 1..6)
}

/// Runs a process: whether the job has come to its end.
fn live(case: &Case, life: &Life, store: &Arc<Faulty>, ledgers: &mut Vec<Ledger<Rec>>, is_last: bool) -> bool {
    let faults = Faults::none().stalls(0.01, Duration::from_millis(5));
    let sim = Sim::builder(life.seed).kernels(life.kernels).faults(faults).build();
    if is_last {
        store.heal();
    }
    // A store that fails while it is opened is tried again, as who starts a process does.
    let mut tries = 0;
    let checkpoints = loop {
        tries += 1;
        if tries == 10 {
            store.heal();
        }
        if let Ok(checkpoints) = sim.block_on(Checkpoints::open(store.clone(), &Path::from("job"))) {
            break checkpoints.every(Duration::from_micros(life.every)).keep(1);
        }
    };
    let (job, streams) = graph::build(case, true);
    ledgers.resize_with(streams.len(), Ledger::default);
    for (n, stream) in streams.into_iter().enumerate() {
        stream.sink(format!("sink {n}"), slow(ledgers[n].sink(), Duration::from_millis(20)));
    }
    let running = job.checkpoints(checkpoints).start(sim.handle()).unwrap();
    if !is_last {
        sim.run_for(Duration::from_micros(life.killed_after));
        if !running.is_ended() {
            // Dropped as it is.
            return false;
        }
    }
    match sim.block_on(running.join()) {
        Ok(_) => true,
        Err(error) => {
            assert!(!is_last && error.to_string().contains("as the dice say"), "{error}");
            false
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn each_record_counts_once(case in cases(), lives in lives(), seed: u64, faults in prop_oneof![Just(0usize), 0usize..6]) {
        let (store, mut ledgers) = (Arc::new(Faulty::new(Dice::new(seed), faults)), Vec::new());
        let last = lives.len() - 1;
        for (n, life) in lives.iter().enumerate() {
            if live(&case, life, &store, &mut ledgers, n == last) {
                break;
            }
        }
        let committed = |ledger: &Ledger<Rec>| {
            let mut rows = ledger.committed();
            rows.sort();
            rows
        };
        prop_assert_eq!(ledgers.iter().map(committed).collect::<Vec<_>>(), interpret(&case));
        prop_assert_eq!(ledgers.iter().map(Ledger::prepared).sum::<usize>(), 0);
        // Once more, the job has nothing left to do.
        prop_assert!(live(&case, &lives[last], &store, &mut ledgers, true));
        prop_assert_eq!(ledgers.iter().map(committed).collect::<Vec<_>>(), interpret(&case));
    }
}
