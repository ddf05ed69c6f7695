//! `CROSS JOIN UNNEST(array)`: a row for each element of an array or map that another column holds.
//!
//! A query that does so is rewritten so that [`super::relation`] meets the join as a table of its own
//! (`TABLE(UNNEST_OF(left, array, …))`), for DataFusion's planner would not let the array be a column of the left side. What comes of
//! it is the node [`Unnested`].

use std::cmp::Ordering;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{DFSchema, DFSchemaRef, Result, TableReference, plan_err};
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion_sql::sqlparser::ast::{
    Expr as Ast, FunctionArg, FunctionArgExpr, Ident, JoinConstraint, JoinOperator, ObjectName, Query, Select,
    SelectItem, SetExpr, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut, WildcardAdditionalOptions,
};

/// What an UNNEST join is rewritten to.
pub(super) const UNNEST_OF: &str = "UNNEST_OF";

/// Rows of `input`, one for each element of what `expr` comes to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Unnested {
    pub(crate) input: LogicalPlan,
    /// An array or a map.
    pub(crate) expr: Expr,
    /// Whether a row without elements stays, with NULL.
    pub(crate) outer: bool,
    /// Whether the last column is the number of the element, from 1.
    pub(crate) ordinality: bool,
    /// What the elements' columns are called.
    table: Option<String>,
    names: Vec<String>,
    pub(crate) schema: DFSchemaRef,
}

impl Unnested {
    pub(super) fn try_new(
        input: LogicalPlan,
        expr: Expr,
        table: Option<String>,
        names: Vec<String>,
        (outer, ordinality): (bool, bool),
    ) -> Result<Self> {
        let mut elements = columns(&expr.get_type(input.schema())?)?;
        if ordinality {
            elements.push(Arc::new(Field::new("ORDINALITY", DataType::Int32, true)));
        }
        if names.len() > elements.len() {
            return plan_err!("UNNEST({expr}) gives {} columns, and {} are named", elements.len(), names.len());
        }
        let qualifier = table.as_ref().map(|table| TableReference::bare(table.as_str()));
        let mut fields: Vec<_> = input.schema().iter().map(|(name, field)| (name.cloned(), field.clone())).collect();
        for (index, element) in elements.iter().enumerate() {
            let name = names.get(index).unwrap_or(element.name());
            fields.push((qualifier.clone(), Arc::new(Field::new(name, element.data_type().clone(), true))));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok(Self { input, expr, outer, ordinality, table, names, schema })
    }
}

/// The columns of the elements of an array or map.
fn columns(kind: &DataType) -> Result<Vec<FieldRef>> {
    match kind {
        DataType::List(element) | DataType::LargeList(element) => match element.data_type() {
            DataType::Struct(fields) => Ok(fields.iter().cloned().collect()),
            other => Ok(vec![Arc::new(Field::new("EXPR$0", other.clone(), true))]),
        },
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => {
                let names = ["KEY", "VALUE"].into_iter();
                Ok(names.zip(fields).map(|(name, field)| Arc::new(field.as_ref().clone().with_name(name))).collect())
            }
            _ => plan_err!("UNNEST of a map without entries"),
        },
        other => plan_err!("UNNEST takes an array or a map, not {}", crate::parse::FlinkType(other)),
    }
}

impl PartialOrd for Unnested {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (&self.expr, self.outer).partial_cmp(&(&other.expr, other.outer))
    }
}

impl UserDefinedLogicalNodeCore for Unnested {
    fn name(&self) -> &str {
        "Unnested"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.expr.clone()]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unnest: {}", self.expr)
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (expr, input) = (exprs.swap_remove(0), inputs.swap_remove(0));
        Self::try_new(input, expr, self.table.clone(), self.names.clone(), (self.outer, self.ordinality))
    }
}

/// Rewrites a query and all within it.
pub(super) fn rewrite(query: &mut Query) {
    let _ = query.visit(&mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        // `FROM t, UNNEST(…)` is a join as well.
        while let Some(at) = select.from.iter().skip(1).position(|from| unnest(&from.relation).is_some()) {
            let unnested = select.from.remove(at + 1);
            let before = &mut select.from[at];
            before.joins.push(datafusion_sql::sqlparser::ast::Join {
                relation: unnested.relation,
                global: false,
                join_operator: JoinOperator::CrossJoin(JoinConstraint::None),
            });
            before.joins.extend(unnested.joins);
        }
        select.from.iter_mut().for_each(rewrite_first);
        select.from.iter_mut().for_each(rewrite_joins);
        ControlFlow::Continue(())
    }
}

fn unnest(factor: &TableFactor) -> Option<&TableFactor> {
    Some(factor).filter(|factor| matches!(factor, TableFactor::UNNEST { .. }))
}

/// Puts a row without columns into an UNNEST that nothing stands before.
fn rewrite_first(from: &mut TableWithJoins) {
    if unnest(&from.relation).is_some() {
        from.relation = table_of(unit(), &from.relation, false);
    }
}

/// Puts what stands before an UNNEST into it.
fn rewrite_joins(from: &mut TableWithJoins) {
    while let Some(at) = from.joins.iter().position(|join| unnest(&join.relation).is_some()) {
        let rest = from.joins.split_off(at + 1);
        let Some(join) = from.joins.pop() else { return };
        let outer = matches!(join.join_operator, JoinOperator::LeftOuter(_) | JoinOperator::Left(_));
        let left = std::mem::replace(from, TableWithJoins { relation: join.relation, joins: rest });
        from.relation = table(left, &from.relation, outer);
    }
}

/// `TABLE(UNNEST_OF((SELECT * FROM left), array, 'table', outer, ordinality, 'name', …))`
fn table(left: TableWithJoins, unnest: &TableFactor, outer: bool) -> TableFactor {
    table_of(all_of(left), unnest, outer)
}

fn table_of(left: Query, unnest: &TableFactor, outer: bool) -> TableFactor {
    let TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } = unnest else { return unnest.clone() };
    let text = |text: &str| Ast::Value(Value::SingleQuotedString(text.into()).into());
    let flag = |flag: bool| Ast::Value(Value::Boolean(flag).into());
    let name = alias.as_ref().map(|alias| alias.name.value.as_str()).unwrap_or_default();
    let columns = alias.iter().flat_map(|alias| &alias.columns).map(|column| text(&column.name.value));
    let array = array_exprs.first().cloned().unwrap_or_else(|| Ast::Value(Value::Null.into()));
    let fixed = [Ast::Subquery(Box::new(left)), array, text(name), flag(outer), flag(*with_ordinality)];
    let args = fixed.into_iter().chain(columns).map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)));
    TableFactor::Function {
        lateral: false,
        name: ObjectName::from(vec![Ident::new(UNNEST_OF)]),
        args: args.collect(),
        with_ordinality: false,
        alias: None,
    }
}

/// `SELECT * FROM left`
fn all_of(left: TableWithJoins) -> Query {
    select(vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())], vec![left])
}

/// A row without columns.
fn unit() -> Query {
    select(Vec::new(), Vec::new())
}

fn select(projection: Vec<SelectItem>, from: Vec<TableWithJoins>) -> Query {
    let mut query = crate::parse::query("SELECT 1").unwrap_or_else(|error| unreachable!("{error}"));
    if let SetExpr::Select(select) = &mut *query.body {
        (select.projection, select.from) = (projection, from);
    }
    query
}
