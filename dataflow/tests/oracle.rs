//! Random windowed jobs against the oracle: whatever the disorder, the epochs, the bundles, the number of kernels and
//! who steals from whom, the same rows and the same late records.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use support::{Driver, drivers};
use updraft_dataflow::aggregate::{avg, count, max, min, project, reduce, sum};
use updraft_dataflow::testing::{self, Scripted, gather, late};
use updraft_dataflow::window::{Session, Sliced, Windows};
use updraft_dataflow::{Cumulating, EpochOrder, Epochs, Job, Sliding, Time, Tumbling, Watermarks, Window, Windowed};

type Event = (i64, u16, i32);

#[derive(Clone, Debug)]
struct Case {
    /// By partition and batch.
    events: Vec<Vec<Vec<Event>>>,
    disorder: Duration,
    epochs: Epochs,
    size: u64,
    slides: u64,
    offset: u64,
    driver: Driver,
    stealing: bool,
    priority: bool,
    order: EpochOrder,
    bundle: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    let event = (0i64..5_000, prop_oneof![Just(7u16), 0u16..20, any::<u16>()], -50i32..50);
    // Time moves on from batch to batch, so that windows close while others are open.
    let partition = proptest::collection::vec(proptest::collection::vec(event, 0..40), 0..30).prop_map(|batches| {
        let ascending = batches.into_iter().enumerate();
        ascending
            .map(|(i, batch)| batch.into_iter().map(|(t, k, v)| (t + 2_000 * i as i64 - 9_000, k, v)).collect())
            .collect()
    });
    let epochs = prop_oneof![
        (1u64..20_000).prop_map(|us| Epochs::WatermarkStep(Duration::from_micros(us))),
        (1usize..200).prop_map(Epochs::Records),
    ];
    (
        (proptest::collection::vec(partition, 1..4), 0u64..8_000, epochs),
        (1u64..6_000, 1u64..6, 0u64..5_000),
        (drivers(), any::<[bool; 2]>(), prop_oneof![Just(EpochOrder::Out), Just(EpochOrder::In)], 1usize..100),
    )
        .prop_map(
            |((events, disorder, epochs), (size, slides, offset), (driver, [stealing, priority], order, bundle))| {
                Case {
                    events,
                    disorder: Duration::from_micros(disorder),
                    epochs,
                    size,
                    slides,
                    offset,
                    driver,
                    stealing,
                    priority,
                    order,
                    bundle,
                }
            },
        )
}

/// The events that are in time and those that are late.
fn split(case: &Case) -> (Vec<Event>, Vec<Event>) {
    let (mut kept, mut behind) = (Vec::new(), Vec::new());
    for partition in &case.events {
        let events = partition.concat();
        let times: Vec<_> = events.iter().map(|event| Time(event.0)).collect();
        for (event, late) in events.into_iter().zip(late(&times, case.disorder, case.epochs)) {
            if late { behind.push(event) } else { kept.push(event) }
        }
    }
    (kept, behind)
}

/// What the operators before the window make of an event.
fn chain(event: Event) -> Vec<Event> {
    let (time, key, value) = event;
    if value % 7 == 0 { Vec::new() } else { vec![(time, key, value * 2), (time, key / 3, value)] }
}

type Row = (Time, Time, u16, (u64, i64, i32, i32, Vec<i32>));

/// What reaches the window.
fn records(kept: &[Event]) -> Vec<(Time, u16, i32)> {
    kept.iter().flat_map(|event| chain(*event)).map(|(t, k, v)| (Time(t), k, v)).collect()
}

fn expected(windows: BTreeMap<(Window, u16), Vec<i32>>) -> Vec<Row> {
    let mut rows: Vec<_> = windows
        .into_iter()
        .map(|((window, key), values)| {
            let mut best = values.clone();
            best.sort_by_key(|v| (std::cmp::Reverse(v.abs()), *v));
            best.truncate(3);
            let sum = values.iter().map(|v| i64::from(*v)).sum();
            let value = (values.len() as u64, sum, *values.iter().min().unwrap(), *values.iter().max().unwrap(), best);
            (window.start, window.end, key, value)
        })
        .collect();
    rows.sort();
    rows
}

