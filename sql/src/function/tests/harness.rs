//! Plans and evaluates an expression, as the planner of a job does it: parse, plan, analyze, simplify, evaluate.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DFSchema, Result, ScalarValue, TableReference, plan_err};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::logical_plan::builder::LogicalTableSource;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::{
    Accumulator, AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
};
use datafusion_optimizer::analyzer::Analyzer;
use datafusion_optimizer::simplify_expressions::SimplifyExpressions;
use datafusion_optimizer::{Optimizer, OptimizerContext};
use datafusion_physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::planner::{ParserOptions, SqlToRel};
use datafusion_sql::sqlparser::ast::{Expr as SqlExpr, Statement};
use datafusion_sql::sqlparser::dialect::Dialect;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};

use crate::function::{
    aggregate_functions, expr_planners, forms, function_rewrites, scalar_functions, window_functions,
};

/// The grammar of a job's SQL, as far as expressions need it.
#[derive(Debug)]
struct Flink;

impl Dialect for Flink {
    fn is_identifier_start(&self, char: char) -> bool {
        char.is_alphabetic() || char == '_'
    }

    fn is_identifier_part(&self, char: char) -> bool {
        char.is_alphanumeric() || char == '_'
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<SqlExpr, ParserError>> {
        forms::parse_prefix(parser)
    }

    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        expr: &SqlExpr,
        precedence: u8,
    ) -> Option<Result<SqlExpr, ParserError>> {
        forms::parse_infix(parser, expr, precedence)
    }
}

struct Context {
    scalars: HashMap<String, Arc<ScalarUDF>>,
    aggregates: HashMap<String, Arc<AggregateUDF>>,
    windows: HashMap<String, Arc<WindowUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: ConfigOptions,
}

impl Context {
    fn new() -> Self {
        let scalars = scalar_functions().into_iter().flat_map(|function| {
            let names: Vec<_> = function.aliases().iter().cloned().chain([function.name().to_owned()]).collect();
            names.into_iter().map(move |name| (name, Arc::clone(&function)))
        });
        let aggregates = aggregate_functions().into_iter().flat_map(|function| {
            let names: Vec<_> = function.aliases().iter().cloned().chain([function.name().to_owned()]).collect();
            names.into_iter().map(move |name| (name, Arc::clone(&function)))
        });
        let mut options = ConfigOptions::default();
        options.execution.time_zone = Some("Europe/Berlin".into());
        Self {
            scalars: scalars.collect(),
            aggregates: aggregates.collect(),
            windows: window_functions().into_iter().map(|function| (function.name().to_owned(), function)).collect(),
            planners: expr_planners(),
            options,
        }
    }
}

impl ContextProvider for Context {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match name.table() {
            "t" => Ok(Arc::new(LogicalTableSource::new(table().schema()))),
            other => plan_err!("there is no table {other}"),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalars.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.windows.get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.scalars.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.aggregates.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.windows.keys().cloned().collect()
    }
}

/// The rows that aggregates are of: two batches of three.
pub(super) fn table() -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("i", DataType::Int32, true),
        Field::new("d", DataType::Float64, true),
        Field::new("m", DataType::Decimal128(10, 2), true),
        Field::new("s", DataType::Utf8View, true),
    ]);
    let decimals = arrow::array::Decimal128Array::from(vec![Some(100), Some(200), None, Some(250), Some(300), Some(1)]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(1), Some(2), None, Some(4), Some(4), Some(5)])),
        Arc::new(Float64Array::from(vec![Some(1.0), Some(2.0), Some(3.0), None, Some(4.5), Some(4.5)])),
        Arc::new(decimals.with_precision_and_scale(10, 2).unwrap()),
        Arc::new(StringViewArray::from(vec![Some("a"), Some("b"), Some("a"), None, Some("c"), Some("d")])),
    ];
    RecordBatch::try_new(SchemaRef::new(schema), columns).unwrap()
}

fn plan(sql: &str, context: &Context) -> Result<LogicalPlan> {
    let statement = Parser::new(&Flink).try_with_sql(sql).and_then(|mut parser| parser.parse_statement());
    let statement: Statement = match statement {
        Ok(statement) => statement,
        Err(error) => return plan_err!("{error}"),
    };
    let options = ParserOptions::new().with_parse_float_as_decimal(true).with_map_string_types_to_utf8view(true);
    let plan = SqlToRel::new_with_options(context, options).sql_statement_to_plan(statement)?;
    let mut analyzer = Analyzer::new();
    function_rewrites().into_iter().for_each(|rewrite| analyzer.add_function_rewrite(rewrite));
    let plan = analyzer.execute_and_check(plan, &context.options, |_, _| {})?;
    let simplify = Optimizer::with_rules(vec![Arc::new(SimplifyExpressions::new())]);
    let config = OptimizerContext::new_with_config_options(Arc::new(context.options.clone()));
    simplify.optimize(plan, &config, |_, _| {})
}

fn physical(expr: &Expr, schema: &DFSchema, context: &Context) -> Result<Arc<dyn PhysicalExpr>> {
    let mut props = ExecutionProps::new();
    props.config_options = Some(Arc::new(context.options.clone()));
    create_physical_expr(expr, schema, &props, &PhysicalPlanningContext::default())
}

