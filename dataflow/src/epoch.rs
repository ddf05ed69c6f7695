//! When epochs are closed: the [`Epochs`] policy of a source, and the [`EpochClock`] that all sources of a job share.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use updraft_kernel::clock::{self, Nanos};
use updraft_kernel::{Bell, Bells};

use crate::checkpoint::marks::Marks;
use crate::sync::{Mutex, lock};
use crate::time::{Epoch, Time, micros};

/// When a source closes an epoch, and with it declares how far its watermark has come.
///
/// Whichever partition of a job closes one, the others follow with the watermark that they declared last, so that
/// epochs are job-wide and a slow source holds up no more than its own watermark.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Epochs {
    /// Each time the watermark has advanced by this much. Which records are late is a function of the
    /// partition's records alone.
    WatermarkStep(Duration),
    /// After each so many records of the partition; of [`Rows`](crate::Rows), rows are counted. Which records are late is a function of the partition's
    /// records alone.
    Records(usize),
    /// Each time so much time has passed: for a steady latency, when records come seldom. Which
    /// records are late depends on when they arrive.
    WallClock(Duration),
}

impl Epochs {
    /// Records of an epoch, at most.
    pub(crate) fn quota(self) -> usize {
        if let Self::Records(n) = self { n.max(1) } else { usize::MAX }
    }
}

impl fmt::Display for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WatermarkStep(step) => write!(f, "an epoch each {step:?} of it"),
            Self::Records(records) => write!(f, "an epoch each {records} records"),
            Self::WallClock(span) => write!(f, "an epoch each {span:?}"),
        }
    }
}

/// The epochs of a job: which is the latest that any source has begun.
pub(crate) struct EpochClock {
    current: AtomicU64,
    /// Partitions that may still give records.
    live: AtomicUsize,
    /// The last epoch, once all partitions have ended; else `u64::MAX`.
    last: AtomicU64,
    /// How far the live partitions have come at most: where an idle one stands aside to.
    frontier: AtomicI64,
    closed: Mutex<Closed>,
    /// How often epochs have to be closed although no watermark moves, in nanoseconds; 0 for never.
    tick: AtomicU64,
    /// Epochs that results of older ones were given to, and when the oldest of those was closed; see [`stray`](Self::stray).
    strays: Mutex<BTreeMap<Epoch, Nanos>>,
    /// Sources that wait, for an epoch to follow or for room.
    pub(crate) sources: Bells,
    /// The epochs that checkpoints are taken at the end of.
    pub(crate) marks: Arc<Marks>,
    /// Whether the last epoch is to be marked.
    marks_last: bool,
    /// Rung when the last epoch is known.
    pub(crate) ended: Arc<Bell>,
}

impl EpochClock {
    /// `marks_last` tells whether the job takes checkpoints.
    pub(crate) fn new(marks_last: bool) -> Self {
        Self {
            current: AtomicU64::new(0),
            live: AtomicUsize::new(0),
            last: AtomicU64::new(u64::MAX),
            frontier: AtomicI64::new(Time::MIN.0),
            closed: Mutex::new(Closed { oldest: 0, times: VecDeque::new(), before: wall() }),
            tick: AtomicU64::new(0),
            strays: Mutex::default(),
            sources: Bells::default(),
            marks: Arc::default(),
            marks_last,
            ended: Arc::default(),
        }
    }

    /// One more partition, before the first epoch.
    pub(crate) fn add_partition(&self) {
        self.live.fetch_add(1, Ordering::AcqRel);
    }

    /// The latest epoch that is begun: all before it are to be closed by all.
    pub(crate) fn current(&self) -> Epoch {
        Epoch(self.current.load(Ordering::Acquire))
    }

    /// Begins the epoch after `epoch`, if that is not begun yet.
    pub(crate) fn advance_past(&self, epoch: Epoch, now: Nanos) {
        let closed = &mut *lock(&self.closed);
        if self.current() == epoch {
            self.advance(closed, now);
        }
    }

    /// The same, unless `epoch` is marked: whether it is not.
    pub(crate) fn advance_past_unmarked(&self, epoch: Epoch, now: Nanos) -> bool {
        let closed = &mut *lock(&self.closed);
        let is_current = self.current() == epoch;
        if is_current {
            self.advance(closed, now);
        }
        is_current || !self.marks.is_marked(epoch)
    }

    /// Begins the next epoch.
    fn advance(&self, closed: &mut Closed, now: Nanos) {
        let latest = closed.times.back().map_or(closed.before, |(_, wall)| *wall);
        closed.times.push_back((now, wall().max(latest)));
        self.current.fetch_add(1, Ordering::Release);
        self.sources.ring_all();
    }

    /// Marks the current epoch, and begins the next one: which it is. The last one of the job is marked anyway.
    pub(crate) fn mark(&self, now: Nanos) -> Result<Epoch, Epoch> {
        self.carry(now, |epoch| self.marks.mark(epoch))
    }

    /// Has `put` put something on the current epoch, and begins the next one: which it was; once the last one of the job is known, that one instead, and
    /// nothing is put anywhere.
    pub(crate) fn carry(&self, now: Nanos, put: impl FnOnce(Epoch)) -> Result<Epoch, Epoch> {
        let closed = &mut *lock(&self.closed);
        if let Some(last) = self.last() {
            return Err(last);
        }
        let epoch = self.current();
        put(epoch);
        self.advance(closed, now);
        Ok(epoch)
    }

