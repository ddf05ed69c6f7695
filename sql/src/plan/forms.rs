//! Ways to write things that DataFusion's planner does not know, put in ways that it does: `FETCH FIRST n ROWS ONLY`,
//! `COUNT(*) OVER …`, `U&'…'`, and scalar subqueries that must turn out to have one row.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion_common::{Result, plan_err};
use datafusion_sql::sqlparser::ast::{
    Expr, Fetch, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident,
    LimitClause, ObjectName, Query, Select, SelectItem, SetExpr, TableFactor, Value, VisitMut, VisitorMut,
};

use super::names::name_given;
use super::one_row::ONE_ROW;
use super::relation::name_of;

/// Rewrites a query and all within it; `is_aggregate` knows the aggregate functions by their names in small letters.
pub(super) fn rewrite(query: &mut Query, is_aggregate: &dyn Fn(&str) -> bool) -> Result<()> {
    match query.visit(&mut Rewriter { is_aggregate, tables: HashSet::new() }) {
        ControlFlow::Break(wrong) => plan_err!("{wrong}"),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewriter<'a> {
    is_aggregate: &'a dyn Fn(&str) -> bool,
    /// Where the subqueries are that stand for a table, as an argument of a window: known before they are visited.
    tables: HashSet<*const Query>,
}

impl VisitorMut for Rewriter<'_> {
    type Break = &'static str;

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        match query.fetch.take() {
            Some(fetch) => limit(query, fetch),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Self::Break> {
        match table {
            TableFactor::TableFunction { expr, .. } => self.tables_of(expr),
            TableFactor::Function { args, .. } => args.iter().for_each(|argument| self.tables_in(argument)),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Value(literal) => {
                if let Value::UnicodeStringLiteral(text) = &mut literal.value {
                    literal.value = Value::SingleQuotedString(std::mem::take(text));
                }
            }
            Expr::Function(function) if function.over.is_some() => count_all(function),
            Expr::Subquery(query) if !self.tables.contains(&std::ptr::from_ref(&**query)) => self.one_row(query),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// `FETCH` says the same as `LIMIT`.
fn limit(query: &mut Query, fetch: Fetch) -> ControlFlow<&'static str> {
    if fetch.with_ties || fetch.percent {
        return ControlFlow::Break("FETCH takes a number of ROWS ONLY: WITH TIES and PERCENT are not supported");
    }
    let rows = fetch.quantity.unwrap_or_else(|| number("1"));
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(rows),
        Some(_) => return ControlFlow::Break("a query has LIMIT or FETCH, not both"),
        none => *none = Some(LimitClause::LimitOffset { limit: Some(rows), offset: None, limit_by: Vec::new() }),
    }
    ControlFlow::Continue(())
}

fn number(digits: &str) -> Expr {
    Expr::Value(Value::Number(digits.into(), false).into())
}

/// `COUNT(*)` counts as many as `COUNT(1)`.
fn count_all(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else { return };
    if let [FunctionArg::Unnamed(argument @ FunctionArgExpr::Wildcard)] = &mut list.args[..]
        && name_of(&function.name) == "COUNT"
    {
        *argument = FunctionArgExpr::Expr(number("1"));
    }
}

impl Rewriter<'_> {
    fn tables_of(&mut self, expr: &Expr) {
        match expr {
            Expr::Subquery(query) => drop(self.tables.insert(std::ptr::from_ref(&**query))),
            Expr::Function(Function { args: FunctionArguments::List(list), .. }) => {
                list.args.iter().for_each(|argument| self.tables_in(argument));
            }
            _ => {}
        }
    }

    fn tables_in(&mut self, argument: &FunctionArg) {
        let (FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
        | FunctionArg::Named { arg: FunctionArgExpr::Expr(expr), .. }
        | FunctionArg::ExprNamed { arg: FunctionArgExpr::Expr(expr), .. }) = argument
        else {
            return;
        };
        self.tables_of(expr);
    }

    /// `(SELECT x FROM t …)` becomes `(SELECT ONE_ROW(MAX(x), COUNT(*)) FROM t …)`, which is an error where there are more.
    fn one_row(&self, query: &mut Query) {
        if query.limit_clause.is_some() || query.with.is_some() {
            return;
        }
        let SetExpr::Select(select) = &mut *query.body else { return };
        if !self.may_have_more(select) {
            return;
        }
        let (value, alias) = match &select.projection[..] {
            [SelectItem::ExprWithAlias { expr, alias }] => (expr, alias.clone()),
            [SelectItem::UnnamedExpr(expr)] => (expr, name_given(expr, 0)),
            _ => return,
        };
        let largest = call("MAX", [FunctionArgExpr::Expr(value.clone())]);
        let count = call("COUNT", [FunctionArgExpr::Wildcard]);
        let expr = call(ONE_ROW, [largest, count].map(FunctionArgExpr::Expr));
        select.projection = vec![SelectItem::ExprWithAlias { expr, alias }];
        query.order_by = None;
    }

    /// Whether a query that gives a scalar may have more rows than one: it reads something, and is no aggregate.
    fn may_have_more(&self, select: &Select) -> bool {
        let plain = matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
        let mut select_list = select.projection.clone();
        let mut finder = AggregateFinder(self.is_aggregate);
        let aggregates = select_list.iter_mut().any(|item| item.visit(&mut finder).is_break());
        plain && !aggregates && select.distinct.is_none() && select.having.is_none() && !select.from.is_empty()
    }
}

struct AggregateFinder<'a>(&'a dyn Fn(&str) -> bool);

impl VisitorMut for AggregateFinder<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) if (self.0)(&name_of(&function.name).to_lowercase()) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn call<const N: usize>(name: &str, args: [FunctionArgExpr; N]) -> Expr {
    let args = args.into_iter().map(FunctionArg::Unnamed).collect();
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
