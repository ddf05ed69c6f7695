//! `updraft savepoint`: a copy of a checkpoint that lasts.

use clap::Args;
use updraft::connectors::state_store;
use updraft::dataflow::checkpoint::Archive;

use super::Outcome;
use super::control::change::{Which, checkpoint};
use super::state::{existing, runtime};

/// Copy the newest checkpoint of a job's state to another folder, where it stays.
///
/// The job may run meanwhile: then the copy is as old as its last checkpoint. All checksums are verified; the copy is there when all of it is.
/// `updraft run job.sql --state NEW --from TARGET` goes on from it.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  updraft savepoint state/ savepoints/before-upgrade\n  updraft savepoint state/ savepoints/of-now --now\n  updraft savepoint s3://jobs/orders s3://savepoints/orders-1"
)]
pub(crate) struct Savepoint {
    /// The folder or URL that the job was given with --state.
    #[arg(value_name = "DIR")]
    from: String,
    /// A folder or URL without state.
    #[arg(value_name = "TARGET")]
    to: String,
    /// Have the job take a checkpoint before, so that the copy is of now; it is called as `updraft ps` shows it, and need not be named if there is but one.
    #[arg(long, value_name = "JOB", num_args = 0..=1, require_equals = true)]
    now: Option<Option<String>>,
}

impl Savepoint {
    pub(crate) fn run(self) -> Outcome {
        let Self { from, to, now } = self;
        if let Some(job) = now {
            checkpoint(&Which::job(job))?;
        }
        runtime()?.block_on(async {
            let jobs = existing(&from).await?;
            let (store, root) = state_store(&to)?;
            if !Archive::all_in(&store, &root).await?.is_empty() {
                return Err(format!("{to}: there are checkpoints already: name another folder").into());
            }
            for (name, archive) in jobs {
                let target = Archive::new(
                    store.clone(),
                    &if name.is_empty() { root.clone() } else { root.clone().join(&*name) },
                );
                let copied = archive.copy_newest(&target, |number| number).await;
                let copied = copied.map_err(|error| format!("{from}: {error}"))?;
                copied
                    .damaged
                    .iter()
                    .for_each(|error| eprintln!("updraft: {from}: {error}; the checkpoint before it is copied"));
                let job = if name.is_empty() {
                    copied.manifest.job.clone()
                } else {
                    format!("{name} ({})", copied.manifest.job)
                };
                eprintln!("{to}: checkpoint {} of {job}, {} bytes", copied.number, copied.manifest.bytes());
            }
            Ok(())
        })
    }
}
