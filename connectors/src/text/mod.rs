//! Values of columns as text: what [`crate::console`] and the table connectors that print share.
//!
//! [`cells`] looks at a column's type once and gives what writes any of its rows, in a [`Style`]. Numbers are in
//! `number.rs`, dates and times in `time.rs`. To add a type, add a line in [`leaf`] or [`nested`].

mod bytes;
mod number;
#[cfg(test)]
mod tests;
mod time;

use std::fmt::{self, Display, Write};

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrowPrimitiveType, OffsetSizeTrait, PrimitiveArray, StructArray};
use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use updraft_dataflow::Error;

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// As Java prints Flink's rows: `2020-04-15T08:05`, `1.0E10`, `+I[1, null]`.
    Java,
    /// As Flink's SQL client shows them: `2020-04-15 08:05:00.000`, `TRUE`, `(1, NULL)`.
    Sql,
    /// As in a file: `true`, bytes in base 64; what is nested is JSON.
    Csv,
    /// JSON values; times are text as in [`Sql`](Self::Sql).
    Json,
}

impl Style {
    /// No value, within another.
    pub(crate) fn null(self) -> &'static str {
        match self {
            Self::Java | Self::Json => "null",
            Self::Sql => "NULL",
            Self::Csv => "",
        }
    }

    /// What the parts of a value are written in.
    fn inner(self) -> Self {
        if self == Self::Csv { Self::Json } else { self }
    }

    fn is_json(self) -> bool {
        self == Self::Json
    }

    fn comma(self) -> &'static str {
        if self.is_json() { "," } else { ", " }
    }
}

/// Writes the value of a row.
pub(crate) type Cells<'a> = Box<dyn Fn(usize, &mut String) + 'a>;

/// What writes the values of `array`, [`Style::null`] where there is none.
///
/// # Errors
/// When the type has no text.
pub(crate) fn cells(array: &dyn Array, style: Style) -> Result<Cells<'_>, Error> {
    let write = match nested(array, style)? {
        Some(write) => write,
        None => leaf(array, style).ok_or_else(|| format!("{} cannot be written as text", array.data_type()))?,
    };
    if array.logical_null_count() == 0 {
        return Ok(write);
    }
    let nulls = array.logical_nulls();
    Ok(Box::new(move |row, out| {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            out.push_str(style.null());
        } else {
            write(row, out);
        }
    }))
}

/// What consists of values; `None` for what does not.
fn nested(array: &dyn Array, style: Style) -> Result<Option<Cells<'_>>, Error> {
    use DataType::{Dictionary, FixedSizeList, LargeList, List, Map, Struct};
    let inner = style.inner();
    Ok(Some(match array.data_type() {
        List(_) => list(array.as_list::<i32>().values(), offsets(array.as_list::<i32>().offsets()), inner)?,
        LargeList(_) => list(array.as_list::<i64>().values(), offsets(array.as_list::<i64>().offsets()), inner)?,
        FixedSizeList(_, width) => {
            let width = *width as usize;
            list(array.as_fixed_size_list().values(), move |row| (row * width, (row + 1) * width), inner)?
        }
        Map(..) => map(array, inner)?,
        Struct(_) => row(array.as_struct(), inner)?,
        Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let (keys, values) = (dictionary.normalized_keys(), cells(dictionary.values(), style)?);
            Box::new(move |row, out| values(keys[row], out))
        }
        _ => return Ok(None),
    }))
}

fn offsets<O: OffsetSizeTrait>(offsets: &[O]) -> impl Fn(usize) -> (usize, usize) {
    |row| (offsets[row].as_usize(), offsets[row + 1].as_usize())
}

fn list<'a>(
    values: &'a dyn Array,
    range: impl Fn(usize) -> (usize, usize) + 'a,
    style: Style,
) -> Result<Cells<'a>, Error> {
    let element = cells(values, style)?;
    Ok(Box::new(move |row, out| {
        let (start, end) = range(row);
        out.push('[');
        for (at, i) in (start..end).enumerate() {
            out.push_str(if at > 0 { style.comma() } else { "" });
            element(i, out);
        }
        out.push(']');
    }))
}

