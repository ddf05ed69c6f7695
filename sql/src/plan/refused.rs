//! Functions of Flink's that are not there: said so before a planner looks for them, with the reason.

use std::ops::ControlFlow;

use datafusion_common::{Result, not_impl_err};
use datafusion_sql::sqlparser::ast::{Expr, Query, Visit, Visitor};

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

impl Visitor for Finder {
    type Break = (&'static str, &'static str);

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = name_of(&function.name).to_lowercase();
        match UNSUPPORTED.iter().find(|(refused, _)| *refused == name && *refused != PROCTIME) {
            Some(refused) => ControlFlow::Break(*refused),
            None => ControlFlow::Continue(()),
        }
    }
}
