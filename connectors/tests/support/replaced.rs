//! Two processes that run the same job at the same time, for tests of this crate and of others.

use std::process::{Child, Output};

/// One of them ends well, and the other, too, or because it was replaced. Either may be the one: who was stopped before it took its number is
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
