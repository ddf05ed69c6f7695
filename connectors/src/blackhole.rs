//! Results thrown away, but counted: for measuring, and the shortest sink there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use updraft_dataflow::{Bundle, Error, Punctuation, Record, Sink, Time};

/// A sink that drops all it is given.
#[derive(Debug)]
pub struct Blackhole {
    counts: Arc<Counters>,
}

/// What a [`Blackhole`] has swallowed; may be asked while the job runs and after.
#[derive(Clone, Debug)]
pub struct Counts {
    counts: Arc<Counters>,
}

#[derive(Debug)]
struct Counters {
    records: AtomicU64,
    bytes: AtomicU64,
    epochs: AtomicU64,
    watermark: AtomicI64,
}

impl Blackhole {
    /// The sink, and its counts.
    pub fn new() -> (Self, Counts) {
        let counts = Arc::new(Counters {
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            epochs: AtomicU64::new(0),
            watermark: AtomicI64::new(Time::MIN.0),
        });
        (Self { counts: counts.clone() }, Counts { counts })
    }
}

impl Counts {
    /// How many records came.
    pub fn records(&self) -> u64 {
        self.counts.records.load(Relaxed)
    }

    /// How many bytes they were accounted as.
    pub fn bytes(&self) -> u64 {
        self.counts.bytes.load(Relaxed)
    }

    /// How many epochs are complete.
    pub fn epochs(&self) -> u64 {
        self.counts.epochs.load(Relaxed)
    }

    /// The watermark of the last complete epoch.
    pub fn watermark(&self) -> Time {
        Time(self.counts.watermark.load(Relaxed))
    }
}

impl<T: Record> Sink<T> for Blackhole {
    async fn write(&mut self, bundle: Bundle<T>) -> Result<(), Error> {
        self.counts.records.fetch_add(bundle.count() as u64, Relaxed);
        self.counts.bytes.fetch_add(bundle.bytes() as u64, Relaxed);
        Ok(())
    }

    async fn complete(&mut self, punctuation: Punctuation) -> Result<(), Error> {
        self.counts.watermark.store(punctuation.watermark.0, Relaxed);
        self.counts.epochs.fetch_add(1, Relaxed);
        Ok(())
    }
}
