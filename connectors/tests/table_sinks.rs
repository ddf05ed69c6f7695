//! Tables that take results, through jobs: what prints does so in a process of its own, this test program started again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;
mod tables;

use std::process::{Command, Output};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::Schema;
use tables::{error, table};
use updraft_connectors::table::{Blackhole, Print, registry};
use updraft_connectors::{Collect, Console, ConsoleLayout, Memory};
use updraft_dataflow::connector::{AnySink, Changelog, Connector};
use updraft_dataflow::{Job, JobError, RowKind, Rows, Sink};

fn batch() -> RecordBatch {
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("name", Arc::new(StringArray::from(vec![Some("a"), None, Some("c")]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn changes() -> Rows {
    Rows::changes(batch(), [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter])
}

fn run(sink: impl Sink<Rows>) -> Result<(), JobError> {
    let job = Job::new("results");
    let rows = Memory::new(vec![changes(), batch().into()]);
    job.source("rows", rows).stream().sink("results", sink);
    job.run().map(drop)
}

fn print(options: &[(&str, &str)]) -> AnySink {
    Print.sink(&table(batch().schema(), options)).unwrap()
}

/// What the children do, by the name of their test.
#[test]
#[ignore = "run by another test"]
fn child_prints() {
    println!();
    run(print(&[])).unwrap();
    run(print(&[("print-identifier", "out"), ("sink.parallelism", "2")])).unwrap();
    run(print(&[("standard-error", "true")])).unwrap();
}

#[test]
#[ignore = "run by another test"]
fn child_shows() {
    println!();
    run(Console::new(batch().schema(), ConsoleLayout::Table, true)).unwrap();
    run(Console::new(batch().schema(), ConsoleLayout::Csv, false)).unwrap();
}

fn child(name: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--ignored", "--nocapture"]).output().unwrap()
}

#[test]
fn printed_lines_go_where_they_are_told() {
    let output = child("child_prints");
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let lines = "+I[1, a]\n-U[2, null]\n+U[3, c]\n+I[1, a]\n+I[2, null]\n+I[3, c]\n";
    let named: String = lines.lines().map(|line| format!("out> {line}\n")).collect();
    assert!(out.contains(&format!("\n{lines}{named}")), "{out}");
    assert!(err.contains(lines), "{err}");
}

#[test]
fn a_console_shows_what_a_job_gives() {
    let out = String::from_utf8(child("child_shows").stdout).unwrap();
    let want = "\
+----+---------------+--------+
| op |            id | name   |
+----+---------------+--------+
| +I |             1 | a      |
| -U |             2 | <NULL> |
| +U |             3 | c      |
| +I |             1 | a      |
| +I |             2 | <NULL> |
| +I |             3 | c      |
+----+---------------+--------+
6 changes
id,name
1,a
2,
3,c
1,a
2,
3,c
";
    assert!(out.contains(want), "{out}");
}

#[test]
fn a_blackhole_takes_all() {
    let table = table(batch().schema(), &[]);
    assert_eq!((Blackhole.accepts(&table), Print.accepts(&table)), (Changelog::Changes, Changelog::Changes));
    run(Blackhole.sink(&table).unwrap()).unwrap();
    assert_eq!(error(&Blackhole, &table), "table `t` cannot be read: 'blackhole' is for results alone");
}

#[test]
fn memory_and_collect_hold_rows() {
    let (sink, collected) = Collect::new();
    run(sink).unwrap();
    assert_eq!(collected.take(), [changes(), batch().into()]);
}

#[test]
fn connectors_are_found_by_name() {
    for name in ["datagen", "filesystem", "nexmark", "print", "blackhole", "socket", "stdin"] {
        assert_eq!(registry().get(name).unwrap().name(), name);
    }
    let error = registry().get("nexmrk").unwrap_err().to_string();
    assert_eq!(error, "there is no connector 'nexmrk': did you mean 'nexmark'?");
    let print = table(Arc::new(Schema::empty()), &[("standard-error", "maybe")]);
    assert_eq!(
        Print.sink(&print).unwrap_err().to_string(),
        "option 'standard-error' = 'maybe': neither true nor false"
    );
}
