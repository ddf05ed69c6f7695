//! A diagnostic with the line that it is about, and marks below.

use std::fmt::{Display, Formatter, Result};

use super::Diagnostic;

/// A diagnostic to be shown; see [`Diagnostic::render`].
#[derive(Clone, Copy, Debug)]
pub struct Rendered<'a> {
    diagnostic: &'a Diagnostic,
    name: &'a str,
    text: &'a str,
    colours: bool,
}

impl<'a> Rendered<'a> {
    pub(super) fn new(diagnostic: &'a Diagnostic, name: &'a str, text: &'a str) -> Self {
        Self { diagnostic, name, text, colours: false }
    }

    /// Whether colours are shown: for terminals. By default, none are.
    #[must_use]
    pub fn colours(mut self, colours: bool) -> Self {
        self.colours = colours;
        self
    }

    fn paint(&self, code: &'static str) -> (&'static str, &'static str) {
        if self.colours { (code, "\u{1b}[0m") } else { ("", "") }
    }
}

impl Display for Rendered<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Diagnostic { message, span, hint } = self.diagnostic;
        let hint = hint.as_deref().unwrap_or_default();
        let (bold, plain) = self.paint("\u{1b}[1m");
        let Some(span) = span else {
            let gap = if hint.is_empty() { "" } else { ": " };
            return write!(f, "{}: {bold}{message}{plain}{gap}{hint}", self.name);
        };
        let (line, column) = (span.start.line, span.start.column);
        writeln!(f, "{}:{line}:{column}: {bold}{message}{plain}", self.name)?;
        let written = self.text.lines().nth(line.saturating_sub(1) as usize).unwrap_or_default();
        let width = column.saturating_sub(1) as usize;
        // Tabs stay tabs, so that the marks stand below what they mark.
        let before: String = written.chars().chain(std::iter::repeat(' ')).take(width).map(blank).collect();
        let left = written.chars().count().saturating_sub(width);
        let marked = if span.end.line == line { span.end.column.saturating_sub(column) as usize } else { left };
        let gutter = " ".repeat(line.to_string().len());
        let (red, plain) = self.paint("\u{1b}[31m");
        let gap = if hint.is_empty() { "" } else { " " };
        writeln!(f, " {gutter} |\n {line} | {written}")?;
        write!(f, " {gutter} | {before}{red}{}{plain}{gap}{hint}", "^".repeat(marked.max(1)))
    }
}

fn blank(character: char) -> char {
    if character == '\t' { '\t' } else { ' ' }
}
