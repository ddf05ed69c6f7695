//! What the tests of whole jobs share: who runs a job, for one on real threads and for one that is simulated.
#![allow(dead_code, reason = "each test file is a crate that uses some of it")]

pub(crate) mod graph;
pub(crate) mod grouping;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use proptest::prelude::*;
use updraft_dataflow::Job;
use updraft_dataflow::metrics::JobMetrics;
use updraft_kernel::Runtime;
use updraft_kernel::sim::{Faults, Sim};

/// Who runs a job.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Driver {
    /// So many kernels, each a thread.
    Threads(usize),
    /// So many simulated kernels, by the schedule of a seed, on which stalls come as often as the last number says.
    Simulated(u64, usize, f64),
}

/// Up to three kernels, real or simulated.
pub(crate) fn drivers() -> impl Strategy<Value = Driver> {
    prop_oneof![
        (1_usize..4).prop_map(Driver::Threads),
        (any::<u64>(), 1_usize..4, prop_oneof![Just(0.0), 0.0..0.2])
            .prop_map(|(seed, kernels, stalls)| Driver::Simulated(seed, kernels, stalls)),
    ]
}

fn threads(kernels: usize) -> &'static Runtime {
    static RUNTIMES: [OnceLock<Runtime>; 5] = [const { OnceLock::new() }; 5];
    RUNTIMES[kernels].get_or_init(|| Runtime::builder().kernels(kernels).pin(false).build().unwrap())
}

impl Driver {
    /// Runs the job to its end, which must be a good one, with all memory given back.
    pub(crate) fn run(self, job: Job) -> Arc<JobMetrics> {
        let (running, metrics) = match self {
            Self::Threads(kernels) => {
                let runtime = threads(kernels);
                let running = job.start(runtime.handle()).unwrap();
                let metrics = runtime.block_on(running.join()).unwrap();
                (running, metrics)
            }
            Self::Simulated(seed, kernels, stalls) => {
                let faults = Faults::none().stalls(stalls, Duration::from_millis(20));
                let sim = Sim::builder(seed).kernels(kernels).faults(faults).build();
                let running = job.start(sim.handle()).unwrap();
                let audited = running.clone();
                sim.at_each_step(move || {
                    if !audited.is_ended() {
                        assert_eq!(audited.memory(), audited.audit_memory(), "bytes charged, and bytes that are there");
                    }
                });
                let metrics = sim.block_on(running.join()).unwrap();
                (running, metrics)
            }
        };
        assert_eq!(running.memory(), 0, "bytes that are still charged after the job");
        metrics
    }
}
