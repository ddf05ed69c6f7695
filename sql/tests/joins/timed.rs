//! Joins by time: of intervals, of versions, of windows.

use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, TimestampMillisecondType};
use datafusion_common::JoinType;
use proptest::prelude::*;
use updraft_dataflow::join::Side;
use updraft_dataflow::operator::Operator;
use updraft_dataflow::testing::{Scripted, gather, late};
use updraft_dataflow::{Epochs, Hashed, Job, RowKind, Rows, Time, Watermarks};
use updraft_sql::operator::join::interval::{Bounds, Clock, IntervalJoin};
use updraft_sql::operator::join::temporal::TemporalJoin;
use updraft_sql::operator::join::window::{WindowColumns, WindowJoin};

use crate::by_hand::ByHand;
use crate::driven::{Kernels, kernels};
use crate::model::{Case, Change, KINDS, Row, TS, cases, inserted, nulls, plain, rows, text, told};
use crate::support::{Driver, drivers};

/// Rows of both inputs by partition and batch, the later batches' times being later, and how they flow.
#[derive(Clone, Debug)]
struct Flow {
    rows: [Vec<Vec<Vec<Row>>>; 2],
    disorder: Duration,
    epochs: Epochs,
    driver: Driver,
}

fn flows() -> impl Strategy<Value = Flow> {
    let partition = || proptest::collection::vec(proptest::collection::vec(rows(), 1..6), 0..10);
    let side = || proptest::collection::vec(partition(), 1..3);
    let epochs = prop_oneof![
        (1u64..60).prop_map(|ms| Epochs::WatermarkStep(Duration::from_millis(ms))),
        (1usize..6).prop_map(Epochs::Records),
    ];
    (side(), side(), 0u64..40, epochs, drivers()).prop_map(|(left, right, disorder, epochs, driver)| Flow {
        rows: [left, right].map(later_and_later),
        disorder: Duration::from_millis(disorder),
        epochs,
        driver,
    })
}

fn later_and_later(mut partitions: Vec<Vec<Vec<Row>>>) -> Vec<Vec<Vec<Row>>> {
    for partition in &mut partitions {
        for (at, batch) in partition.iter_mut().enumerate() {
            batch.iter_mut().for_each(|row| row.ts += 15 * at as i64);
        }
    }
    partitions
}

/// Some changes are a record, of which the time is that of the first.
fn time(rows: &[Row]) -> Time {
    Time::from_millis(rows.iter().map(|row| row.ts).min().unwrap())
}

impl Flow {
    /// The rows of an input that are in time.
    fn in_time(&self, side: usize) -> Vec<Row> {
        let partition = |batches: &Vec<Vec<Row>>| {
            let times: Vec<Time> = batches.iter().map(|rows| time(rows)).collect();
            let late = late(&times, self.disorder, self.epochs);
            batches.iter().zip(late).filter(|(_, late)| !late).flat_map(|(rows, _)| rows.clone()).collect::<Vec<_>>()
        };
        self.rows[side].iter().flat_map(partition).collect()
    }

    fn run<O: Operator<Side<Hashed, Hashed>, Out = Rows>>(&self, case: &Case, join: O) -> Vec<Rows> {
        let job = Job::new("join");
        let [left, right] = [0, 1].map(|side| {
            let record = |rows: &Vec<Row>| vec![(time(rows), case.hashed(&plain(rows)))];
            let partition = |batches: &Vec<Vec<Row>>| batches.iter().map(record).collect();
            job.source("rows", Scripted(self.rows[side].iter().map(partition).collect()))
                .timestamps(|record: &(Time, Hashed)| record.0, Watermarks::bounded(self.disorder))
                .epochs(self.epochs)
                .stream()
                .map(|(_, rows)| rows)
        });
        let (sink, out) = gather();
        left.deal_with(right).operator("join", join).sink("out", sink);
        self.driver.run(job);
        out.take()
    }
}

/// No time that came out is before what the stages after it have been told.
fn in_order(out: &[Rows], watermark: Time) {
    for rows in out {
        for column in rows.batch().columns().iter().filter(|c| matches!(c.data_type(), DataType::Timestamp(..))) {
            let times = column.as_primitive::<TimestampMillisecondType>();
            assert!(
                times.iter().flatten().all(|ms| Time::from_millis(ms) >= watermark),
                "before {watermark}: {times:?}"
            );
        }
    }
}

/// Bundles of both inputs, by epoch, which are closed some milliseconds before the rows of the next one.
type Epochly = Vec<Vec<(bool, Vec<Row>)>>;

