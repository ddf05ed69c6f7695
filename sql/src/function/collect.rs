//! Aggregates that keep what they saw: COLLECT, LISTAGG, PERCENTILE, JSON_OBJECTAGG, JSON_ARRAYAGG.
//!
//! Each keeps its arguments' rows in order of arrival ([`Kept`]), and makes its result of them at the end: a [`Gather`] says
//! which arguments it keeps and how. Rows can be retracted, whichever of equal ones came first.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type, Int64Type};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use super::collection::list_of;
use super::conversion::texts;
use super::json_text::{Writer, quote};

/// The aggregates that keep what they saw.
pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    let list = [
        Gather::new("collect", one, |given| Ok(multiset(&given[0])), collect),
        Gather::new("listagg", listagg_types, |_| Ok(DataType::Utf8View), listagg),
        Gather::new("percentile", percentile_types, percentile_type, percentile),
        Gather {
            keeps_nulls: true,
            ..Gather::new("json_objectagg", object_types, |_| Ok(DataType::Utf8View), json_objectagg)
        },
        Gather {
            keeps_nulls: true,
            ..Gather::new("json_arrayagg", array_types, |_| Ok(DataType::Utf8View), json_arrayagg)
        },
    ];
    list.into_iter().map(|gather| Arc::new(AggregateUDF::new_from_impl(gather))).collect()
}

/// An aggregate that makes its result of all rows.
struct Gather {
    name: &'static str,
    signature: Signature,
    takes: fn(&[DataType]) -> Result<Vec<DataType>>,
    gives: fn(&[DataType]) -> Result<DataType>,
    finish: Finish,
    /// Whether rows whose first argument is NULL count.
    keeps_nulls: bool,
}

/// Makes the result of the arguments' columns, for this type.
type Finish = fn(&[ArrayRef], &DataType) -> Result<ScalarValue>;

impl Gather {
    fn new(
        name: &'static str,
        takes: fn(&[DataType]) -> Result<Vec<DataType>>,
        gives: fn(&[DataType]) -> Result<DataType>,
        finish: Finish,
    ) -> Self {
        Self {
            name,
            signature: Signature::user_defined(Volatility::Immutable),
            takes,
            gives,
            finish,
            keeps_nulls: false,
        }
    }
}

impl fmt::Debug for Gather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Gather {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Gather {}

impl Hash for Gather {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl AggregateUDFImpl for Gather {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        (self.takes)(given)
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        (self.gives)(given)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let types: Vec<_> = args.input_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(vec![Arc::new(Field::new(format!("{}[rows]", args.name), list_of(row_type(&types)), true))])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let types = args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Box::new(Kept {
            rows: Vec::new(),
            types,
            distinct: args.is_distinct,
            keeps_nulls: self.keeps_nulls,
            result: args.return_type().clone(),
            finish: self.finish,
        }))
    }
}

fn row_type(types: &[DataType]) -> DataType {
    let field = |(place, of): (usize, &DataType)| Field::new(format!("c{place}"), of.clone(), true);
    DataType::Struct(types.iter().enumerate().map(field).collect())
}

/// The rows so far.
struct Kept {
    rows: Vec<Vec<ScalarValue>>,
    types: Vec<DataType>,
    distinct: bool,
    keeps_nulls: bool,
    result: DataType,
    finish: Finish,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows", self.rows.len())
    }
}

impl Kept {
    fn rows_of(&self, columns: &[ArrayRef]) -> Result<Vec<Vec<ScalarValue>>> {
        let Some(first) = columns.first() else { return Ok(Vec::new()) };
        let kept = (0..first.len()).filter(|row| self.keeps_nulls || first.is_valid(*row));
        let row = |row| columns.iter().map(|column| ScalarValue::try_from_array(column, row)).collect();
        kept.map(row).collect()
    }

    fn columns(&self) -> Result<Vec<ArrayRef>> {
        let seen = &mut std::collections::HashSet::new();
        let rows: Vec<_> = self.rows.iter().filter(|row| !self.distinct || seen.insert(*row)).collect();
        let column = |(place, of): (usize, &DataType)| {
            if rows.is_empty() {
                return Ok(arrow::array::new_empty_array(of));
            }
            ScalarValue::iter_to_array(rows.iter().map(|row| row[place].clone()))
        };
        self.types.iter().enumerate().map(column).collect()
    }
}

