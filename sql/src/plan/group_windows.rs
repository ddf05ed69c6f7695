//! The older way to group by windows: `GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE)`, with `TUMBLE_START(…)` and its like.
//!
//! A query that does so is rewritten to the newer one, which is all that is planned:
//! `FROM TABLE(TUMBLE(…, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end`.

use std::ops::ControlFlow;

use datafusion_common::{DataFusionError, Result, plan_err};
use datafusion_sql::sqlparser::ast::{
    Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, ObjectName, Query,
    Select, SelectItem, SetExpr, TableFactor, TableWithJoins, VisitMut, VisitorMut, WildcardAdditionalOptions,
};

use super::relation::name_of;
use super::window::WINDOW_COLUMNS;

/// The functions that windows are grouped by.
const WINDOWS: [&str; 3] = ["TUMBLE", "HOP", "SESSION"];

/// Rewrites a query and all within it.
pub(super) fn rewrite(query: &mut Query) -> Result<()> {
    match query.visit(&mut Rewriter) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Box<DataFusionError>;

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        match rewrite_select(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

fn rewrite_select(select: &mut Select) -> Result<()> {
    let GroupByExpr::Expressions(group, _) = &mut select.group_by else { return Ok(()) };
    let windows: Vec<usize> = (0..group.len()).filter(|at| window(&group[*at]).is_some()).collect();
    let [at] = windows[..] else {
        return if windows.is_empty() { Ok(()) } else { plan_err!("GROUP BY more than one window") };
    };
    let edges = WINDOW_COLUMNS[..2].iter().map(|name| Expr::Identifier(Ident::new(*name)));
    let Expr::Function(function) =
        group.splice(at..=at, edges).next().unwrap_or_else(|| unreachable!("it was found there"))
    else {
        unreachable!("a window is a function");
    };
    let mut needs_time = false;
    replace(select, &function, &mut needs_time);
    if needs_time && let GroupByExpr::Expressions(group, _) = &mut select.group_by {
        group.push(Expr::Identifier(Ident::new(WINDOW_COLUMNS[2])));
    }
    let relation = table(select, function)?;
    select.from = vec![TableWithJoins { relation, joins: Vec::new() }];
    select.selection = None;
    Ok(())
}

/// The window that an expression groups by.
fn window(expr: &Expr) -> Option<&Function> {
    match expr {
        Expr::Function(function) if WINDOWS.contains(&name_of(&function.name).as_str()) => Some(function),
        _ => None,
    }
}

/// `TUMBLE(ts, …)` as a table of all that the query reads.
fn table(select: &Select, mut function: Function) -> Result<TableFactor> {
    let name = name_of(&function.name);
    let FunctionArguments::List(list) = function.args.clone() else { return plan_err!("{name} needs arguments") };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(time))) = list.args.first().cloned() else {
        return plan_err!("{name} needs a time attribute first");
    };
    let mut descriptor = Function { name: ObjectName::from(vec![Ident::new("DESCRIPTOR")]), ..function.clone() };
    descriptor.args = arguments(vec![time], list.clone());
    let input = Expr::Subquery(Box::new(all_of(select)?));
    let rest = list.args[1..].iter().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    let all = [input, Expr::Function(descriptor)].into_iter().chain(rest).collect();
    function.args = arguments(all, list.clone());
    if name == "SESSION" {
        // Sessions of each group by itself.
        function.name = ObjectName::from(vec![Ident::new(super::relation::SESSION_BY_GROUP)]);
    }
    Ok(TableFactor::TableFunction { expr: Expr::Function(function), alias: None })
}

fn arguments(exprs: Vec<Expr>, like: datafusion_sql::sqlparser::ast::FunctionArgumentList) -> FunctionArguments {
    let args = exprs.into_iter().map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))).collect();
    FunctionArguments::List(datafusion_sql::sqlparser::ast::FunctionArgumentList { args, ..like })
}

/// `SELECT *` of what the query reads, and the rows that it asks for.
fn all_of(select: &Select) -> Result<Query> {
    let mut inner = select.clone();
    inner.projection = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
    inner.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
    (inner.having, inner.qualify, inner.distinct) = (None, None, None::<Distinct>);
    let mut query = crate::parse::query("SELECT 1").map_err(|error| DataFusionError::Plan(error.to_string()))?;
    query.body = Box::new(SetExpr::Select(Box::new(inner)));
    Ok(query)
}

/// Replaces `TUMBLE_START(…)` and its like, with the same arguments, by the window's columns.
fn replace(select: &mut Select, window: &Function, needs_time: &mut bool) {
    let mut replacer = Replacer { window, needs_time };
    let _ = select.projection.visit(&mut replacer);
    let _ = select.having.visit(&mut replacer);
    let _ = select.qualify.visit(&mut replacer);
}

struct Replacer<'a> {
    window: &'a Function,
    needs_time: &'a mut bool,
}

impl VisitorMut for Replacer<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let (name, window) = (name_of(&function.name), name_of(&self.window.name));
        let same = function.args.to_string() == self.window.args.to_string();
        let Some(edge) = name.strip_prefix(window.as_str()).filter(|_| same) else {
            return ControlFlow::Continue(());
        };
        let column = match edge {
            "_START" | "" => WINDOW_COLUMNS[0],
            "_END" => WINDOW_COLUMNS[1],
            "_ROWTIME" | "_PROCTIME" => {
                *self.needs_time = true;
                WINDOW_COLUMNS[2]
            }
            _ => return ControlFlow::Continue(()),
        };
        *expr = Expr::Identifier(Ident::new(column));
        ControlFlow::Continue(())
    }
}
