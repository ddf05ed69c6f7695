//! `SHOW`.

use datafusion_sql::sqlparser::parser::Parser;

use super::{object, unsupported};
use crate::parse::statement::{Object, Show, ShowLike, ShowWhat, Statement};
use crate::parse::words::{Parsed, Words, fault};

/// `SHOW … [FROM|IN name] [[NOT] LIKE 'pattern']`.
pub(super) fn show(p: &mut Parser) -> Parsed<Statement> {
    p.advance_token();
    if ["MODULES", "FULL", "JARS", "PARTITIONS", "PROCEDURES", "MODELS", "MATERIALIZED"]
        .iter()
        .any(|word| p.at_words(&[word]))
    {
        return Ok(unsupported(p, "SHOW"));
    }
    let what = what(p)?;
    let of = if p.word("FROM") || p.word("IN") { Some(p.name()?) } else { None };
    if what == ShowWhat::Columns && of.is_none() {
        return p.wanted("FROM and a table");
    }
    Ok(Statement::Show(Show { what, of, like: like(p)? }))
}

fn what(p: &mut Parser) -> Parsed<ShowWhat> {
    let simple: [(&[&str], ShowWhat); 10] = [
        (&["TABLES"], ShowWhat::Tables),
        (&["VIEWS"], ShowWhat::Views),
        (&["COLUMNS"], ShowWhat::Columns),
        (&["CATALOGS"], ShowWhat::Catalogs),
        (&["CURRENT", "CATALOG"], ShowWhat::CurrentCatalog),
        (&["DATABASES"], ShowWhat::Databases),
        (&["CURRENT", "DATABASE"], ShowWhat::CurrentDatabase),
        (&["FUNCTIONS"], ShowWhat::Functions { user: false }),
        (&["USER", "FUNCTIONS"], ShowWhat::Functions { user: true }),
        (&["JOBS"], ShowWhat::Jobs),
    ];
    if let Some((_, what)) = simple.into_iter().find(|(words, _)| p.words(words)) {
        return Ok(what);
    }
    if !p.word("CREATE") {
        return p.wanted("TABLES, VIEWS, COLUMNS, CREATE, FUNCTIONS, CATALOGS, DATABASES, CURRENT or JOBS");
    }
    let at = p.here();
    match object(p) {
        Some(shown @ (Object::Table | Object::View | Object::Catalog)) => Ok(ShowWhat::Create(shown, p.name()?)),
        _ => fault("SHOW CREATE is for a TABLE, a VIEW or a CATALOG", at),
    }
}

fn like(p: &mut Parser) -> Parsed<Option<ShowLike>> {
    let not = p.word("NOT");
    let blind_to_case = p.word("ILIKE");
    if !blind_to_case && !p.word("LIKE") {
        return if not { p.wanted("LIKE") } else { Ok(None) };
    }
    let pattern = p.text("a pattern in single quotes, such as 'order%'")?.value;
    Ok(Some(ShowLike { not, blind_to_case, pattern }))
}
