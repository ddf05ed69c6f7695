//! Dates and times: parts of them, steps between them, and their text. What the clock shows now is in [`super::clock`].

use std::ops::Range;
use std::sync::Arc;

use arrow::array::builder::StringViewBuilder;
use arrow::array::{ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, StringViewArray};
use arrow::datatypes::{DataType, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use chrono::{Datelike, Duration, NaiveDateTime, Timelike};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::ScalarUDF;

use super::format::{Format, read_default};
use super::moment::{Moments, Unit, column, moments, recast};
use super::scalar::Kind::{Int, Moment, Text, Word};
use super::scalar::{Call, Given, Gives, Scalar, Takes, scalar};
use super::zone::Zone;

/// The functions on dates and times.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let parts = PARTS.iter().map(|&(name, field)| part(name, field));
    parts.chain(steps()).chain(texts()).map(Into::into).collect()
}

const PARTS: &[(&str, &str)] = &[
    ("year", "YEAR"),
    ("quarter", "QUARTER"),
    ("month", "MONTH"),
    ("week", "WEEK"),
    ("dayofyear", "DOY"),
    ("dayofmonth", "DAY"),
    ("dayofweek", "DOW"),
    ("hour", "HOUR"),
    ("minute", "MINUTE"),
    ("second", "SECOND"),
];

fn steps() -> Vec<Scalar> {
    vec![
        scalar("extract", Takes::By(extract_types), Gives::LONG, extract),
        scalar("timestampadd", Takes::all(&[Word, Int, Moment]), Gives::By(added), add),
        scalar("timestampdiff", Takes::all(&[Text, Moment, Moment]), Gives::INT, difference),
        scalar("floor_to", Takes::all(&[Moment, Text]), Gives::FIRST, |call| rounded(call, Unit::floor)),
        scalar("ceil_to", Takes::all(&[Moment, Text]), Gives::FIRST, |call| rounded(call, Unit::ceil)),
        scalar("overlaps", Takes::By(spans), Gives::FLAG, overlaps),
    ]
}

fn texts() -> Vec<Scalar> {
    let stamp = |zone: Option<&str>| Gives::Type(DataType::Timestamp(TimeUnit::Millisecond, zone.map(Into::into)));
    vec![
        scalar("date_format", Takes::all(&[Moment, Text]), Gives::TEXT, date_format),
        scalar("convert_tz", Takes::all(&[Text, Text, Text]), Gives::TEXT, convert_tz),
        scalar("from_unixtime", Takes::Some(&[Int, Text], 1), Gives::TEXT, from_unixtime),
        scalar("to_date", Takes::Some(&[Text, Text], 1), Gives::Type(DataType::Date32), |call| {
            read_column(call, Zone::UTC)
        }),
        scalar("to_timestamp", Takes::Some(&[Text, Text], 1), stamp(None), |call| read_column(call, Zone::UTC)),
        scalar("to_timestamp_ltz", Takes::By(ltz_types), stamp(Some("UTC")), to_timestamp_ltz),
    ]
}

fn part(name: &'static str, field: &'static str) -> Scalar {
    scalar(name, Takes::all(&[Moment]), Gives::LONG, move |call| {
        let moments = moments(call, 0)?;
        let parts = moments.iter().map(|moment| moment.map(|moment| field_of(field, moment)).transpose());
        Ok(Arc::new(parts.collect::<Result<Int64Array>>()?))
    })
}

fn field_of(field: &str, moment: NaiveDateTime) -> Result<i64> {
    let (date, year) = (moment.date(), i64::from(moment.year()));
    let nanos = i64::from(moment.second()) * 1_000_000_000 + i64::from(moment.nanosecond());
    Ok(match field {
        "YEAR" => year,
        "QUARTER" => i64::from(date.month0() / 3 + 1),
        "MONTH" => i64::from(date.month()),
        "WEEK" => i64::from(date.iso_week().week()),
        "DAY" => i64::from(date.day()),
        "DOY" => i64::from(date.ordinal()),
        "DOW" => i64::from(date.weekday().number_from_sunday()),
        "ISODOW" => i64::from(date.weekday().number_from_monday()),
        "ISOYEAR" => i64::from(date.iso_week().year()),
        "HOUR" => i64::from(moment.hour()),
        "MINUTE" => i64::from(moment.minute()),
        "SECOND" => i64::from(moment.second()),
        "MILLISECOND" => nanos / 1_000_000,
        "MICROSECOND" => nanos / 1_000,
        "NANOSECOND" => nanos,
        "EPOCH" => moment.and_utc().timestamp(),
        "DECADE" => year.div_euclid(10),
        "CENTURY" => (year + 99).div_euclid(100),
        "MILLENNIUM" => (year + 999).div_euclid(1000),
        _ => return exec_err!("EXTRACT has no unit {field}"),
    })
}

