//! Rows as a table whose columns line up, for people.

use serde::Serialize;
use unicode_width::UnicodeWidthStr;
use updraft_dataflow::Error;

use super::Begun;
use super::flat::Row;

/// Rows held back to find out how wide their columns are.
const HELD: usize = 1_000;

/// The widest cell that others are padded to; a wider one sticks out.
const WIDEST: usize = 60;

/// Between two columns.
const GAP: &str = "  ";

/// Lays rows out in columns. Widths only grow, so that what follows stays below what is there.
#[derive(Debug, Default)]
pub(crate) struct Table {
    row: Row,
    shape: Option<u64>,
    names: Vec<String>,
    /// Whether they go before the rows that are held.
    header: bool,
    columns: Vec<Column>,
    /// The cells of the rows that are held, row by row.
    held: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Column {
    width: usize,
    is_number: bool,
}

impl Table {
    pub(crate) fn push<T: Serialize>(&mut self, record: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        let shape = self.row.fill(record)?;
        if self.shape != Some(shape) {
            self.flush(out);
            self.begin(record, shape)?;
        }
        for (column, (text, is_number)) in self.columns.iter_mut().zip(self.row.cells()) {
            let cell = printable(text);
            column.fit(&cell);
            column.is_number |= is_number;
            self.held.push(cell);
        }
        if self.held.len() >= HELD * self.columns.len().max(1) {
            self.flush(out);
        }
        Ok(())
    }

    /// Begins a table of the columns of `record`.
    fn begin<T: Serialize>(&mut self, record: &T, shape: u64) -> Result<(), Error> {
        let names = self.row.names(record)?;
        let goes_on = self.shape.is_none() && !self.columns.is_empty() && names == self.names;
        self.shape = Some(shape);
        if !goes_on {
            self.columns = vec![Column::default(); self.row.len()];
            self.columns.iter_mut().zip(&names).for_each(|(column, name)| column.fit(name));
            (self.header, self.names) = (true, names);
        }
        Ok(())
    }

    /// Writes the rows that are held.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.header) {
            self.line(&self.names, out);
            let rules: Vec<_> = self.columns.iter().map(|column| "─".repeat(column.width)).collect();
            self.line(&rules, out);
        }
        let held = std::mem::take(&mut self.held);
        held.chunks(self.columns.len().max(1)).for_each(|row| self.line(row, out));
    }

    pub(crate) fn begun(&self) -> Option<Begun> {
        let columns: Vec<_> = self.columns.iter().map(|column| (column.width, column.is_number)).collect();
        (!columns.is_empty()).then(|| Begun { names: self.names.clone(), columns })
    }

    pub(crate) fn go_on(&mut self, begun: Begun) {
        self.columns = begun.columns.into_iter().map(|(width, is_number)| Column { width, is_number }).collect();
        self.names = begun.names;
    }

    fn line(&self, cells: &[String], out: &mut Vec<u8>) {
        let mut line = String::new();
        for (i, (column, cell)) in self.columns.iter().zip(cells).enumerate() {
            line.push_str(if i > 0 { GAP } else { "" });
            column.pad(cell, &mut line);
        }
        out.extend_from_slice(line.trim_end().as_bytes());
        out.push(b'\n');
    }
}

impl Column {
    fn fit(&mut self, cell: &str) {
        self.width = self.width.max(cell.width().min(WIDEST));
    }

    fn pad(&self, cell: &str, line: &mut String) {
        let padding = " ".repeat(self.width.saturating_sub(cell.width()));
        let parts = if self.is_number { [&padding, cell] } else { [cell, &padding] };
        parts.iter().for_each(|part| line.push_str(part));
    }
}

/// `text` without what would move the cursor, or worse: records may come from strangers.
pub(crate) fn printable(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let escape = |c: char| {
        if c.is_control() { c.escape_default().to_string() } else { c.to_string() }
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table<T: Serialize>(records: &[T]) -> String {
        let (mut table, mut out) = (Table::default(), Vec::new());
        records.iter().for_each(|record| table.push(record, &mut out).unwrap());
        table.flush(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[derive(Serialize)]
    struct Visit<'a> {
        path: &'a str,
        count: u64,
        size: Size,
        tags: Vec<&'a str>,
    }

    #[derive(Serialize)]
    struct Size {
        mean: f64,
        unit: Option<&'static str>,
    }

    #[test]
    fn lines_columns_up() {
        let visits = [
            Visit { path: "/", count: 12_345, size: Size { mean: 1.5, unit: Some("kB") }, tags: vec!["a", "b"] },
            Visit { path: "/größe/日本", count: 7, size: Size { mean: 10.0, unit: None }, tags: vec![] },
        ];
        let want = "\
path         count  mean  unit  tags
───────────  ─────  ────  ────  ─────────
/            12345   1.5  kB    [\"a\",\"b\"]
/größe/日本      7    10        []
";
        assert_eq!(table(&visits), want);
    }

    #[test]
    fn numbers_what_has_no_name_and_tells_twins_apart() {
        let pair = |mean| Size { mean, unit: None };
        assert!(table(&[("a", 1)]).starts_with("_1  _2\n"));
        assert!(table(&[(pair(1.0), pair(2.0))]).starts_with("_1.mean  _1.unit  _2.mean  _2.unit\n"));
    }

    #[test]
    fn escapes_what_would_drive_the_terminal() {
        assert_eq!(table(&["a\u{1b}[2J\n"]), "_1\n────────────\na\\u{1b}[2J\\n\n");
    }

    #[test]
    fn a_new_shape_begins_a_new_table() {
        #[derive(Serialize)]
        enum Event {
            Start { at: u8 },
            Stop { code: u8, why: &'static str },
        }
        let text = table(&[Event::Start { at: 1 }, Event::Stop { code: 2, why: "x" }]);
        assert_eq!(text, "Event  at\n─────  ──\nStart   1\nEvent  code  why\n─────  ────  ───\nStop      2  x\n");
    }
}
