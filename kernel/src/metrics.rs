//! What a kernel tells of itself.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::scheduler::Class;

/// Each power of two is cut into this many buckets: values are told within 1/16.
const CUTS: u64 = 16;
const BUCKETS: usize = 61 * CUTS as usize;

/// A histogram of durations that any thread may add to: buckets within 1/16 of each other, over the whole
/// range of `u64` nanoseconds.
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: std::iter::repeat_with(AtomicU64::default).take(BUCKETS).collect() }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99] = [0.5, 0.99].map(|q| self.quantile(q));
        f.debug_struct("Histogram").field("count", &self.count()).field("p50", &p50).field("p99", &p99).finish()
    }
}

fn bucket(value: u64) -> usize {
    if value < CUTS {
        return value as usize;
    }
    let power = u64::from(value.ilog2() - CUTS.ilog2());
    (power * CUTS + (value >> power)) as usize
}

/// The greatest value of a bucket.
fn bucket_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * CUTS {
        return bucket;
    }
    let power = bucket / CUTS - 1;
    let start = u128::from(bucket % CUTS + CUTS) << power;
    u64::try_from(start + (1 << power) - 1).unwrap_or(u64::MAX)
}

impl Histogram {
    /// Adds one.
    pub fn record(&self, value: Duration) {
        let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
    }

    /// Adds all of `other`.
    pub fn merge(&self, other: &Self) {
        for (mine, other) in self.buckets.iter().zip(&other.buckets) {
            mine.fetch_add(other.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// How many were added.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The value that a share `q` (0 to 1) of all values does not exceed, rounded up by at most 1/16; zero where there are none.
    pub fn quantile(&self, q: f64) -> Duration {
        let rank = (self.count() as f64 * q.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += bucket.load(Ordering::Relaxed);
            if seen >= rank {
                return Duration::from_nanos(bucket_end(index));
            }
        }
        Duration::ZERO
    }
}

/// What a kernel has done since it was started.
#[derive(Debug, Default)]
pub struct KernelMetrics {
    pub(crate) busy: [AtomicU64; 2],
    pub(crate) idle: AtomicU64,
    pub(crate) polls: AtomicU64,
    pub(crate) suspensions: AtomicU64,
    pub(crate) ready_to_run: [Histogram; 2],
}

impl KernelMetrics {
    /// Time spent in tasks of a class.
    pub fn busy(&self, class: Class) -> Duration {
        Duration::from_nanos(self.busy[class as usize].load(Ordering::Relaxed))
    }

    /// Time spent waiting for work, with nothing ready.
    pub fn idle(&self) -> Duration {
        Duration::from_nanos(self.idle.load(Ordering::Relaxed))
    }

    /// How often a task was run.
    pub fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    /// How often synchronous code was suspended at a yield point.
    pub fn suspensions(&self) -> u64 {
        self.suspensions.load(Ordering::Relaxed)
    }

    /// From being ready to being run, for tasks of a class.
    pub fn ready_to_run(&self, class: Class) -> &Histogram {
        &self.ready_to_run[class as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_all_values_within_a_sixteenth() {
        for value in (0..64).map(|shift| 1_u64 << shift).flat_map(|v| [v - 1, v, v + v / 3]).chain([u64::MAX]) {
            let end = bucket_end(bucket(value));
            assert!(end >= value && end - value <= value / 16, "{value} is told as {end}");
        }
    }

    #[test]
    fn quantiles() {
        let histogram = Histogram::default();
        (1..=1000).for_each(|us| histogram.record(Duration::from_micros(us)));
        let p50 = histogram.quantile(0.5).as_micros();
        assert!((500..=532).contains(&p50), "{p50}");
        assert_eq!(Histogram::default().quantile(0.99), Duration::ZERO);
    }
}