/// What an expression without columns gives, as text.
pub(super) fn evaluate(expression: &str) -> Result<String> {
    let context = Context::new();
    let LogicalPlan::Projection(projection) = plan(&format!("SELECT {expression}"), &context)? else {
        return plan_err!("{expression} is no projection");
    };
    let expr = physical(&projection.expr[0], &DFSchema::empty(), &context)?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(2));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    let values = expr.evaluate(&batch)?.into_array(2)?;
    assert_eq!(values.data_type(), &expr.data_type(&Schema::empty())?, "{expression}: its type");
    show(&values)
}

/// What an expression of the table's columns gives in each row.
pub(super) fn rows(expression: &str) -> Result<Vec<String>> {
    let context = Context::new();
    let LogicalPlan::Projection(projection) = plan(&format!("SELECT {expression} FROM t"), &context)? else {
        return plan_err!("{expression} is no projection");
    };
    let expr = physical(&projection.expr[0], projection.input.schema(), &context)?;
    let values = expr.evaluate(&table())?.into_array(table().num_rows())?;
    (0..values.len()).map(|row| show(&values.slice(row, 1))).collect()
}

fn show(values: &ArrayRef) -> Result<String> {
    use arrow::array::Array;
    if values.is_null(0) || values.data_type().is_null() {
        return Ok("NULL".into());
    }
    match values.data_type() {
        DataType::List(_) | DataType::Map(_, _) | DataType::Struct(_) => Ok(array_value_to_string(values, 0)?),
        _ => Ok(crate::function::conversion::texts(values)?.value(0).to_owned()),
    }
}

/// An aggregate, ready to run, and the columns of its arguments.
fn aggregate(expression: &str) -> Result<(AggregateFunctionExpr, Vec<ArrayRef>)> {
    let context = Context::new();
    let plan = plan(&format!("SELECT {expression} FROM t"), &context)?;
    let found = plan.inputs().into_iter().chain([&plan]).find_map(|plan| match plan {
        LogicalPlan::Aggregate(aggregate) => Some(aggregate.clone()),
        _ => None,
    });
    let Some(found) = found else { return plan_err!("{expression} is no aggregate") };
    let expr = found.aggr_expr[0].clone().unalias();
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else {
        return plan_err!("{expression} is no aggregate");
    };
    let schema = found.input.schema();
    let args = params.args.iter().map(|arg| physical(arg, schema, &context)).collect::<Result<Vec<_>>>()?;
    let batch = table();
    let columns = args.iter().map(|arg| arg.evaluate(&batch)?.into_array(batch.num_rows())).collect::<Result<_>>()?;
    let builder =
        AggregateExprBuilder::new(func, args).schema(batch.schema()).alias("a").with_distinct(params.distinct);
    Ok((builder.build()?, columns))
}

fn update(accumulator: &mut dyn Accumulator, columns: &[ArrayRef], from: usize, length: usize) -> Result<()> {
    let slices: Vec<_> = columns.iter().map(|column| column.slice(from, length)).collect();
    accumulator.update_batch(&slices)
}

fn show_scalar(value: &ScalarValue) -> Result<String> {
    show(&value.to_array()?)
}

/// What an aggregate of the table gives: at once, and merged of two halves, which must not differ.
pub(super) fn total(expression: &str) -> Result<String> {
    let (aggregate, columns) = aggregate(expression)?;
    let mut whole = aggregate.create_accumulator()?;
    update(whole.as_mut(), &columns, 0, 6)?;
    let mut merged = aggregate.create_accumulator()?;
    for from in [0, 3] {
        let mut half = aggregate.create_accumulator()?;
        update(half.as_mut(), &columns, from, 3)?;
        let state = half.state()?.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>>>()?;
        merged.merge_batch(&state)?;
    }
    let (whole, merged) = (show_scalar(&whole.evaluate()?)?, show_scalar(&merged.evaluate()?)?);
    assert_eq!(whole, merged, "{expression}, at once and merged");
    Ok(whole)
}

/// What an aggregate gives by groups, if it has such an accumulator: the table's first and second half.
pub(super) fn groups(expression: &str) -> Result<Option<Vec<String>>> {
    let (aggregate, columns) = aggregate(expression)?;
    if !aggregate.groups_accumulator_supported() {
        return Ok(None);
    }
    let mut groups = aggregate.create_groups_accumulator()?;
    groups.update_batch(&columns, &[0, 0, 0, 1, 1, 1], None, 2)?;
    let values = groups.evaluate(datafusion_expr::EmitTo::All)?;
    (0..2).map(|row| show(&values.slice(row, 1))).collect::<Result<Vec<_>>>().map(Some)
}

/// What an aggregate gives of the table's second half: of all rows less the first ones.
pub(super) fn retracted(expression: &str) -> Result<String> {
    let (aggregate, columns) = aggregate(expression)?;
    let mut accumulator = aggregate.create_sliding_accumulator()?;
    update(accumulator.as_mut(), &columns, 0, 6)?;
    assert!(accumulator.supports_retract_batch(), "{expression} retracts");
    let gone: Vec<_> = columns.iter().map(|column| column.slice(0, 3)).collect();
    accumulator.retract_batch(&gone)?;
    show_scalar(&accumulator.evaluate()?)
}

/// What an aggregate of no rows gives.
pub(super) fn nothing(expression: &str) -> Result<String> {
    let (aggregate, _) = aggregate(expression)?;
    show_scalar(&aggregate.create_accumulator()?.evaluate()?)
}
