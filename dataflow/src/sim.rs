//! Testing a job of one's own under a simulated runtime: whole runs in milliseconds, with virtual time, under schedules and faults
//! that a seed decides. The same seed is the same run, to the byte.
//!
//! ```
//! use std::time::Duration;
//! use updraft_dataflow::sim::{Faults, Sim, slow, stalling};
//! use updraft_dataflow::testing::{Scripted, gather};
//! use updraft_dataflow::Job;
//!
//! for seed in 0..100 {
//!     let sim = Sim::builder(seed).kernels(3).faults(Faults::none().stalls(0.01, Duration::from_millis(50))).build();
//!     let job = Job::new("doubled");
//!     let (sink, rows) = gather();
//!     let source = stalling(Scripted(vec![vec![vec![1, 2], vec![3]], vec![vec![4]]]), Duration::from_secs(60));
//!     job.source("numbers", source).stream().map(|n| 2 * n).sink("rows", slow(sink, Duration::from_secs(1)));
//!     sim.block_on(job.start(sim.handle())?.join())?;
//!     let mut rows = rows.take();
//!     rows.sort();
//!     assert_eq!(rows, [2, 4, 6, 8], "seed {seed}");
//! }
//! # Ok::<(), updraft_dataflow::JobError>(())
//! ```
//!
//! What cannot go on is found at once, with the names of the tasks that wait. Sources and sinks must not use files or
//! sockets here; put what they would read or write into memory.

use std::time::Duration;

use updraft_kernel::clock;
pub use updraft_kernel::sim::{Builder, Faults, Fingerprint, Sim};

use crate::bundle::{Bundle, Record};
use crate::sink::{Prepared, Sink};
use crate::source::{Batch, Error, Partition, Place, Source};
use crate::time::Punctuation;

/// The sink, taking up to `longest` for each bundle.
pub fn slow<S>(sink: S, longest: Duration) -> Slow<S> {
    Slow { sink, longest }
}

/// See [`slow`].
#[derive(Debug)]
pub struct Slow<S> {
    sink: S,
    longest: Duration,
}

/// Waits for a while, up to `longest`.
async fn wait(longest: Duration) {
    let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
    clock::sleep(Duration::from_nanos(updraft_kernel::random::u64() % nanos.max(1))).await;
}

impl<T: Record, S: Sink<T>> Sink<T> for Slow<S> {
    async fn write(&mut self, bundle: Bundle<T>) -> Result<(), Error> {
        wait(self.longest).await;
        self.sink.write(bundle).await
    }

    async fn complete(&mut self, punctuation: Punctuation) -> Result<(), Error> {
        self.sink.complete(punctuation).await
    }

    async fn begin(&mut self, attempt: u64, prepared: Vec<Prepared>) -> Result<(), Error> {
        wait(self.longest).await;
        self.sink.begin(attempt, prepared).await
    }

    async fn prepare(&mut self) -> Result<Prepared, Error> {
        wait(self.longest).await;
        self.sink.prepare().await
    }

    async fn commit(&mut self, prepared: Prepared) -> Result<(), Error> {
        wait(self.longest).await;
        self.sink.commit(prepared).await
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.sink.close().await
    }
}

/// The sink, which fails once it has taken so many records.
pub fn failing<S>(sink: S, records: usize) -> Failing<S> {
    Failing { sink, left: records }
}

/// See [`failing`].
#[derive(Debug)]
pub struct Failing<S> {
    sink: S,
    left: usize,
}

impl<T: Record, S: Sink<T>> Sink<T> for Failing<S> {
    async fn write(&mut self, bundle: Bundle<T>) -> Result<(), Error> {
        let Some(left) = self.left.checked_sub(bundle.len()) else { return Err("a failure by the simulator".into()) };
        self.left = left;
        self.sink.write(bundle).await
    }

    async fn complete(&mut self, punctuation: Punctuation) -> Result<(), Error> {
        self.sink.complete(punctuation).await
    }

    async fn begin(&mut self, attempt: u64, prepared: Vec<Prepared>) -> Result<(), Error> {
        self.sink.begin(attempt, prepared).await
    }

    async fn prepare(&mut self) -> Result<Prepared, Error> {
        self.sink.prepare().await
    }

    async fn commit(&mut self, prepared: Prepared) -> Result<(), Error> {
        self.sink.commit(prepared).await
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.sink.close().await
    }
}

/// The source, of which each partition stands still for up to `longest` before it gives something, every fourth time or so.
pub fn stalling<S>(source: S, longest: Duration) -> Stalling<S> {
    Stalling { inner: source, longest }
}

/// See [`stalling`]: a source, or a partition of it.
#[derive(Debug)]
pub struct Stalling<S> {
    inner: S,
    longest: Duration,
}

impl<S: Source> Source for Stalling<S> {
    type Item = S::Item;
    type Partition = Stalling<S::Partition>;

    fn open(self) -> Result<Vec<Self::Partition>, Error> {
        let longest = self.longest;
        let partitions = self.inner.open()?;
        Ok(partitions.into_iter().map(|inner| Stalling { inner, longest }).collect())
    }
}

impl<P: Partition> Partition for Stalling<P> {
    type Item = P::Item;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<P::Item>>, Error> {
        if updraft_kernel::random::u64().is_multiple_of(4) {
            wait(self.longest).await;
        }
        self.inner.next(limit).await
    }

    fn position(&self) -> String {
        self.inner.position()
    }

    fn place(&self) -> Option<Place> {
        self.inner.place()
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        self.inner.seek(place)
    }
}
