//! A record as a row of cells: structs and tuples within it are laid out flat.
//!
//! * A field is a column of its name. Where a name comes twice, the names of what it lies in go before it: `left.id`.
//! * What has no name is numbered: `_1`, `_2`.
//! * A list or a map is one cell, in JSON, since its length varies.
//! * A variant with fields is a column named as its enum, and the columns of its fields.

use std::fmt::{self, Display, Write};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;
use serde::ser::{self, Serializer};

/// A row of cells; reused from record to record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// All cells, one after the other.
    text: String,
    cells: Vec<Cell>,
    /// Where in the record the walk stands.
    path: Vec<Step>,
    /// The names of the columns; asked for only when the shape is new.
    names: Option<Vec<Vec<Step>>>,
    shape: DefaultHasher,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    end: usize,
    is_number: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Field(&'static str),
    Index(usize),
}

impl Row {
    /// Lays `record` out; the cells of the last one are gone. Gives its shape: equal for records of the same columns.
    pub(crate) fn fill<T: Serialize>(&mut self, record: &T) -> Result<u64, FlatError> {
        self.text.clear();
        self.cells.clear();
        self.path.clear();
        self.shape = DefaultHasher::new();
        record.serialize(&mut *self)?;
        Ok(self.shape.finish())
    }

    /// The names of the columns of `record`.
    pub(crate) fn names<T: Serialize>(&mut self, record: &T) -> Result<Vec<String>, FlatError> {
        self.names = Some(Vec::new());
        self.fill(record)?;
        Ok(name_columns(&self.names.take().unwrap_or_default()))
    }

    /// How many cells.
    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// Its cells, and whether they are numbers.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (&str, bool)> {
        let mut start = 0;
        self.cells.iter().map(move |cell| {
            let text = &self.text[start..cell.end];
            start = cell.end;
            (text, cell.is_number)
        })
    }

    fn push(&mut self, value: impl Display, is_number: bool) -> Result<(), FlatError> {
        write!(self.text, "{value}")?;
        self.cells.push(Cell { end: self.text.len(), is_number });
        self.path.hash(&mut self.shape);
        if let Some(names) = &mut self.names {
            names.push(self.path.clone());
        }
        Ok(())
    }

    /// Lays `value` out as what stands at `step`.
    fn at<T: Serialize + ?Sized>(&mut self, step: Step, value: &T) -> Result<(), FlatError> {
        self.path.push(step);
        let done = value.serialize(&mut *self);
        self.path.pop();
        done
    }

    /// `value` in one cell, as JSON.
    fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), FlatError> {
        let json = serde_json::to_string(value)?;
        self.push(json, false)
    }

    fn fields<'a>(&'a mut self) -> Fields<'a> {
        Fields { row: self, index: 0 }
    }

    /// The variant's name as a cell, and then its fields.
    fn variant<'a>(&'a mut self, of: &'static str, variant: &'static str) -> Result<Fields<'a>, FlatError> {
        self.at(Step::Field(of), variant)?;
        Ok(self.fields())
    }
}

/// The last name of each path, with those before it where that comes twice.
fn name_columns(paths: &[Vec<Step>]) -> Vec<String> {
    let short: Vec<String> = paths.iter().map(|path| path.last().map_or("_1".into(), ToString::to_string)).collect();
    let is_single = |name: &String| short.iter().filter(|other| *other == name).count() == 1;
    let name = |(path, short): (&Vec<Step>, &String)| match is_single(short) {
        true => short.clone(),
        false => path.iter().map(ToString::to_string).collect::<Vec<_>>().join("."),
    };
    paths.iter().zip(&short).map(name).collect()
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => f.write_str(name),
            Self::Index(index) => write!(f, "_{}", index + 1),
        }
    }
}

/// Why a record cannot be laid out: its own serialisation failed.
#[derive(Debug)]
pub(crate) struct FlatError(String);

impl Display for FlatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the record cannot be serialised: {}", self.0)
    }
}

impl std::error::Error for FlatError {}

