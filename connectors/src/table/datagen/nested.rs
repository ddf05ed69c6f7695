//! Values that consist of values: arrays, maps, rows.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, ListArray, MapArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, FieldRef};
use arrow_select::filter::filter;
use updraft_dataflow::Error;

use super::make::{Make, Plan, Span};
use crate::text::{Style, cells};

/// Elements of an array or a map unless said otherwise.
const LENGTH: usize = 3;

/// What makes random values of such a type.
pub(super) fn random(plan: &Plan<'_>) -> Result<Make, Error> {
    match plan.data_type {
        DataType::List(element) => list(plan, element),
        DataType::Map(entries, _) => map(plan, entries),
        DataType::Struct(fields) if !fields.is_empty() => {
            let parts: Vec<_> =
                fields.iter().map(|field| plan.within(field.name(), field, 1)).collect::<Result<_, _>>()?;
            let (fields, nulls) = (fields.clone(), plan.nulls());
            Ok(Arc::new(move |span| {
                let columns = parts.iter().map(|part| part(span)).collect();
                Arc::new(StructArray::new(fields.clone(), columns, nulls(span)))
            }))
        }
        _ => Err(plan.unsupported()),
    }
}

fn list(plan: &Plan<'_>, field: &FieldRef) -> Result<Make, Error> {
    let length = plan.length(LENGTH)?;
    let element = plan.within("element", field, length)?;
    let (field, nulls) = (field.clone(), plan.nulls());
    Ok(Arc::new(move |span| {
        let offsets = OffsetBuffer::from_repeated_length(length, span.len);
        Arc::new(ListArray::new(field.clone(), offsets, element(&span.within(length)), nulls(span)))
    }))
}

fn map(plan: &Plan<'_>, entries: &FieldRef) -> Result<Make, Error> {
    let DataType::Struct(fields) = entries.data_type() else { return Err(plan.unsupported()) };
    let [key_field, value_field] = &fields[..] else { return Err(plan.unsupported()) };
    let (length, nulls) = (plan.length(LENGTH)?, plan.nulls());
    let (key, value) = (plan.within("key", key_field, length)?, plan.within("value", value_field, length)?);
    let (entries, fields, field) = (entries.clone(), fields.clone(), plan.field.path.clone());
    // Fails for keys without text alone, and then for the first ones, too.
    let keys = key(&Span::new(0, 0, (0, 0.0)));
    cells(&keys, Style::Json).map(drop).map_err(|error| format!("field `{field}`: {error}"))?;
    Ok(Arc::new(move |span| {
        let inner = span.within(length);
        let (keys, values) = (key(&inner), value(&inner));
        let (keep, lengths) = first_ones(&keys, length, span.len);
        let keep = |column: &ArrayRef| filter(column, &keep).expect("a mask as long as the column");
        let rows = StructArray::new(fields.clone(), vec![keep(&keys), keep(&values)], None);
        Arc::new(MapArray::new(entries.clone(), OffsetBuffer::from_lengths(lengths), rows, nulls(span), false))
    }))
}

/// The first one of equal keys within each map of `length`, and how many are left of each.
fn first_ones(keys: &ArrayRef, length: usize, maps: usize) -> (BooleanArray, Vec<usize>) {
    let text = cells(keys, Style::Json).expect("keys whose text has been asked for");
    let (mut keep, mut lengths) = (Vec::with_capacity(keys.len()), Vec::with_capacity(maps));
    let mut seen = HashSet::new();
    for map in 0..maps {
        seen.clear();
        for entry in map * length..(map + 1) * length {
            let mut key = String::new();
            text(entry, &mut key);
            keep.push(seen.insert(key));
        }
        lengths.push(seen.len());
    }
    (keep.into(), lengths)
}
