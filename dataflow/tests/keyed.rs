//! Keyed processing: order within a key, timers, time to live, several inputs, snapshots; on threads and simulated.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use support::{Driver, drivers};
use updraft_dataflow::keyed::{Clock, Context, KeyedStage, Process, TimeToLive, Timer};
use updraft_dataflow::testing::{Scripted, Stored, gather, late};
use updraft_dataflow::{
    Batch, Bundle, Epoch, Epochs, Error, Generation, Job, Partition, Punctuation, Source, Stage, Time, Watermarks,
};
use updraft_kernel::sim::Sim;
use updraft_kernel::{Class, clock};

/// Partition, number within it, time, key.
type Event = (usize, usize, i64, u16);

#[derive(Clone, Debug)]
struct Case {
    events: Vec<Vec<Vec<Event>>>,
    disorder: Duration,
    epochs: Epochs,
    bundle: usize,
    driver: Driver,
}

fn cases(partitions: usize) -> impl Strategy<Value = Case> {
    let event = (0i64..3_000, prop_oneof![Just(7u16), 0u16..20, any::<u16>()]);
    let partition = proptest::collection::vec(proptest::collection::vec(event, 0..40), 0..30);
    let events = proptest::collection::vec(partition, 1..=partitions).prop_map(|partitions| {
        let number = |(p, batches): (usize, Vec<Vec<(i64, u16)>>)| {
            let mut n = 0;
            let mut event = |batch, (time, key)| {
                n += 1;
                (p, n, time + 1_500 * batch as i64, key)
            };
            let batches = batches.into_iter().enumerate();
            batches.map(|(i, batch)| batch.into_iter().map(|e| event(i, e)).collect()).collect()
        };
        partitions.into_iter().enumerate().map(number).collect()
    });
    let epochs = prop_oneof![
        (1u64..20_000).prop_map(|us| Epochs::WatermarkStep(Duration::from_micros(us))),
        (1usize..200).prop_map(Epochs::Records),
    ];
    (events, 0u64..4_000, epochs, 1usize..100, drivers()).prop_map(|(events, disorder, epochs, bundle, driver)| Case {
        events,
        disorder: Duration::from_micros(disorder),
        epochs,
        bundle,
        driver,
    })
}

/// The events of a partition that are in time.
fn in_time(case: &Case, partition: usize) -> Vec<Event> {
    let events = case.events[partition].concat();
    let times: Vec<_> = events.iter().map(|event| Time(event.2)).collect();
    let late = late(&times, case.disorder, case.epochs);
    events.into_iter().zip(late).filter(|(_, late)| !late).map(|(event, _)| event).collect()
}

fn input(job: &Job, case: &Case) -> updraft_dataflow::Stream<Event, impl updraft_dataflow::Pipe<Event, Out = Event>> {
    job.source("events", Scripted(case.events.clone()))
        .timestamps(|event: &Event| Time(event.2), Watermarks::bounded(case.disorder))
        .epochs(case.epochs)
        .bundle(case.bundle)
        .stream()
}

/// Tells each record with the ones of its key that were before it.
#[derive(Clone)]
struct History;

impl Process<u16, Event> for History {
    type State = Vec<Event>;
    type Out = (u16, Vec<Event>);

    fn record(&mut self, event: Event, seen: &mut Vec<Event>, cx: &mut Context<'_, u16, Self::Out>) {
        assert_eq!((event.2, event.3), (cx.time().0, *cx.key()));
        seen.push(event);
        cx.emit((event.3, seen.clone()));
    }

