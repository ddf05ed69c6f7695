//! `updraft sql`, `updraft run` and `updraft check`: SQL from the command line.
//!
//! [`engine`] runs statements one after the other, [`shell`] reads them from a terminal. The engine itself is the crate
//! `updraft-sql`.

mod check;
mod engine;
mod folders;
mod functions;
mod progress;
mod run;
mod shell;
mod state;

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use updraft::connectors::console::ConsoleLayout;

use super::Outcome;
pub(super) use check::Check;
pub(super) use engine::Engine;
pub(super) use run::{Run, read};

const EXAMPLES: &str = "Examples:
  updraft sql \"SELECT 6 * 7\"
  cat orders.csv | updraft sql \"SELECT country, SUM(price) FROM stdin GROUP BY country\"";

/// Query files and streams with SQL, in Flink's dialect.
///
/// With a query, answer it. Without one, read statements from the terminal, or from standard input if that is a file or pipe.
///
/// The table `stdin` is standard input: CSV, JSON lines or Parquet, told apart by its first bytes, or else lines of text in the one column
/// `line`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Sql {
    /// Statements, with `;` between them.
    query: Option<String>,
    #[command(flatten)]
    options: Options,
}

/// What all of them take.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// How rows are shown.
    #[arg(long, short, value_enum)]
    output: Option<Layout>,
    /// Whether to tell final rows only ('batch'), or changes as they come ('streaming'). By default 'streaming'
    /// for files of statements, as in Flink, and elsewhere 'batch' if all that is read has an end.
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// How many kernels; all cores by default.
    #[arg(long, short)]
    kernels: Option<usize>,
    /// Settings, as in SET 'key' = 'value'.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.trim().into(), value.trim().into()))
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Layout {
    /// Aligned columns.
    Table,
    /// Comma-separated values, with a header.
    Csv,
    /// A JSON object a line.
    Json,
}

impl From<Layout> for ConsoleLayout {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::Table => Self::Table,
            Layout::Csv => Self::Csv,
            Layout::Json => Self::Json,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Mode {
    /// Changes as they come.
    Streaming,
    /// Final rows, at the end of the input.
    Batch,
    /// Batch where all that is read has an end.
    Automatic,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Streaming => "streaming",
            Self::Batch => "batch",
            Self::Automatic => "automatic",
        }
    }
}

impl Sql {
    pub(crate) fn run(self) -> Outcome {
        let mut engine = Engine::new(&self.options, Mode::Automatic)?;
        let (name, text) = match self.query {
            Some(query) => ("query", query),
            None if std::io::stdin().is_terminal() => return shell::run(&mut engine),
            None => ("stdin", std::io::read_to_string(std::io::stdin())?),
        };
        engine.script(name, &text)?;
        engine.wait()
    }
}
