//! `updraft run job.sql`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::engine::Engine;
use super::state::State;
use super::{Mode, Options};
use crate::command::Outcome;

/// Run files of SQL statements, as Flink's SQL client does with `-f`.
///
/// Statements run in order, in one session; INSERTs are jobs, and all are waited for at the end. A SELECT shows its rows.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  updraft run ddl.sql q5.sql\n  updraft run job.sql --state state/\n  updraft run changed.sql --state new/ --from savepoint/"
)]
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
    /// Go on from a savepoint (see `updraft savepoint`), which stays as it is; the folder of --state must be without state.
    #[arg(long, requires = "state", conflicts_with = "fresh", value_name = "SAVEPOINT")]
    from: Option<String>,
    /// Go on although the job was changed: state that does not fit it any more is dropped. Without it people are asked.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    options: Options,
}

impl Run {
    pub(crate) fn run(self) -> Outcome {
        let Self { state, fresh, from, yes, .. } = self;
        let files = self.init.iter().chain(&self.files);
        let files =
            files.map(|file| Ok((file.display().to_string(), read(file)?))).collect::<Result<Vec<_>, String>>()?;
        let state =
            State::new(state).fresh(fresh).from(from).agreed(yes).expecting(files.iter().map(|(_, text)| &**text));
        let mut engine = Engine::new(&self.options, Mode::Streaming)?.keeping(state);
        for (name, text) in &files {
            engine.script(name, text)?;
        }
        engine.wait()
    }
}

/// The text of a file of statements.
pub(in crate::command) fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: cannot be read: {error}", file.display()))
}
