//! Expressions and what they give, by DataFusion's own planning: the documented examples of Flink, and the edges.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod aggregates;
mod collections;
mod harness;
mod jsons;
mod names;
mod numbers;
mod strings;
mod times;

/// An expression, and what it gives as text.
type Case = (&'static str, &'static str);

/// Checks each case; all that differ are shown.
fn check(cases: &[Case]) {
    let mut wrong = Vec::new();
    for (expression, expected) in cases {
        match harness::evaluate(expression) {
            Ok(given) if given == *expected => {}
            Ok(given) => wrong.push(format!("{expression}\n  expected {expected}\n  given    {given}")),
            Err(error) => wrong.push(format!("{expression}\n  expected {expected}\n  error    {error}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Checks that each expression is refused with an error that says this.
fn check_errors(cases: &[Case]) {
    for (expression, expected) in cases {
        match harness::evaluate(expression) {
            Ok(given) => panic!("{expression} gave {given}, and not an error"),
            Err(error) => assert!(error.to_string().contains(expected), "{expression} failed otherwise: {error}"),
        }
    }
}
