//! Joins against their definition: nested loops over all records that are in time. On threads and simulated.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use proptest::prelude::*;
use support::{Driver, drivers};
use updraft_dataflow::aggregate::count;
use updraft_dataflow::join::interval::Interval;
use updraft_dataflow::join::window::WindowJoinStage;
use updraft_dataflow::join::{Anti, Full, Inner, Kind, Left, Right, Semi, Side};
use updraft_dataflow::operator::KeyedStream;
use updraft_dataflow::testing::{Scripted, Stored, gather, late, windows};
use updraft_dataflow::window::Sliced;
use updraft_dataflow::{
    Bundle, Epoch, Epochs, Generation, Job, Pipe, Punctuation, Sliding, Stage, Stream, Time, Tumbling, Watermarks,
    Window,
};

/// Time, key, number.
type Event = (i64, u8, u32);

#[derive(Clone, Debug)]
struct Case {
    /// By side, partition and batch.
    events: [Vec<Vec<Vec<Event>>>; 2],
    /// What all times are multiples of: with a coarse one, records lie just where something begins or ends.
    grid: i64,
    disorder: Duration,
    epochs: Epochs,
    driver: Driver,
    stealing: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let event = (0i64..3_000, 0u8..6);
    let partition = proptest::collection::vec(proptest::collection::vec(event, 0..12), 0..12);
    let side = proptest::collection::vec(partition, 1..3);
    let epochs = prop_oneof![
        (1u64..20_000).prop_map(|us| Epochs::WatermarkStep(Duration::from_micros(us))),
        (1usize..60).prop_map(Epochs::Records),
    ];
    let grid = prop_oneof![Just(1i64), Just(250)];
    (side.clone(), side, grid, 0u64..4_000, epochs, drivers(), any::<bool>()).prop_map(
        |(left, right, grid, disorder, epochs, driver, stealing)| Case {
            events: [left, right].map(|partitions| numbered(partitions, grid)),
            grid,
            disorder: Duration::from_micros(disorder - disorder % grid as u64),
            epochs,
            driver,
            stealing,
        },
    )
}

/// Events with a number of their own, of batches that are later and later.
fn numbered(partitions: Vec<Vec<Vec<(i64, u8)>>>, grid: i64) -> Vec<Vec<Vec<Event>>> {
    let mut number = 0;
    let mut event = |batch: usize, (time, key): (i64, u8)| {
        number += 1;
        (time - time % grid + 1_500 * batch as i64, key, number)
    };
    let mut partition = |batches: Vec<Vec<_>>| {
        let batches = batches.into_iter().enumerate();
        batches.map(|(i, batch)| batch.into_iter().map(|e| event(i, e)).collect()).collect()
    };
    partitions.into_iter().map(&mut partition).collect()
}

/// What of a side is in time.
fn in_time(case: &Case, side: usize) -> Vec<Event> {
    let partition = |batches: &Vec<Vec<Event>>| {
        let events = batches.concat();
        let times: Vec<_> = events.iter().map(|event| Time(event.0)).collect();
        let late = late(&times, case.disorder, case.epochs);
        events.into_iter().zip(late).filter(|(_, late)| !late).map(|(event, _)| event).collect::<Vec<_>>()
    };
    case.events[side].iter().flat_map(partition).collect()
}

type Keyed<P> = KeyedStream<Event, P, fn(&Event) -> u8>;

/// The rows of a job that `join` makes of both sides; in the order of event time, with those of a count of them.
fn actual<Out, P, S>(case: &Case, join: impl FnOnce(&Job) -> Stream<S, P>) -> (Vec<Out>, u64, Vec<(Window, u64)>)
where
    S: updraft_dataflow::Record,
    P: Pipe<S, Out = Out>,
    Out: updraft_dataflow::Record + Ord,
{
    let job = Job::new("join").stealing(case.stealing);
    let (sink, rows) = gather();
    let (counts_sink, counts) = gather();
    let (one, other) = join(&job).fork();
    one.sink("rows", sink);
    // A window after it finds a record that is behind its watermark.
    other.window_all(Tumbling::of(Duration::from_micros(500))).aggregate(count()).sink("counts", counts_sink);
    let metrics = case.driver.run(job);
    let mut rows: Vec<Out> = rows.take();
    rows.sort();
    let counts: Vec<_> = counts.take().into_iter().map(|row| (row.window, row.value)).collect();
    (rows, metrics.late(), counts)
}