impl From<fmt::Error> for FlatError {
    fn from(error: fmt::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<serde_json::Error> for FlatError {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

impl ser::Error for FlatError {
    fn custom<T: Display>(what: T) -> Self {
        Self(what.to_string())
    }
}

/// The cells of what displays as it should look.
macro_rules! cells {
    ($($method:ident($type:ty, $is_number:literal);)*) => {
        $(fn $method(self, value: $type) -> Result<(), FlatError> {
            self.push(value, $is_number)
        })*
    };
}

impl<'a> Serializer for &'a mut Row {
    type Ok = ();
    type Error = FlatError;
    type SerializeSeq = List<'a>;
    type SerializeTuple = Fields<'a>;
    type SerializeTupleStruct = Fields<'a>;
    type SerializeTupleVariant = Fields<'a>;
    type SerializeMap = Map<'a>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Fields<'a>;

    cells! {
        serialize_bool(bool, false);
        serialize_i8(i8, true);
        serialize_i16(i16, true);
        serialize_i32(i32, true);
        serialize_i64(i64, true);
        serialize_i128(i128, true);
        serialize_u8(u8, true);
        serialize_u16(u16, true);
        serialize_u32(u32, true);
        serialize_u64(u64, true);
        serialize_u128(u128, true);
        serialize_f32(f32, true);
        serialize_f64(f64, true);
        serialize_char(char, false);
        serialize_str(&str, false);
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), FlatError> {
        self.push(value.escape_ascii(), false)
    }

    fn serialize_none(self) -> Result<(), FlatError> {
        self.push("", false)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), FlatError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), FlatError> {
        self.push("", false)
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), FlatError> {
        self.push(name, false)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), FlatError> {
        self.push(variant, false)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), FlatError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        of: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), FlatError> {
        self.at(Step::Field(of), variant)?;
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List<'a>, FlatError> {
        Ok(List { row: self, items: Vec::new() })
    }

    fn serialize_tuple(self, _: usize) -> Result<Fields<'a>, FlatError> {
        Ok(self.fields())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Fields<'a>, FlatError> {
        Ok(self.fields())
    }

    fn serialize_tuple_variant(
        self,
        of: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'a>, FlatError> {
        self.variant(of, variant)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Map<'a>, FlatError> {
        Ok(Map { row: self, entries: serde_json::Map::new(), key: String::new() })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields<'a>, FlatError> {
        Ok(self.fields())
    }

    fn serialize_struct_variant(
        self,
        of: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'a>, FlatError> {
        self.variant(of, variant)
    }
}

/// The fields of a struct or the elements of a tuple.
pub(crate) struct Fields<'a> {
    row: &'a mut Row,
    index: usize,
}

impl Fields<'_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), FlatError> {
        self.index += 1;
        self.row.at(Step::Index(self.index - 1), value)
    }
}

macro_rules! elements {
    ($($trait:ident::$method:ident;)*) => {
        $(impl ser::$trait for Fields<'_> {
            type Ok = ();
            type Error = FlatError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), FlatError> {
                self.element(value)
            }

            fn end(self) -> Result<(), FlatError> {
                Ok(())
            }
        })*
    };
}

elements! {
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

macro_rules! named_fields {
    ($($trait:ident)*) => {
        $(impl ser::$trait for Fields<'_> {
            type Ok = ();
            type Error = FlatError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), FlatError> {
                self.row.at(Step::Field(name), value)
            }

            fn end(self) -> Result<(), FlatError> {
                Ok(())
            }
        })*
    };
}

named_fields! { SerializeStruct SerializeStructVariant }

/// A list, on its way to one cell.
pub(crate) struct List<'a> {
    row: &'a mut Row,
    items: Vec<serde_json::Value>,
}

impl ser::SerializeSeq for List<'_> {
    type Ok = ();
    type Error = FlatError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), FlatError> {
        self.items.push(serde_json::to_value(value)?);
        Ok(())
    }

    fn end(self) -> Result<(), FlatError> {
        self.row.json(&self.items)
    }
}

/// A map, on its way to one cell.
pub(crate) struct Map<'a> {
    row: &'a mut Row,
    entries: serde_json::Map<String, serde_json::Value>,
    key: String,
}

impl ser::SerializeMap for Map<'_> {
    type Ok = ();
    type Error = FlatError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), FlatError> {
        self.key = match serde_json::to_value(key)? {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), FlatError> {
        let value = serde_json::to_value(value)?;
        self.entries.insert(std::mem::take(&mut self.key), value);
        Ok(())
    }

    fn end(self) -> Result<(), FlatError> {
        self.row.json(&self.entries)
    }
}
