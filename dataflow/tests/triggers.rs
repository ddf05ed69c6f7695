//! Windows that fire more than once, count windows and the global one, against their definitions. On threads and simulated.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use support::{Driver, drivers};
use updraft_dataflow::aggregate::{count, sum};
use updraft_dataflow::keyed::Clock;
use updraft_dataflow::testing::{Scripted, gather, late, sessions, windows};
use updraft_dataflow::window::{Fired, Global, Session, Sliced, Timing, Trigger};
use updraft_dataflow::{Batch, Epochs, Error, Job, Partition, Pipe, Sliding, Source, Stream, Time, Watermarks, Window};
use updraft_kernel::clock;
use updraft_kernel::sim::Sim;

/// Time, key, value.
type Event = (i64, u8, i64);
type Row = Fired<u8, (u64, i64)>;

#[derive(Clone, Debug)]
struct Case {
    events: Vec<Vec<Vec<Event>>>,
    disorder: Duration,
    epochs: Epochs,
    driver: Driver,
    size: Duration,
    slide: Duration,
    lateness: Duration,
}

fn cases(partitions: usize) -> impl Strategy<Value = Case> {
    let event = (0i64..4_000, 0u8..5, -9i64..9);
    let partition = proptest::collection::vec(proptest::collection::vec(event, 0..20), 0..20);
    let events = proptest::collection::vec(partition, 1..=partitions).prop_map(|partitions| {
        let shift = |i: usize, (t, k, v): Event| (t + 1_500 * i as i64, k, v);
        let batches = |batches: Vec<Vec<Event>>| {
            let batches = batches.into_iter().enumerate();
            batches.map(|(i, batch)| batch.into_iter().map(|event| shift(i, event)).collect()).collect()
        };
        partitions.into_iter().map(batches).collect::<Vec<Vec<Vec<Event>>>>()
    });
    let epochs = prop_oneof![
        (1u64..5_000).prop_map(|us| Epochs::WatermarkStep(Duration::from_micros(us))),
        (1usize..60).prop_map(Epochs::Records),
    ];
    let lateness = prop_oneof![Just(0), 0u64..5_000, Just(1_000_000_000)];
    (events, 0u64..2_000, epochs, drivers(), 1u64..4_000, 1u64..4, lateness).prop_map(
        |(events, disorder, epochs, driver, size, slides, lateness)| Case {
            events,
            disorder: Duration::from_micros(disorder),
            epochs,
            driver,
            size: Duration::from_micros(size),
            slide: Duration::from_micros(size.div_ceil(slides)),
            lateness: Duration::from_micros(lateness),
        },
    )
}

fn input(job: &Job, case: &Case) -> Stream<Event, impl Pipe<Event, Out = Event> + use<>> {
    job.source("events", Scripted(case.events.clone()))
        .timestamps(|event: &Event| Time(event.0), Watermarks::bounded(case.disorder))
        .epochs(case.epochs)
        .stream()
}

fn all(case: &Case) -> Vec<(Time, u8, i64)> {
    case.events.concat().concat().into_iter().map(|(t, k, v)| (Time(t), k, v)).collect()
}

fn sums(windows: BTreeMap<(Window, u8), Vec<i64>>) -> BTreeMap<(Window, u8), (u64, i64)> {
    windows.into_iter().map(|(window, values)| (window, (values.len() as u64, values.iter().sum()))).collect()
}

/// Of each window what it told last; checks that it told it in a proper order.
fn last(rows: &[Row]) -> BTreeMap<(Window, u8), (u64, i64)> {
    let mut last = BTreeMap::new();
    let mut before = BTreeMap::<_, (Timing, u32)>::new();
    for fired in rows {
        let window = (fired.row.window, fired.row.key);
        if let Some((timing, index)) = before.insert(window, (fired.timing, fired.index)) {
            assert!(fired.index > index, "{fired:?} after {index}");
            assert!(fired.timing >= timing && (fired.timing, timing) != (Timing::OnTime, Timing::OnTime), "{fired:?}");
        }
        last.insert(window, fired.row.value);
    }
    last
}

/// Without those that were told to have come too late.
fn without(mut records: Vec<(Time, u8, i64)>, late: &[Event]) -> Vec<(Time, u8, i64)> {
    for (t, k, v) in late {
        let at = records.iter().position(|record| *record == (Time(*t), *k, *v)).expect("what is late was a record");
        records.swap_remove(at);
    }
    records
}