fn side(job: &Job, case: &Case, side: usize) -> Keyed<impl Pipe<Event, Out = Event> + use<>> {
    job.source(["left", "right"][side], Scripted(case.events[side].clone()))
        .timestamps(|event: &Event| Time(event.0), Watermarks::bounded(case.disorder))
        .epochs(case.epochs)
        .stream()
        .key_by(|event| event.1)
}

/// By nested loops: `together` says which records belong together.
fn expected<J: Kind<Event, Event>>(
    kind: J,
    left: &[Event],
    right: &[Event],
    together: impl Fn(&Event, &Event) -> bool,
) -> Vec<J::Out>
where
    J::Out: Ord,
{
    let mut rows = Vec::new();
    for l in left {
        let partners: Vec<_> = right.iter().filter(|r| l.1 == r.1 && together(l, r)).collect();
        rows.extend(partners.iter().filter_map(|r| kind.pair(l, r)));
        rows.extend(kind.left(*l, !partners.is_empty()));
    }
    for r in right {
        rows.extend(kind.right(*r, left.iter().any(|l| l.1 == r.1 && together(l, r))));
    }
    rows.sort();
    rows
}

fn check<Out: Ord + Debug>(actual: (Vec<Out>, u64, Vec<(Window, u64)>), expected: Vec<Out>) {
    assert_eq!(actual.2.iter().map(|(_, n)| *n as usize).sum::<usize>(), expected.len(), "of the windows after it");
    assert_eq!(actual.0, expected);
}

fn window_join<J: Kind<Event, Event>>(case: &Case, kind: J, size: Duration, slide: Duration)
where
    J::Out: Ord + Debug,
{
    let kinds = Sliding::of(size, slide);
    let join = |job: &Job| side(job, case, 0).join(side(job, case, 1)).window(kinds, kind.clone());
    let mut rows = Vec::new();
    let mut all = BTreeMap::<(Window, u8), [Vec<Event>; 2]>::new();
    for side in [0, 1] {
        let records: Vec<_> = in_time(case, side).into_iter().map(|event| (Time(event.0), event.1, event)).collect();
        for (window, events) in windows(&records, kinds.slicing()) {
            all.entry(window).or_default()[side] = events;
        }
    }
    for [left, right] in all.into_values() {
        rows.extend(expected(kind.clone(), &left, &right, |_, _| true));
    }
    rows.sort();
    check(actual(case, join), rows);
}

fn interval_join<J: Kind<Event, Event>>(case: &Case, kind: J, before: i64, after: i64)
where
    J::Out: Ord + Debug,
{
    let span = |micros| Duration::from_micros(micros as u64);
    let interval = Interval::around(span(before), span(after));
    let join = |job: &Job| side(job, case, 0).join(side(job, case, 1)).within(interval, kind.clone());
    let together = |l: &Event, r: &Event| (l.0 - before..=l.0 + after).contains(&r.0);
    check(actual(case, join), expected(kind.clone(), &in_time(case, 0), &in_time(case, 1), together));
}

/// Each record with the last version at its time. Versions of a key are at different times, or it would not be said which
/// is the last.
fn temporal_join<J: Kind<Event, Event>>(case: &Case, kind: J)
where
    J::Out: Ord + Debug,
{
    let join = |job: &Job| {
        let versions = job
            .source("versions", Scripted(case.events[1].clone()))
            .timestamps(version_time as fn(&Event) -> Time, Watermarks::bounded(case.disorder))
            .epochs(case.epochs)
            .stream()
            .key_by((|event| event.1) as fn(&Event) -> u8);
        side(job, case, 0).join(versions).as_of(kind.clone())
    };
    let mut versions = Vec::new();
    for partition in &case.events[1] {
        let events = partition.concat();
        let times: Vec<_> = events.iter().map(version_time).collect();
        let late = late(&times, case.disorder, case.epochs);
        versions.extend(events.into_iter().zip(late).filter(|(_, late)| !late).map(|(event, _)| event));
    }
    let mut rows = Vec::new();
    for l in in_time(case, 0) {
        let before = versions.iter().filter(|v| v.1 == l.1 && version_time(v).0 <= l.0);
        let version = before.max_by_key(|v| version_time(v));
        rows.extend(version.and_then(|version| kind.pair(&l, version)));
        rows.extend(kind.left(l, version.is_some()));
    }
    rows.sort();
    check(actual(case, join), rows);
}

