//! What must hold of any text whatever: called by the fuzz target, and over random texts by `parse/soup.rs`.

use updraft_sql::parse::{Diagnostic, Span, is_complete, split};

/// A text is the statements that it is cut into; each is a statement or an error with a place in the text.
pub(crate) fn sql_parse(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let pieces = split(text);
    assert_eq!(pieces.iter().map(|piece| piece.text()).collect::<String>(), text);
    for piece in &pieces {
        match piece.parse() {
            Ok(Some(statement)) => within(text, statement.span),
            Ok(None) => {}
            Err(wrong) => told(text, &wrong),
        }
    }
    // Nothing more is waited for unless something has begun.
    assert!(is_complete(text) || pieces.last().is_some_and(|last| !last.text().trim().is_empty()), "{text:?}");
}

/// The places of a span are in the text.
fn within(text: &str, span: Span) {
    let lines: Vec<_> = text.split('\n').map(|line| line.chars().count() as u64).collect();
    for at in [span.start, span.end] {
        let length = lines.get(at.line as usize - 1).unwrap_or_else(|| panic!("{text:?} has no line {}", at.line));
        assert!((1..=length + 1).contains(&at.column), "{text:?} has no place {at:?}");
    }
    assert!(span.start <= span.end, "{span:?}");
}

fn told(text: &str, wrong: &Diagnostic) {
    assert!(!wrong.message.is_empty());
    let span = wrong.span.unwrap_or_else(|| panic!("{text:?}: {wrong} has no place"));
    within(text, Span::new(span.start, span.start));
    assert!(wrong.render("x.sql", text).to_string().starts_with("x.sql:"));
}
