//! Arrays and maps: what differs from DataFusion's own, or is not there.
//!
//! Most functions on arrays are a choice of elements: [`pick`] builds the arrays, and each function says which elements of
//! which argument belong in a row. Elements are compared by Arrow's row format, so they may be of any type; NULL equals NULL.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListArray, MapArray, StringViewArray, StructArray, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, Field};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion_common::{Result, plan_datafusion_err, plan_err};
use datafusion_expr::ScalarUDF;
use datafusion_expr::type_coercion::binary::type_union_resolution;

use super::moment::recast;
use super::scalar::{Call, Given, Gives, Scalar, Takes, scalar};

/// The functions on arrays and maps.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    arrays().into_iter().chain(elements()).map(Into::into).collect()
}

fn arrays() -> Vec<Scalar> {
    vec![
        scalar("array_append", Takes::By(with_element), Gives::FIRST, |call| insert(call, false)),
        scalar("array_prepend", Takes::By(with_element), Gives::FIRST, |call| insert(call, true)),
        scalar("array_concat", Takes::By(alike), Gives::FIRST, concat),
        scalar("array_distinct", Takes::By(alike), Gives::FIRST, |call| set(call, |_, _| true)),
        scalar("array_union", Takes::By(alike), Gives::FIRST, |call| set(call, |_, _| true)),
        scalar("array_except", Takes::By(alike), Gives::FIRST, |call| set(call, |place, found| place == 0 && !found)),
        scalar("array_intersect", Takes::By(alike), Gives::FIRST, |call| set(call, |place, found| place == 0 && found)),
        scalar("array_remove", Takes::By(with_element), Gives::FIRST, remove),
        scalar("array_reverse", Takes::By(alike), Gives::FIRST, |call| {
            reorder(call, |range, _, _| range.rev().collect())
        }),
        scalar("array_slice", Takes::By(slice_types), Gives::FIRST, slice),
        scalar("array_sort", Takes::By(sort_types), Gives::FIRST, sort),
        scalar("map_union", Takes::By(maps_alike), Gives::FIRST, map_union),
    ]
}

fn elements() -> Vec<Scalar> {
    vec![
        scalar("cardinality", Takes::By(one), Gives::INT, cardinality),
        scalar("element", Takes::By(alike), Gives::By(element_of), element),
        scalar("item", Takes::By(item_types), Gives::By(element_of), item),
        scalar("array_contains", Takes::By(with_element), Gives::FLAG, contains),
        scalar("array_position", Takes::By(with_element), Gives::INT, position),
        scalar("array_max", Takes::By(alike), Gives::By(element_of), |call| extreme(call, true)),
        scalar("array_min", Takes::By(alike), Gives::By(element_of), |call| extreme(call, false)),
        scalar("array_join", Takes::By(join_types), Gives::TEXT, join),
    ]
}

/// ARRAY of a type.
pub(super) fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, true)))
}

fn element_type(list: &DataType) -> Result<DataType> {
    match list {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            Ok(field.data_type().clone())
        }
        DataType::Null => Ok(DataType::Null),
        other => plan_err!("an ARRAY was expected, and {other} was given"),
    }
}

fn element_of(given: &Given<'_>) -> Result<DataType> {
    match given.of(0) {
        DataType::Map(entry, _) => Ok(entry_types(entry.data_type())?.1),
        list => element_type(&list),
    }
}

fn entry_types(entry: &DataType) -> Result<(DataType, DataType)> {
    match entry {
        DataType::Struct(fields) if fields.len() == 2 => {
            Ok((fields[0].data_type().clone(), fields[1].data_type().clone()))
        }
        other => plan_err!("{other} is no map's entry"),
    }
}

fn union(types: &[DataType]) -> Result<DataType> {
    type_union_resolution(types)
        .ok_or_else(|| plan_datafusion_err!("there is no common type of {types:?}: CAST the elements"))
}

