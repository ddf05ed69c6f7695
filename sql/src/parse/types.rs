//! Flink's types as Arrow's: from text, from sqlparser's trees, and back to text.
//!
//! What Arrow cannot tell is not kept: the lengths of `CHAR(n)` and `VARBINARY(n)`, and whether a map was a `MULTISET`.

mod display;
mod parse;
mod planner;

use arrow::datatypes::DataType;
use datafusion_sql::sqlparser::parser::ParserError;

pub use display::FlinkType;
pub(super) use parse::parse;
pub use planner::FlinkTypes;

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlType {
    /// What its values are.
    pub data_type: DataType,
    /// Whether they can be null: unless `NOT NULL` is written.
    pub nullable: bool,
}

impl std::fmt::Display for SqlType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rest = if self.nullable { "" } else { " NOT NULL" };
        write!(f, "{}{rest}", FlinkType(&self.data_type))
    }
}

impl std::str::FromStr for SqlType {
    type Err = ParserError;

    fn from_str(text: &str) -> Result<Self, ParserError> {
        parse::parse_text(text)
    }
}
