//! Windows over columns against windows over records: the same rows, whatever the disorder, the epochs, how rows lie in
//! batches, the windows and the number of kernels. On threads and simulated.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use support::Driver;
use support::grouping::{CountAndSum, Event, Row, column, events, results, rows};
use updraft_dataflow::aggregate::{count, sum};
use updraft_dataflow::testing::{Scripted, gather};
use updraft_dataflow::window::{Global, Sliced};
use updraft_dataflow::{
    Cumulating, Epochs, Job, RowWatermarks, Rows, Sliding, Time, Tumbling, Watermarks, Window, Windowed,
};

#[derive(Clone, Debug)]
struct Case {
    /// By partition.
    events: Vec<Vec<Event>>,
    disorder: Duration,
    /// Whether rows say their watermarks themselves.
    each: bool,
    epochs: Epochs,
    size: i64,
    slides: i64,
    offset: i64,
    /// Rows of a batch, in turn.
    batches: Vec<usize>,
    driver: Driver,
}

fn drivers() -> impl Strategy<Value = Driver> {
    prop_oneof![
        (1usize..5).prop_map(Driver::Threads),
        (any::<u64>(), 1usize..5, prop_oneof![Just(0.0), 0.0..0.2])
            .prop_map(|(seed, kernels, stalls)| Driver::Simulated(seed, kernels, stalls)),
    ]
}

fn cases() -> impl Strategy<Value = Case> {
    let event = (0i64..5_000, prop_oneof![Just(7i64), 0i64..20, any::<i64>()], -50i64..50);
    let partition = proptest::collection::vec(event, 0..600).prop_map(|events| {
        // Time moves on slowly.
        let ascending = events.into_iter().enumerate();
        ascending.map(|(i, (time, key, value))| (time + 60 * i as i64 - 9_000, key, value)).collect()
    });
    let epochs = prop_oneof![
        (1u64..20_000).prop_map(|us| Epochs::WatermarkStep(Duration::from_micros(us))),
        (1usize..200).prop_map(Epochs::Records),
    ];
    (
        (proptest::collection::vec(partition, 1..4), 0u64..8_000, any::<bool>(), epochs),
        (1i64..6_000, 1i64..6, -5_000i64..5_000),
        (proptest::collection::vec(1usize..150, 1..5), drivers()),
    )
        .prop_map(|((events, disorder, each, epochs), (size, slides, offset), (batches, driver))| {
            let disorder = Duration::from_micros(disorder);
            Case { events, disorder, each, epochs, size, slides, offset, batches, driver }
        })
}

impl Case {
    /// The events in batches of columns.
    fn columns(&self) -> Scripted<Rows> {
        let partition = |events: &Vec<Event>| {
            let (mut rest, mut batches) = (&events[..], Vec::new());
            for size in self.batches.iter().cycle() {
                if rest.is_empty() {
                    return batches;
                }
                let (batch, after) = rest.split_at(rest.len().min(*size));
                batches.push(vec![rows(batch)]);
                rest = after;
            }
            batches
        };
        Scripted(self.events.iter().map(partition).collect())
    }
}

/// What has come of a job: its rows, and the events that were late.
type Outcome = (Vec<Row>, Vec<Event>, u64);

fn outcome(mut rows: Vec<Row>, mut late: Vec<Event>, counted: u64) -> Outcome {
    rows.sort();
    late.sort();
    (rows, late, counted)
}

fn by_columns(case: &Case, windows: impl Sliced) -> Outcome {
    let job = Job::new("columns");
    let ((sink, gathered), (late_sink, late)) = (gather(), gather());
    let disorder = case.disorder;
    let says = move |rows: &Rows| column(rows.batch(), 0).iter().map(|time| (Time(*time) - disorder).0).collect();
    let watermarks = if case.each { RowWatermarks::each(says) } else { RowWatermarks::bounded(disorder) };
    let mut input = job
        .source("events", case.columns())
        .row_timestamps(|rows: &Rows| column(rows.batch(), 0).to_vec(), watermarks)
        .epochs(case.epochs);
    input.late().sink("late", late_sink);
    // A filter between, so that the rows of a window do not lie as they came.
    let kept = |rows: Rows| {
        let kept = column(rows.batch(), 2).iter().map(|value| Some(value % 7 != 0)).collect();
        rows.filter(&kept).unwrap()
    };
    input.stream().map(kept).window_rows("count and sum", windows, CountAndSum::default()).sink("rows", sink);
    let metrics = case.driver.run(job);
    let total: usize = case.events.iter().map(Vec::len).sum();
    assert_eq!(metrics.sources[0].records(), total as u64);
    let gathered: Vec<Rows> = gathered.take();
    outcome(gathered.iter().flat_map(results).collect(), late.take().iter().flat_map(events).collect(), metrics.late())
}

