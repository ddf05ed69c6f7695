//! Points in time: dates, times and timestamps as what clocks show, and back. The steps of TIMESTAMPADD and FLOOR are here.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int64Array, Time32MillisecondArray, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, Datelike, Duration, Months, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use datafusion_common::{Result, plan_err};

use super::scalar::Call;
use super::zone::Zone;

/// What clocks show in each row: in the session's zone for `TIMESTAMP_LTZ`, on the first day of 1970 for a time of day.
pub(super) fn moments(call: &Call, place: usize) -> Result<Vec<Option<NaiveDateTime>>> {
    local(&call.whole(place)?, call.zone)
}

/// What clocks show in each row of a column: in this zone for `TIMESTAMP_LTZ`.
pub(super) fn local(values: &ArrayRef, zone: Zone) -> Result<Vec<Option<NaiveDateTime>>> {
    let moments = Moments::of(values, zone)?;
    Ok((0..values.len()).map(|row| moments.at(row)).collect())
}

/// The points in time of a column, for whoever does not want them all.
pub(super) struct Moments {
    /// Since 1970, in UTC.
    ticks: Int64Array,
    unit: TimeUnit,
    zone: Zone,
}

impl Moments {
    /// Those of a column: what clocks show in this zone for `TIMESTAMP_LTZ`, else what the column says.
    pub(super) fn of(values: &ArrayRef, zone: Zone) -> Result<Self> {
        let (values, unit, zone) = match values.data_type() {
            DataType::Timestamp(unit, Some(_)) => (Arc::clone(values), *unit, zone),
            DataType::Timestamp(unit, None) => (Arc::clone(values), *unit, Zone::UTC),
            _ => (micros(values)?, TimeUnit::Microsecond, Zone::UTC),
        };
        Ok(Self { ticks: recast(&values, &DataType::Int64)?.as_primitive().clone(), unit, zone })
    }

    /// What clocks show; `None` for NULL and for what no calendar holds.
    pub(super) fn at(&self, row: usize) -> Option<NaiveDateTime> {
        let ticks = self.tick(row)?;
        let utc = match self.unit {
            TimeUnit::Second => DateTime::from_timestamp_secs(ticks),
            TimeUnit::Millisecond => DateTime::from_timestamp_millis(ticks),
            TimeUnit::Microsecond => DateTime::from_timestamp_micros(ticks),
            TimeUnit::Nanosecond => Some(DateTime::from_timestamp_nanos(ticks)),
        };
        Some(self.zone.local(utc?.naive_utc()))
    }

    /// The number behind it.
    pub(super) fn tick(&self, row: usize) -> Option<i64> {
        self.ticks.is_valid(row).then(|| self.ticks.value(row))
    }

    /// The numbers behind all moments of the same step of so many seconds, of an hour or of a day; none where clocks are
    /// changed within it.
    pub(super) fn step_around(&self, tick: i64, seconds: i64) -> Range<i64> {
        let second = match self.unit {
            TimeUnit::Second => 1,
            TimeUnit::Millisecond => 1_000,
            TimeUnit::Microsecond => 1_000_000,
            TimeUnit::Nanosecond => 1_000_000_000,
        };
        let offset =
            |utc| Some(i64::from(self.zone.offset(DateTime::from_timestamp_secs(utc)?.naive_utc()).local_minus_utc()));
        let range = || {
            let utc = tick.div_euclid(second);
            let early = offset(utc)?;
            let start = (utc + early).div_euclid(seconds) * seconds - early;
            let end = start + seconds;
            let is_steady = offset(start)? == early && offset(end - 1)? == early;
            is_steady.then_some(start.checked_mul(second)?..end.checked_mul(second)?)
        };
        range().unwrap_or_default()
    }
}

fn micros(values: &ArrayRef) -> Result<ArrayRef> {
    let to = DataType::Timestamp(TimeUnit::Microsecond, None);
    if matches!(values.data_type(), DataType::Time32(_) | DataType::Time64(_)) {
        let micros = recast(values, &DataType::Time64(TimeUnit::Microsecond))?;
        return recast(&recast(&micros, &DataType::Int64)?, &to);
    }
    recast(values, &to)
}

/// A cast that fails rather than give NULL.
pub(super) fn recast(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    Ok(cast_with_options(values, to, &CastOptions { safe: false, ..CastOptions::default() })?)
}

/// A column of this type.
pub(super) fn column(moments: &[Option<NaiveDateTime>], to: &DataType, zone: Zone) -> Result<ArrayRef> {
    let values: ArrayRef = match to {
        DataType::Date32 => {
            let day =
                |moment: &NaiveDateTime| moment.date().signed_duration_since(NaiveDate::default()).num_days() as i32;
            Arc::new(moments.iter().map(|moment| moment.as_ref().map(day)).collect::<Date32Array>())
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            let milli =
                |moment: &NaiveDateTime| moment.time().signed_duration_since(NaiveTime::MIN).num_milliseconds() as i32;
            Arc::new(moments.iter().map(|moment| moment.as_ref().map(milli)).collect::<Time32MillisecondArray>())
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zoned) => {
            let zone = if zoned.is_some() { zone } else { Zone::UTC };
            let nanos = moments.iter().map(|moment| zone.utc((*moment)?).and_utc().timestamp_nanos_opt());
            Arc::new(nanos.collect::<Int64Array>())
        }
        DataType::Timestamp(_, zoned) => {
            let zone = if zoned.is_some() { zone } else { Zone::UTC };
            let micros = moments.iter().map(|moment| Some(zone.utc((*moment)?).and_utc().timestamp_micros()));
            let micros = micros.collect::<TimestampMicrosecondArray>();
            Arc::new(micros.with_timezone_opt(zoned.clone()))
        }
        other => return plan_err!("{other} is no date, time or timestamp"),
    };
    recast(&values, to)
}

