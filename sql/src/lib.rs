//! SQL for Updraft: Flink's dialect over streams and files.
//!
//! [`parse`] reads statements, [`session`] does or plans them, `plan` makes logical plans with DataFusion and `build` makes
//! jobs of these. What flows are Arrow's columns ([`updraft_dataflow::Rows`]).

mod build;
mod catalog;
mod divisor;
mod embed;
mod fail;
pub mod function;
pub mod gate;
mod ipc;
pub mod native;
pub mod operator;
pub mod parse;
mod plan;
pub mod session;
#[cfg(feature = "testing")]
pub mod testing;

pub use arrow;
pub use embed::Embedded;
pub use operator::Export;
pub use session::{Inserts, Outcome, Query, Session, Settings, Shown};
