//! The latency of a window's results: from the moment that the punctuation which closes the window enters the source, to the
//! moment that the last of its rows has been taken by the sink. Records are fed by the clock, at a rate.

use std::sync::Arc;
use std::time::Duration;

use updraft::dataflow::{Batch, Error, Partition, Record};
use updraft::kernel::{Nanos, clock};
use updraft::prelude::*;

use crate::data::{DISORDER, Data, Reading, SECOND, Word};
use crate::engine::timely;

/// Records in memory, given at a rate.
struct Paced<T> {
    records: Arc<[T]>,
    given: usize,
    /// A second.
    rate: f64,
    begin: Option<Nanos>,
}

impl<T: Record> Source for Paced<T> {
    type Item = T;
    type Partition = Self;

    fn open(self) -> Result<Vec<Self>, Error> {
        Ok(vec![self])
    }
}

impl<T: Record> Partition for Paced<T> {
    type Item = T;

    async fn next(&mut self, limit: usize) -> Result<Option<Batch<T>>, Error> {
        if self.given == self.records.len() {
            return Ok(None);
        }
        let begin = *self.begin.get_or_insert_with(clock::now);
        loop {
            let due = (clock::now().since(begin).as_secs_f64() * self.rate) as usize;
            let end = due.min(self.records.len()).min(self.given + limit);
            if end > self.given {
                let bundle = Bundle::shared(self.records.clone(), self.given..end);
                self.given = end;
                return Ok(Some(bundle.into()));
            }
            clock::sleep(Duration::from_micros(200)).await;
        }
    }

    fn position(&self) -> String {
        format!("record {}", self.given)
    }
}

/// What is told of a latency. With fewer than a thousand windows the last one is the worst of them.
pub(crate) const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];

/// The [`QUANTILES`] of each engine at `rate` records a second, for W1 and W2.
pub(crate) fn measure(data: &Data, threads: usize, rate: f64) -> Vec<(&'static str, [Duration; 3])> {
    let mut timely = timely::latencies(data, threads, rate);
    timely.sort();
    let quantile = |q: f64| timely.get((timely.len() as f64 * q) as usize).copied().unwrap_or_default();
    let timely = (!timely.is_empty()).then(|| ("timely", QUANTILES.map(quantile)));
    updraft(data, threads, rate).map(|quantiles| ("Updraft", quantiles)).into_iter().chain(timely).collect()
}

fn updraft(data: &Data, threads: usize, rate: f64) -> Option<[Duration; 3]> {
    let runtime = Runtime::builder().kernels(threads).build().ok()?;
    let job = Job::new("latency");
    match data {
        Data::Words(words, _) => {
            let words = timed(&job, words, rate, |word: &Word| Time(word.time));
            words.key_by(|word| word.word).window(second()).aggregate(count()).sink("rows", Blackhole::new().0);
        }
        Data::Readings(readings, _) => {
            let readings = timed(&job, readings, rate, |reading: &Reading| Time(reading.time));
            let stats = project(|r: &Reading| r.value, (sum(|v: &u64| *v), count(), max(|v: &u64| *v)));
            let rows = readings.key_by(|reading| reading.key).window(second()).aggregate(stats);
            rows.sink("rows", Blackhole::new().0);
        }
        _ => return None,
    }
    let running = job.start(runtime.handle()).ok()?;
    let metrics = runtime.block_on(running.join()).ok()?;
    Some(QUANTILES.map(|q| metrics.latency.quantile(q)))
}

fn second() -> Tumbling {
    Tumbling::of(Duration::from_micros(SECOND as u64))
}

/// Each epoch closes one window.
fn timed<T: Record, F: Fn(&T) -> Time + Clone + Send + Sync + 'static>(
    job: &Job,
    records: &Arc<[T]>,
    rate: f64,
    time: F,
) -> Stream<T, impl updraft::dataflow::Pipe<T, Out = T> + use<T, F>> {
    let paced = Paced { records: records.clone(), given: 0, rate, begin: None };
    let disorder = Duration::from_micros(DISORDER as u64);
    let step = Epochs::WatermarkStep(Duration::from_micros(SECOND as u64));
    job.source("paced", paced).timestamps(time, Watermarks::bounded(disorder)).epochs(step).stream()
}
