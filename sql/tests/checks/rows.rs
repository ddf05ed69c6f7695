//! What must hold of a snapshot of rows whose records are any bytes whatever: called by the fuzz target, and over its corpus by
//! `corpus.rs`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use datafusion_common::{JoinType, NullEquality};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::{Column, lit};
use updraft_dataflow::join::Side;
use updraft_dataflow::keyed::Dealt;
use updraft_dataflow::operator::{Operator, OperatorStage};
use updraft_dataflow::pipe::Identity;
use updraft_dataflow::testing::{Stored, go_on_damaged, goes_through};
use updraft_dataflow::window::{Sliced, WindowStage};
use updraft_dataflow::{Bundle, Error, Generation, Hashed, RowKind, Rows, Sliding, Stage, Time, Tumbling};
use updraft_sql::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMillisecondArray};
use updraft_sql::arrow::compute::concat_batches;
use updraft_sql::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use updraft_sql::arrow::util::display::array_value_to_string;
use updraft_sql::function::aggregate_functions;
use updraft_sql::operator::aggregate::Aggregate;
use updraft_sql::operator::deduplicate::{Deduplicate, Deduplication, Keep};
use updraft_sql::operator::group_by::{GroupBy, Grouping, Tell};
use updraft_sql::operator::join::hash::HashJoin;
use updraft_sql::operator::join::interval::{Bounds, Clock, IntervalJoin};
use updraft_sql::operator::join::lookup::LookupJoin;
use updraft_sql::operator::join::regular::RegularJoin;
use updraft_sql::operator::join::temporal::TemporalJoin;
use updraft_sql::operator::join::window::{WindowColumns, WindowJoin};
use updraft_sql::operator::join::{Input, Joined};
use updraft_sql::operator::normalize::Normalize;
use updraft_sql::operator::order::SortColumn;
use updraft_sql::operator::over::{Call, Frame, Over, OverPlan};
use updraft_sql::operator::session::{Gives, SessionPlan, Sessions};
use updraft_sql::operator::settle::Settle;
use updraft_sql::operator::sort::{EventSort, Sort};
use updraft_sql::operator::top_n::{Rank, Ranking, TopN};
use updraft_sql::testing::grouping;

/// Kinds of stages.
const KINDS: u8 = 27;

/// A stage goes on from a snapshot with a damaged record, or says that it cannot; what it goes on with is told to the end, or the job
/// ends with what is wrong. The first byte says which stage, the second which record, the third how it is damaged.
pub(crate) fn snapshot_rows(input: &[u8]) {
    let Some((&[kind, record, how], bytes)) = input.split_first_chunk() else { return };
    let damage = |stored: &mut Stored| damage(stored, record, how, bytes);
    goes_through(|| drop(run(kind % KINDS, &damage)));
}