impl Accumulator for Kept {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = self.rows_of(values)?;
        self.rows.extend(rows);
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut gone: HashMap<Vec<ScalarValue>, usize> = HashMap::new();
        for row in self.rows_of(values)? {
            *gone.entry(row).or_default() += 1;
        }
        self.rows.retain(|row| match gone.get_mut(row) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        });
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        (self.finish)(&self.columns()?, &self.result)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.rows.iter().flatten().map(ScalarValue::size).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = self.columns()?;
        let DataType::Struct(fields) = row_type(&self.types) else { return exec_err!("rows are structs") };
        let rows = StructArray::try_new(fields, columns, None)?;
        let field = Arc::new(Field::new_list_field(rows.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths([rows.len()]);
        Ok(vec![ScalarValue::List(Arc::new(ListArray::try_new(field, offsets, Arc::new(rows), None)?))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(states) = states.first() else { return Ok(()) };
        for rows in states.as_list::<i32>().iter().flatten() {
            let rows = self.rows_of(rows.as_struct().columns())?;
            self.rows.extend(rows);
        }
        Ok(())
    }
}

fn one(given: &[DataType]) -> Result<Vec<DataType>> {
    if given.len() == 1 { Ok(given.to_vec()) } else { plan_err!("COLLECT takes one argument") }
}

/// MULTISET of a type: each value, and how often it came.
fn multiset(of: &DataType) -> DataType {
    let entry = DataType::Struct(entry_fields(of));
    DataType::Map(Arc::new(Field::new("entries", entry, false)), false)
}

fn entry_fields(of: &DataType) -> Fields {
    vec![Field::new("key", of.clone(), false), Field::new("value", DataType::Int32, true)].into()
}

fn collect(columns: &[ArrayRef], result: &DataType) -> Result<ScalarValue> {
    let values = &columns[0];
    let mut counts: Vec<(ScalarValue, i32)> = Vec::new();
    let mut places: HashMap<ScalarValue, usize> = HashMap::new();
    for row in 0..values.len() {
        let value = ScalarValue::try_from_array(values, row)?;
        let place = *places.entry(value.clone()).or_insert(counts.len());
        match counts.get_mut(place) {
            Some((_, count)) => *count += 1,
            None => counts.push((value, 1)),
        }
    }
    if counts.is_empty() {
        return ScalarValue::try_from(result);
    }
    let length = counts.len();
    let (keys, counts): (Vec<_>, Vec<_>) = counts.into_iter().unzip();
    let counts: ArrayRef = Arc::new(arrow::array::Int32Array::from(counts));
    let entries =
        StructArray::try_new(entry_fields(values.data_type()), vec![ScalarValue::iter_to_array(keys)?, counts], None)?;
    let DataType::Map(field, _) = result else { return exec_err!("COLLECT gives a multiset") };
    let map =
        arrow::array::MapArray::try_new(Arc::clone(field), OffsetBuffer::from_lengths([length]), entries, None, false)?;
    Ok(ScalarValue::Map(Arc::new(map)))
}

fn listagg_types(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [_] | [_, _] if given.iter().all(|given| given.is_string() || given.is_null()) => {
            Ok(vec![DataType::Utf8View; given.len()])
        }
        _ => plan_err!("LISTAGG takes strings, and perhaps a separator: CAST other types"),
    }
}

fn listagg(columns: &[ArrayRef], _: &DataType) -> Result<ScalarValue> {
    let values = columns[0].as_string_view();
    if values.is_empty() {
        return Ok(ScalarValue::Utf8View(None));
    }
    let separators = columns.get(1).map(|separators| separators.as_string_view());
    let mut text = String::new();
    for (row, value) in values.iter().enumerate() {
        if row > 0 {
            text.push_str(separators.map_or(",", |separators| separators.value(row)));
        }
        text.push_str(value.unwrap_or_default());
    }
    Ok(ScalarValue::Utf8View(Some(text)))
}

fn percentile_types(given: &[DataType]) -> Result<Vec<DataType>> {
    let (value, at, often) = match given {
        [value, at] => (value, at, None),
        [value, at, often] => (value, at, Some(often)),
        _ => return plan_err!("PERCENTILE takes a number, a percentage, and perhaps how often the number counts"),
    };
    let numbers = |given: &DataType| given.is_numeric() || given.is_null();
    let at = match at {
        DataType::List(_) => list_of(DataType::Float64),
        number if numbers(number) => DataType::Float64,
        other => return plan_err!("PERCENTILE's percentage is a number or an ARRAY of numbers, not {other}"),
    };
    if !numbers(value) || often.is_some_and(|often| !often.is_integer()) {
        return plan_err!("PERCENTILE takes a number, a percentage, and perhaps how often the number counts");
    }
    Ok([DataType::Float64, at].into_iter().chain(often.map(|_| DataType::Int64)).collect())
}

fn percentile_type(given: &[DataType]) -> Result<DataType> {
    Ok(given.get(1).cloned().unwrap_or(DataType::Float64))
}

fn percentile(columns: &[ArrayRef], result: &DataType) -> Result<ScalarValue> {
    let values = columns[0].as_primitive::<Float64Type>();
    let often = columns.get(2).map(|often| often.as_primitive::<Int64Type>());
    let often = |row: usize| often.map_or(1, |often| if often.is_valid(row) { often.value(row).max(0) } else { 0 });
    let mut counted: Vec<_> =
        (0..values.len()).map(|row| (values.value(row), often(row))).filter(|(_, count)| *count > 0).collect();
    counted.sort_by(|a, b| a.0.total_cmp(&b.0));
    if counted.is_empty() {
        return ScalarValue::try_from(result);
    }
    if let Some(list) = columns[1].as_list_opt::<i32>() {
        let wanted = list.value(0);
        let found =
            wanted.as_primitive::<Float64Type>().iter().map(|at| at.map(|at| percentile_at(&counted, at)).transpose());
        let found = found.map(|found| Ok(ScalarValue::Float64(found?))).collect::<Result<Vec<_>>>()?;
        if found.is_empty() {
            return ScalarValue::try_from(result);
        }
        return Ok(ScalarValue::List(ScalarValue::new_list_nullable(&found, &DataType::Float64)));
    }
    let at = columns[1].as_primitive::<Float64Type>().value(0);
    Ok(ScalarValue::Float64(Some(percentile_at(&counted, at)?)))
}

/// The percentile of sorted values with counts: between two values, what lies there linearly.
fn percentile_at(counted: &[(f64, i64)], at: f64) -> Result<f64> {
    if !(0.0..=1.0).contains(&at) {
        return exec_err!("PERCENTILE: the percentage {at} is not between 0 and 1");
    }
    let total: i64 = counted.iter().map(|(_, count)| count).sum();
    let place = at * (total - 1) as f64;
    let value_at = |place: i64| {
        let mut before = 0;
        let found = counted.iter().find(|(_, count)| {
            before += count;
            before > place
        });
        found.or(counted.last()).map_or(f64::NAN, |(value, _)| *value)
    };
    let (low, high) = (value_at(place.floor() as i64), value_at(place.ceil() as i64));
    Ok(low + (high - low) * place.fract())
}

/// `N` or `A` (NULL or ABSENT ON NULL) comes last, from the grammar.
fn object_types(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [key, value, _] if key.is_string() => Ok(vec![DataType::Utf8View, value.clone(), DataType::Utf8View]),
        _ => plan_err!("JSON_OBJECTAGG takes KEY key VALUE value, where the key is a string"),
    }
}

