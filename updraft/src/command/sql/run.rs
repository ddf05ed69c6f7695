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
#[command(after_help = "Example:\n  updraft run ddl.sql q5.sql")]
pub(crate) struct Run {
    /// The files, for example `job.sql`.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Files to run before: tables that several jobs share, say. (As Flink's `-i`.)
    #[arg(long, short)]
    init: Vec<PathBuf>,
    #[command(flatten)]
    options: Options,
}

impl Run {
    pub(crate) fn run(self) -> Outcome {
        let mut engine = Engine::new(&self.options, Mode::Streaming)?;
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