/// Has a stage go on from a damaged snapshot: its records as they were before.
fn run(kind: u8, damage: &dyn Fn(&mut Stored)) -> Vec<Vec<u8>> {
    let span = Duration::from_millis;
    match kind {
        0 => windows(&Tumbling::of(span(8)), &[0, 2], damage),
        1 => windows(&Sliding::of(span(12), span(4)), &[0], damage),
        2 => windows(&Tumbling::of(span(8)), &[], damage),
        3 => operator(Normalize::new(schema(), [0]), &[0], true, damage),
        4 => operator(Deduplicate::new(deduplication(Keep::First, Some(3))), &[0], false, damage),
        5 => operator(Deduplicate::new(deduplication(Keep::Last, None)), &[0], true, damage),
        6 => {
            let plan = Deduplication { keys: vec![0, 3], window_end: Some(3), ..deduplication(Keep::Last, None) };
            operator(Deduplicate::new(plan), &[0, 3], false, damage)
        }
        7 => operator(GroupBy::new(group_by(&[0], true)), &[0], true, damage),
        8 => operator(GroupBy::new(group_by(&[0, 2], false)), &[0, 2], false, damage),
        9 => operator(GroupBy::new(group_by(&[], true)), &[], true, damage),
        10 => operator(TopN::new(ranking(&[0], true)), &[0], true, damage),
        11 => operator(TopN::new(ranking(&[0], false)), &[0], false, damage),
        12 => {
            let plan = Ranking { window_end: Some(3), ..ranking(&[3], false) };
            operator(TopN::new(plan), &[3], false, damage)
        }
        13 => operator(Over::new(over(Frame::Rows(Some(2)))), &[0], false, damage),
        14 => operator(Over::new(over(Frame::Range(Some(span(5))))), &[0], false, damage),
        15 => operator(Over::new(over(Frame::Range(None))), &[0], false, damage),
        16 => operator(Sessions::new(sessions(Gives::Rows)), &[0], false, damage),
        17 => operator(Sessions::new(sessions(Gives::Aggregates(aggregates()))), &[0], false, damage),
        18 => operator(Sort::new(schema(), [SortColumn::descending(1)], 0, None).retracting(), &[], true, damage),
        19 => operator(EventSort::new(schema(), 3, [SortColumn::descending(1)]), &[], false, damage),
        20 => operator(Settle::new(schema(), [0]), &[0], true, damage),
        21 => join(RegularJoin::new(joined(JoinType::Full)), true, damage),
        22 => {
            let bounds = Bounds { lower: -5_000, upper: 3_000 };
            join(IntervalJoin::new(joined(JoinType::Full), Clock::Event(3, 3), bounds), false, damage)
        }
        23 => join(TemporalJoin::new(joined(JoinType::Left), 3, 3), false, damage),
        24 => {
            let window = || WindowColumns { start: 3, end: 3 };
            join(WindowJoin::new(joined(JoinType::Full), window(), window()), false, damage)
        }
        25 => join(HashJoin::new(joined(JoinType::Left), Input::Right), false, damage),
        _ => join(LookupJoin::new(joined(JoinType::Left), false), false, damage),
    }
}

/// The records of all stages as they are before they are damaged.
fn records() -> &'static [Vec<u8>] {
    static RECORDS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    RECORDS.get_or_init(|| (0..KINDS).flat_map(|kind| run(kind, &|_| {})).collect())
}

/// Damages a record. Of most of its places there would have to be as many bytes before, so it is said where.
fn damage(stored: &mut Stored, which: u8, how: u8, bytes: &[u8]) {
    let count = stored.records().count();
    let Some(record) = stored.records().nth(usize::from(which) % count.max(1)) else { return };
    let (at, bytes) = match bytes.split_first_chunk() {
        Some((at, bytes)) => (usize::from(u16::from_le_bytes(*at)), bytes),
        None => (0, bytes),
    };
    let len = record.bytes.len();
    match how % 5 {
        // Other bytes, some of them others, fewer, more; a record of another stage.
        0 => record.bytes = bytes.to_vec(),
        1 => {
            let place = at.min(len);
            record.bytes[place..].iter_mut().zip(bytes).for_each(|(byte, other)| *byte = *other);
        }
        2 => record.bytes.truncate(at),
        3 => record.bytes.extend_from_slice(bytes),
        _ => {
            let others = records();
            let other = &others[at % others.len()];
            // What tells of which part of the state it is stays.
            let head = record.bytes.first().copied().filter(|_| how >= 128);
            record.bytes.clone_from(other);
            head.into_iter().zip(&mut record.bytes).for_each(|(head, byte)| *byte = head);
        }
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("v", DataType::Int64, true),
        Field::new("name", DataType::Utf8View, true),
        Field::new("time", DataType::Timestamp(TimeUnit::Millisecond, None), false),
    ]))
}

fn schema_and(more: impl IntoIterator<Item = DataType>) -> SchemaRef {
    let more = more.into_iter().enumerate().map(|(at, data_type)| Field::new(at.to_string(), data_type, true));
    let own = schema().fields().iter().map(|field| field.as_ref().clone()).collect::<Vec<_>>();
    Arc::new(Schema::new(own.into_iter().chain(more).collect::<Vec<_>>()))
}

