//! Random graphs: several inputs, branches, windows, joins, keyed state, calls that wait; and an interpreter that works on whole
//! lists.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use updraft_dataflow::aggregate::sum;
use updraft_dataflow::join::interval::Interval;
use updraft_dataflow::join::{Inner, Left};
use updraft_dataflow::keyed::{Context, Process, Timer};
use updraft_dataflow::operator::Calls;
use updraft_dataflow::sim::stalling;
use updraft_dataflow::testing::{self, Scripted, late};
use updraft_dataflow::window::{Session, Sliced};
use updraft_dataflow::{EpochOrder, Epochs, Job, Sliding, Stream, Time, Tumbling, Watermarks, Windowed};
use updraft_kernel::clock;

use super::{Driver, drivers};

/// Event time, key, value.
pub(crate) type Rec = (i64, u8, i64);

#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// By partition and batch.
    batches: Vec<Vec<Vec<Rec>>>,
    disorder: u64,
    epochs: Epochs,
}

/// What is done with the streams that there are; indices are counted round.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Filter(usize, i64),
    Map(usize, i64),
    Twice(usize),
    Fork(usize),
    Split(usize, i64),
    Union(usize, usize),
    Window(usize, u64, u64),
    Session(usize, u64),
    Count(usize, u64),
    WindowJoin(usize, usize, u64),
    IntervalJoin(usize, usize, u64, u64),
    Rebalance(usize),
    Calls(usize, bool),
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) inputs: Vec<Input>,
    pub(crate) ops: Vec<Op>,
    pub(crate) driver: Driver,
    pub(crate) stealing: bool,
    pub(crate) order: EpochOrder,
    /// Into how many shards keys are dealt out, if that is said.
    pub(crate) shards: Option<usize>,
    pub(crate) memory_budget: usize,
}

pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let rec = (0i64..4_000, 0u8..5, -9i64..9);
    let partition = proptest::collection::vec(proptest::collection::vec(rec, 0..8), 0..10).prop_map(|batches| {
        let shift =
            |i: usize, batch: Vec<Rec>| batch.into_iter().map(|(t, k, v)| (t + 1_500 * i as i64, k, v)).collect();
        batches.into_iter().enumerate().map(|(i, batch)| shift(i, batch)).collect::<Vec<Vec<Rec>>>()
    });
    let epochs = prop_oneof![
        (1u64..8_000).prop_map(|us| Epochs::WatermarkStep(Duration::from_micros(us))),
        (1usize..40).prop_map(Epochs::Records),
    ];
    let input = (proptest::collection::vec(partition, 1..3), 0u64..4_000, epochs)
        .prop_map(|(batches, disorder, epochs)| Input { batches, disorder, epochs });
    let (s, size) = (0usize..8, 1u64..5_000);
    let op = prop_oneof![
        (s.clone(), 2i64..5).prop_map(|(s, n)| Op::Filter(s, n)),
        (s.clone(), -3i64..3).prop_map(|(s, n)| Op::Map(s, n)),
        s.clone().prop_map(Op::Twice),
        s.clone().prop_map(Op::Fork),
        (s.clone(), 2i64..4).prop_map(|(s, n)| Op::Split(s, n)),
        (s.clone(), s.clone()).prop_map(|(a, b)| Op::Union(a, b)),
        (s.clone(), size.clone(), 1u64..4).prop_map(|(s, size, n)| Op::Window(s, size, n)),
        (s.clone(), size.clone()).prop_map(|(s, gap)| Op::Session(s, gap)),
        (s.clone(), size.clone()).prop_map(|(s, size)| Op::Count(s, size)),
        (s.clone(), s.clone(), size.clone()).prop_map(|(a, b, size)| Op::WindowJoin(a, b, size)),
        (s.clone(), s.clone(), 0u64..800, 0u64..800).prop_map(|(a, b, x, y)| Op::IntervalJoin(a, b, x, y)),
        s.clone().prop_map(Op::Rebalance),
        (s, any::<bool>()).prop_map(|(s, ordered)| Op::Calls(s, ordered)),
    ];
    let order = prop_oneof![3 => Just(EpochOrder::Out), 1 => Just(EpochOrder::In)];
    // Most often enough, else next to nothing.
    let memory_budget = prop_oneof![2 => Just(usize::MAX), 1 => 0_usize..2_000];
    let (inputs, ops) = (proptest::collection::vec(input, 1..4), proptest::collection::vec(op, 0..10));
    (inputs, ops, drivers(), any::<bool>(), order, proptest::option::of(1usize..20), memory_budget)
        .prop_map(|(inputs, ops, driver, stealing, order, shards, memory_budget)| Case {
            inputs,
            ops,
            driver,
            stealing,
            order,
            shards,
            memory_budget,
        })
        // Joins of joins grow beyond all bounds.
        .prop_filter("too many rows", |case| interpret(case).iter().map(Vec::len).sum::<usize>() < 4_000)
}