fn array_types(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [value, _] => Ok(vec![value.clone(), DataType::Utf8View]),
        _ => plan_err!("JSON_ARRAYAGG takes one argument"),
    }
}

fn keeps_null(mode: &ArrayRef) -> bool {
    !mode.is_empty() && mode.as_string_view().value(0) == "N"
}

fn json_objectagg(columns: &[ArrayRef], _: &DataType) -> Result<ScalarValue> {
    let (keys, values, keeps_null) = (texts(&columns[0])?, Writer::new(&columns[1])?, keeps_null(&columns[2]));
    let mut parts: Vec<String> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for row in 0..keys.len() {
        if keys.is_null(row) || !seen.insert(keys.value(row)) {
            return exec_err!(
                "JSON_OBJECTAGG: the key {:?} is NULL or came twice",
                keys.is_valid(row).then(|| keys.value(row))
            );
        }
        if keeps_null || !values.is_null(row) {
            let mut part = String::new();
            quote(keys.value(row), &mut part);
            part.push(':');
            values.write(row, &mut part);
            parts.push(part);
        }
    }
    Ok(ScalarValue::Utf8View(Some(format!("{{{}}}", parts.join(",")))))
}

fn json_arrayagg(columns: &[ArrayRef], _: &DataType) -> Result<ScalarValue> {
    let (values, keeps_null) = (Writer::new(&columns[0])?, keeps_null(&columns[1]));
    let kept = (0..columns[0].len()).filter(|row| keeps_null || !values.is_null(*row));
    let parts = kept.map(|row| values.text(row).unwrap_or_else(|| "null".into()));
    Ok(ScalarValue::Utf8View(Some(format!("[{}]", parts.collect::<Vec<_>>().join(",")))))
}
