//! How soon `echo … | updraft sql` answers: from the start of the process to the first row on its standard output.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::median;

/// The time to the first row of a program that was built before.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The program.
    #[arg(long, default_value = "target/release/updraft")]
    program: PathBuf,
    /// How often it is started; the median is told.
    #[arg(long, default_value_t = 31)]
    repeat: usize,
}

/// What is asked, and of what.
const QUERIES: [(&str, &str); 3] = [
    ("a row as it is", "SELECT name, price FROM stdin"),
    ("a sum", "SELECT SUM(price) FROM stdin"),
    ("groups", "SELECT name, SUM(price) FROM stdin GROUP BY name"),
];
const INPUT: &str = "name,price\nann,5\nbob,3\n";

pub(crate) fn run(args: &Args) {
    let size = std::fs::metadata(&args.program).map_or(0, |metadata| metadata.len());
    println!("{}: {:.1} MB", args.program.display(), size as f64 / 1e6);
    for (name, query) in QUERIES {
        let mut times: Vec<_> = (0..args.repeat.max(1)).map(|_| first_row(args, query)).collect();
        let middle = median(&mut times);
        println!("{name:<16} {middle:>8.1?} ({:.1?} to {:.1?})", times[0], times[times.len() - 1]);
    }
}

fn first_row(args: &Args, query: &str) -> Duration {
    let begin = Instant::now();
    let mut command = Command::new(&args.program);
    command.args(["sql", "--output", "json", query]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the program can be started");
    if let Some(mut input) = child.stdin.take() {
        input.write_all(INPUT.as_bytes()).expect("the program reads");
    }
    let mut row = String::new();
    let output = child.stdout.take().expect("its output is piped");
    BufReader::new(output).read_line(&mut row).expect("the program writes text");
    let time = begin.elapsed();
    assert!(row.starts_with('{'), "no row, but {row:?}");
    child.wait().expect("the program ends");
    time
}
