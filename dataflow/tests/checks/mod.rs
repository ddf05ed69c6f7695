//! What must hold of a snapshot whose records are any bytes whatever: called by the fuzz targets, and over their corpus by
//! `corpus.rs`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use updraft_dataflow::aggregate::{Aggregate, count, distinct_about, max, quantiles, sum, top_k};
use updraft_dataflow::join::interval::{Interval, IntervalJoin};
use updraft_dataflow::join::temporal::TemporalJoin;
use updraft_dataflow::join::window::WindowJoinStage;
use updraft_dataflow::join::{Full, Inner, Left, Side};
use updraft_dataflow::keyed::{
    BroadcastStage, Clock, Context, KeyedStage, Listen, Process, ShuffleStage, TimeToLive, Timer,
};
use updraft_dataflow::pipe::stamped;
use updraft_dataflow::testing::{Stored, go_on_damaged, goes_through};
use updraft_dataflow::window::{CountWindows, Sliced, Trigger, TriggeredWindows, WindowStage};
use updraft_dataflow::{
    Bundle, Cumulating, Epoch, Generation, Pipe, Punctuation, Record, Session, Sliding, Stage, Time, Tumbling,
};

/// What is given any bytes, and panics if something does not hold.
pub type Check = fn(&[u8]);

/// The checks, by the names of their fuzz targets.
pub const CHECKS: &[(&str, Check)] = &[("snapshot", snapshot), ("snapshot_keyed", snapshot_keyed)];

/// A stage goes on from a snapshot with damaged records, or says that it cannot; what it goes on with can be told to the end, or the job
/// ends with what is wrong. The first byte says which windows, the second which record is damaged and how; the others are what it becomes.
pub fn snapshot(input: &[u8]) {
    let Some((&[kind, how], bytes)) = input.split_first_chunk() else { return };
    let span = Duration::from_micros;
    goes_through(|| match kind % 5 {
        0 => go_on(&Sliding::of(span(4), span(1)), &numbers(), how, bytes),
        1 => go_on(&Tumbling::of(span(3)), &numbers(), how, bytes),
        2 => go_on(&Cumulating::of(span(6), span(2)), &numbers(), how, bytes),
        3 => go_on(&Sliding::of(span(4), span(1)), &sketches(), how, bytes),
        _ => go_on(&Tumbling::of(span(3)), &sketches(), how, bytes),
    });
}

type Event = (i64, String);

fn numbers() -> impl Aggregate<Event> {
    (count(), sum(|(time, _): &Event| *time), max(|(time, _): &Event| *time))
}

fn sketches() -> impl Aggregate<Event> {
    let (least, greatest) = (|(time, _): &Event| *time as f64 - 3.0, |(time, key): &Event| (*time, key.clone()));
    (quantiles(least, [0.0, 0.5, 1.0]), distinct_about(greatest), top_k(2, |(time, _): &Event| *time))
}

fn go_on(windows: &impl Sliced, aggregates: &impl Aggregate<Event>, how: u8, bytes: &[u8]) {
    let stage = || {
        let pipe = stamped(|(time, _): &(i64, String)| Time(*time));
        WindowStage::<Event, _, _>::new(pipe, |(_, key): &Event| key.clone(), windows, aggregates.clone(), 2)
    };
    let (before, mut stored) = (stage(), Stored::default());
    let locals = [before.local(0), before.local(1)];
    for time in 0..8 {
        let records = vec![(time, format!("key {}", time % 3)), (time, "other".into())];
        before.bundle(&locals[time as usize % 2], Generation(0), records.into(), &mut |_| {});
    }
    stored.take(&before, &locals, Generation(0));
    damage(&mut stored, how, bytes);
    let after = stage();
    let locals = [after.local(0), after.local(1)];
    let at = |watermark| Punctuation { epoch: Epoch(1), watermark, now: Time(0) };
    if stored.restore(&after, &locals, at(Time(0))).is_err() {
        return;
    }
    for part in after.seal(&locals, at(Time::MAX)) {
        after.part(&locals[0], part, &mut |_| {});
    }
}

/// Damages a record: which, and how, `how` says.
fn damage(stored: &mut Stored, how: u8, bytes: &[u8]) {
    let records = stored.records().count();
    let Some(record) = stored.records().nth(usize::from(how >> 2) % records.max(1)) else { return };
    match how & 3 {
        // Other bytes, some of them others, fewer, more.
        0 => record.bytes = bytes.to_vec(),
        1 => record.bytes.iter_mut().zip(bytes).for_each(|(byte, other)| *byte ^= other),
        2 => record.bytes.truncate(bytes.len()),
        _ => record.bytes.extend_from_slice(bytes),
    }
}