fn one(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [DataType::Map(_, _)] => Ok(given.to_vec()),
        [_] => alike(given),
        _ => plan_err!("one ARRAY or MAP was expected, and {} arguments were given", given.len()),
    }
}

/// Arrays of one type.
fn alike(given: &[DataType]) -> Result<Vec<DataType>> {
    if given.is_empty() {
        return plan_err!("at least one ARRAY was expected");
    }
    let elements = given.iter().map(element_type).collect::<Result<Vec<_>>>()?;
    Ok(vec![list_of(union(&elements)?); given.len()])
}

/// An array and an element of it.
fn with_element(given: &[DataType]) -> Result<Vec<DataType>> {
    let [list, element] = given else {
        return plan_err!("an ARRAY and an element were expected, and {} arguments were given", given.len());
    };
    let common = union(&[element_type(list)?, element.clone()])?;
    Ok(vec![list_of(common.clone()), common])
}

fn slice_types(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [list, rest @ ..] if (1..=2).contains(&rest.len()) && rest.iter().all(|t| t.is_integer() || t.is_null()) => {
            let offsets = std::iter::repeat_n(DataType::Int64, rest.len());
            Ok(std::iter::once(list_of(element_type(list)?)).chain(offsets).collect())
        }
        _ => plan_err!("ARRAY_SLICE takes an ARRAY, an offset, and perhaps another one"),
    }
}

fn sort_types(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [list, rest @ ..] if rest.len() <= 2 && rest.iter().all(|t| *t == DataType::Boolean || t.is_null()) => {
            let flags = std::iter::repeat_n(DataType::Boolean, rest.len());
            Ok(std::iter::once(list_of(element_type(list)?)).chain(flags).collect())
        }
        _ => plan_err!("ARRAY_SORT takes an ARRAY, and perhaps whether it ascends and whether NULLs are first"),
    }
}

fn join_types(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [list, rest @ ..]
            if (1..=2).contains(&rest.len()) && (element_type(list)?.is_string() || element_type(list)?.is_null()) =>
        {
            let texts = std::iter::repeat_n(DataType::Utf8View, rest.len());
            Ok(std::iter::once(list_of(DataType::Utf8View)).chain(texts).collect())
        }
        _ => plan_err!("ARRAY_JOIN takes an ARRAY of strings, a delimiter, and perhaps what stands for NULLs"),
    }
}

fn item_types(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [DataType::Map(entry, _), _] => Ok(vec![given[0].clone(), entry_types(entry.data_type())?.0]),
        [list, index] if index.is_integer() || index.is_null() => {
            Ok(vec![list_of(element_type(list)?), DataType::Int64])
        }
        _ => plan_err!("[ ] takes an ARRAY and the place of an element, or a MAP and a key"),
    }
}

fn maps_alike(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [first @ DataType::Map(_, _), ..] => Ok(vec![first.clone(); given.len()]),
        _ => plan_err!("MAP_UNION takes MAPs of one type"),
    }
}

/// An argument's arrays.
struct Lists(ListArray);

impl Lists {
    fn of(call: &Call, place: usize) -> Result<Self> {
        Ok(Self(
            recast(&call.whole(place)?, &list_of(element_type(call.fields[place].data_type())?))?
                .as_list::<i32>()
                .clone(),
        ))
    }

    /// All arguments' arrays.
    fn all(call: &Call) -> Result<Vec<Self>> {
        (0..call.len()).map(|place| Self::of(call, place)).collect()
    }

    fn range(&self, row: usize) -> Option<Range<usize>> {
        let offsets = self.0.value_offsets();
        self.0.is_valid(row).then(|| offsets[row] as usize..offsets[row + 1] as usize)
    }

    fn values(&self) -> &ArrayRef {
        self.0.values()
    }
}

/// The values as keys that can be compared.
fn keys(columns: &[&ArrayRef]) -> Result<Vec<Rows>> {
    let Some(first) = columns.first() else { return Ok(Vec::new()) };
    let converter = RowConverter::new(vec![SortField::new(first.data_type().clone())])?;
    columns.iter().map(|column| Ok(converter.convert_columns(&[Arc::clone(column)])?)).collect()
}

