//! Cuts a text into statements.
//!
//! The text is read into tokens once, so that all places are those of the whole text; a statement is a run of tokens
//! up to `;`, or for a set of statements up to the `;` after `END`.

use datafusion_common::DataFusionError;
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, TokenizerError};

use super::dialect::DIALECT;
use super::statement::{Spanned, Statement};
use super::words::is_word;
use super::{Diagnostic, depth, diagnostic, grammar, hints};

/// A statement's part of a text.
#[derive(Debug)]
pub struct Piece<'a> {
    text: &'a str,
    tokens: Vec<TokenWithSpan>,
    wrong: Option<TokenizerError>,
}

/// Cuts a text into statements: together, the pieces are the text. The last one may be blank.
pub fn split(text: &str) -> Vec<Piece<'_>> {
    let (tokens, mut wrong) = tokens(text);
    let mut cutter = Cutter::default();
    let mut cursor = Cursor::new(text);
    let mut pieces = vec![];
    let mut run = vec![];
    for token in tokens {
        let (ends, end) = (cutter.ends(&token.token), token.span.end);
        run.push(token);
        if ends {
            pieces.push(Piece { text: cursor.up_to(end), tokens: std::mem::take(&mut run), wrong: None });
            cutter = Cutter::default();
        }
    }
    let rest = cursor.rest();
    if !rest.is_empty() {
        pieces.push(Piece { text: rest, tokens: run, wrong: wrong.take() });
    }
    pieces
}

/// The statements of a text, each with its place, or with what is wrong with it.
pub fn parse(text: &str) -> Vec<Result<Spanned<Statement>, Diagnostic>> {
    split(text).iter().filter_map(|piece| piece.parse().transpose()).collect()
}

/// One query.
pub(crate) fn query(text: &str) -> Result<datafusion_sql::sqlparser::ast::Query, Diagnostic> {
    match parse(text).pop() {
        Some(Ok(Spanned { value: Statement::Query(query), .. })) => Ok(*query),
        Some(Err(wrong)) => Err(wrong),
        _ => Err(Diagnostic::new("this is no query")),
    }
}

/// Whether a shell should take what was typed: no statement has begun that has not ended with `;`.
///
/// What is wrong in a way that no further line can mend is to be taken too, so that it is told.
pub fn is_complete(text: &str) -> bool {
    split(text).last().is_none_or(Piece::is_complete)
}

impl<'a> Piece<'a> {
    /// The statement, with what stands before it and its `;`.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Where the statement is, without blanks and comments around it, but with its `;`; `None` if there is none.
    pub fn span(&self) -> Option<Span> {
        let mut words = self.tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
        let first = words.next()?;
        Some(Span::new(first.span.start, words.next_back().unwrap_or(first).span.end))
    }

    /// Reads the statement; `None` if there is none.
    ///
    /// # Errors
    /// Tells what is wrong, and where.
    pub fn parse(&self) -> Result<Option<Spanned<Statement>>, Diagnostic> {
        if let Some(wrong) = &self.wrong {
            return Err(diagnostic::of_tokens(wrong));
        }
        let tokens = self.statement();
        if tokens.iter().all(|token| matches!(token.token, Token::Whitespace(_))) {
            return Ok(None);
        }
        depth::check(tokens)?;
        let mut statement = read(tokens, grammar::whole).map_err(|error| diagnostic::of_parser(&error, tokens))?;
        hints::settle(&mut statement.value, hints::find(tokens)?)?;
        Ok(Some(statement))
    }

    /// What a planner finds wrong with the statement, in plain words.
    pub fn explain(&self, error: &DataFusionError) -> Vec<Diagnostic> {
        diagnostic::of_planner(error, self.statement())
    }

    fn is_complete(&self) -> bool {
        match &self.wrong {
            Some(wrong) => !diagnostic::is_unfinished(wrong),
            None => self.span().is_none() || self.statement().len() < self.tokens.len(),
        }
    }

