//! `GROUPING SETS`, `CUBE` and `ROLLUP`: each row goes to a group of each set.
//!
//! A row becomes one for each set, in which the keys that the set leaves out are NULL, and a number that tells the sets
//! apart: DataFusion's `__grouping_id`, of which a bit is set for each key that is left out.

use arrow::array::{ArrayRef, UInt8Array, UInt16Array, UInt32Array, UInt64Array, new_null_array};
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion_common::{Column, DFSchema, Result};
use datafusion_expr::logical_plan::Aggregate;
use datafusion_expr::utils::{enumerate_grouping_sets, grouping_set_to_exprlist};
use datafusion_expr::{Expr, GroupingSet};
use datafusion_physical_expr::PhysicalExpr;
use std::sync::Arc;
use updraft_dataflow::Rows;

use super::expr::{batch, batch_schema, concat, evaluate, physical};
use super::{Builder, Flow, Node, Operation};

/// Makes of each row one for each grouping set.
struct Expand {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Which keys each set has.
    sets: Vec<Vec<bool>>,
    schema: SchemaRef,
}

impl Operation for Expand {
    fn describe(&self) -> String {
        format!("Expand(sets={})", self.sets.len())
    }

    fn build(self: Box<Self>, mut inputs: Vec<Flow>, _: &mut Builder) -> Result<Flow> {
        Ok(inputs.swap_remove(0).step(move |rows| Some(self.expand(&rows))))
    }
}

impl Expand {
    fn expand(&self, rows: &Rows) -> Rows {
        let keys: Vec<ArrayRef> = self.keys.iter().map(|key| evaluate(key, rows.batch())).collect();
        let copies: Vec<Rows> = self.sets.iter().map(|set| self.copy(rows, &keys, set)).collect();
        concat(&self.schema, &copies)
    }

    fn copy(&self, rows: &Rows, keys: &[ArrayRef], set: &[bool]) -> Rows {
        let mut columns = rows.batch().columns().to_vec();
        for (key, has) in keys.iter().zip(set) {
            columns.push(if *has { key.clone() } else { new_null_array(key.data_type(), rows.len()) });
        }
        let id = set.iter().fold(0, |id, has| id << 1 | u64::from(!has));
        columns.push(constant(id, rows.len(), self.schema.fields()[columns.len()].data_type()));
        batch(self.schema.clone(), columns, rows.len()).into()
    }
}

fn constant(value: u64, rows: usize, kind: &DataType) -> ArrayRef {
    match kind {
        DataType::UInt8 => Arc::new(UInt8Array::from_value(value as u8, rows)),
        DataType::UInt16 => Arc::new(UInt16Array::from_value(value as u16, rows)),
        DataType::UInt32 => Arc::new(UInt32Array::from_value(value as u32, rows)),
        _ => Arc::new(UInt64Array::from_value(value, rows)),
    }
}

/// The keys of `GROUP BY` as columns of what is grouped.
pub(crate) fn expand(input: Node, group: &[Expr]) -> Result<(Node, Vec<Expr>)> {
    let group = enumerate_grouping_sets(group.to_vec())?;
    let [Expr::GroupingSet(sets)] = &group[..] else { return Ok((input, group)) };
    let sets = sets_of(sets);
    let keys: Vec<Expr> = grouping_set_to_exprlist(&group)?.into_iter().cloned().collect();
    let sets = sets.iter().map(|set| keys.iter().map(|key| set.contains(key)).collect()).collect();
    let mut fields: Vec<_> = input.schema.iter().map(|(name, field)| (name.cloned(), field.clone())).collect();
    let id = Aggregate::grouping_id_type(keys.len(), 0);
    let from = batch_schema(&input.schema);
    let physical = keys.iter().map(|key| physical(key, &input.schema)).collect::<Result<Vec<_>>>()?;
    let mut columns = Vec::new();
    for (index, key) in physical.iter().enumerate() {
        let name = format!("__group_{index}");
        columns.push(Expr::Column(Column::new_unqualified(&name)));
        fields.push((None, Arc::new(Field::new(name, key.data_type(&from)?, true))));
    }
    fields.push((None, Arc::new(Field::new(Aggregate::INTERNAL_GROUPING_ID, id, false))));
    columns.push(Expr::Column(Column::new_unqualified(Aggregate::INTERNAL_GROUPING_ID)));
    let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
    let mut traits = input.traits.clone();
    // A window's columns are in all sets, or they could not be grouped by; they are found where they were copied to.
    traits.window = traits.window.map(|window| {
        let first = input.schema.fields().len();
        let at = |column: Option<usize>| {
            let place = |c| keys.iter().position(|key| super::project::column_of(key, &input.schema) == Some(c));
            column.and_then(place).map(|index| first + index)
        };
        super::WindowColumns { start: at(window.start), end: at(window.end), time: at(window.time), ..window }
    });
    traits.window = traits.window.filter(|window| window.any().is_some());
    let operation = Expand { keys: physical, sets, schema: batch_schema(&schema) };
    Ok((Node::new(operation, vec![input], schema, traits), columns))
}

/// The sets that `ROLLUP` and `CUBE` stand for.
fn sets_of(sets: &GroupingSet) -> Vec<Vec<Expr>> {
    match sets {
        GroupingSet::GroupingSets(sets) => sets.clone(),
        GroupingSet::Rollup(keys) => (0..=keys.len()).rev().map(|n| keys[..n].to_vec()).collect(),
        GroupingSet::Cube(keys) => {
            let with = |set: u64| keys.iter().enumerate().filter(move |(index, _)| set >> index & 1 == 1);
            (0..1_u64 << keys.len()).rev().map(|set| with(set).map(|(_, key)| key.clone()).collect()).collect()
        }
    }
}