fn map(array: &dyn Array, style: Style) -> Result<Cells<'_>, Error> {
    let map = array.as_map();
    let (keys, values) = (map.keys(), cells(map.values(), style)?);
    // A key in JSON is text, whatever it is.
    let key = cells(keys, if style.is_json() { Style::Csv } else { style })?;
    Ok(Box::new(move |row, out| {
        let range = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
        out.push('{');
        for (at, i) in range.enumerate() {
            out.push_str(if at > 0 { style.comma() } else { "" });
            if style.is_json() {
                bytes::quoted_by(out, |out| key(i, out));
                out.push(':');
            } else {
                key(i, out);
                out.push('=');
            }
            values(i, out);
        }
        out.push('}');
    }))
}

fn row(array: &StructArray, style: Style) -> Result<Cells<'_>, Error> {
    let fields: Vec<_> = array.columns().iter().map(|column| cells(column, style)).collect::<Result<_, _>>()?;
    let name = |name: &str| {
        let mut out = String::new();
        bytes::quoted(name, &mut out);
        out + ":"
    };
    let names: Vec<_> =
        array.column_names().iter().map(|n| if style.is_json() { name(n) } else { String::new() }).collect();
    let (open, close) = match style {
        Style::Java => ("+I[", ']'),
        Style::Sql => ("(", ')'),
        Style::Csv | Style::Json => ("{", '}'),
    };
    Ok(Box::new(move |row, out| {
        out.push_str(open);
        for (at, (name, field)) in names.iter().zip(&fields).enumerate() {
            out.push_str(if at > 0 { style.comma() } else { "" });
            out.push_str(name);
            field(row, out);
        }
        out.push(close);
    }))
}

/// What is one value.
fn leaf(array: &dyn Array, style: Style) -> Option<Cells<'_>> {
    use DataType::*;
    Some(match array.data_type() {
        Null => Box::new(move |_, out| out.push_str(style.null())),
        Boolean => {
            let (array, sql) = (array.as_boolean(), style == Style::Sql);
            let text = move |value| match (value, sql) {
                (true, true) => "TRUE",
                (false, true) => "FALSE",
                (true, false) => "true",
                (false, false) => "false",
            };
            Box::new(move |row, out| out.push_str(text(array.value(row))))
        }
        Int8 => shown::<Int8Type>(array),
        Int16 => shown::<Int16Type>(array),
        Int32 => shown::<Int32Type>(array),
        Int64 => shown::<Int64Type>(array),
        UInt8 => shown::<UInt8Type>(array),
        UInt16 => shown::<UInt16Type>(array),
        UInt32 => shown::<UInt32Type>(array),
        UInt64 => shown::<UInt64Type>(array),
        Float32 => each::<Float32Type>(array, move |value, out| number::float(value, style, out)),
        Float64 => each::<Float64Type>(array, move |value, out| number::float(value, style, out)),
        Decimal128(_, scale) => {
            let scale = *scale;
            each::<Decimal128Type>(array, move |value, out| number::decimal(&value.to_string(), scale, style, out))
        }
        Decimal256(_, scale) => {
            let scale = *scale;
            each::<Decimal256Type>(array, move |value, out| number::decimal(&value.to_string(), scale, style, out))
        }
        Utf8 | LargeUtf8 | Utf8View => return text(array, style),
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => return binary(array, style),
        _ => return temporal(array, style),
    })
}

/// Writing to a string cannot fail.
fn put(out: &mut String, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn shown<T: ArrowPrimitiveType<Native: Display>>(array: &dyn Array) -> Cells<'_> {
    each::<T>(array, |value, out| put(out, format_args!("{value}")))
}

fn each<'a, T: ArrowPrimitiveType>(array: &'a dyn Array, write: impl Fn(T::Native, &mut String) + 'a) -> Cells<'a> {
    let array: &PrimitiveArray<T> = array.as_primitive();
    Box::new(move |row, out| write(array.value(row), out))
}

fn text(array: &dyn Array, style: Style) -> Option<Cells<'_>> {
    fn put<'a>(value: impl Fn(usize) -> &'a str + 'a, style: Style) -> Cells<'a> {
        match style {
            Style::Json => Box::new(move |row, out| bytes::quoted(value(row), out)),
            _ => Box::new(move |row, out| out.push_str(value(row))),
        }
    }
    Some(match array.data_type() {
        DataType::Utf8 => put(|row| array.as_string::<i32>().value(row), style),
        DataType::LargeUtf8 => put(|row| array.as_string::<i64>().value(row), style),
        DataType::Utf8View => put(|row| array.as_string_view().value(row), style),
        _ => return None,
    })
}

