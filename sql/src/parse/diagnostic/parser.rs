//! sqlparser's errors in our words: `Expected: X, found: Y at Line: l, Column: c`.
//!
//! sqlparser tries several readings of what is in parentheses, and tells of the last one. So the queries in
//! parentheses are read by themselves, innermost first, and the first one that is wrong is told of.

use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, TokenizerError};
use updraft_dataflow::connector::nearest;

use super::Diagnostic;
use crate::parse::grammar::BEGINNINGS;
use crate::parse::script::read;
use crate::parse::words::{Words, is_word};

/// Words that queries are made of, for suggestions.
const WORDS: [&str; 43] = [
    "BETWEEN",
    "CASE",
    "CATALOG",
    "COLUMNS",
    "CROSS",
    "DATABASE",
    "DISTINCT",
    "ELSE",
    "ENFORCED",
    "EXCEPT",
    "EXISTS",
    "FROM",
    "FULL",
    "FUNCTION",
    "GROUP",
    "HAVING",
    "INNER",
    "INTERSECT",
    "INTO",
    "INTERVAL",
    "JOIN",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NULL",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PRIMARY",
    "RIGHT",
    "STATEMENT",
    "TABLE",
    "TABLES",
    "THEN",
    "UNION",
    "VALUES",
    "VIEW",
    "VIEWS",
    "WATERMARK",
    "WHERE",
    "WITH",
];

/// What could not be read as tokens.
pub(in crate::parse) fn of_tokens(error: &TokenizerError) -> Diagnostic {
    let Location { line, column } = error.location;
    let span = Span::new(error.location, Location { line, column: column + 1 });
    let what = match error.message.as_str() {
        message if message.contains("string literal") => "this text has no closing quote",
        message if message.contains("close delimiter") => "this name has no closing quote",
        message if message.contains("comment") => "this comment has no end",
        message => message,
    };
    Diagnostic::new(what).at(span)
}

/// Whether further lines may mend it.
pub(in crate::parse) fn is_unfinished(error: &TokenizerError) -> bool {
    ["Unterminated", "EOF"].iter().any(|word| error.message.contains(word))
}

/// What is wrong with a statement's tokens.
pub(in crate::parse) fn of_parser(error: &ParserError, tokens: &[TokenWithSpan]) -> Diagnostic {
    match innermost(tokens) {
        Some((error, query)) => plain(&error, query),
        None => plain(error, tokens),
    }
}

/// The first query in parentheses that cannot be read, of those that hold no others that cannot.
fn innermost(tokens: &[TokenWithSpan]) -> Option<(ParserError, &[TokenWithSpan])> {
    let mut open = vec![];
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => open.push(at + 1),
            Token::RParen => {
                let inner = &tokens[open.pop()?..at];
                if let Some(error) = wrong_query(inner) {
                    return Some((error, inner));
                }
            }
            _ => {}
        }
    }
    None
}

fn wrong_query(tokens: &[TokenWithSpan]) -> Option<ParserError> {
    let first = tokens.iter().find(|token| !matches!(token.token, Token::Whitespace(_)))?;
    let is_query = ["SELECT", "WITH", "VALUES"].iter().any(|word| is_word(&first.token, word));
    let whole = |p: &mut Parser| p.parse_query().and_then(|_| p.expect(&Token::EOF));
    if is_query { read(tokens, whole).err() } else { None }
}

fn plain(error: &ParserError, tokens: &[TokenWithSpan]) -> Diagnostic {
    let text = match error {
        ParserError::RecursionLimitExceeded => return Diagnostic::new("this is nested too deeply").at(all(tokens)),
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
    };
    let (text, place) = placed(text);
    let found = place.and_then(|place| found_at(tokens, place, text.trim_end()));
    let end = tokens.iter().rfind(|token| !matches!(token.token, Token::Whitespace(_))).map(|token| token.span.end);
    let span = match (found, place.or(end)) {
        (Some(found), _) => tokens[found].span,
        (None, Some(place)) => Span::new(place, Location { column: place.column + 1, ..place }),
        (None, None) => Span::empty(),
    };
    let (message, hint) = text.split_once('\n').map_or((text, None), |(message, hint)| (message, Some(hint)));
    let diagnostic = Diagnostic { message: worded(message), span: None, hint: hint.map(Into::into) }.at(span);
    match found.filter(|_| hint.is_none()).and_then(|found| misspelt(tokens, found)) {
        Some((word, meant)) => diagnostic.at(word).hint(format!("did you mean {meant}?")),
        None => diagnostic,
    }
}

