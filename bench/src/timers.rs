//! What a timer costs: a million keys, each with a record and a timer, beside the same without timers.

use std::time::{Duration, Instant};

use updraft::dataflow::keyed::{Context, Timer};
use updraft::prelude::*;

use crate::data::mix;
use crate::median;

/// Microseconds of event time between two records.
const STEP: i64 = 10;
/// How far ahead a timer is at most, in microseconds of event time.
const AHEAD: u64 = 5_000_000;

/// Counts a key's record; sets a timer if it is to, which gives a row.
#[derive(Clone)]
struct Alarm {
    sets: bool,
}

impl Process<u64, (u64, i64)> for Alarm {
    type State = u64;
    type Out = u64;

    fn record(&mut self, (key, time): (u64, i64), state: &mut u64, cx: &mut Context<'_, u64, u64>) {
        *state += 1;
        if self.sets {
            cx.set_timer(Time(time + 1 + (mix(key) % AHEAD) as i64));
        }
    }

    fn timer(&mut self, _: Timer, state: &mut u64, cx: &mut Context<'_, u64, u64>) {
        cx.emit(*state);
    }
}

/// The time of a job over so many keys, each in the order of nothing.
fn run(keys: u64, threads: usize, sets: bool) -> Duration {
    let runtime = Runtime::builder().kernels(threads).build().expect("kernels start");
    let records: Vec<_> = (0..keys).map(|n| (mix(n), n as i64 * STEP)).collect();
    let job = Job::new("timers");
    let (sink, rows) = Blackhole::new();
    job.source("records", Memory::new(records))
        .timestamps(|record| Time(record.1), Watermarks::monotonic())
        .stream()
        .key_by(|record| record.0)
        .process(Alarm { sets })
        .sink("rows", sink);
    let begin = Instant::now();
    let running = job.start(runtime.handle()).expect("the job starts");
    runtime.block_on(running.join()).expect("the job ends well");
    assert_eq!(rows.records(), if sets { keys } else { 0 });
    begin.elapsed()
}

/// The medians of a key's record without a timer, and of a timer: set, and fired.
pub(crate) fn measure(keys: u64, threads: usize, repeat: usize) -> [Duration; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..repeat {
        for (times, sets) in times.iter_mut().zip([false, true]) {
            times.push(run(keys, threads, sets));
        }
    }
    let [without, with] = times.map(|mut times| median(&mut times));
    [without, with.saturating_sub(without)].map(|time| time / u32::try_from(keys).unwrap_or(u32::MAX))
}
