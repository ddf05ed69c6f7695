//! What the operators' tests are made of: an input that is random, an operator that is driven epoch by epoch, and the table
//! that a changelog amounts to.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod driven;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMillisecondArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::array_value_to_string;
use datafusion_expr::AggregateUDF;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::Column;
use proptest::prelude::*;
use updraft_dataflow::operator::Operator;
use updraft_dataflow::testing::{Scripted, gather};
use updraft_dataflow::{Epoch, Hashed, Job, Punctuation, RowKind, Rows, Time};
use updraft_kernel::sim::Sim;

pub(crate) use self::driven::{Driven, Kernels, kernels};
use super::aggregate::Aggregate;
use super::codec::{Codec, columns_of};

/// A row of the table that tests are about: `k`, `v`, `name`, `time` (in milliseconds).
pub(crate) type Row = (Option<i64>, Option<i64>, Option<String>, i64);

/// What happens to the table: each row, and whether it comes.
pub(crate) type Change = (RowKind, Row);

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("v", DataType::Int64, true),
        Field::new("name", DataType::Utf8View, true),
        Field::new("time", DataType::Timestamp(TimeUnit::Millisecond, None), false),
    ]))
}

pub(crate) fn column(at: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(schema().field(at).name(), at))
}

pub(crate) fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.2.clone()).collect::<StringViewArray>()),
        Arc::new(rows.iter().map(|row| Some(row.3)).collect::<TimestampMillisecondArray>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

pub(crate) fn rows(changes: &[Change]) -> Rows {
    let (kinds, rows): (Vec<_>, Vec<_>) = changes.iter().cloned().unzip();
    Rows::changes(batch(&rows), kinds)
}

/// With the hash of their key; 0 where there are no keys.
pub(crate) fn hashed(rows: Rows, keys: &[usize]) -> Hashed {
    let encoded = Codec::of(&rows.schema(), keys).unwrap().encode(&columns_of(rows.batch(), keys)).unwrap();
    let hash = |row: usize| match encoded.row(row) {
        [] => 0,
        key => key
            .iter()
            .fold(17u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)),
    };
    Hashed { hashes: (0..rows.len()).map(hash).collect(), rows }
}

/// A function of DataFusion over columns of the table.
pub(crate) fn aggregate(
    function: Arc<AggregateUDF>,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    distinct: bool,
) -> Aggregate {
    let builder = AggregateExprBuilder::new(function, arguments).schema(schema()).alias("a").with_distinct(distinct);
    builder.build().unwrap().into()
}

/// What some rows amount to, by DataFusion's own accumulator.
pub(crate) fn amount(aggregate: &Aggregate, rows: &[Row]) -> String {
    let mut rows = batch(rows);
    if let Some(counted) = aggregate.counted(&rows).unwrap() {
        rows = filter_record_batch(&rows, &counted).unwrap();
    }
    let mut accumulator = aggregate.function.create_accumulator().unwrap();
    accumulator.update_batch(&aggregate.arguments(&rows).unwrap()).unwrap();
    let value = accumulator.evaluate().unwrap().to_array().unwrap();
    let field = Field::new("a", value.data_type().clone(), true);
    text(&RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![value]).unwrap())[0][0].clone()
}

/// The table's columns, then these.
pub(crate) fn schema_and(more: &[DataType]) -> SchemaRef {
    let more =
        more.iter().enumerate().map(|(at, data_type)| Arc::new(Field::new(at.to_string(), data_type.clone(), true)));
    Arc::new(Schema::new(schema().fields().iter().cloned().chain(more).collect::<Vec<_>>()))
}

/// Each row as text, in order.
pub(crate) fn texts(rows: &[Row]) -> Vec<Vec<String>> {
    text(&batch(rows))
}

/// How far event time goes in an epoch, in milliseconds.
pub(crate) const STEP: i64 = 6;

