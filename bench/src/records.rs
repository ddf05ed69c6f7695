//! The latency of a record through a job without state, source to sink, at a share of the highest rate: from when it was due at the
//! source, whether that had time for it or not, to when the sink has it. There is a partition for each kernel, which asks the clock
//! whenever it is its turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use updraft::dataflow::{Batch, Error, Partition, Sink};
use updraft::kernel::metrics::Histogram;
use updraft::kernel::{Nanos, clock, yield_now};
use updraft::prelude::*;

use crate::engine::twenty_steps;

/// One record in so many is measured.
const SAMPLED: usize = 16;

/// Numbers, as many at a time as there are partitions: as fast as they are taken, or so many a second.
#[derive(Clone)]
struct Due {
    partition: u64,
    partitions: u64,
    /// Numbers given by this partition, and to be given.
    given: u64,
    end: u64,
    /// Of each partition.
    rate: Option<f64>,
    begin: Nanos,
}

impl Source for Due {
    type Item = (u64, u64);
    type Partition = Self;

    fn open(self) -> Result<Vec<Self>, Error> {
        Ok((0..self.partitions).map(|partition| Self { partition, ..self.clone() }).collect())
    }
}

impl Partition for Due {
    type Item = (u64, u64);

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<(u64, u64)>>, Error> {
        if self.given == self.end {
            return Ok(None);
        }
        loop {
            let passed = clock::now().since(self.begin).as_secs_f64();
            let due = self.rate.map_or(self.end, |rate| (passed * rate) as u64);
            let end = due.min(self.end).min(self.given + limit as u64);
            if end > self.given {
                let number = |n| n * self.partitions + self.partition;
                let batch: Vec<_> = (self.given..end).map(|n| (number(n), n)).collect();
                self.given = end;
                return Ok(Some(batch.into()));
            }
            yield_now().await;
        }
    }

    fn position(&self) -> String {
        format!("record {}", self.given)
    }
}

/// Measures when records come.
struct Watch {
    begin: Nanos,
    rate: Option<f64>,
    latency: Arc<Histogram>,
}

impl Sink<(u64, u64)> for Watch {
    async fn write(&mut self, bundle: Bundle<(u64, u64)>) -> Result<(), Error> {
        let Some(rate) = self.rate else { return Ok(()) };
        let now = clock::now().since(self.begin);
        for (number, _) in bundle.as_slice().iter().step_by(SAMPLED) {
            self.latency.record(now.saturating_sub(Duration::from_secs_f64(*number as f64 / rate)));
        }
        Ok(())
    }
}

fn run(records: u64, threads: usize, rate: Option<f64>) -> (Duration, Arc<Histogram>) {
    let runtime = Runtime::builder().kernels(threads).build().expect("kernels start");
    let latency = Arc::new(Histogram::default());
    let job = Job::new("records");
    let (begin, partitions) = (clock::now(), threads as u64);
    let each = rate.map(|rate| rate / partitions as f64);
    let numbers = Due { partition: 0, partitions, given: 0, end: records / partitions, rate: each, begin };
    // The number goes along, so that the sink knows when the record was due.
    job.source("numbers", numbers)
        .epochs(Epochs::WallClock(Duration::from_millis(10)))
        .stream()
        .filter(|(_, number)| twenty_steps!(Some(*number)).is_some())
        .sink("watch", Watch { begin, rate, latency: latency.clone() });
    let started = Instant::now();
    let running = job.start(runtime.handle()).expect("the job starts");
    runtime.block_on(running.join()).expect("the job ends well");
    (started.elapsed(), latency)
}

/// The highest rate of records a second, and latencies at a share of it.
pub(crate) fn measure(records: u64, threads: usize, share: f64) -> (f64, Arc<Histogram>) {
    let (span, _) = run(records, threads, None);
    let most = records as f64 / span.as_secs_f64();
    // For two seconds.
    let (_, latency) = run((most * share * 2.0) as u64, threads, Some(most * share));
    (most, latency)
}
