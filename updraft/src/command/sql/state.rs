//! Where `updraft run --state` keeps what jobs go on from.

use std::io::IsTerminal;
use std::time::Duration;

use updraft::connectors::state_store;
use updraft::dataflow::checkpoint::Checkpoints;
use updraft::{Job, Runtime};
use updraft_sql::Settings;

/// The folder of all jobs of a run; each has a folder there, by its number.
#[derive(Default)]
pub(super) struct State {
    folder: Option<String>,
    fresh: bool,
    jobs: usize,
}

impl State {
    pub(super) fn new(folder: Option<String>, fresh: bool) -> Self {
        Self { folder, fresh, jobs: 0 }
    }

    /// Has a job take checkpoints, and go on from the last one, if its state is to be kept.
    pub(super) fn keep(
        &mut self,
        job: Job,
        settings: &Settings,
        runtime: &Runtime,
    ) -> Result<Job, Box<dyn std::error::Error + Send + Sync>> {
        let Some(folder) = self.folder.as_deref().or_else(|| settings.get("state.checkpoints.dir")) else {
            return Ok(job);
        };
        self.jobs += 1;
        let (store, root) = state_store(folder)?;
        let root = root.join(format!("job-{}", self.jobs));
        let opened = runtime.block_on(Checkpoints::open(store, &root));
        let mut checkpoints = opened.map_err(|error| format!("{folder}: {error}"))?;
        if self.fresh {
            checkpoints = checkpoints.fresh();
        }
        tell(folder, &checkpoints);
        let span = |key: &str| settings.span(key).map_err(|error| format!("'{key}': {error}"));
        if let Some(every) = span("execution.checkpointing.interval")? {
            checkpoints = checkpoints.every(every.max(Duration::from_millis(1)));
        }
        if let Some(pause) = span("execution.checkpointing.min-pause")? {
            checkpoints = checkpoints.pause(pause);
        }
        if let Some(timeout) = span("execution.checkpointing.timeout")? {
            checkpoints = checkpoints.timeout(timeout);
        }
        if let Some(keep) = settings.get("state.checkpoints.num-retained") {
            let keep =
                keep.parse().map_err(|_| format!("'state.checkpoints.num-retained' = '{keep}': not a number"))?;
            checkpoints = checkpoints.keep(keep);
        }
        Ok(job.checkpoints(checkpoints))
    }
}

/// Tells people where a job goes on; what is damaged is told in any case.
fn tell(folder: &str, checkpoints: &Checkpoints) {
    checkpoints
        .damaged()
        .iter()
        .for_each(|error| eprintln!("updraft: {folder}: {error}; the checkpoint before it is taken"));
    if !std::io::stderr().is_terminal() {
        return;
    }
    match checkpoints.goes_on_from() {
        Some((number, _)) if checkpoints.is_finished() => {
            eprintln!("{folder}: the job had come to its end (checkpoint {number}); to run it again: --fresh");
        }
        Some((number, manifest)) => eprintln!("{folder}: goes on from checkpoint {number}, {} bytes", manifest.bytes()),
        None => {}
    }
}
