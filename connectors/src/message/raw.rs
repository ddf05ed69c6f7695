//! A message as it is: the value of the only column. Unlike in lines, numbers are their bytes.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, SchemaRef};
use updraft_dataflow::connector::Options;
use updraft_dataflow::{Error, RowKind};

use super::part::{Read, Taken, Write, WriteRow};
use crate::columns::cells::{Cells, Columns};
use crate::columns::project;
use crate::columns::raw::{self, latin};
use crate::columns::records::utf8;
use crate::columns::types::sql_name;

/// The raw format.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    latin: bool,
    little: bool,
}

impl Raw {
    pub(super) fn of(options: &Options) -> Result<Self, Error> {
        let latin = raw::Raw::of(options)?.latin;
        Ok(Self { latin, little: options.get("raw.endianness") == Some("little-endian") })
    }

    /// That there is one column, of a type whose bytes are known.
    pub(super) fn check(schema: &SchemaRef) -> Result<(), Error> {
        raw::check(schema)?;
        let field = schema.field(0);
        match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(()),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => Ok(()),
            other if width(other).is_some() => Ok(()),
            other => {
                let (name, kind) = (field.name(), sql_name(other));
                Err(format!("column `{name}`: 'raw' cannot hold {kind}; use another format, such as json").into())
            }
        }
    }

    pub(super) fn reader(&self, schema: &SchemaRef, wanted: &[usize]) -> Result<Reader, Error> {
        Ok(Reader { raw: self.clone(), columns: Columns::new(project(schema, wanted))? })
    }

    fn push(&self, bytes: &[u8], cells: &mut Cells) -> Result<(), String> {
        let data_type = cells.field().data_type().clone();
        let pushed = match &data_type {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View if self.latin => {
                cells.push(&bytes.iter().map(|byte| char::from(*byte)).collect::<String>())
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => cells.push(utf8(bytes)?),
            number => match width(number) {
                Some(width) if width != bytes.len() => {
                    let name = sql_name(number);
                    return Err(format!("{} bytes are not a {name}, which has {width}", bytes.len()));
                }
                Some(_) => {
                    let mut bytes = bytes.to_vec();
                    if self.little {
                        bytes.reverse();
                    }
                    cells.push(&text(&bytes, number))
                }
                None => cells.push_bytes(bytes),
            },
        };
        if pushed { Ok(()) } else { Err(format!("{} bytes are not a {}", bytes.len(), sql_name(&data_type))) }
    }
}

/// How many bytes a number has.
fn width(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Boolean | DataType::Int8 => Some(1),
        DataType::Int16 => Some(2),
        DataType::Int32 | DataType::Float32 => Some(4),
        DataType::Int64 | DataType::Float64 => Some(8),
        _ => None,
    }
}

/// What bytes say, highest first, of which there are as many as it takes.
fn text(bytes: &[u8], data_type: &DataType) -> String {
    let bits = bytes.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    match data_type {
        DataType::Boolean => (bits != 0).to_string(),
        DataType::Int8 => (bits as i8).to_string(),
        DataType::Int16 => (bits as i16).to_string(),
        DataType::Int32 => (bits as i32).to_string(),
        DataType::Float32 => f32::from_bits(bits as u32).to_string(),
        DataType::Float64 => f64::from_bits(bits).to_string(),
        _ => (bits as i64).to_string(),
    }
}

/// Reads messages.
pub(super) struct Reader {
    raw: Raw,
    columns: Columns,
}

impl Read for Reader {
    fn read(&mut self, bytes: &[u8], kinds: &mut Vec<RowKind>) -> Result<(), String> {
        if let Err(reason) = self.columns.cells.iter_mut().try_for_each(|cells| self.raw.push(bytes, cells)) {
            self.columns.reject();
            return Err(reason);
        }
        self.columns.accept();
        kinds.push(RowKind::Insert);
        Ok(())
    }

    /// A row of NULL.
    fn read_nothing(&mut self, kinds: &mut Vec<RowKind>) -> Result<(), String> {
        if !self.columns.cells.iter_mut().all(Cells::push_null) {
            self.columns.reject();
            return Err("the message has no value, and the column is NOT NULL".into());
        }
        self.columns.accept();
        kinds.push(RowKind::Insert);
        Ok(())
    }

    fn take(&mut self) -> Result<Taken, Error> {
        Ok(self.columns.take()?.into())
    }
}

impl Write for Raw {
    fn rows(&mut self, batch: &RecordBatch) -> Result<WriteRow, Error> {
        let column = batch.column(0);
        let (nulls, write) = (column.clone(), self.value(column)?);
        Ok(Box::new(move |row, _, out| {
            let valid = nulls.is_valid(row);
            if valid {
                write(row, out)?;
            }
            Ok(valid)
        }))
    }
}

type Value = Box<dyn Fn(usize, &mut Vec<u8>) -> Result<(), Error> + Send>;

impl Raw {
    fn value(&self, column: &ArrayRef) -> Result<Value, Error> {
        macro_rules! number {
            ($type:ty) => {{
                let (array, little) = (column.as_primitive::<$type>().clone(), self.little);
                Box::new(move |row, out| {
                    let value = array.value(row);
                    out.extend_from_slice(&if little { value.to_le_bytes() } else { value.to_be_bytes() });
                    Ok(())
                })
            }};
        }
        Ok(match column.data_type() {
            DataType::Boolean => {
                let array = column.as_boolean().clone();
                Box::new(move |row, out| {
                    out.push(u8::from(array.value(row)));
                    Ok(())
                })
            }
            DataType::Int8 => number!(Int8Type),
            DataType::Int16 => number!(Int16Type),
            DataType::Int32 => number!(Int32Type),
            DataType::Int64 => number!(Int64Type),
            DataType::Float32 => number!(Float32Type),
            DataType::Float64 => number!(Float64Type),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let array = cast(column, &DataType::Utf8View)?.as_string_view().clone();
                let is_latin = self.latin;
                Box::new(move |row, out| {
                    let start = out.len();
                    out.extend_from_slice(array.value(row).as_bytes());
                    if is_latin { latin(start, out) } else { Ok(()) }
                })
            }
            _ => {
                let array = cast(column, &DataType::BinaryView)?.as_binary_view().clone();
                Box::new(move |row, out| {
                    out.extend_from_slice(array.value(row));
                    Ok(())
                })
            }
        })
    }
}