fn epochs() -> impl Strategy<Value = Epochly> {
    let bundle = (any::<bool>(), proptest::collection::vec(rows(), 1..5));
    let epochs = proptest::collection::vec(proptest::collection::vec(bundle, 0..4), 0..10);
    (epochs, grids()).prop_map(|(mut epochs, grid)| {
        let rows = epochs.iter_mut().flatten().flat_map(|(_, rows)| rows);
        // Some wait for several epochs.
        rows.for_each(|row| row.ts = row.ts * 3 / grid * grid);
        epochs
    })
}

/// What times are multiples of: with a coarse grid, many lie just where something begins or ends.
fn grids() -> impl Strategy<Value = i64> {
    prop_oneof![Just(1), Just(10)]
}

/// Rows of an epoch are from 20 milliseconds times its number on.
const STEP: i64 = 20;

/// Gives all epochs; what has come out, and all rows of both inputs.
fn by_hand<O>(case: &Case, epochs: Epochly, join: O, kernels: Kernels) -> (Vec<Rows>, [Vec<Row>; 2])
where
    O: Operator<Side<Hashed, Hashed>, Out = Rows>,
{
    let mut join = ByHand::on(join, kernels);
    let (mut out, mut all) = (Vec::new(), [Vec::new(), Vec::new()]);
    for (number, bundles) in epochs.into_iter().enumerate() {
        for (is_left, mut rows) in bundles {
            rows.iter_mut().for_each(|row| row.ts += STEP * number as i64);
            let hashed = case.hashed(&plain(&rows));
            all[usize::from(!is_left)].extend(rows);
            let given = if is_left { join.left(hashed) } else { join.right(hashed) };
            in_order(&given, join.watermark);
            out.extend(given);
        }
        let before = join.watermark;
        let given = join.close(Time::from_millis(STEP * (number as i64 + 1)), Time(0));
        in_order(&given, before);
        out.extend(given);
    }
    let before = join.watermark;
    let given = join.end();
    in_order(&given, before);
    out.extend(given);
    (out, all)
}

fn near(bounds: Bounds) -> impl Fn(&Row, &Row) -> bool {
    move |l, r| (bounds.lower..=bounds.upper).contains(&((l.ts - r.ts) * 1_000))
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let off = prop_oneof![4 => Just(0i64), 1 => Just(-1), 1 => Just(1)];
    (-40i64..40, 0i64..50, off, grids()).prop_map(|(lower, span, off, grid)| {
        let lower = lower / grid * grid * 1_000 + off;
        Bounds { lower, upper: lower + span / grid * grid * 1_000 }
    })
}

/// By the definition: each left row with the last version at its time, and what comes of it.
fn versioned(case: &Case, left: &[Row], versions: &[Change]) -> Vec<String> {
    let mut out = Vec::new();
    for l in left {
        let up_to = versions
            .iter()
            .enumerate()
            .filter(|(_, (kind, r))| *kind != RowKind::UpdateBefore && case.equal_keys(l, r) && r.ts <= l.ts);
        let last = up_to.max_by_key(|(at, (_, r))| (r.ts, *at)).map(|(_, version)| version);
        match last {
            Some((kind, r)) if *kind != RowKind::Delete && case.belong(l, r) => {
                out.push(format!("{},{}", text(l), text(r)))
            }
            _ if case.kind == JoinType::Left => out.push(format!("{},{}", text(l), nulls())),
            _ => {}
        }
    }
    out.sort();
    out
}

/// Makes versions' times their own, so that it is said which is the last, whatever the order in which partitions are read.
fn apart(rows: &mut [Row], at: usize) {
    rows.iter_mut().enumerate().for_each(|(n, row)| row.ts = row.ts / 3 * 3_000 + ((at + n) % 3_000) as i64);
}

