//! Numbers in text.

use std::str::FromStr;

/// A whole number; blanks around it are nothing.
pub(crate) fn int<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().or_else(|| text.trim().parse().ok())
}

/// A number that may have a fraction and an exponent; `NaN`, `Infinity`.
pub(crate) fn float<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().or_else(|| text.trim().parse().ok())
}

/// A number with `scale` digits after the point, rounded half up, as that many units of the last one; `precision` digits at most.
pub(crate) fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let text = text.trim().as_bytes();
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    let (digits, exponent) = match memchr::memchr2(b'e', b'E', text) {
        Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok()?.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let point = memchr::memchr(b'.', digits);
    let (whole, fraction) = point.map_or((digits, &b""[..]), |at| (&digits[..at], &digits[at + 1..]));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let kept = (whole.len() as i64) + i64::from(exponent) + i64::from(scale);
    let units = units(whole.iter().chain(fraction).copied(), kept)?;
    let limit = 10i128.checked_pow(precision.into())?;
    (units < limit).then_some(if negative { -units } else { units })
}

/// The first `kept` digits as a number, rounded by the one after; as many noughts as are needed follow.
fn units(digits: impl Iterator<Item = u8>, kept: i64) -> Option<i128> {
    let (mut units, mut seen) = (0i128, 0i64);
    let mut up = false;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        let digit = i128::from(digit - b'0');
        if seen < kept {
            units = units.checked_mul(10)?.checked_add(digit)?;
        } else if seen == kept {
            up = digit >= 5;
        }
        seen += 1;
    }
    if units > 0 {
        let missing = u32::try_from((kept - seen).max(0)).ok()?;
        units = units.checked_mul(10i128.checked_pow(missing)?)?;
    }
    units.checked_add(up.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_rounded_half_up_and_bounded() {
        let cases = [
            ("1", Some(100)),
            ("-1.005", Some(-101)),
            ("1.004999", Some(100)),
            ("+.5", Some(50)),
            ("12.5e1", Some(12_500)),
            ("125E-3", Some(13)),
            ("1e-9", Some(0)),
            ("0e30", Some(0)),
            ("999.99", Some(99_999)),
            ("999.995", None),
            ("1000", None),
            ("1e99", None),
            ("1e99999999999", None),
            ("", None),
            (".", None),
            ("1x", None),
            ("1.2.3", None),
            ("0.3333333333333333333333333333333333333333333333333", Some(33)),
        ];
        for (text, want) in cases {
            assert_eq!(decimal(text, 5, 2), want, "{text}");
        }
        assert_eq!(decimal("12345", 3, -2), Some(123));
    }
}
