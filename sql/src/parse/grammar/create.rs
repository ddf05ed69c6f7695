//! `CREATE`: tables are read in [`table`](super::table).

use datafusion_sql::sqlparser::ast::{Ident, ObjectName};
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::Token;

use super::{options, query, table, unsupported};
use crate::parse::statement::{CreateFunction, CreateNamespace, CreateView, Object, Spanned, Statement};
use crate::parse::words::{Parsed, Words, fault};

/// What stands between `CREATE` and a name.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    pub(super) or_replace: bool,
    pub(super) temporary: bool,
    pub(super) system: bool,
}

/// `CREATE …`.
pub(super) fn create(p: &mut Parser) -> Parsed<Statement> {
    p.advance_token();
    let or_replace = p.words(&["OR", "REPLACE"]);
    let temporary = p.word("TEMPORARY");
    let system = temporary && p.word("SYSTEM");
    let manner = Manner { or_replace, temporary, system };
    let at = p.here();
    match super::object(p) {
        Some(Object::Table) => table::table(p, manner),
        Some(Object::View) => view(p, manner),
        Some(Object::Function) => function(p, manner),
        Some(_) if temporary || or_replace => fault("only tables, views and functions are TEMPORARY or replaced", at),
        Some(object) => namespace(p, object),
        None if ["MODEL", "MATERIALIZED", "CONNECTION"].iter().any(|word| p.at_words(&[word])) => {
            Ok(unsupported(p, "CREATE"))
        }
        None => p.wanted("TABLE, VIEW, FUNCTION, CATALOG or DATABASE"),
    }
}

/// A name that may exist.
pub(super) fn name(p: &mut Parser) -> Parsed<(bool, ObjectName)> {
    let if_not_exists = p.words(&["IF", "NOT", "EXISTS"]);
    Ok((if_not_exists, p.name()?))
}

fn view(p: &mut Parser, manner: Manner) -> Parsed<Statement> {
    let (if_not_exists, name) = name(p)?;
    let columns = if p.peek_token_ref().token == Token::LParen { p.list(view_column)? } else { vec![] };
    let comment = p.comment()?;
    p.expect_words(&["AS"])?;
    let query = query(p)?;
    let Manner { or_replace, temporary, .. } = manner;
    let view = CreateView { or_replace, temporary, if_not_exists, name, columns, comment, query };
    Ok(Statement::CreateView(Box::new(view)))
}

fn view_column(p: &mut Parser) -> Parsed<(Ident, Option<String>)> {
    Ok((p.ident()?, p.comment()?))
}

fn function(p: &mut Parser, manner: Manner) -> Parsed<Statement> {
    let (if_not_exists, name) = name(p)?;
    p.expect_words(&["AS"])?;
    let definition = p.text("what the function is made of, in single quotes")?;
    let language = if p.word("LANGUAGE") { Some(language(p)?) } else { None };
    let using = if p.word("USING") { using(p)? } else { vec![] };
    let options = options(p)?;
    let Manner { temporary, system, .. } = manner;
    Ok(Statement::CreateFunction(CreateFunction {
        temporary,
        system,
        if_not_exists,
        name,
        definition,
        language,
        using,
        options,
    }))
}

fn language(p: &mut Parser) -> Parsed<Spanned<String>> {
    let name = p.ident()?;
    Ok(Spanned { value: name.value.to_uppercase(), span: name.span })
}

fn using(p: &mut Parser) -> Parsed<Vec<(String, Spanned<String>)>> {
    let mut resources = vec![];
    loop {
        let kind = p.ident()?.value.to_uppercase();
        resources.push((kind, p.text("a path in single quotes")?));
        if !p.consume_token(&Token::Comma) {
            return Ok(resources);
        }
    }
}

fn namespace(p: &mut Parser, object: Object) -> Parsed<Statement> {
    let (if_not_exists, name) = name(p)?;
    let comment = p.comment()?;
    let options = options(p)?;
    Ok(Statement::CreateNamespace(CreateNamespace { object, if_not_exists, name, comment, options }))
}
