//! What is not supported, and a planner would take for something else: functions of Flink's that are not there,
//! `INTERSECT ALL`, `TABLESAMPLE`, `DISTINCT ON`. Said so before a planner sees it, with the reason.

use std::ops::ControlFlow;

use datafusion_common::{Result, not_impl_err};
use datafusion_sql::sqlparser::ast::{
    Distinct, Expr, Query, Select, SetExpr, SetOperator, SetQuantifier, TableFactor, Visit, Visitor,
};

use super::proctime::PROCTIME;
use super::relation::name_of;
use crate::function::UNSUPPORTED;

/// Refuses a query that calls one of them.
pub(super) fn check(query: &Query) -> Result<()> {
    match query.visit(&mut Finder) {
        ControlFlow::Break((name, why)) => not_impl_err!("{}: {why}", name.to_uppercase()),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Finder;

type Found = ControlFlow<(&'static str, &'static str)>;

impl Visitor for Finder {
    type Break = (&'static str, &'static str);

    fn pre_visit_query(&mut self, query: &Query) -> Found {
        set(&query.body)
    }

    fn pre_visit_select(&mut self, select: &Select) -> Found {
        match select.distinct {
            Some(Distinct::On(_)) => ControlFlow::Break((
                "DISTINCT ON",
                "filter by ROW_NUMBER() OVER (PARTITION BY … ORDER BY …) = 1 instead",
            )),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> Found {
        match table {
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                ControlFlow::Break(("TABLESAMPLE", "filter by RAND() < 0.1 instead"))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = name_of(&function.name).to_lowercase();
        match UNSUPPORTED.iter().find(|(refused, _)| *refused == name && *refused != PROCTIME) {
            Some(refused) => ControlFlow::Break(*refused),
            None => ControlFlow::Continue(()),
        }
    }
}

/// Looks through the operations on sets of a query.
fn set(body: &SetExpr) -> Found {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return ControlFlow::Continue(()) };
    if matches!(set_quantifier, SetQuantifier::All) && matches!(op, SetOperator::Intersect | SetOperator::Except) {
        let name = if matches!(op, SetOperator::Except) { "EXCEPT ALL" } else { "INTERSECT ALL" };
        return ControlFlow::Break((name, "without ALL it is: each row comes once then"));
    }
    set(left)?;
    set(right)
}
