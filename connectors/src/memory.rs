//! Records that are in memory already: bundles are ranges of the one buffer, so that nothing is copied
//! between the buffer and the stage's loop. Next: [`crate::generator`], for records that are made up.

use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use updraft_dataflow::{Batch, Bundle, Error, Partition, Place, Record, Source};

/// A source over a buffer of records.
///
/// ```
/// use updraft_connectors::Memory;
/// let source = Memory::new(vec!["a", "b", "c"]).partitions(2).repeat(10);
/// ```
#[derive(Clone, Debug)]
pub struct Memory<T> {
    records: Arc<[T]>,
    partitions: usize,
    rounds: u64,
}

impl<T> Memory<T> {
    /// All of `records`, once, in one partition.
    pub fn new(records: impl Into<Arc<[T]>>) -> Self {
        Self { records: records.into(), partitions: 1, rounds: 1 }
    }

    /// Splits the buffer into `partitions` contiguous parts of about the same length. At least one.
    #[must_use]
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.partitions = partitions.max(1);
        self
    }

    /// Each partition gives its part `rounds` times.
    #[must_use]
    pub fn repeat(mut self, rounds: u64) -> Self {
        self.rounds = rounds;
        self
    }

    /// The records of partition `index`.
    fn part(&self, index: usize) -> Range<usize> {
        let bound = |i: usize| self.records.len() * i / self.partitions;
        bound(index)..bound(index + 1)
    }
}

impl<T: Record> Source for Memory<T> {
    type Item = T;
    type Partition = MemoryPartition<T>;

    fn open(self) -> Result<Vec<Self::Partition>, Error> {
        let open = |index| {
            let part = self.part(index);
            let rounds = if part.is_empty() { 0 } else { self.rounds };
            MemoryPartition { records: self.records.clone(), at: part.start, part, rounds }
        };
        Ok((0..self.partitions).map(open).collect())
    }
}

/// One contiguous part of the buffer of a [`Memory`].
#[derive(Debug)]
pub struct MemoryPartition<T> {
    records: Arc<[T]>,
    part: Range<usize>,
    at: usize,
    /// Rounds to go, the running one included.
    rounds: u64,
}

impl<T: Record> Partition for MemoryPartition<T> {
    type Item = T;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<T>>, Error> {
        if self.at == self.part.end {
            self.at = self.part.start;
            self.rounds = self.rounds.saturating_sub(1);
        }
        if self.rounds == 0 {
            return Ok(None);
        }
        let end = self.part.end.min(self.at.saturating_add(limit.max(1)));
        let bundle = Bundle::shared(self.records.clone(), self.at..end);
        self.at = end;
        Ok(Some(bundle.into()))
    }

    fn position(&self) -> String {
        format!("memory:{}", self.at)
    }

    fn place(&self) -> Option<Place> {
        Some(json!({ "at": self.at, "rounds": self.rounds }))
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Spot {
            at: usize,
            rounds: u64,
        }
        let Spot { at, rounds } = serde_json::from_value(place)?;
        if !(self.part.start..=self.part.end).contains(&at) {
            let remedy = "give it the records that it had, or start the job anew";
            return Err(format!("memory: cannot go on from record {at}, which is not there: {remedy}").into());
        }
        (self.at, self.rounds) = (at, rounds);
        Ok(())
    }
}
