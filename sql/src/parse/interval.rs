//! Intervals: `INTERVAL '10' SECOND`, `INTERVAL '1:30' MINUTE TO SECOND`, `INTERVAL '1-2' YEAR TO MONTH`.
//!
//! DataFusion reads texts such as `'1 minutes 30 seconds'`; what Flink writes is turned into one.

use datafusion_sql::sqlparser::ast::{DateTimeField, Expr, Ident, Interval, Value, ValueWithSpan};
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::{Span, Token};

use super::words::{Parsed, Words, fault};

/// Units, with what DataFusion calls them, how many of those they are, and what parts them from the unit before.
const UNITS: [(&str, &str, u32, char); 8] = [
    ("YEAR", "years", 1, ' '),
    ("QUARTER", "months", 3, ' '),
    ("MONTH", "months", 1, '-'),
    ("WEEK", "days", 7, ' '),
    ("DAY", "days", 1, ' '),
    ("HOUR", "hours", 1, ' '),
    ("MINUTE", "minutes", 1, ':'),
    ("SECOND", "seconds", 1, ':'),
];

/// The units that `a TO b` may go through: those of years, and those of days.
const RANGES: [&[usize]; 2] = [&[0, 2], &[4, 5, 6, 7]];

/// Reads an interval, from `INTERVAL` on.
pub(super) fn parse(p: &mut Parser) -> Parsed<Expr> {
    p.advance_token();
    let negative = sign(p);
    let text = p.text("the interval's length in single quotes, as in INTERVAL '10' SECOND")?;
    let first = unit(p)?;
    let units = if p.word("TO") { range(p, first)? } else { vec![first] };
    let (inner, text_value) = (sign_of(&text.value), text.value.trim().trim_start_matches(['+', '-']));
    let Some(parts) = cut(text_value, &units) else {
        let named = units.iter().map(|unit| UNITS[*unit].0).collect::<Vec<_>>().join(", ");
        return fault(format!("'{}' is not an interval of {named}", text.value), text.span.start);
    };
    Ok(interval(&parts, &units, negative != inner, text.span))
}

fn sign(p: &mut Parser) -> bool {
    let negative = p.consume_token(&Token::Minus);
    let _ = negative || p.consume_token(&Token::Plus);
    negative
}

fn sign_of(text: &str) -> bool {
    text.trim().starts_with('-')
}

/// One of the units, in singular or plural, with digits that nobody needs: `DAY(3)`.
fn unit(p: &mut Parser) -> Parsed<usize> {
    let names = |name: &str| [name.to_owned(), format!("{name}S")];
    let Some(unit) = UNITS.iter().position(|(name, ..)| names(name).iter().any(|name| p.word(name))) else {
        return p.wanted("the interval's unit: YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE or SECOND");
    };
    if p.peek_token_ref().token == Token::LParen {
        p.list(|p| p.number("a number of digits"))?;
    }
    Ok(unit)
}

fn range(p: &mut Parser, first: usize) -> Parsed<Vec<usize>> {
    let at = p.here();
    let last = unit(p)?;
    let within = RANGES.iter().find_map(|range| {
        let position = |unit| range.iter().position(|one| *one == unit);
        Some(range.get(position(first)?..=position(last)?)?.to_vec())
    });
    match within {
        Some(units) if units.len() > 1 => Ok(units),
        _ => fault(format!("an interval cannot go from {} to {}", UNITS[first].0, UNITS[last].0), at),
    }
}

/// `1:30` as `1` and `30`.
fn cut<'a>(text: &'a str, units: &[usize]) -> Option<Vec<&'a str>> {
    let mut parts = vec![];
    let mut rest = text;
    for unit in units.iter().skip(1) {
        let (part, after) = rest.split_once(UNITS[*unit].3)?;
        parts.push(part.trim());
        rest = after;
    }
    parts.push(rest.trim());
    let whole = |part: &str| !part.is_empty() && part.len() <= 18 && part.bytes().all(|digit| digit.is_ascii_digit());
    let (last, others) = parts.split_last()?;
    let fits = match last.split_once('.') {
        Some((seconds, fraction)) if units.last() == Some(&7) => whole(seconds) && whole(fraction),
        _ => whole(last),
    };
    (fits && others.iter().all(|part| whole(part))).then_some(parts)
}

fn interval(parts: &[&str], units: &[usize], negative: bool, span: Span) -> Expr {
    let sign = if negative { "-" } else { "" };
    let part = |(part, unit): (&&str, &usize)| {
        let (_, name, times, _) = UNITS[*unit];
        let count = if times == 1 {
            (*part).to_owned()
        } else {
            (part.parse().unwrap_or(0_i64).saturating_mul(times.into())).to_string()
        };
        (format!("{sign}{count}"), name)
    };
    let parts: Vec<_> = parts.iter().zip(units).map(part).collect();
    let (text, leading_field) = match parts.as_slice() {
        [(count, name)] => (count.clone(), Some(DateTimeField::Custom(Ident::new(name.to_uppercase())))),
        parts => (parts.iter().map(|(count, name)| format!("{count} {name}")).collect::<Vec<_>>().join(" "), None),
    };
    let value = ValueWithSpan { value: Value::SingleQuotedString(text), span };
    Expr::Interval(Interval {
        value: Box::new(Expr::Value(value)),
        leading_field,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    })
}
