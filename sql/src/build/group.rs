//! [`Groups`]: rows grouped and aggregated by DataFusion's vectorised accumulators, inside Updraft's windows.
//!
//! A driver's share of a slice ([`Table`]) interns the group columns of each batch and updates the accumulators of all groups at
//! once. What is merged between drivers and slices are columns of keys and of the accumulators' states.
//!
//! Where nearly each row is a group of its own, a table that grows with them is slower than memory itself: then it is
//! [set aside](Groups::set_aside) as columns as long as it fits a cache, and begun anew. Groups that are in several of these
//! come together when they are merged by ranges of their hashes, by all kernels: only where there are several does that pay.
//! (As in DuckDB: Kuiper, Boncz, Mühleisen, "Robust External Hash Aggregation in the Solid State Age", ICDE 2024.)

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, TimestampMillisecondArray, UInt32Array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::{EmitTo, GroupsAccumulator};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion_physical_plan::aggregates::order::GroupOrdering;
use updraft_dataflow::checkpoint::Column;
use updraft_dataflow::window::{Grouping, piece_of};
use updraft_dataflow::{Error, KeyGroup, Rows, Time, Window};

use super::expr::{batch, evaluate, nullable};
use super::key::hashes;
use super::scan::{BATCH, micros};
use crate::fail::fail;
use crate::ipc;
use crate::operator::aggregate::Aggregate;
use crate::operator::layout;

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

    /// What is kept of each group: its keys, and what its aggregates are made of.
    pub(crate) fn layout(&self) -> [Vec<Column>; 2] {
        let mut keys = layout::all(&self.state_schema);
        let states = keys.split_off(self.keys.len());
        for (key, expr) in keys.iter_mut().zip(&self.keys) {
            let text = expr.to_string();
            key.name = text.split('@').next().unwrap_or_default().to_owned();
        }
        [keys, states]
    }

    fn table(&self, most: usize) -> Result<Table> {
        let keyed = !self.keys.is_empty();
        let values = keyed.then(|| new_group_values(self.key_schema.clone(), &GroupOrdering::None)).transpose()?;
        let accumulators = self.aggregates.iter().map(Aggregate::accumulators).collect::<Result<_>>()?;
        let set_aside = SetAside { most, ..SetAside::default() };
        Ok(Table { values, accumulators, groups: Vec::new(), len: 0, rows: 0, set_aside, frozen: None })
    }

    /// Begins the table anew, if it has grown large for nothing.
    fn set_aside(&self, table: &mut Table) -> Result<()> {
        if table.len < LARGE || table.rows > 2 * table.len || table.set_aside.most == 0 {
            return Ok(());
        }
        let mut set_aside = std::mem::take(&mut table.set_aside);
        set_aside.is_bare = 4 * table.rows <= 5 * table.len && self.is_flat();
        set_aside.push(self.own_states(table)?);
        *table = Table { set_aside, ..self.table(0)? };
        self.settle_much(table)
    }

    /// Whether keys and states are numbers and texts: it is known what rows of such keep in memory.
    fn is_flat(&self) -> bool {
        let is_text = |data_type: &DataType| matches!(data_type, DataType::Utf8View | DataType::BinaryView);
        self.state_schema.fields().iter().map(|field| field.data_type()).all(|of| of.is_primitive() || is_text(of))
    }

    /// Makes one table again where much was set aside.
    fn settle_much(&self, table: &mut Table) -> Result<()> {
        let rows = table.set_aside.rows;
        if rows >= table.set_aside.most {
            let most = table.set_aside.most;
            self.settle(table)?;
            table.rows = rows;
            // Where rows of a group come again, though late, one table for all it is.
            table.set_aside.most = if rows > 2 * table.len { 0 } else { 2 * most };
        }
        Ok(())
    }

    /// Makes one table of what was set aside and what was not.
    fn settle(&self, table: &mut Table) -> Result<()> {
        let set_aside = std::mem::take(&mut table.set_aside);
        set_aside.batches.iter().try_for_each(|states| self.merge_states(table, states))
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
        if table.set_aside.is_bare {
            return self.set_rows_aside(table, keys, input);
        }
        table.intern(&keys, input.num_rows())?;
        table.rows += input.num_rows();
        for (accumulator, aggregate) in table.accumulators.iter_mut().zip(self.aggregates.iter()) {
            let (arguments, filter) = given(aggregate, input);
            accumulator.update_batch(&arguments, &table.groups, filter.as_ref(), table.len)?;
        }
        self.set_aside(table)
    }

    /// Takes rows as groups of their own, which are told apart when they are merged.
    fn set_rows_aside(&self, table: &mut Table, mut columns: Vec<ArrayRef>, input: &RecordBatch) -> Result<()> {
        for (accumulator, aggregate) in table.accumulators.iter().zip(self.aggregates.iter()) {
            let (arguments, filter) = given(aggregate, input);
            columns.extend(accumulator.convert_to_state(&arguments, filter.as_ref())?);
        }
        let columns = columns.into_iter().map(compact).collect();
        table.set_aside.push(batch(self.state_schema.clone(), columns, input.num_rows()));
        self.settle_much(table)
    }

    /// Makes a group of no rows.
    fn add_nothing(&self, table: &mut Table) -> Result<()> {
        let none = RecordBatch::new_empty(self.input.clone());
        // With a filter accumulators don't take it for granted that each group has a row.
        let no_row = BooleanArray::from(Vec::<bool>::new());
        table.len = 1;
        for (accumulator, aggregate) in table.accumulators.iter_mut().zip(self.aggregates.iter()) {
            let (arguments, _) = given(aggregate, &none);
            accumulator.update_batch(&arguments, &[], Some(&no_row), table.len)?;
        }
        Ok(())
    }

    /// Keys and states as columns.
    fn states(&self, mut table: Table) -> Result<RecordBatch> {
        self.settle(&mut table)?;
        self.own_states(&mut table)
    }

    /// Those of what was not set aside; it is of no use any more.
    fn own_states(&self, table: &mut Table) -> Result<RecordBatch> {
        let rows = table.len;
        let mut columns = table.keys()?;
        for accumulator in &mut table.accumulators {
            columns.extend(accumulator.state(EmitTo::All)?);
        }
        Ok(batch(self.state_schema.clone(), columns, rows))
    }

    /// The states by ranges of their keys' hashes. A group may be in several batches of its range.
    fn split_states(&self, mut table: Table, pieces: usize) -> Result<Vec<Vec<RecordBatch>>> {
        let mut batches = std::mem::take(&mut table.set_aside.batches);
        batches.push(self.own_states(&mut table)?);
        let mut split = vec![Vec::with_capacity(batches.len()); pieces];
        for states in batches {
            let lanes = self.lanes(&states, pieces);
            for (piece, rows) in split.iter_mut().zip(lanes) {
                piece.push(take_record_batch(&states, &UInt32Array::from(rows))?);
            }
        }
        Ok(split)
    }

    /// The rows of each range of their keys' hashes.
    fn lanes(&self, states: &RecordBatch, pieces: usize) -> Vec<Vec<u32>> {
        let mut lanes = vec![Vec::new(); pieces];
        let keys = &states.columns()[..self.keys.len()];
        for (row, hash) in hashes(keys, states.num_rows()).into_iter().enumerate() {
            lanes[piece_of(hash, pieces)].push(row as u32);
        }
        lanes
    }

    /// The rows of each key group that has any.
    fn by_group(&self, states: &RecordBatch) -> Vec<(KeyGroup, Vec<u32>)> {
        let groups = (0..=u8::MAX).map(KeyGroup);
        groups.zip(self.lanes(states, KEY_GROUPS)).filter(|(_, rows)| !rows.is_empty()).collect()
    }

    /// Makes columns of a table that nothing is added to any more, of which some can be saved at a time: they are what the table is from now on.
    fn freeze(&self, table: &mut Table) -> Result<Frozen> {
        let states = self.states(std::mem::replace(table, self.table(0)?))?;
        table.set_aside.push(states.clone());
        Ok(Frozen { left: self.by_group(&states), states })
    }

    fn results(&self, mut table: Table, window: Window) -> Result<RecordBatch> {
        self.settle(&mut table)?;
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

/// The arguments of an aggregate, and which rows count, if not all.
fn given(aggregate: &Aggregate, input: &RecordBatch) -> (Vec<ArrayRef>, Option<BooleanArray>) {
    let arguments = aggregate.function.expressions().iter().map(|argument| evaluate(argument, input)).collect();
    let filter = aggregate.filter.as_ref().map(|filter| evaluate(filter, input).as_boolean().clone());
    (arguments, filter)
}

/// A column that keeps nothing of what was read with it.
fn compact(column: ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => column,
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
    /// Rows that were taken in.
    rows: usize,
    set_aside: SetAside,
    /// While it is saved.
    frozen: Option<Frozen>,
}

/// What a table comes to that nothing is added to any more.
struct Frozen {
    states: RecordBatch,
    /// The rows of each key group that is still to be saved.
    left: Vec<(KeyGroup, Vec<u32>)>,
}

/// A range of hashes is a key group if there are so many.
const KEY_GROUPS: usize = 1 << u8::BITS;
/// Groups from which on a table is large: about as many as fit a cache.
const LARGE: usize = if cfg!(test) { 16 } else { 1 << 17 };
/// States that are set aside, at first, before it is looked whether they are of the same groups after all.
const MOST: usize = 32 * LARGE;

/// Tables that have grown too large, as columns.
#[derive(Default)]
struct SetAside {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    /// How many rows there may be; 0 where nothing is set aside any more.
    most: usize,
    /// Whether nearly each row is a group: then rows are set aside without being looked for in a table.
    is_bare: bool,
}

impl SetAside {
    fn push(&mut self, states: RecordBatch) {
        self.rows += states.num_rows();
        self.bytes += states.get_array_memory_size();
        self.batches.push(states);
    }
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

/// Keys and states of some groups.
#[derive(Clone)]
pub(crate) enum Sum {
    Whole(RecordBatch),
    /// A piece of a table.
    Piece(Arc<Pieces>, usize),
}

/// A table that is split by whoever needs a piece of it first: so kernels split one table each.
pub(crate) struct Pieces {
    table: Mutex<Option<Table>>,
    pieces: usize,
    split: OnceLock<Vec<Vec<RecordBatch>>>,
}

impl Sum {
    fn batches(&self, groups: &Groups) -> &[RecordBatch] {
        match self {
            Self::Whole(batch) => std::slice::from_ref(batch),
            Self::Piece(of, piece) => &of.split.get_or_init(|| of.split(groups))[*piece],
        }
    }
}

impl Pieces {
    fn split(&self, groups: &Groups) -> Vec<Vec<RecordBatch>> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner).take();
        table.map_or_else(Vec::new, |table| expect(groups.split_states(table, self.pieces)))
    }
}

