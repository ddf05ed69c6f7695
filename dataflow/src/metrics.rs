//! What a running job tells of itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use updraft_kernel::clock;
use updraft_kernel::metrics::Histogram;

use crate::control::Seen;
use crate::source::Progress;
use crate::sync::{Mutex, lock};
use crate::time::{Punctuation, Time, micros};

/// What a source has done.
#[derive(Debug)]
pub struct SourceMetrics {
    /// Its name.
    pub name: Arc<str>,
    pub(crate) records: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) blocked: AtomicU64,
    pub(crate) newest: AtomicI64,
    partitions: Mutex<Vec<PartitionMetrics>>,
}

/// How far a partition of a source has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionMetrics {
    /// The watermark that it closed its last epoch with; [`Time::MIN`] before the first, or without event time.
    pub watermark: Time,
    /// Whether it has given nothing for so long that it holds nobody back.
    pub is_idle: bool,
    /// How much of it has been read, where that is known.
    pub progress: Option<Progress>,
}

impl SourceMetrics {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            records: AtomicU64::new(0),
            late: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            newest: AtomicI64::new(Time::MIN.0),
            partitions: Mutex::default(),
        }
    }

    /// One more partition: its number.
    pub(crate) fn add_partition(&self) -> usize {
        let partitions = &mut *lock(&self.partitions);
        partitions.push(PartitionMetrics { watermark: Time::MIN, is_idle: false, progress: None });
        partitions.len() - 1
    }

    /// A partition has closed an epoch.
    pub(crate) fn close(&self, partition: usize, watermark: Time, is_idle: bool) {
        let metrics = &mut lock(&self.partitions)[partition];
        (metrics.watermark, metrics.is_idle) = (watermark, is_idle);
    }

    /// A partition has been read so far.
    pub(crate) fn progress(&self, partition: usize, progress: Option<Progress>) {
        if progress.is_some() {
            lock(&self.partitions)[partition].progress = progress;
        }
    }

    /// Which part of it has been read, from 0 to 1, where all partitions tell.
    pub fn share(&self) -> Option<f64> {
        let told: Option<Vec<_>> = self.partitions().iter().map(|partition| partition.progress).collect();
        let (read, whole) = told?.iter().fold((0, 0), |(read, whole), one| (read + one.read, whole + one.whole));
        (whole > 0).then(|| (read as f64 / whole as f64).min(1.0))
    }

    /// How far its partitions have come.
    pub fn partitions(&self) -> Vec<PartitionMetrics> {
        lock(&self.partitions).clone()
    }

    /// Records read, the late ones included.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Records that came after the watermark had passed them.
    pub fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// Records that could not be decoded.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Time that its partitions have waited for those behind them, added up.
    pub fn blocked(&self) -> Duration {
        Duration::from_nanos(self.blocked.load(Ordering::Relaxed))
    }

    /// The greatest event time read.
    pub fn newest(&self) -> Time {
        Time(self.newest.load(Ordering::Relaxed))
    }
}

/// What a stage or a sink has done.
#[derive(Debug)]
pub struct StageMetrics {
    /// Its operators, in order.
    pub name: Arc<str>,
    records_in: AtomicU64,
    records_out: AtomicU64,
    epochs: AtomicU64,
    watermark: AtomicI64,
    saved: AtomicU64,
    /// Nanoseconds in which kernels have worked for it.
    busy: AtomicU64,
    /// Records taken in and given on in complete epochs.
    complete: [AtomicU64; 2],
}

