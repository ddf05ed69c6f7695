//! [`Described`]: what an operator keeps, without looking at it: for jobs that have been changed, and for who looks at checkpoints.

use arrow::datatypes::{Field, Schema};
use datafusion_common::Result;
use updraft_dataflow::checkpoint::{Column, Layout};

use super::aggregate::Aggregate;
use super::order::SortColumn;

/// See the module's page.
pub(crate) trait Described {
    /// The kind of the operator, and the columns that it keeps. What is stored by one is read by another if these are the same; or
    /// if all that has changed is that columns which say so have wider types.
    fn layout(&self) -> Layout;
}

fn column(field: &Field) -> Column {
    let name = own_name(field.name());
    Column { nullable: field.is_nullable(), ..Column::new(name, field.data_type().to_string()) }
}

/// The name of a column without that of its table; what is computed is told as it is.
fn own_name(name: &str) -> &str {
    if name.contains('(') { name } else { name.rsplit('.').next().unwrap_or_default() }
}

/// Columns by which rows are found: these are what they are.
pub(crate) fn keys(schema: &Schema, columns: &[usize]) -> Vec<Column> {
    columns.iter().map(|at| column(schema.field(*at))).collect()
}

/// All columns, as they are.
pub(crate) fn all(schema: &Schema) -> Vec<Column> {
    schema.fields().iter().map(|field| column(field)).collect()
}

/// All columns of rows, of which those that are not keys may have wider types than what is stored.
pub(crate) fn rows(schema: &Schema, keys: &[usize]) -> Vec<Column> {
    let of = |(at, field): (usize, &std::sync::Arc<Field>)| Column { widens: !keys.contains(&at), ..column(field) };
    schema.fields().iter().enumerate().map(of).collect()
}

/// What aggregates are made of.
pub(crate) fn states(aggregates: &[Aggregate]) -> Vec<Column> {
    let fields = |aggregate: &Aggregate| -> Result<Vec<Column>> {
        let states = aggregate.function.state_fields()?;
        let name = |field: &Field| Column { name: field.name().clone(), ..column(field) };
        Ok(states.iter().map(|field| name(field)).collect())
    };
    aggregates.iter().flat_map(|aggregate| fields(aggregate).unwrap_or_default()).collect()
}

/// In which order rows are.
pub(crate) fn order(schema: &Schema, by: &[SortColumn]) -> Vec<Column> {
    let of = |by: &SortColumn| {
        let way = if by.options.descending { "DESC" } else { "ASC" };
        let nulls = if by.options.nulls_first { "NULLS FIRST" } else { "NULLS LAST" };
        Column::new(column(schema.field(by.column)).name, format!("{way} {nulls}"))
    };
    by.iter().map(of).collect()
}
