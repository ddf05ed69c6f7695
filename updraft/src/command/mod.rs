//! The commands, one file or folder each. To add one: a module here, and a line in [`Command`].

mod bench;
mod completions;
mod control;
mod demo;
mod explain;
mod savepoint;
mod sql;
mod state;

use clap::{Parser, Subcommand};

/// What a command ends with; an error is printed.
pub(crate) type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// A stream kernel: stream and batch dataflow on the same cores.
#[derive(Parser)]
#[command(version, after_help = "Logging: set UPDRAFT_LOG, for example UPDRAFT_LOG=info.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Sql(sql::Sql),
    Run(sql::Run),
    Check(sql::Check),
    Demo(demo::Demo),
    Bench(bench::Bench),
    Explain(explain::Explain),
    Ps(control::ps::Ps),
    Top(control::top::Top),
    Set(control::change::SetJob),
    Swap(control::change::SwapJob),
    Scale(control::moves::ScaleJob),
    Rehash(control::moves::RehashJob),
    Split(control::moves::SplitJob),
    Rewire(control::change::RewireJob),
    Pause(control::change::PauseJob),
    Resume(control::change::ResumeJob),
    Drain(control::change::DrainJob),
    Cancel(control::change::CancelJob),
    Checkpoint(control::change::CheckpointJob),
    Savepoint(savepoint::Savepoint),
    State(state::State),
    Completions(completions::Completions),
}

impl Cli {
    pub(crate) fn run(self) -> Outcome {
        match self.command {
            Command::Sql(sql) => sql.run(),
            Command::Run(run) => run.run(),
            Command::Check(check) => check.run(),
            Command::Demo(demo) => demo.run(),
            Command::Bench(bench) => bench.run(),
            Command::Explain(explain) => explain.run(),
            Command::Ps(ps) => ps.run(),
            Command::Top(top) => top.run(),
            Command::Set(set) => set.run(),
            Command::Swap(swap) => swap.run(),
            Command::Scale(scale) => scale.run(),
            Command::Rehash(rehash) => rehash.run(),
            Command::Split(split) => split.run(),
            Command::Rewire(rewire) => rewire.run(),
            Command::Pause(pause) => pause.run(),
            Command::Resume(resume) => resume.run(),
            Command::Drain(drain) => drain.run(),
            Command::Cancel(cancel) => cancel.run(),
            Command::Checkpoint(checkpoint) => checkpoint.run(),
            Command::Savepoint(savepoint) => savepoint.run(),
            Command::State(state) => state.run(),
            Command::Completions(completions) => completions.run(),
        }
    }
}
