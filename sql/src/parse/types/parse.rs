//! Reads types as Flink writes them: `ROW<a INT NOT NULL, b ARRAY<STRING>>`.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Fields, IntervalUnit, TimeUnit};
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::{Location, Token};
use updraft_dataflow::connector::nearest;

use super::SqlType;
use crate::parse::dialect::DIALECT;
use crate::parse::script::tokens;
use crate::parse::words::{Parsed, Words, fault};

/// How deep types may be nested.
const DEPTH: usize = 40;

const NAMES: [&str; 30] = [
    "ARRAY",
    "BIGINT",
    "BINARY",
    "BOOLEAN",
    "BYTES",
    "CHAR",
    "CHARACTER",
    "DATE",
    "DEC",
    "DECIMAL",
    "DOUBLE",
    "FLOAT",
    "INT",
    "INTEGER",
    "INTERVAL",
    "MAP",
    "MULTISET",
    "NULL",
    "NUMERIC",
    "RAW",
    "REAL",
    "ROW",
    "SMALLINT",
    "STRING",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "TINYINT",
    "VARBINARY",
    "VARCHAR",
];

/// A type that is all of a text.
pub(super) fn parse_text(text: &str) -> Parsed<SqlType> {
    let (tokens, wrong) = tokens(text);
    if let Some(wrong) = wrong {
        return fault(wrong.message, wrong.location);
    }
    let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(tokens);
    let parsed = parse(&mut parser)?;
    parser.expect(&Token::EOF).map(|()| parsed)
}

/// A type, with `NULL` or `NOT NULL` if it follows.
pub(in crate::parse) fn parse(p: &mut Parser) -> Parsed<SqlType> {
    nested(p, 0)
}

fn nested(p: &mut Parser, depth: usize) -> Parsed<SqlType> {
    if depth > DEPTH {
        return fault("a type is nested too deeply", p.here());
    }
    let data_type = one(p, depth)?;
    let mut parsed = SqlType { data_type, nullable: nullable(p) };
    loop {
        let data_type = match (p.word("ARRAY"), p.at_words(&["MULTISET"])) {
            (true, _) => list(parsed),
            (false, true) if p.word("MULTISET") => multiset(parsed),
            _ => return Ok(parsed),
        };
        parsed = SqlType { data_type, nullable: nullable(p) };
    }
}

fn nullable(p: &mut Parser) -> bool {
    let not_null = p.words(&["NOT", "NULL"]);
    let _ = not_null || p.word("NULL");
    !not_null
}

fn one(p: &mut Parser, depth: usize) -> Parsed<DataType> {
    let at = p.here();
    let Token::Word(word) = &p.peek_token_ref().token else { return p.wanted("a type") };
    let name = word.value.to_ascii_uppercase();
    if word.quote_style.is_some() || !NAMES.contains(&name.as_str()) {
        return unknown(&name, at);
    }
    p.advance_token();
    match name.as_str() {
        "ARRAY" => Ok(list(parameter(p, depth)?)),
        "MULTISET" => Ok(multiset(parameter(p, depth)?)),
        "MAP" => parse_map(p, depth),
        "ROW" => row(p, depth),
        "DECIMAL" | "DEC" | "NUMERIC" => decimal(p, at),
        "TIME" | "TIMESTAMP" | "TIMESTAMP_LTZ" => moment(p, &name, at),
        "INTERVAL" => interval(p),
        "RAW" => fault("RAW types are not supported", at),
        _ => simple(p, &name),
    }
}

fn unknown(name: &str, at: Location) -> Parsed<DataType> {
    match name {
        "VARIANT" | "STRUCTURED" | "DESCRIPTOR" | "ANY" | "UNKNOWN" | "BITMAP" => {
            fault(format!("{name} types are not supported"), at)
        }
        name => {
            let hint = nearest(name, NAMES).map(|nearest| format!("\ndid you mean {nearest}?"));
            fault(format!("unknown type {name}{}", hint.unwrap_or_default()), at)
        }
    }
}

/// Types without parts. Their lengths are read, and forgotten.
fn simple(p: &mut Parser, name: &str) -> Parsed<DataType> {
    let data_type = match name {
        "BOOLEAN" => DataType::Boolean,
        "TINYINT" => DataType::Int8,
        "SMALLINT" => DataType::Int16,
        "INT" | "INTEGER" => DataType::Int32,
        "BIGINT" => DataType::Int64,
        "FLOAT" | "REAL" => DataType::Float32,
        "DATE" => DataType::Date32,
        "NULL" => DataType::Null,
        "STRING" => DataType::Utf8View,
        "BYTES" => DataType::BinaryView,
        "DOUBLE" => {
            p.word("PRECISION");
            DataType::Float64
        }
        "BINARY" | "VARBINARY" => sized(p, DataType::BinaryView)?,
        _ => {
            p.word("VARYING");
            sized(p, DataType::Utf8View)?
        }
    };
    Ok(data_type)
}

fn sized(p: &mut Parser, data_type: DataType) -> Parsed<DataType> {
    if p.consume_token(&Token::LParen) {
        let length = p.number("a length")?;
        if length.value == 0 {
            return fault("a length is at least 1", length.span.start);
        }
        p.expect(&Token::RParen)?;
    }
    Ok(data_type)
}

