//! The public Nexmark benchmark's queries against DataFusion's batch execution of the same on the same events: as streams and
//! in batch mode, on some numbers of kernels, with events in order and not.
//!
//! `q6` is not among them, as in the benchmark for Flink: it has no SQL for it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod events;
mod job;
mod oracle;
mod small;
mod table;

use std::collections::BTreeMap;
use std::path::Path;

use job::RUNS;
use table::Counted;

/// All runs of a query fill the table that the oracle has, as `look` sees it.
fn agree(query: &str, look: impl Fn(&Counted) -> Counted) {
    let expected = look(&oracle::table(query));
    assert!(expected.len() > 0, "nothing to compare");
    for (run, table) in tables(query) {
        look(&table).assert_is(&expected, &run);
    }
}

/// What the runs of a query fill.
fn tables(query: &str) -> impl Iterator<Item = (String, Counted)> {
    let folder = tempfile::tempdir().unwrap();
    write_side_input(folder.path());
    RUNS.into_iter().map(move |run| {
        let changes = run.changes(query, folder.path());
        let is_final = run.mode == "streaming" || changes.iter().all(|rows| rows.kinds().is_none());
        assert!(is_final, "{query}, {run:?}: only final rows come in batch mode");
        (format!("{query}, {run:?}"), Counted::of_changes(&changes))
    })
}

fn write_side_input(folder: &Path) {
    let rows = Counted::of_batches(&[oracle::side_input()]);
    let lines: String = rows.rows().map(|row| format!("{}\n", row.join(","))).collect();
    std::fs::write(folder.join("side_input.csv"), lines).unwrap();
}

macro_rules! queries {
    ($($query:ident)*) => {
        $(#[test]
        fn $query() {
            agree(stringify!($query), Counted::clone);
        })*
    };
}

queries! { q0 q1 q2 q3 q4 q5 q7 q8 q9 q11 q13 q14 q15 q16 q17 q18 q20 q21 q22 }

/// Windows of the clock: which bids share one is not said, but each is in one.
#[test]
fn q12() {
    let totals = |table: &Counted| -> Counted {
        let mut totals = BTreeMap::<String, i64>::new();
        table.rows().for_each(|row| *totals.entry(row[0].clone()).or_default() += row[1].parse::<i64>().unwrap());
        totals.into_iter().map(|(bidder, bids)| vec![bidder, bids.to_string()]).collect()
    };
    agree("q12", totals);
}

/// Which of two bids of the same price comes first is not said: the prices by rank are, and that each row is a bid.
#[test]
fn q19() {
    const BID: [usize; 7] = [0, 1, 2, 3, 4, 5, 6];
    agree("q19", |table| table.columns(&[0, 2, 7]));
    let bids = Counted::of_batches(&[events::of_kind("bid")]);
    let bids: std::collections::BTreeSet<_> = bids.rows().collect();
    for (run, table) in tables("q19") {
        assert!(table.columns(&BID).rows().all(|row| bids.contains(row)), "{run}");
    }
}

/// Files, in a folder for each minute; a file there says that the minute is over.
#[test]
fn q10() {
    let expected = oracle::table("q10");
    for run in RUNS {
        let folder = tempfile::tempdir().unwrap();
        run.write("q10", folder.path());
        let mut rows = Vec::new();
        for day in folders(&folder.path().join("q10"), "dt=") {
            for minute in folders(&day.1, "hm=") {
                assert!(minute.1.join("_SUCCESS").exists(), "{run:?}: {minute:?} is not committed");
                rows.extend(
                    csv(&minute.1).into_iter().map(|row| [row, vec![day.0.clone(), minute.0.clone()]].concat()),
                );
            }
        }
        rows.into_iter().collect::<Counted>().assert_is(&expected, &format!("q10, {run:?}"));
    }
}

/// The folders within one, by what is after `prefix` in their names.
fn folders(of: &Path, prefix: &str) -> Vec<(String, std::path::PathBuf)> {
    let entries = std::fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().replace("%3A", ":");
        (name.strip_prefix(prefix).unwrap().to_owned(), path)
    };
    entries.map(named).collect()
}

/// The cells of all files in a folder that are not hidden; no cell is quoted but for blanks in it.
fn csv(folder: &Path) -> Vec<Vec<String>> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let visible = files.filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with(['.', '_']));
    let cells = |line: &str| line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect();
    visible.flat_map(|path| std::fs::read_to_string(path).unwrap().lines().map(cells).collect::<Vec<_>>()).collect()
}