    fn heap_bytes(&self, seen: &Vec<Event>) -> usize {
        seen.capacity() * size_of::<Event>()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Also through a stage in between, and all the way to the sink.
    #[test]
    fn records_of_a_key_stay_in_the_order_of_their_partition(case in cases(3), detour: bool) {
        let job = Job::new("history");
        let (sink, rows) = gather();
        let stream = input(&job, &case);
        let keyed = if detour {
            stream.materialize().fork().0.key_by(|event| event.3).process(History)
        } else {
            stream.key_by(|event| event.3).process(History)
        };
        keyed.sink("rows", sink);
        case.driver.run(job);
        let mut last = BTreeMap::<u16, Vec<Event>>::new();
        for (key, history) in rows.take() {
            let before = last.entry(key).or_default();
            prop_assert_eq!(&history[..history.len() - 1], &before[..], "results of a key are in order, each once");
            *before = history;
        }
        for partition in 0..case.events.len() {
            let mut expected = BTreeMap::<u16, Vec<Event>>::new();
            in_time(&case, partition).into_iter().for_each(|event| expected.entry(event.3).or_default().push(event));
            for (key, events) in expected {
                let all = last.get(&key).cloned().unwrap_or_default();
                let seen: Vec<_> = all.into_iter().filter(|event| event.0 == partition).collect();
                prop_assert_eq!(seen, events);
            }
        }
    }

    #[test]
    fn timers_fire_once_in_order_after_all_that_was_before(case in cases(3)) {
        let job = Job::new("timers");
        let (sink, rows) = gather();
        input(&job, &case).key_by(|event| event.3).process(Alarms).sink("rows", sink);
        case.driver.run(job);
        let mut set = BTreeMap::<u16, Vec<i64>>::new();
        let mut before = BTreeMap::<u16, Vec<i64>>::new();
        for event in (0..case.events.len()).flat_map(|partition| in_time(&case, partition)) {
            before.entry(event.3).or_default().push(event.2);
            set.entry(event.3).or_default().extend(BTreeSet::from(alarms(&event)));
        }
        let mut fired = BTreeMap::<u16, Vec<i64>>::new();
        for (key, at, seen) in rows.take() {
            let earlier = before[&key].iter().filter(|time| **time < at).count();
            prop_assert!(seen >= earlier, "{seen} seen, {earlier} were before");
            fired.entry(key).or_default().push(at);
        }
        for (key, times) in &mut set {
            let fired = fired.entry(*key).or_default();
            let count = |times: &[i64], at: i64| times.iter().filter(|time| **time == at).count();
            for at in fired.iter() {
                prop_assert!(count(fired, *at) <= count(times, *at), "fired more often than it was set");
            }
            times.sort();
            times.dedup();
            // What is set anew after it has fired fires again, at once; else in order.
            let mut once = fired.clone();
            once.sort();
            once.dedup();
            prop_assert_eq!(&once, times);
        }
    }

    #[test]
    fn a_key_lives_as_long_as_it_is_touched(
        gaps in proptest::collection::vec((0i64..2_000, 0u16..4), 0..200),
        live in 1u64..5_000,
        step in 1u64..5_000,
        driver in drivers(),
    ) {
        let mut now = 0;
        let mut times = |gap: i64| { now += gap; now };
        let events: Vec<Event> = gaps.iter().enumerate().map(|(n, (gap, key))| (0, n, times(*gap), *key)).collect();
        let job = Job::new("live");
        let (sink, rows) = gather();
        job.source("events", Scripted(vec![events.chunks(7).map(<[_]>::to_vec).collect()]))
            .timestamps(|event: &Event| Time(event.2), Watermarks::monotonic())
            .epochs(Epochs::WatermarkStep(Duration::from_micros(step)))
            .stream()
            .key_by(|event| event.3)
            .shuffle()
            .time_to_live(TimeToLive { span: Duration::from_micros(live), clock: Clock::Event })
            .process(History)
            .sink("rows", sink);
        driver.run(job);
        let mut expected = Vec::new();
        let mut model = BTreeMap::<u16, (i64, usize)>::new();
        for event in &events {
            let (last, count) = model.entry(event.3).or_default();
            *count = if *count > 0 && event.2 - *last < live as i64 { *count + 1 } else { 1 };
            *last = event.2;
            expected.push((event.1, *count));
        }
        let mut seen: Vec<_> = rows.take().iter().map(|(_, all)| (all.last().unwrap().1, all.len())).collect();
        seen.sort();
        prop_assert_eq!(seen, expected);
    }

    /// Whatever was snapshot goes on, with another number of drivers, as if nothing had happened.
    #[test]
    fn a_snapshot_goes_on_where_it_was_taken(
        epochs in proptest::collection::vec(proptest::collection::vec((0i64..3_000, 0u16..50), 0..60), 1..12),
        before in 1usize..4,
        after in 1usize..4,
        cut in 0usize..12,
    ) {
        let events = |e: usize| epochs[e].iter().map(move |(t, k)| (0, 0, t + 1_000 * e as i64, *k)).collect::<Vec<Event>>();
        let live = TimeToLive { span: Duration::from_millis(4), clock: Clock::Event };
        let stage = |drivers| KeyedStage::<u16, Event, Alarms>::new(Alarms, Some(live), drivers, Time(0));
        let run = |cut: usize, drivers: [usize; 2]| {
            let mut stages = drivers.map(|drivers| Driven::new(stage(drivers), drivers));
            let (mut now, mut stored) = (0, Stored::default());
            for e in 0..epochs.len() {
                if now == 0 && e != cut {
                    stored.take(&stages[0].stage, &stages[0].locals, Generation(0));
                }
                if e == cut {
                    // What comes while it is saved does not show.
                    let rows = stages[0].rows.len();
                    stored.begin(&stages[0].stage, &stages[0].locals, Generation(0));
                    stages[0].epoch(e as u64, events(e), Time(1_000 * (e as i64 + 1)));
                    stored.finish(&stages[0].stage, &stages[0].locals);
                    stages[0].rows.truncate(rows);
                    let at = Punctuation { epoch: Epoch(0), watermark: Time(1_000 * e as i64), now: Time(0) };
                    stored.restore(&stages[1].stage, &stages[1].locals, at).unwrap();
                    now = 1;
                }
                stages[now].epoch(e as u64, events(e), Time(1_000 * (e as i64 + 1)));
            }
            stages[now].epoch(epochs.len() as u64, Vec::new(), Time::MAX);
            let mut rows: Vec<_> = stages.into_iter().flat_map(|stage| stage.rows).collect();
            rows.sort();
            rows
        };
        prop_assert_eq!(run(cut.min(epochs.len() - 1), [before, after]), run(usize::MAX, [1, 1]));
    }
}

/// Two timers for each event: at random, but a function of it.
fn alarms(event: &Event) -> [i64; 2] {
    [event.2 + (event.2 * 7 % 1_000), event.2 + (event.2 * 13 % 9_000)]
}

/// Sets timers; tells when they fire, and how many records of the key have come until then.
#[derive(Clone)]
struct Alarms;

#[derive(Clone, Default, Serialize, Deserialize)]
struct Armed {
    seen: usize,
    last: Option<Time>,
}

impl Process<u16, Event> for Alarms {
    type State = Armed;
    type Out = (u16, i64, usize);

