//! Processes that run a job, for tests of other crates that stop, replace and kill them.
#![allow(dead_code, reason = "each test uses its part")]

use std::process::{Child, Command, Output};

pub(crate) fn signal(child: &Child, signal: &str) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits for its end, which must be a good one.
pub(crate) fn must_end_well(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Of two that run the same job one ends well, and the other, too, or because it was replaced. Either may be the one: who was stopped before it took its number is
/// the later one when it goes on.
pub(crate) fn one_must_end_well(both: [Child; 2]) {
    let outputs = both.map(|child| child.wait_with_output().unwrap());
    let error = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let errors = outputs.each_ref().map(error);
    let is_replaced = |error: &String| error.contains("another process has taken over");
    let mut all = outputs.iter().zip(&errors);
    assert!(all.all(|(output, error)| output.status.success() || is_replaced(error)), "{errors:?}");
    assert!(outputs.iter().any(|output| output.status.success()), "{errors:?}");
}
