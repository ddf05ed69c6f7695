//! How Flink writes queries and expressions, told to sqlparser.
//!
//! Names keep their case; backticks (and double quotes) enclose those that are not words. What sqlparser does not read
//! as Flink means it begins an expression, and is read in [`prefix`](super::prefix).

use datafusion_sql::sqlparser::ast::Expr;
use datafusion_sql::sqlparser::dialect::Dialect;
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};

use super::prefix;
use crate::function::forms;

/// Flink's dialect, for sqlparser.
#[derive(Debug, Clone, Copy, Default)]
pub struct FlinkDialect;

/// The one that parsers borrow.
pub(super) static DIALECT: FlinkDialect = FlinkDialect;

impl Dialect for FlinkDialect {
    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_' || ch == '$'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.is_identifier_start(ch) || ch.is_numeric()
    }

    fn identifier_quote_style(&self, _: &str) -> Option<char> {
        Some('`')
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        prefix::parse(parser).or_else(|| forms::parse_prefix(parser))
    }

    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        forms::parse_infix(parser, expr, precedence)
    }

    /// Words that cannot be names: if what they begin is wrong, sqlparser need not try them as such (which takes a time
    /// that is exponential in their depth, and gives worse errors).
    fn is_reserved_for_identifier(&self, word: Keyword) -> bool {
        RESERVED.contains(&word)
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_match_recognize(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_comment_optimizer_hint(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }
}

const RESERVED: [Keyword; 24] = [
    Keyword::ARRAY,
    Keyword::CASE,
    Keyword::CAST,
    Keyword::CEIL,
    Keyword::CONVERT,
    Keyword::CURRENT_DATE,
    Keyword::CURRENT_TIME,
    Keyword::CURRENT_TIMESTAMP,
    Keyword::EXISTS,
    Keyword::EXTRACT,
    Keyword::FALSE,
    Keyword::FLOOR,
    Keyword::INTERVAL,
    Keyword::LOCALTIME,
    Keyword::LOCALTIMESTAMP,
    Keyword::NOT,
    Keyword::NULL,
    Keyword::OVERLAY,
    Keyword::POSITION,
    Keyword::SUBSTR,
    Keyword::SUBSTRING,
    Keyword::TRIM,
    Keyword::TRUE,
    Keyword::TRY_CAST,
];