impl Grouping for Groups {
    type Partial = Table;
    type Sum = Sum;

    fn times(&self, rows: &Rows, time: Time) -> Vec<i64> {
        match self.time {
            Some((column, early)) => micros(rows.batch().column(column)).into_iter().map(|time| time - early).collect(),
            None => vec![time.as_micros(); rows.len()],
        }
    }

    fn create(&self, pieces: usize) -> Table {
        expect(self.table(if pieces > 1 { MOST } else { 0 }))
    }

    fn update(&self, table: &mut Table, rows: &Rows) {
        expect(self.update_table(table, rows));
    }

    fn merge(&self, table: &mut Table, sum: &Sum) {
        expect(sum.batches(self).iter().try_for_each(|states| self.merge_states(table, states)));
    }

    fn split(&self, table: Table, pieces: usize) -> Vec<Sum> {
        if pieces == 1 {
            return vec![Sum::Whole(expect(self.states(table)))];
        }
        let table = Arc::new(Pieces { table: Mutex::new(Some(table)), pieces, split: OnceLock::new() });
        (0..pieces).map(|piece| Sum::Piece(table.clone(), piece)).collect()
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
        table.len + table.set_aside.rows
    }

    fn bytes(&self, table: &Table) -> usize {
        let keys = table.values.as_ref().map_or(0, |values| values.size());
        keys + table.set_aside.bytes + table.accumulators.iter().map(|accumulator| accumulator.size()).sum::<usize>()
    }

