//! [`Merged`]: aggregates whose states are merged: what a bundle adds to a group is computed apart from what is stored of
//! it, and both make the new state. All states of a group are a row of one [`Log`]. Those that are but a number are in `plain.rs`.
//!
//! Where rows may go too, that is done for sums and counts: what went is taken off.

use std::borrow::Borrow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::kernels::numeric::{add_wrapping, sub_wrapping};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{and, cast, is_null, kernels::cmp, nullif, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::{Result, ScalarValue, internal_datafusion_err};
use serde::{Deserialize, Serialize};

use super::super::aggregate::{Aggregate, Groups};
use super::super::keys::Id;
use super::super::log::Log;
use super::super::saved::Packed;
use super::distinct::Distinct;
use super::plain::Plain;

/// Some rows, and whose they are.
pub(crate) struct Input<'a> {
    pub(crate) rows: &'a RecordBatch,
    /// Each row's group.
    pub(crate) ids: &'a [Id],
    /// 1 where the row comes, -1 where it goes; `None` where all come.
    pub(crate) weights: Option<&'a [i64]>,
}

impl Input<'_> {
    pub(crate) fn weight(&self, row: usize) -> i64 {
        self.weights.map_or(1, |weights| weights[row])
    }
}

/// An aggregate whose states are merged.
pub(crate) struct Part {
    aggregate: Aggregate,
    distinct: Option<Distinct>,
    /// Whether rows may go. Then the first column of the state is how many rows there are that count.
    signed: bool,
}

/// Whether what went can be taken off the states of a function: numbers that add up, the same for each row whatever else there is.
pub(crate) fn is_sum(aggregate: &Aggregate) -> bool {
    matches!(aggregate.name().as_str(), "count" | "sum" | "avg")
}

impl Part {
    /// Of rows that may go (`signed`), or not.
    pub(crate) fn new(aggregate: Aggregate, input: &SchemaRef, signed: bool) -> Result<Self> {
        let simple = aggregate.function.is_distinct() && is_sum(&aggregate);
        if !simple {
            return Ok(Self { aggregate, distinct: None, signed });
        }
        let types = aggregate.function.expressions().into_iter().map(|argument| argument.data_type(input));
        let distinct = Distinct::new(types.collect::<Result<Vec<_>>>()?)?;
        Ok(Self { aggregate: aggregate.of_all(input)?, distinct: Some(distinct), signed })
    }

    /// Of rows that only come, all states by the function itself: such can be [folded](Merged::fold).
    pub(crate) fn plain(aggregate: Aggregate) -> Self {
        Self { aggregate, distinct: None, signed: false }
    }

    /// As a number, if it is one.
    fn as_plain(&self) -> Result<Option<Plain>> {
        if self.distinct.is_some() { Ok(None) } else { Plain::of(&self.aggregate, self.signed) }
    }

    fn types(&self) -> Result<Vec<DataType>> {
        let fields = self.aggregate.function.state_fields()?;
        let count = self.signed.then_some(DataType::Int64);
        Ok(count.into_iter().chain(fields.iter().map(|field| field.data_type().clone())).collect())
    }

    /// What the rows add to their groups.
    fn partial(&mut self, input: &Input<'_>, groups: &Groups) -> Result<Vec<ArrayRef>> {
        let arguments = self.aggregate.arguments(input.rows)?;
        let mut counted = self.aggregate.counted(input.rows)?;
        let mut weights = input.weights.map(<[i64]>::to_vec);
        if let Some(distinct) = &mut self.distinct {
            let only = distinct.weights(input.ids, &arguments, counted.as_ref(), |row| input.weight(row))?;
            counted = Some(only.iter().map(|weight| *weight != 0).collect::<Vec<_>>().into());
            weights = weights.map(|_| only);
        }
        if !self.signed {
            return self.aggregate.partial(&arguments, groups, counted.as_ref());
        }
        let mut state = vec![weigh(&arguments, groups, counted.as_ref(), weights.as_deref())];
        state.extend(self.difference(&arguments, groups, counted, weights)?);
        Ok(state)
    }

    /// What has come less what has gone.
    fn difference(
        &self,
        arguments: &[ArrayRef],
        groups: &Groups,
        counted: Option<BooleanArray>,
        weights: Option<Vec<i64>>,
    ) -> Result<Vec<ArrayRef>> {
        let Some(weights) = weights.filter(|weights| weights.iter().any(|weight| *weight < 0)) else {
            return zeroed(self.aggregate.partial(arguments, groups, counted.as_ref())?);
        };
        let of = |sign: i64| {
            let rows = BooleanArray::from(weights.iter().map(|weight| weight.signum() == sign).collect::<Vec<_>>());
            let rows = match &counted {
                Some(counted) => and(counted, &rows)?,
                None => rows,
            };
            zeroed(self.aggregate.partial(arguments, groups, Some(&rows))?)
        };
        let (come, gone) = (of(1)?, of(-1)?);
        come.iter().zip(&gone).map(|(come, gone)| Ok(sub_wrapping(come, gone)?)).collect()
    }

