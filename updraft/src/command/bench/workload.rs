//! The workloads: each prepares its records once and makes as many jobs over them as asked for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use regex::Regex;
use updraft::connectors::nexmark::Bid;
use updraft::dataflow::Partition;
use updraft::kernel::block_on;
use updraft::prelude::*;

use super::data::{self, Reading, Word};

/// What is measured.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Workload {
    /// Words counted per second of event time; 100k words, Zipf-distributed.
    WordCount,
    /// Sum, count and maximum per key and second of event time; a million keys.
    KeyedSum,
    /// Lines of a kilobyte that match a regular expression.
    Grep,
    /// Twenty maps and filters.
    Chain,
    /// Nexmark query 1: prices in another currency.
    Q1,
    /// Nexmark query 2: the bids on certain items.
    Q2,
    /// Nexmark query 5: the item of the most bids, in sliding windows.
    Q5,
}

/// Makes a job over records that are in memory.
pub(super) struct Prepared(Box<dyn Fn() -> Job>);

impl Prepared {
    fn new(job: impl Fn() -> Job + 'static) -> Self {
        Self(Box::new(job))
    }

    pub(super) fn job(&self) -> Job {
        (self.0)()
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

fn second() -> Tumbling {
    Tumbling::of(Duration::from_secs(1))
}

impl Workload {
    pub(super) const ALL: [Self; 7] =
        [Self::WordCount, Self::KeyedSum, Self::Grep, Self::Chain, Self::Q1, Self::Q2, Self::Q5];

    pub(super) fn prepare(self, records: usize) -> Prepared {
        match self {
            Self::WordCount => word_count(records),
            Self::KeyedSum => keyed_sum(records),
            Self::Grep => grep(records),
            Self::Chain => chain(records),
            Self::Q1 => q1(records),
            Self::Q2 => q2(records),
            Self::Q5 => q5(records),
        }
    }
}

/// Ends a job in a single number, so that nothing of it can be left undone.
macro_rules! add_up {
    ($stream:expr, $number:expr) => {
        $stream
            .fold(
                0_u64,
                |total, record| *total = total.wrapping_add($number(record)),
                |total, other| {
                    *total = total.wrapping_add(other);
                },
            )
            .sink("total", Blackhole::new().0)
    };
}

fn word_count(records: usize) -> Prepared {
    let words = data::words(records);
    Prepared::new(move || {
        let job = Job::new("word-count");
        let counts = job
            .source("words", Memory::new(words.clone()))
            .timestamps(|word: &Word| Time(word.time), Watermarks::bounded(Duration::from_millis(500)))
            .stream()
            .key_by(|word| word.word)
            .window(second())
            .aggregate(count());
        add_up!(counts, |row: Windowed<[u8; 10], u64>| row.value ^ u64::from(row.key[0]));
        job
    })
}

fn keyed_sum(records: usize) -> Prepared {
    let readings = data::readings(records);
    Prepared::new(move || {
        let job = Job::new("keyed-sum");
        let rows = job
            .source("readings", Memory::new(readings.clone()))
            .timestamps(|reading: &Reading| Time(reading.time), Watermarks::bounded(Duration::from_millis(500)))
            .stream()
            .key_by(|reading| reading.key)
            .window(second())
            .aggregate((sum(|r: &Reading| r.value), count(), max(|r: &Reading| r.value)));
        add_up!(rows, |row: Windowed<u64, (u64, u64, u64)>| row.key ^ row.value.0 ^ row.value.1 ^ row.value.2);
        job
    })
}

fn grep(records: usize) -> Prepared {
    let lines = data::lines(records.div_ceil(10));
    let pattern = Regex::new(r"status=5\d\d (timeout|refused)").expect("the pattern is a regular expression");
    Prepared::new(move || {
        let job = Job::new("grep");
        let pattern = pattern.clone();
        let hits = job
            .source("lines", Memory::new(lines.clone()).repeat(10))
            .stream()
            .filter(move |line| pattern.is_match(line));
        add_up!(hits, |line: Arc<str>| line.len() as u64);
        job
    })
}

fn chain(records: usize) -> Prepared {
    let numbers = data::numbers(records);
    Prepared::new(move || {
        let job = Job::new("chain");
        macro_rules! steps {
            ($stream:expr; $($n:literal)*) => {
                $stream$(
                    .map(|x: u64| (x ^ $n).wrapping_mul(0x9E37_79B9_7F4A_7C15))
                    .filter(|x: &u64| x >> 57 != $n)
                )*
            };
        }
        let rest = steps!(job.source("numbers", Memory::new(numbers.clone())).stream(); 1 2 3 4 5 6 7 8 9 10);
        add_up!(rest, |x| x);
        job
    })
}

/// Bids that are made beforehand: what of each the queries look at.
fn bids(records: usize) -> Arc<[Slim]> {
    let mut bids = Vec::with_capacity(records);
    let source = Nexmark::new().without_text().interval(Duration::from_micros(1)).bids();
    for mut partition in source.open().expect("the generator has no settings that could be wrong") {
        while bids.len() < records {
            let batch = block_on(partition.next(4096)).expect("the generator cannot fail");
            let slim =
                |bid: Bid| Slim { auction: bid.auction, bidder: bid.bidder, price: bid.price, time: bid.date_time };
            bids.extend(batch.into_iter().flat_map(|batch| batch.records.into_vec()).map(slim));
        }
    }
    bids.truncate(records);
    bids.into()
}

/// A bid without its texts.
#[derive(Clone, Copy)]
struct Slim {
    auction: u64,
    bidder: u64,
    price: u64,
    time: Time,
}

fn q1(records: usize) -> Prepared {
    let bids = bids(records);
    Prepared::new(move || {
        let job = Job::new("q1");
        let euros = job.source("bids", Memory::new(bids.clone())).stream().map(|mut bid| {
            bid.price = bid.price * 908 / 1000;
            bid
        });
        add_up!(euros, |bid: Slim| bid.price ^ bid.bidder);
        job
    })
}

fn q2(records: usize) -> Prepared {
    let bids = bids(records);
    Prepared::new(move || {
        let job = Job::new("q2");
        let some = job.source("bids", Memory::new(bids.clone())).stream().filter(|bid| bid.auction % 123 == 0);
        add_up!(some, |bid: Slim| bid.price ^ bid.bidder);
        job
    })
}

fn q5(records: usize) -> Prepared {
    let bids = bids(records);
    Prepared::new(move || {
        let job = Job::new("q5");
        let (size, slide) = (Duration::from_secs(10), Duration::from_secs(2));
        let hottest = job
            .source("bids", Memory::new(bids.clone()))
            .timestamps(|bid: &Slim| bid.time, Watermarks::monotonic())
            .stream()
            .key_by(|bid| bid.auction)
            .window(Sliding::of(size, slide))
            .aggregate(count())
            .window_all(Tumbling::of(slide))
            .top_k(1, |item| item.value);
        add_up!(hottest, |row: Windowed<(), Vec<Windowed<u64, u64>>>| {
            row.value.iter().map(|item| item.key ^ item.value).sum::<u64>()
        });
        job
    })
}
