//! PRINTF: formats as `java.util.Formatter` has them. NULL where the format does not fit its arguments.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;

use super::conversion::texts;
use super::moment::recast;
use super::scalar::Kind::{Any, Text};
use super::scalar::{Call, Gives, Takes, scalar};

/// The function.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![scalar("printf", Takes::Many(&[Text, Any]), Gives::TEXT, printf).into()]
}

/// An argument's column.
struct Column {
    text: StringViewArray,
    ints: Option<ArrayRef>,
    doubles: Option<ArrayRef>,
}

impl Column {
    fn new(values: &ArrayRef) -> Result<Self> {
        let of = values.data_type();
        let ints = of.is_integer().then(|| recast(values, &DataType::Int64)).transpose()?;
        let fractional = of.is_floating() || matches!(of, DataType::Decimal128(_, _));
        let doubles = fractional.then(|| recast(values, &DataType::Float64)).transpose()?;
        Ok(Self { text: texts(values)?, ints, doubles })
    }
}

fn printf(call: &Call) -> Result<ArrayRef> {
    let formats = call.text(0)?;
    let columns = (1..call.len()).map(|place| Column::new(&call.whole(place)?)).collect::<Result<Vec<_>>>()?;
    call.each::<StringViewArray, _>(|row| format(formats.at(row)?, &columns, row))
}

fn format(format: &str, columns: &[Column], row: usize) -> Option<String> {
    let mut to = String::new();
    let (mut rest, mut next) = (format, 0);
    while let Some(place) = rest.find('%') {
        to.push_str(&rest[..place]);
        let (spec, tail) = Spec::parse(&rest[place + 1..])?;
        rest = tail;
        match spec.conversion {
            '%' => to.push_str(&spec.padded("%".into())),
            'n' => to.push('\n'),
            _ => {
                let column = columns.get(spec.argument.unwrap_or(next))?;
                next += usize::from(spec.argument.is_none());
                to.push_str(&spec.write(column, row)?);
            }
        }
    }
    to.push_str(rest);
    Some(to)
}

/// `%[argument$][flags][width][.precision]conversion`.
struct Spec {
    argument: Option<usize>,
    flags: String,
    width: usize,
    precision: Option<usize>,
    conversion: char,
}

impl Spec {
    fn parse(mut rest: &str) -> Option<(Self, &str)> {
        let mut argument = None;
        if let Some((number, tail)) = rest.split_once('$')
            && let Ok(number) = number.parse::<usize>()
        {
            (argument, rest) = (Some(number.checked_sub(1)?), tail);
        }
        let flags = take(&mut rest, |char| "-+ 0,(#".contains(char)).to_owned();
        let width = take(&mut rest, |char| char.is_ascii_digit()).parse().unwrap_or(0);
        let mut precision = None;
        if let Some(mut tail) = rest.strip_prefix('.') {
            precision = Some(take(&mut tail, |char| char.is_ascii_digit()).parse().ok()?);
            rest = tail;
        }
        let conversion = rest.chars().next()?;
        let fits = width <= 1 << 16 && precision.is_none_or(|precision| precision <= 1 << 10);
        fits.then(|| (Self { argument, flags, width, precision, conversion }, &rest[conversion.len_utf8()..]))
    }

    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    fn write(&self, column: &Column, row: usize) -> Option<String> {
        if column.text.is_null(row) {
            return Some(self.padded(if self.conversion == 'S' { "NULL" } else { "null" }.into()));
        }
        let int = || Some(column.ints.as_ref()?.as_primitive::<Int64Type>().value(row));
        let double = || Some(column.doubles.as_ref()?.as_primitive::<Float64Type>().value(row));
        let text = column.text.value(row);
        let cut = |text: &str| text.chars().take(self.precision.unwrap_or(usize::MAX)).collect::<String>();
        Some(match self.conversion {
            's' => self.padded(cut(text)),
            'S' => self.padded(cut(&text.to_uppercase())),
            'b' => self.padded(if text == "FALSE" { "false" } else { "true" }.into()),
            'c' => self.padded(char::from_u32(u32::try_from(int()?).ok()?)?.to_string()),
            'd' => self.number(int()? < 0, int()?.unsigned_abs().to_string()),
            'x' => self.number(false, format!("{:x}", int()?)),
            'X' => self.number(false, format!("{:X}", int()?)),
            'o' => self.number(false, format!("{:o}", int()?)),
            'f' => self.number(double()? < 0.0, format!("{:.*}", self.precision.unwrap_or(6), double()?.abs())),
            'e' | 'E' => self.number(double()? < 0.0, self.scientific(double()?.abs())),
            _ => return None,
        })
    }

    fn scientific(&self, x: f64) -> String {
        let text = format!("{x:.*e}", self.precision.unwrap_or(6));
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent = exponent.parse::<i32>().unwrap_or(0);
        let text = format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
        if self.conversion == 'E' { text.to_uppercase() } else { text }
    }

    /// A number's digits with sign, groups and zeros as the flags say.
    fn number(&self, negative: bool, digits: String) -> String {
        let digits = if self.has(',') { grouped(&digits) } else { digits };
        let (before, after) = match negative {
            true if self.has('(') => ("(", ")"),
            true => ("-", ""),
            false if self.has('+') => ("+", ""),
            false if self.has(' ') => (" ", ""),
            false => ("", ""),
        };
        let missing = self.width.saturating_sub(before.len() + digits.len() + after.len());
        let zeros = if self.has('0') { "0".repeat(missing) } else { String::new() };
        self.padded(format!("{before}{zeros}{digits}{after}"))
    }

    fn padded(&self, text: String) -> String {
        let missing = " ".repeat(self.width.saturating_sub(text.chars().count()));
        if self.has('-') { text + &missing } else { missing + &text }
    }
}

fn take<'a>(rest: &mut &'a str, wanted: impl Fn(char) -> bool) -> &'a str {
    let end = rest.find(|char| !wanted(char)).unwrap_or(rest.len());
    let (taken, tail) = rest.split_at(end);
    *rest = tail;
    taken
}

/// With a comma between each three digits of the whole part.
fn grouped(digits: &str) -> String {
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut to = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            to.push(',');
        }
        to.push(digit);
    }
    to + rest
}
