//! Raw: each line is one value of the table's only column. Bytes and text are the line as it is; numbers are read from it,
//! or are their bytes, as `'raw.endianness'` says.

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, SchemaRef};
use updraft_dataflow::Error;
use updraft_dataflow::connector::{OptionSpec, Options};

use super::Encode;
use super::cells::Columns;
use super::records::{Record, Text, quoted, utf8};
use super::text::scalar;
use super::types::sql_name;
use crate::format::Framing;

pub(crate) const OPTIONS: [OptionSpec; 2] = [
    OptionSpec { name: "raw.charset", about: "How text is encoded: UTF-8 (the default) or ISO-8859-1." },
    OptionSpec {
        name: "raw.endianness",
        about: "Of numbers in messages: big-endian (the default) or little-endian. In lines, numbers are text.",
    },
];

/// The raw format.
#[derive(Clone, Debug)]
pub struct Raw {
    pub(crate) latin: bool,
}

impl Raw {
    /// As the options say.
    pub(crate) fn of(options: &Options) -> Result<Self, Error> {
        let charset = options.get("raw.charset").unwrap_or("UTF-8").to_ascii_uppercase();
        let latin = match charset.as_str() {
            "UTF-8" | "UTF8" | "US-ASCII" => false,
            "ISO-8859-1" | "LATIN1" => true,
            _ => return Err(format!("'raw.charset' = '{charset}': there are UTF-8 and ISO-8859-1").into()),
        };
        match options.get("raw.endianness") {
            None | Some("big-endian" | "little-endian") => Ok(Self { latin }),
            Some(other) => Err(format!("'raw.endianness' = '{other}': 'big-endian' or 'little-endian'").into()),
        }
    }

    pub(crate) fn decoder(&self, schema: &SchemaRef) -> Result<Lines, Error> {
        check(schema)?;
        let bytes = matches!(schema.field(0).data_type(), DataType::BinaryView | DataType::Binary);
        Ok(Lines { latin: self.latin, bytes })
    }
}

/// Encodes lines.
pub(crate) struct Encoder {
    latin: bool,
}

impl Raw {
    pub(crate) fn encoder(&self, schema: &SchemaRef) -> Result<Encoder, Error> {
        check(schema)?;
        Ok(Encoder { latin: self.latin })
    }
}

impl Encode for Encoder {
    fn encode(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        let column = rows.column(0);
        let bytes = matches!(column.data_type(), DataType::BinaryView | DataType::Binary);
        let views = if bytes { Some(cast(column, &DataType::BinaryView)?) } else { None };
        let text = scalar(column, false)?;
        for row in (0..rows.num_rows()).filter(|row| column.is_valid(*row)) {
            let start = out.len();
            match &views {
                Some(views) => out.extend_from_slice(views.as_binary_view().value(row)),
                None => (text.write)(row, out),
            }
            if self.latin && !bytes {
                latin(start, out)?;
            }
            if memchr::memchr(b'\n', &out[start..]).is_some() {
                return Err("a value with a newline cannot be written as a raw line: use another format".into());
            }
            out.push(b'\n');
        }
        Ok(())
    }
}

/// Turns the text since `start` into ISO-8859-1.
pub(crate) fn latin(start: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let text = String::from_utf8(out.split_off(start))?;
    for char in text.chars() {
        let byte =
            u8::try_from(char).map_err(|_| format!("{char:?} is not in ISO-8859-1: set 'raw.charset' = 'UTF-8'"))?;
        out.push(byte);
    }
    Ok(())
}

/// That there is one column, and a line can be a value of it.
pub(crate) fn check(schema: &SchemaRef) -> Result<(), Error> {
    match schema.fields().len() {
        1 => Ok(()),
        columns => Err(format!("'raw' is a format of one column, and the table has {columns}").into()),
    }
}

/// Decodes lines.
#[derive(Clone)]
pub(crate) struct Lines {
    latin: bool,
    bytes: bool,
}

impl Text for Lines {
    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn decode(&mut self, record: &[u8], columns: &mut Columns) -> Result<Record, String> {
        for cells in &mut columns.cells {
            let valid = match (self.bytes, self.latin) {
                (true, _) => cells.push_bytes(record),
                (false, true) => cells.push(&record.iter().map(|byte| char::from(*byte)).collect::<String>()),
                (false, false) => cells.push(utf8(record)?),
            };
            if !valid {
                let kind = sql_name(cells.field().data_type());
                return Err(format!("{} is not a {kind}", quoted(&String::from_utf8_lossy(record))));
            }
        }
        Ok(Record::Row)
    }

    fn ignores(&self) -> bool {
        false
    }
}
