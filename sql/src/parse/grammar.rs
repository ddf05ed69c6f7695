//! Reads a statement of Flink's: by its first words, one function each, in the files of this folder.

mod alter;
mod create;
mod explain;
mod insert;
mod show;
mod table;

use datafusion_sql::sqlparser::ast::{Query, SetExpr};
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::Token;

use super::statement::{Drop, Object, Setting, Spanned, Statement, Use};
use super::words::{Parsed, Words, fault};

/// What Flink knows and we do not, by its first words.
const UNSUPPORTED: [&[&str]; 17] = [
    &["ANALYZE", "TABLE"],
    &["TRUNCATE", "TABLE"],
    &["CALL"],
    &["LOAD", "MODULE"],
    &["UNLOAD", "MODULE"],
    &["DELETE"],
    &["UPDATE"],
    &["MERGE"],
    &["REPLACE"],
    &["ADD", "JAR"],
    &["REMOVE", "JAR"],
    &["STOP", "JOB"],
    &["COMPILE"],
    &["EXECUTE", "PLAN"],
    &["EXECUTE", "JOB"],
    &["CLEAR"],
    &["QUIT"],
];

/// The words that statements begin with, for suggestions.
pub(super) const BEGINNINGS: [&str; 21] = [
    "ALTER", "ANALYZE", "BEGIN", "CALL", "CREATE", "DESC", "DESCRIBE", "DROP", "EXECUTE", "EXPLAIN", "INSERT", "LOAD",
    "RESET", "SELECT", "SET", "SHOW", "TABLE", "TRUNCATE", "USE", "VALUES", "WITH",
];

/// Reads a statement that is all there is.
pub(super) fn whole(p: &mut Parser) -> Parsed<Spanned<Statement>> {
    let read = spanned(p, statement)?;
    match read.value {
        Statement::Unsupported(_) => Ok(read),
        _ => p.consume_token(&Token::EOF).then_some(read).map_or_else(|| p.wanted("the end of the statement"), Ok),
    }
}

fn spanned<T>(p: &mut Parser, part: impl FnOnce(&mut Parser) -> Parsed<T>) -> Parsed<Spanned<T>> {
    let start = p.here();
    let value = part(p)?;
    Ok(Spanned { value, span: p.since(start) })
}

fn statement(p: &mut Parser) -> Parsed<Statement> {
    if let Some(words) = UNSUPPORTED.iter().find(|words| p.at_words(words)) {
        return Ok(Statement::Unsupported(words.join(" ")));
    }
    let Token::Word(word) = &p.peek_token_ref().token else { return query_or_wanted(p) };
    match word.value.to_ascii_uppercase().as_str() {
        "INSERT" => Ok(Statement::Insert(Box::new(insert::insert(p)?))),
        "EXECUTE" | "BEGIN" | "STATEMENT" => insert::set(p),
        "EXPLAIN" => explain::explain(p),
        "CREATE" => create::create(p),
        "ALTER" => alter::alter(p),
        "DROP" => drop(p),
        "USE" => used(p),
        "SHOW" => show::show(p),
        "DESCRIBE" | "DESC" => describe(p),
        "SET" => set(p),
        "RESET" => reset(p),
        _ => query_or_wanted(p),
    }
}

fn query_or_wanted(p: &mut Parser) -> Parsed<Statement> {
    let begins = ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| p.at_words(&[word]));
    if begins || p.peek_token_ref().token == Token::LParen {
        return Ok(Statement::Query(query(p)?));
    }
    p.wanted("a statement")
}

/// A query. (sqlparser also takes `WITH … INSERT` for one.)
fn query(p: &mut Parser) -> Parsed<Box<Query>> {
    let at = p.here();
    let query = p.parse_query()?;
    match query.body.as_ref() {
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            fault("this is a statement, where a query is expected", at)
        }
        _ => Ok(query),
    }
}

fn name_if_exists(p: &mut Parser) -> bool {
    p.words(&["IF", "EXISTS"])
}

fn options(p: &mut Parser) -> Parsed<Vec<Setting>> {
    if p.word("WITH") { p.settings() } else { Ok(vec![]) }
}

