//! timely, with the best operators that we can write inside it.
//!
//! A record's logical time is its epoch; a window's operator keeps a table per window (the hand-written loop's), holds a
//! capability for the epoch whose end closes the window, and gives its share when the frontier has passed that. With two workers
//! shares are exchanged by key and merged by a second operator. Each worker is fed every other chunk.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use regex::Regex;
use timely::Config;
use timely::ExchangeData;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::{Filter, Map};
use timely::dataflow::operators::{Capability, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

use super::hand::{Auctions, BATCH as SLOTS, BidCount, Close, Flat, Hottest, Slot, Stats, WordCount};
use super::twenty_steps;
use super::updraft::in_euros;
use crate::Workload;
use crate::data::{
    BID_INTERVAL, Bid, DISORDER, Data, HOT, PATTERN, Reading, SECOND, Word, digest_reading, digest_word,
};

/// Records fed at a time.
const BATCH: usize = 1024;
/// Epochs that may be in flight.
const AHEAD: u64 = 2;

/// How records are fed: as fast as they are taken, or by the clock.
#[derive(Clone, Default)]
pub(crate) struct Feed {
    /// Records a second.
    rate: Option<f64>,
    /// From the end of an epoch to the end of all work on it, by the epoch's number.
    latencies: Arc<Mutex<Vec<(u64, Duration)>>>,
}

impl Feed {
    pub(crate) fn at(rate: f64) -> Self {
        Self { rate: Some(rate), ..Self::default() }
    }

    /// Whether record number `n` is due.
    fn is_due(&self, begin: Instant, n: usize) -> bool {
        self.rate.is_none_or(|rate| begin.elapsed().as_secs_f64() * rate >= n as f64)
    }

    /// Notes the epochs on which no work is left.
    fn note(&self, ended: &mut VecDeque<(u64, Instant)>, probe: &ProbeHandle<u64>) {
        while let Some((number, at)) = ended.pop_front_if(|(number, _)| !probe.less_equal(number)) {
            self.latencies.lock().unwrap_or_else(PoisonError::into_inner).push((number, at.elapsed()));
        }
    }
}

/// The latencies of window results at `rate`, for W1 and W2: half a second of records is an epoch, so that
/// every other one closes a window.
pub(crate) fn latencies(data: &Data, threads: usize, rate: f64) -> Vec<Duration> {
    let feed = Feed::at(rate);
    let windows = Windowing { size: SECOND, disorder: DISORDER, epoch: 500_000, interval: 1 };
    match data {
        Data::Words(words, _) => {
            let digest = |_, e: &WordCount| u64::from(e.count);
            summed(words, threads, windows, &feed, |r: &Word| r.time, |r| *r, digest);
        }
        Data::Readings(readings, _) => {
            let digest = |_, e: &Stats| e.sum;
            summed(readings, threads, windows, &feed, |r: &Reading| r.time, |r| (r.key, r.value), digest);
        }
        _ => {}
    }
    let latencies = feed.latencies.lock().unwrap_or_else(PoisonError::into_inner);
    latencies.iter().filter(|(number, _)| *number >= 2 && number.is_multiple_of(2)).map(|(_, span)| *span).collect()
}

/// Feeds every worker its chunks of the records, epoch by epoch, into what `$stream` makes of them.
macro_rules! dataflow {
    ($records:expr, $threads:expr, $epoch:expr, $feed:expr, |$stream:ident, $worker:ident| $flow:expr) => {{
        let feed: Feed = $feed;
        let records = $records.clone();
        let (threads, epoch): (usize, usize) = ($threads, $epoch);
        let guards = timely::execute(Config::process(threads), move |$worker| {
            let (mut input, probe) = (InputHandle::<u64, _>::new(), ProbeHandle::new());
            let index = $worker.index();
            let result = $worker.dataflow(|scope| {
                let $stream = input.to_stream(scope);
                let (stream, result) = $flow;
                stream.probe_with(&probe);
                result
            });
            let mut buffer = Vec::with_capacity(BATCH);
            let (begin, mut ended) = (Instant::now(), VecDeque::new());
            for (number, records) in records.chunks(epoch).enumerate() {
                for (at, batch) in records.chunks(BATCH).enumerate().skip(index).step_by(threads) {
                    while !feed.is_due(begin, number * epoch + at * BATCH) {
                        $worker.step();
                        feed.note(&mut ended, &probe);
                    }
                    buffer.extend_from_slice(batch);
                    input.send_batch(&mut buffer);
                    $worker.step();
                }
                input.advance_to(number as u64 + 1);
                if feed.rate.is_some() && index == 0 {
                    ended.push_back((number as u64, Instant::now()));
                }
                while probe.less_than(&(number as u64).saturating_sub(AHEAD)) {
                    $worker.step();
                }
            }
            drop(input);
            while !probe.done() {
                $worker.step();
            }
            result()
        });
        guards.expect("timely starts").join().into_iter().map(|result| result.expect("no worker panics"))
    }};
}

/// A stateless dataflow that ends in the sum of what `$digest` makes of its records.
macro_rules! stateless {
    ($records:expr, $threads:expr, |$stream:ident| $flow:expr, $digest:expr) => {
        dataflow!($records, $threads, 100_000, Feed::default(), |$stream, worker| {
            let sum = Rc::new(Cell::new(0_u64));
            let adds = sum.clone();
            let stream = $flow.inspect(move |record| adds.set(adds.get().wrapping_add($digest(record))));
            (stream, move || sum.get())
        })
        .fold(0, u64::wrapping_add)
    };
}

pub(super) fn run(workload: Workload, data: &Data, threads: usize) -> u64 {
    match (workload, data) {
        (_, Data::Words(words, shape)) => {
            let windows = Windowing { size: SECOND, disorder: DISORDER, epoch: shape.epoch, interval: 1 };
            let digest = |window, e: &WordCount| digest_word(window * SECOND, &e.word, u64::from(e.count));
            summed(words, threads, windows, &Feed::default(), |r: &Word| r.time, |r| *r, digest)
        }
        (_, Data::Readings(readings, shape)) => {
            let windows = Windowing { size: SECOND, disorder: DISORDER, epoch: shape.epoch, interval: 1 };
            let digest = |window, e: &Stats| digest_reading(window * SECOND, e.key, e.sum, e.count, e.max);
            summed(readings, threads, windows, &Feed::default(), |r: &Reading| r.time, |r| (r.key, r.value), digest)
        }
        (_, Data::Sides(_) | Data::Sellers(_) | Data::Offers(_)) => unreachable!("joins and auctions are elsewhere"),
        (_, Data::Lines(lines)) => {
            let pattern = Regex::new(PATTERN).expect("the pattern is right");
            let matches = move || {
                let pattern = pattern.clone();
                move |line: &&'static str| pattern.is_match(line)
            };
            stateless!(lines, threads, |stream| stream.filter(matches()), |line: &&str| line.len() as u64)
        }
        (_, Data::Numbers(numbers)) => {
            stateless!(numbers, threads, |stream| twenty_steps!(stream), |x: &u64| *x)
        }
        (Workload::Q1, Data::Bids(bids)) => {
            stateless!(bids, threads, |stream| stream.map(in_euros), |bid: &Bid| bid.price ^ bid.auction)
        }
        (Workload::Q2, Data::Bids(bids)) => {
            let some = |bid: &Bid| bid.auction.is_multiple_of(123);
            stateless!(bids, threads, |stream| stream.filter(some), |bid: &Bid| bid.price ^ bid.auction)
        }
        (_, Data::Bids(bids)) => hottest(bids, threads),
    }
}

/// When windows close.
#[derive(Clone, Copy)]
struct Windowing {
    size: i64,
    disorder: i64,
    /// Records of an epoch, and microseconds from one to the next.
    epoch: usize,
    interval: i64,
}

impl Windowing {
    /// The epoch with whose end a window closes.
    fn closes(&self, window: i64) -> u64 {
        let end = (window + 1) * self.size + self.disorder;
        ((end as u64).div_ceil(self.epoch as u64 * self.interval as u64)).saturating_sub(1)
    }
}

/// Sums what `digest` makes of each window's entries.
fn summed<T, S>(
    records: &Arc<[T]>,
    threads: usize,
    windows: Windowing,
    feed: &Feed,
    time: fn(&T) -> i64,
    record: fn(&T) -> S::Record,
    digest: fn(i64, &S) -> u64,
) -> u64
where
    T: Copy + Send + Sync + 'static,
    S: Slot + ExchangeData + Send,
    S::Record: 'static,
{
    let total = Arc::new(AtomicU64::new(0));
    let adds = total.clone();
    windowed(records, threads, windows, feed, time, record, move |window, table: Flat<S>| {
        let sum = table.entries().fold(0_u64, |sum, entry| sum.wrapping_add(digest(window, entry)));
        adds.fetch_add(sum, Ordering::SeqCst);
    });
    total.load(Ordering::SeqCst)
}

fn hottest(bids: &Arc<[Bid]>, threads: usize) -> u64 {
    let windows = Windowing { size: HOT.1, disorder: 0, epoch: 10_000, interval: BID_INTERVAL };
    let hottest = Arc::new((Hottest::default(), Mutex::new(BTreeMap::<i64, Vec<Auctions>>::new())));
    let takes = hottest.clone();
    windowed(
        bids,
        threads,
        windows,
        &Feed::default(),
        |r| r.time,
        |r| *r,
        move |slide, table: Flat<BidCount>| {
            let whole = {
                let halves = &mut *takes.1.lock().unwrap_or_else(PoisonError::into_inner);
                let shares = halves.entry(slide).or_default();
                shares.push(Auctions(table));
                if shares.len() == threads { halves.remove(&slide) } else { None }
            };
            whole.into_iter().for_each(|shares| takes.0.close(slide, shares));
        },
    );
    let rest = std::mem::take(&mut *hottest.1.lock().unwrap_or_else(PoisonError::into_inner));
    rest.into_iter().for_each(|(slide, shares)| hottest.0.close(slide, shares));
    hottest.0.checksum()
}

/// A window that is open: what lets it be given later, its table, and records whose slots are not fetched yet.
struct Open<S: Slot> {
    until: Capability<u64>,
    table: Flat<S>,
    waiting: Vec<S::Record>,
}

/// Gives each window's table to `close`: cut by key, with two workers.
fn windowed<T, S>(
    records: &Arc<[T]>,
    threads: usize,
    windows: Windowing,
    feed: &Feed,
    time: fn(&T) -> i64,
    record: fn(&T) -> S::Record,
    close: impl Fn(i64, Flat<S>) + Clone + Send + Sync + 'static,
) where
    T: Copy + Send + Sync + 'static,
    S: Slot + ExchangeData + Send,
    S::Record: 'static,
{
    dataflow!(records, threads, windows.epoch, feed.clone(), |stream, worker| {
        let alone = (threads == 1).then(|| close.clone());
        let shares = stream.unary_frontier::<timely::container::CapacityContainerBuilder<Vec<(i64, S)>>, _, _, _>(
            Pipeline,
            "window",
            move |_, _| {
                let mut open = BTreeMap::<i64, Open<S>>::new();
                move |(input, frontier), output| {
                    let port = output.output_index();
                    input.for_each_time(|capability, batches| {
                        let batches: std::slice::IterMut<'_, Vec<T>> = batches;
                        for batch in batches {
                            for given in batch.drain(..) {
                                let window = time(&given).div_euclid(windows.size);
                                let open = open.entry(window).or_insert_with(|| Open {
                                    until: capability.delayed(&windows.closes(window), port),
                                    table: Flat::default(),
                                    waiting: Vec::with_capacity(SLOTS),
                                });
                                open.waiting.push(record(&given));
                                if open.waiting.len() == SLOTS {
                                    open.table.update(&open.waiting);
                                    open.waiting.clear();
                                }
                            }
                        }
                    });
                    while open.first_key_value().is_some_and(|(_, o)| !frontier.less_equal(o.until.time())) {
                        let Some((window, mut done)) = open.pop_first() else { break };
                        done.table.update(&done.waiting);
                        match &alone {
                            Some(close) => close(window, done.table),
                            None => {
                                let entries = done.table.entries().map(|entry| (window, *entry));
                                output.session(&done.until).give_iterator(entries);
                            }
                        }
                    }
                }
            },
        );
        let close = close.clone();
        let by_key = Exchange::new(|(_, entry): &(i64, S)| entry.own_hash() >> 40);
        let merged = shares.unary_frontier::<timely::container::CapacityContainerBuilder<Vec<()>>, _, _, _>(
            by_key,
            "merge",
            move |_, _| {
                let mut open = BTreeMap::<i64, (Capability<u64>, Flat<S>)>::new();
                move |(input, frontier), output| {
                    let port = output.output_index();
                    input.for_each_time(|capability, batches| {
                        let batches: std::slice::IterMut<'_, Vec<(i64, S)>> = batches;
                        for batch in batches {
                            for (window, entry) in batch.drain(..) {
                                let open =
                                    open.entry(window).or_insert_with(|| (capability.retain(port), Flat::default()));
                                open.1.reserve(1);
                                open.1.merge(&entry);
                            }
                        }
                    });
                    while open.first_key_value().is_some_and(|(_, (until, _))| !frontier.less_equal(until.time())) {
                        let Some((window, (_, table))) = open.pop_first() else { break };
                        close(window, table);
                    }
                }
            },
        );
        (merged, || ())
    })
    .for_each(drop);
}
