//! Spans of time as the server writes them: `P1Y2M3DT4H5M-6.000007S`.

use std::sync::Arc;

use arrow_array::builder::{IntervalMonthDayNanoBuilder, IntervalYearMonthBuilder};
use arrow_array::{Array, ArrayRef, StringViewArray};
use arrow_buffer::IntervalMonthDayNano;
use arrow_schema::IntervalUnit;

/// The spans, or the row of one that is none.
pub(super) fn convert(texts: &StringViewArray, unit: IntervalUnit) -> Result<ArrayRef, usize> {
    let parsed = texts.iter().enumerate().map(|(row, text)| match text {
        None => Ok(None),
        Some(text) => parse(text).map(Some).ok_or(row),
    });
    let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
    if unit != IntervalUnit::YearMonth {
        let mut builder = IntervalMonthDayNanoBuilder::with_capacity(texts.len());
        parsed.into_iter().for_each(|span| builder.append_option(span));
        return Ok(Arc::new(builder.finish()));
    }
    let mut builder = IntervalYearMonthBuilder::with_capacity(texts.len());
    for (row, span) in parsed.into_iter().enumerate() {
        match span {
            Some(span) if span.days != 0 || span.nanoseconds != 0 => return Err(row),
            span => builder.append_option(span.map(|span| span.months)),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn parse(text: &str) -> Option<IntervalMonthDayNano> {
    let (mut months, mut days, mut nanos, mut in_time) = (0_i32, 0_i32, 0_i64, false);
    let mut rest = text.strip_prefix('P')?;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T') {
            (rest, in_time) = (after, true);
            continue;
        }
        let end = rest.find(|char: char| char.is_ascii_alphabetic())?;
        let (number, unit) = (&rest[..end], rest.as_bytes()[end]);
        rest = &rest[end + 1..];
        let whole = || number.parse::<i32>().ok();
        let clock = |seconds: i64| number.parse::<i64>().ok()?.checked_mul(seconds * 1_000_000_000);
        match (in_time, unit) {
            (false, b'Y') => months = months.checked_add(whole()?.checked_mul(12)?)?,
            (false, b'M') => months = months.checked_add(whole()?)?,
            (false, b'W') => days = days.checked_add(whole()?.checked_mul(7)?)?,
            (false, b'D') => days = days.checked_add(whole()?)?,
            (true, b'H') => nanos = nanos.checked_add(clock(3_600)?)?,
            (true, b'M') => nanos = nanos.checked_add(clock(60)?)?,
            (true, b'S') => nanos = nanos.checked_add(seconds(number)?)?,
            _ => return None,
        }
    }
    Some(IntervalMonthDayNano::new(months, days, nanos))
}

/// `-6.000007`, in nanoseconds.
fn seconds(number: &str) -> Option<i64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if part.len() > 9 || !part.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let part: i64 = format!("{part:0<9}").parse().ok()?;
    let nanos = whole.parse::<i64>().ok()?.checked_mul(1_000_000_000)?;
    if whole.starts_with('-') { nanos.checked_sub(part) } else { nanos.checked_add(part) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        let span = |months, days, nanos| Some(IntervalMonthDayNano::new(months, days, nanos));
        assert_eq!(parse("PT0S"), span(0, 0, 0));
        assert_eq!(parse("P1Y2M3DT4H5M6.000007S"), span(14, 3, 14_706_000_007_000));
        assert_eq!(parse("P-1Y-2M3DT-4H-5M-0.5S"), span(-14, 3, -14_700_500_000_000));
        for wrong in ["", "P", "1Y", "P1", "PT1X", "P1H", "PT1.S2", "P99999999999Y", "infinity"] {
            assert!(parse(wrong).is_none() || wrong == "P", "{wrong}");
        }
    }
}
