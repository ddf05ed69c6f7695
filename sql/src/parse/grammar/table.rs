//! `CREATE TABLE`: columns, keys, watermarks, and what follows them.

use datafusion_sql::sqlparser::ast::Ident;
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token};

use super::create::{self, Manner};
use super::{options, query};
use crate::parse::statement::{
    Column, ColumnKind, CreateTable, Feature, Like, LikeRule, Merging, PrimaryKey, Statement, Watermark,
};
use crate::parse::types;
use crate::parse::words::{Parsed, Words, fault};

/// What may stand between the parentheses.
pub(super) enum Part {
    Column(Column),
    PrimaryKey(PrimaryKey),
    Watermark(Watermark),
    /// A column's name alone, before `AS` a query.
    Name(Ident),
}

#[derive(Default)]
struct Schema {
    columns: Vec<Column>,
    order: Vec<Ident>,
    primary_key: Option<PrimaryKey>,
    watermark: Option<Watermark>,
}

/// The rest of `CREATE TABLE`.
pub(super) fn table(p: &mut Parser, manner: Manner) -> Parsed<Statement> {
    let (if_not_exists, name) = create::name(p)?;
    let Schema { columns, order, primary_key, watermark } = schema(p)?;
    let comment = p.comment()?;
    let distributed = distributed(p)?;
    let partitioned_by = if p.words(&["PARTITIONED", "BY"]) { p.list(|p| p.ident())? } else { vec![] };
    let options = options(p)?;
    let like = if p.word("LIKE") { Some(like(p)?) } else { None };
    let query = if p.word("AS") { Some(query(p)?) } else { None };
    let Manner { or_replace, temporary, .. } = manner;
    let table = CreateTable {
        or_replace,
        temporary,
        if_not_exists,
        name,
        columns,
        order,
        primary_key,
        watermark,
        comment,
        distributed,
        partitioned_by,
        options,
        like,
        query,
    };
    check(p, table)
}

fn check(p: &Parser, table: CreateTable) -> Parsed<Statement> {
    if table.query.is_none() && !table.order.is_empty() {
        return fault(format!("column {} has no type", table.order[0]), table.order[0].span.start);
    }
    if table.query.is_some() && table.like.is_some() {
        return fault("a table is either LIKE another or AS a query", p.here());
    }
    Ok(Statement::CreateTable(Box::new(table)))
}

fn schema(p: &mut Parser) -> Parsed<Schema> {
    let mut schema = Schema::default();
    if p.peek_token_ref().token != Token::LParen {
        return Ok(schema);
    }
    if p.peek_nth_token_ref(1).token == Token::RParen {
        p.advance_token();
        p.advance_token();
        return Ok(schema);
    }
    p.list(|p| {
        let at = p.here();
        let (part, key) = part(p)?;
        key.map_or(Ok(()), |key| schema.add(Part::PrimaryKey(key), at))?;
        schema.add(part, at)
    })?;
    Ok(schema)
}

impl Schema {
    fn add(&mut self, part: Part, at: Location) -> Parsed<()> {
        match part {
            Part::Column(column) => self.columns.push(column),
            Part::Name(name) => self.order.push(name),
            Part::PrimaryKey(_) if self.primary_key.is_some() => return fault("a table has one primary key", at),
            Part::PrimaryKey(key) => self.primary_key = Some(key),
            Part::Watermark(_) if self.watermark.is_some() => return fault("a table has one watermark", at),
            Part::Watermark(watermark) => self.watermark = Some(watermark),
        }
        Ok(())
    }
}

/// A part, and the key that its column is.
pub(super) fn part(p: &mut Parser) -> Parsed<(Part, Option<PrimaryKey>)> {
    if p.at_words(&["WATERMARK", "FOR"]) {
        return Ok((Part::Watermark(watermark(p)?), None));
    }
    let unique = p.at_words(&["UNIQUE"]) && p.peek_nth_token_ref(1).token == Token::LParen;
    if unique || p.at_words(&["PRIMARY", "KEY"]) || p.at_words(&["CONSTRAINT"]) {
        return Ok((Part::PrimaryKey(primary_key(p)?), None));
    }
    if matches!(p.peek_nth_token_ref(1).token, Token::Comma | Token::RParen) {
        return Ok((Part::Name(p.ident()?), None));
    }
    let (column, key) = column(p)?;
    Ok((Part::Column(column), key))
}

fn watermark(p: &mut Parser) -> Parsed<Watermark> {
    let start = p.here();
    p.expect_words(&["WATERMARK", "FOR"])?;
    let column = p.name()?;
    p.expect_words(&["AS"])?;
    let expr = p.parse_expr()?;
    Ok(Watermark { column, expr, span: p.since(start) })
}

