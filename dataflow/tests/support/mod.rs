//! What the tests of whole jobs share: who runs a job, for one on real threads and for one that is simulated.
#![allow(dead_code, reason = "each test file is a crate that uses some of it")]

pub(crate) mod graph;
pub(crate) mod grouping;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use proptest::prelude::*;
use updraft_dataflow::Job;
use updraft_dataflow::explain::{Explanation, NodeKind};
use updraft_dataflow::metrics::JobMetrics;
use updraft_dataflow::testing::Gathered;
use updraft_kernel::Runtime;
use updraft_kernel::sim::{Faults, Sim};

/// What each sink has gathered, in order.
pub(crate) fn sorted<T: Ord>(gathered: &[Gathered<T>]) -> Vec<Vec<T>> {
    let sorted = |rows: &Gathered<T>| {
        let mut rows = rows.take();
        rows.sort();
        rows
    };
    gathered.iter().map(sorted).collect()
}

/// Whether each part has read what those before it have given, to the record: `parts` are in the order in which the job explains itself, of
/// each kind, with their names, the records that they have read, and those that they have given on.
pub(crate) fn flows<'a>(
    explained: &Explanation,
    parts: impl IntoIterator<Item = (NodeKind, &'a str, u64, u64)>,
) -> Result<(), TestCaseError> {
    let mut of_kind: BTreeMap<_, VecDeque<_>> = BTreeMap::new();
    for (kind, name, read, given) in parts {
        of_kind.entry(kind).or_default().push_back((name, read, given));
    }
    let mut given = Vec::new();
    for node in &explained.nodes {
        let (name, read, gives) = of_kind.entry(node.kind).or_default().pop_front().unwrap();
        prop_assert_eq!(&*node.name, name);
        if node.kind != NodeKind::Source {
            let sum: u64 = node.inputs.iter().map(|edge| given[edge.from]).sum();
            prop_assert_eq!(read, sum, "{} of\n{}", name, explained);
        }
        given.push(gives);
    }
    prop_assert!(of_kind.values().all(VecDeque::is_empty));
    Ok(())
}

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
