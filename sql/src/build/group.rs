//! [`Groups`]: rows grouped and aggregated by DataFusion's vectorised accumulators, inside Updraft's windows.
//!
//! A driver's share of a slice ([`Table`]) interns the group columns of each batch and updates the accumulators of all groups at
//! once. What is merged between drivers and slices are columns of keys and of the accumulators' states.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMillisecondArray, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::{EmitTo, GroupsAccumulator};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion_physical_plan::aggregates::order::GroupOrdering;
use updraft_dataflow::window::{Grouping, piece_of};
use updraft_dataflow::{Error, KeyGroup, Rows, Time, Window};

use super::expr::{batch, evaluate, nullable};
use super::key::hashes;
use super::scan::{BATCH, micros};
use crate::fail::fail;
use crate::operator::aggregate::Aggregate;

/// Where a column of the result comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Output {
    Key(usize),
    Aggregate(usize),
    WindowStart,
    WindowEnd,
    /// The last moment within.
    WindowTime,
}

/// How rows are grouped, and what is told of each group.
#[derive(Clone)]
pub(crate) struct Groups {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    key_schema: SchemaRef,
    input: SchemaRef,
    aggregates: Arc<[Aggregate]>,
    /// Keys, then states.
    state_schema: SchemaRef,
    /// Columns of the state of each aggregate.
    state_columns: Vec<usize>,
    /// The event time of a row, if windows are gone by; and how much earlier than what it says.
    time: Option<(usize, i64)>,
    output: Vec<Output>,
    schema: SchemaRef,
}

impl Groups {
    /// Groups by `keys` over columns of `input`; gives `output` columns, called as in `schema`.
    pub(crate) fn new(
        keys: Vec<Arc<dyn PhysicalExpr>>,
        aggregates: Vec<Aggregate>,
        time: Option<(usize, i64)>,
        input: &SchemaRef,
        output: Vec<Output>,
        schema: SchemaRef,
    ) -> Result<Self> {
        let key_fields = keys
            .iter()
            .enumerate()
            .map(|(index, key)| Ok(Field::new(format!("key{index}"), key.data_type(input)?, true)));
        let key_fields = key_fields.collect::<Result<Vec<_>>>()?;
        let states =
            aggregates.iter().map(|aggregate| aggregate.function.state_fields()).collect::<Result<Vec<_>>>()?;
        let state_columns = states.iter().map(Vec::len).collect();
        let state_fields = key_fields.iter().chain(states.iter().flatten().map(|field| field.as_ref()));
        Ok(Self {
            keys,
            state_schema: nullable(state_fields),
            key_schema: nullable(&key_fields),
            input: input.clone(),
            aggregates: aggregates.into(),
            state_columns,
            time,
            output,
            schema,
        })
    }

    fn table(&self) -> Result<Table> {
        let keyed = !self.keys.is_empty();
        let values = keyed.then(|| new_group_values(self.key_schema.clone(), &GroupOrdering::None)).transpose()?;
        let accumulators = self.aggregates.iter().map(Aggregate::accumulators).collect::<Result<_>>()?;
        Ok(Table { values, accumulators, groups: Vec::new(), len: 0 })
    }

    fn merge_states(&self, table: &mut Table, sum: &RecordBatch) -> Result<()> {
        let (keys, mut states) = sum.columns().split_at(self.keys.len());
        table.intern(keys, sum.num_rows())?;
        for (accumulator, columns) in table.accumulators.iter_mut().zip(&self.state_columns) {
            let (own, rest) = states.split_at(*columns);
            accumulator.merge_batch(own, &table.groups, table.len)?;
            states = rest;
        }
        Ok(())
    }

    fn update_table(&self, table: &mut Table, rows: &Rows) -> Result<()> {
        let input = rows.batch();
        let keys: Vec<ArrayRef> = self.keys.iter().map(|key| evaluate(key, input)).collect();
        table.intern(&keys, input.num_rows())?;
        for (accumulator, aggregate) in table.accumulators.iter_mut().zip(self.aggregates.iter()) {
            let arguments: Vec<ArrayRef> =
                aggregate.function.expressions().iter().map(|argument| evaluate(argument, input)).collect();
            let filter = aggregate.filter.as_ref().map(|filter| evaluate(filter, input));
            let filter = filter.as_ref().map(|filter| filter.as_boolean());
            accumulator.update_batch(&arguments, &table.groups, filter, table.len)?;
        }
        Ok(())
    }

    /// Makes a group of no rows.
    fn add_nothing(&self, table: &mut Table) -> Result<()> {
        let none = RecordBatch::new_empty(self.input.clone());
        // With a filter accumulators don't take it for granted that each group has a row.
        let no_row = BooleanArray::from(Vec::<bool>::new());
        table.len = 1;
        for (accumulator, aggregate) in table.accumulators.iter_mut().zip(self.aggregates.iter()) {
            let arguments = aggregate.function.expressions();
            let arguments: Vec<ArrayRef> = arguments.iter().map(|argument| evaluate(argument, &none)).collect();
            accumulator.update_batch(&arguments, &[], Some(&no_row), table.len)?;
        }
        Ok(())
    }

    /// Keys and states as columns.
    fn states(&self, mut table: Table) -> Result<RecordBatch> {
        let rows = table.len;
        let mut columns = table.keys()?;
        for accumulator in &mut table.accumulators {
            columns.extend(accumulator.state(EmitTo::All)?);
        }
        Ok(batch(self.state_schema.clone(), columns, rows))
    }