/// The number makes it the only one at its time.
fn version_time(event: &Event) -> Time {
    Time(event.0 / 300 * 300 + i64::from(event.2 % 300))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn of_windows(case in cases(), size in 1u64..6_000, slides in 1u64..4) {
        let (size, slide) = (Duration::from_micros(size), Duration::from_micros(size.div_ceil(slides)));
        macro_rules! with { ($($kind:ident)*) => { $(window_join(&case, $kind, size, slide);)* } }
        with!(Inner Left Right Full Semi Anti);
    }

    #[test]
    fn of_intervals(case in cases(), before in 0i64..3_000, after in 0i64..3_000) {
        let (before, after) = (before - before % case.grid, after - after % case.grid);
        macro_rules! with { ($($kind:ident)*) => { $(interval_join(&case, $kind, before, after);)* } }
        with!(Inner Left Right Full Semi Anti);
    }

    #[test]
    fn with_versions(case in cases()) {
        macro_rules! with { ($($kind:ident)*) => { $(temporal_join(&case, $kind);)* } }
        with!(Inner Left Semi Anti);
    }

    /// A window join that is snapshot in between, driven by hand.
    #[test]
    fn a_snapshot_goes_on_where_it_was_taken(
        epochs in proptest::collection::vec(proptest::collection::vec((0i64..3_000, 0u8..9, any::<bool>()), 0..40), 1..10),
        size in 1u64..4_000,
        slides in 1u64..4,
        cut in 0usize..10,
        drivers in (1usize..4, 1usize..4),
    ) {
        let kinds = Sliding::of(Duration::from_micros(size), Duration::from_micros(size.div_ceil(slides)));
        let run = |cut: usize, drivers: [usize; 2]| {
            let stages = [(); 2].map(|()| WindowJoinStage::new(Full, &kinds));
            let locals = [0, 1].map(|n| (0..drivers[n]).map(|driver| stages[n].local(driver)).collect::<Vec<_>>());
            let (mut rows, mut now, mut stored) = (Vec::new(), 0, Stored::default());
            stored.take(&stages[0], &locals[0], Generation(0));
            for (e, events) in epochs.iter().chain([&Vec::new()]).enumerate() {
                if e == cut {
                    stored.restore(&stages[1], &locals[1], Punctuation { epoch: Epoch(0), watermark: Time(0), now: Time(0) }).unwrap();
                    now = 1;
                }
                let (stage, locals) = (&stages[now], &locals[now]);
                for (n, (time, key, left)) in events.iter().enumerate() {
                    let (time, event) = (time + 1_000 * e as i64, (*time, *key, n as u32));
                    let side = if *left { Side::Left(event) } else { Side::Right(event) };
                    let stamp = updraft_dataflow::operator::EmitStage::new(
                        updraft_dataflow::pipe::stamped(move |_: &(u8, Side<Event, Event>)| Time(time)), true);
                    let mut stamped = None;
                    let bundle = Bundle::from(vec![(*key, side)]);
                    stamp.bundle(&stamp.local(0), Generation(0), bundle, &mut |bundle| stamped = Some(bundle));
                    stage.bundle(&locals[n % locals.len()], Generation(if now == 0 { e as u64 } else { 0 }), stamped.unwrap(), &mut |_| {});
                }
                let watermark = if e == epochs.len() { Time::MAX } else { Time(1_000 * (e as i64 + 1)) };
                for part in stage.seal(locals, Punctuation { epoch: Epoch(e as u64), watermark, now: Time(0) }) {
                    stage.part(&locals[0], part, &mut |bundle| rows.extend(bundle.into_vec()));
                }
                if now == 0 {
                    stored.take(stage, locals, Generation(e as u64));
                }
            }
            assert_eq!(stages[now].state_bytes(), 0);
            rows.sort();
            rows
        };
        prop_assert_eq!(run(cut.min(epochs.len() - 1), drivers.into()), run(usize::MAX, [1, 1]));
    }
}
