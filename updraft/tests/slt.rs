//! SQL end to end: the statements of `slt/*.slt` and what they give, in the format of sqllogictest.
//!
//! A file is a test. It is run in streaming mode on one, two and three kernels, and in batch mode; `onlyif streaming` and
//! `onlyif batch` before a statement say where it belongs. In streaming mode what is compared is the table that the changes
//! add up to. `$__TEST_DIR__` is a folder of the run's own. All that is wrong in a file is told at once.
//!
//! A text that is empty is written `(empty)`; what is nested is JSON, and bytes are in base 64, as in CSV on the console.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "slt/database.rs"]
mod database;

use std::path::Path;

use database::{Database, Mode};
use sqllogictest::{Normalizer, QueryExpect, Record, Runner, SortMode};

/// Makes a test of each file, and the list of them all.
macro_rules! files {
    ($($name:ident)*) => {
        const FILES: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { check(stringify!($name)); })*
    };
}

files! {
    catalog
    files
    functions
    generators
    group_windows
    grouping
    inserts
    joins
    late
    over
    sets
    subqueries
    tables
    time_joins
    top_n
    unnest
    unsupported
    values
    window_joins
    windows
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/slt");

#[test]
fn every_file_is_a_test() {
    let names = std::fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path());
    let names = names.filter(|path| path.extension().is_some_and(|extension| extension == "slt"));
    let mut names: Vec<_> = names.map(|path| path.file_stem().unwrap().to_str().unwrap().to_string()).collect();
    names.sort();
    assert_eq!(names, FILES, "the list in slt.rs is to name all files, in order");
}

/// Runs a file on all kinds of runtimes.
fn check(name: &str) {
    let path = Path::new(FOLDER).join(name).with_extension("slt");
    let mut wrong = Vec::new();
    for (mode, kernels) in [(Mode::Streaming, 2), (Mode::Batch, 2), (Mode::Streaming, 1), (Mode::Streaming, 3)] {
        for error in run(&path, mode, kernels) {
            wrong.push(format!("{mode:?} on {kernels} kernels: {error}"));
        }
        // The other runs would mostly say the same.
        if !wrong.is_empty() && mode == Mode::Batch {
            break;
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

/// Runs a file, and tells what was wrong in it.
fn run(path: &Path, mode: Mode, kernels: usize) -> Vec<String> {
    let mut runner = Runner::new(move || async move { Ok(Database::new(mode, kernels)) });
    runner.with_column_validator(|actual, expected| actual.len() == expected.len());
    let mut wrong = Vec::new();
    for record in sqllogictest::parse_file(path).unwrap() {
        if matches!(record, Record::Halt { .. }) {
            break;
        }
        runner.with_validator(if is_sorted(&record) { any_order } else { in_order });
        if let Err(error) = runner.run(record) {
            wrong.push(error.display(false).to_string());
        }
    }
    wrong
}

fn is_sorted<T: sqllogictest::ColumnType>(record: &Record<T>) -> bool {
    matches!(record, Record::Query { expected: QueryExpect::Results { sort_mode: Some(SortMode::RowSort), .. }, .. })
}

fn in_order(normal: Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    texts(normal, actual) == expected.iter().map(normal).collect::<Vec<_>>()
}

fn any_order(normal: Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    let mut expected: Vec<_> = expected.iter().map(normal).collect();
    let mut actual = texts(normal, actual);
    expected.sort();
    actual.sort();
    actual == expected
}

fn texts(normal: Normalizer, rows: &[Vec<String>]) -> Vec<String> {
    rows.iter().map(|row| row.iter().map(normal).collect::<Vec<_>>().join(" ")).collect()
}