    fn sum_bytes(&self, sum: &Sum) -> usize {
        sum.batches(self).iter().map(RecordBatch::get_array_memory_size).sum()
    }

    fn save(&self, sum: &Sum) -> Saved {
        let one;
        let sum = match sum.batches(self) {
            [sum] => sum,
            // A group that is in several batches is saved once.
            many => {
                let mut table = self.table(0)?;
                many.iter().try_for_each(|states| self.merge_states(&mut table, states))?;
                one = self.states(table)?;
                &one
            }
        };
        write(sum, self.by_group(sum))
    }

    fn save_some(&self, table: &mut Table, groups: RangeInclusive<KeyGroup>) -> Saved {
        let mut frozen = match table.frozen.take() {
            Some(frozen) => frozen,
            None => self.freeze(table)?,
        };
        let rows: Vec<_> = frozen.left.extract_if(.., |(group, _)| groups.contains(group)).collect();
        let saved = write(&frozen.states, rows);
        table.frozen = Some(frozen);
        saved
    }

    fn load(&self, _: KeyGroup, bytes: &[u8]) -> std::result::Result<Sum, Error> {
        let batches = ipc::read_all(bytes)?.into_iter().map(|batch| {
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            RecordBatch::try_new_with_options(self.state_schema.clone(), batch.columns().to_vec(), &options)
        });
        let batches = batches.collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(Sum::Whole(concat_batches(&self.state_schema, &batches)?))
    }
}

