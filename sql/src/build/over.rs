//! `OVER` windows: of each row, what it and those before it come to.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Field, SchemaRef};
use datafusion_common::{DFSchema, Result, ScalarValue, not_impl_err, plan_err};
use datafusion_expr::expr::{AggregateFunction, AggregateFunctionParams, WindowFunction};
use datafusion_expr::logical_plan::Window;
use datafusion_expr::{
    AggregateUDF, Expr, ExprSchemable, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};
use datafusion_functions_aggregate::first_last::{first_value_udaf, last_value_udaf};
use datafusion_physical_expr::PhysicalSortExpr;
use datafusion_physical_expr::window::WindowExpr;
use datafusion_physical_plan::windows::create_window_expr;

use super::aggregate::lower;
use super::expr::{batch_schema, physical};
use super::key::{Keyed, with_columns, without_columns};
use super::order::sort_columns;
use super::{Clock, Node, Traits, Translator, window};
use crate::operator::order::SortColumn;
use crate::operator::over::{Call, Frame, Over, OverAll, OverPlan};
use crate::plan::interval;

/// How exactly rows are put in order of their event time, in microseconds.
const STEP: i64 = 100_000;

/// The functions of an `OVER` clause, all with the same partition and order.
pub(crate) fn translate(translator: &Translator, window: &Window) -> Result<Node> {
    let input = window::assigned(translator.node(&window.input)?)?;
    let known = input.schema.fields().len();
    let functions = window.window_expr.iter().map(function).collect::<Result<Vec<_>>>()?;
    let Some(first) = functions.first() else { return Ok(input) };
    if functions.iter().any(|other| {
        other.params.partition_by != first.params.partition_by || other.params.order_by != first.params.order_by
    }) {
        return not_impl_err!("OVER windows of different partitions or orders in one SELECT");
    }
    let (input, partition) = with_columns(input, &first.params.partition_by)?;
    let (input, order) = sort_columns(input, &first.params.order_by)?;
    let node = if translator.batch {
        at_end(input, partition, &order, &functions)?
    } else {
        in_time(input, partition, &order, &functions)?
    };
    let columns = node.schema.fields().len();
    let kept: Vec<_> = (0..known).chain(columns - functions.len()..columns).collect();
    without_columns(node, &kept, window.schema.clone())
}

fn function(expr: &Expr) -> Result<&WindowFunction> {
    match expr {
        Expr::WindowFunction(function) => Ok(function),
        Expr::Alias(alias) => function(&alias.expr),
        other => plan_err!("{other} is no function of a window"),
    }
}

/// The input's columns, and one for each function.
fn schema(input: &Node, functions: &[&WindowFunction], results: &[Arc<Field>]) -> Result<Arc<DFSchema>> {
    let mut fields: Vec<_> = input.schema.iter().map(|(name, field)| (name.cloned(), field.clone())).collect();
    for (index, field) in results.iter().enumerate().take(functions.len()) {
        fields.push((None, Arc::new(Field::new(format!("__over_{index}"), field.data_type().clone(), true))));
    }
    Ok(Arc::new(DFSchema::new_with_metadata(fields, Default::default())?))
}

fn results(input: &Node, functions: &[&WindowFunction]) -> Result<Vec<Arc<Field>>> {
    let field = |function: &&WindowFunction| {
        let expr = Expr::WindowFunction(Box::new((*function).clone()));
        Ok(Arc::new(Field::new("result", expr.get_type(&input.schema)?, true)))
    };
    functions.iter().map(field).collect()
}

fn shown(functions: &[&WindowFunction]) -> String {
    let all: Vec<_> =
        functions.iter().map(|function| Expr::WindowFunction(Box::new((*function).clone())).to_string()).collect();
    format!("OverAggregate(window=[{}])", all.join(", "))
}

/// Row by row, in order of a time attribute.
fn in_time(input: Node, partition: Vec<usize>, order: &[SortColumn], functions: &[&WindowFunction]) -> Result<Node> {
    let traits = &input.traits;
    let time = match order {
        [by] if !by.options.descending && traits.rowtimes.contains(&by.column) => Some(by.column),
        [by] if !by.options.descending && traits.proctimes.contains(&by.column) => None,
        _ => {
            return plan_err!(
                "OVER is ordered by one time attribute, ascending, in a streaming query (or filtered by its rank, as Top-N is)"
            );
        }
    };
    if traits.changes {
        return not_impl_err!("OVER of rows that may be updated or deleted");
    }
    let from = batch_schema(&input.schema);
    let frame = frame(&functions[0].params.window_frame)?;
    let calls = functions.iter().map(|function| {
        if self::frame(&function.params.window_frame)? != frame && !is_ranking(function) {
            return not_impl_err!("OVER windows of different frames in one SELECT");
        }
        call(function, &input, &from)
    });
    let calls = calls.collect::<Result<Vec<_>>>()?;
    let schema = schema(&input, functions, &results(&input, functions)?)?;
    let plan =
        OverPlan { input: from, partition: partition.clone(), time, frame, calls, output: batch_schema(&schema) };
    let clock = time.map(|_| Clock::Event(STEP));
    let traits = input.traits.clone();
    let operation = Keyed { operator: Over::new(plan), name: "over", keys: partition, shown: shown(functions), clock };
    Ok(Node::new(operation, vec![input], schema, traits))
}

