//! Numbers that are no integers.

use std::fmt::{Debug, LowerExp};

use super::{Style, put};

/// A float: the shortest digits that tell it from all others, as Java writes them; JSON has no infinity and calls it by name.
pub(super) fn float<F: LowerExp + Debug + Into<f64> + Copy>(value: F, style: Style, out: &mut String) {
    let wide: f64 = value.into();
    if !wide.is_finite() {
        let name = if wide.is_nan() { "NaN" } else { ["Infinity", "-Infinity"][usize::from(wide < 0.0)] };
        let quote = if style == Style::Json { "\"" } else { "" };
        return put(out, format_args!("{quote}{name}{quote}"));
    }
    if wide == 0.0 || (1e-3..1e7).contains(&wide.abs()) {
        return put(out, format_args!("{value:?}"));
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if digits.contains('.') { "" } else { ".0" };
    put(out, format_args!("{digits}{point}E{exponent}"));
}

/// A decimal number of which `digits` is the unscaled value.
pub(super) fn decimal(digits: &str, scale: i8, style: Style, out: &mut String) {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    out.push_str(sign);
    let exponent = digits.len() as i32 - 1 - i32::from(scale);
    if style == Style::Java && (scale < 0 || exponent < -6) {
        return scientific(digits, exponent, out);
    }
    match usize::try_from(scale) {
        Err(_) => {
            out.push_str(digits);
            let zeros = if digits == "0" { 0 } else { scale.unsigned_abs() };
            out.extend(std::iter::repeat_n('0', usize::from(zeros)));
        }
        Ok(0) => out.push_str(digits),
        Ok(scale) => {
            let padded = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = padded.split_at(padded.len() - scale);
            put(out, format_args!("{whole}.{fraction}"));
        }
    }
}

/// As Java's `BigDecimal` does where a plain number would begin with many zeros: `1.23E-8`.
fn scientific(digits: &str, exponent: i32, out: &mut String) {
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    put(out, format_args!("{first}{point}{rest}E{exponent:+}"));
}