/// An element: which source it is in, and where.
type Place = (usize, usize);

/// An array for each row, of elements of the sources. None makes a NULL.
fn pick(call: &Call, sources: &[&ArrayRef], mut choose: impl FnMut(usize) -> Option<Vec<Place>>) -> Result<ArrayRef> {
    let (mut places, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..call.rows {
        let chosen = choose(row);
        valid.push(chosen.is_some());
        let chosen = chosen.unwrap_or_default();
        lengths.push(chosen.len());
        places.extend(chosen);
    }
    let sources: Vec<&dyn Array> = sources.iter().map(|source| source.as_ref()).collect();
    let DataType::List(field) = &call.result else {
        return Err(call.error(format!("gives arrays, not {}", call.result)));
    };
    let values = interleave(&sources, &places)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, Some(NullBuffer::from(valid)))?))
}

fn insert(call: &Call, first: bool) -> Result<ArrayRef> {
    let (lists, elements) = (Lists::of(call, 0)?, call.whole(1)?);
    pick(call, &[lists.values(), &elements], |row| {
        let old = lists.range(row)?.map(|place| (0, place));
        let new = std::iter::once((1, row));
        Some(if first { new.chain(old).collect() } else { old.chain(new).collect() })
    })
}

fn concat(call: &Call) -> Result<ArrayRef> {
    let lists = Lists::all(call)?;
    let sources: Vec<_> = lists.iter().map(Lists::values).collect();
    pick(call, &sources, |row| {
        let ranges = lists.iter().map(|list| list.range(row)).collect::<Option<Vec<_>>>()?;
        Some(
            ranges
                .into_iter()
                .enumerate()
                .flat_map(|(source, range)| range.map(move |place| (source, place)))
                .collect(),
        )
    })
}

/// The different elements of all arguments, in order, of which `keep` wants those in this argument, and in the second one.
fn set(call: &Call, keep: impl Fn(usize, bool) -> bool) -> Result<ArrayRef> {
    let lists = Lists::all(call)?;
    let sources: Vec<_> = lists.iter().map(Lists::values).collect();
    let keys = keys(&sources)?;
    pick(call, &sources, |row| {
        let ranges = lists.iter().map(|list| list.range(row)).collect::<Option<Vec<_>>>()?;
        let key = |(source, place): Place| keys[source].row(place).as_ref().to_vec();
        let second: HashSet<_> =
            ranges.iter().enumerate().skip(1).flat_map(|(s, range)| range.clone().map(move |p| key((s, p)))).collect();
        let all = ranges.iter().enumerate().flat_map(|(source, range)| range.clone().map(move |place| (source, place)));
        let mut seen = HashSet::new();
        Some(all.filter(|place| keep(place.0, second.contains(&key(*place))) && seen.insert(key(*place))).collect())
    })
}

fn remove(call: &Call) -> Result<ArrayRef> {
    let (lists, elements) = (Lists::of(call, 0)?, call.whole(1)?);
    let keys = keys(&[lists.values(), &elements])?;
    pick(call, &[lists.values()], |row| {
        let kept = lists.range(row)?.filter(|place| keys[0].row(*place) != keys[1].row(row));
        Some(kept.map(|place| (0, place)).collect())
    })
}

/// Each array's elements in another order.
fn reorder(call: &Call, order: impl Fn(Range<usize>, &Lists, usize) -> Vec<usize>) -> Result<ArrayRef> {
    let lists = Lists::of(call, 0)?;
    pick(call, &[lists.values()], |row| {
        Some(order(lists.range(row)?, &lists, row).into_iter().map(|place| (0, place)).collect())
    })
}