fn aggregates() -> (updraft_dataflow::aggregate::Count, updraft_dataflow::aggregate::Sum<impl Fn(&Event) -> i64 + Clone>)
{
    (count(), sum(|event: &Event| event.2))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn late_records_are_taken_in(case in cases(3), early in 1u64..5, late_each in 1u64..4) {
        let kind = Sliding::of(case.size, case.slide);
        let job = Job::new("late");
        let (sink, rows) = gather();
        let (late_sink, too_late) = gather();
        let trigger = Trigger::at_watermark().early_each(early).late_each(late_each);
        let (fired, late_ones) = input(&job, &case)
            .key_by(|event| event.1)
            .window(kind)
            .trigger(trigger)
            .allowed_lateness(case.lateness)
            .aggregate_with_late(aggregates());
        fired.sink("rows", sink);
        late_ones.sink("late", late_sink);
        let metrics = case.driver.run(job);
        let (rows, too_late) = (rows.take(), too_late.take());
        prop_assert!(too_late.len() as u64 <= metrics.late());
        if case.lateness > Duration::from_secs(1) {
            prop_assert!(too_late.is_empty());
        }
        // A record of which only the last windows were open is in those alone: told apart where windows don't overlap.
        if case.slide == case.size {
            prop_assert_eq!(last(&rows), sums(windows(&without(all(&case), &too_late), kind.slicing())));
        } else if metrics.late() == 0 {
            prop_assert_eq!(last(&rows), sums(windows(&all(&case), kind.slicing())));
        }
        for fired in rows.iter().filter(|fired| fired.timing == Timing::Early) {
            prop_assert_eq!(fired.row.value.0, early * u64::from(fired.index + 1));
        }
    }

    #[test]
    fn late_records_join_sessions(case in cases(2)) {
        let job = Job::new("late sessions");
        let (sink, rows) = gather();
        let (late_sink, too_late) = gather();
        let (fired, late_ones) = input(&job, &case)
            .key_by(|event| event.1)
            .window(Session::with_gap(case.size))
            .allowed_lateness(case.lateness)
            .aggregate_with_late(aggregates());
        fired.sink("rows", sink);
        late_ones.sink("late", late_sink);
        case.driver.run(job);
        let (rows, too_late) = (rows.take(), too_late.take());
        let expected = sums(sessions(&without(all(&case), &too_late), case.size));
        let told: BTreeMap<_, _> = rows.iter().map(|fired| ((fired.row.window, fired.row.key), fired.row.value)).collect();
        if case.lateness > Duration::from_secs(1) {
            prop_assert!(too_late.is_empty());
            for (session, value) in &expected {
                prop_assert_eq!(told.get(session), Some(value));
            }
        }
        // What was told of sessions that have grown since is of a part of them.
        for (window, key) in told.keys() {
            let within = |(session, of): &(Window, u8)| {
                of == key && session.start <= window.start && session.end >= window.end
            };
            prop_assert!(case.lateness < Duration::from_secs(1) || expected.keys().any(within));
        }
    }

    #[test]
    fn what_is_discarded_adds_up(case in cases(3), early in 1u64..5) {
        let kind = Sliding::of(case.size, case.size);
        let job = Job::new("discarding");
        let (sink, rows) = gather();
        input(&job, &case)
            .key_by(|event| event.1)
            .window(kind)
            .trigger(Trigger::at_watermark().early_each(early).discarding())
            .allowed_lateness(Duration::from_secs(1_000))
            .aggregate(aggregates())
            .sink("rows", sink);
        case.driver.run(job);
        let mut added = BTreeMap::<(Window, u8), (u64, i64)>::new();
        for fired in rows.take() {
            let (count, sum) = added.entry((fired.row.window, fired.row.key)).or_default();
            *count += fired.row.value.0;
            *sum += fired.row.value.1;
        }
        prop_assert_eq!(added, sums(windows(&all(&case), kind.slicing())));
    }

    /// The windows that fire once, and those that could fire more often.
    #[test]
    fn both_kinds_of_windows_agree(case in cases(3)) {
        let kind = Sliding::of(case.size, case.slide);
        let run = |triggered: bool| {
            let job = Job::new("both");
            let (sink, rows) = gather();
            // Without the late ones: those are not taken in by windows that fire once, even if they could be.
            let stream = input(&job, &case).materialize();
            let windowed = stream.key_by(|event| event.1).window(kind);
            if triggered {
                let fired = windowed.trigger(Trigger::at_watermark()).aggregate(aggregates());
                fired.map(|fired| fired.row).sink("rows", sink);
            } else {
                windowed.aggregate(aggregates()).sink("rows", sink);
            }
            case.driver.run(job);
            let mut rows = rows.take();
            rows.sort();
            rows
        };
        prop_assert_eq!(run(true), run(false));
    }

    #[test]
    fn counts_and_the_whole(case in cases(1), size in 1u64..12, slide in 1u64..12) {
        let slide = slide.min(size);
        let job = Job::new("counts");
        let (sink, rows) = gather();
        let (whole_sink, whole) = gather();
        let (one, other) = input(&job, &case).fork();
        one.key_by(|event| event.1).sliding_count_window(size, slide, aggregates()).sink("rows", sink);
        other.key_by(|event| event.1).window(Global).aggregate(aggregates()).sink("whole", whole_sink);
        case.driver.run(job);
        let events = case.events.concat().concat();
        let times: Vec<_> = events.iter().map(|event| Time(event.0)).collect();
        let late = late(&times, case.disorder, case.epochs);
        let mut by_key = BTreeMap::<u8, Vec<i64>>::new();
        let kept = events.iter().zip(late).filter(|(_, late)| !late);
        kept.for_each(|(event, _)| by_key.entry(event.1).or_default().push(event.2));
        let total = |values: &[i64]| (values.len() as u64, values.iter().sum::<i64>());
        let mut expected = BTreeMap::<u8, Vec<(u64, i64)>>::new();
        for (key, values) in &by_key {
            for end in (slide..=values.len() as u64).step_by(slide as usize) {
                let window = &values[end.saturating_sub(size) as usize..end as usize];
                expected.entry(*key).or_default().push(total(window));
            }
        }
        let mut told = BTreeMap::<u8, Vec<(u64, i64)>>::new();
        rows.take().into_iter().for_each(|(key, value)| told.entry(key).or_default().push(value));
        prop_assert_eq!(told, expected);
        let whole: BTreeMap<_, _> = whole.take().into_iter().map(|row| (row.key, row.value)).collect();
        prop_assert_eq!(whole, by_key.iter().map(|(key, values)| (*key, total(values))).collect());
    }
}

