//! Records in memory, replayed in a loop: event times move on with each round, at so many records a second of event time,
//! whatever the rate of the clock.

use std::sync::Arc;
use std::time::Duration;

use updraft::dataflow::{Batch, Error, Partition, Pipe, Record};
use updraft::kernel::{Nanos, clock};
use updraft::prelude::*;

/// A record as it is replayed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event<T> {
    /// Microseconds.
    pub(super) time: i64,
    pub(super) value: T,
}

/// Microseconds in a second.
pub(super) const SECOND: i64 = 1_000_000;
/// How early a record comes at most, in microseconds of event time, if it is one of those that come early.
const EARLY: u64 = SECOND as u64;
/// Bytes of a bundle's records, those that they refer to included: what stays in a kernel's cache.
const BUNDLE_BYTES: usize = 128 << 10;

/// How records are given to a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feed {
    /// Records a second of the clock; without it, as fast as they are taken.
    pub(super) rate: Option<f64>,
    /// Records in all.
    pub(super) count: u64,
    /// The share of records that come before their time, in percent.
    pub(super) disorder: u64,
    /// Records between two watermarks; by default those of a second of event time.
    pub(super) epoch: Option<u64>,
    /// By how much records are fewer in a second of event time than they should be: 1, but for tests.
    pub(super) thinned: u64,
}

impl Default for Feed {
    fn default() -> Self {
        Self { rate: None, count: u64::MAX, disorder: 0, epoch: None, thinned: 1 }
    }
}

impl Feed {
    /// What each of `sides` sources is given.
    pub(super) fn share(self, sides: u64) -> Self {
        let epoch = self.epoch.map(|epoch| (epoch / sides).max(1));
        Self { rate: self.rate.map(|rate| rate / sides as f64), count: self.count / sides, epoch, ..self }
    }

    /// Event times for `per_second` records a second.
    pub(super) fn times(self, per_second: u64) -> Times {
        Times { step: SECOND * self.thinned as i64 / per_second as i64, disorder: self.disorder }
    }

    /// Replays `records`, each of about `bytes`, as `per_second` of them a second of event time.
    pub(super) fn read<T: Record + Copy>(
        self,
        job: &Job,
        name: &'static str,
        records: &Arc<[T]>,
        (bytes, per_second): (usize, u64),
    ) -> Stream<Event<T>, impl Pipe<Event<T>, Out = Event<T>> + use<T>> {
        let times = self.times(per_second);
        let source = Replay { records: records.clone(), feed: self, times, given: 0, begin: None };
        let epoch = self.epoch.unwrap_or(per_second / self.thinned) * times.step as u64;
        // So many come early that the newest time tells how far the others are.
        let ahead = if self.disorder > 0 { Duration::from_micros(EARLY) } else { Duration::ZERO };
        job.source(name, source)
            .timestamps(|event: &Event<T>| Time(event.time), Watermarks::bounded(ahead))
            .epochs(Epochs::WatermarkStep(Duration::from_micros(epoch)))
            .bundle((BUNDLE_BYTES / bytes).clamp(256, 8192))
            .stream()
    }
}

/// The event time of each record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Microseconds from one record to the next.
    step: i64,
    disorder: u64,
}

impl Times {
    /// Of the `number`th record, from 0.
    #[inline]
    pub(super) fn of(self, number: u64) -> i64 {
        let time = number as i64 * self.step;
        if self.disorder == 0 { time } else { time + self.early(number) }
    }

    fn early(self, number: u64) -> i64 {
        let random = super::super::data::mix(number);
        if random % 100 < self.disorder { (random / 100 % EARLY) as i64 } else { 0 }
    }
}

/// The source, and its one partition.
struct Replay<T> {
    records: Arc<[T]>,
    feed: Feed,
    times: Times,
    given: u64,
    begin: Option<Nanos>,
}

impl<T> Replay<T> {
    /// How many records should have been given by now. What a pause has held up is made up for.
    fn due(&mut self) -> u64 {
        let begin = *self.begin.get_or_insert_with(clock::now);
        let due = self.feed.rate.map(|rate| (clock::now().since(begin).as_secs_f64() * rate) as u64);
        due.unwrap_or(u64::MAX).min(self.feed.count)
    }
}

impl<T: Record + Copy> Source for Replay<T> {
    type Item = Event<T>;
    type Partition = Self;

    fn open(self) -> Result<Vec<Self>, Error> {
        Ok(vec![self])
    }
}

impl<T: Record + Copy> Partition for Replay<T> {
    type Item = Event<T>;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<Event<T>>>, Error> {
        if self.given == self.feed.count || self.records.is_empty() {
            return Ok(None);
        }
        let due = loop {
            let due = self.due();
            if due > self.given {
                break due.min(self.given + limit as u64);
            }
            clock::sleep(Duration::from_micros(200)).await;
        };
        let mut batch = Vec::with_capacity((due - self.given) as usize);
        while self.given < due {
            let at = (self.given % self.records.len() as u64) as usize;
            let round = &self.records[at..self.records.len().min(at + (due - self.given) as usize)];
            let timed = (self.given..).zip(round);
            batch.extend(timed.map(|(number, value)| Event { time: self.times.of(number), value: *value }));
            self.given += round.len() as u64;
        }
        Ok(Some(batch.into()))
    }

    fn position(&self) -> String {
        format!("record {}", self.given)
    }
}
