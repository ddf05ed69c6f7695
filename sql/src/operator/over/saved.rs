//! What is saved of OVER aggregates: all of each partition that rows have come for, with the arguments of the rows that its frame
//! has. An aggregate of a frame that moves on is computed anew from these; of a frame that only grows, its state is
//! saved.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute::{concat, take};
use datafusion_common::{DataFusionError, Result, ScalarValue, internal_datafusion_err};
use serde::{Deserialize, Serialize};

use super::super::keys::{Id, Keys};
use super::super::saved::{ByKey, Packed, numbers, numbers_of};
use super::sliding::Sliding;
use super::{Arguments, Call, Computed, Partition, State};

/// What is kept of partitions.
#[derive(Serialize, Deserialize)]
pub(crate) struct Content {
    /// How many rows, where a frame may begin, the first row of the last time, how many times, the last one.
    numbers: Packed,
    /// Whose each is, and the time.
    times: Packed,
    calls: Vec<OfCall>,
}

/// What is kept for a call.
#[derive(Serialize, Deserialize)]
enum OfCall {
    Nothing,
    /// The states of an aggregate whose frame grows.
    States(Packed),
    /// Where frames begin and end; and of their rows whose each is, whether it counts, and the arguments.
    Frames(Packed, Packed),
    /// Whose each is, and the value; none where there are no values.
    Lag(Option<Packed>),
}

impl ByKey for State {
    type Content = Content;

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn keys_mut(&mut self) -> &mut Keys {
        &mut self.keys
    }

    fn write(&mut self, ids: &[Id]) -> Result<Content> {
        let partitions = ids.iter().map(|id| self.partition_of(*id)).collect::<Result<Vec<_>>>()?;
        let column = |of: &dyn Fn(&Partition) -> u64| numbers_of(partitions.iter().map(|one| of(one) as i64));
        let mut columns = vec![column(&|one| one.rows), column(&|one| one.start), column(&|one| one.peers)];
        columns.extend([column(&|one| one.dense), numbers(partitions.iter().map(|one| one.last))]);
        let each = partitions.iter().enumerate();
        let times = each.flat_map(|(of, one)| one.times.iter().map(move |time| (of as i64, *time)));
        let (of, times): (Vec<_>, Vec<_>) = times.unzip();
        let times = Packed::new(vec![numbers_of(of.iter().copied()), numbers_of(times)], of.len())?;
        let calls = (0..self.plan.calls.len()).map(|call| self.write_call(call, ids)).collect::<Result<_>>()?;
        Ok(Content { numbers: Packed::new(columns, ids.len())?, times, calls })
    }

    fn read(&mut self, ids: &[Id], Content { numbers, times, calls }: Content) -> Result<()> {
        self.partitions.resize_with(self.keys.bound(), || None);
        numbers.of_rows(ids.len())?;
        if calls.len() != self.plan.calls.len() {
            return Err(internal_datafusion_err!("what was saved is of other calls"));
        }
        let columns = (0..5).map(|column| numbers.numbers(column)).collect::<Result<Vec<_>>>()?;
        for (row, id) in ids.iter().enumerate() {
            let mut partition = Partition::new(&self.plan)?;
            let number = |column: usize| columns[column].value(row) as u64;
            (partition.rows, partition.start) = (number(0), number(1));
            (partition.peers, partition.dense) = (number(2), number(3));
            partition.last = columns[4].is_valid(row).then(|| columns[4].value(row));
            self.partitions[*id as usize] = Some(partition);
        }
        for (of, time) in times.of(ids)?.into_iter().zip(times.numbers(1)?.values()) {
            self.partition_mut(of)?.times.push_back(*time);
        }
        calls.into_iter().enumerate().try_for_each(|(number, call)| self.read_call(number, ids, call))?;
        for id in ids {
            let partition = self.partition_mut(*id)?;
            partition.bytes = partition.size();
            self.bytes += self.partition_of(*id)?.bytes;
        }
        Ok(())
    }

    fn forget(&mut self, ids: &[Id]) -> Result<()> {
        for id in ids {
            self.bytes -= self.partitions[*id as usize].take().map_or(0, |partition| partition.bytes);
            self.keys.remove(*id);
        }
        Ok(())
    }
}

impl State {
    fn partition_of(&self, id: Id) -> Result<&Partition> {
        let partition = self.partitions.get(id as usize).and_then(Option::as_ref);
        partition.ok_or_else(|| internal_datafusion_err!("a partition of each key"))
    }

    fn partition_mut(&mut self, id: Id) -> Result<&mut Partition> {
        let partition = self.partitions.get_mut(id as usize).and_then(Option::as_mut);
        partition.ok_or_else(|| internal_datafusion_err!("a partition of each key"))
    }

