//! From a query to an optimised logical plan: names, types and rules by DataFusion, windows and time by us.
//!
//! [`Context`] is what DataFusion's planner asks for tables and functions; [`relation`] plans what only Flink has after
//! `FROM`. Next: [`crate::build`], which makes a job of the plan.

mod forms;
mod group_windows;
pub(crate) mod interval;
mod names;
mod one_row;
pub(crate) mod origin;
pub(crate) mod proctime;
mod ranks;
mod refused;
mod relation;
pub(crate) mod unnest;
pub(crate) mod versioned;
pub(crate) mod window;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DFSchema, Result, TableReference, plan_err};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion_expr::{AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion_optimizer::analyzer::Analyzer;
use datafusion_optimizer::optimizer::{Optimizer, OptimizerContext};
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast;

use crate::catalog::Catalog;

/// Functions by their lower-case names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Functions {
    scalar: HashMap<String, Arc<ScalarUDF>>,
    aggregate: HashMap<String, Arc<AggregateUDF>>,
    window: HashMap<String, Arc<WindowUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
}

impl Functions {
    /// Those of Flink.
    pub(crate) fn new() -> Self {
        let mut functions = Self { planners: crate::function::expr_planners(), ..Self::default() };
        crate::function::scalar_functions().into_iter().for_each(|function| functions.add_scalar(function));
        for function in crate::function::aggregate_functions() {
            let names = std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str));
            names.for_each(|name| drop(functions.aggregate.insert(name.to_lowercase(), function.clone())));
        }
        for function in crate::function::window_functions() {
            let names = std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str));
            names.for_each(|name| drop(functions.window.insert(name.to_lowercase(), function.clone())));
        }
        functions.add_scalar(Arc::new(ScalarUDF::from(proctime::Proctime::default())));
        functions.add_scalar(Arc::new(ScalarUDF::from(versioned::AsOf::default())));
        functions.add_scalar(Arc::new(ScalarUDF::from(one_row::OneRow::default())));
        functions
    }

    pub(crate) fn add_scalar(&mut self, function: Arc<ScalarUDF>) {
        let names = std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str));
        names.for_each(|name| drop(self.scalar.insert(name.to_lowercase(), function.clone())));
    }

    /// Calls a function by another name too.
    pub(crate) fn name_scalar(&mut self, name: &str, function: Arc<ScalarUDF>) {
        self.scalar.insert(name.to_lowercase(), function);
    }

    /// All names, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.scalar.keys().chain(self.aggregate.keys()).chain(self.window.keys()).cloned().collect();
        names.sort();
        names.dedup();
        names
    }
}

/// What DataFusion's planner asks.
pub(crate) struct Context<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) functions: &'a Functions,
    options: ConfigOptions,
    relations: [Arc<dyn RelationPlanner>; 1],
    types: Arc<dyn TypePlanner>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(catalog: &'a Catalog, functions: &'a Functions) -> Self {
        let mut options = ConfigOptions::default();
        options.sql_parser.enable_ident_normalization = false;
        options.sql_parser.parse_float_as_decimal = true;
        options.sql_parser.collect_spans = true;
        options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
        options.sql_parser.default_null_ordering = "nulls_min".into();
        options.sql_parser.support_varchar_with_length = true;
        let relations: [Arc<dyn RelationPlanner>; 1] = [Arc::new(relation::Relations)];
        Self { catalog, functions, options, relations, types: Arc::new(crate::parse::FlinkTypes) }
    }

    fn planner(&self) -> SqlToRel<'_, Self> {
        SqlToRel::new_with_options(self, ParserOptions::from(&self.options.sql_parser))
    }

    /// The plan of a query, typed and optimised.
    pub(crate) fn query(&self, query: ast::Query) -> Result<LogicalPlan> {
        self.optimize(self.view(query)?)
    }

    /// The plan of a query, as written: for views, which are optimised where they are used.
    pub(crate) fn view(&self, mut query: ast::Query) -> Result<LogicalPlan> {
        refused::check(&query)?;
        forms::rewrite(&mut query, &|name| self.functions.aggregate.contains_key(name))?;
        names::rewrite(&mut query);
        unnest::rewrite(&mut query);
        versioned::rewrite(&mut query)?;
        group_windows::rewrite(&mut query)?;
        let plan = |query| self.planner().sql_statement_to_plan(ast::Statement::Query(Box::new(query)));
        let planned = match plan(query.clone()) {
            Err(error) if names::are_not_unique(&error) => {
                names::make_unique(&mut query);
                plan(query)
            }
            planned => planned,
        };
        versioned::bind(planned?)
    }

    /// An expression over the columns of `schema`, typed.
    pub(crate) fn expression(&self, expr: ast::Expr, schema: &DFSchema) -> Result<Expr> {
        let expr = self.planner().sql_to_expr(expr, schema, &mut PlannerContext::new())?;
        let mut coercion = datafusion_optimizer::analyzer::type_coercion::TypeCoercionRewriter::new(schema);
        use datafusion_common::tree_node::TreeNode;
        Ok(expr.rewrite(&mut coercion)?.data)
    }

    /// Types and simplifies a plan.
    pub(crate) fn optimize(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let mut analyzer = Analyzer::new();
        crate::function::function_rewrites().into_iter().for_each(|rewrite| analyzer.add_function_rewrite(rewrite));
        let plan = analyzer.execute_and_check(plan, &self.options, |_, _| {})?;
        // Counting what is distinct stays with the accumulators: two groupings one after the other would be two stages.
        let mut optimizer = Optimizer::new();
        optimizer.rules.retain(|rule| !["single_distinct_aggregation_to_group_by"].contains(&rule.name()));
        let config = OptimizerContext::new_with_config_options(Arc::new(self.options.clone()))
            .without_query_execution_start_time();
        ranks::settle(optimizer.optimize(plan, &config, |_, _| {})?)
    }
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        self.catalog.source(&name)
    }

    fn get_table_function_source(&self, name: &str, _: Vec<Expr>) -> Result<Arc<dyn TableSource>> {
        plan_err!("there is no table function {name}; windows are written TABLE({name}(TABLE t, DESCRIPTOR(time), …))")
    }

    fn create_cte_work_table(&self, name: &str, _: SchemaRef) -> Result<Arc<dyn TableSource>> {
        plan_err!("WITH RECURSIVE is not supported ({name})")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.functions.planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relations
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(self.types.clone())
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.scalar.get(&name.to_lowercase()).cloned()
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate.get(&name.to_lowercase()).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window.get(&name.to_lowercase()).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregate.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.functions.window.keys().cloned().collect()
    }
}
