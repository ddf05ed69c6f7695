//! The columns of a table that was declared without any: from the schema of a file, or from what its text looks like.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use updraft_dataflow::Error;

use super::cells::{number, time};
use super::csv::decode::Fields as Record;
use super::csv::{Csv, Header};
use super::json::cursor::{Cursor, Token};
use super::records::utf8;
use super::types::retype;
use crate::format::frames::Frames;

/// How many records of a sample are looked at.
const RECORDS: usize = 10_000;

/// The types that tables are declared with.
pub(crate) fn declared(schema: &Schema) -> Schema {
    let of = |data_type: &DataType| match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => Some(DataType::Utf8View),
        DataType::Binary | DataType::LargeBinary => Some(DataType::BinaryView),
        DataType::Dictionary(_, value) if **value == DataType::Utf8 => Some(DataType::Utf8View),
        DataType::Date64 => Some(DataType::Date32),
        DataType::Timestamp(unit, Some(_)) => Some(DataType::Timestamp(*unit, Some("UTC".into()))),
        _ => None,
    };
    retype(schema, &of).with_metadata(Default::default())
}

/// Of raw lines.
pub(crate) fn line() -> Schema {
    Schema::new(vec![Field::new("line", DataType::Utf8View, true)])
}

/// What a text may be; the last one is any text.
const CANDIDATES: [fn(&str) -> bool; 6] = [
    |text| text.parse::<i64>().is_ok(),
    |text| text.parse::<f64>().is_ok() && text.bytes().any(|byte| byte.is_ascii_digit()),
    |text| text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
    |text| time::date(text).is_some(),
    |text| time::timestamp(text, TimeUnit::Microsecond, false).is_some(),
    |_| true,
];

fn candidate(index: usize) -> DataType {
    match index {
        0 => DataType::Int64,
        1 => DataType::Float64,
        2 => DataType::Boolean,
        3 => DataType::Date32,
        4 => DataType::Timestamp(TimeUnit::Microsecond, None),
        _ => DataType::Utf8View,
    }
}

/// The records of a sample.
fn records(mut frames: Frames, sample: &[u8]) -> Vec<Vec<u8>> {
    frames.spare(sample.len()).extend_from_slice(sample);
    let mut records = Vec::new();
    while records.len() < RECORDS
        && let Some(frame) = frames.next().or_else(|| frames.last())
    {
        records.push(frames.bytes(frame.range).to_vec());
    }
    records.retain(|record| !record.trim_ascii().is_empty());
    records
}

/// Of CSV: names from the header, or `f0`, `f1`, …
pub(crate) fn csv(csv: &Csv, sample: &[u8]) -> Result<Schema, Error> {
    let mut rows = Vec::new();
    for record in records(Frames::new(csv.framing(), sample.len()), sample) {
        if csv.comments && record.starts_with(b"#") {
            continue;
        }
        let mut fields = Record::default();
        let record = utf8(&record)?;
        fields.split(record, csv);
        rows.push((0..fields.len()).map(|field| fields.get(record, field).to_owned()).collect::<Vec<_>>());
    }
    let first = rows.first().ok_or("there is nothing to tell the columns from: declare them")?;
    let named = match csv.header {
        Header::Yes => true,
        Header::No => false,
        Header::Auto => is_header(first),
    };
    let names: Vec<String> = if named {
        first.iter().map(|name| name.trim().to_owned()).collect()
    } else {
        (0..first.len()).map(|at| format!("f{at}")).collect()
    };
    let values = &rows[usize::from(named)..];
    let column = |(at, name): (usize, String)| Field::new(name, column_type(csv, values, at), true);
    Ok(Schema::new(names.into_iter().enumerate().map(column).collect::<Vec<_>>()))
}

/// Names are text, and each another.
fn is_header(first: &[String]) -> bool {
    let text = |name: &String| !name.trim().is_empty() && CANDIDATES[..5].iter().all(|fits| !fits(name.trim()));
    first.iter().all(text) && first.iter().enumerate().all(|(at, name)| !first[..at].contains(name))
}

