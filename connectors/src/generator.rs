//! Records made by a function of their number, as fast as they are taken or at a rate. Next:
//! [`crate::nexmark`], a generator with a story.

use std::sync::Arc;

use updraft_dataflow::{Batch, Error, Partition, Place, Record, Source};

use crate::pace::Pace;

/// A source that makes its records up. Without [`count`](Self::count) it never ends.
///
/// ```
/// use updraft_connectors::Generator;
/// let source = Generator::new(|i| (i % 10, i)).count(1_000_000).rate(50_000.0);
/// ```
#[derive(Clone, Debug)]
pub struct Generator<F> {
    make: F,
    count: u64,
    rate: Option<f64>,
    partitions: u64,
}

impl<T, F: Fn(u64) -> T> Generator<F> {
    /// Record number `i`, from 0, is `make(i)`.
    pub fn new(make: F) -> Self {
        Self { make, count: u64::MAX, rate: None, partitions: 1 }
    }

    /// Ends after `count` records, over all partitions.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.count = count;
        self
    }

    /// `records_per_second`, over all partitions, by the kernel's clock. After a pause it makes up for one
    /// second at most.
    #[must_use]
    pub fn rate(mut self, records_per_second: f64) -> Self {
        self.rate = Some(records_per_second);
        self
    }

    /// Deals the numbers out to `partitions`, round robin, so that all of them cover the same stretch of time.
    /// At least one.
    #[must_use]
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.partitions = partitions.max(1) as u64;
        self
    }
}

impl<T: Record, F: Fn(u64) -> T + Send + Sync + 'static> Source for Generator<F> {
    type Item = T;
    type Partition = GeneratorPartition<F>;

    fn open(self) -> Result<Vec<Self::Partition>, Error> {
        Pace::check(self.rate)?;
        let make = Arc::new(self.make);
        let share = self.rate.map(|rate| rate / self.partitions as f64);
        let open = |first| GeneratorPartition {
            make: make.clone(),
            next: first,
            step: self.partitions,
            end: self.count,
            pace: share.map(Pace::new),
        };
        Ok((0..self.partitions).map(open).collect())
    }
}

/// Every so manieth record of a [`Generator`].
#[derive(Debug)]
pub struct GeneratorPartition<F> {
    make: Arc<F>,
    next: u64,
    step: u64,
    end: u64,
    pace: Option<Pace>,
}

impl<T: Record, F: Fn(u64) -> T + Send + Sync + 'static> Partition for GeneratorPartition<F> {
    type Item = T;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<T>>, Error> {
        let left = self.end.saturating_sub(self.next).div_ceil(self.step);
        if left == 0 {
            return Ok(None);
        }
        let mut n = limit.max(1).min(usize::try_from(left).unwrap_or(usize::MAX));
        if let Some(pace) = &mut self.pace {
            n = pace.take(n).await;
        }
        let (first, step) = (self.next, self.step);
        let records: Vec<T> = (0..n as u64).map(|i| (self.make)(first + i * step)).collect();
        self.next = first.saturating_add(n as u64 * step);
        Ok(Some(records.into()))
    }

    fn position(&self) -> String {
        format!("generator:{}", self.next)
    }

    fn place(&self) -> Option<Place> {
        Some(self.next.into())
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        self.next = serde_json::from_value(place)?;
        Ok(())
    }
}