fn slice(call: &Call) -> Result<ArrayRef> {
    let (lists, from, to) = (Lists::of(call, 0)?, call.int(1)?, call.int_or(2, i64::MAX)?);
    pick(call, &[lists.values()], |row| {
        let (range, from, to) = (lists.range(row)?, from.at(row)?, to.at(row)?);
        let length = range.len() as i64;
        let start = match from {
            ..0 => (length + from).max(0),
            0 => 0,
            _ => from - 1,
        };
        // Where the slice ends, exclusively.
        let end = match to {
            ..0 => length + to + 1,
            0 => 1,
            _ => to.min(length),
        };
        let both_before = from < 0 && length + from < 0 && end <= 0;
        let chosen = if both_before { 0..0 } else { start..end.min(length) };
        Some(chosen.map(|place| (0, range.start + place as usize)).collect())
    })
}

fn sort(call: &Call) -> Result<ArrayRef> {
    let lists = Lists::of(call, 0)?;
    let ascends = (call.len() > 1).then(|| call.flag(1)).transpose()?;
    let nulls_first = (call.len() > 2).then(|| call.flag(2)).transpose()?;
    let keys = keys(&[lists.values()])?;
    pick(call, &[lists.values()], |row| {
        let ascends = ascends.as_ref().map_or(Some(true), |flag| flag.at(row))?;
        let nulls_first = nulls_first.as_ref().map_or(Some(ascends), |flag| flag.at(row))?;
        let (nulls, mut rest): (Vec<_>, Vec<_>) = lists.range(row)?.partition(|place| lists.values().is_null(*place));
        rest.sort_by(|a, b| keys[0].row(*a).cmp(&keys[0].row(*b)));
        if !ascends {
            rest.reverse();
        }
        let sorted = if nulls_first { [nulls, rest] } else { [rest, nulls] };
        Some(sorted.concat().into_iter().map(|place| (0, place)).collect())
    })
}

fn cardinality(call: &Call) -> Result<ArrayRef> {
    let given = call.whole(0)?;
    let length = |row: usize| match given.data_type() {
        DataType::Map(_, _) => given.as_map().value_length(row),
        _ => given.as_list::<i32>().value_length(row),
    };
    call.each::<Int32Array, _>(|row| given.is_valid(row).then(|| length(row)))
}

/// The elements at these places; none makes a NULL.
fn taken(values: &ArrayRef, places: impl Iterator<Item = Option<usize>>) -> Result<ArrayRef> {
    let places = places.map(|place| place.map(|place| place as u64)).collect::<UInt64Array>();
    Ok(take(values, &places, None)?)
}

fn element(call: &Call) -> Result<ArrayRef> {
    let lists = Lists::of(call, 0)?;
    let only = |row| match lists.range(row) {
        Some(range) if range.len() > 1 => {
            Err(call.error(format!("the array has {} elements, and not one", range.len())))
        }
        range => Ok(range.and_then(|mut range| range.next())),
    };
    let places = (0..call.rows).map(only).collect::<Result<Vec<_>>>()?;
    taken(lists.values(), places.into_iter())
}

/// `array[place]` from 1, or `map[key]`; NULL where there is none.
fn item(call: &Call) -> Result<ArrayRef> {
    let given = call.whole(0)?;
    if let Some(map) = given.as_map_opt() {
        let wanted = call.whole(1)?;
        let keys = keys(&[map.keys(), &wanted])?;
        let place = |row: usize| {
            let range = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
            let range = if map.is_valid(row) { range } else { 0..0 };
            range.rev().find(|place| keys[0].row(*place) == keys[1].row(row))
        };
        return taken(map.values(), (0..call.rows).map(place));
    }
    let (lists, index) = (Lists::of(call, 0)?, call.int(1)?);
    let place = |row: usize| {
        let (range, index) = (lists.range(row)?, usize::try_from(index.at(row)?.checked_sub(1)?).ok()?);
        (index < range.len()).then(|| range.start + index)
    };
    taken(lists.values(), (0..call.rows).map(place))
}

