//! Counts the words of text files: see the README beside this file.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use compact_str::CompactString;
use updraft::connectors::stdout::Closed;
use updraft::prelude::*;

/// Count the words of text files, plain or compressed.
#[derive(Parser)]
struct Args {
    /// Which files, for example 'books/*.txt'.
    files: String,
    /// Print only the most frequent words, the most frequent first; without it, all words in no order.
    #[arg(long)]
    top: Option<usize>,
}

type Count = Windowed<CompactString, u64>;

/// What is printed.
#[derive(Clone, serde::Serialize)]
struct Row {
    word: CompactString,
    count: u64,
}

fn main() -> ExitCode {
    match count_words(&Args::parse()) {
        Err(error) if !Closed::is_in(&error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn count_words(args: &Args) -> Result<(), updraft::JobError> {
    let job = Job::new("word_count");
    // Text has no event time: all of it falls into one window, which ends with the input.
    let all = Tumbling::of(Duration::from_secs(1));
    let counts = job
        .source("text", Files::glob(&args.files).lines())
        .timestamps(|_| Time::from_secs(0), Watermarks::monotonic())
        .stream()
        .flat_map(|line| words(&line).collect::<Vec<_>>())
        .key_by(CompactString::clone)
        .window(all)
        .aggregate(count());
    let row = |count: Count| Row { word: count.key, count: count.value };
    match args.top {
        None => counts.map(row).sink("table", Stdout::csv()),
        Some(top) => counts
            .window_all(all)
            .top_k(top, |count: &Count| count.value)
            .flat_map(|best| best.value)
            .map(row)
            .sink("table", Stdout::csv()),
    }
    job.run()?;
    Ok(())
}

/// Runs of ASCII letters, in lower case.
fn words(line: &str) -> impl Iterator<Item = CompactString> {
    let runs = line.split(|c: char| !c.is_ascii_alphabetic()).filter(|run| !run.is_empty());
    runs.map(|run| run.chars().map(|c| c.to_ascii_lowercase()).collect())
}