    fn record(&mut self, event: Event, armed: &mut Armed, cx: &mut Context<'_, u16, Self::Out>) {
        armed.seen += 1;
        let decoy = Time(event.2 + 100_000_000);
        cx.set_timer(decoy);
        for at in alarms(&event) {
            cx.set_timer(Time(at));
            cx.set_timer(Time(at));
        }
        cx.delete_timer(decoy);
    }

    fn timer(&mut self, timer: Timer, armed: &mut Armed, cx: &mut Context<'_, u16, Self::Out>) {
        assert!(timer.at <= cx.watermark() && timer.clock == Clock::Event);
        cx.emit((*cx.key(), timer.at.0, armed.seen));
        armed.last = Some(timer.at);
    }
}

/// Events with their key and time.
#[derive(Clone)]
struct Keyed;

impl updraft_dataflow::Pipe<Event> for Keyed {
    type Out = (u16, Event);
    fn push(&self, _: Time, event: Event, next: &mut impl FnMut(Time, (u16, Event))) {
        next(Time(event.2), (event.3, event));
    }
}

/// A stage that the test drives.
struct Driven<S: Stage> {
    stage: S,
    locals: Vec<S::Local>,
    rows: Vec<S::Out>,
}

impl<S: Stage<In = (u16, Event)>> Driven<S> {
    fn new(stage: S, drivers: usize) -> Self {
        let locals = (0..drivers).map(|driver| stage.local(driver)).collect();
        Self { stage, locals, rows: Vec::new() }
    }

