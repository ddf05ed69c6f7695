//! Rows as JSON: an object a line.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, FieldRef};
use updraft_dataflow::Error;

use super::{Json, NullKeys};
use crate::columns::Encode;
use crate::columns::text::{Kind, Scalar, scalar};

/// Encodes rows of one stream.
pub(crate) struct Encoder {
    json: Json,
}

/// Appends the value of a row, NULL or not.
pub(crate) type Write = Box<dyn Fn(usize, &mut Vec<u8>) -> Result<(), Error> + Send>;

impl Encoder {
    pub(crate) fn new(json: Json) -> Self {
        Self { json }
    }
}

impl Encode for Encoder {
    fn encode(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        let write = objects(&self.json, rows)?;
        (0..rows.num_rows()).try_for_each(|row| {
            write(row, out)?;
            out.push(b'\n');
            Ok(())
        })
    }
}

/// Appends a row as an object.
pub(crate) fn objects(json: &Json, rows: &RecordBatch) -> Result<Write, Error> {
    object(json, rows.schema().fields(), rows.columns())
}

fn object(json: &Json, fields: &[FieldRef], columns: &[ArrayRef]) -> Result<Write, Error> {
    let member = |(field, array): (&FieldRef, &ArrayRef)| {
        let mut name = Vec::new();
        string(field.name(), &mut name);
        name.push(b':');
        Ok((name, array.clone(), value(json, array)?))
    };
    let members = fields.iter().zip(columns).map(member).collect::<Result<Vec<_>, Error>>()?;
    let ignore_nulls = json.ignore_nulls;
    Ok(Box::new(move |row, out| {
        out.push(b'{');
        let mut first = true;
        for (name, array, write) in &members {
            if ignore_nulls && array.is_null(row) {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.extend_from_slice(name);
            write(row, out)?;
        }
        out.push(b'}');
        Ok(())
    }))
}

fn value(json: &Json, array: &ArrayRef) -> Result<Write, Error> {
    let write = match array.data_type() {
        DataType::Struct(fields) => object(json, fields, array.as_struct().columns())?,
        DataType::List(_) => list(json, array)?,
        DataType::Map(..) => map(json, array)?,
        _ => one(scalar(array, json.iso)?),
    };
    if array.null_count() == 0 {
        return Ok(write);
    }
    let nulls = array.clone();
    Ok(Box::new(move |row, out| match nulls.is_null(row) {
        true => {
            out.extend_from_slice(b"null");
            Ok(())
        }
        false => write(row, out),
    }))
}

fn one(Scalar { kind, write }: Scalar) -> Write {
    Box::new(move |row, out| {
        let start = out.len();
        if kind == Kind::Plain || kind == Kind::Text {
            out.push(b'"');
        }
        write(row, out);
        match kind {
            Kind::Bare => {}
            Kind::Plain => out.push(b'"'),
            Kind::Text => {
                escape(start + 1, out);
                out.push(b'"');
            }
            // JSON has no word for these.
            Kind::Float if !out[out.len() - 1].is_ascii_digit() => {
                out.insert(start, b'"');
                out.push(b'"');
            }
            Kind::Float => {}
        }
        Ok(())
    })
}

fn list(json: &Json, array: &ArrayRef) -> Result<Write, Error> {
    let list = array.as_list::<i32>().clone();
    let item = value(json, list.values())?;
    Ok(Box::new(move |row, out| {
        out.push(b'[');
        let range = range(list.offsets(), row);
        for index in range.clone() {
            if index > range.start {
                out.push(b',');
            }
            item(index, out)?;
        }
        out.push(b']');
        Ok(())
    }))
}

fn map(json: &Json, array: &ArrayRef) -> Result<Write, Error> {
    let map = array.as_map().clone();
    let keys = map.keys().clone();
    let (key, item) = (scalar(&keys, json.iso)?.write, value(json, map.values())?);
    let null_keys = json.null_keys.clone();
    Ok(Box::new(move |row, out| {
        out.push(b'{');
        let mut first = true;
        for index in range(map.offsets(), row) {
            let null = keys.is_null(index);
            if null && matches!(null_keys, NullKeys::Drop) {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.push(b'"');
            let start = out.len();
            match &null_keys {
                _ if !null => key(index, out),
                NullKeys::Literal(literal) => out.extend_from_slice(literal.as_bytes()),
                _ => return Err("a map has a NULL key, which JSON has not: see 'json.map-null-key.mode'".into()),
            }
            escape(start, out);
            out.extend_from_slice(b"\":");
            item(index, out)?;
        }
        out.push(b'}');
        Ok(())
    }))
}

fn range(offsets: &[i32], row: usize) -> Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    escape(start, out);
    out.push(b'"');
}

/// Escapes what has been written since `start`.
fn escape(start: usize, out: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1F);
    let Some(first) = out[start..].iter().position(special) else { return };
    let rest = out.split_off(start + first);
    for byte in rest {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1F => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
}