fn windowed(ts: i64) -> i64 {
    ts.div_euclid(10)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn intervals_in_jobs(case in cases(&KINDS), bounds in bounds(), flow in flows()) {
        let out = flow.run(&case, IntervalJoin::new(case.joined(), Clock::Event(TS, TS), bounds).unwrap());
        prop_assert_eq!(inserted(&out), case.expected(&flow.in_time(0), &flow.in_time(1), near(bounds)));
    }

    #[test]
    fn intervals_by_hand(case in cases(&KINDS), bounds in bounds(), epochs in epochs(), kernels in kernels()) {
        let join = IntervalJoin::new(case.joined(), Clock::Event(TS, TS), bounds).unwrap();
        let (out, [left, right]) = by_hand(&case, epochs, join, kernels);
        prop_assert_eq!(inserted(&out), case.expected(&left, &right, near(bounds)));
    }

    /// The time of a row is when its epoch began; of the first one, when it ended.
    #[test]
    fn intervals_of_processing_time(
        case in cases(&KINDS), bounds in bounds(), epochs in epochs(), steps in proptest::collection::vec(0i64..30, 10),
        kernels in kernels(),
    ) {
        let mut join = ByHand::on(IntervalJoin::new(case.joined(), Clock::Processing, bounds).unwrap(), kernels);
        let (mut out, mut all) = (Vec::new(), [Vec::new(), Vec::new()]);
        let mut now = 1_000;
        for (bundles, step) in epochs.into_iter().zip(steps) {
            for (is_left, mut rows) in bundles {
                // The oracle goes by this column; the join does not look at it.
                rows.iter_mut().for_each(|row| row.ts = now);
                let hashed = case.hashed(&plain(&rows));
                all[usize::from(!is_left)].extend(rows);
                out.extend(if is_left { join.left(hashed) } else { join.right(hashed) });
            }
            if join.watermark > Time::MIN {
                now += step;
            }
            out.extend(join.close(Time(0), Time::from_millis(now)));
        }
        out.extend(join.end());
        prop_assert_eq!(inserted(&out), case.expected(&all[0], &all[1], near(bounds)));
    }

    #[test]
    fn versions_in_jobs(case in cases(&KINDS[..2]), mut flow in flows()) {
        let mut at = 0;
        for batches in &mut flow.rows[1] {
            for rows in batches {
                apart(rows, at);
                at += rows.len();
            }
        }
        flow.rows[0].iter_mut().flatten().flatten().for_each(|row| row.ts *= 1_000);
        flow.disorder *= 1_000;
        if let Epochs::WatermarkStep(step) = &mut flow.epochs {
            *step *= 1_000;
        }
        let out = flow.run(&case, TemporalJoin::new(case.joined(), TS, TS).unwrap());
        let versions = plain(&flow.in_time(1));
        prop_assert_eq!(inserted(&out), versioned(&case, &flow.in_time(0), &versions));
    }

    #[test]
    fn versions_by_hand(
        case in cases(&KINDS[..2]), epochs in epochs(), kinds in proptest::collection::vec(0usize..6, 1..40),
        kernels in kernels(),
    ) {
        let mut join = ByHand::on(TemporalJoin::new(case.joined(), TS, TS).unwrap(), kernels);
        let mut kinds = kinds.into_iter().cycle();
        let (mut out, mut left, mut versions) = (Vec::new(), Vec::new(), Vec::new());
        for (number, bundles) in epochs.into_iter().enumerate() {
            for (is_left, mut rows) in bundles {
                rows.iter_mut().for_each(|row| row.ts += STEP * number as i64);
                if is_left {
                    prop_assert!(join.left(case.hashed(&plain(&rows))).is_empty(), "they wait");
                    left.extend(rows);
                } else {
                    let kind = |n| [RowKind::Delete, RowKind::UpdateBefore, RowKind::UpdateAfter][usize::min(n, 2)];
                    let changes: Vec<Change> = rows.into_iter().map(|row| (kind(kinds.next().unwrap()), row)).collect();
                    prop_assert!(join.right(case.hashed(&changes)).is_empty());
                    versions.extend(changes);
                }
            }
            let watermark = Time::from_millis(STEP * (number as i64 + 1));
            let given = join.close(watermark, Time(0));
            out.extend(given);
            let due: Vec<Row> = left.iter().filter(|row| Time::from_millis(row.ts) < watermark).cloned().collect();
            prop_assert_eq!(inserted(&out), versioned(&case, &due, &versions));
        }
        out.extend(join.end());
        prop_assert_eq!(inserted(&out), versioned(&case, &left, &versions));
    }

    /// Windows of ten milliseconds: `v` takes the place of the start.
    #[test]
    fn windows_in_jobs(case in cases(&KINDS), flow in flows()) {
        let joined = |case: &Case| case.joined();
        let window = WindowColumns { start: TS, end: TS };
        let mut flow = flow;
        // The end of the window that a row is of is never before the watermark that its time allows.
        let original = flow.clone();
        flow.rows.iter_mut().flatten().flatten().flatten().for_each(|row| row.ts = (windowed(row.ts) + 1) * 10);
        let out = run_windows(&original, &flow, &case, WindowJoin::new(joined(&case), window, window).unwrap());
        let of = |side: usize| -> Vec<Row> {
            let mut rows = original.in_time(side);
            rows.iter_mut().for_each(|row| row.ts = (windowed(row.ts) + 1) * 10);
            rows
        };
        prop_assert_eq!(inserted(&out), case.expected(&of(0), &of(1), |l, r| l.ts == r.ts));
    }

    #[test]
    fn windows_by_hand(case in cases(&KINDS), epochs in epochs(), kernels in kernels()) {
        let window = WindowColumns { start: TS, end: TS };
        let mut join = ByHand::on(WindowJoin::new(case.joined(), window, window).unwrap(), kernels);
        let (mut out, mut all) = (Vec::new(), [Vec::new(), Vec::new()]);
        for (number, bundles) in epochs.into_iter().enumerate() {
            for (is_left, mut rows) in bundles {
                rows.iter_mut().for_each(|row| row.ts = (windowed(row.ts + STEP * number as i64) + 1) * 10);
                let hashed = case.hashed(&plain(&rows));
                all[usize::from(!is_left)].extend(rows);
                let given = if is_left { join.left(hashed) } else { join.right(hashed) };
                prop_assert!(given.is_empty());
            }
            let watermark = Time::from_millis(STEP * (number as i64 + 1));
            out.extend(join.close(watermark, Time(0)));
            let over = |rows: &Vec<Row>| -> Vec<Row> {
                rows.iter().filter(|row| Time::from_millis(row.ts) <= watermark).cloned().collect()
            };
            prop_assert_eq!(inserted(&out), case.expected(&over(&all[0]), &over(&all[1]), |l, r| l.ts == r.ts));
        }
        out.extend(join.end());
        prop_assert_eq!(inserted(&out), case.expected(&all[0], &all[1], |l, r| l.ts == r.ts));
    }
}

