//! Standard input and output, in a process of their own: this test program, started again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use support::{read, write};
use updraft_connectors::stdout::Closed;
use updraft_connectors::{Stdin, Stdout};

/// The status of a child whose reader has gone; the harness around it would fail to say that all is well.
const CLOSED: i32 = 7;

const DONE: &str = "and that was all";

/// What the child does: copies CSV to a table.
#[test]
#[ignore = "run by the other tests"]
fn child() {
    println!();
    let all = read(Stdin::new().csv::<(String, u64)>(), 100).unwrap();
    let bundles = all.records.chunks(1_000).map(<[_]>::to_vec).collect();
    match write(Stdout::table(), bundles) {
        Ok(()) => println!("{DONE}, but for {}", all.rejected[0]),
        Err(error) if Closed::is_in(&*error) => std::process::exit(CLOSED),
        Err(error) => panic!("{error}"),
    }
}

fn start() -> (Child, ChildStdin) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", "--exact", "--ignored", "--nocapture"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    (child, stdin)
}

#[test]
fn a_table_of_what_is_piped_in() {
    let (mut child, mut stdin) = start();
    stdin.write_all(b"name,n\nx,5\nbad\nlonger,1000\n").unwrap();
    drop(stdin);
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("\n_1        _2\n──────  ────\nx          5\nlonger  1000\n"), "{text}");
    assert!(text.contains(&format!("{DONE}, but for stdin:3: 1 fields")), "{text}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    let (mut child, mut stdin) = start();
    stdin.write_all("name,n\n".as_bytes()).unwrap();
    stdin.write_all("some name,7\n".repeat(100_000).as_bytes()).unwrap();
    drop(stdin);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("some name")));
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(CLOSED));
}
