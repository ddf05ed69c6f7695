//! `INSERT INTO`: what a query gives, as the columns of a table.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion_common::{DFSchema, Result, ScalarValue, not_impl_err, plan_err};
use datafusion_expr::{Expr, lit};
use updraft_dataflow::connector::Changelog;

use super::{Session, reference};
use crate::build::{Node, project};
use crate::catalog::{ConnectorTable, Entry};
use crate::function::by_place::cast_to;
use crate::parse::statement::Insert;

impl Session {
    /// The table, what it is filled with, and whether all of that comes at the end.
    pub(super) fn insert(&self, insert: &Insert) -> Result<(Arc<ConnectorTable>, Node, bool)> {
        let name = reference(&insert.table)?;
        let table = match self.catalog.get(&name) {
            Some(Entry::Table(table)) => table.clone(),
            Some(Entry::View(_)) => return plan_err!("'{name}' is a view: rows go into tables"),
            None => return plan_err!("table '{name}' not found"),
        };
        if insert.overwrite {
            return not_impl_err!("INSERT OVERWRITE");
        }
        let (node, mode) = self.plan(&insert.query)?;
        let fixed = insert.partition.iter().map(|(column, value)| {
            let value = self.context().expression(value.clone(), &DFSchema::empty())?;
            Ok((column.value.clone(), value))
        });
        let node = fit(node, insert, &fixed.collect::<Result<Vec<_>>>()?, &table)?;
        check_changes(&node, &table)?;
        Ok((table, node, mode.batch))
    }
}

/// Brings the query's columns into the order and types of the table's.
fn fit(node: Node, insert: &Insert, fixed: &[(String, Expr)], table: &ConnectorTable) -> Result<Node> {
    let written = table.written();
    let name = &table.table.name;
    let free = written.iter().filter(|field| !fixed.iter().any(|(column, _)| column == field.name()));
    let given: Vec<String> = match &insert.columns[..] {
        [] => free.map(|field| field.name().clone()).collect(),
        columns => columns.iter().map(|column| column.value.clone()).collect(),
    };
    let own = node.schema.columns();
    if own.len() != given.len() {
        return plan_err!(
            "INSERT INTO {name}: the query has {} columns, and {} are to be filled ({})",
            own.len(),
            given.len(),
            given.join(", ")
        );
    }
    if let Some(unknown) = given.iter().find(|column| !written.iter().any(|field| field.name() == *column)) {
        return plan_err!("table '{name}' has no column `{unknown}` that could be written");
    }
    let exprs = written.iter().map(|field| {
        let fixed = fixed.iter().find(|(column, _)| column == field.name()).map(|(_, value)| value.clone());
        let from = given.iter().position(|column| column == field.name());
        let expr = fixed.or_else(|| from.map(|at| Expr::Column(own[at].clone())));
        convert(expr, field, &node, name)
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    let fields = written.iter().map(|field| (None, field.clone())).collect();
    let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
    project::node(node, &exprs, schema)
}

fn convert(expr: Option<Expr>, field: &FieldRef, node: &Node, table: &str) -> Result<Expr> {
    use datafusion_expr::ExprSchemable;
    let Some(expr) = expr else {
        if !field.is_nullable() {
            return plan_err!("INSERT INTO {table}: `{}` is NOT NULL and is not filled", field.name());
        }
        return Ok(lit(ScalarValue::try_from(field.data_type())?));
    };
    let from = expr.get_type(&node.schema)?;
    if &from == field.data_type() {
        return Ok(expr);
    }
    if !arrow::compute::can_cast_types(&from, field.data_type()) {
        let shown = crate::parse::FlinkType(&from).to_string();
        return plan_err!(
            "INSERT INTO {table}: `{}` is {}, and the query gives {shown}",
            field.name(),
            crate::parse::FlinkType(field.data_type())
        );
    }
    Ok(cast_to(expr, &from, field.data_type()))
}

/// Whether the sink can take what the query gives.
fn check_changes(node: &Node, table: &ConnectorTable) -> Result<()> {
    let name = &table.table.name;
    match table.connector.accepts(&table.table) {
        Changelog::Insertions if node.traits.changes => plan_err!(
            "table '{name}' takes insertions only, and the query updates rows that it has given; set 'execution.runtime-mode' = 'batch' for final rows alone, or group by window"
        ),
        Changelog::Upserts if node.traits.changes && table.table.primary_key.is_empty() => {
            plan_err!("table '{name}' needs a PRIMARY KEY (…) NOT ENFORCED: the query updates rows that it has given")
        }
        _ => Ok(()),
    }
}