    /// The tokens before the last `;`.
    fn statement(&self) -> &[TokenWithSpan] {
        match self.tokens.split_last() {
            Some((last, statement)) if last.token == Token::SemiColon && !self.within_set() => statement,
            _ => &self.tokens,
        }
    }

    fn within_set(&self) -> bool {
        let mut cutter = Cutter::default();
        !self.tokens.iter().map(|token| cutter.ends(&token.token)).fold(false, |_, ends| ends)
    }
}

/// Reads tokens with a rule.
pub(super) fn read<T>(
    tokens: &[TokenWithSpan],
    rule: impl FnOnce(&mut Parser) -> super::words::Parsed<T>,
) -> super::words::Parsed<T> {
    rule(&mut Parser::new(&DIALECT).with_tokens_with_locations(tokens.to_vec()))
}

/// The tokens of a text, and what is wrong after them. (`>>` ends two types; Flink has no such operator.)
pub(super) fn tokens(text: &str) -> (Vec<TokenWithSpan>, Option<TokenizerError>) {
    let mut tokens = vec![];
    let wrong = Tokenizer::new(&DIALECT, text).tokenize_with_location_into_buf(&mut tokens).err();
    let tokens = tokens.into_iter().flat_map(|token| match token.token {
        Token::ShiftRight => {
            let middle = Location { column: token.span.start.column + 1, ..token.span.start };
            let spans = [Span::new(token.span.start, middle), Span::new(middle, token.span.end)];
            spans.map(|span| TokenWithSpan::new(Token::Gt, span)).to_vec()
        }
        _ => vec![token],
    });
    (tokens.collect(), wrong)
}

/// Knows where a statement ends.
#[derive(Default)]
struct Cutter {
    /// How many tokens there were that are no blanks.
    seen: usize,
    /// The last of them, if they may open a set of statements.
    last: [Option<&'static str>; 4],
    /// Whether this is within a set of statements.
    within: bool,
    /// Whether a statement of the set begins here.
    fresh: bool,
}

impl Cutter {
    /// Whether the statement ends with that token.
    fn ends(&mut self, token: &Token) -> bool {
        if matches!(token, Token::Whitespace(_)) {
            return false;
        }
        self.see(token);
        let fresh = std::mem::take(&mut self.fresh);
        if self.within {
            self.within = !(fresh && is_word(token, "END"));
            self.fresh = *token == Token::SemiColon;
            return false;
        }
        let opens = match self.last {
            [_, Some("STATEMENT"), Some("SET"), Some("BEGIN")] => self.seen <= 8,
            [Some("BEGIN"), Some("STATEMENT"), Some("SET"), Some(";")] => self.seen == 4,
            _ => false,
        };
        (self.within, self.fresh) = (opens, opens);
        !opens && *token == Token::SemiColon
    }

    fn see(&mut self, token: &Token) {
        self.seen += 1;
        let word = ["STATEMENT", "SET", "BEGIN"].into_iter().find(|word| is_word(token, word));
        self.last.rotate_left(1);
        self.last[3] = word.or((*token == Token::SemiColon).then_some(";"));
    }
}

/// Goes through a text by lines and columns, as sqlparser counts them.
struct Cursor<'a> {
    rest: &'a str,
    at: Location,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text, at: Location { line: 1, column: 1 } }
    }

    fn up_to(&mut self, end: Location) -> &'a str {
        let mut length = 0;
        for character in self.rest.chars() {
            if self.at >= end {
                break;
            }
            length += character.len_utf8();
            self.at = match character {
                '\n' => Location { line: self.at.line + 1, column: 1 },
                _ => Location { column: self.at.column + 1, ..self.at },
            };
        }
        let (piece, rest) = self.rest.split_at(length);
        self.rest = rest;
        piece
    }

    fn rest(self) -> &'a str {
        self.rest
    }
}
