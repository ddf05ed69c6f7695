//! When epochs are closed: the [`Epochs`] policy of a source, and the [`EpochClock`] that all sources of a job share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use updraft_kernel::Bells;
use updraft_kernel::clock::Nanos;

use crate::sync::{Mutex, lock};
use crate::time::{Epoch, Time};

/// When a source closes an epoch, and with it declares how far its watermark has come.
///
/// Whichever partition of a job closes one, the others follow with the watermark that they declared last, so that
/// epochs are job-wide and a slow source holds up no more than its own watermark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Epochs {
    /// Each time the watermark has advanced by this much. Which records are late is a function of the
    /// partition's records alone.
    WatermarkStep(Duration),
    /// After each so many records of the partition. Which records are late is a function of the partition's
    /// records alone.
    Records(usize),
    /// Each time so much time has passed: for a steady latency, when records come seldom. Which
    /// records are late depends on when they arrive.
    WallClock(Duration),
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
    /// When epochs were closed by the first partition, for those not complete: the oldest's number, and times.
    closed: Mutex<(u64, VecDeque<Nanos>)>,
    /// Sources that wait, for an epoch to follow or for room.
    pub(crate) sources: Bells,
}

impl EpochClock {
    pub(crate) fn new() -> Self {
        Self {
            current: AtomicU64::new(0),
            live: AtomicUsize::new(0),
            last: AtomicU64::new(u64::MAX),
            frontier: AtomicI64::new(Time::MIN.0),
            closed: Mutex::default(),
            sources: Bells::default(),
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
        let mut closed = lock(&self.closed);
        if self.current.load(Ordering::Relaxed) == epoch.0 {
            closed.1.push_back(now);
            self.current.store(epoch.0 + 1, Ordering::Release);
            drop(closed);
            self.sources.ring_all();
        }
    }

    /// One partition has ended: when it is the last, so does the job, with the current epoch.
    pub(crate) fn end_partition(&self, now: Nanos) {
        if self.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            let current = self.current();
            self.last.store(current.0, Ordering::Release);
            self.advance_past(current, now);
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
        let (oldest, times) = &mut *lock(&self.closed);
        let index = epoch.0.checked_sub(*oldest)? as usize;
        let at = times.get(index).copied()?;
        times.drain(..=index);
        *oldest = epoch.0 + 1;
        Some(at)
    }

    /// Epochs closed at a source and not complete at a sink.
    pub(crate) fn in_flight(&self) -> usize {
        lock(&self.closed).1.len()
    }
}