fn all(tokens: &[TokenWithSpan]) -> Span {
    let mut words = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    words.next().map_or(Span::empty(), |first| first.span)
}

/// `text at Line: 1, Column: 2`, parted.
fn placed(text: &str) -> (&str, Option<Location>) {
    let parse = |place: &str| {
        let (line, column) = place.split_once(", Column: ")?;
        Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
    };
    match text.rsplit_once(" at Line: ") {
        Some((text, place)) => (text, parse(place)),
        None => (text, None),
    }
}

/// What was wanted and what was found, of `Expected: X, found: Y`. (sqlparser does not always write the first colon.)
fn wanted_and_found(message: &str) -> Option<(&str, &str)> {
    let (wanted, found) = message.strip_prefix("Expected")?.rsplit_once(", found: ")?;
    Some((wanted.trim_start_matches(':').trim_start(), found))
}

/// The same in our words.
fn worded(message: &str) -> String {
    let end = |word: &str| if word == "EOF" { "the end".to_owned() } else { word.to_owned() };
    match wanted_and_found(message) {
        Some((wanted, found)) => format!("expected {}, found {}", end(wanted), end(found)),
        None => message.to_owned(),
    }
}

/// The token that is found: that at `place`, or the one before it, as sqlparser may have gone on already.
fn found_at(tokens: &[TokenWithSpan], place: Location, message: &str) -> Option<usize> {
    let at = tokens.iter().position(|token| token.span.start == place)?;
    let (_, found) = wanted_and_found(message).unwrap_or_default();
    let before = tokens[..at].iter().rposition(|token| !matches!(token.token, Token::Whitespace(_)));
    let is = |at: usize| tokens[at].token.to_string() == found;
    Some(before.filter(|before| !is(at) && is(*before)).unwrap_or(at))
}

/// The word that is found, or the one before it, if it is nearly one that it could be.
fn misspelt(tokens: &[TokenWithSpan], found: usize) -> Option<(Span, &'static str)> {
    let words = tokens[..=found].iter().rev().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let begins = |token: &TokenWithSpan| all(tokens) == token.span;
    words.take(2).find_map(|token| match &token.token {
        Token::Word(word) if word.quote_style.is_none() && word.value.len() > 3 => {
            let known: &[&'static str] = if begins(token) { &BEGINNINGS } else { &WORDS };
            Some((token.span, like(&word.value, known)?))
        }
        _ => None,
    })
}

/// The known word that is most like one. (`orders` is none that is meant to be `ORDER`.)
fn like(word: &str, known: &[&'static str]) -> Option<&'static str> {
    let word = word.to_ascii_uppercase();
    let plural = |known: &&str| word.strip_suffix('S') == Some(*known);
    if [WORDS.as_slice(), &BEGINNINGS].iter().any(|known| known.iter().any(|known| known.eq_ignore_ascii_case(&word))) {
        return None;
    }
    let swapped = |known: &&&str| is_swapped(&word, known);
    known.iter().find(swapped).copied().or_else(|| nearest(&word, known.iter().copied()).filter(|known| !plural(known)))
}

/// Whether two words differ by two neighbours that have changed places: `FORM`.
fn is_swapped(a: &str, b: &str) -> bool {
    let differ: Vec<_> = a.bytes().zip(b.bytes()).enumerate().filter(|(_, (a, b))| a != b).collect();
    a.len() == b.len() && matches!(differ.as_slice(), [(i, (a, b)), (j, (c, d))] if i + 1 == *j && a == d && b == c)
}