fn column_type(csv: &Csv, rows: &[Vec<String>], at: usize) -> DataType {
    let null = |text: &&String| text.is_empty() || csv.null.as_ref() == Some(*text);
    let values: Vec<&String> = rows.iter().filter_map(|row| row.get(at)).filter(|text| !null(text)).collect();
    let fits = CANDIDATES.iter().position(|fits| values.iter().all(|text| fits(text.trim())));
    if values.is_empty() { DataType::Utf8View } else { candidate(fits.unwrap_or(5)) }
}

/// What values have been seen.
#[derive(Clone, Debug, Default, PartialEq)]
enum Seen {
    #[default]
    Null,
    Bool,
    Int,
    Float,
    Text,
    List(Box<Seen>),
    /// In the order in which they came.
    Row(Vec<String>, BTreeMap<String, Seen>),
}

impl Seen {
    fn of(cursor: &mut Cursor<'_>, depth: usize) -> Result<Self, String> {
        Ok(match cursor.token()? {
            Token::Null => cursor.word("null").map(|()| Self::Null)?,
            Token::True => cursor.word("true").map(|()| Self::Bool)?,
            Token::False => cursor.word("false").map(|()| Self::Bool)?,
            Token::String => cursor.string().map(|_| Self::Text)?,
            Token::Number => {
                let number = cursor.number()?;
                if number::int::<i64>(number).is_some() { Self::Int } else { Self::Float }
            }
            Token::Array => {
                let mut items = Self::Null;
                cursor.items(depth, |cursor, depth| {
                    items = std::mem::take(&mut items).and(Self::of(cursor, depth)?);
                    Ok(())
                })?;
                Self::List(Box::new(items))
            }
            Token::Object => {
                let (mut names, mut members) = (Vec::new(), BTreeMap::new());
                cursor.members(depth, |cursor, depth| {
                    let name = cursor.name()?.into_owned();
                    let value = Self::of(cursor, depth)?;
                    if members.insert(name.clone(), value).is_none() {
                        names.push(name);
                    }
                    Ok(())
                })?;
                Self::Row(names, members)
            }
        })
    }

    /// What may be either.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Null, seen) | (seen, Self::Null) => seen,
            (Self::Int, Self::Float) | (Self::Float, Self::Int) => Self::Float,
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.and(*b))),
            (Self::Row(mut names, mut members), Self::Row(more, others)) => {
                names.extend(more.into_iter().filter(|name| !members.contains_key(name)));
                for (name, seen) in others {
                    let both = members.remove(&name).unwrap_or_default().and(seen);
                    members.insert(name, both);
                }
                Self::Row(names, members)
            }
            (a, b) if a == b => a,
            _ => Self::Text,
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Null | Self::Text => DataType::Utf8View,
            Self::List(item) => DataType::List(Arc::new(Field::new("item", item.data_type(), true))),
            Self::Row(names, members) if !names.is_empty() => DataType::Struct(fields(names, members)),
            Self::Row(..) => DataType::Utf8View,
        }
    }
}

fn fields(names: &[String], members: &BTreeMap<String, Seen>) -> Fields {
    names.iter().map(|name| Field::new(name, members[name].data_type(), true)).collect()
}

/// Of JSON lines: all names that are there.
pub(crate) fn json(sample: &[u8]) -> Result<Schema, Error> {
    let mut seen = Seen::Null;
    for record in records(Frames::new(crate::format::Framing::Lines, sample.len()), sample) {
        seen = seen.and(Seen::of(&mut Cursor::new(utf8(&record)?), 0)?);
    }
    match &seen {
        Seen::Row(names, members) if !names.is_empty() => Ok(Schema::new(fields(names, members))),
        _ => Err("there is no object to tell the columns from: declare them".into()),
    }
}