fn actual(case: &Case, windows: impl Windows) -> (Vec<Row>, Vec<Event>, u64) {
    let job = Job::new("oracle").stealing(case.stealing).priority(case.priority).epoch_order(case.order);
    let mut input = job
        .source("events", Scripted(case.events.clone()))
        .timestamps(|event: &Event| Time(event.0), Watermarks::bounded(case.disorder))
        .epochs(case.epochs)
        .bundle(case.bundle);
    let (late_sink, late) = gather();
    input.late().sink("late", late_sink);
    let (sink, rows) = gather();
    input
        .stream()
        .filter(|event| event.2 % 7 != 0)
        .flat_map(|(time, key, value)| [(time, key, value * 2), (time, key / 3, value)])
        .map(|(_, key, value)| (key, value))
        .key_by(|event| event.0)
        .window(windows)
        .aggregate((
            count(),
            sum(|event: &(u16, i32)| i64::from(event.1)),
            min(|event: &(u16, i32)| event.1),
            max(|event: &(u16, i32)| event.1),
            updraft_dataflow::aggregate::top_k(3, |event: &(u16, i32)| event.1.abs()),
        ))
        .sink("rows", sink);
    let metrics = case.driver.run(job);
    let row = |row: Windowed<u16, (u64, i64, i32, i32, Vec<(u16, i32)>)>| {
        let (count, sum, min, max, top) = row.value;
        let top = top.into_iter().map(|event| event.1).collect();
        (row.window.start, row.window.end, row.key, (count, sum, min, max, top))
    };
    let mut rows: Vec<_> = rows.take().into_iter().map(row).collect();
    rows.sort();
    (rows, late.take(), metrics.late())
}

