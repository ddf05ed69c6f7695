//! `EXPLAIN`.

use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::Token;

use super::{insert, query_or_wanted, spanned};
use crate::parse::statement::{Explain, ExplainDetail, Statement};
use crate::parse::words::{Parsed, Words};

const DETAILS: [(&str, ExplainDetail); 4] = [
    ("ESTIMATED_COST", ExplainDetail::EstimatedCost),
    ("CHANGELOG_MODE", ExplainDetail::ChangelogMode),
    ("PLAN_ADVICE", ExplainDetail::PlanAdvice),
    ("JSON_EXECUTION_PLAN", ExplainDetail::JsonExecutionPlan),
];

/// `EXPLAIN [details | PLAN FOR] statement`.
pub(super) fn explain(p: &mut Parser) -> Parsed<Statement> {
    p.advance_token();
    let details = if p.words(&["PLAN", "FOR"]) { vec![] } else { details(p)? };
    let statement = spanned(p, |p| match () {
        () if p.at_words(&["INSERT"]) => Ok(Statement::Insert(Box::new(insert::insert(p)?))),
        () if p.at_words(&["STATEMENT"]) || p.at_words(&["EXECUTE"]) => insert::set(p),
        () if p.at_words(&["CREATE"]) => super::create::create(p),
        () => query_or_wanted(p),
    })?;
    Ok(Statement::Explain(Box::new(Explain { details, statement })))
}

fn details(p: &mut Parser) -> Parsed<Vec<ExplainDetail>> {
    let mut details = vec![];
    while let Some((_, detail)) = DETAILS.iter().find(|(word, _)| p.word(word)) {
        details.push(*detail);
        if !p.consume_token(&Token::Comma) {
            return Ok(details);
        }
    }
    if details.is_empty() {
        Ok(details)
    } else {
        p.wanted("ESTIMATED_COST, CHANGELOG_MODE, PLAN_ADVICE or JSON_EXECUTION_PLAN")
    }
}
