//! Which records are late, and where epochs end: decided once, at the source, in the order of its records.
//!
//! A [`Stamp`] follows one partition. It *declares* watermarks at points which its own records alone determine
//! (see [`Epochs`]); a record is late if it is below the watermark that was declared last. Since nothing
//! else goes into it, neither the number of kernels nor the schedule can change the answer. What it says of records that
//! come in columns is in `lateness/rows.rs`; how a source asks, in `lateness/stamping.rs`.

mod rows;
mod stamping;

pub use rows::RowWatermarks;
pub(crate) use rows::row_stamp;
pub(crate) use stamping::{ByCount, Piece, Stamping};

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::epoch::Epochs;
use crate::time::{Time, micros};

/// How far event time has come, given the records so far.
#[derive(Clone)]
pub enum Watermarks<T> {
    /// Records are out of order by no more than this: the watermark trails the greatest time seen. Zero for
    /// records in order.
    Bounded(Duration),
    /// The records say so themselves: what is returned for a record is the watermark from there on, if it is
    /// higher than the one before.
    Custom(Arc<dyn Fn(&T) -> Option<Time> + Send + Sync>),
}

impl<T> Watermarks<T> {
    /// Records come in order of time; what does not is late.
    pub fn monotonic() -> Self {
        Self::Bounded(Duration::ZERO)
    }

    /// Records are out of order by no more than `disorder`.
    pub fn bounded(disorder: Duration) -> Self {
        Self::Bounded(disorder)
    }

    /// The watermark that `watermark` returns for a record, where it returns one.
    pub fn custom(watermark: impl Fn(&T) -> Option<Time> + Send + Sync + 'static) -> Self {
        Self::Custom(Arc::new(watermark))
    }
}

/// What a stamp has come to, as it is noted in checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Stamped {
    newest: i64,
    declared: i64,
    threshold: i64,
    left: usize,
}

/// A run of records that belongs to one epoch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) len: usize,
    /// Those among them that are late, ascending.
    pub(crate) late: Vec<usize>,
    /// Whether the epoch ends after them.
    pub(crate) ends: bool,
    /// The watermark declared by then.
    pub(crate) watermark: Time,
}

/// Records looked at together, for speed: if none can be late or end the epoch, no further look is taken.
const CHUNK: usize = 512;

/// See the module's page. `time` reads a record's event time.
pub(crate) struct Stamp<T, F> {
    time: F,
    watermarks: Watermarks<T>,
    epochs: Epochs,
    /// The greatest time seen, or what stands for it with custom watermarks.
    newest: i64,
    declared: i64,
    /// The epoch ends with the first record at or above this.
    threshold: i64,
    /// Records left in the epoch.
    left: usize,
}

impl<T, F: Fn(&T) -> Time> Stamp<T, F> {
    pub(crate) fn new(time: F, watermarks: Watermarks<T>, epochs: Epochs) -> Self {
        let left = epochs.quota();
        Self { time, watermarks, epochs, newest: i64::MIN, declared: i64::MIN, threshold: i64::MAX, left }
    }

    pub(crate) fn save(&self) -> Stamped {
        Stamped { newest: self.newest, declared: self.declared, threshold: self.threshold, left: self.left }
    }

    pub(crate) fn restore(&mut self, was: Stamped) {
        (self.newest, self.declared, self.threshold, self.left) = (was.newest, was.declared, was.threshold, was.left);
    }

    fn disorder(&self) -> i64 {
        if let Watermarks::Bounded(disorder) = &self.watermarks { micros(*disorder) } else { 0 }
    }

    /// The watermark declared last.
    pub(crate) fn watermark(&self) -> Time {
        Time(self.declared)
    }

    /// The greatest time seen.
    pub(crate) fn newest(&self) -> Time {
        Time(self.newest)
    }

    /// Declares `watermark`, if that is higher than what was declared: for a source that is idle.
    pub(crate) fn raise(&mut self, watermark: Time) {
        self.declared = self.declared.max(watermark.0);
    }

    /// Declares that `span` has passed since the newest record, in event time too.
    pub(crate) fn pass(&mut self, span: Duration) {
        if self.newest != i64::MIN {
            self.raise(Time(self.newest.saturating_sub(self.disorder())) + span);
        }
    }