/// A record a second, for a minute.
struct Ticking(u64);

impl Source for Ticking {
    type Item = Event;
    type Partition = Self;
    fn open(self) -> Result<Vec<Self>, Error> {
        Ok(vec![self])
    }
}

impl Partition for Ticking {
    type Item = Event;
    async fn next(&mut self, _: usize) -> Result<Option<Batch<Event>>, Error> {
        self.0 += 1;
        clock::sleep(Duration::from_secs(1)).await;
        Ok((self.0 <= 60).then(|| vec![(self.0 as i64, 1, 1)].into()))
    }
    fn position(&self) -> String {
        self.0.to_string()
    }
}

#[test]
fn windows_by_processing_time() {
    for seed in 0..10 {
        let sim = Sim::builder(seed).kernels(2).build();
        let job = Job::new("arrivals");
        let (sink, rows) = gather();
        job.source("ticks", Ticking(0))
            .epochs(Epochs::WallClock(Duration::from_millis(100)))
            .stream_by_arrival()
            .key_by(|event| event.1)
            .window(updraft_dataflow::Tumbling::of(Duration::from_secs(10)))
            .aggregate(aggregates())
            .sink("rows", sink);
        sim.block_on(job.start(sim.handle()).unwrap().join()).unwrap();
        let mut rows = rows.take();
        rows.sort();
        let counts: Vec<_> = rows.iter().map(|row| row.value.0).collect();
        assert_eq!(counts.iter().sum::<u64>(), 60);
        assert!((6..=7).contains(&counts.len()), "{counts:?}");
        assert!(counts[1..counts.len() - 1].iter().all(|count| (9..=10).contains(count)), "{counts:?}");
    }
}

#[test]
fn early_results_by_processing_time() {
    for seed in 0..10 {
        let sim = Sim::builder(seed).kernels(2).build();
        let job = Job::new("early");
        let (sink, rows) = gather();
        job.source("ticks", Ticking(0))
            .stream()
            .key_by(|event| event.1)
            .window(Global)
            .trigger(Trigger::at_watermark().early_every(Duration::from_secs(10), Clock::Processing))
            .tick(Duration::from_millis(50))
            .aggregate(aggregates())
            .sink("rows", sink);
        sim.block_on(job.start(sim.handle()).unwrap().join()).unwrap();
        let rows = rows.take();
        let (last, early) = rows.split_last().unwrap();
        assert_eq!((last.timing, last.row.value), (Timing::OnTime, (60, 60)));
        assert!((5..=6).contains(&early.len()), "{early:?}");
        assert!(early.iter().all(|fired| fired.timing == Timing::Early));
        let counts: Vec<_> = early.iter().map(|fired| fired.row.value.0).collect();
        assert!(counts.windows(2).all(|pair| (9..=12).contains(&(pair[1] - pair[0]))), "{counts:?}");
    }
}