/// One more of each stream that an operator reads, so that operators can be chained at will.
fn take<T>(streams: &mut Vec<T>, at: usize) -> T {
    let at = at % streams.len();
    streams.swap_remove(at)
}

fn micros(span: u64) -> Duration {
    Duration::from_micros(span)
}

fn sliding(size: u64, slides: u64) -> Sliding {
    Sliding::of(micros(size), micros(size.div_ceil(slides)))
}

/// The last moment of the tumbling window that holds `time`.
fn last(time: i64, size: u64) -> i64 {
    (time.div_euclid(size as i64) + 1) * size as i64 - 1
}

/// What each stream that nothing reads any more comes to, from the definitions.
pub(crate) fn interpret(case: &Case) -> Vec<Vec<Rec>> {
    let mut streams: Vec<Vec<Rec>> = case.inputs.iter().map(in_time).collect();
    for op in &case.ops {
        match *op {
            Op::Filter(s, n) => {
                let rows = take(&mut streams, s);
                streams.push(rows.into_iter().filter(|r| r.2.rem_euclid(n) != 0).collect());
            }
            Op::Map(s, n) => {
                let rows = take(&mut streams, s);
                streams.push(rows.into_iter().map(|r| mapped(r, n)).collect());
            }
            Op::Twice(s) => {
                let rows = take(&mut streams, s);
                streams.push(rows.into_iter().flat_map(twice).collect());
            }
            Op::Fork(s) => {
                let rows = take(&mut streams, s);
                streams.extend([rows.clone(), rows]);
            }
            Op::Split(s, n) => {
                let rows = take(&mut streams, s);
                let (one, other) = rows.into_iter().partition(|r| r.2.rem_euclid(n) == 0);
                streams.extend([one, other]);
            }
            Op::Union(a, b) => {
                if streams.len() > 1 {
                    let (mut one, other) = (take(&mut streams, a), take(&mut streams, b));
                    one.extend(other);
                    streams.push(one);
                }
            }
            Op::Window(s, size, slides) => {
                let rows = keyed(take(&mut streams, s));
                streams.push(totals(testing::windows(&rows, sliding(size, slides).slicing())));
            }
            Op::Session(s, gap) => {
                let rows = keyed(take(&mut streams, s));
                streams.push(totals(testing::sessions(&rows, micros(gap))));
            }
            Op::Count(s, size) => {
                let mut counts = BTreeMap::<(i64, u8), i64>::new();
                for (time, key, _) in take(&mut streams, s) {
                    *counts.entry((last(time, size), key)).or_default() += 1;
                }
                streams.push(counts.into_iter().map(|((time, key), count)| (time, key, count)).collect());
            }
            Op::WindowJoin(a, b, size) => {
                if streams.len() > 1 {
                    let (left, right) = (take(&mut streams, a), take(&mut streams, b));
                    let together = |l: &Rec, r: &Rec| l.1 == r.1 && last(l.0, size) == last(r.0, size);
                    let pair = |l: &Rec, r: &Rec| (last(l.0, size), l.1, l.2 * 3 + r.2);
                    streams.push(pairs(&left, &right, together, pair));
                }
            }
            Op::IntervalJoin(a, b, before, after) => {
                if streams.len() > 1 {
                    let (left, right) = (take(&mut streams, a), take(&mut streams, b));
                    let (before, after) = (before as i64, after as i64);
                    let together = |l: &Rec, r: &Rec| l.1 == r.1 && (l.0 - before..=l.0 + after).contains(&r.0);
                    let mut rows = pairs(&left, &right, together, |l, r| (l.0.max(r.0), l.1, l.2 * 3 + r.2));
                    rows.extend(left.iter().filter(|l| !right.iter().any(|r| together(l, r))).map(|l| (l.0, l.1, 77)));
                    streams.push(rows);
                }
            }
            Op::Rebalance(s) => {
                let rows = take(&mut streams, s);
                streams.push(rows);
            }
            Op::Calls(s, _) => {
                let rows = take(&mut streams, s);
                streams.push(rows.into_iter().map(|r| mapped(r, 1)).collect());
            }
        }
    }
    streams.iter_mut().for_each(|rows| rows.sort());
    streams
}

