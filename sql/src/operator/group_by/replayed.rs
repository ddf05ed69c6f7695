//! [`Replayed`]: any aggregate of rows that may go: the arguments of all rows of each group are kept, in order of arrival,
//! and the groups that changed are computed anew.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use datafusion_common::Result;

use super::super::aggregate::Aggregate;
use super::super::codec::Codec;
use super::super::keys::Id;
use super::super::saved::{Packed, Several};
use super::merged::Input;

/// The arguments of each group's rows.
pub(super) struct Replayed {
    aggregate: Aggregate,
    input: SchemaRef,
    codec: Codec,
    /// Of all columns of the input: which of several rows with equal arguments goes matters where their order does.
    whole: Codec,
    /// By group and arrival: the arguments, and all of the row.
    rows: BTreeMap<(Id, u64), (Box<[u8]>, Arc<[u8]>)>,
    /// When equal rows have arrived.
    arrivals: HashMap<(Id, Arc<[u8]>), VecDeque<u64>>,
    arrived: u64,
    bytes: usize,
}

impl Replayed {
    pub(super) fn new(aggregate: Aggregate, input: &SchemaRef) -> Result<Self> {
        let order = aggregate.function.order_bys().iter().map(|sort| sort.expr.clone());
        let arguments = aggregate.function.expressions().into_iter().chain(order);
        let types = arguments.map(|argument| argument.data_type(input)).collect::<Result<Vec<_>>>()?;
        let (codec, whole) = (Codec::new(types)?, Codec::whole(input)?);
        let (rows, arrivals, input) = (BTreeMap::new(), HashMap::new(), input.clone());
        Ok(Self { aggregate, input, codec, whole, rows, arrivals, arrived: 0, bytes: 0 })
    }

    pub(super) fn absorb(&mut self, input: &Input<'_>) -> Result<()> {
        let rows = self.codec.encode(&self.aggregate.arguments(input.rows)?)?;
        let whole = self.whole.encode(input.rows.columns())?;
        let counted = self.aggregate.counted(input.rows)?;
        for (row, id) in input.ids.iter().enumerate() {
            if counted.as_ref().is_some_and(|counted| !counted.value(row)) {
                continue;
            }
            let key = (*id, whole.row(row).into());
            match input.weight(row) > 0 {
                true => self.come(key, rows.row(row).into()),
                false => self.go(&key),
            }
        }
        Ok(())
    }

    fn come(&mut self, key: (Id, Arc<[u8]>), arguments: Box<[u8]>) {
        self.bytes += bytes_of(&arguments, &key.1);
        self.rows.insert((key.0, self.arrived), (arguments, key.1.clone()));
        self.arrivals.entry(key).or_default().push_back(self.arrived);
        self.arrived += 1;
    }

    /// Of several that are equal, the first one goes. One that is not there has been forgotten: it goes no more.
    fn go(&mut self, key: &(Id, Arc<[u8]>)) {
        let Some(arrivals) = self.arrivals.get_mut(key) else { return };
        if let Some(arrival) = arrivals.pop_front()
            && let Some((arguments, _)) = self.rows.remove(&(key.0, arrival))
        {
            self.bytes -= bytes_of(&arguments, &key.1);
        }
        if arrivals.is_empty() {
            self.arrivals.remove(key);
        }
    }

    fn range(id: Id) -> Range<(Id, u64)> {
        (id, 0)..(id + 1, 0)
    }

    /// What each group amounts to.
    pub(super) fn results(&self, ids: &[Id]) -> Result<ArrayRef> {
        let (mut rows, mut groups) = (Vec::new(), Vec::new());
        for (group, id) in ids.iter().enumerate() {
            rows.extend(self.rows.range(Self::range(*id)).map(|(_, (row, _))| &**row));
            groups.resize(rows.len(), group);
        }
        self.aggregate.computed(&self.codec.decode(rows)?, &groups, ids.len())
    }

    /// Forgets groups: most often none of their rows is left.
    pub(super) fn forget(&mut self, ids: &[Id]) {
        for id in ids {
            let left: Vec<_> = self.rows.range(Self::range(*id)).map(|(at, _)| *at).collect();
            for at in left {
                if let Some((arguments, whole)) = self.rows.remove(&at) {
                    self.bytes -= bytes_of(&arguments, &whole);
                    self.arrivals.remove(&(*id, whole));
                }
            }
        }
    }

    /// The rows of groups, in order of arrival, as they are written: their arguments follow from them.
    pub(super) fn pack(&self, ids: &[Id]) -> Result<Packed> {
        let mut rows = Several::default();
        for (of, id) in ids.iter().enumerate() {
            self.rows.range(Self::range(*id)).for_each(|(_, (_, whole))| rows.push(of, 0, whole));
        }
        rows.pack(&self.whole)
    }

    /// Takes them back.
    pub(super) fn unpack(&mut self, ids: &[Id], packed: &Packed) -> Result<()> {
        let arguments = self.codec.encode(&self.aggregate.arguments(&packed.table(2, &self.input)?)?)?;
        let whole = packed.encode(2, &self.whole)?;
        for (row, of) in packed.of(ids)?.into_iter().enumerate() {
            self.come((of, whole.row(row).into()), arguments.row(row).into());
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Its arguments, and all of it, with its group and arrival.
fn bytes_of(arguments: &[u8], whole: &[u8]) -> usize {
    arguments.len() + whole.len() + 2 * size_of::<(Id, u64, Box<[u8]>)>()
}