/// Intervals have parts too.
fn extract_types(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [_, DataType::Interval(_)] => Ok(vec![DataType::Utf8View, DataType::Interval(IntervalUnit::MonthDayNano)]),
        [_, from] if from.is_temporal() => Ok(vec![DataType::Utf8View, from.clone()]),
        [_, from] if from.is_string() || from.is_null() => {
            Ok(vec![DataType::Utf8View, DataType::Timestamp(TimeUnit::Millisecond, None)])
        }
        _ => plan_err!("EXTRACT takes a unit, and a date, a time, a timestamp or an interval"),
    }
}

fn extract(call: &Call) -> Result<ArrayRef> {
    let fields = call.text(0)?;
    let field = |row| fields.at(row).unwrap_or_default().to_uppercase();
    if matches!(call.fields[1].data_type(), DataType::Interval(_)) {
        let intervals = call.whole(1)?;
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>().iter().enumerate();
        let parts = intervals.map(|(row, span)| span.map(|span| span_field(&field(row), span)).transpose());
        return Ok(Arc::new(parts.collect::<Result<Int64Array>>()?));
    }
    let moments = moments(call, 1)?;
    let parts =
        moments.iter().enumerate().map(|(row, moment)| moment.map(|moment| field_of(&field(row), moment)).transpose());
    Ok(Arc::new(parts.collect::<Result<Int64Array>>()?))
}

fn span_field(field: &str, span: arrow::datatypes::IntervalMonthDayNano) -> Result<i64> {
    let (months, nanos) = (i64::from(span.months), span.nanoseconds);
    let days = i64::from(span.days) + nanos / 86_400_000_000_000;
    Ok(match field {
        "YEAR" => months / 12,
        "QUARTER" => months % 12 / 3 + 1,
        "MONTH" => months % 12,
        "DAY" => days,
        "HOUR" => nanos / 3_600_000_000_000 % 24,
        "MINUTE" => nanos / 60_000_000_000 % 60,
        "SECOND" => nanos / 1_000_000_000 % 60,
        "MILLISECOND" => nanos / 1_000_000 % 60_000,
        _ => return exec_err!("EXTRACT has no unit {field} of an interval"),
    })
}

/// A date plus hours is a timestamp.
fn added(given: &Given<'_>) -> Result<DataType> {
    let unit = given.text(0).map(Unit::named).transpose()?;
    Ok(match given.of(2) {
        DataType::Date32 if unit.is_some_and(|unit| unit < Unit::Day) => {
            DataType::Timestamp(TimeUnit::Millisecond, None)
        }
        other => other,
    })
}

fn add(call: &Call) -> Result<ArrayRef> {
    let (units, count, moments) = (call.text(0)?, call.int(1)?, moments(call, 2)?);
    let sums = moments.iter().enumerate().map(|(row, moment)| {
        let (Some(moment), Some(count), Some(unit)) = (moment, count.at(row), units.at(row)) else { return Ok(None) };
        match Unit::named(unit)?.add(*moment, count) {
            Some(sum) => Ok(Some(sum)),
            None => Err(call.error(format!("{moment} plus {count} {unit} is out of range"))),
        }
    });
    column(&sums.collect::<Result<Vec<_>>>()?, &call.result, call.zone)
}

fn difference(call: &Call) -> Result<ArrayRef> {
    let (units, from, to) = (call.text(0)?, moments(call, 1)?, moments(call, 2)?);
    call.try_each::<Int32Array, _>(|row| {
        let (Some(from), Some(to), Some(unit)) = (from[row], to[row], units.at(row)) else { return Ok(None) };
        let between = Unit::named(unit)?.between(from, to);
        let small =
            i32::try_from(between).map_err(|_| call.error(format!("{between} {unit} are more than an INT holds")));
        small.map(Some)
    })
}

fn rounded(call: &Call, round: fn(Unit, NaiveDateTime) -> Option<NaiveDateTime>) -> Result<ArrayRef> {
    let (moments, units) = (moments(call, 0)?, call.text(1)?);
    let rounded = moments.iter().enumerate().map(|(row, moment)| match (moment, units.at(row)) {
        (Some(moment), Some(unit)) => Ok(round(Unit::named(unit)?, *moment)),
        _ => Ok(None),
    });
    column(&rounded.collect::<Result<Vec<_>>>()?, &call.result, call.zone)
}