/// Rows of an epoch, which are of later times than those before; where `changes`, some of them go again.
fn rows(epoch: i64, changes: bool) -> Rows {
    let numbers = || (0..12_i64).map(move |n| n + 12 * epoch);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(numbers().map(|n| (n % 7 > 0).then_some(n % 5)).collect::<Int64Array>()),
        Arc::new(numbers().map(|n| (n % 6 > 0).then_some(n * 7 % 11)).collect::<Int64Array>()),
        Arc::new(
            numbers()
                .map(|n| (n % 4 > 0).then(|| format!("a name {} is too long", n % 3)))
                .collect::<StringViewArray>(),
        ),
        Arc::new(numbers().map(|n| Some(8 * epoch + n * 5 % 8)).collect::<TimestampMillisecondArray>()),
    ];
    let batch = RecordBatch::try_new(schema(), columns).expect("columns are of their types");
    if !changes {
        return batch.into();
    }
    // Those that go are such as have come.
    let two = batch.slice(0, 2);
    let all = concat_batches(&schema(), [&batch, &two]).expect("of one schema");
    Rows::changes(all, [vec![RowKind::Insert; 12], vec![RowKind::Delete; 2]].concat())
}

fn hashed(rows: Rows, keys: &[usize]) -> Hashed {
    let hash = |row: usize| {
        keys.iter().fold(0_u64, |hash, key| {
            let text = array_value_to_string(rows.batch().column(*key), row);
            text.unwrap_or_default().bytes().fold(hash + 17, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)
            })
        })
    };
    Hashed { hashes: (0..rows.len()).map(hash).collect(), rows }
}

/// A function of columns of the table.
fn aggregate(name: &str, column: usize) -> Aggregate {
    let function = aggregate_functions().into_iter().find(|function| function.name() == name);
    let argument: Arc<dyn PhysicalExpr> = Arc::new(Column::new(schema().field(column).name(), column));
    let separator = (name == "string_agg").then(|| lit(","));
    let arguments = [argument].into_iter().chain(separator).collect();
    let builder = AggregateExprBuilder::new(function.expect("it is there"), arguments).schema(schema()).alias("a");
    builder.build().expect("it is of such columns").into()
}

fn aggregates() -> Vec<Aggregate> {
    let of = [
        ("count", 1),
        ("sum", 1),
        ("avg", 1),
        ("min", 2),
        ("max", 1),
        ("stddev_pop", 1),
        ("first_value", 2),
        ("collect", 1),
    ];
    of.into_iter().map(|(name, column)| aggregate(name, column)).collect()
}

fn results(aggregates: &[Aggregate]) -> Vec<DataType> {
    aggregates.iter().map(|aggregate| aggregate.function.field().data_type().clone()).collect()
}

fn deduplication(keep: Keep, time: Option<usize>) -> Deduplication {
    let (schema, keys) = (schema(), vec![0]);
    Deduplication { schema, keys, keep, time, window_end: None, tell: Tell::Epoch, remember: None }
}

fn group_by(keys: &[usize], retracts: bool) -> Grouping {
    let aggregates = aggregates();
    let types: Vec<_> = keys.iter().map(|key| schema().field(*key).data_type().clone()).collect();
    let types = types.into_iter().chain(results(&aggregates)).enumerate();
    let fields: Vec<_> = types.map(|(at, data_type)| Field::new(at.to_string(), data_type, true)).collect();
    let (input, output, tell) = (schema(), Arc::new(Schema::new(fields)), Tell::Epoch);
    Grouping { input, keys: keys.to_vec(), aggregates, output, retracts, tell, keep: None }
}

fn ranking(partition: &[usize], retracts: bool) -> Ranking {
    Ranking {
        input: schema(),
        partition: partition.to_vec(),
        order: vec![SortColumn::descending(1)],
        rank: Rank::RowNumber,
        ranks: 1..=3,
        numbered: true,
        output: schema_and([DataType::Int64]),
        retracts,
        window_end: None,
        tell: Tell::Epoch,
        keep: None,
    }
}

