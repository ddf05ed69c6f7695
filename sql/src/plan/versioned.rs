//! `JOIN t FOR SYSTEM_TIME AS OF x ON …`: the right side of a temporal or lookup join.
//!
//! The table becomes a node of the plan, [`Versioned`]. The time is a column of the left side, which DataFusion's planner does not
//! let the right side speak of: it goes into the condition instead, as `AS_OF(x, condition)`, which is always true.

use std::any::Any;
use std::cmp::Ordering;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchemaRef, Result, ScalarValue, plan_err};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDFImpl, Signature, UserDefinedLogicalNodeCore,
    Volatility,
};
use datafusion_sql::sqlparser::ast::{
    BinaryOperator, Expr as Ast, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    Ident, Join, JoinConstraint, JoinOperator, ObjectName, Query, Select, TableFactor, TableVersion, VisitMut,
    VisitorMut,
};

use crate::catalog::ConnectorTable;

/// The versions of a table, of which each row of the join's other side meets the one that was valid at its time.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Versioned {
    pub(crate) input: LogicalPlan,
}

impl PartialOrd for Versioned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for Versioned {
    fn name(&self) -> &str {
        "Versioned"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Versioned")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self { input: inputs.swap_remove(0) })
    }
}

/// The name of the function that says as of when.
pub(crate) const AS_OF: &str = "as_of";

/// `AS_OF(x, …)`: true. It stays in the condition of the join, for it speaks of both sides: after `x` come the right side's
/// event time and primary key, so that they are there though nobody selects them; or the condition, where the right side is
/// no versioned table.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct AsOf {
    signature: Signature,
}

impl Default for AsOf {
    fn default() -> Self {
        Self { signature: Signature::variadic_any(Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for AsOf {
    fn name(&self) -> &str {
        AS_OF
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))))
    }
}

/// Has the conditions of joins with versioned tables name the time from which versions are valid.
pub(super) fn bind(plan: LogicalPlan) -> Result<LogicalPlan> {
    let bound = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Join(mut join) = plan else { return Ok(Transformed::no(plan)) };
        let (Some(table), Some(filter)) = (versions(&join.right), join.filter.clone()) else {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        };
        let column = |name: &String| join.right.schema().columns().into_iter().find(|column| column.name == *name);
        let keys = table.table.primary_key.iter().filter_map(|key| column(table.table.schema.field(*key).name()));
        let time = table.rowtime.as_ref().and_then(|rowtime| column(table.schema.field(rowtime.column).name()));
        let versions: Vec<_> = time.into_iter().chain(keys).map(Expr::Column).collect();
        // Without a time or a key it may be looked up in.
        if table.rowtime.is_none() || table.table.primary_key.is_empty() {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        let parts = split_conjunction_owned(filter).into_iter().map(|part| match part {
            Expr::ScalarFunction(mut function) if function.func.name() == AS_OF => {
                function.args.truncate(1);
                function.args.extend(versions.iter().cloned());
                Expr::ScalarFunction(function)
            }
            other => other,
        });
        join.filter = conjunction(parts);
        Ok(Transformed::yes(LogicalPlan::Join(join)))
    });
    Ok(bound?.data)
}

/// The table that a join's right side is the versions of.
fn versions(plan: &LogicalPlan) -> Option<Arc<ConnectorTable>> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => versions(&alias.input),
        LogicalPlan::Extension(extension) => versions(&extension.node.as_any().downcast_ref::<Versioned>()?.input),
        LogicalPlan::TableScan(scan) => {
            let source: Arc<dyn Any + Send + Sync> = scan.source.clone();
            source.downcast().ok()
        }
        _ => None,
    }
}

/// Has the conditions of joins say as of when.
pub(super) fn rewrite(query: &mut Query) -> Result<()> {
    match query.visit(&mut Rewriter) {
        ControlFlow::Break(()) => {
            plan_err!("FOR SYSTEM_TIME AS OF is for the right side of JOIN and LEFT JOIN, with ON")
        }
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let first = select.from.iter().all(|from| time(&from.relation).is_none());
        let said = select.from.iter_mut().flat_map(|from| &mut from.joins).all(say);
        if first && said { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// As of when a table is asked for.
fn time(table: &TableFactor) -> Option<Ast> {
    match table {
        TableFactor::Table { version: Some(TableVersion::ForSystemTimeAsOf(time)), .. } => Some(time.clone()),
        _ => None,
    }
}

/// Whether a join could say so, or need not.
fn say(join: &mut Join) -> bool {
    let Some(time) = time(&join.relation) else { return true };
    let (JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::Left(on) | JoinOperator::LeftOuter(on)) =
        &mut join.join_operator
    else {
        return false;
    };
    let is_on = matches!(on, JoinConstraint::On(_));
    if let JoinConstraint::On(condition) = on {
        let right = Box::new(as_of([time, condition.clone()]));
        let left = Box::new(std::mem::replace(condition, Ast::Identifier(Ident::new("true"))));
        *condition = Ast::BinaryOp { left, op: BinaryOperator::And, right };
    }
    is_on
}

fn as_of(args: [Ast; 2]) -> Ast {
    let args = args.map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).to_vec();
    let args = FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Ast::Function(Function {
        name: ObjectName::from(vec![Ident::new(AS_OF)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(args),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