/// Start, end, start, end; where an end may be how long it takes.
fn spans(given: &[DataType]) -> Result<Vec<DataType>> {
    if given.len() != 4 {
        return plan_err!("OVERLAPS takes two pairs: (start, end) OVERLAPS (start, end)");
    }
    let each = given.iter().enumerate().map(|(place, given)| match given {
        DataType::Interval(_) if place % 2 == 1 => Ok(DataType::Interval(IntervalUnit::MonthDayNano)),
        DataType::Interval(_) => plan_err!("OVERLAPS takes a point in time first in a pair"),
        other if other.is_temporal() => Ok(other.clone()),
        other => plan_err!("OVERLAPS takes points in time and intervals, and {other} was given"),
    });
    each.collect()
}

fn overlaps(call: &Call) -> Result<ArrayRef> {
    let (a, b) = (span(call, 0)?, span(call, 2)?);
    call.each::<BooleanArray, _>(|row| {
        let ((a, b), (c, d)) = (a[row]?, b[row]?);
        Some(a <= d && c <= b)
    })
}

type Span = Option<(NaiveDateTime, NaiveDateTime)>;

fn span(call: &Call, place: usize) -> Result<Vec<Span>> {
    let starts = moments(call, place)?;
    let ends = if matches!(call.fields[place + 1].data_type(), DataType::Interval(_)) {
        let lengths = call.whole(place + 1)?;
        let lengths = lengths.as_primitive::<IntervalMonthDayNanoType>().iter();
        starts.iter().zip(lengths).map(|(start, length)| later((*start)?, length?)).collect()
    } else {
        moments(call, place + 1)?
    };
    let pairs = starts.into_iter().zip(ends);
    Ok(pairs.map(|(start, end)| Some((start?.min(end?), start?.max(end?)))).collect())
}

fn later(start: NaiveDateTime, length: arrow::datatypes::IntervalMonthDayNano) -> Option<NaiveDateTime> {
    let days = Unit::Day.add(Unit::Month.add(start, i64::from(length.months))?, i64::from(length.days))?;
    days.checked_add_signed(Duration::nanoseconds(length.nanoseconds))
}

/// The format of the row before: most often, that of each row.
#[derive(Default)]
struct Formats(Option<Last>);

struct Last {
    pattern: String,
    format: Format,
    /// What was written last, and the moments that it is of: rows that follow each other are most often of the same day.
    text: String,
    of: Range<i64>,
}

impl Formats {
    fn last(&mut self, pattern: &str) -> Result<&mut Last> {
        self.0.take_if(|last| last.pattern != pattern);
        match &mut self.0 {
            Some(last) => Ok(last),
            none => {
                let (format, pattern) = (Format::new(pattern)?, pattern.to_owned());
                Ok(none.insert(Last { pattern, format, text: String::new(), of: 0..0 }))
            }
        }
    }

    fn get(&mut self, pattern: &str) -> Result<&Format> {
        Ok(&self.last(pattern)?.format)
    }

    /// What clocks show in a row, as text.
    fn write(&mut self, pattern: &str, moments: &Moments, row: usize, zone: Zone) -> Result<Option<&str>> {
        let (last, Some(tick)) = (self.last(pattern)?, moments.tick(row)) else { return Ok(None) };
        if !last.of.contains(&tick) {
            let Some(moment) = moments.at(row) else { return Ok(None) };
            last.text = last.format.write(moment, zone.offset(zone.utc(moment)));
            last.of = last.format.step().map_or(0..0, |step| moments.step_around(tick, step));
        }
        Ok(Some(&last.text))
    }
}

const DEFAULT: &str = "yyyy-MM-dd HH:mm:ss";

fn date_format(call: &Call) -> Result<ArrayRef> {
    let (moments, patterns) = (Moments::of(&call.whole(0)?, call.zone)?, call.text(1)?);
    let (mut formats, mut texts) = (Formats::default(), StringViewBuilder::with_capacity(call.rows));
    for row in 0..call.rows {
        match patterns.at(row) {
            Some(pattern) => texts.append_option(formats.write(pattern, &moments, row, call.zone)?),
            None => texts.append_null(),
        }
    }
    Ok(Arc::new(texts.finish()))
}

