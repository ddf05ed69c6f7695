//! Names of columns as Flink gives them: `SELECT bid.price` of a column `bid` that is a row gives `price`.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    Expr, Query, Select, SelectItem, TableFactor, TableWithJoins, VisitMut, VisitorMut,
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