    fn epoch(&mut self, epoch: u64, events: Vec<Event>, watermark: Time) {
        let shuffle = updraft_dataflow::keyed::ShuffleStage::new(Keyed, self.locals.len());
        let mut bundles = Vec::<Bundle<(u16, Event)>>::new();
        shuffle.bundle(&shuffle.local(0), Generation(0), events.into(), &mut |bundle| bundles.push(bundle));
        let rows = &mut self.rows;
        for bundle in bundles {
            let local = &self.locals[bundle.owner().unwrap()];
            self.stage.bundle(local, Generation(0), bundle, &mut |out| rows.extend(out.into_vec()));
        }
        let punctuation = Punctuation { epoch: Epoch(epoch), watermark, now: Time(0) };
        for part in self.stage.seal(&self.locals, punctuation) {
            let local = &self.locals[self.stage.owner(&part).unwrap()];
            self.stage.part(local, part, &mut |out| rows.extend(out.into_vec()));
        }
    }
}

/// A source that waits between its records, by the clock.
struct Slow(Vec<(Duration, Event)>);

impl Source for Slow {
    type Item = Event;
    type Partition = Self;
    fn open(self) -> Result<Vec<Self>, Error> {
        Ok(vec![self])
    }
}

impl Partition for Slow {
    type Item = Event;
    async fn next(&mut self, _: usize) -> Result<Option<Batch<Event>>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (wait, event) = self.0.remove(0);
        clock::sleep(wait).await;
        Ok(Some(vec![event].into()))
    }
    fn position(&self) -> String {
        String::new()
    }
}

/// Tells by the calendar when an hour has passed since the key's first record.
#[derive(Clone)]
struct Hour(Arc<(AtomicUsize, AtomicUsize)>);

impl Process<u16, Event> for Hour {
    type State = bool;
    type Out = (u16, Duration, Duration);

