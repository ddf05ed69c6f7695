//! Constant intervals, as spans of time.

use datafusion_common::ScalarValue;

/// The nanoseconds of an interval of days and less; none of one with months, of which the length is not known.
pub(crate) fn nanos(interval: &ScalarValue) -> Option<i128> {
    const DAY: i128 = 86_400_000_000_000;
    match interval {
        ScalarValue::IntervalMonthDayNano(Some(span)) if span.months == 0 => {
            Some(i128::from(span.days) * DAY + i128::from(span.nanoseconds))
        }
        ScalarValue::IntervalDayTime(Some(span)) => {
            Some(i128::from(span.days) * DAY + i128::from(span.milliseconds) * 1_000_000)
        }
        _ => None,
    }
}

/// The same in microseconds, if they can be counted.
pub(crate) fn micros(interval: &ScalarValue) -> Option<i64> {
    i64::try_from(nanos(interval)? / 1_000).ok()
}
