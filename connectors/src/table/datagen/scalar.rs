//! Single values: numbers, text, bytes, times.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BinaryViewBuilder, FixedSizeBinaryBuilder, LargeBinaryBuilder, LargeStringBuilder, StringBuilder,
    StringViewBuilder,
};
use arrow_array::types::*;
use arrow_array::{ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use arrow_buffer::{BooleanBuffer, IntervalMonthDayNano};
use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use updraft_dataflow::Error;

use super::field::Field;
use super::make::{Make, Plan, Span};
use super::random::Seed;

/// Letters or bytes unless said otherwise.
const LENGTH: usize = 100;

/// Months that fit what Flink calls a period.
const MONTHS: i32 = 120_000;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

/// What makes random values of a type.
pub(super) fn random(plan: &Plan<'_>) -> Result<Make, Error> {
    use DataType::*;
    Ok(match plan.data_type {
        Boolean => {
            let (seed, nulls) = (plan.seed, plan.nulls());
            Arc::new(move |span| {
                let bit = |i| seed.bits(span.start.wrapping_add(i as u64)) >> 63 == 1;
                Arc::new(BooleanArray::new(BooleanBuffer::collect_bool(span.len, bit), nulls(span)))
            })
        }
        Int8 => integers::<Int8Type>(plan, i8::MIN, i8::MAX)?,
        Int16 => integers::<Int16Type>(plan, i16::MIN, i16::MAX)?,
        Int32 => integers::<Int32Type>(plan, i32::MIN, i32::MAX)?,
        Int64 => integers::<Int64Type>(plan, i64::MIN, i64::MAX)?,
        Float32 => {
            let (min, max) = plan.field.range(0.0, f64::from(f32::MAX), "a number")?;
            numbers::<Float32Type>(plan, move |seed, i| between(seed, i, min, max) as f32)
        }
        Float64 => {
            let (min, max) = plan.field.range(0.0, f64::MAX, "a number")?;
            numbers::<Float64Type>(plan, move |seed, i| between(seed, i, min, max))
        }
        Decimal128(precision, scale) => decimals(plan, *precision, *scale)?,
        Utf8 | LargeUtf8 | Utf8View => text(plan)?,
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => bytes(plan)?,
        Interval(unit) => intervals(plan, *unit)?,
        _ => return times(plan),
    })
}

/// A column of numbers, each made of the seed and its own number.
fn numbers<T: ArrowPrimitiveType>(
    plan: &Plan<'_>,
    value: impl Fn(Seed, u64) -> T::Native + Send + Sync + 'static,
) -> Make {
    timed::<T>(plan, move |seed, number, _| value(seed, number))
}

/// The same, of what is also known of its time.
fn timed<T: ArrowPrimitiveType>(
    plan: &Plan<'_>,
    value: impl Fn(Seed, u64, &Span) -> T::Native + Send + Sync + 'static,
) -> Make {
    let (seed, nulls, data_type) = (plan.seed, plan.nulls(), plan.data_type.clone());
    Arc::new(move |span| {
        let values: Vec<_> = span.numbers().map(|number| value(seed, number, span)).collect();
        Arc::new(PrimitiveArray::<T>::new(values.into(), nulls(span)).with_data_type(data_type.clone()))
    })
}

/// Whole numbers, both ends included.
fn integers<T>(plan: &Plan<'_>, least: T::Native, most: T::Native) -> Result<Make, Error>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64> + TryFrom<i64> + std::str::FromStr + PartialOrd,
{
    let (min, max) = plan.field.range(least, most, "a whole number of the field's type")?;
    let (min, max): (i64, i64) = (min.into(), max.into());
    let range = (i128::from(max) - i128::from(min) + 1) as u128;
    Ok(numbers::<T>(plan, move |seed, i| {
        let value = min.wrapping_add(seed.below(i, range) as i64);
        T::Native::try_from(value).unwrap_or_default()
    }))
}

fn between(seed: Seed, index: u64, min: f64, max: f64) -> f64 {
    let fraction = seed.fraction(index);
    // Not by the difference, which may be infinite.
    (min * (1.0 - fraction) + max * fraction).clamp(min, max)
}

fn decimals(plan: &Plan<'_>, precision: u8, scale: i8) -> Result<Make, Error> {
    let most = 10_i128.pow(u32::from(precision)) - 1;
    let parse = |what, default| -> Result<i128, Error> {
        let Some(text) = plan.field.parse::<String>(what, "a number")? else { return Ok(default) };
        let wrong = |_| plan.field.wrong(&format!("'{what}' = '{text}': no DECIMAL({precision}, {scale})"));
        arrow_cast::parse::parse_decimal::<Decimal128Type>(&text, precision, scale).map_err(wrong)
    };
    let (min, max) = (parse("min", 0)?, parse("max", most)?);
    if min > max {
        return Err(plan.field.wrong("'min' is more than 'max'"));
    }
    let range = max.abs_diff(min) + 1;
    Ok(numbers::<Decimal128Type>(plan, move |seed, i| {
        let high = u128::from(seed.other().bits(i)) << 64;
        min.wrapping_add(((high | u128::from(seed.bits(i))) % range) as i128)
    }))
}

/// How long values are: the most, and whether they may be shorter.
fn length(plan: &Plan<'_>) -> Result<impl Fn(Seed, u64) -> usize + Send + Sync + 'static, Error> {
    let most = plan.length(LENGTH)?;
    let varies = plan.field.flag("var-len")?;
    Ok(
        move |seed: Seed, i| {
            if varies && most > 0 { 1 + seed.other().other().below(i, most as u128) as usize } else { most }
        },
    )
}

/// Hexadecimal digits, as Flink makes them.
fn text(plan: &Plan<'_>) -> Result<Make, Error> {
    macro_rules! built {
        ($builder:expr) => {{
            let (seed, nulls, length) = (plan.seed, plan.nulls(), length(plan)?);
            Arc::new(move |span: &Span| -> ArrayRef {
                let (mut builder, nulls, mut digits) = ($builder, nulls(span), String::new());
                for (i, number) in span.numbers().enumerate() {
                    if nulls.as_ref().is_some_and(|nulls| nulls.is_null(i)) {
                        builder.append_null();
                        continue;
                    }
                    hex(seed.within(number), length(seed, number), &mut digits);
                    builder.append_value(&digits);
                }
                Arc::new(builder.finish())
            })
        }};
    }
    Ok(match plan.data_type {
        DataType::Utf8 => built!(StringBuilder::new()),
        DataType::LargeUtf8 => built!(LargeStringBuilder::new()),
        _ => built!(StringViewBuilder::new()),
    })
}

fn hex(seed: Seed, length: usize, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.clear();
    for chunk in 0..length.div_ceil(16) {
        let mut bits = seed.bits(chunk as u64);
        let digits = (length - chunk * 16).min(16);
        out.extend((0..digits).map(|_| {
            let digit = DIGITS[(bits & 15) as usize];
            bits >>= 4;
            char::from(digit)
        }));
    }
}

fn bytes(plan: &Plan<'_>) -> Result<Make, Error> {
    macro_rules! built {
        ($builder:expr, $length:expr, $append:expr) => {{
            let (seed, nulls, length) = (plan.seed, plan.nulls(), $length);
            Arc::new(move |span: &Span| -> ArrayRef {
                let (mut builder, nulls, mut bytes) = ($builder, nulls(span), Vec::new());
                for (i, number) in span.numbers().enumerate() {
                    if nulls.as_ref().is_some_and(|nulls| nulls.is_null(i)) {
                        builder.append_null();
                        continue;
                    }
                    noise(seed.within(number), length(seed, number), &mut bytes);
                    $append(&mut builder, &bytes);
                }
                Arc::new(builder.finish())
            })
        }};
    }
    Ok(match plan.data_type {
        DataType::Binary => built!(BinaryBuilder::new(), length(plan)?, BinaryBuilder::append_value),
        DataType::LargeBinary => built!(LargeBinaryBuilder::new(), length(plan)?, LargeBinaryBuilder::append_value),
        DataType::FixedSizeBinary(width) => {
            let width = *width;
            built!(FixedSizeBinaryBuilder::new(width), move |_: Seed, _: u64| width as usize, append_fixed)
        }
        _ => built!(BinaryViewBuilder::new(), length(plan)?, BinaryViewBuilder::append_value),
    })
}

fn append_fixed(builder: &mut FixedSizeBinaryBuilder, bytes: &[u8]) {
    builder.append_value(bytes).expect("bytes of the builder's width");
}

fn noise(seed: Seed, length: usize, out: &mut Vec<u8>) {
    out.clear();
    out.extend((0..length.div_ceil(8)).flat_map(|chunk| seed.bits(chunk as u64).to_le_bytes()));
    out.truncate(length);
}

/// Spans of time: months as they are, others in milliseconds.
fn intervals(plan: &Plan<'_>, unit: IntervalUnit) -> Result<Make, Error> {
    if unit == IntervalUnit::YearMonth {
        let (min, max) = plan.field.range(0, MONTHS, "a number of months")?;
        let range = (i64::from(max) - i64::from(min) + 1) as u128;
        return Ok(numbers::<IntervalYearMonthType>(plan, move |seed, i| min + seed.below(i, range) as i32));
    }
    let most = i64::MAX / 1_000_000;
    let (min, max) = plan.field.range(-most, most, "a number of milliseconds")?;
    if min < -most || max > most {
        return Err(plan.field.wrong(&format!("'min' and 'max' are milliseconds from -{most} to {most}")));
    }
    let range = (i128::from(max) - i128::from(min) + 1) as u128;
    let millis = move |seed: Seed, i| min.wrapping_add(seed.below(i, range) as i64);
    match unit {
        IntervalUnit::MonthDayNano => Ok(numbers::<IntervalMonthDayNanoType>(plan, move |seed, i| {
            IntervalMonthDayNano::new(0, 0, millis(seed, i) * 1_000_000)
        })),
        _ => Err(plan.unsupported()),
    }
}

/// Dates and times of day are of now, timestamps of some time before.
fn times(plan: &Plan<'_>) -> Result<Make, Error> {
    use DataType::{Date32, Time32, Time64, Timestamp};
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    Ok(match plan.data_type {
        Date32 => timed::<Date32Type>(plan, |_, n, span| span.time(n).div_euclid(DAY) as i32),
        Time32(Second) => timed::<Time32SecondType>(plan, |_, n, span| of_day(n, span, SECOND) as i32),
        Time32(_) => timed::<Time32MillisecondType>(plan, |_, n, span| of_day(n, span, 1_000_000) as i32),
        Time64(Nanosecond) => timed::<Time64NanosecondType>(plan, |_, n, span| of_day(n, span, 1)),
        Time64(_) => timed::<Time64MicrosecondType>(plan, |_, n, span| of_day(n, span, 1_000)),
        Timestamp(Second, _) => past::<TimestampSecondType>(plan, SECOND)?,
        Timestamp(Millisecond, _) => past::<TimestampMillisecondType>(plan, 1_000_000)?,
        Timestamp(Microsecond, _) => past::<TimestampMicrosecondType>(plan, 1_000)?,
        Timestamp(Nanosecond, _) => past::<TimestampNanosecondType>(plan, 1)?,
        _ => return Err(plan.unsupported()),
    })
}

/// The time of day in units of `nanos`.
fn of_day(number: u64, span: &Span, nanos: i64) -> i64 {
    span.time(number).rem_euclid(DAY) / nanos
}

fn past<T: ArrowPrimitiveType<Native = i64>>(plan: &Plan<'_>, nanos: i64) -> Result<Make, Error> {
    let most = plan.field.duration("max-past")?.as_nanos() + 1;
    Ok(timed::<T>(plan, move |seed, number, span| {
        let past = i64::try_from(seed.below(number, most)).unwrap_or(i64::MAX);
        span.time(number).saturating_sub(past).div_euclid(nanos)
    }))
}

/// What makes `start`, `start + 1`, … `end` of a type.
pub(super) fn sequence(field: &Field<'_>, data_type: &DataType, start: i64, end: i64) -> Result<Make, Error> {
    fn made<T: ArrowPrimitiveType>(
        start: i64,
        data_type: &DataType,
        value: impl Fn(i64) -> T::Native + Send + Sync + 'static,
    ) -> Make {
        let data_type = data_type.clone();
        Arc::new(move |span| {
            let values: Vec<_> = span.numbers().map(|number| value(start.wrapping_add(number as i64))).collect();
            Arc::new(PrimitiveArray::<T>::new(values.into(), None).with_data_type(data_type.clone()))
        })
    }
    let fits = |least: i64, most: i64| {
        let inside = least <= start && end <= most;
        if inside { Ok(()) } else { Err(field.wrong(&format!("'start' and 'end' must be from {least} to {most}"))) }
    };
    let each = move |span: &Span| span.numbers().map(move |number| start.wrapping_add(number as i64));
    Ok(match data_type {
        DataType::Int8 => {
            fits(i8::MIN.into(), i8::MAX.into()).map(|()| made::<Int8Type>(start, data_type, |v| v as i8))?
        }
        DataType::Int16 => {
            fits(i16::MIN.into(), i16::MAX.into()).map(|()| made::<Int16Type>(start, data_type, |v| v as i16))?
        }
        DataType::Int32 => {
            fits(i32::MIN.into(), i32::MAX.into()).map(|()| made::<Int32Type>(start, data_type, |v| v as i32))?
        }
        DataType::Int64 => made::<Int64Type>(start, data_type, |value| value),
        DataType::Float32 => made::<Float32Type>(start, data_type, |value| value as f32),
        DataType::Float64 => made::<Float64Type>(start, data_type, |value| value as f64),
        DataType::Decimal128(precision, scale) if (0..=38).contains(scale) => {
            let unit = 10_i128.pow(u32::from(scale.unsigned_abs()));
            let most = 10_i128.pow(u32::from(*precision)) / unit - 1;
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            fits(-most, most)?;
            made::<Decimal128Type>(start, data_type, move |value| i128::from(value) * unit)
        }
        DataType::Utf8 => Arc::new(move |span| {
            Arc::new(arrow_array::StringArray::from_iter_values(each(span).map(|value| value.to_string())))
        }),
        DataType::LargeUtf8 => Arc::new(move |span| {
            Arc::new(arrow_array::LargeStringArray::from_iter_values(each(span).map(|value| value.to_string())))
        }),
        DataType::Utf8View => Arc::new(move |span| {
            Arc::new(arrow_array::StringViewArray::from_iter_values(each(span).map(|value| value.to_string())))
        }),
        DataType::Binary => {
            Arc::new(move |span| Arc::new(arrow_array::BinaryArray::from_iter_values(each(span).map(i64::to_be_bytes))))
        }
        DataType::BinaryView => Arc::new(move |span| {
            Arc::new(arrow_array::BinaryViewArray::from_iter_values(each(span).map(i64::to_be_bytes)))
        }),
        _ => return Err(field.wrong(&format!("there is no sequence of {data_type}"))),
    })
}