fn check(
    case: &Case,
    windows: impl Windows,
    oracle: impl Fn(&[(Time, u16, i32)]) -> BTreeMap<(Window, u16), Vec<i32>>,
) {
    let (kept, mut behind) = split(case);
    let (rows, mut late, counted) = actual(case, windows);
    behind.sort();
    late.sort();
    assert_eq!(counted, behind.len() as u64);
    assert_eq!(late, behind);
    assert_eq!(rows, expected(oracle(&records(&kept))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn tumbling(case in cases()) {
        let windows = Tumbling::of(Duration::from_micros(case.size)).offset(Duration::from_micros(case.offset));
        check(&case, windows, |records| testing::windows(records, windows.slicing()));
    }

    #[test]
    fn sessions(case in cases()) {
        let gap = Duration::from_micros(case.size);
        check(&case, Session::with_gap(gap), |records| testing::sessions(records, gap));
    }

    /// A session is told before the watermark of the stage after has passed it.
    #[test]
    fn windows_of_sessions(case in cases(), size in 1u64..10_000) {
        let (gap, tumbling) = (Duration::from_micros(case.size), Tumbling::of(Duration::from_micros(size)));
        let job = Job::new("sessions").stealing(case.stealing).epoch_order(case.order);
        let (sink, rows) = gather();
        job.source("events", Scripted(case.events.clone()))
            .timestamps(|event: &Event| Time(event.0), Watermarks::bounded(case.disorder))
            .epochs(case.epochs)
            .bundle(case.bundle)
            .stream()
            .key_by(|event| event.1)
            .window(Session::with_gap(gap))
            .aggregate(count())
            .window_all(tumbling)
            .aggregate((count(), sum(|session: &Windowed<u16, u64>| session.value)))
            .sink("rows", sink);
        case.driver.run(job);
        let mut rows: Vec<_> = rows.take().into_iter().map(|row| (row.window, row.value)).collect();
        rows.sort();
        let events: Vec<_> = split(&case).0.into_iter().map(|(t, k, v)| (Time(t), k, v)).collect();
        let ended = testing::sessions(&events, gap).into_iter();
        let ended: Vec<_> = ended.map(|((window, _), records)| (Time(window.end.0 - 1), (), records.len() as u64)).collect();
        let expected = testing::windows(&ended, tumbling.slicing()).into_iter();
        let expected: Vec<_> = expected.map(|((window, ()), n)| (window, (n.len() as u64, n.iter().sum()))).collect();
        prop_assert_eq!(rows, expected);
    }

    /// The aggregates that are left, and a fold, by watermarks that the records declare themselves.
    #[test]
    fn other_aggregates(case in cases()) {
        let (tumbling, disorder) = (Tumbling::of(Duration::from_micros(case.size)), case.disorder);
        let job = Job::new("aggregates").stealing(case.stealing).epoch_order(case.order);
        let ((sink, rows), (total_sink, totals)) = (gather(), gather());
        let watermarks = Watermarks::custom(move |event: &Event| Some(Time(event.0) - disorder));
        let (one, other) = job
            .source("events", Scripted(case.events.clone()))
            .timestamps(|event: &Event| Time(event.0), watermarks)
            .epochs(case.epochs)
            .bundle(case.bundle)
            .stream()
            .fork();
        let totalled = project(|event: &Event| i64::from(event.2), (sum(|value: &i64| *value), count()));
        one.key_by(|event| event.1)
            .window(tumbling)
            .aggregate((avg(|event: &Event| f64::from(event.2)), reduce(|a: Event, b: Event| a.max(b)), totalled))
            .sink("rows", sink);
        let step = |total: &mut (u64, i64), event: Event| *total = (total.0 + 1, total.1 + i64::from(event.2));
        let merge = |total: &mut (u64, i64), other: (u64, i64)| *total = (total.0 + other.0, total.1 + other.1);
        other.fold((0, 0), step, merge).sink("total", total_sink);
        case.driver.run(job);
        let kept = split(&case).0;
        let events: Vec<_> = kept.iter().map(|event| (Time(event.0), event.1, *event)).collect();
        let total = |events: &[Event]| events.iter().map(|event| i64::from(event.2)).sum::<i64>();
        let value = |events: Vec<Event>| {
            let (total, len) = (total(&events), events.len());
            (total as f64 / len as f64, events.into_iter().max().unwrap(), (total, len as u64))
        };
        let expected = testing::windows(&events, tumbling.slicing()).into_iter();
        let expected: Vec<_> = expected.map(|((window, key), events)| (window, key, value(events))).collect();
        let mut rows: Vec<_> = rows.take().into_iter().map(|row| (row.window, row.key, row.value)).collect();
        rows.sort_by_key(|row| (row.0, row.1));
        prop_assert_eq!(rows, expected);
        prop_assert_eq!(totals.take(), [(kept.len() as u64, total(&kept))]);
    }

    #[test]
    fn cumulating(case in cases()) {
        let (step, offset) = (case.size as i64, case.offset as i64 - 2_500);
        let windows = Cumulating::of_micros(step * case.slides as i64, step).offset_micros(offset);
        check(&case, windows, |records| testing::windows(records, windows.slicing()));
    }

    #[test]
    fn sliding(case in cases()) {
        let slide = Duration::from_micros(case.size.div_ceil(case.slides));
        let windows = Sliding::of(Duration::from_micros(case.size), slide).offset(Duration::from_micros(case.offset));
        check(&case, windows, |records| testing::windows(records, windows.slicing()));
    }
}

/// So many keys that the tables go deep, on some kernels before others; and in the last window few again.
#[test]
fn many_keys() {
    let n = 600_000_i64;
    let keys = |time| if time < 2_000_000 { 300_007 } else { 50 };
    let events: Vec<_> = (0..n).map(|i| (i * 5, (i * 7_919 % keys(i * 5)) as u64, i)).collect();
    let mut sums = std::collections::BTreeMap::<(i64, u64), (u64, f64)>::new();
    for (time, key, value) in &events {
        let (count, total) = sums.entry((time / 1_000_000, *key)).or_default();
        *count += 1;
        *total += *value as f64;
    }
    for kernels in [1, 2, 3] {
        let job = Job::new("many");
        let (sink, rows) = gather();
        job.source("events", Scripted(vec![events.chunks(5_000).map(<[_]>::to_vec).collect()]))
            .timestamps(|event: &(i64, u64, i64)| Time(event.0), Watermarks::monotonic())
            .stream()
            .key_by(|event| event.1)
            .window(Tumbling::of(Duration::from_secs(1)))
            .aggregate((count(), avg(|event: &(i64, u64, i64)| event.2 as f64)))
            .sink("rows", sink);
        Driver::Threads(kernels).run(job);
        let rows = rows.take();
        assert_eq!(rows.len(), sums.len());
        for row in rows {
            let (count, total) = sums[&(row.window.start.0 / 1_000_000, row.key)];
            assert_eq!(row.value, (count, total / count as f64));
        }
    }
}
