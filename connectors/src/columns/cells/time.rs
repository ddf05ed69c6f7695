//! Dates and times in text: ISO 8601, with a blank or a `T` between date and time.

use arrow_buffer::IntervalMonthDayNano;
use arrow_schema::TimeUnit;

const DAY: i64 = 86_400;

/// Days since 1970-01-01 of a date `2020-04-15`.
pub(crate) fn date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    let (year, month, day) = match bytes {
        [y @ .., b'-', m1, m2, b'-', d1, d2] if y.len() == 4 => {
            (number(y)?, number(&[*m1, *m2])?, number(&[*d1, *d2])?)
        }
        _ => {
            let mut parts = text.splitn(3, '-').map(|part| (part.len() <= 4).then(|| number(part.as_bytes()))?);
            (parts.next()??, parts.next()??, parts.next()??)
        }
    };
    days(year, month, day)
}

/// Days since 1970-01-01 (the algorithm of Howard Hinnant's `days_from_civil`).
fn days(year: u32, month: u32, day: u32) -> Option<i32> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => return None,
    };
    if day == 0 || day > length {
        return None;
    }
    let year = year as i32 - i32::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month as i32 + 9) % 12) + 2) / 5 + day as i32 - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Year, month and day of a number of days since 1970-01-01: the inverse.
pub(crate) fn civil(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month as u32, day as u32)
}

fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit <= 9).then(|| number * 10 + u32::from(digit))
    })
}

/// Nanoseconds since midnight of `12:34`, `12:34:56` or `12:34:56.789`.
pub(crate) fn clock(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let two = |at: usize, most: u32| number(bytes.get(at..at + 2)?).filter(|number| *number <= most).map(i64::from);
    let (hour, minute) = (two(0, 23)?, two(3, 59)?);
    if bytes[2] != b':' {
        return None;
    }
    let seconds = hour * 3_600 + minute * 60;
    let (second, fraction) = match bytes.get(5..) {
        None | Some([]) => (0, 0),
        Some([b':', _, _]) => (two(6, 59)?, 0),
        Some([b':', _, _, b'.', fraction @ ..]) => (two(6, 59)?, nanos(fraction)?),
        _ => return None,
    };
    Some((seconds + second) * 1_000_000_000 + fraction)
}

/// Nanoseconds of a fraction of a second, of one to nine digits.
fn nanos(digits: &[u8]) -> Option<i64> {
    let number = number(digits.get(..digits.len().min(9))?)?;
    let rest = digits.get(9..).unwrap_or_default();
    let noughts = 9 - digits.len().min(9) as u32;
    rest.iter().all(u8::is_ascii_digit).then(|| i64::from(number) * 10i64.pow(noughts))
}

/// Units since 1970-01-01 00:00:00 of `2020-04-15 08:05:00.123`. Where `zoned`, `Z` or an offset such as `+02:00` may
/// follow; without one it is UTC.
pub(crate) fn timestamp(text: &str, unit: TimeUnit, zoned: bool) -> Option<i64> {
    let (text, offset) = if zoned { zone(text)? } else { (text, 0) };
    let (day, rest) = match memchr::memchr2(b' ', b'T', text.as_bytes()) {
        Some(at) => (date(&text[..at])?, clock(&text[at + 1..])?),
        None => (date(text)?, 0),
    };
    let seconds = i64::from(day) * DAY + rest / 1_000_000_000 - offset;
    let nanos = rest % 1_000_000_000;
    match unit {
        TimeUnit::Second => Some(seconds),
        TimeUnit::Millisecond => Some(seconds * 1_000 + nanos / 1_000_000),
        TimeUnit::Microsecond => Some(seconds * 1_000_000 + nanos / 1_000),
        TimeUnit::Nanosecond => seconds.checked_mul(1_000_000_000)?.checked_add(nanos),
    }
}

/// What is before the time zone, and its offset from UTC in seconds.
fn zone(text: &str) -> Option<(&str, i64)> {
    if let Some(text) = text.strip_suffix(['Z', 'z']) {
        return Some((text, 0));
    }
    // The hyphens of the date are not those of an offset.
    let Some(at) = text.rfind(['+', '-']).filter(|at| *at > 10) else { return Some((text, 0)) };
    let offset = &text[at + 1..];
    let (hours, minutes) = match offset.len() {
        2 => (offset, "00"),
        4 => offset.split_at_checked(2)?,
        5 => offset.split_once(':')?,
        _ => return None,
    };
    let (hours, minutes) = (number(hours.as_bytes())?, number(minutes.as_bytes())?);
    let seconds = i64::from(hours * 3_600 + minutes * 60);
    let valid = hours <= 18 && minutes < 60;
    valid.then(|| (text[..at].trim_end(), if text.as_bytes()[at] == b'-' { -seconds } else { seconds }))
}

/// An interval of days and less: its milliseconds.
pub(crate) fn interval(text: &str) -> Option<IntervalMonthDayNano> {
    let millis: i64 = text.trim().parse().ok()?;
    let (days, rest) = (millis / (DAY * 1_000), millis % (DAY * 1_000));
    Some(IntervalMonthDayNano::new(0, days.try_into().ok()?, rest * 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // Day by day over more than four hundred years, against counting.
        let (mut year, mut month, mut day) = (1899, 12, 31);
        let first = days(year, month, day).unwrap();
        for offset in 0..150_000 {
            assert_eq!(days(year, month, day), Some(first + offset));
            assert_eq!(civil(i64::from(first + offset)), (i64::from(year), month, day));
            day += 1;
            if days(year, month, day).is_none() {
                (month, day) = (month + 1, 1);
            }
            if month == 13 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!(days(1970, 1, 1), Some(0));
    }

    #[test]
    fn timestamps() {
        let millis = |text| timestamp(text, TimeUnit::Millisecond, false);
        assert_eq!(millis("1970-01-02 00:00:00.123"), Some(86_400_123));
        assert_eq!(millis("1970-01-02T00:00:01"), Some(86_401_000));
        assert_eq!(millis("1969-12-31 23:59:59.9"), Some(-100));
        for wrong in ["", "1970-01-02 00:00:00Z", "1970-13-02", "1970-02-29", "1970-01-02 24:00", "1970-01-02 1:00"] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
        let zoned = |text| timestamp(text, TimeUnit::Second, true);
        assert_eq!(zoned("1970-01-01 02:00:00+02:00"), Some(0));
        assert_eq!(zoned("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(zoned("1970-01-01 00:00:00-0130"), Some(5_400));
        assert_eq!(zoned("1970-01-01"), Some(0));
    }
}
