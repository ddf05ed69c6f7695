//! What our grammar asks of sqlparser's [`Parser`]: words, names, texts and lists, by their spelling.
//!
//! Words are compared as text, as many of Flink's (`WATERMARK`, `METADATA`) are none of sqlparser's keywords.

use datafusion_sql::sqlparser::ast::{Ident, ObjectName};
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

use super::statement::{Setting, Spanned};

/// Whether something could be read.
pub(super) type Parsed<T> = Result<T, ParserError>;

/// An error at a place; what `message` says after a line break is a hint.
pub(super) fn fault<T>(message: impl std::fmt::Display, at: Location) -> Parsed<T> {
    Err(ParserError::ParserError(format!("{message}{at}")))
}

/// Whether a token is that word, unquoted.
pub(super) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// See the module.
pub(super) trait Words {
    /// Whether these words come next.
    fn at_words(&self, words: &[&str]) -> bool;
    /// Takes these words if they come next.
    fn words(&mut self, words: &[&str]) -> bool;
    /// Takes this word if it comes next.
    fn word(&mut self, word: &str) -> bool {
        self.words(&[word])
    }
    /// Takes these words.
    fn expect_words(&mut self, words: &[&str]) -> Parsed<()>;
    /// Takes the token that comes next, if it is that one.
    fn expect(&mut self, token: &Token) -> Parsed<()>;
    /// A name, of one part.
    fn ident(&mut self) -> Parsed<Ident>;
    /// A name, of several parts.
    fn name(&mut self) -> Parsed<ObjectName>;
    /// A text in quotes; `what` is said if there is none.
    fn text(&mut self, what: &str) -> Parsed<Spanned<String>>;
    /// A whole number.
    fn number(&mut self, what: &str) -> Parsed<Spanned<u32>>;
    /// `COMMENT 'text'`, if it comes next.
    fn comment(&mut self) -> Parsed<Option<String>>;
    /// `(a, b)`, with at least one part.
    fn list<T>(&mut self, part: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>>;
    /// `('key' = 'value', …)`, which may be empty.
    fn settings(&mut self) -> Parsed<Vec<Setting>>;
    /// The place of what comes next, or the end of what there is.
    fn here(&self) -> Location;
    /// From `start` to the end of what was taken last.
    fn since(&self, start: Location) -> Span;
    /// An error: what comes next is not what was expected.
    fn wanted<T>(&self, what: &str) -> Parsed<T>;
}

impl Words for Parser<'_> {
    fn at_words(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(at, word)| is_word(&self.peek_nth_token_ref(at).token, word))
    }

    fn words(&mut self, words: &[&str]) -> bool {
        let there = self.at_words(words);
        (0..if there { words.len() } else { 0 }).for_each(|_| self.advance_token());
        there
    }

    fn expect_words(&mut self, words: &[&str]) -> Parsed<()> {
        words.iter().try_for_each(|word| if self.word(word) { Ok(()) } else { self.wanted(word) })
    }

    fn expect(&mut self, token: &Token) -> Parsed<()> {
        if self.consume_token(token) { Ok(()) } else { self.wanted(&token.to_string()) }
    }

    fn ident(&mut self) -> Parsed<Ident> {
        match &self.peek_token_ref().token {
            Token::Word(_) => self.parse_identifier(),
            _ => self.wanted("a name"),
        }
    }

    fn name(&mut self) -> Parsed<ObjectName> {
        let mut parts = vec![self.ident()?];
        while self.consume_token(&Token::Period) {
            parts.push(self.ident()?);
        }
        Ok(ObjectName::from(parts))
    }

    fn text(&mut self, what: &str) -> Parsed<Spanned<String>> {
        match self.peek_token_ref().clone() {
            TokenWithSpan { token: Token::SingleQuotedString(value), span } => {
                self.advance_token();
                Ok(Spanned { value, span })
            }
            _ => self.wanted(what),
        }
    }

    fn number(&mut self, what: &str) -> Parsed<Spanned<u32>> {
        let next = self.peek_token_ref();
        let number = match &next.token {
            Token::Number(digits, false) => digits.parse().ok().map(|value| Spanned { value, span: next.span }),
            _ => None,
        };
        let Some(number) = number else { return self.wanted(what) };
        self.advance_token();
        Ok(number)
    }

    fn comment(&mut self) -> Parsed<Option<String>> {
        if !self.word("COMMENT") {
            return Ok(None);
        }
        Ok(Some(self.text("the comment, in single quotes")?.value))
    }

    fn list<T>(&mut self, mut part: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        self.expect(&Token::LParen)?;
        let mut parts = vec![part(self)?];
        while self.consume_token(&Token::Comma) {
            parts.push(part(self)?);
        }
        match self.consume_token(&Token::RParen) {
            true => Ok(parts),
            false => self.wanted("',' or ')'"),
        }
    }

    fn settings(&mut self) -> Parsed<Vec<Setting>> {
        if self.peek_token_ref().token == Token::LParen && self.peek_nth_token_ref(1).token == Token::RParen {
            self.advance_token();
            self.advance_token();
            return Ok(vec![]);
        }
        self.list(|p| {
            let key = p.text("an option, such as 'connector' = 'filesystem'")?;
            p.expect(&Token::Eq)?;
            Ok(Setting { key, value: p.text("the option's value, in single quotes")? })
        })
    }

    fn here(&self) -> Location {
        match self.peek_token_ref() {
            TokenWithSpan { token: Token::EOF, .. } => self.since(Location::empty()).end,
            next => next.span.start,
        }
    }

    fn since(&self, start: Location) -> Span {
        let taken = (0..self.index()).rev().map(|index| self.token_at(index));
        let last = taken.into_iter().find(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
        Span::new(start, last.map_or(start, |last| last.span.end))
    }

    fn wanted<T>(&self, what: &str) -> Parsed<T> {
        self.expected_ref(what, self.peek_token_ref())
    }
}