/// The same script, of which each epoch's times begin later: with its [`watermark`].
pub(crate) fn advancing(mut script: Script) -> Script {
    for (epoch, bundles) in script.iter_mut().enumerate() {
        bundles.iter_mut().flatten().for_each(|(_, row)| row.3 += STEP * epoch as i64);
    }
    script
}

/// The same, of which each row's time is the end of a window that it is in: such a row is before it.
pub(crate) fn ending(script: Script) -> Script {
    let mut script = advancing(script);
    script.iter_mut().flatten().flatten().for_each(|(_, row)| row.3 += 1);
    script
}

/// Before which nothing comes after this epoch.
pub(crate) fn watermark(epoch: usize) -> Time {
    Time::from_millis(STEP * (epoch as i64 + 1))
}

/// The rows of the first epochs of a script that only inserts.
pub(crate) fn inserted(epochs: &[Vec<Vec<Change>>]) -> Vec<Row> {
    epochs.iter().flatten().flatten().map(|(_, row)| row.clone()).collect()
}

/// Drives an operator through a script that is [`advancing`]: after each epoch, `check` gets the table that has come out, and
/// how many epochs that was, and the watermark.
pub(crate) fn advance<O: Operator<Hashed, Out = Rows>>(
    operator: O,
    (script, keys, kernels): (&Script, &[usize], Kernels),
    mut check: impl FnMut(&Table, usize, Time),
) {
    let mut drive = Drive::new(operator, kernels);
    let mut table = Table::default();
    for (epoch, bundles) in script.iter().enumerate() {
        bundles.iter().for_each(|bundle| table.apply(&drive.bundle(hashed(rows(bundle), keys))));
        table.apply(&drive.end(watermark(epoch)));
        check(&table, epoch + 1, watermark(epoch));
    }
    table.apply(&drive.end(Time::MAX));
    check(&table, script.len(), Time::MAX);
    assert_eq!(drive.bytes(), 0, "nothing is kept after the end");
}

/// Epochs of bundles of changes.
pub(crate) type Script = Vec<Vec<Vec<Change>>>;

/// Random changes; where `retracts`, some are of rows that are there.
pub(crate) fn scripts(retracts: bool) -> impl Strategy<Value = Script> {
    let key = prop_oneof![1 => Just(None), 8 => (0i64..4).prop_map(Some)];
    let value = prop_oneof![1 => Just(None), 5 => (-3i64..4).prop_map(Some)];
    let name = prop_oneof![1 => Just(None), 5 => "[ab]|a longer text [xy]".prop_map(Some)];
    let change = (key, value, name, 0i64..30, any::<prop::sample::Index>(), 0..5u8);
    let bundles = prop::collection::vec(prop::collection::vec(change, 0..8), 0..4);
    prop::collection::vec(bundles, 1..9).prop_map(move |epochs| {
        let mut live: Vec<Row> = Vec::new();
        let mut next = |(key, value, name, time, at, what): (_, _, _, _, prop::sample::Index, u8)| {
            let row = (key, value, name, time);
            if !retracts || what > 2 || live.is_empty() {
                live.push(row.clone());
                return vec![(RowKind::Insert, row)];
            }
            let at = at.index(live.len());
            let gone = remove_first(&mut live, at);
            if what > 1 {
                return vec![(RowKind::Delete, gone)];
            }
            let new = (gone.0, row.1, row.2, row.3);
            live.push(new.clone());
            vec![(RowKind::UpdateBefore, gone), (RowKind::UpdateAfter, new)]
        };
        let mut bundle = |changes: Vec<_>| changes.into_iter().flat_map(&mut next).collect();
        epochs.into_iter().map(|bundles| bundles.into_iter().map(&mut bundle).collect()).collect()
    })
}

/// Of rows equal to the one at `at`, the first goes.
fn remove_first(live: &mut Vec<Row>, at: usize) -> Row {
    let row = live[at].clone();
    let first = live.iter().position(|other| *other == row).unwrap();
    live.remove(first)
}

