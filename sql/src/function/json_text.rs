//! Any column as JSON texts: JSON_STRING, JSON_OBJECT, JSON_ARRAY and their aggregates write by this.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StringViewArray, StructArray};
use arrow::datatypes::DataType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use datafusion_common::{Result, not_impl_err};

use super::conversion::texts;
use super::moment::recast;

/// Writes the rows of a column.
pub(super) enum Writer {
    /// Numbers, booleans: what they print as.
    Plain(StringViewArray),
    /// What stands in quotes.
    Quoted(StringViewArray),
    /// Nothing but NULLs.
    Null,
    /// Arrays.
    List(ListArray, Box<Writer>),
    /// Rows, as objects.
    Struct(StructArray, Vec<Writer>),
    /// Maps, as objects.
    Map(MapArray, StringViewArray, Box<Writer>),
}

impl Writer {
    /// The writer of a column.
    pub(super) fn new(values: &ArrayRef) -> Result<Self> {
        Ok(match values.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Plain(recast(values, &DataType::Utf8View)?.as_string_view().clone()),
            number if number.is_numeric() => Self::Plain(recast(values, &DataType::Utf8View)?.as_string_view().clone()),
            bytes if bytes.is_binary() => {
                let bytes = recast(values, &DataType::BinaryView)?;
                Self::Quoted(
                    bytes.as_binary_view().iter().map(|bytes| bytes.map(|bytes| STANDARD.encode(bytes))).collect(),
                )
            }
            DataType::List(_) => {
                let list = values.as_list::<i32>();
                Self::List(list.clone(), Box::new(Self::new(list.values())?))
            }
            DataType::Struct(_) => {
                let fields = values.as_struct();
                let writers = fields.columns().iter().map(Self::new).collect::<Result<_>>()?;
                Self::Struct(fields.clone(), writers)
            }
            DataType::Map(_, _) => {
                let map = values.as_map();
                Self::Map(map.clone(), texts(map.keys())?, Box::new(Self::new(map.values())?))
            }
            DataType::LargeList(_) | DataType::FixedSizeList(_, _) | DataType::Dictionary(_, _) => {
                return not_impl_err!("{} cannot be written as JSON: CAST it first", values.data_type());
            }
            _ => Self::Quoted(texts(values)?),
        })
    }

    /// Writes a row; `null` where it is NULL.
    pub(super) fn write(&self, row: usize, to: &mut String) {
        if self.is_null(row) {
            return to.push_str("null");
        }
        match self {
            Self::Null => to.push_str("null"),
            Self::Plain(text) => to.push_str(text.value(row)),
            Self::Quoted(text) => quote(text.value(row), to),
            Self::List(list, items) => {
                let offsets = list.value_offsets();
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                enclosed(to, ['[', ']'], range, |place, to| items.write(place, to));
            }
            Self::Struct(fields, writers) => enclosed(to, ['{', '}'], 0..writers.len(), |place, to| {
                quote(fields.column_names()[place], to);
                to.push(':');
                writers[place].write(row, to);
            }),
            Self::Map(map, keys, values) => {
                let offsets = map.value_offsets();
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                enclosed(to, ['{', '}'], range, |place, to| {
                    quote(keys.value(place), to);
                    to.push(':');
                    values.write(place, to);
                });
            }
        }
    }

    /// A row as text, or none where it is NULL.
    pub(super) fn text(&self, row: usize) -> Option<String> {
        let mut to = String::new();
        (!self.is_null(row)).then(|| self.write(row, &mut to))?;
        Some(to)
    }

    /// Whether a row is NULL.
    pub(super) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Plain(values) | Self::Quoted(values) => values.is_null(row),
            Self::List(values, _) => values.is_null(row),
            Self::Struct(values, _) => values.is_null(row),
            Self::Map(values, _, _) => values.is_null(row),
        }
    }
}

fn enclosed(
    to: &mut String,
    [open, close]: [char; 2],
    range: std::ops::Range<usize>,
    mut write: impl FnMut(usize, &mut String),
) {
    to.push(open);
    for place in range.clone() {
        if place > range.start {
            to.push(',');
        }
        write(place, to);
    }
    to.push(close);
}

/// A string as JSON writes it.
pub(super) fn quote(text: &str, to: &mut String) {
    to.push('"');
    for char in text.chars() {
        match char {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            '\u{8}' => to.push_str("\\b"),
            '\u{c}' => to.push_str("\\f"),
            // Writing to a string cannot fail.
            control if control < ' ' => drop(write!(to, "\\u{:04x}", control as u32)),
            _ => to.push(char),
        }
    }
    to.push('"');
}
