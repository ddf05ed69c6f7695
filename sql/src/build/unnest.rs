//! `UNNEST`: a row for each element of an array or map.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion_common::{Result, not_impl_err};
use datafusion_physical_expr::PhysicalExpr;
use updraft_dataflow::Rows;
use updraft_kernel::give_up;

use super::expr::{batch, batch_schema, evaluate, physical};
use super::{Builder, Flow, Node, Operation, Translator, window};
use crate::fail::fail;
use crate::plan::unnest::Unnested;

struct Unnest {
    array: Arc<dyn PhysicalExpr>,
    outer: bool,
    ordinality: bool,
    shown: String,
    schema: SchemaRef,
}

impl Operation for Unnest {
    fn describe(&self) -> String {
        format!("Correlate(unnest=[{}], outer={})", self.shown, self.outer)
    }

    fn build(self: Box<Self>, mut inputs: Vec<Flow>, _: &mut Builder) -> Result<Flow> {
        Ok(inputs.swap_remove(0).step(move |rows| Some(self.unnest(rows))))
    }
}

/// `CROSS JOIN UNNEST(…)`.
pub(crate) fn translate(translator: &Translator, unnested: &Unnested) -> Result<Node> {
    let input = window::assigned(translator.node(&unnested.input)?)?;
    if input.traits.changes && unnested.ordinality {
        return not_impl_err!("UNNEST … WITH ORDINALITY of rows that may be updated or deleted");
    }
    let operation = Unnest {
        array: physical(&unnested.expr, &input.schema)?,
        outer: unnested.outer,
        ordinality: unnested.ordinality,
        shown: unnested.expr.to_string(),
        schema: batch_schema(&unnested.schema),
    };
    let traits = input.traits.clone();
    Ok(Node::new(operation, vec![input], unnested.schema.clone(), traits))
}

impl Unnest {
    fn unnest(&self, rows: Rows) -> Rows {
        let array = evaluate(&self.array, rows.batch());
        let (lists, elements) = elements(&array);
        // Of each row that comes out: its row, its element, and the element's number.
        let (mut taken, mut picked, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for (row, list) in lists.into_iter().enumerate() {
            if list.is_empty() && self.outer {
                taken.push(row as u32);
                picked.push(None);
                numbers.push(None);
            }
            for (index, element) in list.enumerate() {
                taken.push(row as u32);
                picked.push(Some(element as u32));
                numbers.push(Some(index as i32 + 1));
            }
        }
        let rows = rows.take(&UInt32Array::from(taken)).unwrap_or_else(|error| fail(error));
        let elements = take(&elements, &UInt32Array::from(picked), None).unwrap_or_else(|error| fail(error));
        let mut columns = rows.batch().columns().to_vec();
        match elements.as_struct_opt() {
            Some(fields) => columns.extend(fields_of(fields)),
            None => columns.push(elements),
        }
        if self.ordinality {
            columns.push(Arc::new(Int32Array::from(numbers)));
        }
        let batch = batch(self.schema.clone(), columns, rows.len());
        rows.with_batch(batch)
    }
}

/// The columns of rows; those of a row that is NULL are NULL.
fn fields_of(rows: &arrow::array::StructArray) -> Vec<ArrayRef> {
    let with_nulls = |column: &ArrayRef| match rows.nulls() {
        Some(nulls) => {
            let index: UInt32Array = (0..rows.len()).map(|row| nulls.is_valid(row).then_some(row as u32)).collect();
            take(column, &index, None).unwrap_or_else(|error| fail(error))
        }
        None => column.clone(),
    };
    rows.columns().iter().map(with_nulls).collect()
}

/// Where the elements of each row are among all of them; none where it is NULL.
fn elements(array: &ArrayRef) -> (Vec<std::ops::Range<usize>>, ArrayRef) {
    let (offsets, elements): (Vec<usize>, ArrayRef) = match array.data_type() {
        DataType::Map(..) => {
            let map = array.as_map();
            (map.offsets().iter().map(|at| *at as usize).collect(), Arc::new(map.entries().clone()))
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            (list.offsets().iter().map(|at| *at as usize).collect(), list.values().clone())
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            (list.offsets().iter().map(|at| *at as usize).collect(), list.values().clone())
        }
        other => {
            let item = Arc::new(Field::new_list_field(DataType::Null, true));
            let list = cast(array, &DataType::List(item));
            return elements(&list.unwrap_or_else(|error| give_up(format!("UNNEST of {other}: {error}"))));
        }
    };
    let range = |row: usize| if array.is_null(row) { 0..0 } else { offsets[row]..offsets[row + 1] };
    ((0..array.len()).map(range).collect(), elements)
}