fn in_time(input: &Input) -> Vec<Rec> {
    let partition = |batches: &Vec<Vec<Rec>>| {
        let recs = batches.concat();
        let times: Vec<_> = recs.iter().map(|rec| Time(rec.0)).collect();
        let late = late(&times, micros(input.disorder), input.epochs);
        recs.into_iter().zip(late).filter(|(_, late)| !late).map(|(rec, _)| rec).collect::<Vec<_>>()
    };
    input.batches.iter().flat_map(partition).collect()
}

fn keyed(rows: Vec<Rec>) -> Vec<(Time, u8, i64)> {
    rows.into_iter().map(|(t, k, v)| (Time(t), k, v)).collect()
}

fn totals(windows: BTreeMap<(updraft_dataflow::Window, u8), Vec<i64>>) -> Vec<Rec> {
    windows.into_iter().map(|((window, key), values)| (window.end.0 - 1, key, values.iter().sum())).collect()
}

fn pairs(l: &[Rec], r: &[Rec], together: impl Fn(&Rec, &Rec) -> bool, pair: impl Fn(&Rec, &Rec) -> Rec) -> Vec<Rec> {
    l.iter().flat_map(|l| r.iter().filter(|r| together(l, r)).map(|r| pair(l, r)).collect::<Vec<_>>()).collect()
}

fn mapped((time, key, value): Rec, n: i64) -> Rec {
    (time, key, value + n)
}

fn twice((time, key, value): Rec) -> [Rec; 2] {
    [(time, key, value), (time, key.wrapping_add(1), -value)]
}

/// How many records of a key there are in each span of time: told by a timer at its end.
#[derive(Clone)]
struct Counting(u64);

impl Process<u8, Rec> for Counting {
    type State = BTreeMap<i64, i64>;
    type Out = Rec;
    fn record(&mut self, rec: Rec, counts: &mut Self::State, cx: &mut Context<'_, u8, Rec>) {
        assert_eq!(rec.0, cx.time().0);
        let end = last(rec.0, self.0);
        *counts.entry(end).or_default() += 1;
        cx.set_timer(Time(end + 1));
    }
    fn timer(&mut self, timer: Timer, counts: &mut Self::State, cx: &mut Context<'_, u8, Rec>) {
        let end = timer.at.0 - 1;
        let count = counts.remove(&end).unwrap();
        cx.emit_at(Time(end), (end, *cx.key(), count));
        if counts.is_empty() {
            cx.clear();
        }
    }
}

/// What the operator at a place is called, of which there are two versions that do the same.
fn version_of(at: usize) -> String {
    format!("operator {at}")
}

/// The names of those of which there are versions.
pub(crate) fn swappable(case: &Case) -> Vec<String> {
    let are = case.ops.iter().enumerate().filter(|(_, op)| matches!(op, Op::Count(..) | Op::Map(..)));
    are.map(|(at, _)| version_of(at)).collect()
}