/// What kind of thing comes next.
fn object(p: &mut Parser) -> Option<Object> {
    let objects = [
        ("TABLE", Object::Table),
        ("VIEW", Object::View),
        ("FUNCTION", Object::Function),
        ("CATALOG", Object::Catalog),
        ("DATABASE", Object::Database),
    ];
    objects.into_iter().find(|(word, _)| p.word(word)).map(|(_, object)| object)
}

/// The statement's first words, for one that is not supported: `CREATE MODEL`.
fn unsupported(p: &Parser, first: &str) -> Statement {
    Statement::Unsupported(format!("{first} {}", p.peek_token_ref().token.to_string().to_uppercase()))
}

fn drop(p: &mut Parser) -> Parsed<Statement> {
    p.advance_token();
    let temporary = p.word("TEMPORARY");
    let system = temporary && p.word("SYSTEM");
    let Some(object) = object(p) else {
        return match ["MATERIALIZED", "MODEL", "CONNECTION"].iter().any(|word| p.at_words(&[word])) {
            true => Ok(unsupported(p, "DROP")),
            false => p.wanted("TABLE, VIEW, FUNCTION, CATALOG or DATABASE"),
        };
    };
    let if_exists = name_if_exists(p);
    let name = p.name()?;
    let cascade = object == Object::Database && p.word("CASCADE");
    let _ = cascade || p.word("RESTRICT");
    Ok(Statement::Drop(Drop { object, temporary, system, if_exists, name, cascade }))
}

fn used(p: &mut Parser) -> Parsed<Statement> {
    p.advance_token();
    if p.at_words(&["MODULES"]) {
        return Ok(unsupported(p, "USE"));
    }
    if p.word("CATALOG") { p.ident().map(Use::Catalog) } else { p.name().map(Use::Database) }.map(Statement::Use)
}

fn describe(p: &mut Parser) -> Parsed<Statement> {
    p.advance_token();
    if ["CATALOG", "DATABASE", "FUNCTION", "JOB", "MODEL"].iter().any(|word| p.at_words(&[word])) && followed_by_name(p)
    {
        return Ok(unsupported(p, "DESCRIBE"));
    }
    let extended = p.word("EXTENDED");
    p.word("TABLE");
    Ok(Statement::Describe { extended, name: p.name()? })
}

fn followed_by_name(p: &Parser) -> bool {
    matches!(p.peek_nth_token_ref(1).token, Token::Word(_) | Token::SingleQuotedString(_))
}

/// `SET 'key' = 'value'`, with or without quotes.
fn set(p: &mut Parser) -> Parsed<Statement> {
    p.advance_token();
    if p.peek_token_ref().token == Token::EOF {
        return Ok(Statement::Set(None));
    }
    let key = bare(p, "a setting, such as 'execution.runtime-mode'")?;
    p.expect(&Token::Eq)?;
    let value = bare(p, "the setting's value, in single quotes")?;
    Ok(Statement::Set(Some(Setting { key, value })))
}

fn reset(p: &mut Parser) -> Parsed<Statement> {
    p.advance_token();
    if p.peek_token_ref().token == Token::EOF {
        return Ok(Statement::Reset(None));
    }
    Ok(Statement::Reset(Some(bare(p, "a setting, such as 'execution.runtime-mode'")?)))
}

/// A text in quotes, or what stands there up to a space or `=`: `table.exec.state.ttl`, `10 s`.
fn bare(p: &mut Parser, what: &str) -> Parsed<Spanned<String>> {
    if !matches!(p.peek_token_ref().token, Token::Word(_) | Token::Number(..) | Token::Minus) {
        return p.text(what);
    }
    spanned(p, |p| {
        let mut text = String::new();
        while !matches!(p.peek_token_ref().token, Token::EOF | Token::Eq) {
            let touches = p.since(p.here()).end == p.here();
            let gap = if text.is_empty() || touches { "" } else { " " };
            text = format!("{text}{gap}{}", p.next_token().token);
        }
        Ok(text)
    })
}
