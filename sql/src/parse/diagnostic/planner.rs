//! DataFusion's errors in our words.

use datafusion_common::{Column, DataFusionError, SchemaError};
use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};
use updraft_dataflow::connector::nearest;

use super::{Diagnostic, of_parser};
use crate::fail::plain;

/// What a planner finds wrong: at least one thing. What it does not place is looked for among the tokens.
pub(in crate::parse) fn of_planner(error: &DataFusionError, tokens: &[TokenWithSpan]) -> Vec<Diagnostic> {
    match error {
        DataFusionError::Collection(errors) => errors.iter().flat_map(|error| of_planner(error, tokens)).collect(),
        DataFusionError::Shared(error) => of_planner(error, tokens),
        DataFusionError::Context(_, error) => of_planner(error, tokens),
        DataFusionError::Diagnostic(told, error) => {
            let span = told.span.map(span);
            let placed = |found: Diagnostic| Diagnostic { span: span.or(found.span), ..found };
            of_planner(error, tokens).into_iter().map(placed).collect()
        }
        DataFusionError::SQL(error, _) => vec![of_parser(error, tokens)],
        DataFusionError::SchemaError(error, _) => vec![of_schema(error, tokens)],
        other => vec![of_message(&plain(other), tokens)],
    }
}

fn span(span: datafusion_common::Span) -> Span {
    let location = |at: datafusion_common::Location| Location { line: at.line, column: at.column };
    Span::new(location(span.start), location(span.end))
}

fn of_schema(error: &SchemaError, tokens: &[TokenWithSpan]) -> Diagnostic {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let found = Diagnostic {
                span: place(tokens, field.name()),
                ..Diagnostic::new(format!("unknown column `{}`", shown(field)))
            };
            match near(field, valid_fields) {
                Some(meant) => found.hint(format!("did you mean `{meant}`?")),
                None => Diagnostic { hint: listed(valid_fields), ..found },
            }
        }
        SchemaError::AmbiguousReference { field } => {
            let name = field.name();
            let found = Diagnostic::new(format!("column `{name}` is in more than one table"));
            Diagnostic { span: place(tokens, name), ..found }.hint("write the table's name before it")
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Diagnostic::new(format!("there are two columns `{name}`")).hint("give one of them another name, by AS")
        }
    }
}

fn shown(column: &Column) -> String {
    match &column.relation {
        Some(relation) => format!("{relation}.{}", column.name()),
        None => column.name().to_owned(),
    }
}

fn near(field: &Column, valid: &[Column]) -> Option<String> {
    let name = nearest(field.name(), valid.iter().map(Column::name))?;
    let same = valid.iter().find(|valid| valid.name() == name)?;
    Some(if field.relation.is_some() { shown(same) } else { name.to_owned() })
}

/// What there is, if that is not too much to read.
fn listed(valid: &[Column]) -> Option<String> {
    let names: Vec<_> = valid.iter().map(|column| format!("`{}`", column.name())).collect();
    (1..=12).contains(&names.len()).then(|| format!("there are {}", names.join(", ")))
}

/// The first word that is `name`.
fn place(tokens: &[TokenWithSpan], name: &str) -> Option<Span> {
    let is =
        |token: &&TokenWithSpan| matches!(&token.token, Token::Word(word) if word.value.eq_ignore_ascii_case(name));
    tokens.iter().find(is).map(|token| token.span)
}

fn of_message(message: &str, tokens: &[TokenWithSpan]) -> Diagnostic {
    let (first, hint) = message.split_once('\n').map_or((message, None), |(first, rest)| (first, Some(rest.trim())));
    let (first, name) = named(first.trim_end_matches('.'));
    let span = name.as_deref().and_then(|name| place(tokens, name));
    let hint = hint
        .filter(|hint| !hint.is_empty())
        .map(|hint| in_words(&hint.replace('\n', " ").replace("Did you", "did you")));
    Diagnostic { message: in_words(&first), span, hint: hint.map(|hint| hint.replace('\'', "`")) }
}

/// Messages that are about a name, in our words, with that name.
fn named(message: &str) -> (String, Option<String>) {
    let quoted = |start: &str, end: &str| {
        Some(message.strip_prefix(start)?.strip_suffix(end)?.trim_matches(['\'', '"', '`']).to_owned())
    };
    let of = |kind: &str, name: String| {
        let last = name.rsplit('.').next().unwrap_or(&name).to_owned();
        (format!("unknown {kind} `{name}`"), Some(last))
    };
    match () {
        () if quoted("Invalid function ", "").is_some() => {
            of("function", quoted("Invalid function ", "").unwrap_or_default())
        }
        () if quoted("table ", " not found").is_some() => {
            of("table", quoted("table ", " not found").unwrap_or_default())
        }
        () => (message.to_owned(), None),
    }
}

const TYPES: [(&str, &str); 24] = [
    ("Timestamp(s)", "TIMESTAMP(0)"),
    ("Timestamp(ms)", "TIMESTAMP(3)"),
    ("Timestamp(µs)", "TIMESTAMP(6)"),
    ("Timestamp(ns)", "TIMESTAMP(9)"),
    ("Timestamp(s, \"UTC\")", "TIMESTAMP_LTZ(0)"),
    ("Timestamp(ms, \"UTC\")", "TIMESTAMP_LTZ(3)"),
    ("Timestamp(µs, \"UTC\")", "TIMESTAMP_LTZ(6)"),
    ("Timestamp(ns, \"UTC\")", "TIMESTAMP_LTZ(9)"),
    ("Utf8View", "STRING"),
    ("LargeUtf8", "STRING"),
    ("Utf8", "STRING"),
    ("Int8", "TINYINT"),
    ("Int16", "SMALLINT"),
    ("Int32", "INT"),
    ("Int64", "BIGINT"),
    ("Float32", "FLOAT"),
    ("Float64", "DOUBLE"),
    ("Boolean", "BOOLEAN"),
    ("Date32", "DATE"),
    ("BinaryView", "BYTES"),
    ("Binary", "BYTES"),
    ("Decimal128", "DECIMAL"),
    ("Interval(MonthDayNano)", "INTERVAL"),
    ("Null", "NULL"),
];

/// Arrow's names of types as Flink's.
fn in_words(message: &str) -> String {
    let mut words = String::new();
    let mut rest = message;
    while let Some(start) = rest.find(|c: char| c.is_alphanumeric()) {
        let (gap, from) = rest.split_at(start);
        let known = TYPES.iter().find(|(name, _)| from.starts_with(name) && !continues(&from[name.len()..]));
        let length = from.find(|c: char| !c.is_alphanumeric()).unwrap_or(from.len());
        let (word, after) = from.split_at(known.map_or(length, |(name, _)| name.len()));
        words.push_str(gap);
        words.push_str(known.map_or(word, |(_, flink)| flink));
        rest = after;
    }
    words + rest
}

fn continues(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_alphanumeric())
}