fn digits(p: &mut Parser, otherwise: u32) -> Parsed<u32> {
    if !p.consume_token(&Token::LParen) {
        return Ok(otherwise);
    }
    let digits = p.number("a number of digits")?;
    if digits.value > 9 {
        return fault("at most 9 digits of a second are kept", digits.span.start);
    }
    p.expect(&Token::RParen).map(|()| digits.value)
}

fn decimal(p: &mut Parser, at: Location) -> Parsed<DataType> {
    let (mut precision, mut scale) = (10, 0);
    if p.consume_token(&Token::LParen) {
        precision = p.number("a number of digits")?.value;
        if p.consume_token(&Token::Comma) {
            scale = p.number("a number of digits after the point")?.value;
        }
        p.expect(&Token::RParen)?;
    }
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(digits), Ok(after)) if (1..=DECIMAL128_MAX_PRECISION).contains(&digits) && scale <= precision => {
            Ok(DataType::Decimal128(digits, after))
        }
        _ => {
            fault(format!("DECIMAL({precision}, {scale}): of 1 to 38 digits, as many or fewer are after the point"), at)
        }
    }
}

fn moment(p: &mut Parser, name: &str, at: Location) -> Parsed<DataType> {
    let unit = unit(digits(p, if name == "TIME" { 0 } else { 6 })?);
    let local = p.words(&["WITH", "LOCAL", "TIME", "ZONE"]);
    if !local && p.words(&["WITH", "TIME", "ZONE"]) {
        return fault("TIMESTAMP WITH TIME ZONE is not supported\nuse TIMESTAMP_LTZ", at);
    }
    let _ = local || p.words(&["WITHOUT", "TIME", "ZONE"]);
    Ok(match name {
        "TIME" => DataType::Time32(TimeUnit::Millisecond),
        "TIMESTAMP" if !local => DataType::Timestamp(unit, None),
        _ => DataType::Timestamp(unit, Some("UTC".into())),
    })
}

fn unit(digits: u32) -> TimeUnit {
    match digits {
        0 => TimeUnit::Second,
        1..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

/// `INTERVAL YEAR TO MONTH` and `INTERVAL DAY(2) TO SECOND(3)`, with what of them is written.
fn interval(p: &mut Parser) -> Parsed<DataType> {
    let unit = |p: &mut Parser, units: &[&str]| -> Parsed<bool> {
        let found = units.iter().any(|unit| p.word(unit));
        if found {
            digits(p, 0)?;
        }
        Ok(found)
    };
    let years = unit(p, &["YEAR", "MONTH"])?;
    if !years && !unit(p, &["DAY", "HOUR", "MINUTE", "SECOND"])? {
        return p.wanted("the interval's unit, as in INTERVAL DAY TO SECOND");
    }
    let last: &[&str] = if years { &["MONTH"] } else { &["HOUR", "MINUTE", "SECOND"] };
    if p.word("TO") && !unit(p, last)? {
        return p.wanted(&last.join(" or "));
    }
    Ok(DataType::Interval(if years { IntervalUnit::YearMonth } else { IntervalUnit::MonthDayNano }))
}

fn list(item: SqlType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item.data_type, item.nullable)))
}

fn multiset(item: SqlType) -> DataType {
    map_of(item, SqlType { data_type: DataType::Int32, nullable: false })
}

/// Keys are never null in Arrow.
fn map_of(key: SqlType, value: SqlType) -> DataType {
    let fields = [Field::new("key", key.data_type, false), Field::new("value", value.data_type, value.nullable)];
    let entries = Field::new("entries", DataType::Struct(Fields::from(fields.to_vec())), false);
    DataType::Map(Arc::new(entries), false)
}

fn parameter(p: &mut Parser, depth: usize) -> Parsed<SqlType> {
    p.expect(&Token::Lt)?;
    let parameter = nested(p, depth + 1)?;
    p.expect(&Token::Gt).map(|()| parameter)
}

fn parse_map(p: &mut Parser, depth: usize) -> Parsed<DataType> {
    p.expect(&Token::Lt)?;
    let key = nested(p, depth + 1)?;
    p.expect(&Token::Comma)?;
    let value = nested(p, depth + 1)?;
    p.expect(&Token::Gt).map(|()| map_of(key, value))
}

/// `ROW<a INT 'comment', …>` or `ROW(…)`.
fn row(p: &mut Parser, depth: usize) -> Parsed<DataType> {
    if p.consume_token(&Token::Neq) {
        return Ok(DataType::Struct(Fields::empty()));
    }
    let end = if p.consume_token(&Token::LParen) { Token::RParen } else { p.expect(&Token::Lt).map(|()| Token::Gt)? };
    let mut fields = vec![];
    while !p.consume_token(&end) {
        if !fields.is_empty() {
            p.expect(&Token::Comma)?;
        }
        fields.push(field(p, depth)?);
    }
    Ok(DataType::Struct(Fields::from(fields)))
}

fn field(p: &mut Parser, depth: usize) -> Parsed<Field> {
    let name = p.ident()?.value;
    let SqlType { data_type, nullable } = nested(p, depth + 1)?;
    if matches!(p.peek_token_ref().token, Token::SingleQuotedString(_)) {
        p.advance_token();
    }
    Ok(Field::new(name, data_type, nullable))
}