fn binary(array: &dyn Array, style: Style) -> Option<Cells<'_>> {
    fn put<'a>(value: impl Fn(usize) -> &'a [u8] + 'a, style: Style) -> Cells<'a> {
        Box::new(move |row, out| bytes::bytes(value(row), style, out))
    }
    Some(match array.data_type() {
        DataType::Binary => put(|row| array.as_binary::<i32>().value(row), style),
        DataType::LargeBinary => put(|row| array.as_binary::<i64>().value(row), style),
        DataType::BinaryView => put(|row| array.as_binary_view().value(row), style),
        DataType::FixedSizeBinary(_) => put(|row| array.as_fixed_size_binary().value(row), style),
        _ => return None,
    })
}

/// What is of time; quoted in JSON.
fn temporal(array: &dyn Array, style: Style) -> Option<Cells<'_>> {
    use DataType::{Date32, Date64, Duration, Interval, Time32, Time64, Timestamp};
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let write: Cells<'_> = match array.data_type() {
        Date32 => each::<Date32Type>(array, move |days, out| time::date(i64::from(days), style, out)),
        Date64 => each::<Date64Type>(array, move |ms, out| time::date(ms.div_euclid(86_400_000), style, out)),
        Time32(Second) => each::<Time32SecondType>(array, move |t, out| time::time(i64::from(t), Second, style, out)),
        Time32(_) => {
            each::<Time32MillisecondType>(array, move |t, out| time::time(i64::from(t), Millisecond, style, out))
        }
        Time64(Nanosecond) => each::<Time64NanosecondType>(array, move |t, out| time::time(t, Nanosecond, style, out)),
        Time64(_) => each::<Time64MicrosecondType>(array, move |t, out| time::time(t, Microsecond, style, out)),
        Timestamp(unit, zone) => {
            let (unit, is_instant) = (*unit, zone.is_some());
            integers(array, unit, move |t, out| time::timestamp(t, unit, is_instant, style, out))
        }
        Interval(IntervalUnit::YearMonth) => {
            each::<IntervalYearMonthType>(array, move |months, out| time::months(months, style, out))
        }
        Interval(IntervalUnit::DayTime) => each::<IntervalDayTimeType>(array, move |span, out| {
            time::span(0, span.days, i128::from(span.milliseconds) * 1_000_000, style, out);
        }),
        Interval(IntervalUnit::MonthDayNano) => each::<IntervalMonthDayNanoType>(array, move |span, out| {
            time::span(span.months, span.days, i128::from(span.nanoseconds), style, out);
        }),
        Duration(unit) => {
            let nanos = i128::from(1_000_000_000 / time::per_second(*unit));
            durations(array, *unit, move |t, out| time::span(0, 0, i128::from(t) * nanos, style, out))
        }
        _ => return None,
    };
    Some(if style.is_json() { Box::new(move |row, out| bytes::quoted_by(out, |out| write(row, out))) } else { write })
}

fn integers<'a>(array: &'a dyn Array, unit: TimeUnit, write: impl Fn(i64, &mut String) + 'a) -> Cells<'a> {
    match unit {
        TimeUnit::Second => each::<TimestampSecondType>(array, write),
        TimeUnit::Millisecond => each::<TimestampMillisecondType>(array, write),
        TimeUnit::Microsecond => each::<TimestampMicrosecondType>(array, write),
        TimeUnit::Nanosecond => each::<TimestampNanosecondType>(array, write),
    }
}

fn durations<'a>(array: &'a dyn Array, unit: TimeUnit, write: impl Fn(i64, &mut String) + 'a) -> Cells<'a> {
    match unit {
        TimeUnit::Second => each::<DurationSecondType>(array, write),
        TimeUnit::Millisecond => each::<DurationMillisecondType>(array, write),
        TimeUnit::Microsecond => each::<DurationMicrosecondType>(array, write),
        TimeUnit::Nanosecond => each::<DurationNanosecondType>(array, write),
    }
}
