//! `updraft ps`.

use clap::Args;

use super::{Outcome, all, wait};

/// List the jobs that run.
///
/// Those of this user are found by the control sockets of their processes, which are in UPDRAFT_CONTROL, or else in XDG_RUNTIME_DIR/updraft.
#[derive(Args)]
pub(in crate::command) struct Ps {
    /// Print JSON, a job a line.
    #[arg(long)]
    json: bool,
}

impl Ps {
    pub(in crate::command) fn run(self) -> Outcome {
        let found = wait(all())?;
        if self.json {
            for found in found {
                println!("{}", serde_json::json!({ "id": found.id(), "process": found.process, "job": found.job }));
            }
            return Ok(());
        }
        let width = found.iter().map(|found| found.job.name.len()).max().unwrap_or(0).max(4);
        println!(
            "{:<12} {:<width$} {:>9} {:>14} {:>14} {:>9} {:>10}",
            "JOB", "NAME", "SECONDS", "RECORDS", "RESULTS", "MEMORY", "CHECKPOINT"
        );
        for found in found {
            let job = &found.job;
            let (memory, checkpoint) =
                (job.memory as f64 / 1e6, job.checkpoint.map_or("-".into(), |number| number.to_string()));
            println!(
                "{:<12} {:<width$} {:>9.0} {:>14} {:>14} {:>7.1}MB {:>10}",
                found.id(),
                job.name,
                job.seconds,
                job.records,
                job.results,
                memory,
                checkpoint
            );
        }
        Ok(())
    }
}
