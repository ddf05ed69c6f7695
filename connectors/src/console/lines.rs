//! Rows as lines: comma-separated values, or JSON.

use arrow_schema::SchemaRef;
use updraft_dataflow::{Error, Rows};

use crate::text::{Cells, Style, cells};

/// The column that says what rows do.
const OP: &str = "op";

/// A header, and a line for each row.
#[derive(Debug)]
pub(super) struct Csv {
    /// Until it is written.
    header: Option<Vec<String>>,
    changes: bool,
    cell: String,
}

impl Csv {
    pub(super) fn new(schema: SchemaRef, changes: bool) -> Self {
        let op = changes.then(|| OP.to_owned());
        let header = op.into_iter().chain(schema.fields().iter().map(|field| field.name().clone())).collect();
        Self { header: Some(header), changes, cell: String::new() }
    }

    /// Writes the header, once.
    pub(super) fn begin(&mut self, out: &mut String) {
        if let Some(names) = self.header.take() {
            write_line(names.iter().map(String::as_str), out);
        }
    }

    pub(super) fn encode(&mut self, rows: &Rows, out: &mut String) -> Result<(), Error> {
        self.begin(out);
        let columns: Vec<_> =
            rows.batch().columns().iter().map(|column| cells(column, Style::Csv)).collect::<Result<_, _>>()?;
        for row in 0..rows.len() {
            let start = out.len();
            if self.changes {
                out.push_str(rows.kind(row).short());
            }
            for (at, write) in columns.iter().enumerate() {
                if at > 0 || self.changes {
                    out.push(',');
                }
                self.cell.clear();
                write(row, &mut self.cell);
                write_cell(&self.cell, out);
            }
            end_line(start, out);
        }
        Ok(())
    }
}

fn write_line<'a>(cells: impl Iterator<Item = &'a str>, out: &mut String) {
    let start = out.len();
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_cell(cell, out);
    }
    end_line(start, out);
}

/// A line with nothing on it would pass for no record at all.
fn end_line(start: usize, out: &mut String) {
    out.push_str(if out.len() == start { "\"\"\n" } else { "\n" });
}

fn write_cell(cell: &str, out: &mut String) {
    if !cell.contains([',', '"', '\n', '\r']) {
        return out.push_str(cell);
    }
    out.push('"');
    out.push_str(&cell.replace('"', "\"\""));
    out.push('"');
}

/// An object for each row.
#[derive(Debug)]
pub(super) struct Json {
    changes: bool,
}

impl Json {
    pub(super) fn new(changes: bool) -> Self {
        Self { changes }
    }

    pub(super) fn encode(&mut self, rows: &Rows, out: &mut String) -> Result<(), Error> {
        let names = rows.batch().schema();
        let names = names.fields().iter().map(|field| serde_json::Value::from(field.name().as_str()).to_string());
        let write = |column| cells(column, Style::Json);
        let fields: Vec<(String, Cells<'_>)> = names
            .zip(rows.batch().columns())
            .map(|(name, column)| Ok((name, write(column)?)))
            .collect::<Result<_, Error>>()?;
        for row in 0..rows.len() {
            out.push('{');
            if self.changes {
                out.push_str(&format!("\"{OP}\":\"{}\"", rows.kind(row).short()));
            }
            for (at, (name, write)) in fields.iter().enumerate() {
                out.push_str(if at > 0 || self.changes { "," } else { "" });
                out.push_str(name);
                out.push(':');
                write(row, out);
            }
            out.push_str("}\n");
        }
        Ok(())
    }
}
