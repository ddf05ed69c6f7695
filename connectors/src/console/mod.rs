//! The results of a query on standard output: an aligned table, CSV or JSON lines.
//!
//! [`Console`] is the sink, [`Encoder`] turns [`Rows`] into text wherever that goes. The layouts are in `table.rs` and
//! `lines.rs`, what values look like is in `text/`.

mod lines;
mod table;
pub(crate) mod terminal;
#[cfg(test)]
mod tests;

use arrow_schema::SchemaRef;
use updraft_dataflow::{Bundle, Error, Punctuation, Rows, Sink};

use terminal::Terminal;

/// What results look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleLayout {
    /// Columns that line up, for people, as Flink's SQL client draws them; numbers are right-aligned, control characters
    /// escaped. Widths come from the types and the first rows; a wider cell widens its column from there on. How many rows
    /// there were is said at the end.
    Table,
    /// Comma-separated values with a header (RFC 4180, lines end in a newline alone). No value is nothing, bytes are in base
    /// 64, what is nested is JSON.
    Csv,
    /// A JSON object a line. Bytes are in base 64, times are text.
    Json,
}

/// Turns rows into text.
#[derive(Debug)]
pub struct Encoder(Layout);

#[derive(Debug)]
enum Layout {
    Table(table::Table),
    Csv(lines::Csv),
    Json(lines::Json),
}

impl Encoder {
    /// For rows of `schema`. With `changes`, a first column `op` says what each row does (`+I`, `-U`, `+U`, `-D`); without,
    /// all are taken for insertions.
    pub fn new(schema: SchemaRef, layout: ConsoleLayout, changes: bool) -> Self {
        Self(match layout {
            ConsoleLayout::Table => Layout::Table(table::Table::new(schema, changes)),
            ConsoleLayout::Csv => Layout::Csv(lines::Csv::new(schema, changes)),
            ConsoleLayout::Json => Layout::Json(lines::Json::new(changes)),
        })
    }

    /// Appends `rows` to `out`; before the first ones, what goes before all.
    ///
    /// # Errors
    /// When a column has a type that has no text.
    pub fn encode(&mut self, rows: &Rows, out: &mut String) -> Result<(), Error> {
        match &mut self.0 {
            Layout::Table(table) => table.encode(rows, out),
            Layout::Csv(csv) => csv.encode(rows, out),
            Layout::Json(json) => json.encode(rows, out),
        }
    }

    /// Appends what goes after all rows.
    pub fn finish(&mut self, out: &mut String) {
        match &mut self.0 {
            Layout::Table(table) => table.finish(out),
            Layout::Csv(csv) => csv.begin(out),
            Layout::Json(_) => {}
        }
    }
}

/// A sink that prints the rows of a query. They appear when their epoch is complete, at the latest. Where the reader has
/// gone, as `head` does, it ends the job with [`Closed`](crate::stdout::Closed), which is no failure.
///
/// What was written since a job's last checkpoint is written again if its process is killed: each row comes at least
/// once.
///
/// ```
/// use std::sync::Arc;
/// use arrow_schema::{DataType, Field, Schema};
/// use updraft_connectors::{Console, ConsoleLayout};
/// let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
/// let sink = Console::new(schema, ConsoleLayout::Table, false);
/// ```
#[derive(Debug)]
pub struct Console {
    encoder: Encoder,
    terminal: Terminal,
}

impl Console {
    /// For rows of `schema`; what `changes` means see [`Encoder::new`].
    pub fn new(schema: SchemaRef, layout: ConsoleLayout, changes: bool) -> Self {
        Self { encoder: Encoder::new(schema, layout, changes), terminal: Terminal::default() }
    }
}

impl Sink<Rows> for Console {
    async fn write(&mut self, bundle: Bundle<Rows>) -> Result<(), Error> {
        for rows in bundle.as_slice() {
            self.encoder.encode(rows, &mut self.terminal.text)?;
            self.terminal.relieve().await?;
        }
        Ok(())
    }

    async fn complete(&mut self, _: Punctuation) -> Result<(), Error> {
        self.terminal.flush().await
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.encoder.finish(&mut self.terminal.text);
        self.terminal.flush().await
    }
}