/// The job, and all streams in it that nothing reads; `faulty` has its sources stall.
pub(crate) fn build(case: &Case, faulty: bool) -> (Job, Vec<Stream<Rec>>) {
    let job = Job::new("graph").stealing(case.stealing).epoch_order(case.order).memory_budget(case.memory_budget);
    let job = if let Some(shards) = case.shards { job.shards(shards) } else { job };
    let mut streams: Vec<Stream<Rec>> = Vec::new();
    for (n, input) in case.inputs.iter().enumerate() {
        let longest = Duration::from_millis(if faulty { 300 } else { 0 });
        let source = job.source(format!("source {n}"), stalling(Scripted(input.batches.clone()), longest));
        let timed = source.timestamps(|rec: &Rec| Time(rec.0), Watermarks::bounded(micros(input.disorder)));
        streams.push(timed.epochs(input.epochs).stream().materialize());
    }
    for (at, op) in case.ops.iter().enumerate() {
        match *op {
            Op::Filter(s, n) => {
                let stream = take(&mut streams, s);
                streams.push(stream.filter(move |r| r.2.rem_euclid(n) != 0).materialize());
            }
            Op::Map(s, n) => {
                let map = job.function(version_of(at), "one", move |r: &Rec| mapped(*r, n));
                let map = map.or("other", move |r| mapped(*r, n));
                let stream = take(&mut streams, s);
                streams.push(stream.map(move |r| map.call(&r)).materialize());
            }
            Op::Twice(s) => {
                let stream = take(&mut streams, s);
                streams.push(stream.flat_map(twice).materialize());
            }
            Op::Fork(s) => {
                let (one, other) = take(&mut streams, s).fork();
                streams.extend([one, other]);
            }
            Op::Split(s, n) => {
                let (one, other) = take(&mut streams, s).split(move |r| r.2.rem_euclid(n) == 0);
                streams.extend([one, other]);
            }
            Op::Union(a, b) => {
                if streams.len() > 1 {
                    let (one, other) = (take(&mut streams, a), take(&mut streams, b));
                    streams.push(one.union(other));
                }
            }
            Op::Window(s, size, slides) => {
                let windows = take(&mut streams, s).key_by(|r| r.1).window(sliding(size, slides));
                streams.push(windows.aggregate(sum(|r: &Rec| r.2)).map(row).materialize());
            }
            Op::Session(s, gap) => {
                let windows = take(&mut streams, s).key_by(|r| r.1).window(Session::with_gap(micros(gap)));
                streams.push(windows.aggregate(sum(|r: &Rec| r.2)).map(row).materialize());
            }
            Op::Count(s, size) => {
                let counting = job.swappable(version_of(at), "one", Counting(size)).or("other", Counting(size));
                let stream = take(&mut streams, s);
                streams.push(stream.key_by(|r| r.1).process(counting));
            }
            Op::WindowJoin(a, b, size) => {
                if streams.len() > 1 {
                    let (left, right) = (take(&mut streams, a), take(&mut streams, b));
                    let joined = left.key_by(|r| r.1).join(right.key_by(|r| r.1));
                    let pairs = joined.window(Tumbling::of(micros(size)), Inner);
                    streams.push(pairs.map(move |(l, r)| (last(l.0, size), l.1, l.2 * 3 + r.2)).materialize());
                }
            }
            Op::IntervalJoin(a, b, before, after) => {
                if streams.len() > 1 {
                    let (left, right) = (take(&mut streams, a), take(&mut streams, b));
                    let joined = left.key_by(|r| r.1).join(right.key_by(|r| r.1));
                    let pairs = joined.within(Interval::around(micros(before), micros(after)), Left);
                    let row = |(l, r): (Rec, Option<Rec>)| match r {
                        Some(r) => (l.0.max(r.0), l.1, l.2 * 3 + r.2),
                        None => (l.0, l.1, 77),
                    };
                    streams.push(pairs.map(row).materialize());
                }
            }
            Op::Rebalance(s) => {
                let stream = take(&mut streams, s);
                streams.push(stream.rebalance());
            }
            Op::Calls(s, ordered) => {
                let calls = if ordered { Calls::ordered(3) } else { Calls::unordered(3) };
                let stream = take(&mut streams, s);
                streams.push(stream.map_async(calls, |r| async move {
                    clock::sleep(Duration::from_micros(updraft_kernel::random::u64() % 100)).await;
                    Ok(mapped(r, 1))
                }));
            }
        }
    }
    (job, streams)
}

fn row(row: Windowed<u8, i64>) -> Rec {
    (row.window.end.0 - 1, row.key, row.value)
}
