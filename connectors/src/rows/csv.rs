//! Rows as comma-separated values (RFC 4180, lines end in a newline alone).

use serde::Serialize;
use updraft_dataflow::Error;

use super::Begun;
use super::flat::Row;

/// Writes a header and then rows of its shape.
#[derive(Debug, Default)]
pub(crate) struct Csv {
    header: Option<Header>,
    row: Row,
}

#[derive(Debug)]
struct Header {
    names: Vec<String>,
    /// `None`: somebody else has written it.
    shape: Option<u64>,
}

impl Csv {
    pub(crate) fn push<T: Serialize>(&mut self, record: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        let shape = self.row.fill(record)?;
        match &mut self.header {
            Some(header) if header.shape == Some(shape) => {}
            Some(header) if header.shape.is_none() && self.row.names(record)? == header.names => {
                header.shape = Some(shape);
            }
            Some(header) => {
                let (want, got) = (header.names.join(","), self.row.names(record)?.join(","));
                return Err(format!("CSV: a record has the fields {got}, the header has {want}: map all records to the same fields, or write JSON").into());
            }
            None => {
                let names = self.row.names(record)?;
                write_line(names.iter().map(String::as_str), out);
                self.header = Some(Header { names, shape: Some(shape) });
            }
        }
        write_line(self.row.cells().map(|(text, _)| text), out);
        Ok(())
    }

    pub(crate) fn begun(&self) -> Option<Begun> {
        self.header.as_ref().map(|header| Begun { names: header.names.clone(), columns: Vec::new() })
    }

    pub(crate) fn go_on(&mut self, begun: Begun) {
        self.header = Some(Header { names: begun.names, shape: None });
    }
}

fn write_line<'a>(cells: impl Iterator<Item = &'a str>, out: &mut Vec<u8>) {
    let start = out.len();
    for (i, cell) in cells.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_cell(cell, out);
    }
    // A line with nothing on it would pass for no record at all.
    if out.len() == start {
        out.extend_from_slice(b"\"\"");
    }
    out.push(b'\n');
}

fn write_cell(cell: &str, out: &mut Vec<u8>) {
    if !cell.contains([',', '"', '\n', '\r']) {
        return out.extend_from_slice(cell.as_bytes());
    }
    out.push(b'"');
    out.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv<T: Serialize>(records: &[T]) -> Result<String, Error> {
        let (mut csv, mut out) = (Csv::default(), Vec::new());
        records.iter().try_for_each(|record| csv.push(record, &mut out))?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn quotes_what_needs_it() {
        let text = csv(&[("plain", "a,b"), ("say \"hi\"", "two\nlines")]).unwrap();
        assert_eq!(text, "_1,_2\nplain,\"a,b\"\n\"say \"\"hi\"\"\",\"two\nlines\"\n");
        assert_eq!(csv(&["", "x"]).unwrap(), "_1\n\"\"\nx\n");
    }

    #[test]
    fn refuses_a_record_of_another_shape() {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Mixed {
            A { a: u8 },
            B { b: u8, c: u8 },
        }
        let error = csv(&[Mixed::A { a: 1 }, Mixed::B { b: 2, c: 3 }]).unwrap_err().to_string();
        assert!(error.contains("fields b,c") && error.contains("has a:"), "{error}");
    }
}
