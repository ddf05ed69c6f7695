//! Names of columns as Flink gives them: `SELECT bid.price` of a column `bid` that is a row gives `price`; where there
//! would be two columns of a name, they become `name` and `name0`, and what has no name becomes `EXPR$0`.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion_common::DataFusionError;
use datafusion_sql::sqlparser::ast::{
    Expr, Ident, Query, Select, SelectItem, TableFactor, TableWithJoins, VisitMut, VisitorMut,
};

use super::relation::name_of;

/// Names fields of rows that are selected without a name of their own.
pub(super) fn rewrite(query: &mut Query) {
    let _ = query.visit(&mut Namer);
}

struct Namer;

impl VisitorMut for Namer {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let tables: Vec<String> = select.from.iter().flat_map(tables).collect();
        for item in &mut select.projection {
            let SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) = item else { continue };
            let of_table = parts.first().is_some_and(|first| tables.contains(&first.value.to_uppercase()));
            if parts.len() > 1 + usize::from(of_table)
                && let Some(alias) = parts.last().cloned()
            {
                let expr = Expr::CompoundIdentifier(std::mem::take(parts));
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
        }
        ControlFlow::Continue(())
    }
}

/// Whether a query was refused because columns that it selects have the same name.
pub(super) fn are_not_unique(error: &DataFusionError) -> bool {
    error.to_string().contains("require unique expression names")
}

/// Gives other names to columns whose names come twice in a select list.
pub(super) fn make_unique(query: &mut Query) {
    let _ = query.visit(&mut Numberer);
}

struct Numberer;

impl VisitorMut for Numberer {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let mut taken = HashSet::new();
        for (at, item) in select.projection.iter_mut().enumerate() {
            let (expr, alias) = match item {
                SelectItem::UnnamedExpr(expr) => (expr.clone(), name_given(expr, at)),
                SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), alias.clone()),
                _ => continue,
            };
            let numbered = (0..).map(|n| Ident { value: format!("{}{n}", alias.value), ..alias.clone() });
            let free = std::iter::once(alias.clone()).chain(numbered).find(|name| !taken.contains(&name.value));
            let alias = free.unwrap_or(alias);
            taken.insert(alias.value.clone());
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
        ControlFlow::Continue(())
    }
}

/// What Flink calls an expression that was given no name.
pub(super) fn name_given(expr: &Expr, at: usize) -> Ident {
    match expr {
        Expr::Identifier(name) => name.clone(),
        Expr::CompoundIdentifier(parts) if !parts.is_empty() => parts[parts.len() - 1].clone(),
        _ => Ident::new(format!("EXPR${at}")),
    }
}

/// The names, in capitals, that columns of these tables can be written with.
fn tables(from: &TableWithJoins) -> Vec<String> {
    std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)).flat_map(name).collect()
}

fn name(factor: &TableFactor) -> Vec<String> {
    let (alias, own) = match factor {
        TableFactor::Table { alias, name, .. } => (alias, Some(name_of(name))),
        TableFactor::Derived { alias, .. } | TableFactor::TableFunction { alias, .. } => (alias, None),
        TableFactor::Function { alias, .. } | TableFactor::UNNEST { alias, .. } => (alias, None),
        TableFactor::NestedJoin { table_with_joins, alias: None } => return tables(table_with_joins),
        _ => return Vec::new(),
    };
    alias.as_ref().map(|alias| alias.name.value.to_uppercase()).or(own).into_iter().collect()
}