    fn split_states(&self, table: Table, pieces: usize) -> Result<Vec<RecordBatch>> {
        let all = self.states(table)?;
        if pieces == 1 {
            return Ok(vec![all]);
        }
        let mut lanes = vec![Vec::new(); pieces];
        let keys = &all.columns()[..self.keys.len()];
        for (row, hash) in hashes(keys, all.num_rows()).into_iter().enumerate() {
            lanes[piece_of(hash, pieces)].push(row as u32);
        }
        lanes.into_iter().map(|rows| Ok(take_record_batch(&all, &UInt32Array::from(rows))?)).collect()
    }

    fn results(&self, mut table: Table, window: Window) -> Result<RecordBatch> {
        let rows = table.len;
        let keys = table.keys()?;
        let values = table.accumulators.iter_mut().map(|accumulator| accumulator.evaluate(EmitTo::All));
        let values = values.collect::<Result<Vec<_>>>()?;
        let columns = self.output.iter().zip(self.schema.fields()).map(|(from, field)| match from {
            Output::Key(index) => Ok(keys[*index].clone()),
            Output::Aggregate(index) => Ok(values[*index].clone()),
            Output::WindowStart => edge(window.start.as_millis(), rows, field.data_type()),
            Output::WindowEnd => edge(window.end.as_millis(), rows, field.data_type()),
            Output::WindowTime => edge(window.end.as_millis() - 1, rows, field.data_type()),
        });
        Ok(batch(self.schema.clone(), columns.collect::<Result<_>>()?, rows))
    }
}

/// A window's edge as a column.
fn edge(millis: i64, rows: usize, kind: &DataType) -> Result<ArrayRef> {
    let column = TimestampMillisecondArray::from_value(millis, rows);
    Ok(arrow::compute::cast(&column, kind)?)
}

/// Groups, and what they have come to.
pub(crate) struct Table {
    /// None where there is but one group.
    values: Option<Box<dyn GroupValues>>,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    /// The group of each row of the last batch.
    groups: Vec<usize>,
    len: usize,
}

impl Table {
    fn intern(&mut self, keys: &[ArrayRef], rows: usize) -> Result<()> {
        match &mut self.values {
            Some(values) => {
                values.intern(keys, &mut self.groups)?;
                self.len = values.len();
            }
            None => {
                self.groups.clear();
                self.groups.resize(rows, 0);
                self.len = self.len.max(usize::from(rows > 0));
            }
        }
        Ok(())
    }

    fn keys(&mut self) -> Result<Vec<ArrayRef>> {
        self.values.as_mut().map_or_else(|| Ok(Vec::new()), |values| values.emit(EmitTo::All))
    }
}

impl Grouping for Groups {
    type Partial = Table;
    /// Keys and states.
    type Sum = RecordBatch;

    fn times(&self, rows: &Rows, time: Time) -> Vec<i64> {
        match self.time {
            Some((column, early)) => micros(rows.batch().column(column)).into_iter().map(|time| time - early).collect(),
            None => vec![time.as_micros(); rows.len()],
        }
    }

    fn create(&self) -> Table {
        expect(self.table())
    }

    fn update(&self, table: &mut Table, rows: &Rows) {
        expect(self.update_table(table, rows));
    }

    fn merge(&self, table: &mut Table, sum: &RecordBatch) {
        expect(self.merge_states(table, sum));
    }

    fn split(&self, table: Table, pieces: usize) -> Vec<RecordBatch> {
        expect(self.split_states(table, pieces))
    }

    fn finish(&self, mut table: Table, window: Window, emit: &mut dyn FnMut(Rows)) {
        if self.tells_of_nothing() && table.len == 0 {
            expect(self.add_nothing(&mut table));
        }
        let results = expect(self.results(table, window));
        for first in (0..results.num_rows()).step_by(BATCH) {
            emit(results.slice(first, BATCH.min(results.num_rows() - first)).into());
        }
    }

    /// As SQL has it: `SELECT COUNT(*)` of nothing is one row.
    fn tells_of_nothing(&self) -> bool {
        self.keys.is_empty() && self.time.is_none()
    }

    fn len(&self, table: &Table) -> usize {
        table.len
    }

    fn bytes(&self, table: &Table) -> usize {
        let keys = table.values.as_ref().map_or(0, |values| values.size());
        keys + table.accumulators.iter().map(|accumulator| accumulator.size()).sum::<usize>()
    }

    fn sum_bytes(&self, sum: &RecordBatch) -> usize {
        sum.get_array_memory_size()
    }

    fn save(&self, sum: &RecordBatch) -> std::result::Result<Vec<(KeyGroup, Vec<u8>)>, Error> {
        let mut groups = BTreeMap::<KeyGroup, Vec<u32>>::new();
        let keys = &sum.columns()[..self.keys.len()];
        for (row, hash) in hashes(keys, sum.num_rows()).into_iter().enumerate() {
            groups.entry(KeyGroup::of(hash)).or_default().push(row as u32);
        }
        let save = |(group, rows)| Ok((group, to_bytes(&take_record_batch(sum, &UInt32Array::from(rows))?)?));
        groups.into_iter().map(save).collect()
    }

    fn load(&self, _: KeyGroup, bytes: &[u8]) -> std::result::Result<RecordBatch, Error> {
        let batches = StreamReader::try_new(bytes, None)?.collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(concat_batches(&self.state_schema, &batches)?)
    }
}

fn to_bytes(batch: &RecordBatch) -> std::result::Result<Vec<u8>, Error> {
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(batch)?;
    Ok(writer.into_inner()?)
}

/// The job ends where accumulators fail.
fn expect<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error: DataFusionError| fail(error))
}