fn is_ranking(function: &WindowFunction) -> bool {
    matches!(&function.fun, WindowFunctionDefinition::WindowUDF(_))
}

fn frame(frame: &WindowFrame) -> Result<Frame> {
    if !matches!(frame.end_bound, WindowFrameBound::CurrentRow) {
        return not_impl_err!("OVER frames that end elsewhere than at CURRENT ROW, in a streaming query");
    }
    let WindowFrameBound::Preceding(start) = &frame.start_bound else {
        return not_impl_err!("OVER frames that begin elsewhere than at PRECEDING, in a streaming query");
    };
    let wrong = || plan_err!("OVER … {start} PRECEDING");
    match (frame.units, start) {
        (WindowFrameUnits::Rows, start) if start.is_null() => Ok(Frame::Rows(None)),
        (WindowFrameUnits::Rows, ScalarValue::UInt64(Some(rows))) => Ok(Frame::Rows(Some(*rows))),
        (WindowFrameUnits::Range, start) if start.is_null() => Ok(Frame::Range(None)),
        (WindowFrameUnits::Range, span) => match interval::nanos(span).and_then(|nanos| nanos.try_into().ok()) {
            Some(nanos) => Ok(Frame::Range(Some(Duration::from_nanos(nanos)))),
            None => wrong(),
        },
        _ => wrong(),
    }
}

fn call(function: &WindowFunction, input: &Node, from: &SchemaRef) -> Result<Call> {
    let args = &function.params.args;
    match &function.fun {
        WindowFunctionDefinition::AggregateUDF(aggregate) => aggregated(aggregate.clone(), function, input, from),
        WindowFunctionDefinition::WindowUDF(udf) => match udf.name() {
            "row_number" => Ok(Call::RowNumber),
            "rank" => Ok(Call::Rank),
            "dense_rank" => Ok(Call::DenseRank),
            "first_value" => aggregated(first_value_udaf(), function, input, from),
            "last_value" => aggregated(last_value_udaf(), function, input, from),
            "lag" => {
                let Some(value) = args.first() else { return plan_err!("LAG needs a value") };
                let back = match args.get(1) {
                    None => 1,
                    Some(Expr::Literal(ScalarValue::Int64(Some(back)), _)) if *back >= 0 => *back as usize,
                    Some(other) => return plan_err!("LAG goes back a constant number of rows, not {other}"),
                };
                let value_type = value.get_type(&input.schema)?;
                let default = args
                    .get(2)
                    .map(|default| physical(&default.clone().cast_to(&value_type, &input.schema)?, &input.schema));
                Ok(Call::Lag { value: physical(value, &input.schema)?, back, default: default.transpose()? })
            }
            other => not_impl_err!("{} OVER in a streaming query", other.to_uppercase()),
        },
    }
}

fn aggregated(aggregate: Arc<AggregateUDF>, function: &WindowFunction, input: &Node, from: &SchemaRef) -> Result<Call> {
    let params = &function.params;
    let params = AggregateFunctionParams {
        args: params.args.clone(),
        distinct: params.distinct,
        filter: params.filter.clone(),
        order_by: Vec::new(),
        null_treatment: params.null_treatment,
    };
    let expr = Expr::AggregateFunction(AggregateFunction { func: aggregate, params });
    Ok(Call::Aggregate(lower(&expr, input, from)?))
}

/// Over whole partitions, when all rows have come.
fn at_end(input: Node, partition: Vec<usize>, order: &[SortColumn], functions: &[&WindowFunction]) -> Result<Node> {
    let from = batch_schema(&input.schema);
    let exprs = functions.iter().map(|function| whole(function, &input, &from)).collect::<Result<Vec<_>>>()?;
    let schema = schema(&input, functions, &results(&input, functions)?)?;
    let operator = OverAll::new(from, &partition, order, exprs, batch_schema(&schema));
    let operation = Keyed { operator, name: "over", keys: partition, shown: shown(functions), clock: None };
    let traits = Traits { changes: false, ..input.traits.clone() };
    Ok(Node::new(operation, vec![input], schema, traits))
}

fn whole(function: &WindowFunction, input: &Node, from: &SchemaRef) -> Result<Arc<dyn WindowExpr>> {
    let params = &function.params;
    if params.args.get(2).is_some_and(|default| !matches!(default, Expr::Literal(..))) {
        return not_impl_err!(
            "LAG and LEAD in batch mode with a default that is no constant; COALESCE(LAG(…), default) may do"
        );
    }
    let all = |exprs: &[Expr]| exprs.iter().map(|expr| physical(expr, &input.schema)).collect::<Result<Vec<_>>>();
    let order = params.order_by.iter().map(|by| {
        let options = arrow::compute::SortOptions { descending: !by.asc, nulls_first: by.nulls_first };
        Ok(PhysicalSortExpr { expr: physical(&by.expr, &input.schema)?, options })
    });
    let ignores_nulls = params.null_treatment == Some(datafusion_expr::expr::NullTreatment::IgnoreNulls);
    create_window_expr(
        &function.fun,
        "result".into(),
        &all(&params.args)?,
        &all(&params.partition_by)?,
        &order.collect::<Result<Vec<_>>>()?,
        Arc::new(params.window_frame.clone()),
        from.clone(),
        ignores_nulls,
        params.distinct,
        params.filter.as_ref().map(|filter| physical(filter, &input.schema)).transpose()?,
    )
}
