//! Columns, made rows of `COPY … FROM STDIN (FORMAT binary)`.
#![expect(clippy::unit_arg, reason = "what appends a value gives nothing, and most cannot fail")]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, RecordBatch};
use arrow_cast::cast;
use arrow_json::writer::{EncoderOptions, make_encoder};
use arrow_schema::{DataType, Field, IntervalUnit, TimeUnit};
use bytes::{BufMut, BytesMut};
use postgres_protocol::types;
use tokio_postgres::types::Type;
use updraft_dataflow::Error;

use crate::types::{EPOCH, is_scalar, wire_type};

/// What a stream of rows begins with: the signature, no flags, no extension.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
pub(crate) const TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// Days from 1970 to 2000.
const DAYS: i32 = 10_957;
/// The times that the server has, as it counts them.
const TIMES: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// Appends a value that is not null.
type Put<'a> = Box<dyn FnMut(usize, &mut BytesMut) -> Result<(), String> + 'a>;

/// The columns of a batch.
pub(crate) struct Encoder<'a> {
    columns: Vec<(&'a Field, &'a ArrayRef, Put<'a>)>,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(batch: &'a RecordBatch) -> Result<Self, Error> {
        let schema = batch.schema_ref();
        let columns = schema.fields().iter().zip(batch.columns());
        let columns = columns.map(|(field, array)| Ok((&**field, array, put(field, array)?)));
        Ok(Self { columns: columns.collect::<Result<_, Error>>()? })
    }

    /// Appends a row, after `before`, which are columns of its own.
    ///
    /// # Errors
    /// A value that the server cannot hold; names its column.
    pub(crate) fn row(&mut self, row: usize, before: &[i64], out: &mut BytesMut) -> Result<(), String> {
        out.put_i16((self.columns.len() + before.len()) as i16);
        for value in before {
            out.put_i32(8);
            out.put_i64(*value);
        }
        for (field, array, put) in &mut self.columns {
            if array.is_null(row) {
                out.put_i32(-1);
                continue;
            }
            sized(out, |out| put(row, out)).map_err(|why| format!("column `{}`: {why}", field.name()))?;
        }
        Ok(())
    }
}

/// What `put` appends, with its length before it.
fn sized(out: &mut BytesMut, put: impl FnOnce(&mut BytesMut) -> Result<(), String>) -> Result<(), String> {
    let at = out.len();
    out.put_i32(0);
    put(out)?;
    let len = i32::try_from(out.len() - at - 4).map_err(|_| "it is larger than 2 GiB")?;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

/// How values of a column are appended.
fn put<'a>(field: &Field, array: &'a ArrayRef) -> Result<Put<'a>, Error> {
    Ok(match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean();
            Box::new(|row, out| just(types::bool_to_sql(array.value(row), out)))
        }
        DataType::Int8 => each::<Int8Type>(array, |value, out| just(types::int2_to_sql(value.into(), out))),
        DataType::Int16 => each::<Int16Type>(array, |value, out| just(types::int2_to_sql(value, out))),
        DataType::Int32 => each::<Int32Type>(array, |value, out| just(types::int4_to_sql(value, out))),
        DataType::Int64 => each::<Int64Type>(array, |value, out| just(types::int8_to_sql(value, out))),
        DataType::Float32 => each::<Float32Type>(array, |value, out| just(types::float4_to_sql(value, out))),
        DataType::Float64 => each::<Float64Type>(array, |value, out| just(types::float8_to_sql(value, out))),
        DataType::Decimal128(_, scale) => {
            let scale = *scale;
            each::<Decimal128Type>(array, move |value, out| just(numeric(value, scale, out)))
        }
        DataType::Date32 => each::<Date32Type>(array, |value, out| {
            let days = value.checked_sub(DAYS).ok_or("it is out of range")?;
            just(types::date_to_sql(days, out))
        }),
        DataType::Time32(TimeUnit::Second) => time::<Time32SecondType>(array, 1_000_000, 1),
        DataType::Time32(_) => time::<Time32MillisecondType>(array, 1_000, 1),
        DataType::Time64(TimeUnit::Microsecond) => time::<Time64MicrosecondType>(array, 1, 1),
        DataType::Time64(_) => time::<Time64NanosecondType>(array, 1, 1_000),
        DataType::Timestamp(TimeUnit::Second, _) => moment::<TimestampSecondType>(array, 1_000_000, 1),
        DataType::Timestamp(TimeUnit::Millisecond, _) => moment::<TimestampMillisecondType>(array, 1_000, 1),
        DataType::Timestamp(TimeUnit::Microsecond, _) => moment::<TimestampMicrosecondType>(array, 1, 1),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => moment::<TimestampNanosecondType>(array, 1, 1_000),
        DataType::Interval(unit) => interval(array, *unit),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
            let texts = cast(array, &DataType::Utf8View)?;
            Box::new(move |row, out| text(texts.as_string_view().value(row), out))
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            let bytes = cast(array, &DataType::BinaryView)?;
            Box::new(move |row, out| just(types::bytea_to_sql(bytes.as_binary_view().value(row), out)))
        }
        DataType::List(item) if is_scalar(item.data_type()) => list(item, array)?,
        DataType::List(_) | DataType::Struct(_) | DataType::Map(..) => json(field, array)?,
        other => return Err(format!("column `{}`: PostgreSQL has nothing for {other}: CAST it", field.name()).into()),
    })
}

fn just((): ()) -> Result<(), String> {
    Ok(())
}

fn each<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    mut put: impl FnMut(T::Native, &mut BytesMut) -> Result<(), String> + 'static,
) -> Put<'_> {
    let array: &PrimitiveArray<T> = array.as_primitive();
    Box::new(move |row, out| put(array.value(row), out))
}