fn over(frame: Frame) -> OverPlan {
    let value: Arc<dyn PhysicalExpr> = Arc::new(Column::new("v", 1));
    let aggregates = aggregates();
    let types = results(&aggregates).into_iter().chain([DataType::Int64, DataType::Int64]);
    let output = schema_and(types);
    let more = [Call::RowNumber, Call::Lag { value, back: 2, default: None }];
    let calls = aggregates.into_iter().map(Call::Aggregate).chain(more).collect();
    OverPlan { input: schema(), partition: vec![0], time: Some(3), frame, calls, output }
}

fn sessions(gives: Gives) -> SessionPlan {
    let time = || DataType::Timestamp(TimeUnit::Millisecond, None);
    let output = match &gives {
        Gives::Rows => schema_and([time(), time(), time()]),
        Gives::Aggregates(aggregates) => {
            let types = [DataType::Int64, time(), time(), time()].into_iter().chain(results(aggregates)).enumerate();
            let fields: Vec<_> = types.map(|(at, data_type)| Field::new(at.to_string(), data_type, true)).collect();
            Arc::new(Schema::new(fields))
        }
    };
    SessionPlan { input: schema(), keys: vec![0], time: 3, gap: Duration::from_millis(3), gives, output }
}

fn joined(kind: JoinType) -> Joined {
    let (left, right) = (schema(), schema());
    let fields = |name: &str| -> Vec<_> {
        schema()
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_name(format!("{name}_{}", field.name())))
            .collect()
    };
    let schema = Arc::new(Schema::new([fields("l"), fields("r")].concat()));
    Joined { left, right, keys: vec![(0, 0)], kind, nulls: NullEquality::NullEqualsNothing, filter: None, schema }
}

fn windows(windows: &impl Sliced, keys: &[usize], damage: &dyn Fn(&mut Stored)) -> Vec<Vec<u8>> {
    let stage = |drivers| {
        let grouping = grouping(&schema(), keys, 3, aggregates()).expect("such a plan is fine");
        WindowStage::<Rows, _, _>::of_rows(Identity, windows, grouping, drivers)
    };
    go_on(
        stage,
        |stage, locals, epoch| {
            let bundle = Bundle::from(vec![rows(epoch, false)]);
            stage.bundle(&locals[epoch as usize % locals.len()], Generation(0), bundle, &mut |_| {});
        },
        damage,
    )
}

fn operator<O: Operator<Hashed>>(
    operator: O,
    keys: &[usize],
    changes: bool,
    damage: &dyn Fn(&mut Stored),
) -> Vec<Vec<u8>> {
    let stage = |drivers| OperatorStage::new(operator.clone(), drivers);
    go_on(stage, |stage, locals, epoch| deal(stage, locals, hashed(rows(epoch, changes), keys)), damage)
}

fn join<O: Operator<Side<Hashed, Hashed>>>(
    operator: Result<O, Error>,
    changes: bool,
    damage: &dyn Fn(&mut Stored),
) -> Vec<Vec<u8>> {
    let operator = operator.expect("such a plan is fine");
    let stage = |drivers| OperatorStage::new(operator.clone(), drivers);
    go_on(
        stage,
        |stage, locals, epoch| {
            deal(stage, locals, Side::Left(hashed(rows(epoch, changes), &[0])));
            deal(stage, locals, Side::Right(hashed(rows(epoch, false), &[0])));
        },
        damage,
    )
}

fn deal<T: Dealt, O: Operator<T>>(
    stage: &OperatorStage<T, O>,
    locals: &[<OperatorStage<T, O> as Stage>::Local],
    record: T,
) {
    record.deal(locals.len(), &mut |owner, record| {
        stage.bundle(&locals[owner], Generation(0), Bundle::from(vec![record]), &mut |_| {});
    });
}

/// Goes on from a damaged snapshot: its records as they were before. Time is an epoch behind, so that something waits.
fn go_on<S: Stage>(
    stage: impl Fn(usize) -> S,
    give: impl Fn(&S, &[S::Local], i64),
    damage: &dyn Fn(&mut Stored),
) -> Vec<Vec<u8>> {
    go_on_damaged(stage, give, |number| Time::from_millis(8 * number), damage)
}