fn from_unixtime(call: &Call) -> Result<ArrayRef> {
    let (seconds, patterns) = (call.int(0)?, call.text_or(1, DEFAULT)?);
    let mut formats = Formats::default();
    call.try_each::<StringViewArray, _>(|row| {
        let (Some(seconds), Some(pattern)) = (seconds.at(row), patterns.at(row)) else { return Ok(None) };
        let Some(utc) = chrono::DateTime::from_timestamp(seconds, 0) else {
            return Err(call.error(format!("{seconds} seconds are out of range")));
        };
        let utc = utc.naive_utc();
        Ok(Some(formats.get(pattern)?.write(call.zone.local(utc), call.zone.offset(utc))))
    })
}

fn convert_tz(call: &Call) -> Result<ArrayRef> {
    let (text, from, to) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let format = Format::new(DEFAULT)?;
    call.try_each::<StringViewArray, _>(|row| {
        let (Some(text), Some(from), Some(to)) = (text.at(row), from.at(row), to.at(row)) else { return Ok(None) };
        let (from, to) = (Zone::named(from)?, Zone::named(to)?);
        let utc = read_default(text).map(|local| from.utc(local));
        Ok(utc.map(|utc| format.write(to.local(utc), to.offset(utc))))
    })
}

/// The moments in a column of strings, of the format in the second argument: NULL where there is none.
fn read_column(call: &Call, zone: Zone) -> Result<ArrayRef> {
    let moments = read_texts(call)?;
    column(&moments, &call.result, zone)
}

fn read_texts(call: &Call) -> Result<Vec<Option<NaiveDateTime>>> {
    let text = call.text(0)?;
    if call.len() == 1 {
        return Ok((0..call.rows).map(|row| read_default(text.at(row)?)).collect());
    }
    let patterns = call.text(1)?;
    let mut formats = Formats::default();
    let read = (0..call.rows).map(|row| {
        let (Some(text), Some(pattern)) = (text.at(row), patterns.at(row)) else { return Ok(None) };
        let read = formats.get(pattern)?.read(text);
        Ok(read.filter(|(_, _, length)| *length == text.len()).map(|(moment, _, _)| moment))
    });
    read.collect()
}

fn ltz_types(given: &[DataType]) -> Result<Vec<DataType>> {
    let text = |given: &DataType| given.is_string() || given.is_null();
    match given {
        [number] if number.is_integer() => Ok(vec![DataType::Int64]),
        [number] if number.is_numeric() => Ok(vec![DataType::Float64]),
        [number, precision] if number.is_integer() && precision.is_integer() => Ok(vec![DataType::Int64; 2]),
        [number, precision] if number.is_numeric() && precision.is_integer() => {
            Ok(vec![DataType::Float64, DataType::Int64])
        }
        [_] | [_, _] | [_, _, _] if given.iter().all(text) => Ok(vec![DataType::Utf8View; given.len()]),
        _ => plan_err!(
            "TO_TIMESTAMP_LTZ takes a number and its precision (0 or 3), or a string, a format and a time zone"
        ),
    }
}

fn to_timestamp_ltz(call: &Call) -> Result<ArrayRef> {
    if call.fields[0].data_type().is_string() {
        let zones = call.text_or(2, "UTC")?;
        let moments = read_texts(call)?;
        let utc = moments.into_iter().enumerate().map(|(row, moment)| match (moment, zones.at(row)) {
            (Some(moment), Some(zone)) => Ok(Some(Zone::named(zone)?.utc(moment))),
            _ => Ok(None),
        });
        return column(&utc.collect::<Result<Vec<_>>>()?, &call.result, Zone::UTC);
    }
    let (numbers, precision) = (recast(&call.whole(0)?, &DataType::Float64)?, call.int_or(1, 3)?);
    let (numbers, exact) = (numbers.as_primitive::<arrow::datatypes::Float64Type>().clone(), call.whole(0)?);
    let exact = arrow::compute::cast(&exact, &DataType::Int64)?;
    let exact = exact.as_primitive::<arrow::datatypes::Int64Type>();
    let millis = call.try_each::<Int64Array, _>(|row| match precision.at(row) {
        _ if !arrow::array::Array::is_valid(&numbers, row) => Ok(None),
        None => Ok(None),
        Some(0) if numbers.value(row).fract() == 0.0 => Ok(exact.value(row).checked_mul(1000)),
        Some(0) => Ok(Some((numbers.value(row) * 1000.0) as i64)),
        Some(3) => Ok(Some(exact.value(row))),
        Some(other) => Err(call.error(format!("the precision is 0 (seconds) or 3 (milliseconds), not {other}"))),
    })?;
    recast(&millis, &call.result)
}