    /// Declares how far the records have come, at the end of an epoch.
    pub(crate) fn declare(&mut self) {
        self.left = self.epochs.quota();
        let reached = self.newest.saturating_sub(self.disorder());
        let declared = match self.epochs {
            // Steps are counted from the origin of time, not from the record that happened to end this one.
            Epochs::WatermarkStep(step) => reached.saturating_sub(reached.rem_euclid(micros(step).max(1))),
            Epochs::Records(_) | Epochs::WallClock(_) => reached,
        };
        if self.newest != i64::MIN {
            self.declared = self.declared.max(declared);
            self.threshold = self.threshold_after(declared);
        }
    }

    /// Epochs are closed otherwise from now on.
    pub(crate) fn close(&mut self, epochs: Epochs) {
        (self.epochs, self.left) = (epochs, epochs.quota());
        self.threshold = self.first_threshold();
    }

    /// Where the epoch ends that the newest record is of.
    fn first_threshold(&self) -> i64 {
        match self.epochs {
            Epochs::WatermarkStep(step) if self.newest != i64::MIN => {
                let reached = self.newest.saturating_sub(self.disorder());
                self.threshold_after(reached.saturating_sub(reached.rem_euclid(micros(step).max(1))))
            }
            _ => i64::MAX,
        }
    }

    fn threshold_after(&self, declared: i64) -> i64 {
        match self.epochs {
            Epochs::WatermarkStep(step) => declared.saturating_add(micros(step).max(1)).saturating_add(self.disorder()),
            Epochs::Records(_) | Epochs::WallClock(_) => i64::MAX,
        }
    }

    /// Cuts `records`, which follow those that were given before, into runs; the last one's epoch goes on.
    pub(crate) fn runs(&mut self, records: &[T]) -> Vec<Run> {
        let mut runs = Vec::with_capacity(1);
        let mut run = Run::default();
        let mut rest = records;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(rest.len().min(CHUNK).min(self.left));
            rest = after;
            if !self.plain(chunk) {
                self.look(chunk, &mut run, &mut runs);
            } else {
                run.len += chunk.len();
                self.left -= chunk.len();
                if self.left == 0 {
                    self.end(&mut run, &mut runs);
                }
            }
        }
        run.watermark = self.watermark();
        runs.push(run);
        runs
    }

    /// Whether no record of the chunk is late or ends the epoch; then they are seen.
    #[inline]
    fn plain(&mut self, chunk: &[T]) -> bool {
        if self.newest == i64::MIN || matches!(self.watermarks, Watermarks::Custom(_)) {
            return false;
        }
        let (mut least, mut greatest) = (i64::MAX, i64::MIN);
        for record in chunk {
            let time = (self.time)(record).0;
            least = least.min(time);
            greatest = greatest.max(time);
        }
        let plain = least >= self.declared && greatest < self.threshold;
        if plain {
            self.newest = self.newest.max(greatest);
        }
        plain
    }

    fn look(&mut self, chunk: &[T], run: &mut Run, runs: &mut Vec<Run>) {
        for record in chunk {
            let time = (self.time)(record).0;
            if time < self.declared {
                run.late.push(run.len);
            }
            run.len += 1;
            self.left -= 1;
            self.see(record, time);
            if self.newest >= self.threshold || self.left == 0 {
                self.end(run, runs);
            }
        }
    }

    fn see(&mut self, record: &T, time: i64) {
        let first = self.newest == i64::MIN;
        match &self.watermarks {
            Watermarks::Bounded(_) => self.newest = self.newest.max(time),
            Watermarks::Custom(watermark) => {
                if let Some(watermark) = watermark(record) {
                    self.newest = self.newest.max(watermark.0);
                }
            }
        }
        if first && self.newest != i64::MIN {
            // The first record declares nothing, or each partition would begin with an epoch of one.
            self.threshold = self.first_threshold();
        }
    }

    fn end(&mut self, run: &mut Run, runs: &mut Vec<Run>) {
        self.declare();
        run.ends = true;
        run.watermark = self.watermark();
        runs.push(std::mem::take(run));
    }
}
