//! Running the program and its examples.
#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::process::{Command, Output};

/// An example that was built with the tests.
pub(crate) fn example(name: &str) -> Command {
    let mut path = PathBuf::from(env!("CARGO_BIN_EXE_updraft"));
    path.pop();
    Command::new(path.join("examples").join(name))
}

/// What a command prints, which must succeed.
pub(crate) fn stdout(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: run scripts/setup first"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a shell script prints, which must succeed.
pub(crate) fn shell(script: &str) -> String {
    stdout(Command::new("bash").args(["-euo", "pipefail", "-c", script]))
}

/// Lines, sorted.
pub(crate) fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// What a command prints to standard error, which must fail.
pub(crate) fn failure(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    assert!(!status.success(), "{command:?} has not failed");
    String::from_utf8(stderr).unwrap()
}
