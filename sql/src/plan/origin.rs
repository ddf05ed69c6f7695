//! [`Origin`]: what expressions over a plan's rows are over those of a node below, for whoever has to know that two columns
//! are one.

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, Result};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Expr, LogicalPlan};

/// The first node below that does more than to choose rows, to name columns and to compute with them.
pub(crate) struct Origin<'a> {
    pub(crate) plan: &'a LogicalPlan,
    /// The expressions, over the columns of that node; of a table, without the name that the query calls it by.
    pub(crate) exprs: Vec<Expr>,
    /// What was asked of rows on the way from there: all of it is true.
    pub(crate) filters: Vec<Expr>,
}

impl<'a> Origin<'a> {
    /// Of expressions over the columns of `plan`.
    pub(crate) fn of(mut plan: &'a LogicalPlan, exprs: Vec<Expr>) -> Result<Self> {
        let (count, mut all) = (exprs.len(), exprs);
        loop {
            let schema = plan.schema();
            match plan {
                LogicalPlan::Projection(projection) => {
                    let given: Vec<_> = projection.expr.iter().map(|expr| expr.clone().unalias()).collect();
                    (plan, all) = (&projection.input, replaced(all, schema, &given)?);
                }
                LogicalPlan::SubqueryAlias(alias) => {
                    (plan, all) = (&alias.input, replaced(all, schema, &columns(alias.input.schema().columns()))?);
                }
                LogicalPlan::Filter(filter) => {
                    plan = &filter.input;
                    all.extend(split_conjunction(&filter.predicate).into_iter().cloned());
                }
                LogicalPlan::TableScan(_) => {
                    let names = schema.fields().iter().map(|field| Column::new_unqualified(field.name()));
                    all = replaced(all, schema, &columns(names))?;
                    break;
                }
                _ => break,
            }
        }
        let filters = all.split_off(count);
        Ok(Self { plan, exprs: all, filters })
    }

    /// Of one expression: the node, and what it is there.
    pub(crate) fn of_one(plan: &'a LogicalPlan, expr: &Expr) -> Result<(&'a LogicalPlan, Expr)> {
        let mut origin = Self::of(plan, vec![expr.clone()])?;
        Ok((origin.plan, origin.exprs.swap_remove(0)))
    }
}

fn columns(columns: impl IntoIterator<Item = Column>) -> Vec<Expr> {
    columns.into_iter().map(Expr::Column).collect()
}

/// Expressions with others in place of columns of `schema`.
fn replaced(exprs: Vec<Expr>, schema: &DFSchema, with: &[Expr]) -> Result<Vec<Expr>> {
    let replace = |expr| match &expr {
        Expr::Column(column) => Ok(Transformed::yes(with[schema.index_of_column(column)?].clone())),
        _ => Ok(Transformed::no(expr)),
    };
    // From below, so that what has been put in place of a column is left alone.
    exprs.into_iter().map(|expr| Ok(expr.transform_up(replace)?.data.unalias())).collect()
}
