//! `VALUES`, and queries that read nothing.

use datafusion_common::{DFSchema, Result, plan_datafusion_err};
use datafusion_expr::logical_plan::{EmptyRelation, Values};
use updraft_dataflow::{Batch, Bundle, Error, Partition, Place, Rows, Source};

use super::expr::{Projection, batch, batch_schema, concat};
use super::{Builder, Flow, Node, Operation, Traits};

/// Rows that the query itself holds.
#[derive(Clone)]
struct Constant(Rows);

impl Operation for Constant {
    fn describe(&self) -> String {
        format!("Values(rows={})", self.0.len())
    }

    fn build(self: Box<Self>, _: Vec<Flow>, builder: &mut Builder) -> Result<Flow> {
        Ok(builder.job().source("values", *self).stream().into())
    }
}

impl Source for Constant {
    type Item = Rows;
    type Partition = Once;

    fn open(self) -> Result<Vec<Once>, Error> {
        Ok(vec![Once(Some(self.0))])
    }
}

/// The only partition of constant rows.
struct Once(Option<Rows>);

impl Partition for Once {
    type Item = Rows;

    async fn next(&mut self, _: usize) -> Result<Option<Batch<Rows>>, Error> {
        Ok(self.0.take().map(|rows| Bundle::from(vec![rows]).into()))
    }

    fn position(&self) -> String {
        "values".into()
    }

    /// Whether they were given.
    fn place(&self) -> Option<Place> {
        Some(self.0.is_none().into())
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        if place == true {
            self.0 = None;
        }
        Ok(())
    }
}

/// A row without columns.
fn unit() -> Rows {
    batch(batch_schema(&DFSchema::empty()), Vec::new(), 1).into()
}

/// `VALUES (…), (…)`.
pub(crate) fn translate(values: &Values) -> Result<Node> {
    let schema = batch_schema(&values.schema);
    let rows =
        values.values.iter().map(|row| Ok(Projection::new(row, &DFSchema::empty(), schema.clone())?.apply(unit())));
    let rows = concat(&schema, &rows.collect::<Result<Vec<_>>>()?);
    Ok(Node::new(Constant(rows), Vec::new(), values.schema.clone(), Traits::default()))
}

/// `SELECT 1`: one row of nothing, or none.
pub(crate) fn empty(empty: &EmptyRelation) -> Result<Node> {
    let schema = batch_schema(&empty.schema);
    let rows = if empty.produce_one_row && schema.fields().is_empty() {
        unit()
    } else if empty.produce_one_row {
        return Err(plan_datafusion_err!("a row of columns that nothing gives"));
    } else {
        batch(
            schema.clone(),
            schema.fields().iter().map(|field| arrow::array::new_empty_array(field.data_type())).collect(),
            0,
        )
        .into()
    };
    Ok(Node::new(Constant(rows), Vec::new(), empty.schema.clone(), Traits::default()))
}
