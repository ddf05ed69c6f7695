//! Rows as CSV. A field is quoted where it would be read as something else otherwise.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use updraft_dataflow::Error;

use super::{Csv, Header};
use crate::columns::text::scalar;
use crate::columns::{Encode, json};

/// Encodes rows of one stream.
pub(crate) struct Encoder {
    csv: Csv,
    names: Option<Vec<String>>,
}

/// Appends the value of a row, NULL or not.
type Write = Box<dyn Fn(usize, &mut Vec<u8>) + Send>;

impl Encoder {
    pub(crate) fn new(csv: Csv, schema: &SchemaRef) -> Self {
        let names = || schema.fields().iter().map(|field| field.name().clone()).collect();
        let names = (csv.header == Header::Yes).then(names);
        Self { csv, names }
    }

    fn header(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let Some(names) = self.names.take() else { return Ok(()) };
        for (column, name) in names.iter().enumerate() {
            if column > 0 {
                out.push(self.csv.delimiter);
            }
            let start = out.len();
            out.extend_from_slice(name.as_bytes());
            self.guard(start, out, false)?;
        }
        out.push(b'\n');
        Ok(())
    }

    /// Quotes what has been written since `start`, or escapes what is in it, if it has to be.
    fn guard(&self, start: usize, out: &mut Vec<u8>, lone: bool) -> Result<(), Error> {
        let Csv { delimiter, quote, escape, comments, .. } = self.csv;
        let field = &out[start..];
        if !self.csv.newlines && field.contains(&b'\n') {
            let text = String::from_utf8_lossy(field).into_owned();
            return Err(format!("{text:?} has a newline, and 'csv.quoted-newlines' is false: set it to true").into());
        }
        let special = |byte: &u8| {
            matches!(byte, b'\n' | b'\r') || *byte == delimiter || Some(*byte) == quote || Some(*byte) == escape
        };
        let comment = comments && field.starts_with(b"#");
        let blank = lone && field.trim_ascii().is_empty();
        if !(blank || comment || field.iter().any(special)) {
            return Ok(());
        }
        let field = out.split_off(start);
        match (quote, escape) {
            (Some(quote), escape) => {
                out.push(quote);
                for byte in &field {
                    if Some(*byte) == escape && escape != Some(quote) {
                        out.push(*byte);
                    } else if *byte == quote {
                        out.push(quote);
                    }
                    out.push(*byte);
                }
                out.push(quote);
            }
            (None, Some(escape)) => {
                for byte in &field {
                    if special(byte) || comment && *byte == b'#' {
                        out.push(escape);
                    }
                    out.push(*byte);
                }
            }
            (None, None) if blank || comment => out.extend_from_slice(&field),
            (None, None) => {
                let text = String::from_utf8_lossy(&field).into_owned();
                return Err(format!(
                    "{text:?} cannot be written as CSV without quotes: allow them, or set 'csv.escape-character'"
                )
                .into());
            }
        }
        Ok(())
    }

    fn row(&self, row: usize, columns: &[(ArrayRef, Write)], out: &mut Vec<u8>) -> Result<(), Error> {
        for (index, (array, write)) in columns.iter().enumerate() {
            if index > 0 {
                out.push(self.csv.delimiter);
            }
            let start = out.len();
            write(row, out);
            // What stands for NULL is not quoted: an empty line of one column is NULL, and a quoted nothing is text.
            if array.is_valid(row) || columns.len() > 1 || out.len() == start {
                self.guard(start, out, columns.len() == 1)?;
            }
        }
        Ok(())
    }

    /// Appends a row as a record, without what ends it.
    pub(crate) fn records(&self, rows: &RecordBatch) -> Result<json::encode::Write, Error> {
        let (encoder, columns) = (Self { csv: self.csv.clone(), names: None }, self.columns(rows)?);
        Ok(Box::new(move |row, out| encoder.row(row, &columns, out)))
    }

    fn columns(&self, rows: &RecordBatch) -> Result<Vec<(ArrayRef, Write)>, Error> {
        rows.columns().iter().map(|array| Ok((array.clone(), writer(&self.csv, array)?))).collect()
    }
}

impl Encode for Encoder {
    fn encode(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        self.header(out)?;
        let columns = self.columns(rows)?;
        (0..rows.num_rows()).try_for_each(|row| {
            self.row(row, &columns, out)?;
            out.push(b'\n');
            Ok(())
        })
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.header(out)
    }
}

fn writer(csv: &Csv, array: &ArrayRef) -> Result<Write, Error> {
    let null = csv.null.clone().unwrap_or_default().into_bytes();
    let nulls = array.clone();
    let write = value(csv, array)?;
    Ok(Box::new(move |row, out| if nulls.is_null(row) { out.extend_from_slice(&null) } else { write(row, out) }))
}

fn value(csv: &Csv, array: &ArrayRef) -> Result<Write, Error> {
    let between = csv.element_delimiter.clone().into_bytes();
    match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>().clone();
            let item = writer(csv, list.values())?;
            let range =
                move |row: usize| -> Range<usize> { list.offsets()[row] as usize..list.offsets()[row + 1] as usize };
            Ok(Box::new(move |row, out| {
                let range = range(row);
                for index in range.clone() {
                    if index > range.start {
                        out.extend_from_slice(&between);
                    }
                    item(index, out);
                }
            }))
        }
        DataType::Struct(_) => {
            let fields = array.as_struct().columns().iter().map(|field| writer(csv, field));
            let fields = fields.collect::<Result<Vec<_>, _>>()?;
            Ok(Box::new(move |row, out| {
                for (index, field) in fields.iter().enumerate() {
                    if index > 0 {
                        out.extend_from_slice(&between);
                    }
                    field(row, out);
                }
            }))
        }
        _ => Ok(scalar(array, false)?.write),
    }
}