/// The times of `original` say when rows come; the rows are those of `flow`.
fn run_windows(original: &Flow, flow: &Flow, case: &Case, join: WindowJoin) -> Vec<Rows> {
    let job = Job::new("join");
    let [left, right] = [0, 1].map(|side| {
        let partitions = original.rows[side].iter().zip(&flow.rows[side]);
        let script = partitions.map(|(times, batches)| {
            let record = |(rows, batch): (&Vec<Row>, &Vec<Row>)| vec![(time(rows), case.hashed(&plain(batch)))];
            times.iter().zip(batches).map(record).collect()
        });
        job.source("rows", Scripted(script.collect()))
            .timestamps(|record: &(Time, Hashed)| record.0, Watermarks::bounded(flow.disorder))
            .epochs(flow.epochs)
            .stream()
            .map(|(_, rows)| rows)
    });
    let (sink, out) = gather();
    left.deal_with(right).operator("join", join).sink("out", sink);
    flow.driver.run(job);
    out.take()
}

fn simple(kind: JoinType) -> Case {
    Case { kind, keys: vec![0], nulls_equal: false, filtered: false, collide: false }
}

/// State is bounded by the watermark, however long it goes on.
#[test]
fn what_is_over_is_forgotten() {
    let case = simple(JoinType::Full);
    let bounds = Bounds { lower: -50_000, upper: 50_000 };
    let mut interval = ByHand::new(IntervalJoin::new(case.joined(), Clock::Event(TS, TS), bounds).unwrap());
    let mut versions = ByHand::new(TemporalJoin::new(simple(JoinType::Left).joined(), TS, TS).unwrap());
    let (mut most, mut pairs, mut alone) = ([0, 0], 0, 0);
    for step in 0..300i64 {
        let rows: Vec<Row> =
            (0..100).map(|n| Row { k: Some(n % 50), name: None, v: None, ts: step * 10 + n / 10 }).collect();
        let rows = case.hashed(&plain(&rows));
        let watermark = Time::from_millis(step * 10 + 10);
        let mut out = interval.give(vec![Side::Left(rows.clone()), Side::Right(rows.clone())]);
        out.extend(interval.close(watermark, Time(0)));
        pairs += told(&out).len();
        versions.give(vec![Side::Left(rows.clone()), Side::Right(rows)]);
        alone += told(&versions.close(watermark, Time(0))).len();
        most = [most[0].max(interval.bytes()), most[1].max(versions.bytes())];
    }
    assert!(most[0] < 400_000 && most[1] < 400_000, "{most:?} bytes");
    assert_eq!(alone, 300 * 100);
    assert!(pairs > 300 * 100 * 10);
}

/// What the joins cannot do is said when they are made.
#[test]
fn what_does_not_fit_is_told() {
    let told = |result: Result<(), updraft_dataflow::Error>| result.unwrap_err().to_string();
    let temporal = TemporalJoin::new(simple(JoinType::Full).joined(), TS, TS).map(|_| ());
    assert_eq!(told(temporal), "a temporal join cannot be of the kind Full: it can be Inner or Left");
    let interval =
        IntervalJoin::new(simple(JoinType::Inner).joined(), Clock::Event(TS, 0), Bounds { lower: 0, upper: 0 });
    assert_eq!(told(interval.map(|_| ())), "a join by the time 'k', which is Int64: it must be a TIMESTAMP");
    let mut joined = simple(JoinType::Inner).joined();
    joined.keys = vec![(0, 1)];
    let window = WindowColumns { start: TS, end: TS };
    let keys = WindowJoin::new(joined, window, window).map(|_| ());
    assert_eq!(told(keys), "a join by 'k' = 'name', which are Int64 and Utf8View: cast one of them");
}