/// Where in each array the element is, in elements.
fn found(call: &Call) -> Result<Vec<Option<Option<usize>>>> {
    let (lists, elements) = (Lists::of(call, 0)?, call.whole(1)?);
    let keys = keys(&[lists.values(), &elements])?;
    let find = |row| Some(lists.range(row)?.position(|place| keys[0].row(place) == keys[1].row(row)));
    Ok((0..call.rows).map(find).collect())
}

fn contains(call: &Call) -> Result<ArrayRef> {
    let found = found(call)?;
    call.each::<BooleanArray, _>(|row| found[row].map(|place| place.is_some()))
}

fn position(call: &Call) -> Result<ArrayRef> {
    let (found, elements) = (found(call)?, call.whole(1)?);
    call.each::<Int32Array, _>(|row| {
        let place = found[row].map(|place| place.map_or(0, |place| place as i32 + 1));
        place.filter(|_| elements.is_valid(row))
    })
}

fn extreme(call: &Call, greatest: bool) -> Result<ArrayRef> {
    let lists = Lists::of(call, 0)?;
    let keys = keys(&[lists.values()])?;
    let place = |row: usize| {
        let range = lists.range(row)?.filter(|place| lists.values().is_valid(*place));
        let by_key = |a: &usize, b: &usize| keys[0].row(*a).cmp(&keys[0].row(*b));
        if greatest { range.max_by(by_key) } else { range.min_by(by_key) }
    };
    taken(lists.values(), (0..call.rows).map(place))
}

fn join(call: &Call) -> Result<ArrayRef> {
    let (lists, delimiter) = (Lists::of(call, 0)?, call.text(1)?);
    let instead = (call.len() == 3).then(|| call.text(2)).transpose()?;
    let texts = lists.values().as_string_view();
    call.each::<StringViewArray, String>(|row| {
        let (range, delimiter) = (lists.range(row)?, delimiter.at(row)?);
        let instead = instead.as_ref().map(|instead| instead.at(row).ok_or(())).transpose().ok()?;
        let text = |place: usize| if texts.is_valid(place) { Some(texts.value(place)) } else { instead };
        Some(range.filter_map(text).collect::<Vec<_>>().join(delimiter))
    })
}

/// The entries of all maps; of equal keys, that of the last map.
fn map_union(call: &Call) -> Result<ArrayRef> {
    let maps =
        (0..call.len()).map(|place| Ok(call.whole(place)?.as_map().clone())).collect::<Result<Vec<MapArray>>>()?;
    let key_columns: Vec<_> = maps.iter().map(MapArray::keys).collect();
    let keys = keys(&key_columns)?;
    let entries: Vec<ArrayRef> = maps.iter().map(|map| Arc::new(map.entries().clone()) as ArrayRef).collect();
    let (mut places, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..call.rows {
        let before = places.len();
        valid.push(maps.iter().all(|map| map.is_valid(row)));
        if valid[row] {
            merge(&maps, &keys, row, &mut places);
        }
        lengths.push(places.len() - before);
    }
    let sources: Vec<&dyn Array> = entries.iter().map(|entries| entries.as_ref()).collect();
    let merged: StructArray = interleave(&sources, &places)?.as_struct().clone();
    let DataType::Map(field, sorted) = &call.result else {
        return Err(call.error("gives maps"));
    };
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(MapArray::try_new(Arc::clone(field), offsets, merged, Some(NullBuffer::from(valid)), *sorted)?))
}

fn merge(maps: &[MapArray], keys: &[Rows], row: usize, places: &mut Vec<Place>) {
    let begin = places.len();
    for (source, map) in maps.iter().enumerate() {
        let offsets = map.value_offsets();
        for place in offsets[row] as usize..offsets[row + 1] as usize {
            let key = keys[source].row(place);
            match places[begin..].iter_mut().find(|(s, p)| keys[*s].row(*p).as_ref() == key.as_ref()) {
                Some(known) => *known = (source, place),
                None => places.push((source, place)),
            }
        }
    }
}
