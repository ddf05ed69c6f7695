//! Who runs the workloads. To add one: a file here, and a line in [`Engine`].

mod hand;
mod nexmark;
mod renoir;
mod sql;
mod stateful;
pub(crate) mod timely;
mod updraft;

use ::updraft::dataflow::EpochOrder;
use clap::ValueEnum;

use crate::Workload;
use crate::data::Data;

/// Who runs the workloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Engine {
    /// Loops written by hand for the workload: the limit.
    Hand,
    /// This project, through its high-level API.
    Updraft,
    /// The same with epochs in order: what other engines do.
    InOrder,
    /// This project, through SQL: some Nexmark queries.
    Sql,
    /// timely, with operators written by hand inside it.
    Timely,
    /// renoir: its operators; its built-in windows on W1 and W2.
    Renoir,
}

impl Engine {
    /// Whether its result is to be that of the others. renoir's windows start with the first record of each key, so they are
    /// other windows.
    pub(crate) fn agrees_on(self, workload: Workload) -> bool {
        use Workload::{Q7, Q8, Sessions, W1, W2};
        self != Self::Renoir || !matches!(workload, W1 | W2 | Sessions | Q7 | Q8)
    }

    /// The checksum of the result; `None` where the engine has no such workload.
    pub(crate) fn run(self, workload: Workload, data: &Data, threads: usize) -> Option<u64> {
        if self == Self::Sql {
            return sql::run(workload, data, threads);
        }
        match (workload, data) {
            (Workload::W4, Data::Sides(sides)) => return stateful::join(self, sides, threads),
            (Workload::Keyed, Data::Readings(readings, _)) => return stateful::keyed(self, readings, threads),
            (Workload::Sessions, Data::Readings(readings, _)) => return stateful::sessions(self, readings, threads),
            (
                Workload::Q3
                | Workload::Q4
                | Workload::Q7
                | Workload::Q8
                | Workload::Q9
                | Workload::Q11
                | Workload::Q12
                | Workload::Q17,
                _,
            ) => return nexmark::run(self, workload, data, threads),
            _ => {}
        }
        match self {
            Self::Hand => Some(hand::run(workload, data, threads)),
            Self::Updraft => Some(updraft::run(workload, data, threads, EpochOrder::Out)),
            Self::InOrder => Some(updraft::run(workload, data, threads, EpochOrder::In)),
            Self::Timely => Some(timely::run(workload, data, threads)),
            Self::Renoir => renoir::run(workload, data, threads),
            Self::Sql => None,
        }
    }
}

/// Twenty steps: ten maps, ten filters. None can be folded into another.
macro_rules! twenty_steps {
    ($start:expr) => {
        twenty_steps!($start; 1 2 3 4 5 6 7 8 9 10)
    };
    ($start:expr; $($n:literal)*) => {
        $start$(
            .map(|x: u64| (x ^ $n).wrapping_mul(0x9E37_79B9_7F4A_7C15))
            .filter(|x: &u64| *x >> 57 != $n)
        )*
    };
}
pub(crate) use twenty_steps;
