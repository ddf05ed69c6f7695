//! `updraft scale`, `rehash` and `split`.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use updraft::control::{HasMoved, Keys, Scale, Shards};

use super::Outcome;
use super::change::{Which, ask, done, pair};

/// Have so many kernels work for the stages of a job, and the others not.
///
/// What is kept by key moves to its new kernels between two epochs, while the job goes on.
#[derive(Args)]
pub(in crate::command) struct ScaleJob {
    #[command(flatten)]
    which: Which,
    /// How many: the first ones of those that its process was started with.
    #[arg(long)]
    kernels: usize,
    /// One stage alone, as `updraft top` shows it.
    #[arg(long)]
    stage: Option<String>,
    /// A name of this change that no other has: asked for again, it is done once.
    #[arg(long)]
    id: Option<String>,
}

/// Move shards of a stage, each the keys of some ranges of hashes, to other kernels while the job goes on.
#[derive(Args)]
#[command(after_help = "Example:\n  updraft rehash orders --stage group --shard 3=1 --shard 5=0")]
pub(in crate::command) struct RehashJob {
    #[command(flatten)]
    which: Which,
    /// Which stage, as `updraft top` shows it.
    #[arg(long)]
    stage: String,
    /// A shard and its new kernel, both counted from 0.
    #[arg(long, value_name = "SHARD=KERNEL", required = true)]
    shard: Vec<String>,
    /// A name of this change that no other has: asked for again, it is done once.
    #[arg(long)]
    id: Option<String>,
}

/// Split hot keys of a stage while the job goes on: all kernels then put their records together before they come to the one that owns the key.
///
/// It is for stages that say how records are put together. `updraft explain JOB` shows hot keys.
#[derive(Args)]
#[command(after_help = "Example:\n  updraft split orders --stage totals --key '\"ann\"'")]
pub(in crate::command) struct SplitJob {
    #[command(flatten)]
    which: Which,
    /// Which stage, as `updraft top` shows it.
    #[arg(long)]
    stage: String,
    /// A key that is to be split, as JSON.
    #[arg(long, value_name = "KEY", required_unless_present = "join")]
    key: Vec<String>,
    /// A key that is to be whole again.
    #[arg(long, value_name = "KEY")]
    join: Vec<String>,
    /// A name of this change that no other has: asked for again, it is done once.
    #[arg(long)]
    id: Option<String>,
}

/// Asks for something that moves.
fn moved(which: &Which, what: &str, body: impl Serialize) -> Outcome {
    let HasMoved { epoch, drivers } = ask(which, what, body)?;
    eprintln!("{drivers} moved after epoch {epoch}");
    Ok(())
}

impl ScaleJob {
    pub(in crate::command) fn run(self) -> Outcome {
        let Self { which, kernels, stage, id } = self;
        moved(&which, "/scale", Scale { id, stage, kernels })
    }
}

impl RehashJob {
    pub(in crate::command) fn run(self) -> Outcome {
        let Self { which, stage, shard, id } = self;
        let shards = shard.iter().map(|text| {
            let (shard, kernel) = pair(text)?;
            let number = |text: &str| text.parse().map_err(|_| format!("--shard: `{text}` is no number"));
            Ok((number(&shard)?, number(kernel)?))
        });
        let shards = shards.collect::<Result<BTreeMap<_, _>, String>>()?;
        moved(&which, "/rehash", Shards { id, stage, shards })
    }
}

impl SplitJob {
    pub(in crate::command) fn run(self) -> Outcome {
        let Self { which, stage, key: split, join, id } = self;
        done(&which, "/split", Keys { id, stage, split, join })
    }
}