/// The rows that are there after some changes, in order of arrival.
pub(crate) fn live<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Vec<Row> {
    let mut live = Vec::new();
    for (kind, row) in changes {
        match kind.is_addition() {
            true => live.push(row.clone()),
            false => {
                let at = live.iter().position(|other| other == row).unwrap();
                live.remove(at);
            }
        }
    }
    live
}

/// Rows as text.
pub(crate) fn text(batch: &RecordBatch) -> Vec<Vec<String>> {
    let cell = |column: &ArrayRef, row| match column.is_null(row) {
        true => "NULL".into(),
        false => array_value_to_string(column, row).unwrap(),
    };
    (0..batch.num_rows()).map(|row| batch.columns().iter().map(|column| cell(column, row)).collect()).collect()
}

/// A table with rows that may be equal.
#[derive(Default, PartialEq, Eq, Debug, Clone)]
pub(crate) struct Table(pub(crate) BTreeMap<Vec<String>, usize>);

impl Table {
    /// Applies changes; what goes must be there.
    pub(crate) fn apply<'a>(&mut self, changes: impl IntoIterator<Item = &'a Rows>) {
        for rows in changes {
            for (at, row) in text(rows.batch()).into_iter().enumerate() {
                self.change(rows.kind(at), row);
            }
        }
    }

    fn change(&mut self, kind: RowKind, row: Vec<String>) {
        if kind.is_addition() {
            *self.0.entry(row).or_default() += 1;
            return;
        }
        let count = self.0.get_mut(&row).unwrap_or_else(|| panic!("{row:?} goes and is not there"));
        *count -= 1;
        if *count == 0 {
            self.0.remove(&row);
        }
    }

    pub(crate) fn of(rows: impl IntoIterator<Item = Vec<String>>) -> Self {
        let mut table = Self::default();
        rows.into_iter().for_each(|row| table.change(RowKind::Insert, row));
        table
    }
}

/// An operator that is driven by hand.
pub(crate) struct Drive<O: Operator<Hashed>> {
    driven: Driven<Hashed, O>,
    epoch: u64,
}

impl<O: Operator<Hashed, Out = Rows>> Drive<O> {
    pub(crate) fn new(operator: O, kernels: impl Into<Kernels>) -> Self {
        Self { driven: Driven::new(operator, kernels), epoch: 0 }
    }

    pub(crate) fn bundle(&mut self, hashed: Hashed) -> Vec<Rows> {
        self.driven.bundle(hashed)
    }

    pub(crate) fn end(&mut self, watermark: Time) -> Vec<Rows> {
        self.end_at(watermark, Time(self.epoch as i64))
    }

    pub(crate) fn end_at(&mut self, watermark: Time, now: Time) -> Vec<Rows> {
        let epoch = Epoch(self.epoch);
        self.epoch += 1;
        self.driven.end(Punctuation { epoch, watermark, now })
    }

    /// Bytes that were saved.
    pub(crate) fn written(&self) -> usize {
        self.driven.written()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.driven.bytes()
    }
}

/// What a whole job makes of some changes, on simulated kernels: they come from one source, in order.
pub(crate) fn simulate<O: Operator<Hashed, Out = Rows>>(
    operator: O,
    script: &Script,
    keys: &[usize],
    (kernels, seed): (usize, u64),
) -> Vec<Rows> {
    let batches = script.iter().flatten().filter(|bundle| !bundle.is_empty());
    let batches = batches.map(|bundle| vec![hashed(rows(bundle), keys)]).collect();
    let job = Job::new("operator");
    let (sink, gathered) = gather();
    job.source("changes", Scripted(vec![batches])).stream().deal().operator("operator", operator).sink("rows", sink);
    let sim = Sim::builder(seed).kernels(kernels).build();
    sim.block_on(job.start(sim.handle()).unwrap().join()).unwrap();
    gathered.take()
}
