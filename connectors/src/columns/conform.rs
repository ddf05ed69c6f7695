//! Values of one type as values of another: rows within values by the names of their fields, scalars by their meaning.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray, new_null_array};
use arrow_schema::{DataType, FieldRef, Fields};
use updraft_dataflow::Error;

use super::text::strict;
use super::types::sql_name;

/// Brings values into what a column holds. A field that they have not is NULL.
///
/// # Errors
/// Names the column, or what is within it.
pub(crate) fn conform(array: &ArrayRef, to: &FieldRef) -> Result<ArrayRef, Error> {
    let fault = |what: String| -> Error { format!("field `{}`{what}", to.name()).into() };
    let brought: ArrayRef = match (array.data_type(), to.data_type()) {
        (DataType::Struct(_), DataType::Struct(fields)) => Arc::new(row(array.as_struct(), fields)?),
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let items = conform(list.values(), item)?;
            Arc::new(ListArray::try_new(item.clone(), list.offsets().clone(), items, list.nulls().cloned())?)
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let (map, DataType::Struct(fields)) = (array.as_map(), entries.data_type()) else {
                return Err(fault(": a map of no pairs".into()));
            };
            let columns = map.entries().columns().iter().zip(fields);
            let columns = columns.map(|(array, to)| conform(array, to)).collect::<Result<Vec<_>, _>>()?;
            let pairs = StructArray::try_new(fields.clone(), columns, None)?;
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Arc::new(MapArray::try_new(entries.clone(), offsets, pairs, nulls, *sorted)?)
        }
        (from, to) => {
            let mismatch = |error| fault(format!(": {} is not {}: {error}", sql_name(from), sql_name(to)));
            strict(array, to).map_err(mismatch)?
        }
    };
    match brought.null_count() > 0 && !to.is_nullable() {
        true => Err(fault(" is null, and the column is NOT NULL".into())),
        false => Ok(brought),
    }
}

/// Those of a row that is not NULL itself.
fn row(row: &StructArray, fields: &Fields) -> Result<StructArray, Error> {
    let field = |to: &FieldRef| match row.column_by_name(to.name()) {
        // What is under NULL need not be there.
        Some(array) if row.null_count() > 0 && !to.is_nullable() => {
            let nullable = Arc::new(to.as_ref().clone().with_nullable(true));
            conform(array, &nullable)
        }
        Some(array) => conform(array, to),
        None => absent(to, row.len()),
    };
    let columns = fields.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    Ok(StructArray::try_new_with_length(fields.clone(), columns, row.nulls().cloned(), row.len())?)
}

/// NULLs, for a field that values have not.
///
/// # Errors
/// When it is NOT NULL.
pub(crate) fn absent(to: &FieldRef, rows: usize) -> Result<ArrayRef, Error> {
    match to.is_nullable() {
        true => Ok(new_null_array(to.data_type(), rows)),
        false => Err(format!("there is no field `{}`, and the column is NOT NULL", to.name()).into()),
    }
}
