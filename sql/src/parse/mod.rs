//! From text to statements: Flink's SQL, read with sqlparser's tokenizer and its parser of queries.
//!
//! [`split`] cuts a [`script`] into statements, so that each stands or falls alone; [`Piece::parse`] makes a
//! [`Statement`] of one; what is wrong with it is a [`Diagnostic`], which shows the place. [`dialect`] tells sqlparser
//! how Flink writes queries and expressions, [`grammar`] reads Flink's own statements, and [`types`] its types. All
//! places are those of the whole text, so that what a planner finds wrong later can be shown the same way.

mod depth;
mod diagnostic;
mod dialect;
mod grammar;
mod hints;
mod interval;
mod prefix;
mod script;
pub mod statement;
mod types;
mod words;

pub use datafusion_sql::sqlparser::tokenizer::{Location, Span};
pub use diagnostic::{Diagnostic, Rendered};
pub use dialect::FlinkDialect;
pub use hints::table_options;
pub(crate) use prefix::PARTITIONED_TABLE;
pub(crate) use script::query;
pub use script::{Piece, is_complete, parse, split};
pub use statement::Statement;
pub use types::{FlinkType, FlinkTypes, SqlType};
