//! What Flink's SQL is read as: statements, queries, types, scripts and what is said of those that are wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../checks/mod.rs"]
mod checks;

mod diagnostics;
mod queries;
mod scripts;
mod soup;
mod statements;
mod types;

use updraft_sql::parse::statement::Spanned;
use updraft_sql::parse::{Statement, parse};

/// The one statement of a text.
fn one(text: &str) -> Spanned<Statement> {
    let mut statements = parse(text);
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0).unwrap_or_else(|wrong| panic!("{}", wrong.render("sql", text)))
}

/// What is said of the first statement of a text that is wrong.
fn wrong(text: &str) -> String {
    let wrong = parse(text).into_iter().find_map(Result::err).unwrap_or_else(|| panic!("{text} is right"));
    wrong.render("job.sql", text).to_string()
}
