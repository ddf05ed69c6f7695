//! The stateful operators of SQL, over columns: each an [`Operator`](updraft_dataflow::operator::Operator) over rows that
//! were dealt by the hash of their key.
//!
//! They know nothing of the planner: each is made of plain data (schemas, numbers of columns, DataFusion's expressions).
//! What they share: [`codec`] (rows as bytes that compare), [`keys`] (numbers for keys), [`log`] (rows by number, in
//! columns), [`changes`] (what comes out), [`saved`] (what checkpoints hold) and [`aggregate`]. The simplest to begin with: [`normalize`].

pub mod aggregate;
mod changes;
mod codec;
pub mod deduplicate;
pub mod group_by;
mod held;
pub mod join;
mod keys;
pub(crate) mod layout;
mod log;
pub mod normalize;
pub mod order;
pub mod over;
mod own;
mod saved;
pub mod session;
pub mod settle;
pub mod sort;
#[cfg(test)]
pub(crate) mod testing;
mod times;
pub mod top_n;
mod touched;

pub use saved::Export;
