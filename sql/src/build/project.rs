//! `SELECT` and `WHERE`: what is done to rows by themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion_common::{DFSchema, Result};
use datafusion_expr::logical_plan::{Filter, Projection as LogicalProjection};
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_physical_expr::PhysicalExpr;

use super::expr::{Projection, batch_schema, filter as keep, physical};
use super::{Builder, Flow, Node, Operation, Translator, rank, window};
use crate::plan::proctime::PROCTIME;

struct Project {
    projection: Projection,
    shown: String,
}

impl Operation for Project {
    fn describe(&self) -> String {
        format!("Project(select=[{}])", self.shown)
    }

    fn build(self: Box<Self>, mut inputs: Vec<Flow>, _: &mut Builder) -> Result<Flow> {
        let projection = self.projection;
        Ok(inputs.swap_remove(0).step(move |rows| Some(projection.apply(rows))))
    }
}

/// The column that `expr` is, perhaps by another name.
pub(crate) fn column_of(expr: &Expr, schema: &datafusion_common::DFSchema) -> Option<usize> {
    match expr {
        Expr::Column(column) => schema.maybe_index_of_column(column),
        Expr::Alias(alias) => column_of(&alias.expr, schema),
        _ => None,
    }
}

/// Whether an expression is `PROCTIME()`.
pub(crate) fn is_proctime(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(function) => function.func.name() == PROCTIME,
        Expr::Alias(alias) => is_proctime(&alias.expr),
        Expr::Cast(cast) => is_proctime(&cast.expr),
        _ => false,
    }
}

/// Columns that `exprs` compute with, other than handing them on.
fn computed_with<'a>(exprs: impl IntoIterator<Item = &'a Expr>, schema: &datafusion_common::DFSchema) -> Vec<usize> {
    let computed = exprs.into_iter().filter(|expr| column_of(expr, schema).is_none());
    computed.flat_map(Expr::column_refs).filter_map(|column| schema.maybe_index_of_column(column)).collect()
}

/// `SELECT`.
pub(crate) fn projection(translator: &Translator, projection: &LogicalProjection) -> Result<Node> {
    let input = match ranked(translator, projection)? {
        Some(ranked) => ranked,
        None => translator.node(&projection.input)?,
    };
    let needed = computed_with(&projection.expr, &input.schema);
    let input = window::assigned_if_read(input, &needed)?;
    let stay: Vec<_> = projection.expr.iter().map(|expr| column_of(expr, &input.schema)).collect();
    let input = window::assigned_if_lost(input, &stay)?;
    node(input, &projection.expr, projection.schema.clone())
}

/// Top-N of which the rank itself is not asked for: then it need not be told when it changes.
fn ranked(translator: &Translator, projection: &LogicalProjection) -> Result<Option<Node>> {
    let LogicalPlan::Filter(filter) = &*projection.input else { return Ok(None) };
    let Some(ranked) = rank::Ranked::of(filter) else { return Ok(None) };
    let rank = projection.input.schema().columns().pop();
    let asked = projection.expr.iter().any(|expr| expr.column_refs().into_iter().any(|c| Some(c) == rank.as_ref()));
    if asked { Ok(None) } else { rank::translate(translator, filter, &ranked, false).map(Some) }
}

/// The node without columns that `exprs` do not need, if it can do without.
fn narrowed(mut input: Node, exprs: &[Expr]) -> Result<Node> {
    let needed = exprs.iter().flat_map(Expr::column_refs).map(|column| input.schema.maybe_index_of_column(column));
    let Some(needed) = needed.collect::<Option<BTreeSet<usize>>>() else { return Ok(input) };
    let needed: Vec<_> = needed.into_iter().collect();
    if needed.len() == input.schema.fields().len() || input.common.is_some() || !input.operation.narrow(&needed) {
        return Ok(input);
    }
    let fields = needed.iter().map(|column| input.schema.qualified_field(*column));
    let fields = fields.map(|(name, field)| (name.cloned(), field.clone())).collect();
    input.schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema.metadata().clone())?);
    input.traits = input.traits.moved(|column| needed.binary_search(&column).ok());
    Ok(input)
}

/// `exprs` over columns of `input`.
pub(crate) fn node(input: Node, exprs: &[Expr], schema: datafusion_common::DFSchemaRef) -> Result<Node> {
    let input = narrowed(input, exprs)?;
    let columns: Vec<_> = exprs.iter().map(|expr| column_of(expr, &input.schema)).collect();
    let mut traits = input.traits.moved(|column| columns.iter().position(|other| *other == Some(column)));
    traits.proctimes.extend((0..exprs.len()).filter(|at| is_proctime(&exprs[*at])));
    let projection = Projection::new(exprs, &input.schema, batch_schema(&schema))?;
    let shown: Vec<_> = exprs.iter().map(ToString::to_string).collect();
    let operation = Project { projection, shown: shown.join(", ") };
    Ok(Node::new(operation, vec![input], schema, traits))
}

struct Keep {
    predicate: Arc<dyn PhysicalExpr>,
    shown: String,
}

impl Operation for Keep {
    fn describe(&self) -> String {
        format!("Filter(where=[{}])", self.shown)
    }

    fn build(self: Box<Self>, mut inputs: Vec<Flow>, _: &mut Builder) -> Result<Flow> {
        let predicate = self.predicate;
        Ok(inputs.swap_remove(0).step(move |rows| keep(&predicate, rows)))
    }
}

/// `WHERE`, `HAVING`.
pub(crate) fn filter(translator: &Translator, filter: &Filter) -> Result<Node> {
    if let Some(ranked) = rank::Ranked::of(filter) {
        return rank::translate(translator, filter, &ranked, true);
    }
    let input = translator.node(&filter.input)?;
    let needed = filter.predicate.column_refs();
    let needed: Vec<_> = needed.into_iter().filter_map(|column| input.schema.maybe_index_of_column(column)).collect();
    let input = window::assigned_if_read(input, &needed)?;
    keep_node(input, &filter.predicate)
}

/// The rows of `input` for which `predicate` is true.
pub(crate) fn keep_node(input: Node, predicate: &Expr) -> Result<Node> {
    let operation = Keep { predicate: physical(predicate, &input.schema)?, shown: predicate.to_string() };
    let (schema, traits) = (input.schema.clone(), input.traits.clone());
    Ok(Node::new(operation, vec![input], schema, traits))
}