    fn open(&mut self, driver: usize, drivers: usize) {
        assert!(driver < drivers);
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
    fn record(&mut self, _: Event, begun: &mut bool, cx: &mut Context<'_, u16, Self::Out>) {
        if !std::mem::replace(begun, true) {
            cx.set_processing_timer(cx.now() + Duration::from_secs(3600));
        }
    }
    fn timer(&mut self, timer: Timer, _: &mut bool, cx: &mut Context<'_, u16, Self::Out>) {
        assert_eq!(timer.clock, Clock::Processing);
        let micros = |time: Time| Duration::from_micros(time.0 as u64);
        cx.emit((*cx.key(), micros(timer.at), micros(cx.now())));
        cx.clear();
    }
    fn close(&mut self) {
        self.0.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn processing_time_passes_without_records() {
    for seed in 0..20 {
        let sim = Sim::builder(seed).kernels(3).build();
        let begin = sim.block_on(async { clock::wall() });
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let events = vec![
            (minutes(1), (0, 0, 5, 1)),
            (minutes(10), (0, 1, 6, 2)),
            (minutes(20), (0, 2, 7, 1)),
            (minutes(300), (0, 3, 8, 3)),
        ];
        let calls = Arc::default();
        let job = Job::new("hours").class(Class::Batch);
        let (sink, rows) = gather();
        job.source("events", Slow(events))
            .timestamps(|event: &Event| Time(event.2), Watermarks::monotonic())
            .stream()
            .key_by(|event| event.3)
            .shuffle()
            .tick(Duration::from_secs(1))
            .process(Hour(Arc::clone(&calls)))
            .sink("rows", sink);
        sim.block_on(job.start(sim.handle()).unwrap().join()).unwrap();
        let mut rows = rows.take();
        rows.sort();
        let second = Duration::from_secs(1);
        for (row, (key, minute)) in rows.iter().zip([(1, 61), (2, 71)]) {
            let (due, fired) = (row.1 - begin, row.2 - begin);
            assert_eq!(row.0, key);
            assert!(due <= minutes(minute) + second && due + 2 * second >= minutes(minute), "{due:?}");
            assert!(fired >= due && fired <= due + 2 * second, "{fired:?}");
        }
        // The stream ends before the hour of the last one is over: then all timers fire.
        assert_eq!((rows.len(), rows[2].0), (3, 3));
        let (opened, closed) = (calls.0.load(Ordering::Relaxed), calls.1.load(Ordering::Relaxed));
        assert!(opened >= 1 && opened == closed, "{opened} opened, {closed} closed");
    }
}

#[test]
fn inputs_of_several_types_meet_by_key() {
    #[derive(Clone)]
    enum Side {
        Name(&'static str),
        Amount(u32),
    }
    /// Amounts wait for the name that they belong to.
    #[derive(Clone)]
    struct Billing;
    impl Process<u16, Side> for Billing {
        type State = (Option<String>, Vec<u32>);
        type Out = (String, u32);
        fn record(&mut self, side: Side, state: &mut Self::State, cx: &mut Context<'_, u16, Self::Out>) {
            match side {
                Side::Name(name) => state.0 = Some(name.into()),
                Side::Amount(amount) => state.1.push(amount),
            }
            if let Some(name) = &state.0 {
                state.1.drain(..).for_each(|amount| cx.emit((name.clone(), amount)));
            }
        }
    }
    let bills = Arc::new(Mutex::new(Vec::new()));
    for driver in [Driver::Threads(2), Driver::Simulated(1, 3, 0.1), Driver::Simulated(2, 2, 0.0)] {
        let job = Job::new("billing");
        let (sink, rows) = gather();
        let names = job.source("names", Scripted(vec![vec![vec![(1, "ann"), (2, "bob")]]])).stream();
        let amounts =
            job.source("amounts", Scripted(vec![vec![vec![(2, 20), (1, 10)], vec![(1, 11), (3, 30)]]])).stream();
        names
            .map(|(key, name): (u16, &'static str)| (key, Side::Name(name)))
            .key_by(|named| named.0)
            .shuffle()
            .union(amounts.map(|(key, amount): (u16, u32)| (key, Side::Amount(amount))).key_by(|named| named.0))
            .process(Pair(Billing))
            .sink("rows", sink);
        driver.run(job);
        let mut rows = rows.take();
        rows.sort();
        bills.lock().unwrap().push(rows);
    }
    /// Takes the key off.
    #[derive(Clone)]
    struct Pair<P>(P);
    impl<K: Clone, T, P: Process<K, T>> Process<K, (K, T)> for Pair<P> {
        type State = P::State;
        type Out = P::Out;
        fn record(&mut self, record: (K, T), state: &mut Self::State, cx: &mut Context<'_, K, Self::Out>) {
            self.0.record(record.1, state, cx);
        }
    }
    for rows in &*bills.lock().unwrap() {
        assert_eq!(rows, &[("ann".into(), 10), ("ann".into(), 11), ("bob".into(), 20)]);
    }
}

/// Which values of a key are over the threshold of their epoch, as it was broadcast before.
#[derive(Clone, Default)]
struct Threshold(BTreeMap<i64, i64>);

impl Process<u16, (i64, u16)> for Threshold {
    type State = u64;
    type Out = (i64, u16, u64);
    fn record(&mut self, (time, key): (i64, u16), seen: &mut u64, cx: &mut Context<'_, u16, Self::Out>) {
        *seen += 1;
        // What holds for a time was said 1,000 earlier, so it has been heard.
        let threshold = self.0.range(..=time - 1_000).next_back().map_or(0, |(_, threshold)| *threshold);
        if i64::from(key) >= threshold {
            cx.emit((time, key, *seen));
        }
    }
}

impl updraft_dataflow::keyed::Listen<(i64, i64)> for Threshold {
    type Heard = BTreeMap<i64, i64>;
    fn hear(&mut self, (time, threshold): (i64, i64), at: Time) {
        assert_eq!(Time(time), at);
        self.0.insert(time, threshold);
    }
    fn heard(&self) -> Self::Heard {
        self.0.clone()
    }
    fn remember(&mut self, heard: Self::Heard) {
        self.0 = heard;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_kernel_hears_what_is_broadcast(
        rules in proptest::collection::vec(0i64..40, 1..20),
        records in proptest::collection::vec((0i64..400, 0u16..40), 0..200),
        driver in drivers(),
    ) {
        // A rule each 500; both streams in one source, so that a rule is an epoch before what goes by it.
        let rules: BTreeMap<i64, i64> = rules.into_iter().enumerate().map(|(n, rule)| (500 * n as i64, rule)).collect();
        let mut time = 0;
        let records: Vec<_> = records.into_iter().map(|(gap, key)| { time += gap; (time, key) }).collect();
        #[derive(Clone, Copy)]
        enum Either { Rule(i64, i64), Record(i64, u16) }
        let mut events: Vec<_> = rules.iter().map(|(time, rule)| (*time, Either::Rule(*time, *rule))).collect();
        events.extend(records.iter().map(|(time, key)| (*time, Either::Record(*time, *key))));
        events.sort_by_key(|(time, _)| *time);
        let job = Job::new("rules");
        let (sink, rows) = gather();
        let (one, other) = job
            .source("events", Scripted(vec![events.chunks(9).map(<[_]>::to_vec).collect()]))
            .timestamps(|event: &(i64, Either)| Time(event.0), Watermarks::monotonic())
            .epochs(Epochs::WatermarkStep(Duration::from_micros(250)))
            .stream()
            .fork();
        let rules_heard = one.flat_map(|(_, event)| if let Either::Rule(time, rule) = event { Some((time, rule)) } else { None });
        other
            .flat_map(|(_, event)| if let Either::Record(time, key) = event { Some((time, key)) } else { None })
            .key_by(|record| record.1)
            .broadcast(rules_heard)
            .process(Threshold::default())
            .sink("rows", sink);
        driver.run(job);
        let mut seen = BTreeMap::<u16, u64>::new();
        let mut expected = Vec::new();
        for (time, key) in records {
            *seen.entry(key).or_default() += 1;
            let threshold = rules.range(..=time - 1_000).next_back().map_or(0, |(_, rule)| *rule);
            if i64::from(key) >= threshold {
                expected.push((time, key, seen[&key]));
            }
        }
        let mut rows = rows.take();
        rows.sort();
        expected.sort();
        prop_assert_eq!(rows, expected);
    }
}

type Told = updraft_dataflow::join::Side<(u16, (i64, u16)), (i64, i64)>;

/// What was broadcast before a snapshot is known to all drivers after it, even where no key has state.
#[test]
fn what_was_heard_goes_on_after_a_snapshot() {
    use updraft_dataflow::join::Side::{Left, Right};
    use updraft_dataflow::keyed::BroadcastStage;
    type Rules = BroadcastStage<u16, (i64, u16), (i64, i64), Threshold>;

    for (before, after, keys) in [(1, 3, 40), (3, 1, 40), (2, 3, 0)] {
        let [old, new] = [before, after].map(|drivers| Rules::new(Threshold::default(), None, drivers, Time(0)));
        let locals = |stage: &Rules, drivers| (0..drivers).map(|driver| stage.local(driver)).collect::<Vec<_>>();
        let (old_locals, new_locals) = (locals(&old, before), locals(&new, after));
        let tell = |stage: &Rules, locals: &[_], records: Vec<Told>| {
            let shuffle = updraft_dataflow::keyed::ShuffleStage::new(updraft_dataflow::pipe::Identity, locals.len());
            let mut rows = Vec::new();
            shuffle.bundle(&shuffle.local(0), Generation(0), records.into(), &mut |bundle| {
                let local = &locals[bundle.owner().unwrap()];
                stage.bundle(local, Generation(0), bundle, &mut |out| rows.extend(out.into_vec()));
            });
            rows.sort();
            rows
        };
        // Records have no event time here: the rule is of the beginning of time.
        let rule = (Time::MIN.0, 20);
        let seen = |key: u16| Left((key, (0, key)));
        tell(&old, &old_locals, [Right(rule)].into_iter().chain((0..keys).map(seen)).collect());
        let mut stored = Stored::default();
        stored.take(&old, &old_locals, Generation(0));
        stored.restore(&new, &new_locals, Punctuation { epoch: Epoch(0), watermark: Time::MIN, now: Time(0) }).unwrap();
        let rows = tell(&new, &new_locals, (0..40).map(seen).collect());
        let expected: Vec<_> = (20..40).map(|key| (0, key, if key < keys { 2 } else { 1 })).collect();
        assert_eq!(rows, expected);
    }
}