/// The bytes of key groups.
type Saved = std::result::Result<Vec<(KeyGroup, Vec<u8>)>, Error>;

/// Writes the rows of key groups.
fn write(states: &RecordBatch, rows: Vec<(KeyGroup, Vec<u32>)>) -> Saved {
    let write = |(group, rows)| Ok((group, ipc::write(&take_record_batch(states, &UInt32Array::from(rows))?)?));
    rows.into_iter().map(write).collect()
}

/// The job ends where accumulators fail.
fn expect<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error: DataFusionError| fail(error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use std::collections::{BTreeMap, BTreeSet};

    use arrow::datatypes::Int64Type;
    use datafusion_expr::Operator;
    use datafusion_functions_aggregate::count::count_udaf;
    use datafusion_functions_aggregate::sum::sum_udaf;
    use datafusion_physical_expr::expressions::{binary, lit};
    use proptest::prelude::*;

    use super::*;
    use crate::operator::testing::{self, aggregate, column};

    /// Values below this are counted by themselves.
    const LOW: i64 = 500;

    fn groups() -> Groups {
        let of = |function| aggregate(function, vec![column(1)], false);
        let low = binary(column(1), Operator::Lt, lit(LOW), &testing::schema()).unwrap();
        let some = Aggregate { filter: Some(low), ..of(count_udaf()) };
        let aggregates = vec![of(count_udaf()), of(sum_udaf()), some];
        let output = vec![Output::Key(0), Output::Aggregate(0), Output::Aggregate(1), Output::Aggregate(2)];
        let field = |name| Field::new(name, DataType::Int64, true);
        let schema = nullable(&[field("k"), field("count"), field("sum"), field("some")]);
        Groups::new(vec![column(0)], aggregates, None, &testing::schema(), output, schema).unwrap()
    }

    /// A share that has been saved in so many parts: as it is then, or as what was saved is read.
    fn saved(groups: &Groups, mut table: Table, of: usize, pieces: usize, is_read: bool) -> Table {
        let mut read = groups.create(pieces);
        for part in 0..of {
            let some = KeyGroup((part * KEY_GROUPS / of) as u8)..=KeyGroup(((part + 1) * KEY_GROUPS / of - 1) as u8);
            for (group, bytes) in groups.save_some(&mut table, some.clone()).unwrap() {
                assert!(some.contains(&group));
                groups.merge(&mut read, &groups.load(group, &bytes).unwrap());
            }
        }
        if is_read { read } else { table }
    }

    /// What comes of these keys, each with its place as value: taken in by several drivers, in batches, saved in parts if there are any, merged
    /// in pieces.
    fn merged(keys: &[i64], drivers: usize, batch: usize, parts: usize, pieces: usize) -> (Vec<[i64; 4]>, usize) {
        let groups = groups();
        let mut tables: Vec<_> = (0..drivers).map(|_| groups.create(pieces)).collect();
        for (at, keys) in keys.chunks(batch).enumerate() {
            let row = |(place, key): (usize, &i64)| (Some(*key), Some((at * batch + place) as i64), None, 0);
            let rows: Vec<_> = keys.iter().enumerate().map(row).collect();
            groups.update(&mut tables[at % drivers], &testing::batch(&rows).into());
        }
        let set_aside = tables.iter().map(|table| table.set_aside.batches.len()).sum();
        if parts > 0 {
            let save = |(at, table)| saved(&groups, table, parts, pieces, at % 2 == 1);
            tables = tables.into_iter().enumerate().map(save).collect();
        }
        let sums: Vec<_> = tables.into_iter().map(|table| groups.split(table, pieces)).collect();
        let mut out = Vec::new();
        for piece in 0..pieces {
            let mut table = groups.create(1);
            sums.iter().for_each(|of_driver| groups.merge(&mut table, &of_driver[piece]));
            groups.finish(table, Window { start: Time(0), end: Time(1_000) }, &mut |rows| {
                let columns = [0, 1, 2, 3].map(|at| rows.batch().column(at).as_primitive::<Int64Type>().clone());
                out.extend((0..rows.len()).map(|row| [0, 1, 2, 3].map(|at| columns[at].value(row))));
            });
        }
        out.sort_unstable();
        (out, set_aside)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Each group comes out once, whatever was set aside.
        #[test]
        fn groups_are_what_counting_says(
            keys in 1i64..4_000,
            rows in 1usize..4_000,
            drivers in 1usize..4,
            batch in 1usize..100,
            parts in prop_oneof![Just(0usize), Just(1), Just(16), Just(256)],
            pieces in (0u32..4).prop_map(|power| 1 << power),
        ) {
            let keys: Vec<_> = (0..rows as i64).map(|row| row.wrapping_mul(7_919) % keys).collect();
            let mut counted = BTreeMap::<i64, [i64; 3]>::new();
            for (row, key) in keys.iter().enumerate() {
                let group = counted.entry(*key).or_default();
                *group = [group[0] + 1, group[1] + row as i64, group[2] + i64::from((row as i64) < LOW)];
            }
            let counted: Vec<_> = counted.into_iter().map(|(key, [count, sum, some])| [key, count, sum, some]).collect();
            prop_assert_eq!(merged(&keys, drivers, batch, parts, pieces).0, counted);
        }
    }

    #[test]
    fn tables_are_set_aside_where_that_pays() {
        let distinct: Vec<_> = (0..1_000).collect();
        let again: Vec<_> = (0..4_000).map(|row| row % 100).collect();
        assert!(merged(&distinct, 2, 10, 0, 8).1 > 10, "nearly each row is a group");
        assert_eq!(merged(&distinct, 2, 10, 0, 1).1, 0, "nobody shares the work");
        assert_eq!(merged(&again, 2, 10, 0, 8).1, 0, "rows of a group come again");
        let keys: BTreeSet<_> = merged(&distinct, 2, 10, 0, 8).0.into_iter().map(|[key, ..]| key).collect();
        assert_eq!(keys.len(), 1_000);
    }
}