fn text(text: &str, out: &mut BytesMut) -> Result<(), String> {
    if text.contains('\0') {
        return Err("it has a zero byte, which no text of PostgreSQL may have".into());
    }
    just(types::text_to_sql(text, out))
}

/// Times of day; the server has microseconds.
fn time<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &ArrayRef, times: i64, over: i64) -> Put<'_> {
    each::<T>(array, move |value, out| just(types::time_to_sql(value.into() * times / over, out)))
}

fn moment<T: ArrowPrimitiveType<Native = i64>>(array: &ArrayRef, times: i64, over: i64) -> Put<'_> {
    each::<T>(array, move |value, out| {
        let micros = value.div_euclid(over).checked_mul(times).and_then(|micros| micros.checked_sub(EPOCH));
        let micros = micros.filter(|micros| TIMES.contains(micros)).ok_or("the time is out of PostgreSQL's range")?;
        just(types::timestamp_to_sql(micros, out))
    })
}

fn interval(array: &ArrayRef, unit: IntervalUnit) -> Put<'_> {
    let put = |micros: i64, days: i32, months: i32, out: &mut BytesMut| {
        out.put_i64(micros);
        out.put_i32(days);
        out.put_i32(months);
        Ok(())
    };
    match unit {
        IntervalUnit::YearMonth => each::<IntervalYearMonthType>(array, move |months, out| put(0, 0, months, out)),
        IntervalUnit::DayTime => each::<IntervalDayTimeType>(array, move |span, out| {
            put(i64::from(span.milliseconds) * 1_000, span.days, 0, out)
        }),
        IntervalUnit::MonthDayNano => each::<IntervalMonthDayNanoType>(array, move |span, out| {
            put(span.nanoseconds.div_euclid(1_000), span.days, span.months, out)
        }),
    }
}

/// A number, in digits to the base of 10,000: how many, the first one's weight, the sign, how many decimal ones after the point.
fn numeric(value: i128, scale: i8, out: &mut BytesMut) {
    let mut digits = value.unsigned_abs().to_string();
    let after = usize::try_from(scale).unwrap_or_else(|_| {
        digits.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
        0
    });
    let digits = format!("{digits:0>after$}");
    let (whole, part) = digits.split_at(digits.len() - after);
    let (before, behind) = (whole.len().next_multiple_of(4), part.len().next_multiple_of(4));
    let aligned = format!("{whole:0>before$}{part:0<behind$}");
    let groups = aligned.as_bytes().chunks(4);
    let groups: Vec<i16> =
        groups.map(|group| group.iter().fold(0, |sum, digit| sum * 10 + i16::from(digit - b'0'))).collect();
    let first = groups.iter().position(|group| *group != 0);
    let end = groups.iter().rposition(|group| *group != 0).map_or(0, |last| last + 1);
    let groups_before = (before / 4) as i16;
    let (weight, groups) = first.map_or((0, &[][..]), |first| (groups_before - 1 - first as i16, &groups[first..end]));
    out.put_i16(groups.len() as i16);
    out.put_i16(weight);
    out.put_u16(if value < 0 { 0x4000 } else { 0 });
    out.put_i16(after as i16);
    groups.iter().for_each(|group| out.put_i16(*group));
}

/// An array of one dimension: its items' type first.
fn list<'a>(item: &Field, array: &'a ArrayRef) -> Result<Put<'a>, Error> {
    let lists = array.as_list::<i32>();
    let oid = oid(item.data_type())?;
    // The items outlive the closures that put them.
    let items = lists.values();
    let mut put = put(item, items)?;
    let offsets = lists.offsets();
    Ok(Box::new(move |row, out| {
        let range = offsets[row] as usize..offsets[row + 1] as usize;
        out.put_i32(i32::from(!range.is_empty()));
        out.put_i32(i32::from(range.clone().any(|item| items.is_null(item))));
        out.put_u32(oid);
        if range.is_empty() {
            return Ok(());
        }
        out.put_i32(range.len() as i32);
        out.put_i32(1);
        for item in range {
            match items.is_null(item) {
                true => out.put_i32(-1),
                false => sized(out, |out| put(item, out))?,
            }
        }
        Ok(())
    }))
}

/// The number of the type that values of this one are sent as.
fn oid(data_type: &DataType) -> Result<u32, Error> {
    let found = match &*wire_type(data_type)? {
        "boolean" => Type::BOOL,
        "smallint" => Type::INT2,
        "integer" => Type::INT4,
        "bigint" => Type::INT8,
        "real" => Type::FLOAT4,
        "double precision" => Type::FLOAT8,
        "numeric" => Type::NUMERIC,
        "bytea" => Type::BYTEA,
        "date" => Type::DATE,
        "time" => Type::TIME,
        "timestamp" => Type::TIMESTAMP,
        "timestamptz" => Type::TIMESTAMPTZ,
        "interval" => Type::INTERVAL,
        _ => Type::TEXT,
    };
    Ok(found.oid())
}

fn json<'a>(field: &Field, array: &'a ArrayRef) -> Result<Put<'a>, Error> {
    let field = Arc::new(field.clone());
    // It borrows the field, which is made here; so it is made anew for each row, of that row alone.
    let options = EncoderOptions::default().with_explicit_nulls(true);
    Ok(Box::new(move |row, out| {
        let one = array.slice(row, 1);
        let mut encoder = make_encoder(&field, &one, &options).map_err(|error| error.to_string())?;
        let mut json = Vec::new();
        encoder.encode(0, &mut json);
        let json = String::from_utf8(json).map_err(|error| error.to_string())?;
        text(&json, out)
    }))
}
