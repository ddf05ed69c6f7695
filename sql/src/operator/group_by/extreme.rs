//! [`Extreme`]: MIN and MAX of rows that may go: the values of each group, in order.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::{Result, internal_datafusion_err};

use super::super::aggregate::Aggregate;
use super::super::codec::Codec;
use super::super::keys::Id;
use super::super::saved::{Packed, Several};
use super::merged::Input;

/// The values of each group, and how often each is there.
pub(super) struct Extreme {
    aggregate: Aggregate,
    codec: Codec,
    /// NULL, for groups that have no value.
    null: Box<[u8]>,
    values: BTreeMap<(Id, Box<[u8]>), i64>,
    bytes: usize,
}

/// Whether a function is the least or the greatest of its values.
pub(super) fn is_extreme(aggregate: &Aggregate) -> bool {
    matches!(aggregate.name().as_str(), "min" | "max")
}

impl Extreme {
    pub(super) fn new(aggregate: Aggregate, input: &SchemaRef) -> Result<Self> {
        let arguments = aggregate.function.expressions();
        let argument = arguments.first().ok_or_else(|| internal_datafusion_err!("MIN and MAX have an argument"))?;
        let data_type: DataType = argument.data_type(input)?;
        let codec = Codec::new([data_type.clone()])?;
        let null = codec.encode(&[new_null_array(&data_type, 1)])?.row(0).into();
        Ok(Self { aggregate, codec, null, values: BTreeMap::new(), bytes: 0 })
    }

    pub(super) fn absorb(&mut self, input: &Input<'_>) -> Result<()> {
        let arguments = self.aggregate.arguments(input.rows)?;
        let counted = self.aggregate.counted(input.rows)?;
        let values = self.codec.encode(&arguments)?;
        for (row, id) in input.ids.iter().enumerate() {
            if counted.as_ref().is_none_or(|counted| counted.value(row)) && arguments[0].is_valid(row) {
                self.change((*id, values.row(row).into()), input.weight(row));
            }
        }
        Ok(())
    }

    fn change(&mut self, value: (Id, Box<[u8]>), weight: i64) {
        let bytes = bytes_of(&value);
        match self.values.entry(value) {
            Entry::Vacant(entry) => {
                entry.insert(weight);
                self.bytes += bytes;
            }
            Entry::Occupied(mut entry) => {
                *entry.get_mut() += weight;
                if *entry.get() == 0 {
                    entry.remove();
                    self.bytes -= bytes;
                }
            }
        }
    }

    fn range(id: Id) -> Range<(Id, Box<[u8]>)> {
        (id, Box::default())..(id + 1, Box::default())
    }

    fn of(&self, id: Id) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.values
            .range::<(Id, Box<[u8]>), _>(Self::range(id))
            .filter(|(_, count)| **count > 0)
            .map(|((_, value), _)| &**value)
    }

    /// The extreme of each group.
    pub(super) fn results(&self, ids: &[Id]) -> Result<ArrayRef> {
        let least = self.aggregate.name() == "min";
        let extreme = |id: &Id| if least { self.of(*id).next() } else { self.of(*id).next_back() };
        let rows = ids.iter().map(|id| extreme(id).unwrap_or(&self.null));
        let mut columns = self.codec.decode(rows)?;
        Ok(columns.swap_remove(0))
    }

    /// The values of groups, and how often each is there, as they are written.
    pub(super) fn pack(&self, ids: &[Id]) -> Result<Packed> {
        let mut values = Several::default();
        for (of, id) in ids.iter().enumerate() {
            let range = self.values.range::<(Id, Box<[u8]>), _>(Self::range(*id));
            range.for_each(|((_, value), count)| values.push(of, *count, value));
        }
        values.pack(&self.codec)
    }

    /// Takes them back.
    pub(super) fn unpack(&mut self, ids: &[Id], packed: &Packed) -> Result<()> {
        let values = packed.encode(2, &self.codec)?;
        for ((row, of), count) in packed.of(ids)?.into_iter().enumerate().zip(packed.numbers(1)?.values()) {
            self.change((of, values.row(row).into()), *count);
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, ids: &[Id]) {
        for id in ids {
            let range = Self::range(*id);
            let values: Vec<_> =
                self.values.range::<(Id, Box<[u8]>), _>(range).map(|(value, _)| value.clone()).collect();
            for value in values {
                self.values.remove(&value);
                self.bytes -= bytes_of(&value);
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn bytes_of(value: &(Id, Box<[u8]>)) -> usize {
    value.1.len() + size_of_val(value) + size_of::<i64>()
}
