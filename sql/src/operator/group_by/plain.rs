//! [`Plain`]: counts, sums, least and greatest values of whole numbers and times: one number a group, added to where it is.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_physical_expr::expressions::Literal;

use super::super::aggregate::Aggregate;
use super::super::keys::Id;
use super::super::saved::{Packed, numbers_of};
use super::merged::Input;

/// An aggregate that is a number.
pub(super) struct Plain {
    aggregate: Aggregate,
    fold: Fold,
    gives: DataType,
    /// Whether it is of all rows, whatever is in them.
    all: bool,
    groups: Vec<Group>,
}

/// What a value does to a group's number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fold {
    Count,
    Sum,
    Least,
    Greatest,
}

/// What a group has come to: how many values count, and what they amount to.
#[derive(Clone, Copy, Default)]
struct Group {
    count: i64,
    value: i64,
}

impl Plain {
    /// The aggregate, if it is one of these. Where rows may go (`signed`), the least value is none.
    pub(super) fn of(aggregate: &Aggregate, signed: bool) -> Result<Option<Self>> {
        let function = &aggregate.function;
        let fold = match aggregate.name().as_str() {
            "count" => Fold::Count,
            "sum" => Fold::Sum,
            "min" if !signed => Fold::Least,
            "max" if !signed => Fold::Greatest,
            _ => return Ok(None),
        };
        let (gives, arguments) = (function.field().data_type().clone(), function.expressions());
        let states = function.state_fields()?;
        let fits =
            matches!((&gives, fold), (DataType::Int64, _) | (DataType::Timestamp(..), Fold::Least | Fold::Greatest));
        let same = states.len() == 1 && *states[0].data_type() == gives && arguments.len() == 1;
        if !fits || !same || function.is_distinct() || !function.order_bys().is_empty() {
            return Ok(None);
        }
        let constant = arguments[0].downcast_ref::<Literal>();
        let all = fold == Fold::Count && constant.is_some_and(|constant| !constant.value().is_null());
        Ok(Some(Self { aggregate: aggregate.clone(), fold, gives, all, groups: Vec::new() }))
    }

    /// Takes rows in.
    pub(super) fn absorb(&mut self, input: &Input<'_>) -> Result<()> {
        let bound = input.ids.iter().max().map_or(0, |id| *id as usize + 1);
        self.groups.resize(bound.max(self.groups.len()), Group::default());
        let counted = self.aggregate.counted(input.rows)?;
        let argument = if self.all { None } else { self.aggregate.arguments(input.rows)?.pop() };
        let nulls = NullBuffer::union(
            counted.map(|counted| NullBuffer::new(counted.values().clone())).as_ref(),
            argument.as_ref().and_then(|argument| argument.logical_nulls()).as_ref(),
        );
        if self.fold == Fold::Count {
            self.count(input, nulls.as_ref());
            return Ok(());
        }
        let values = argument.map(|argument| cast(&argument, &DataType::Int64)).transpose()?;
        if let Some(values) = values {
            self.fold(input, values.as_primitive(), nulls.as_ref());
        }
        Ok(())
    }

    fn count(&mut self, input: &Input<'_>, nulls: Option<&NullBuffer>) {
        each(input, nulls, |row, id| self.groups[id].count += input.weight(row));
    }

    fn fold(&mut self, input: &Input<'_>, values: &Int64Array, nulls: Option<&NullBuffer>) {
        let (groups, values) = (&mut self.groups, values.values());
        match self.fold {
            Fold::Count => {}
            Fold::Sum => each(input, nulls, |row, id| {
                let (group, weight) = (&mut groups[id], input.weight(row));
                group.count += weight;
                group.value = group.value.wrapping_add(values[row].wrapping_mul(weight));
            }),
            Fold::Least => each(input, nulls, |row, id| groups[id].keep(values[row], i64::min)),
            Fold::Greatest => each(input, nulls, |row, id| groups[id].keep(values[row], i64::max)),
        }
    }

    /// What these groups amount to.
    pub(super) fn results(&self, ids: &[Id]) -> Result<ArrayRef> {
        let group = |id: &Id| self.groups.get(*id as usize).copied().unwrap_or_default();
        if self.fold == Fold::Count {
            return Ok(Arc::new(ids.iter().map(|id| group(id).count).collect::<Int64Array>()));
        }
        let value = |id: &Id| Some(group(id)).filter(|group| group.count != 0).map(|group| group.value);
        Ok(cast(&ids.iter().map(value).collect::<Int64Array>(), &self.gives)?)
    }

    /// Makes one group of two.
    pub(super) fn merge(&mut self, from: Id, into: Id) {
        let other = self.take(from);
        self.groups.resize(self.groups.len().max(into as usize + 1), Group::default());
        let group = &mut self.groups[into as usize];
        match self.fold {
            _ if other.count == 0 => {}
            Fold::Least => group.merge(other, i64::min),
            Fold::Greatest => group.merge(other, i64::max),
            Fold::Count | Fold::Sum => group.merge(other, i64::wrapping_add),
        }
    }

    /// What groups have come to, as it is written.
    pub(super) fn pack(&self, ids: &[Id]) -> Result<Packed> {
        let groups = || ids.iter().map(|id| self.groups.get(*id as usize).copied().unwrap_or_default());
        let columns =
            vec![numbers_of(groups().map(|group| group.count)), numbers_of(groups().map(|group| group.value))];
        Packed::new(columns, ids.len())
    }

    /// Takes it back.
    pub(super) fn unpack(&mut self, ids: &[Id], packed: &Packed) -> Result<()> {
        packed.of_rows(ids.len())?;
        let bound = ids.iter().max().map_or(0, |id| *id as usize + 1);
        self.groups.resize(bound.max(self.groups.len()), Group::default());
        let (counts, values) = (packed.numbers(0)?.values(), packed.numbers(1)?.values());
        for ((id, count), value) in ids.iter().zip(counts).zip(values) {
            self.groups[*id as usize] = Group { count: *count, value: *value };
        }
        Ok(())
    }

    /// Forgets a group.
    pub(super) fn forget(&mut self, id: Id) {
        self.take(id);
    }

    fn take(&mut self, id: Id) -> Group {
        self.groups.get_mut(id as usize).map(std::mem::take).unwrap_or_default()
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Group>()
    }
}

impl Group {
    #[inline]
    fn keep(&mut self, value: i64, better: impl Fn(i64, i64) -> i64) {
        self.merge(Self { count: 1, value }, better);
    }

    #[inline]
    fn merge(&mut self, other: Self, both: impl Fn(i64, i64) -> i64) {
        self.value = if self.count == 0 { other.value } else { both(self.value, other.value) };
        self.count += other.count;
    }
}

/// The rows that count, and the group of each.
#[inline]
fn each(input: &Input<'_>, nulls: Option<&NullBuffer>, mut take: impl FnMut(usize, usize)) {
    let rows = input.ids.iter().enumerate();
    match nulls.filter(|nulls| nulls.null_count() > 0) {
        None => rows.for_each(|(row, id)| take(row, *id as usize)),
        Some(nulls) => rows.zip(nulls).filter(|(_, counts)| *counts).for_each(|((row, id), _)| take(row, *id as usize)),
    }
}
