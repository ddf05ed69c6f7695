//! How records become text: what [`crate::stdout`], [`crate::file`] and [`crate::socket`] share.
//!
//! A [`Rows`] encodes records in a [`Layout`]. JSON is serde's; for tables and CSV a record is first made
//! flat, a row of cells (`flat.rs`). To add a layout, write a file beside `table.rs`, and a line in [`Layout`] and [`Rows`].

use std::io;

use serde::{Deserialize, Serialize};
use updraft_dataflow::Error;

pub(crate) mod csv;
pub(crate) mod flat;
pub(crate) mod table;

/// What records look like as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Columns as wide as their cells, for people. Numbers are right-aligned, control characters escaped.
    Table,
    /// A JSON value a line.
    Json,
    /// Comma-separated values with a header. All records must have the same fields.
    Csv,
}

/// The header that has been written, for one who goes on below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begun {
    pub(crate) names: Vec<String>,
    /// How wide columns are, and whether they are of numbers, where they line up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) columns: Vec<(usize, bool)>,
}

/// Encodes records as text.
#[derive(Debug)]
pub struct Rows {
    encoder: Encoder,
}

#[derive(Debug)]
enum Encoder {
    Table(table::Table),
    Json,
    Csv(csv::Csv),
}

impl Rows {
    /// No row yet: the header, where there is one, comes with the first.
    pub fn new(layout: Layout) -> Self {
        let encoder = match layout {
            Layout::Table => Encoder::Table(table::Table::default()),
            Layout::Json => Encoder::Json,
            Layout::Csv => Encoder::Csv(csv::Csv::default()),
        };
        Self { encoder }
    }

    /// Appends `records` to `out`, as far as they can be laid out yet: a table holds its last rows back until
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    /// A record that cannot be serialised, or whose fields are not those of the header.
    pub fn encode<T: Serialize>(&mut self, records: &[T], out: &mut Vec<u8>) -> Result<(), Error> {
        for record in records {
            match &mut self.encoder {
                Encoder::Table(table) => table.push(record, out)?,
                Encoder::Json => json(record, out)?,
                Encoder::Csv(csv) => csv.push(record, out)?,
            }
        }
        Ok(())
    }

    /// The header that has been written, if there is one.
    pub(crate) fn begun(&self) -> Option<Begun> {
        match &self.encoder {
            Encoder::Table(table) => table.begun(),
            Encoder::Json => None,
            Encoder::Csv(csv) => csv.begun(),
        }
    }

    /// Goes on below a header, before the first record.
    pub(crate) fn go_on(&mut self, begun: Begun) {
        match &mut self.encoder {
            Encoder::Table(table) => table.go_on(begun),
            Encoder::Json => {}
            Encoder::Csv(csv) => csv.go_on(begun),
        }
    }

    /// Appends what has been held back.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if let Encoder::Table(table) = &mut self.encoder {
            table.flush(out);
        }
    }
}

fn json<T: Serialize>(record: &T, out: &mut Vec<u8>) -> Result<(), Error> {
    serde_json::to_writer(&mut *out, record).map_err(io::Error::from)?;
    out.push(b'\n');
    Ok(())
}
