//! Rows as a table, drawn as Flink's SQL client does.

use arrow_schema::{DataType, SchemaRef};
use unicode_width::UnicodeWidthStr;
use updraft_dataflow::{Error, Rows};

use crate::rows::table::printable;
use crate::text::{Cells, Style, cells};

/// Rows that widths are taken from before the first one is drawn.
const LOOKED_AT: usize = 1_000;

/// The widest cell that others are padded to; a wider one sticks out.
const WIDEST: usize = 60;

/// The widest column that is made so for its type alone.
const RESERVED: usize = 13;

/// Where there is no value.
const NULL: &str = "<NULL>";

/// Draws a table row by row.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    /// Whether a first column says what rows do.
    changes: bool,
    rows: u64,
    /// A cell, while it is measured and drawn.
    cell: String,
}

#[derive(Debug)]
struct Column {
    name: String,
    width: usize,
    is_number: bool,
}

impl Table {
    pub(super) fn new(schema: SchemaRef, changes: bool) -> Self {
        let column = |name: &str, data_type: &DataType| {
            let name = printable(name);
            let (reserved, is_number) = reserved(data_type);
            Column { width: name.width().max(reserved.min(RESERVED)), name, is_number }
        };
        let op = changes.then(|| column("op", &DataType::Utf8));
        let columns = op.into_iter().chain(schema.fields().iter().map(|field| column(field.name(), field.data_type())));
        Self { columns: columns.collect(), changes, rows: 0, cell: String::new() }
    }

    pub(super) fn encode(&mut self, rows: &Rows, out: &mut String) -> Result<(), Error> {
        let op: Cells<'_> = Box::new(|row, out| out.push_str(rows.kind(row).short()));
        let mut writers: Vec<_> = self.changes.then_some(op).into_iter().collect();
        for column in rows.batch().columns() {
            let (write, nulls) = (cells(column, Style::Sql)?, column.logical_nulls());
            writers.push(Box::new(move |row, out| match &nulls {
                Some(nulls) if nulls.is_null(row) => out.push_str(NULL),
                _ => write(row, out),
            }));
        }
        if self.rows == 0 && !rows.is_empty() {
            (0..rows.len().min(LOOKED_AT)).for_each(|row| self.draw(&writers, row, &mut String::new()));
            self.begin(out);
        }
        (0..rows.len()).for_each(|row| self.draw(&writers, row, out));
        self.rows += rows.len() as u64;
        Ok(())
    }

    fn draw(&mut self, writers: &[Cells<'_>], row: usize, out: &mut String) {
        for (column, write) in self.columns.iter_mut().zip(writers) {
            self.cell.clear();
            write(row, &mut self.cell);
            if self.cell.contains(char::is_control) {
                self.cell = printable(&self.cell);
            }
            column.draw(&self.cell, out);
        }
        out.push_str("|\n");
    }

    fn begin(&mut self, out: &mut String) {
        self.rule(out);
        for column in &mut self.columns {
            let name = std::mem::take(&mut column.name);
            column.draw(&name, out);
        }
        out.push_str("|\n");
        self.rule(out);
    }

    fn rule(&self, out: &mut String) {
        for column in &self.columns {
            out.push('+');
            out.extend(std::iter::repeat_n('-', column.width + 2));
        }
        out.push_str("+\n");
    }

    pub(super) fn finish(&mut self, out: &mut String) {
        if self.rows == 0 {
            return out.push_str("Empty set\n");
        }
        self.rule(out);
        let what = match (self.changes, self.rows) {
            (true, 1) => "change",
            (true, _) => "changes",
            (false, 1) => "row in set",
            (false, _) => "rows in set",
        };
        out.push_str(&format!("{} {what}\n", self.rows));
    }
}

impl Column {
    /// Draws `cell`, and widens the column where it is too narrow.
    fn draw(&mut self, cell: &str, out: &mut String) {
        let width = cell.width();
        self.width = self.width.max(width.min(WIDEST));
        let padding = std::iter::repeat_n(' ', self.width.saturating_sub(width));
        out.push_str("| ");
        if self.is_number {
            out.extend(padding);
            out.push_str(cell);
        } else {
            out.push_str(cell);
            out.extend(padding);
        }
        out.push(' ');
    }
}

/// How wide values of a type become, as far as it says so, and whether they are numbers.
fn reserved(data_type: &DataType) -> (usize, bool) {
    use DataType::*;
    match data_type {
        Boolean => (5, false),
        Int8 | UInt8 => (4, true),
        Int16 | UInt16 => (6, true),
        Int32 | UInt32 => (11, true),
        Int64 | UInt64 => (20, true),
        Float16 | Float32 | Float64 => (8, true),
        Decimal32(precision, _) | Decimal64(precision, _) | Decimal128(precision, _) | Decimal256(precision, _) => {
            (usize::from(*precision) + 2, true)
        }
        _ => (0, false),
    }
}
