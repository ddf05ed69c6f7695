//! Expressions over [`Rows`]: DataFusion's physical expressions, evaluated a batch at a time.
//!
//! What goes wrong in one (a division by zero, a text that is no number) ends the job with an error that shows the
//! expression.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_common::cast::as_boolean_array;
use datafusion_common::{DFSchema, Result};
use datafusion_expr::Expr;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use updraft_dataflow::Rows;
use updraft_kernel::give_up;

use crate::divisor::by_constants;
use crate::fail::{fail, plain};

/// The physical form of an expression over columns of `schema`.
pub(crate) fn physical(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    let expr = datafusion_physical_expr::create_physical_expr(
        expr,
        schema,
        &ExecutionProps::new(),
        &PhysicalPlanningContext::default(),
    )?;
    by_constants(expr, schema.as_arrow())
}

/// The columns of `schema` as batches have them. All may be null: what a plan knows of that is for the optimiser, and an outer
/// join on the way has made it untrue.
pub(crate) fn batch_schema(schema: &DFSchema) -> SchemaRef {
    nullable(schema.fields().iter().map(|field| field.as_ref()))
}

/// A schema of columns that may be null.
pub(crate) fn nullable<'a>(fields: impl IntoIterator<Item = &'a Field>) -> SchemaRef {
    let fields: Vec<_> =
        fields.into_iter().map(|field| Field::new(field.name(), field.data_type().clone(), true)).collect();
    Arc::new(Schema::new(fields))
}

/// Columns as a batch.
pub(crate) fn batch(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options).unwrap_or_else(|error| fail(error))
}

/// What `expr` comes to for each row.
pub(crate) fn evaluate(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> ArrayRef {
    let value = expr.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
    value.unwrap_or_else(|error| give_up(format!("{expr}: {}", plain(&error))))
}

/// Rows become other columns of theirs.
#[derive(Clone, Debug)]
pub(crate) struct Projection {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl Projection {
    /// `exprs` over columns of `from`; they are called as in `to`.
    pub(crate) fn new(exprs: &[Expr], from: &DFSchema, to: SchemaRef) -> Result<Self> {
        let exprs = exprs.iter().map(|expr| physical(expr, from)).collect::<Result<Vec<_>>>()?;
        Ok(Self { exprs, schema: to })
    }

    /// Some columns as they are.
    pub(crate) fn of_columns(columns: &[usize], from: &SchemaRef) -> Self {
        let column = |index: &usize| Arc::new(Column::new(from.field(*index).name(), *index)) as Arc<dyn PhysicalExpr>;
        let schema = nullable(columns.iter().map(|index| from.field(*index)));
        Self { exprs: columns.iter().map(column).collect(), schema }
    }

    /// The columns that come out.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn apply(&self, rows: Rows) -> Rows {
        let columns = self.exprs.iter().map(|expr| evaluate(expr, rows.batch())).collect();
        let batch = batch(self.schema.clone(), columns, rows.len());
        rows.with_batch(batch)
    }
}

/// The rows for which `expr` is true.
pub(crate) fn filter(expr: &Arc<dyn PhysicalExpr>, rows: Rows) -> Option<Rows> {
    let value = evaluate(expr, rows.batch());
    let keep = as_boolean_array(&value).unwrap_or_else(|error| fail(error));
    match keep.true_count() {
        0 => None,
        n if n == rows.len() => Some(rows),
        _ => Some(rows.filter(keep).unwrap_or_else(|error| fail(error))),
    }
}

/// Several batches as one.
pub(crate) fn concat(schema: &SchemaRef, rows: &[Rows]) -> Rows {
    let batches = rows.iter().map(Rows::batch);
    concat_batches(schema, batches).unwrap_or_else(|error| fail(error)).into()
}
