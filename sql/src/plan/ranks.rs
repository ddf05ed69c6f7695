//! Filters of ranks, brought to where [`crate::build`] looks for them: right above the window that ranks.
//!
//! DataFusion's optimiser puts a projection between the two where not all columns are needed any more. The filter goes below
//! it, and what is selected above it becomes one with it, so that a rank that nobody asks for can be told apart.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::logical_plan::{Filter, Projection};
use datafusion_expr::{Expr, LogicalPlan};

/// Does so in a plan and all its parts.
pub(super) fn settle(plan: LogicalPlan) -> Result<LogicalPlan> {
    let settled = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Filter(filter) => sink(filter),
        LogicalPlan::Projection(projection) => merge(projection),
        other => Ok(Transformed::no(other)),
    });
    Ok(settled?.data)
}

/// A filter of some columns of a window becomes some columns of what the filter leaves of the window.
fn sink(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    let Some(columns) = columns(&filter.input).filter(|columns| is_window(&columns.input)) else {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    };
    let predicate = through(filter.predicate.clone(), columns)?;
    let filtered = LogicalPlan::Filter(Filter::try_new(predicate, columns.input.clone())?);
    let moved = Projection::try_new_with_schema(columns.expr.clone(), Arc::new(filtered), columns.schema.clone())?;
    Ok(Transformed::yes(LogicalPlan::Projection(moved)))
}

/// What is selected of some columns of a filtered window is selected of that itself.
fn merge(above: Projection) -> Result<Transformed<LogicalPlan>> {
    let filtered = |plan: &LogicalPlan| matches!(plan, LogicalPlan::Filter(filter) if is_window(&filter.input));
    let Some(columns) = columns(&above.input).filter(|columns| filtered(&columns.input)) else {
        return Ok(Transformed::no(LogicalPlan::Projection(above)));
    };
    let exprs = above.expr.iter().map(|expr| through(expr.clone(), columns)).collect::<Result<_>>()?;
    let merged = Projection::try_new_with_schema(exprs, columns.input.clone(), above.schema.clone())?;
    Ok(Transformed::yes(LogicalPlan::Projection(merged)))
}

/// A projection that does no more than to select columns.
fn columns(plan: &LogicalPlan) -> Option<&Projection> {
    let LogicalPlan::Projection(projection) = plan else { return None };
    let is_column = |expr: &Expr| matches!(expr.clone().unalias(), Expr::Column(_));
    projection.expr.iter().all(is_column).then_some(projection)
}

fn is_window(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => is_window(&alias.input),
        other => matches!(other, LogicalPlan::Window(_)),
    }
}

/// The same over the columns that a projection selects from.
fn through(expr: Expr, projection: &Projection) -> Result<Expr> {
    let replaced = expr.transform(|expr| {
        let index = match &expr {
            Expr::Column(column) => projection.schema.maybe_index_of_column(column),
            _ => None,
        };
        Ok(match index {
            Some(index) => Transformed::yes(projection.expr[index].clone().unalias()),
            None => Transformed::no(expr),
        })
    });
    Ok(replaced?.data)
}
