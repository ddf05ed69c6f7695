//! The Nexmark queries 3, 4, 7, 8, 9, 11, 12 and 17. Next: [`queries`] (what the loops and the operators inside timely are made
//! of), and a file for each engine.

mod hand;
pub(super) mod queries;
mod renoir;
mod timely;
mod updraft;

use super::Engine;
use crate::Workload;
use crate::data::Data;

/// The checksum of the result; `None` where the engine has no such workload.
pub(super) fn run(engine: Engine, workload: Workload, data: &Data, threads: usize) -> Option<u64> {
    match engine {
        Engine::Hand => hand::run(workload, data, threads),
        Engine::Updraft => updraft::run(workload, data, threads),
        Engine::Timely => timely::run(workload, data, threads),
        Engine::Renoir => renoir::run(workload, data, threads),
        Engine::InOrder | Engine::Sql => None,
    }
}
