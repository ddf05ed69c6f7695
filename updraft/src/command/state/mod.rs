//! `updraft state`: looks at the checkpoints of jobs, whether these run or not.

mod export;
mod ls;
mod show;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use updraft::Runtime;
use updraft::connectors::console::{ConsoleLayout, Encoder};
use updraft::connectors::state_store;
use updraft::dataflow::Rows;
use updraft::dataflow::checkpoint::{Archive, Kept, Manifest};
use updraft_sql::arrow::array::{ArrayRef, RecordBatch};

use super::Outcome;
use super::sql::Layout;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Look at the state of jobs: their checkpoints, and what is in them.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  updraft state ls state/\n  updraft state show state/\n  updraft state export state/ 'group 1a2b3c4d' totals.parquet"
)]
pub(crate) struct State {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Ls(ls::Ls),
    Show(show::Show),
    Export(export::Export),
}

impl State {
    pub(crate) fn run(self) -> Outcome {
        match self.command {
            Command::Ls(ls) => ls.run(),
            Command::Show(show) => show.run(),
            Command::Export(export) => export.run(),
        }
    }
}

/// A runtime for what does not take much.
pub(super) fn runtime() -> Result<Runtime> {
    Ok(Runtime::builder().kernels(1).build()?)
}

/// The jobs of a folder that is there, with their names.
pub(super) async fn existing(folder: &str) -> Result<Vec<(String, Archive)>> {
    let path = folder.strip_prefix("file://").unwrap_or(folder);
    if !path.contains("://") && !Path::new(path).is_dir() {
        return Err(format!("{folder}: there is no such folder").into());
    }
    let (store, root) = state_store(folder)?;
    let jobs = Archive::all_in(&store, &root).await.map_err(|error| format!("{folder}: {error}"))?;
    if jobs.is_empty() {
        return Err(format!("{folder}: there are no checkpoints, nor in the folders in it").into());
    }
    Ok(jobs)
}

/// The tables that sinks of a checkpoint are of.
pub(super) fn tables_of(manifest: &Manifest) -> BTreeSet<String> {
    let sinks = manifest.parts.keys().filter_map(|id| id.strip_prefix("sink "));
    sinks.map(|id| id.split(" #").next().unwrap_or_default().to_owned()).collect()
}

/// The checkpoint of a number, or the newest.
async fn checkpoint(folder: &str, archive: &Archive, number: Option<u64>) -> Result<Kept> {
    let (mut kept, damaged) = archive.checkpoints().await.map_err(|error| format!("{folder}: {error}"))?;
    damaged.iter().for_each(|error| eprintln!("updraft: {folder}: {error}"));
    let numbers: Vec<_> = kept.iter().map(|kept| kept.number.to_string()).collect();
    let found = match number {
        Some(number) => kept.into_iter().find(|kept| kept.number == number),
        None => kept.pop(),
    };
    found.ok_or_else(|| match number {
        Some(number) => format!("{folder}: there is no checkpoint {number}: there are {}", numbers.join(", ")).into(),
        None => format!("{folder}: no checkpoint can be read").into(),
    })
}

/// Prints columns.
fn print(columns: Vec<(&str, ArrayRef)>, layout: Option<Layout>) -> Result<()> {
    use std::io::{IsTerminal, Write};
    let default = if std::io::stdout().is_terminal() { ConsoleLayout::Table } else { ConsoleLayout::Csv };
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))?;
    let mut encoder = Encoder::new(batch.schema(), layout.map_or(default, ConsoleLayout::from), false);
    let mut out = String::new();
    encoder.encode(&Rows::from(batch), &mut out)?;
    encoder.finish(&mut out);
    match std::io::stdout().write_all(out.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// A column of texts.
fn texts(texts: impl IntoIterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(texts.into_iter().collect::<updraft_sql::arrow::array::StringViewArray>())
}

/// A column of numbers.
fn numbers(numbers: impl IntoIterator<Item = Option<u64>>) -> ArrayRef {
    let numbers = numbers.into_iter().map(|number| number.map(|number| number as i64));
    Arc::new(numbers.collect::<updraft_sql::arrow::array::Int64Array>())
}
