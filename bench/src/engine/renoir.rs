//! renoir: its stateless operators, and its built-in event time windows on W1 and W2. (The windows do not tell their start, so
//! each value carries it.) Query 5's top item per window has no built-in.

use std::sync::Arc;

use regex::Regex;
use renoir::prelude::*;

use super::twenty_steps;
use super::updraft::in_euros;
use crate::Workload;
use crate::data::{Bid, DISORDER, Data, PATTERN, Reading, SECOND, Word, digest_reading, digest_word};

/// Records that a worker takes at a time.
const CHUNK: usize = 16_384;
/// Microseconds between two watermarks.
const STEP: i64 = 100_000;

/// Every other chunk of the records.
pub(super) fn share<T: Copy>(records: Arc<[T]>, index: u64, peers: u64) -> impl Iterator<Item = T> {
    let chunks = (index as usize..records.len().div_ceil(CHUNK)).step_by(peers as usize);
    chunks.flat_map(move |chunk| {
        let records = records.clone();
        let range = chunk * CHUNK..records.len().min((chunk + 1) * CHUNK);
        range.map(move |at| records[at])
    })
}

/// A watermark each [`STEP`], half a second behind the newest record.
fn watermarks<T>() -> impl FnMut(&T, &i64) -> Option<i64> + Clone {
    let (mut newest, mut last) = (0, 0);
    move |_, time| {
        newest = newest.max(*time);
        let reached = (newest - DISORDER) / STEP * STEP;
        (reached > last).then(|| {
            last = reached;
            // What is at the watermark is late here.
            reached - 1
        })
    }
}

/// The sum over a stream of numbers, on each worker first.
macro_rules! total {
    ($context:expr, $stream:expr) => {{
        let add = |total: &mut u64, other: u64| *total = total.wrapping_add(other);
        let total = $stream.fold_assoc(0_u64, add, add).collect_vec();
        $context.execute_blocking();
        total.get().and_then(|total| total.into_iter().next()).unwrap_or_default()
    }};
}

pub(super) use total;

pub(super) fn run(workload: Workload, data: &Data, threads: usize) -> Option<u64> {
    let context = StreamContext::new(RuntimeConfig::local(threads as u64).ok()?);
    macro_rules! source {
        ($records:expr) => {{
            let records = $records.clone();
            context.stream_par_iter(move |index, peers| share(records, index, peers))
        }};
    }
    Some(match (workload, data) {
        (_, Data::Words(words, _)) => {
            let windows = source!(words)
                .add_timestamps(|word: &Word| word.time, watermarks())
                .group_by(|word| word.word)
                .window(EventTimeWindow::tumbling(SECOND))
                .fold((0_i64, 0_u64), |(window, count), word| {
                    *window = word.time.div_euclid(SECOND) * SECOND;
                    *count += 1;
                })
                .unkey()
                .map(|(word, (window, count))| digest_word(window, &word, count));
            total!(context, windows)
        }
        (_, Data::Readings(readings, _)) => {
            let windows = source!(readings)
                .add_timestamps(|reading: &Reading| reading.time, watermarks())
                .group_by(|reading| reading.key)
                .window(EventTimeWindow::tumbling(SECOND))
                .fold((0_i64, 0_u64, 0_u64, 0_u64), |(window, sum, count, max), reading| {
                    *window = reading.time.div_euclid(SECOND) * SECOND;
                    *sum += reading.value;
                    *count += 1;
                    *max = reading.value.max(*max);
                })
                .unkey()
                .map(|(key, (window, sum, count, max))| digest_reading(window, key, sum, count, max));
            total!(context, windows)
        }
        (_, Data::Sides(_) | Data::Sellers(_) | Data::Offers(_)) => return None,
        (_, Data::Lines(lines)) => {
            let pattern = Regex::new(PATTERN).expect("the pattern is right");
            let hits = source!(lines).filter(move |line| pattern.is_match(line)).map(|line| line.len() as u64);
            total!(context, hits)
        }
        (_, Data::Numbers(numbers)) => {
            let rest = twenty_steps!(source!(numbers));
            total!(context, rest)
        }
        (Workload::Q1, Data::Bids(bids)) => {
            let euros = source!(bids).map(in_euros).map(|bid: Bid| bid.price ^ bid.auction);
            total!(context, euros)
        }
        (Workload::Q2, Data::Bids(bids)) => {
            let some =
                source!(bids).filter(|bid: &Bid| bid.auction.is_multiple_of(123)).map(|bid| bid.price ^ bid.auction);
            total!(context, some)
        }
        (_, Data::Bids(_)) => return None,
    })
}
