//! [`grouping`]: what windows keep of rows, for tests that drive a stage by hand.

use std::sync::Arc;

use arrow::datatypes::{Field, SchemaRef};
use datafusion_common::Result;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use updraft_dataflow::window::Grouping;

use crate::build::expr::nullable;
use crate::build::group::{Groups, Output};
use crate::operator::aggregate::Aggregate;

/// Groups rows by columns, each in the window that the column `time` says; gives keys, then what the aggregates come to.
///
/// # Errors
/// When an aggregate has no state that can be kept.
pub fn grouping(
    input: &SchemaRef,
    keys: &[usize],
    time: usize,
    aggregates: Vec<Aggregate>,
) -> Result<impl Grouping + use<>> {
    let key = |at: &usize| Arc::new(Column::new(input.field(*at).name(), *at)) as Arc<dyn PhysicalExpr>;
    let output = (0..keys.len()).map(Output::Key).chain((0..aggregates.len()).map(Output::Aggregate)).collect();
    let of_keys = keys.iter().map(|at| input.field(*at).data_type());
    let of_aggregates = aggregates.iter().map(|aggregate| aggregate.function.field().data_type().clone());
    let types = of_keys.cloned().chain(of_aggregates).enumerate();
    let fields: Vec<_> = types.map(|(at, data_type)| Field::new(at.to_string(), data_type, true)).collect();
    Groups::new(keys.iter().map(key).collect(), aggregates, Some((time, 0)), input, output, nullable(&fields))
}