/// The same of stages that keep something by key: the first byte says which.
pub fn snapshot_keyed(input: &[u8]) {
    let Some((&[kind, how], bytes)) = input.split_first_chunk() else { return };
    let span = Duration::from_micros;
    let live = |clock| Some(TimeToLive { span: span(6), clock });
    let alarms =
        |live| move |drivers| KeyedStage::<String, i64, Alarms>::new(Alarms::default(), live, drivers, Time(0));
    match kind % 10 {
        0 => go_on_keyed(alarms(None), |time| time, same, how, bytes),
        1 => go_on_keyed(alarms(live(Clock::Event)), |time| time, same, how, bytes),
        2 => go_on_keyed(alarms(live(Clock::Processing)), |time| time, same, how, bytes),
        3 => {
            let stage = |drivers| BroadcastStage::<String, i64, u8, _>::new(Alarms::default(), None, drivers, Time(0));
            let left =
                |bundle: Bundle<(String, i64)>| bundle.into_vec().into_iter().map(Side::Left).collect::<Vec<_>>();
            go_on_keyed(stage, |time| time, |bundle| left(bundle).into(), how, bytes);
        }
        4 => {
            go_on_keyed(of_process(CountWindows::new(sum(|number: &i64| *number), 4, 2)), |time| time, same, how, bytes)
        }
        5 => {
            let trigger = Trigger::at_watermark().early_each(2).late_each(2).early_every(span(3), Clock::Processing);
            let windows = TriggeredWindows::new(Sliding::of(span(6), span(3)), count(), trigger, span(4));
            go_on_keyed(of_process(windows), |time| time, same, how, bytes);
        }
        6 => {
            let trigger = Trigger::at_watermark().discarding();
            let windows = TriggeredWindows::new(Session::with_gap(span(3)), count(), trigger, span(4));
            go_on_keyed(of_process(windows), |time| time, same, how, bytes);
        }
        7 => go_on_keyed(
            of_process(IntervalJoin::<i64, String, _>::new(Full, Interval::around(span(2), span(5)))),
            side,
            same,
            how,
            bytes,
        ),
        8 => go_on_keyed(of_process(TemporalJoin::<i64, String, _>::new(Left)), side, same, how, bytes),
        _ => {
            let windows = Sliding::of(span(6), span(3));
            let stage = |_| WindowJoinStage::<String, i64, String, _>::new(Inner, &windows);
            go_on_keyed(stage, side, same, how, bytes);
        }
    }
}

fn of_process<T: Record, P: Process<String, T>>(process: P) -> impl Fn(usize) -> KeyedStage<String, T, P> {
    move |drivers| KeyedStage::new(process.clone(), None, drivers, Time(0))
}

fn same<T>(bundle: Bundle<T>) -> Bundle<T> {
    bundle
}

fn side(time: i64) -> Side<i64, String> {
    if time % 3 == 0 { Side::Right(time.to_string()) } else { Side::Left(time) }
}

/// Goes on from a snapshot of stages that keep something by key, a record of it damaged.
fn go_on_keyed<S: Stage, T: Record>(
    stage: impl Fn(usize) -> S,
    record: impl Fn(i64) -> T,
    wrap: impl Fn(Bundle<(String, T)>) -> Bundle<S::In>,
    how: u8,
    bytes: &[u8],
) {
    let give = |stage: &S, locals: &[S::Local], number: i64| {
        let shuffle = ShuffleStage::new(Timed, locals.len());
        // Some keys come once and are gone when the next snapshot is taken.
        let times = 4 * number..4 * number + 6;
        let records = times.flat_map(|time| [("key", time), ("once", time / 3 * 100)].map(|(key, n)| (time, key, n)));
        let records: Vec<_> =
            records.map(|(time, key, n)| (time, format!("{key} {}", n % 303), record(time))).collect();
        let mut bundles = Vec::new();
        shuffle.bundle(&shuffle.local(0), Generation(0), records.into(), &mut |bundle| bundles.push(bundle));
        for bundle in bundles {
            let local = &locals[bundle.owner().unwrap_or_default()];
            stage.bundle(local, Generation(0), wrap(bundle), &mut |_| {});
        }
    };
    go_on_damaged(stage, give, |number| Time(4 * (number + 1)), |stored| damage(stored, how, bytes));
}

/// Records with their time and key.
#[derive(Clone)]
struct Timed;

impl<T: Record> Pipe<(i64, String, T)> for Timed {
    type Out = (String, T);

    fn push(&self, _: Time, (time, key, record): (i64, String, T), next: &mut impl FnMut(Time, (String, T))) {
        next(Time(time), (key, record));
    }
}

/// Sets timers of both clocks, and forgets some keys.
#[derive(Clone)]
struct Alarms(Vec<String>);

impl Default for Alarms {
    fn default() -> Self {
        Self(vec!["a rule".into(), String::new()])
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Armed {
    seen: Vec<i64>,
    last: Option<(Clock, Time)>,
}

impl Process<String, i64> for Alarms {
    type State = Armed;
    type Out = (String, Time, usize);

    fn record(&mut self, record: i64, armed: &mut Armed, cx: &mut Context<'_, String, Self::Out>) {
        armed.seen.push(record);
        if record % 7 == 5 {
            return cx.clear();
        }
        cx.set_timer(Time(record + record % 5));
        cx.set_timer(Time(record + 1_000));
        cx.delete_timer(Time(record + 996));
        cx.set_processing_timer(Time(record + 3));
    }

    fn timer(&mut self, timer: Timer, armed: &mut Armed, cx: &mut Context<'_, String, Self::Out>) {
        armed.last = Some((timer.clock, timer.at));
        cx.emit((cx.key().clone(), timer.at, armed.seen.len()));
        if armed.seen.len() > 3 {
            cx.clear();
        }
    }

    fn heap_bytes(&self, armed: &Armed) -> usize {
        armed.seen.capacity() * size_of::<i64>()
    }
}

impl Listen<u8> for Alarms {
    type Heard = Vec<String>;

    fn hear(&mut self, record: u8, _: Time) {
        self.0.push(record.to_string());
    }

    fn heard(&self) -> Vec<String> {
        self.0.clone()
    }

    fn remember(&mut self, heard: Vec<String>) {
        self.0 = heard;
    }
}