fn by_records(case: &Case, windows: impl Sliced) -> Outcome {
    let job = Job::new("records");
    let ((sink, gathered), (late_sink, late)) = (gather(), gather());
    let disorder = case.disorder;
    let watermarks = match case.each {
        true => Watermarks::custom(move |event: &Event| Some(Time(event.0) - disorder)),
        false => Watermarks::bounded(disorder),
    };
    let mut input = job
        .source("events", Scripted(case.events.iter().map(|events| vec![events.clone()]).collect()))
        .timestamps(|event: &Event| Time(event.0), watermarks)
        .epochs(case.epochs);
    input.late().sink("late", late_sink);
    input
        .stream()
        .filter(|event| event.2 % 7 != 0)
        .key_by(|event| event.1)
        .window(windows)
        .aggregate((count(), sum(|event: &Event| event.2)))
        .sink("rows", sink);
    let metrics = Driver::Threads(1).run(job);
    let gathered: Vec<Windowed<i64, (u64, i64)>> = gathered.take();
    let rows = gathered.into_iter().map(|row| (row.window, row.key, row.value)).collect();
    outcome(rows, late.take(), metrics.late())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn tumbling(case in cases()) {
        let windows = Tumbling::of_micros(case.size).offset_micros(case.offset);
        prop_assert_eq!(by_columns(&case, windows), by_records(&case, windows));
    }

    #[test]
    fn sliding(case in cases()) {
        let slide = (case.size as u64).div_ceil(case.slides as u64) as i64;
        let windows = Sliding::of_micros(case.size, slide).offset_micros(case.offset);
        prop_assert_eq!(by_columns(&case, windows), by_records(&case, windows));
    }

    #[test]
    fn cumulating(case in cases()) {
        let windows = Cumulating::of_micros(case.size * case.slides, case.size).offset_micros(case.offset);
        prop_assert_eq!(by_columns(&case, windows), by_records(&case, windows));
    }

    #[test]
    fn global(case in cases()) {
        prop_assert_eq!(by_columns(&case, Global), by_records(&case, Global));
    }

    /// Without event time, with a key and without one, by the definition.
    #[test]
    fn when_the_stream_ends(case in cases(), keyless: bool) {
        let job = Job::new("whole");
        let (sink, gathered) = gather();
        job.source("events", case.columns())
            .epochs(case.epochs)
            .stream()
            .window_rows("count and sum", Global, CountAndSum { keyless, by_arrival: false })
            .sink("rows", sink);
        case.driver.run(job);
        let mut expected = BTreeMap::<i64, (u64, i64)>::new();
        if keyless {
            expected.insert(0, (0, 0));
        }
        for (_, key, value) in case.events.concat() {
            let group = expected.entry(if keyless { 0 } else { key }).or_default();
            *group = (group.0 + 1, group.1 + value);
        }
        let window = Window { start: Time::MIN, end: Time::MAX };
        let mut rows: Vec<Row> = gathered.take().iter().flat_map(results).collect();
        rows.sort();
        prop_assert_eq!(rows, expected.into_iter().map(|(key, value)| (window, key, value)).collect::<Vec<_>>());
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// So many keys that hash ranges are dealt out.
    #[test]
    fn many_keys(driver in drivers(), keys in 5_000i64..30_000) {
        let events: Vec<Event> = (0..60_000).map(|i| (i, i * 7_919 % keys, i)).collect();
        let case = Case {
            events: vec![events], disorder: Duration::ZERO, each: false,
            epochs: Epochs::WatermarkStep(Duration::from_millis(5)),
            size: 20_000, slides: 2, offset: 0, batches: vec![4_000], driver,
        };
        let (tumbling, sliding) = (Tumbling::of_micros(case.size), Sliding::of_micros(case.size, case.size / 2));
        prop_assert_eq!(by_columns(&case, tumbling), by_records(&case, tumbling));
        prop_assert_eq!(by_columns(&case, sliding), by_records(&case, sliding));
        prop_assert_eq!(by_columns(&case, Global), by_records(&case, Global));
    }
}

#[test]
fn by_arrival() {
    let events: Vec<Event> = (0..1_000).map(|i| (0, i % 10, 1)).collect();
    let job = Job::new("arrival");
    let (sink, gathered) = gather();
    job.source("events", Scripted(vec![events.chunks(100).map(|some| vec![rows(some)]).collect()]))
        .stream_by_arrival()
        .window_rows("count", Tumbling::of(Duration::from_secs(60)), CountAndSum { keyless: false, by_arrival: true })
        .sink("rows", sink);
    Driver::Threads(2).run(job);
    let rows: Vec<Row> = gathered.take().iter().flat_map(results).collect();
    assert!(rows.iter().all(|(window, ..)| window.start.0 > 0), "calendar times: {rows:?}");
    assert_eq!(rows.iter().map(|(.., (count, _))| count).sum::<u64>(), 1_000);
}

#[test]
fn times_that_are_not_one_for_each_row_end_the_job() {
    let job = Job::new("wrong");
    let (sink, _) = gather();
    job.source("events", Scripted(vec![vec![vec![rows(&[(1, 1, 1), (2, 2, 2)])]]]))
        .row_timestamps(|_: &Rows| vec![0], RowWatermarks::bounded(Duration::ZERO))
        .stream()
        .window_rows("count", Tumbling::of_micros(1), CountAndSum::default())
        .sink("rows", sink);
    let error = job.run().unwrap_err().to_string();
    assert!(error.contains("1 event times were read from 2 rows"), "{error}");
}

#[test]
#[should_panic(expected = "needs event time")]
fn windows_that_end_need_event_time() {
    let job = Job::new("untimed");
    let source = job.source("events", Scripted(vec![vec![vec![rows(&[(1, 1, 1)])]]]));
    let _ = source.stream().window_rows("count", Tumbling::of_micros(1), CountAndSum::default());
}
