//! `INSERT`, and sets of them: `EXECUTE STATEMENT SET BEGIN …; END`.

use datafusion_sql::sqlparser::ast::{Expr, Ident};
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::Token;

use super::{query, spanned};
use crate::parse::statement::{Insert, Spanned, Statement};
use crate::parse::words::{Parsed, Words};

/// `INSERT INTO|OVERWRITE t [PARTITION (…)] [(…)] query`.
pub(super) fn insert(p: &mut Parser) -> Parsed<Insert> {
    p.expect_words(&["INSERT"])?;
    let overwrite = p.word("OVERWRITE");
    if !overwrite && !p.word("INTO") {
        return p.wanted("INTO or OVERWRITE");
    }
    p.word("TABLE");
    let table = p.name()?;
    let partition = if p.word("PARTITION") { p.list(assignment)? } else { vec![] };
    let columns = if begins_columns(p) { p.list(|p| p.ident())? } else { vec![] };
    Ok(Insert { overwrite, table, options: vec![], partition, columns, query: query(p)? })
}

fn assignment(p: &mut Parser) -> Parsed<(Ident, Expr)> {
    let column = p.ident()?;
    p.expect(&Token::Eq)?;
    Ok((column, p.parse_expr()?))
}

/// Whether `(` begins names rather than a query.
fn begins_columns(p: &Parser) -> bool {
    let [first, second, third] = p.peek_tokens_ref::<3>().map(|token| &token.token);
    let word = matches!(second, Token::Word(word) if word.quote_style.is_some() || !is_query(&word.value));
    *first == Token::LParen && (word || matches!((second, third), (Token::Word(_), Token::Comma | Token::RParen)))
}

fn is_query(word: &str) -> bool {
    ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|begin| word.eq_ignore_ascii_case(begin))
}

/// `EXECUTE STATEMENT SET BEGIN …; END` and `BEGIN STATEMENT SET; …; END`; `EXECUTE` may stand before any statement.
pub(super) fn set(p: &mut Parser) -> Parsed<Statement> {
    if p.words(&["BEGIN", "STATEMENT", "SET"]) {
        p.expect(&Token::SemiColon)?;
        return inserts(p);
    }
    let executed = p.word("EXECUTE");
    if p.words(&["STATEMENT", "SET"]) {
        p.expect_words(&["BEGIN"])?;
        return inserts(p);
    }
    match executed && p.at_words(&["INSERT"]) {
        true => Ok(Statement::Insert(Box::new(insert(p)?))),
        false if executed && p.at_words(&["SELECT"]) => Ok(Statement::Query(query(p)?)),
        false => p.wanted("STATEMENT SET"),
    }
}

fn inserts(p: &mut Parser) -> Parsed<Statement> {
    let mut inserts: Vec<Spanned<Insert>> = vec![];
    while !p.word("END") {
        if !p.at_words(&["INSERT"]) {
            return p.wanted("INSERT or END");
        }
        inserts.push(spanned(p, insert)?);
        p.expect(&Token::SemiColon)?;
    }
    Ok(Statement::StatementSet(inserts))
}
