//! This project, through its high-level API alone.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use regex::Regex;
use updraft::dataflow::EpochOrder;
use updraft::prelude::*;

use super::twenty_steps;
use crate::Workload;
use crate::data::{
    Bid, DISORDER, Data, HOT, PATTERN, Reading, SECOND, Shape, Word, digest_hot, digest_reading, digest_word,
};

/// The kernels are started once; jobs come and go.
fn runtime(kernels: usize) -> &'static Runtime {
    static RUNTIMES: OnceLock<Mutex<HashMap<usize, &'static Runtime>>> = OnceLock::new();
    let runtimes = &mut *RUNTIMES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    runtimes.entry(kernels).or_insert_with(|| {
        Box::leak(Box::new(Runtime::builder().kernels(kernels).build().expect("the kernels can be started")))
    })
}

/// Ends a stream in the sum of what `digest` makes of its records.
macro_rules! checksum {
    ($job:expr, $stream:expr, $digest:expr) => {{
        let (sink, total) = Collect::new();
        let add = |total: &mut u64, other: u64| *total = total.wrapping_add(other);
        $stream.fold(0_u64, move |total, record| add(total, $digest(record)), add).sink("total", sink);
        (total, $job)
    }};
}

pub(super) use checksum;

pub(super) fn run(workload: Workload, data: &Data, threads: usize, order: EpochOrder) -> u64 {
    let job = Job::new("bench").epoch_order(order);
    let (total, job) = match (workload, data) {
        (_, Data::Words(words, shape)) => {
            let words = timed(&job, Memory::new(words.clone()), |word: &Word| Time(word.time), *shape);
            let counts = words.key_by(|word| word.word).window(second()).aggregate(count());
            checksum!(job, counts, |row: Windowed<[u8; 10], u64>| digest_word(row.window.start.0, &row.key, row.value))
        }
        (_, Data::Readings(readings, shape)) => {
            let readings = timed(&job, Memory::new(readings.clone()), |reading: &Reading| Time(reading.time), *shape);
            let stats = project(|r: &Reading| r.value, (sum(|v: &u64| *v), count(), max(|v: &u64| *v)));
            let rows = readings.key_by(|reading| reading.key).window(second()).aggregate(stats);
            checksum!(job, rows, |row: Windowed<u64, (u64, u64, u64)>| {
                let (sum, count, max) = row.value;
                digest_reading(row.window.start.0, row.key, sum, count, max)
            })
        }
        (_, Data::Sides(_) | Data::Sellers(_) | Data::Offers(_)) => unreachable!("joins and auctions are elsewhere"),
        (_, Data::Lines(lines)) => {
            let pattern = Regex::new(PATTERN).expect("the pattern is right");
            let hits =
                job.source("lines", Memory::new(lines.clone())).stream().filter(move |line| pattern.is_match(line));
            checksum!(job, hits, |line: &str| line.len() as u64)
        }
        (_, Data::Numbers(numbers)) => {
            let rest = twenty_steps!(job.source("numbers", Memory::new(numbers.clone())).stream());
            checksum!(job, rest, |x| x)
        }
        (Workload::Q1, Data::Bids(bids)) => {
            let euros = job.source("bids", Memory::new(bids.clone())).stream().map(in_euros);
            checksum!(job, euros, |bid: Bid| bid.price ^ bid.auction)
        }
        (Workload::Q2, Data::Bids(bids)) => {
            let some =
                job.source("bids", Memory::new(bids.clone())).stream().filter(|bid| bid.auction.is_multiple_of(123));
            checksum!(job, some, |bid: Bid| bid.price ^ bid.auction)
        }
        (_, Data::Bids(bids)) => {
            let [size, slide] = [HOT.0, HOT.1].map(|micros| Duration::from_micros(micros as u64));
            let hottest = job
                .source("bids", Memory::new(bids.clone()))
                .timestamps(|bid: &Bid| Time(bid.time), Watermarks::monotonic())
                .stream()
                .key_by(|bid| bid.auction)
                .window(Sliding::of(size, slide))
                .aggregate(count())
                .window_all(Tumbling::of(slide))
                .top_k(1, |item| item.value);
            checksum!(job, hottest, |row: Windowed<(), Vec<Windowed<u64, u64>>>| {
                row.value.iter().fold(0, |sum, item| sum ^ digest_hot(item.window.end.0, item.key, item.value))
            })
        }
    };
    execute(job, total, threads)
}

/// Runs a job that ends in a checksum.
pub(super) fn execute(job: Job, total: updraft::connectors::collect::Collected<u64>, threads: usize) -> u64 {
    let runtime = runtime(threads);
    let running = job.start(runtime.handle()).expect("memory can be read");
    runtime.block_on(running.join()).expect("the job ends well");
    total.take().into_iter().next().unwrap_or_default()
}

pub(super) fn in_euros(mut bid: Bid) -> Bid {
    bid.price = bid.price * 908 / 1000;
    bid
}

fn second() -> Tumbling {
    Tumbling::of(Duration::from_micros(SECOND as u64))
}

fn timed<T, F>(
    job: &Job,
    memory: Memory<T>,
    time: F,
    shape: Shape,
) -> Stream<T, impl updraft::dataflow::Pipe<T, Out = T> + use<T, F>>
where
    T: updraft::dataflow::Record,
    F: Fn(&T) -> Time + Clone + Send + Sync + 'static,
{
    let disorder = Duration::from_micros(DISORDER as u64);
    // A record is a microsecond.
    let epochs = Epochs::WatermarkStep(Duration::from_micros(shape.epoch as u64));
    job.source("records", memory).timestamps(time, Watermarks::bounded(disorder)).epochs(epochs).stream()
}
