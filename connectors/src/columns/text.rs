//! Scalars as text: what CSV, JSON and names of folders are written with. The inverse of `cells/`.

use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType};
use arrow_cast::{CastOptions, cast, cast_with_options};
use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use updraft_dataflow::Error;

use super::cells::time::civil;
use super::types::sql_name;

/// Appends the value of a row that is not NULL.
pub(crate) type Write1 = Box<dyn Fn(usize, &mut Vec<u8>) + Send>;

/// How the values of a column are written.
pub(crate) struct Scalar {
    pub(crate) kind: Kind,
    pub(crate) write: Write1,
}

/// What the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A number or a boolean.
    Bare,
    /// A number that may also be `NaN` or infinite.
    Float,
    /// Of digits, letters and signs that are never escaped.
    Plain,
    /// Any text.
    Text,
}

impl Scalar {
    fn new(kind: Kind, write: impl Fn(usize, &mut Vec<u8>) + Send + 'static) -> Self {
        Self { kind, write: Box::new(write) }
    }
}

const DAY: i64 = 86_400;

/// How to write the values of `array`; timestamps with a `T` where `iso`.
///
/// # Errors
/// When values of its type cannot be written as text.
pub(crate) fn scalar(array: &ArrayRef, iso: bool) -> Result<Scalar, Error> {
    Ok(match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean().clone();
            Scalar::new(Kind::Bare, move |row, out| {
                out.extend_from_slice(if array.value(row) { b"true" } else { b"false" });
            })
        }
        DataType::Int8 => int::<Int8Type>(array),
        DataType::Int16 => int::<Int16Type>(array),
        DataType::Int32 => int::<Int32Type>(array),
        DataType::Int64 => int::<Int64Type>(array),
        DataType::UInt8 => int::<UInt8Type>(array),
        DataType::UInt16 => int::<UInt16Type>(array),
        DataType::UInt32 => int::<UInt32Type>(array),
        DataType::UInt64 => int::<UInt64Type>(array),
        DataType::Interval(IntervalUnit::YearMonth) => int::<IntervalYearMonthType>(array),
        DataType::Float32 => float::<Float32Type>(array),
        DataType::Float64 => float::<Float64Type>(array),
        DataType::Decimal128(_, scale) => decimal(array, *scale),
        DataType::Utf8View => {
            let array = array.as_string_view().clone();
            Scalar::new(Kind::Text, move |row, out| out.extend_from_slice(array.value(row).as_bytes()))
        }
        DataType::BinaryView => {
            let array = array.as_binary_view().clone();
            Scalar::new(Kind::Plain, move |row, out| base64(array.value(row), out))
        }
        DataType::Date32 => {
            let array = array.as_primitive::<Date32Type>().clone();
            Scalar::new(Kind::Plain, move |row, out| date(array.value(row).into(), out))
        }
        DataType::Time32(unit) | DataType::Time64(unit) => times(array, *unit)?,
        DataType::Timestamp(unit, zone) => timestamps(array, *unit, zone.is_some(), iso)?,
        DataType::Interval(IntervalUnit::MonthDayNano) => intervals(array)?,
        _ => return other(array, iso),
    })
}

/// Other types are written as those of the same meaning.
fn other(array: &ArrayRef, iso: bool) -> Result<Scalar, Error> {
    let plain = match array.data_type() {
        DataType::Dictionary(_, value) => DataType::clone(value),
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::BinaryView,
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Date32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        _ => DataType::Utf8View,
    };
    let written = cast(array, &plain).map_err(|_| -> Error {
        format!("a value of type {} cannot be written as text", sql_name(array.data_type())).into()
    })?;
    scalar(&written, iso)
}

fn int<T: ArrowPrimitiveType<Native: std::fmt::Display>>(array: &ArrayRef) -> Scalar {
    let array = array.as_primitive::<T>().clone();
    Scalar::new(Kind::Bare, move |row, out| {
        let _ = write!(out, "{}", array.value(row));
    })
}

fn float<T: ArrowPrimitiveType<Native: std::fmt::Debug + Into<f64>>>(array: &ArrayRef) -> Scalar {
    let array = array.as_primitive::<T>().clone();
    Scalar::new(Kind::Float, move |row, out| {
        let value = array.value(row);
        let wide: f64 = value.into();
        let _ = match wide.is_infinite() {
            true => write!(out, "{}Infinity", if wide < 0.0 { "-" } else { "" }),
            false => write!(out, "{value:?}"),
        };
    })
}

fn decimal(array: &ArrayRef, scale: i8) -> Scalar {
    let array = array.as_primitive::<Decimal128Type>().clone();
    Scalar::new(Kind::Bare, move |row, out| {
        let value = array.value(row);
        let _ = match u32::try_from(scale).ok().filter(|scale| *scale > 0) {
            Some(scale) => {
                let unit = 10u128.pow(scale);
                let (sign, value) = (if value < 0 { "-" } else { "" }, value.unsigned_abs());
                write!(out, "{sign}{}.{:0width$}", value / unit, value % unit, width = scale as usize)
            }
            None => write!(out, "{value}{:0>width$}", "", width = scale.unsigned_abs().into()),
        };
    })
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
}

fn date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil(days);
    let _ = write!(out, "{year:04}-{month:02}-{day:02}");
}

/// The time of day, with as much of a fraction as there is.
fn clock(nanos: i64, out: &mut Vec<u8>) {
    let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if nanos > 0 {
        let _ = write!(out, ".{nanos:09}");
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// How many of a unit make a second.
fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

fn times(array: &ArrayRef, unit: TimeUnit) -> Result<Scalar, Error> {
    let plain = if per_second(unit) <= 1_000 { DataType::Int32 } else { DataType::Int64 };
    let array = cast(&cast(array, &plain)?, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
    let nanos = 1_000_000_000 / per_second(unit);
    Ok(Scalar::new(Kind::Plain, move |row, out| clock(array.value(row) * nanos, out)))
}

fn timestamps(array: &ArrayRef, unit: TimeUnit, zoned: bool, iso: bool) -> Result<Scalar, Error> {
    let array = cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
    let per_second = per_second(unit);
    Ok(Scalar::new(Kind::Plain, move |row, out| {
        let value = array.value(row);
        let (seconds, rest) = (value.div_euclid(per_second), value.rem_euclid(per_second));
        date(seconds.div_euclid(DAY), out);
        out.push(if iso { b'T' } else { b' ' });
        clock(seconds.rem_euclid(DAY) * 1_000_000_000 + rest * (1_000_000_000 / per_second), out);
        if zoned {
            out.push(b'Z');
        }
    }))
}

/// Their milliseconds.
fn intervals(array: &ArrayRef) -> Result<Scalar, Error> {
    let array = array.as_primitive::<IntervalMonthDayNanoType>().clone();
    if array.iter().flatten().any(|interval| interval.months != 0) {
        return Err("an interval of months and days cannot be written as text: months have no length".into());
    }
    Ok(Scalar::new(Kind::Bare, move |row, out| {
        let interval = array.value(row);
        let millis = i64::from(interval.days) * DAY * 1_000 + interval.nanoseconds / 1_000_000;
        let _ = write!(out, "{millis}");
    }))
}

/// Casts; a value that does not fit is an error.
pub(crate) fn strict(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, Error> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(array, to, &options)?)
}
