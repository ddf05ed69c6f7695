//! `updraft run job.sql`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::engine::Engine;
use super::{Mode, Options};
use crate::command::Outcome;

/// Run files of SQL statements, as Flink's SQL client does with `-f`.
///
/// Statements run in order, in one session; INSERTs are jobs, and all are waited for at the end. A SELECT shows its rows.
#[derive(Args)]
#[command(after_help = "Examples:\n  updraft run ddl.sql q5.sql\n  updraft run job.sql --state state/")]
pub(crate) struct Run {
    /// The files, for example `job.sql`.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Files to run before: tables that several jobs share, say. (As Flink's `-i`.)
    #[arg(long, short)]
    init: Vec<PathBuf>,
    /// Keep the state of jobs in this folder, or at a URL such as s3://bucket/folder, and go on from there: after a crash, a kill or Ctrl-C
    /// the same command continues, and what it writes is as if nothing had happened. (As `SET 'state.checkpoints.dir'`.)
    #[arg(long, value_name = "DIR")]
    state: Option<String>,
    /// Start anew, whatever state there is.
    #[arg(long, requires = "state")]
    fresh: bool,
    #[command(flatten)]
    options: Options,
}

impl Run {
    pub(crate) fn run(self) -> Outcome {
        let mut engine = Engine::new(&self.options, Mode::Streaming)?.keeping(self.state, self.fresh);
        for file in self.init.iter().chain(&self.files) {
            engine.script(&file.display().to_string(), &read(file)?)?;
        }
        engine.wait()
    }
}

/// The text of a file of statements.
pub(in crate::command) fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: cannot be read: {error}", file.display()))
}