    /// What is stored (of the groups `of`) and what is added (for all groups), together.
    fn merge(&self, stored: &[ArrayRef], of: &[usize], added: Vec<ArrayRef>, groups: usize) -> Result<Vec<ArrayRef>> {
        if of.is_empty() {
            return Ok(added);
        }
        if self.signed {
            let mut places = vec![None; groups];
            of.iter().enumerate().for_each(|(row, group)| places[*group] = Some(row as u32));
            let stored = stored.iter().map(|column| Ok(take(column, &UInt32Array::from(places.clone()), None)?));
            let stored = zeroed(stored.collect::<Result<Vec<_>>>()?)?;
            return stored.iter().zip(&added).map(|(stored, added)| Ok(add_wrapping(stored, added)?)).collect();
        }
        self.aggregate.merged(stored, of, &added)
    }

    fn results(&self, states: &[ArrayRef], groups: usize) -> Result<ArrayRef> {
        if !self.signed {
            return self.aggregate.results(states, groups);
        }
        let (count, states) = (&states[0], &states[1..]);
        if self.aggregate.name() == "count" {
            return Ok(count.clone());
        }
        let none = cmp::eq(count, &Int64Array::new_scalar(0))?;
        let states = states.iter().map(|state| Ok(nullif(state, &none)?)).collect::<Result<Vec<_>>>()?;
        self.aggregate.results(&states, groups)
    }
}

/// How many rows count, less those that went.
fn weigh(arguments: &[ArrayRef], groups: &Groups, counted: Option<&BooleanArray>, weights: Option<&[i64]>) -> ArrayRef {
    let mut counts = vec![0; groups.ids.len()];
    for (row, group) in groups.of.iter().enumerate() {
        let counts_in = counted.is_none_or(|counted| counted.value(row));
        if counts_in && !super::super::codec::any_null(arguments, row) {
            counts[*group] += weights.map_or(1, |weights| weights[row]);
        }
    }
    Arc::new(Int64Array::from(counts))
}

/// Zero for NULL.
fn zeroed(states: Vec<ArrayRef>) -> Result<Vec<ArrayRef>> {
    let zeroed = states.into_iter().map(|state| {
        if state.null_count() == 0 {
            return Ok(state);
        }
        let zero = ScalarValue::new_zero(state.data_type())?;
        Ok(zip(&is_null(&state)?, &zero.to_scalar()?, &state)?)
    });
    zeroed.collect()
}

/// What groups are made of, as it is written.
#[derive(Serialize, Deserialize)]
pub(crate) struct MergedContent {
    plain: Vec<Packed>,
    states: Packed,
    distinct: Vec<Packed>,
}

/// Aggregates whose states are merged, and the states of all groups.
pub(crate) struct Merged {
    /// Those that are but a number, and with each the column of the results that it is.
    plain: Vec<(usize, Plain)>,
    /// The others, in order.
    parts: Vec<Part>,
    schema: SchemaRef,
    /// How many columns each part has.
    widths: Vec<usize>,
    log: Log,
}

