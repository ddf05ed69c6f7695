//! `updraft state ls`.

use std::sync::Arc;

use clap::Args;
use updraft_sql::arrow::array::{Float64Array, TimestampMillisecondArray};

use super::{existing, numbers, print, runtime, texts};
use crate::command::Outcome;
use crate::command::sql::Layout;

/// List the checkpoints that are kept.
#[derive(Args)]
pub(super) struct Ls {
    /// The folder or URL that the job was given with --state, or a savepoint.
    dir: String,
    /// How rows are shown.
    #[arg(long, short, value_enum)]
    output: Option<Layout>,
}

impl Ls {
    pub(super) fn run(self) -> Outcome {
        let mut all = Vec::new();
        runtime()?.block_on(async {
            for (name, archive) in existing(&self.dir).await? {
                let (kept, damaged) = archive.checkpoints().await.map_err(|error| format!("{}: {error}", self.dir))?;
                damaged.iter().for_each(|error| eprintln!("updraft: {}: {error}", self.dir));
                all.extend(kept.into_iter().map(|kept| (name.clone(), kept)));
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        })?;
        let taken = all.iter().map(|(_, kept)| kept.manifest.at / 1_000);
        let took = all.iter().map(|(_, kept)| kept.manifest.took as f64 / 1e6);
        let of = |number: &dyn Fn(&updraft::dataflow::checkpoint::Kept) -> u64| {
            numbers(all.iter().map(|(_, kept)| Some(number(kept))))
        };
        let columns = vec![
            ("folder", texts(all.iter().map(|(name, _)| Some(if name.is_empty() { "." } else { name }.to_owned())))),
            ("checkpoint", of(&|kept| kept.number)),
            ("taken", Arc::new(TimestampMillisecondArray::from_iter_values(taken)) as _),
            ("seconds", Arc::new(Float64Array::from_iter_values(took)) as _),
            ("bytes", of(&|kept| kept.manifest.bytes())),
            ("attempt", of(&|kept| kept.attempt)),
            ("kernels", of(&|kept| kept.manifest.kernels)),
            (
                "ended",
                texts(all.iter().map(|(_, kept)| Some(if kept.manifest.finished { "yes" } else { "no" }.to_owned()))),
            ),
            ("job", texts(all.iter().map(|(_, kept)| Some(kept.manifest.job.clone())))),
        ];
        print(columns, self.output)
    }
}
