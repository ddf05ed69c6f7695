//! `ALTER`.

use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::Token;

use super::table::{self, Part};
use super::{name_if_exists, query, unsupported};
use crate::parse::statement::{
    AlterAction, AlterTable, AlterView, AlterViewAction, Position, PrimaryKey, SchemaPart, Statement,
};
use crate::parse::words::{Parsed, Words, fault};

/// `ALTER TABLE` and `ALTER VIEW`.
pub(super) fn alter(p: &mut Parser) -> Parsed<Statement> {
    p.advance_token();
    match () {
        () if p.word("TABLE") => table(p),
        () if p.word("VIEW") => view(p),
        () => {
            let others = ["DATABASE", "CATALOG", "FUNCTION", "TEMPORARY", "MODEL", "MATERIALIZED"];
            let known = others.iter().any(|word| p.at_words(&[word]));
            if known { Ok(unsupported(p, "ALTER")) } else { p.wanted("TABLE or VIEW") }
        }
    }
}

fn table(p: &mut Parser) -> Parsed<Statement> {
    let if_exists = name_if_exists(p);
    let name = p.name()?;
    let action = match () {
        () if p.word("RENAME") => rename(p)?,
        () if p.word("SET") => AlterAction::Set(p.settings()?),
        () if p.word("RESET") => AlterAction::Reset(p.list(|p| p.text("an option's name, in single quotes"))?),
        () if ["ADD", "DROP"].iter().any(|word| p.at_words(&[word, "PARTITION"])) => {
            return Ok(Statement::Unsupported("ALTER TABLE … PARTITION".into()));
        }
        () if ["ADD", "DROP", "MODIFY"].iter().any(|word| p.at_words(&[word, "DISTRIBUTION"])) => {
            return Ok(Statement::Unsupported("ALTER TABLE … DISTRIBUTION".into()));
        }
        () if p.word("ADD") => AlterAction::Add(parts(p)?),
        () if p.word("MODIFY") => AlterAction::Modify(parts(p)?),
        () if p.word("DROP") => dropped(p)?,
        () => return p.wanted("RENAME, SET, RESET, ADD, MODIFY or DROP"),
    };
    Ok(Statement::AlterTable(Box::new(AlterTable { if_exists, name, action })))
}

fn rename(p: &mut Parser) -> Parsed<AlterAction> {
    if p.word("TO") {
        return p.name().map(AlterAction::Rename);
    }
    let from = p.ident()?;
    p.expect_words(&["TO"])?;
    Ok(AlterAction::RenameColumn(from, p.ident()?))
}

fn dropped(p: &mut Parser) -> Parsed<AlterAction> {
    match () {
        () if p.words(&["PRIMARY", "KEY"]) => Ok(AlterAction::DropPrimaryKey),
        () if p.word("CONSTRAINT") => p.ident().map(AlterAction::DropConstraint),
        () if p.word("WATERMARK") => Ok(AlterAction::DropWatermark),
        () if p.peek_token_ref().token == Token::LParen => p.list(|p| p.ident()).map(AlterAction::DropColumns),
        () => {
            p.word("COLUMN");
            Ok(AlterAction::DropColumns(vec![p.ident()?]))
        }
    }
}

fn parts(p: &mut Parser) -> Parsed<Vec<SchemaPart>> {
    let parts = match p.peek_token_ref().token == Token::LParen {
        true => p.list(part)?,
        false => vec![part(p)?],
    };
    let with_key = |(part, key): (SchemaPart, Option<PrimaryKey>)| [Some(part), key.map(SchemaPart::PrimaryKey)];
    Ok(parts.into_iter().flat_map(with_key).flatten().collect())
}

fn part(p: &mut Parser) -> Parsed<(SchemaPart, Option<PrimaryKey>)> {
    p.word("COLUMN");
    let at = p.here();
    let (part, key) = table::part(p)?;
    let part = match part {
        Part::Column(column) => SchemaPart::Column(column, position(p)?),
        Part::PrimaryKey(key) => SchemaPart::PrimaryKey(key),
        Part::Watermark(watermark) => SchemaPart::Watermark(watermark),
        Part::Name(name) => return fault(format!("column {name} has no type"), at),
    };
    Ok((part, key))
}

fn position(p: &mut Parser) -> Parsed<Option<Position>> {
    if p.word("FIRST") {
        return Ok(Some(Position::First));
    }
    if p.word("AFTER") { p.ident().map(|name| Some(Position::After(name))) } else { Ok(None) }
}

fn view(p: &mut Parser) -> Parsed<Statement> {
    let name = p.name()?;
    let action = match p.words(&["RENAME", "TO"]) {
        true => AlterViewAction::Rename(p.name()?),
        false => {
            p.expect_words(&["AS"])?;
            AlterViewAction::Query(query(p)?)
        }
    };
    Ok(Statement::AlterView(Box::new(AlterView { name, action })))
}
