//! Refuses what is nested so deeply that to read it would take the stack: sqlparser bounds most of its recursion, not all.

use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::Diagnostic;
use super::words::is_word;

/// How many parentheses, brackets and types may be open at once: more than sqlparser takes of expressions.
const DEEPEST: usize = 100;

/// Types that others are written in.
const OUTER: [&str; 5] = ["ARRAY", "MAP", "MULTISET", "ROW", "STRUCT"];

/// Whether the tokens of a statement can be read without harm.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<(), Diagnostic> {
    let (mut open, mut types, mut outer) = (0_usize, 0_usize, false);
    for token in tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))) {
        match token.token {
            Token::LParen | Token::LBracket | Token::LBrace => open += 1,
            Token::RParen | Token::RBracket | Token::RBrace => open = open.saturating_sub(1),
            Token::Lt if outer => types += 1,
            Token::Gt => types = types.saturating_sub(1),
            _ => {}
        }
        if open + types > DEEPEST {
            return Err(Diagnostic::new("this is nested too deeply").at(token.span));
        }
        outer = OUTER.iter().any(|word| is_word(&token.token, word));
    }
    Ok(())
}