    /// A job goes on at this calendar time, or later.
    pub(crate) fn begins_after(&self, now: Time) {
        let closed = &mut *lock(&self.closed);
        closed.before = closed.before.max(now);
    }

    /// One partition has ended: when it is the last, so does the job, with the current epoch.
    pub(crate) fn end_partition(&self, now: Nanos) {
        if self.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            let closed = &mut *lock(&self.closed);
            let current = self.current();
            self.last.store(current.0, Ordering::Release);
            if self.marks_last {
                self.marks.mark(current);
            }
            self.advance(closed, now);
            self.ended.ring();
        }
    }

    /// The last epoch of the job, once it is known.
    pub(crate) fn last(&self) -> Option<Epoch> {
        let last = self.last.load(Ordering::Acquire);
        (last != u64::MAX).then_some(Epoch(last))
    }

    /// A live partition declares `watermark`.
    pub(crate) fn declare(&self, watermark: Time) {
        self.frontier.fetch_max(watermark.0, Ordering::AcqRel);
    }

    /// How far the farthest live partition has come.
    pub(crate) fn frontier(&self) -> Time {
        Time(self.frontier.load(Ordering::Acquire))
    }

    /// A sink has completed `epoch`: when it was closed, unless another sink has asked.
    pub(crate) fn complete(&self, epoch: Epoch) -> Option<Nanos> {
        let stray = lock(&self.strays).remove(&epoch);
        let closed = &mut *lock(&self.closed);
        let index = epoch.0.checked_sub(closed.oldest)? as usize;
        let (at, wall) = closed.times.get(index).copied()?;
        closed.times.drain(..=index);
        (closed.oldest, closed.before) = (epoch.0 + 1, wall);
        Some(stray.map_or(at, |stray| at.min(stray)))
    }

    /// The newest epoch that is open, for a result of `epoch` that is not to keep to its own. It is late by as much: the
    /// latency of the newest epoch then counts from when `epoch` was closed.
    pub(crate) fn stray(&self, epoch: Epoch) -> Epoch {
        let current = self.current();
        // Nothing would close the one after the last.
        let newest = self.last().map_or(current, |last| last.min(current)).max(epoch);
        if newest > epoch {
            let strays = &mut *lock(&self.strays);
            let due = strays.get(&epoch).copied().into_iter().chain(self.closed_at(epoch)).min();
            if let Some(due) = due {
                strays.entry(newest).and_modify(|first| *first = due.min(*first)).or_insert(due);
            }
        }
        newest
    }

    /// When the first partition closed `epoch`, if that is not complete.
    fn closed_at(&self, epoch: Epoch) -> Option<Nanos> {
        let closed = lock(&self.closed);
        closed.times.get(epoch.0.checked_sub(closed.oldest)? as usize).map(|(at, _)| *at)
    }

    /// The calendar time when `epoch`, which is not complete, began: when the one before it was closed.
    pub(crate) fn begun(&self, epoch: Epoch) -> Time {
        let closed = lock(&self.closed);
        match epoch.0.checked_sub(closed.oldest + 1) {
            None => closed.before,
            Some(index) => closed.times.get(index as usize).map_or(closed.before, |(_, wall)| *wall),
        }
    }

    /// Has epochs closed at least so often, for who goes by the calendar.
    pub(crate) fn tick_every(&self, span: Duration) {
        let nanos = span.as_nanos() as u64;
        let _ = self
            .tick
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |tick| (tick == 0 || nanos < tick).then_some(nanos));
    }

    /// How often epochs have to be closed at least.
    pub(crate) fn tick(&self) -> Option<Duration> {
        let nanos = self.tick.load(Ordering::Acquire);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// Epochs closed at a source and not complete at a sink.
    pub(crate) fn in_flight(&self) -> usize {
        lock(&self.closed).times.len()
    }
}

/// When epochs were closed by the first partition.
struct Closed {
    /// The first epoch that is not complete.
    oldest: u64,
    /// From that one on, by the monotonic clock and by the calendar. The latter never goes back.
    times: VecDeque<(Nanos, Time)>,
    /// When the epoch before that one was closed, or the job began.
    before: Time,
}

/// Calendar time.
fn wall() -> Time {
    Time(micros(clock::wall()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_that_stray_are_late() {
        let clock = EpochClock::new(false);
        clock.add_partition();
        let close = |epoch, at| clock.advance_past(Epoch(epoch), Nanos(at));
        assert_eq!(clock.stray(Epoch(0)), Epoch(0), "as long as it is open it is the newest");
        (0..3).for_each(|epoch| close(epoch, 10 * (epoch + 1)));
        assert_eq!(clock.stray(Epoch(1)), Epoch(3));
        assert_eq!(clock.stray(Epoch(0)), Epoch(3));
        assert_eq!([clock.complete(Epoch(0)), clock.complete(Epoch(2))], [Some(Nanos(10)), Some(Nanos(30))]);
        close(3, 40);
        assert_eq!(clock.stray(Epoch(3)), Epoch(4), "what came with it is late too");
        clock.end_partition(Nanos(50));
        assert_eq!(clock.stray(Epoch(4)), Epoch(4), "there is none after the last");
        assert_eq!([clock.complete(Epoch(3)), clock.complete(Epoch(4))], [Some(Nanos(10)), Some(Nanos(10))]);
    }
}
