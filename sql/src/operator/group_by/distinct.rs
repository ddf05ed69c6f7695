//! [`Distinct`]: which rows of an aggregate of distinct values count: the first of each group and value that comes, and
//! (against) the last that goes.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::DataType;
use datafusion_common::Result;

use super::super::codec::{Codec, any_null};
use super::super::keys::{Id, Keys};
use super::super::saved::{Packed, Several};

/// How often each value of each group is there.
pub(super) struct Distinct {
    values: Codec,
    keys: Keys,
    counts: Vec<Count>,
    /// Those of a group, to be forgotten with it.
    of_group: Vec<Vec<Id>>,
}

/// How often a value is there, and where it is listed with its group.
#[derive(Clone, Copy, Default)]
struct Count {
    times: i64,
    listed: Option<u32>,
}

impl Distinct {
    /// Of arguments of these types.
    pub(super) fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self> {
        let (values, keys) = (Codec::new(types)?, Keys::new(Codec::new([])?));
        Ok(Self { values, keys, counts: Vec::new(), of_group: Vec::new() })
    }

    /// What each row weighs where only distinct values do: 1 where it is the first, -1 where it was the last, else 0.
    pub(super) fn weights(
        &mut self,
        groups: &[Id],
        arguments: &[ArrayRef],
        counted: Option<&BooleanArray>,
        weight: impl Fn(usize) -> i64,
    ) -> Result<Vec<i64>> {
        let values = self.values.encode(arguments)?;
        let ids = self.keys.intern_with(groups, &values);
        self.counts.resize(self.keys.bound(), Count::default());
        let counts = |row| counted.is_none_or(|counted| counted.value(row)) && !any_null(arguments, row);
        let each = ids.iter().enumerate();
        let weights = each.map(|(row, id)| if counts(row) { self.change(groups[row], *id, weight(row)) } else { 0 });
        let weights = weights.collect();
        for (group, id) in groups.iter().zip(&ids) {
            self.drop_if_gone(*group, *id);
        }
        Ok(weights)
    }

    fn change(&mut self, group: Id, id: Id, weight: i64) -> i64 {
        let count = &mut self.counts[id as usize];
        if count.listed.is_none() {
            let group = group as usize;
            self.of_group.resize_with(self.of_group.len().max(group + 1), Vec::new);
            count.listed = Some(self.of_group[group].len() as u32);
            self.of_group[group].push(id);
        }
        let before = count.times > 0;
        count.times += weight;
        i64::from(count.times > 0) - i64::from(before)
    }

    /// Forgets a value that is no more there (or was NULL).
    fn drop_if_gone(&mut self, group: Id, id: Id) {
        let count = &mut self.counts[id as usize];
        if count.times != 0 {
            return;
        }
        if let Some(at) = count.listed.take() {
            let listed = &mut self.of_group[group as usize];
            listed.swap_remove(at as usize);
            if let Some(moved) = listed.get(at as usize) {
                self.counts[*moved as usize].listed = Some(at);
            }
        }
        self.keys.remove(id);
    }

    /// The values of groups, and how often each is there, as they are written.
    pub(super) fn pack(&self, groups: &[Id]) -> Result<Packed> {
        let mut values = Several::default();
        for (of, group) in groups.iter().enumerate() {
            for id in self.of_group.get(*group as usize).into_iter().flatten() {
                values.push(of, self.counts[*id as usize].times, self.keys.without_prefix(*id));
            }
        }
        values.pack(&self.values)
    }

    /// Takes them back.
    pub(super) fn unpack(&mut self, groups: &[Id], packed: &Packed) -> Result<()> {
        let of = packed.of(groups)?;
        let ids = self.keys.intern_with(&of, &packed.encode(2, &self.values)?);
        self.counts.resize(self.keys.bound(), Count::default());
        for ((group, id), times) in of.iter().zip(&ids).zip(packed.numbers(1)?.values()) {
            self.change(*group, *id, *times);
        }
        Ok(())
    }

    /// Forgets a group.
    pub(super) fn forget(&mut self, group: Id) {
        for id in self.of_group.get_mut(group as usize).map(std::mem::take).into_iter().flatten() {
            self.counts[id as usize] = Count::default();
            self.keys.remove(id);
        }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes() + self.counts.len() * (size_of::<Count>() + size_of::<Id>())
    }
}
