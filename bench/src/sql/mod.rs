//! SQL over files: Updraft beside DataFusion, on the same queries and files, in one process, one after the other.
//!
//! Both have as many threads, and must come to the same rows. Next: [`data`] (the files), [`queries`], and a file for each.

mod data;
mod datafusion;
mod queries;
mod updraft;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ::datafusion::arrow::array::RecordBatch;
use ::datafusion::arrow::util::display::array_value_to_string;

use crate::median;
use data::Files;

/// Compare SQL over files with DataFusion.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which queries; all by default.
    #[arg(long, value_delimiter = ',')]
    queries: Vec<String>,
    /// How many threads.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    kernels: Vec<usize>,
    /// Millions of rows.
    #[arg(long, default_value_t = 8.0)]
    millions: f64,
    /// How often each is run; the median is told.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// Where the files are; they are made if they are not there.
    #[arg(long, default_value = "bench/data")]
    folder: PathBuf,
    /// Only one of the two: for profiles.
    #[arg(long, value_enum)]
    only: Option<Peer>,
}

/// Who runs queries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Peer {
    Updraft,
    Datafusion,
}

/// A result as text, in order: what both must come to.
type Answer = Vec<Vec<String>>;

pub(crate) fn run(args: &Args) {
    let files = Files::prepare(&args.folder, (args.millions * 1e6) as usize);
    println!("{:<12} {:>7} {:>12} {:>12} {:>16}", "query", "threads", "Updraft ms", "DataFusion ms", "of DataFusion");
    for (name, query) in queries::ALL {
        if !args.queries.is_empty() && !args.queries.iter().any(|wanted| wanted == name) {
            continue;
        }
        for &threads in &args.kernels {
            compare(name, query, &files, threads, args);
        }
    }
}

/// Runs a query in turns, so that what else the machine does meets both.
fn compare(name: &str, query: &str, files: &Files, threads: usize, args: &Args) {
    let (updraft, datafusion) = (updraft::Updraft::new(files, threads), datafusion::DataFusion::new(files, threads));
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..args.repeat.max(1) {
        let mut answers = Vec::new();
        for (peer, times) in [Peer::Updraft, Peer::Datafusion].into_iter().zip(&mut times) {
            if args.only.is_some_and(|only| only != peer) {
                continue;
            }
            let begin = Instant::now();
            let rows = match peer {
                Peer::Updraft => updraft.query(query),
                Peer::Datafusion => datafusion.query(query),
            };
            times.push(begin.elapsed());
            answers.push(answer(&rows));
        }
        assert!(answers.windows(2).all(|two| two[0] == two[1]), "{name}: other rows\n{answers:?}");
    }
    let [updraft, datafusion] =
        times.map(|mut times| if times.is_empty() { Duration::ZERO } else { median(&mut times) });
    let ratio = datafusion.as_secs_f64() / updraft.as_secs_f64();
    let millis = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
    println!("{name:<12} {threads:>7} {:>12} {:>12} {ratio:>16.2}", millis(updraft), millis(datafusion));
}

fn answer(batches: &[RecordBatch]) -> Answer {
    let row = |batch: &RecordBatch, at| {
        batch.columns().iter().map(|column| array_value_to_string(column, at).expect("a value")).collect()
    };
    let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |at| row(batch, at)));
    let mut rows: Answer = rows.collect();
    rows.sort();
    rows
}