fn primary_key(p: &mut Parser) -> Parsed<PrimaryKey> {
    let start = p.here();
    let name = if p.word("CONSTRAINT") { Some(p.ident()?) } else { None };
    if p.at_words(&["UNIQUE"]) {
        return fault("UNIQUE is not supported\nuse PRIMARY KEY (…) NOT ENFORCED", p.here());
    }
    p.expect_words(&["PRIMARY", "KEY"])?;
    let columns = p.list(|p| p.ident())?;
    not_enforced(p, start)?;
    Ok(PrimaryKey { name, columns, span: p.since(start) })
}

/// Nobody checks that keys are unique, and Flink has it said.
fn not_enforced(p: &mut Parser, start: Location) -> Parsed<()> {
    match p.words(&["NOT", "ENFORCED"]) {
        true => Ok(()),
        false => fault("keys are not checked\nadd NOT ENFORCED after PRIMARY KEY", start),
    }
}

fn column(p: &mut Parser) -> Parsed<(Column, Option<PrimaryKey>)> {
    let start = p.here();
    let name = p.ident()?;
    if p.word("AS") {
        let kind = ColumnKind::Computed(p.parse_expr()?);
        return Ok((Column { name, kind, comment: p.comment()?, span: p.since(start) }, None));
    }
    let mut of = types::parse(p)?;
    if p.word("METADATA") {
        let key = if p.word("FROM") { Some(p.text("the metadata's key, in single quotes")?) } else { None };
        let kind = ColumnKind::Metadata { of, key, is_virtual: p.word("VIRTUAL") };
        return Ok((Column { name, kind, comment: p.comment()?, span: p.since(start) }, None));
    }
    let key = column_key(p, &name)?;
    if p.words(&["NOT", "NULL"]) {
        of.nullable = false;
    }
    let kind = ColumnKind::Physical(of);
    Ok((Column { name, kind, comment: p.comment()?, span: p.since(start) }, key))
}

fn column_key(p: &mut Parser, column: &Ident) -> Parsed<Option<PrimaryKey>> {
    let start = p.here();
    let name = if p.word("CONSTRAINT") { Some(p.ident()?) } else { None };
    if !p.words(&["PRIMARY", "KEY"]) {
        return if name.is_some() { p.wanted("PRIMARY KEY") } else { Ok(None) };
    }
    not_enforced(p, start)?;
    Ok(Some(PrimaryKey { name, columns: vec![column.clone()], span: p.since(start) }))
}

/// `DISTRIBUTED BY [HASH|RANGE] (a) [INTO n BUCKETS]`, `DISTRIBUTED INTO n BUCKETS`.
fn distributed(p: &mut Parser) -> Parsed<Option<Span>> {
    let start = p.here();
    if !p.word("DISTRIBUTED") {
        return Ok(None);
    }
    if p.word("BY") {
        let _ = p.word("HASH") || p.word("RANGE");
        p.list(|p| p.ident())?;
    }
    if p.word("INTO") {
        p.number("a number of buckets")?;
        p.expect_words(&["BUCKETS"])?;
    }
    Ok(Some(p.since(start)))
}

fn like(p: &mut Parser) -> Parsed<Like> {
    let table = p.name()?;
    let mut rules = vec![];
    if p.consume_token(&Token::LParen) {
        while !p.consume_token(&Token::RParen) {
            rules.push(rule(p)?);
        }
    }
    Ok(Like { table, rules })
}

fn rule(p: &mut Parser) -> Parsed<LikeRule> {
    let mergings =
        [("INCLUDING", Merging::Including), ("EXCLUDING", Merging::Excluding), ("OVERWRITING", Merging::Overwriting)];
    let Some((_, merging)) = mergings.into_iter().find(|(word, _)| p.word(word)) else {
        return p.wanted("INCLUDING, EXCLUDING, OVERWRITING or ')'");
    };
    let features = [
        ("ALL", Feature::All),
        ("CONSTRAINTS", Feature::Constraints),
        ("DISTRIBUTION", Feature::Distribution),
        ("GENERATED", Feature::Generated),
        ("METADATA", Feature::Metadata),
        ("OPTIONS", Feature::Options),
        ("PARTITIONS", Feature::Partitions),
        ("WATERMARKS", Feature::Watermarks),
    ];
    match features.into_iter().find(|(word, _)| p.word(word)) {
        Some((_, feature)) => Ok(LikeRule { merging, feature }),
        None => p.wanted("ALL, CONSTRAINTS, DISTRIBUTION, GENERATED, METADATA, OPTIONS, PARTITIONS or WATERMARKS"),
    }
}
