//! Sources, sinks and tables of Kafka, at a broker of the tests' own (`broker/mod.rs`).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod broker;
mod client;
#[path = "cases/sink.rs"]
mod sink;
#[path = "cases/source.rs"]
mod source;
#[path = "cases/sql.rs"]
mod sql;
#[path = "cases/table.rs"]
mod table;
