//! Dates, times and spans of time.

use arrow_schema::TimeUnit;

use super::{Style, put};
use crate::columns::cells::time::civil;

const DAY: i64 = 86_400;
const NANOS: i64 = 1_000_000_000;

/// How many of a unit are a second.
pub(super) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => NANOS,
    }
}

/// `2020-04-15`, of days since 1970.
pub(super) fn date(days: i64, style: Style, out: &mut String) {
    let (year, month, day) = civil(days);
    let sign = if year < 0 { "-" } else { ["", "+"][usize::from(style == Style::Java && year > 9_999)] };
    put(out, format_args!("{sign}{:04}-{month:02}-{day:02}", year.abs()));
}

/// A time of day, since midnight. Without a fraction where that is nothing.
pub(super) fn time(value: i64, unit: TimeUnit, style: Style, out: &mut String) {
    let per_second = per_second(unit);
    let nanos = value.rem_euclid(per_second) * (NANOS / per_second);
    clock(value.div_euclid(per_second), nanos, style == Style::Java, groups(nanos), out);
}

/// A timestamp, since 1970; `is_instant` where it is one everywhere, not by a local clock: then it ends in `Z`.
pub(super) fn timestamp(value: i64, unit: TimeUnit, is_instant: bool, style: Style, out: &mut String) {
    let per_second = per_second(unit);
    let (seconds, nanos) = (value.div_euclid(per_second), value.rem_euclid(per_second) * (NANOS / per_second));
    date(seconds.div_euclid(DAY), style, out);
    let is_java = style == Style::Java;
    out.push(if is_java { 'T' } else { ' ' });
    let digits = if is_java { groups(nanos) } else { per_second.ilog10() as usize };
    clock(seconds.rem_euclid(DAY), nanos, is_java && !is_instant, digits, out);
    out.push_str(if is_instant { "Z" } else { "" });
}

/// How many digits of a second Java writes: none, three, six or nine.
fn groups(nanos: i64) -> usize {
    match nanos {
        0 => 0,
        _ if nanos % 1_000_000 == 0 => 3,
        _ if nanos % 1_000 == 0 => 6,
        _ => 9,
    }
}

/// `08:05:00`, and so many digits after; `08:05` where that says all and is short enough.
fn clock(second: i64, nanos: i64, is_short: bool, digits: usize, out: &mut String) {
    put(out, format_args!("{:02}:{:02}", second / 3_600, second / 60 % 60));
    if is_short && second % 60 == 0 && nanos == 0 {
        return;
    }
    put(out, format_args!(":{:02}", second % 60));
    if digits > 0 {
        let fraction = format!("{nanos:09}");
        put(out, format_args!(".{}", &fraction[..digits.min(9)]));
    }
}

/// Years and months: `P1Y2M` as Java has it, `+1-02` in SQL.
pub(super) fn months(months: i32, style: Style, out: &mut String) {
    if style == Style::Java {
        let (years, months) = (months / 12, months % 12);
        out.push('P');
        for (part, unit) in [(years, 'Y'), (months, 'M')].into_iter().filter(|(part, _)| *part != 0) {
            put(out, format_args!("{part}{unit}"));
        }
        return out.push_str(if (years, months) == (0, 0) { "0D" } else { "" });
    }
    let all = months.unsigned_abs();
    put(out, format_args!("{}{}-{:02}", if months < 0 { '-' } else { '+' }, all / 12, all % 12));
}

/// A span of time: `PT25H0.5S` as Java has it, `+1 01:00:00.500` in SQL; months go before it where there are any.
pub(super) fn span(part: i32, days: i32, nanos: i128, style: Style, out: &mut String) {
    if part != 0 {
        months(part, style, out);
        out.push(' ');
    }
    let nanos = i128::from(days) * i128::from(DAY * NANOS) + nanos;
    let (sign, second) = (if nanos < 0 { "-" } else { "" }, i128::from(NANOS));
    let (seconds, fraction) = (nanos.unsigned_abs() / second as u128, (nanos.unsigned_abs() % second as u128) as i64);
    if style == Style::Java {
        return duration(sign, seconds, fraction, out);
    }
    let (days, rest) = (seconds / DAY as u128, (seconds % DAY as u128) as i64);
    put(out, format_args!("{}{days} ", if nanos < 0 { '-' } else { '+' }));
    clock(rest, fraction, false, groups(fraction).max(3), out);
}

/// ISO 8601 in hours, minutes and seconds, each with the sign.
fn duration(sign: &str, seconds: u128, nanos: i64, out: &mut String) {
    out.push_str("PT");
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    for (part, unit) in [(hours, 'H'), (minutes, 'M')].into_iter().filter(|(part, _)| *part != 0) {
        put(out, format_args!("{sign}{part}{unit}"));
    }
    if (rest, nanos) == (0, 0) && seconds > 0 {
        return;
    }
    let fraction = format!("{nanos:09}");
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    put(out, format_args!("{}{rest}{point}{fraction}S", if (rest, nanos) == (0, 0) { "" } else { sign }));
}
