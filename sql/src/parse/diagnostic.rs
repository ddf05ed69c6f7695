//! What is wrong with a statement: in plain words, with its place and a hint.
//!
//! Made of what the grammar says, of sqlparser's errors ([`parser`]) and of DataFusion's ([`planner`]); shown by
//! [`render`].

mod parser;
mod planner;
mod render;

use datafusion_sql::sqlparser::tokenizer::Span;

pub(super) use parser::{is_unfinished, of_parser, of_tokens};
pub(super) use planner::of_planner;
pub use render::Rendered;

/// What is wrong, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong.
    pub message: String,
    /// Where, in the whole text: lines and columns from 1; the end is exclusive.
    pub span: Option<Span>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Something is wrong.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, hint: None }
    }

    /// There.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = (span != Span::empty()).then_some(span);
        self
    }

    /// This would help.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Shows the line of `text` that it is about; `name` is that of the text (`job.sql`).
    pub fn render<'a>(&'a self, name: &'a str, text: &'a str) -> Rendered<'a> {
        Rendered::new(self, name, text)
    }
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(span) = self.span {
            write!(f, "{}:{}: ", span.start.line, span.start.column)?;
        }
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl std::error::Error for Diagnostic {}