    fn write_call(&mut self, number: usize, ids: &[Id]) -> Result<OfCall> {
        let (plan, grows) = (self.plan.clone(), self.plan.grows());
        match &plan.calls[number] {
            Call::Aggregate(aggregate) if grows => {
                let mut states: Vec<Vec<ScalarValue>> = Vec::new();
                for id in ids {
                    let of = self.partition_mut(*id)?.sliding(number)?.state(aggregate)?;
                    states.resize_with(of.len(), Vec::new);
                    states.iter_mut().zip(of).for_each(|(column, value)| column.push(value));
                }
                let columns = states.into_iter().map(ScalarValue::iter_to_array).collect::<Result<_>>()?;
                Ok(OfCall::States(Packed::new(columns, ids.len())?))
            }
            Call::Aggregate(_) => self.write_frames(number, ids),
            Call::Lag { .. } => {
                let (mut of, mut values) = (Vec::new(), Vec::new());
                for (at, id) in ids.iter().enumerate() {
                    if let Computed::Lag(before) = &self.partition_of(*id)?.calls[number] {
                        of.extend(before.iter().map(|_| at as i64));
                        values.extend(before.iter().cloned());
                    }
                }
                if values.is_empty() {
                    return Ok(OfCall::Lag(None));
                }
                let rows = values.len();
                let columns = vec![numbers_of(of), ScalarValue::iter_to_array(values)?];
                Ok(OfCall::Lag(Some(Packed::new(columns, rows)?)))
            }
            Call::RowNumber | Call::Rank | Call::DenseRank => Ok(OfCall::Nothing),
        }
    }

    fn write_frames(&mut self, number: usize, ids: &[Id]) -> Result<OfCall> {
        let (mut frames, mut of, mut counted) = (Vec::new(), Vec::new(), Vec::new());
        let mut arguments: Vec<Vec<ArrayRef>> = Vec::new();
        for (at, id) in ids.iter().enumerate() {
            let sliding = self.partition_mut(*id)?.sliding(number)?;
            frames.push(sliding.frame());
            for rows in sliding.rows() {
                let len = rows.columns.first().map_or(0, |column| column.len());
                of.extend(std::iter::repeat_n(at as i64, len));
                counted.extend((0..len).map(|row| rows.counted.as_ref().is_none_or(|counted| counted.value(row))));
                arguments.resize_with(rows.columns.len(), Vec::new);
                arguments.iter_mut().zip(rows.columns).for_each(|(parts, column)| parts.push(column));
            }
        }
        let rows = of.len();
        let mut columns: Vec<ArrayRef> = vec![numbers_of(of), std::sync::Arc::new(BooleanArray::from(counted))];
        for parts in arguments {
            columns.push(concat(&parts.iter().map(|part| &**part).collect::<Vec<_>>())?);
        }
        let [start, end] = [0, 1].map(|edge| frames.iter().map(move |frame| [frame.start, frame.end][edge] as i64));
        let frames = Packed::new(vec![numbers_of(start), numbers_of(end)], ids.len())?;
        Ok(OfCall::Frames(frames, Packed::new(columns, rows)?))
    }

    fn read_call(&mut self, number: usize, ids: &[Id], call: OfCall) -> Result<()> {
        match call {
            OfCall::Nothing | OfCall::Lag(None) => {}
            OfCall::Lag(Some(packed)) => {
                let Call::Lag { value, .. } = &self.plan.calls[number] else { return Err(other_call()) };
                let values = &packed.of_types(1, [value.data_type(&self.plan.input)?])?[0];
                for (row, of) in packed.of(ids)?.into_iter().enumerate() {
                    if let Computed::Lag(before) = &mut self.partition_mut(of)?.calls[number] {
                        before.push_back(ScalarValue::try_from_array(values, row)?);
                    }
                }
            }
            OfCall::States(packed) => {
                let Call::Aggregate(aggregate) = &self.plan.calls[number] else { return Err(other_call()) };
                let types = aggregate.function.state_fields()?.into_iter().map(|field| field.data_type().clone());
                let columns = packed.of_rows(ids.len())?.of_types(0, types)?;
                for (row, id) in ids.iter().enumerate() {
                    let state: Vec<_> = columns.iter().map(|column| column.slice(row, 1)).collect();
                    let partition = self.partition_mut(*id)?;
                    let rows = partition.rows;
                    partition.sliding(number)?.restore(&state, rows)?;
                }
            }
            OfCall::Frames(frames, packed) => {
                let Call::Aggregate(aggregate) = &self.plan.calls[number] else { return Err(other_call()) };
                frames.of_rows(ids.len())?;
                let (start, end) = (frames.numbers(0)?, frames.numbers(1)?);
                let of = packed.numbers(0)?.values();
                let counted = packed.columns(1).first().and_then(|counted| counted.as_boolean_opt());
                let counted = counted.ok_or_else(other_call)?;
                // Where no frame has rows nobody knows of what columns they would be.
                if packed.len() > 0 {
                    let types = aggregate.argument_types(&self.plan.input)?;
                    packed.of_types(2, types)?;
                }
                let mut from = 0;
                for (at, id) in ids.iter().enumerate() {
                    let len = of[from..].iter().take_while(|of| **of == at as i64).count();
                    // What is kept must not hold on to what is not.
                    let rows = UInt32Array::from_iter_values(from as u32..(from + len) as u32);
                    let columns = packed.columns(2).iter().map(|column| Ok(take(column, &rows, None)?));
                    let columns = columns.collect::<Result<_>>()?;
                    let counted = Some(counted.slice(from, len)).filter(|counted| counted.true_count() < len);
                    let arguments = Arguments { columns, counted };
                    let frame = start.value(at) as u64..end.value(at) as u64;
                    self.partition_mut(*id)?.sliding(number)?.refill(arguments, frame)?;
                    from += len;
                }
            }
        }
        Ok(())
    }
}

fn other_call() -> DataFusionError {
    internal_datafusion_err!("what was saved is of another call")
}

impl Partition {
    fn sliding(&mut self, call: usize) -> Result<&mut Sliding> {
        match self.calls.get_mut(call) {
            Some(Computed::Aggregate(sliding)) => Ok(sliding),
            _ => Err(internal_datafusion_err!("an aggregate")),
        }
    }
}