/// A unit of time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Unit {
    Nanosecond,
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
}

impl Unit {
    /// The unit of this name.
    pub(super) fn named(name: &str) -> Result<Self> {
        let upper = name.to_uppercase();
        let singular = upper.strip_prefix("SQL_TSI_").unwrap_or(&upper);
        Ok(match singular.strip_suffix('S').unwrap_or(singular) {
            "NANOSECOND" => Self::Nanosecond,
            "MICROSECOND" => Self::Microsecond,
            "MILLISECOND" => Self::Millisecond,
            "SECOND" => Self::Second,
            "MINUTE" => Self::Minute,
            "HOUR" => Self::Hour,
            "DAY" => Self::Day,
            "WEEK" => Self::Week,
            "MONTH" => Self::Month,
            "QUARTER" => Self::Quarter,
            "YEAR" => Self::Year,
            "DECADE" => Self::Decade,
            "CENTURY" => Self::Century,
            "MILLENNIUM" => Self::Millennium,
            _ => {
                return plan_err!(
                    "there is no unit of time {name}: write SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER or YEAR"
                );
            }
        })
    }

    fn months(self) -> Option<i64> {
        match self {
            Self::Month => Some(1),
            Self::Quarter => Some(3),
            Self::Year => Some(12),
            Self::Decade => Some(120),
            Self::Century => Some(1200),
            Self::Millennium => Some(12_000),
            _ => None,
        }
    }

    fn span(self) -> Duration {
        match self {
            Self::Nanosecond => Duration::nanoseconds(1),
            Self::Microsecond => Duration::microseconds(1),
            Self::Millisecond => Duration::milliseconds(1),
            Self::Second => Duration::seconds(1),
            Self::Minute => Duration::minutes(1),
            Self::Hour => Duration::hours(1),
            Self::Week => Duration::weeks(1),
            _ => Duration::days(1),
        }
    }

    /// The moment so many units later; none where that is out of range.
    pub(super) fn add(self, moment: NaiveDateTime, count: i64) -> Option<NaiveDateTime> {
        if let Some(months) = self.months() {
            let months = months.checked_mul(count)?;
            let span = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
            return if months < 0 { moment.checked_sub_months(span) } else { moment.checked_add_months(span) };
        }
        let span = self.span();
        let nanos = i128::from(span.num_nanoseconds()?) * i128::from(count);
        let (seconds, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
        moment.checked_add_signed(Duration::new(i64::try_from(seconds).ok()?, nanos as u32)?)
    }

    /// How many whole units lie between two moments; negative where the second is the earlier one.
    pub(super) fn between(self, from: NaiveDateTime, to: NaiveDateTime) -> i64 {
        let Some(months) = self.months() else {
            let span = self.span();
            let nanos =
                |span: Duration| i128::from(span.num_seconds()) * 1_000_000_000 + i128::from(span.subsec_nanos());
            return (nanos(to - from) / nanos(span)) as i64;
        };
        let month = |moment: NaiveDateTime| i64::from(moment.year()) * 12 + i64::from(moment.month0());
        let in_month = |moment: NaiveDateTime| (moment.day(), moment.time());
        let mut whole = month(to) - month(from);
        whole -= i64::from(whole > 0 && in_month(to) < in_month(from));
        whole += i64::from(whole < 0 && in_month(to) > in_month(from));
        whole / months
    }

    /// The start of the unit that the moment is in. Weeks start on Sundays.
    pub(super) fn floor(self, moment: NaiveDateTime) -> Option<NaiveDateTime> {
        let date = moment.date();
        let midnight = NaiveTime::MIN;
        if let Some(months) = self.months() {
            let month = i64::from(date.year()) * 12 + i64::from(date.month0());
            let past = if months > 12 { 12 } else { 0 };
            // Centuries and millennia begin with their year 1; decades with their year 0.
            let past = if self == Self::Decade { 0 } else { past };
            let start = (month - past).div_euclid(months) * months + past;
            let first = NaiveDate::from_ymd_opt(start.div_euclid(12) as i32, start.rem_euclid(12) as u32 + 1, 1)?;
            return Some(first.and_time(midnight));
        }
        match self {
            Self::Day => Some(date.and_time(midnight)),
            Self::Week => {
                let past = i64::from(date.weekday().num_days_from_sunday());
                Some((date - Duration::days(past)).and_time(midnight))
            }
            _ => {
                let span = self.span().num_nanoseconds()?;
                let past = moment.num_seconds_from_midnight() as i64 * 1_000_000_000 + i64::from(moment.nanosecond());
                Some(date.and_time(midnight) + Duration::nanoseconds(past - past % span))
            }
        }
    }

    /// The moment itself where a unit starts, else the start of the next unit.
    pub(super) fn ceil(self, moment: NaiveDateTime) -> Option<NaiveDateTime> {
        let floor = self.floor(moment)?;
        if floor == moment { Some(moment) } else { self.add(floor, 1) }
    }
}