impl Merged {
    pub(crate) fn new(parts: Vec<Part>) -> Result<Self> {
        let (mut plain, mut others) = (Vec::new(), Vec::new());
        for (column, part) in parts.into_iter().enumerate() {
            match part.as_plain()? {
                Some(number) => plain.push((column, number)),
                None => others.push(part),
            }
        }
        let parts = others;
        let types = parts.iter().map(Part::types).collect::<Result<Vec<_>>>()?;
        let widths = types.iter().map(Vec::len).collect();
        let fields = types.into_iter().flatten().enumerate();
        let fields: Vec<_> = fields.map(|(at, data_type)| Field::new(at.to_string(), data_type, true)).collect();
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { plain, parts, widths, log: Log::new(schema.clone()), schema })
    }

    /// The columns of each part.
    fn split<'a>(&self, columns: &'a [ArrayRef]) -> Vec<&'a [ArrayRef]> {
        let mut rest = columns;
        let next = self.widths.iter().map(|width| {
            let (part, others) = rest.split_at(*width);
            rest = others;
            part
        });
        next.collect()
    }

    /// Takes rows in. `groups` are those of all `ids`; numbers go without.
    pub(crate) fn absorb<G: Borrow<Groups>>(&mut self, input: &Input<'_>, groups: impl FnOnce() -> G) -> Result<()> {
        self.plain.iter_mut().try_for_each(|(_, plain)| plain.absorb(input))?;
        if self.parts.is_empty() {
            return Ok(());
        }
        let groups = groups();
        let (groups, ids) = (groups.borrow(), &groups.borrow().ids);
        let known: Vec<_> = (0..ids.len()).filter(|group| self.log.has(ids[*group])).collect();
        let stored = self.log.gather(&known.iter().map(|group| ids[*group]).collect::<Vec<_>>())?;
        let stored = self.split(stored.columns());
        let mut columns = Vec::new();
        for (part, stored) in self.parts.iter_mut().zip(stored) {
            let added = part.partial(input, groups)?;
            columns.extend(part.merge(stored, &known, added, ids.len())?);
        }
        let columns = columns.iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| Ok(cast(column, field.data_type())?)).collect::<Result<_>>()?;
        self.log.put(ids, RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    /// Makes one group of several: each of `from` becomes part of the one beside it in `into`.
    pub(crate) fn fold(&mut self, from: &[Id], into: &[Id]) -> Result<()> {
        for (_, plain) in &mut self.plain {
            from.iter().zip(into).for_each(|(from, into)| plain.merge(*from, *into));
        }
        if from.is_empty() || self.parts.is_empty() {
            return Ok(());
        }
        let groups = Groups::new(into, &mut Vec::new(), into.iter().max().map_or(0, |id| *id as usize + 1));
        let stored = self.log.gather(&[&groups.ids[..], from].concat())?;
        let of: Vec<_> = (0..groups.ids.len()).chain(groups.of.iter().copied()).collect();
        let mut columns = Vec::new();
        for (part, states) in self.parts.iter().zip(self.split(stored.columns())) {
            columns.extend(part.aggregate.folded(states, &of, groups.ids.len())?);
        }
        self.log.put(&groups.ids, RecordBatch::try_new(self.schema.clone(), columns)?)?;
        self.log.remove(from.iter().copied())
    }

    /// What these groups amount to: a column for each part.
    pub(crate) fn results(&self, ids: &[Id]) -> Result<Vec<ArrayRef>> {
        let mut columns = self.merged(ids)?;
        for (column, plain) in &self.plain {
            columns.insert(*column, plain.results(ids)?);
        }
        Ok(columns)
    }

    fn merged(&self, ids: &[Id]) -> Result<Vec<ArrayRef>> {
        if self.parts.is_empty() {
            return Ok(Vec::new());
        }
        let states = self.log.gather(ids)?;
        let states = self.split(states.columns()).into_iter().zip(&self.parts);
        states.map(|(states, part)| part.results(states, ids.len())).collect()
    }

    /// What these groups are made of, as it is written.
    pub(crate) fn pack(&self, ids: &[Id]) -> Result<MergedContent> {
        let plain = self.plain.iter().map(|(_, plain)| plain.pack(ids)).collect::<Result<_>>()?;
        let distinct = self.parts.iter().filter_map(|part| part.distinct.as_ref());
        let distinct = distinct.map(|distinct| distinct.pack(ids)).collect::<Result<_>>()?;
        Ok(MergedContent { plain, states: self.log.pack(ids)?, distinct })
    }

    /// Takes it back.
    pub(crate) fn unpack(&mut self, ids: &[Id], content: &MergedContent) -> Result<()> {
        let distinct = self.parts.iter().filter(|part| part.distinct.is_some()).count();
        if (content.plain.len(), content.distinct.len()) != (self.plain.len(), distinct) {
            return Err(internal_datafusion_err!("what was saved is of other aggregates"));
        }
        let plain = self.plain.iter_mut().zip(&content.plain);
        plain.into_iter().try_for_each(|((_, plain), packed)| plain.unpack(ids, packed))?;
        let distinct = self.parts.iter_mut().filter_map(|part| part.distinct.as_mut()).zip(&content.distinct);
        distinct.into_iter().try_for_each(|(distinct, packed)| distinct.unpack(ids, packed))?;
        self.log.unpack(ids, &content.states)
    }

    pub(crate) fn forget(&mut self, ids: &[Id]) -> Result<()> {
        for distinct in self.parts.iter_mut().filter_map(|part| part.distinct.as_mut()) {
            ids.iter().for_each(|id| distinct.forget(*id));
        }
        for (_, plain) in &mut self.plain {
            ids.iter().for_each(|id| plain.forget(*id));
        }
        self.log.remove(ids.iter().copied())
    }

    pub(crate) fn bytes(&self) -> usize {
        let distinct = self.parts.iter().filter_map(|part| part.distinct.as_ref());
        let plain = self.plain.iter().map(|(_, plain)| plain.bytes());
        self.log.bytes() + plain.sum::<usize>() + distinct.map(Distinct::bytes).sum::<usize>()
    }
}