impl StageMetrics {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            records_in: AtomicU64::new(0),
            records_out: AtomicU64::new(0),
            epochs: AtomicU64::new(0),
            watermark: AtomicI64::new(Time::MIN.0),
            saved: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            complete: [const { AtomicU64::new(0) }; 2],
        }
    }

    /// A kernel has worked for it so long.
    pub(crate) fn work(&self, span: Duration) {
        self.busy.fetch_add(span.as_nanos() as u64, Ordering::Relaxed);
    }

    /// So many records of a complete epoch were taken in and given on.
    pub(crate) fn count(&self, records: [u64; 2]) {
        add(&self.complete, records.map(|records| records as usize));
    }

    /// What it has done in complete epochs.
    pub(crate) fn seen(&self, state: usize) -> Seen {
        let [records_in, records_out] = self.complete.each_ref().map(|records| records.load(Ordering::Relaxed));
        Seen { records_in, records_out, busy: self.busy(), state: state as u64, ..Seen::default() }
    }

    /// Time in which kernels have worked for it, added up.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy.load(Ordering::Relaxed))
    }

    pub(crate) fn save(&self, bytes: u64) {
        self.saved.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that were written of its state for the last checkpoint.
    pub fn saved(&self) -> u64 {
        self.saved.load(Ordering::Relaxed)
    }

    pub(crate) fn add_in(&self, records: usize) {
        self.records_in.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_out(&self, records: usize) {
        self.records_out.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn complete(&self, punctuation: Punctuation) {
        self.epochs.store(punctuation.epoch.0 + 1, Ordering::Relaxed);
        self.watermark.store(punctuation.watermark.0, Ordering::Relaxed);
    }

    /// Records consumed.
    pub fn records_in(&self) -> u64 {
        self.records_in.load(Ordering::Relaxed)
    }

    /// Records given.
    pub fn records_out(&self) -> u64 {
        self.records_out.load(Ordering::Relaxed)
    }

    /// Epochs completed.
    pub fn epochs(&self) -> u64 {
        self.epochs.load(Ordering::Relaxed)
    }

    /// The watermark of the last completed epoch.
    pub fn watermark(&self) -> Time {
        Time(self.watermark.load(Ordering::Relaxed))
    }
}

/// What was spilled of keyed state because memory had no room for it.
#[derive(Debug, Default)]
pub struct SpillMetrics {
    /// Entries and bytes.
    written: [AtomicU64; 2],
    read: [AtomicU64; 2],
}

impl SpillMetrics {
    pub(crate) fn wrote(&self, entries: usize, bytes: usize) {
        add(&self.written, [entries, bytes]);
    }

    pub(crate) fn read(&self, entries: usize, bytes: usize) {
        add(&self.read, [entries, bytes]);
    }

    /// How often the state of a key was written, and how many bytes that was.
    pub fn written(&self) -> (u64, u64) {
        (self.written[0].load(Ordering::Relaxed), self.written[1].load(Ordering::Relaxed))
    }

    /// How often the state of a key was read back, and how many bytes that was.
    pub fn read_back(&self) -> (u64, u64) {
        (self.read[0].load(Ordering::Relaxed), self.read[1].load(Ordering::Relaxed))
    }
}

fn add(to: &[AtomicU64; 2], more: [usize; 2]) {
    for (to, more) in to.iter().zip(more) {
        to.fetch_add(more as u64, Ordering::Relaxed);
    }
}

/// What the checkpoints of a job have come to.
#[derive(Debug, Default)]
pub struct CheckpointMetrics {
    stored: Mutex<StoredCheckpoints>,
    pub(crate) failed: AtomicU64,
    pub(crate) to_restore: AtomicU64,
    pub(crate) restored: AtomicU64,
}

#[derive(Debug, Default)]
struct StoredCheckpoints {
    count: u64,
    last: Option<(u64, Time, u64, Duration)>,
}

impl CheckpointMetrics {
    pub(crate) fn stored(&self, number: u64, bytes: u64, took: Duration) {
        let stored = &mut *lock(&self.stored);
        stored.count += 1;
        stored.last = Some((number, Time(micros(clock::wall())), bytes, took));
    }

    /// How many were stored.
    pub fn count(&self) -> u64 {
        lock(&self.stored).count
    }

    /// How often storing one has failed.
    pub fn failures(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// The last one that was stored: its number, when that was (by the calendar), how many bytes were written for it, and how
    /// long it took from when it was asked for.
    pub fn last(&self) -> Option<(u64, Time, u64, Duration)> {
        lock(&self.stored).last
    }

    /// How much state has been read to go on from a checkpoint, and how much there is, in bytes.
    pub fn restored(&self) -> Progress {
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        Progress { read: load(&self.restored), whole: load(&self.to_restore) }
    }
}

/// The last few of a number of durations, in order.
#[derive(Debug, Default)]
pub struct Recent {
    /// How many there have been, and the last of them.
    last: Mutex<(u64, VecDeque<Duration>)>,
}

impl Recent {
    /// How many are kept.
    pub const KEPT: usize = 1024;

    fn record(&self, value: Duration) {
        let (count, last) = &mut *lock(&self.last);
        *count += 1;
        if last.len() == Self::KEPT {
            last.pop_front();
        }
        last.push_back(value);
    }

    /// How many there have been, and those among them that came after the first `seen` and are kept.
    pub fn after(&self, seen: u64) -> (u64, Vec<Duration>) {
        let (count, last) = &*lock(&self.last);
        let new = count.saturating_sub(seen).min(last.len() as u64) as usize;
        (*count, last.range(last.len() - new..).copied().collect())
    }
}

/// What a job has done so far.
#[derive(Default, Debug)]
pub struct JobMetrics {
    /// Its sources.
    pub sources: Vec<Arc<SourceMetrics>>,
    /// Its stages, in the order of the data.
    pub stages: Vec<Arc<StageMetrics>>,
    /// Its sinks.
    pub sinks: Vec<Arc<StageMetrics>>,
    /// From the moment that a punctuation enters the first source to the moment that all results of its epoch have
    /// been taken by the first sink to be done with it.
    pub latency: Histogram,
    /// The same of the last epochs, one after the other.
    pub latencies: Recent,
    /// Its checkpoints, where it takes any.
    pub checkpoints: CheckpointMetrics,
    /// What it has spilled.
    pub spilled: Arc<SpillMetrics>,
}

impl JobMetrics {
    pub(crate) fn complete(&self, latency: Duration) {
        self.latency.record(latency);
        self.latencies.record(latency);
    }

    /// Records read by all sources.
    pub fn records(&self) -> u64 {
        self.sources.iter().map(|source| source.records()).sum()
    }

    /// Which part of what is to be read has been, from 0 to 1: that of the sources on the average, where all of them tell.
    pub fn share(&self) -> Option<f64> {
        let shares: Option<Vec<_>> = self.sources.iter().map(|source| source.share()).collect();
        shares.filter(|shares| !shares.is_empty()).map(|shares| shares.iter().sum::<f64>() / shares.len() as f64)
    }

    /// Late records of all sources.
    pub fn late(&self) -> u64 {
        self.sources.iter().map(|source| source.late()).sum()
    }

    /// Records of all sources that could not be decoded.
    pub fn rejected(&self) -> u64 {
        self.sources.iter().map(|source| source.rejected()).sum()
    }

    /// Records taken by all sinks.
    pub fn results(&self) -> u64 {
        self.sinks.iter().map(|sink| sink.records_in()).sum()
    }

    /// How far the last stage's watermark trails the newest record: how much event time is unfinished. Zero before the first
    /// epoch is complete.
    pub fn watermark_lag(&self) -> Duration {
        let newest = self.sources.iter().map(|source| source.newest().0).max().unwrap_or(i64::MIN);
        let last = self.sinks.iter().chain(&self.stages);
        let watermark = last.map(|stage| stage.watermark().0).min().unwrap_or(i64::MIN);
        if watermark == i64::MIN {
            return Duration::ZERO;
        }
        Duration::from_micros(u64::try_from(newest.saturating_sub(watermark)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recent_ones_are_told_once_and_in_order() {
        let (recent, ms) = (Recent::default(), Duration::from_millis);
        assert_eq!(recent.after(0), (0, Vec::new()));
        (1..=3).for_each(|n| recent.record(ms(n)));
        assert_eq!(recent.after(0), (3, vec![ms(1), ms(2), ms(3)]));
        assert_eq!(recent.after(2), (3, vec![ms(3)]));
        assert_eq!(recent.after(3), (3, Vec::new()));
        (4..=2_000).for_each(|n| recent.record(ms(n)));
        let (count, kept) = recent.after(3);
        assert_eq!((count, kept.len(), kept.last()), (2_000, Recent::KEPT, Some(&ms(2_000))));
    }
}
