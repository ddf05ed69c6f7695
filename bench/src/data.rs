//! The records, the same for all engines and in each run.

pub(crate) mod nexmark;

use std::sync::Arc;

use crate::Workload;
use nexmark::{Event, Sellers};

/// A word at a time (microseconds).
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct Word {
    pub(crate) time: i64,
    pub(crate) word: [u8; 10],
}

/// A value of a key at a time (microseconds).
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct Reading {
    pub(crate) time: i64,
    pub(crate) key: u64,
    pub(crate) value: u64,
}

/// An offer for an item at a time (microseconds).
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct Bid {
    pub(crate) time: i64,
    pub(crate) auction: u64,
    pub(crate) bidder: u64,
    pub(crate) price: u64,
}

/// A value of a key at a time (microseconds), of one of two streams.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct Sided {
    pub(crate) time: i64,
    pub(crate) key: u64,
    pub(crate) value: u64,
    pub(crate) right: bool,
}

/// The records of two streams, together and apart.
pub(crate) struct Sides {
    pub(crate) all: Arc<[Sided]>,
    pub(crate) left: Arc<[Reading]>,
    pub(crate) right: Arc<[Reading]>,
}

/// The records of a workload.
pub(crate) enum Data {
    Words(Arc<[Word]>, Shape),
    Readings(Arc<[Reading]>, Shape),
    Lines(Arc<[&'static str]>),
    Numbers(Arc<[u64]>),
    Bids(Arc<[Bid]>),
    Sides(Sides),
    Sellers(Sellers),
    Offers(Arc<[Event]>),
}

/// How records come.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Between two watermarks.
    pub(crate) epoch: usize,
}

/// Microseconds that a record is late at most.
pub(crate) const DISORDER: i64 = 500_000;
/// Microseconds of a tumbling window.
pub(crate) const SECOND: i64 = 1_000_000;
/// Microseconds of query 5's windows, and between two of them.
pub(crate) const HOT: (i64, i64) = (10 * SECOND, 2 * SECOND);
/// What lines are searched for.
pub(crate) const PATTERN: &str = r"status=5\d\d (timeout|refused)";

const WORDS: usize = 100_000;
const KEYS: u64 = 1_000_000;
/// Microseconds from one bid to the next: a window holds a million.
pub(crate) const BID_INTERVAL: i64 = 10;

/// Spreads numbers over all bits; checksums are sums of it.
#[inline]
pub(crate) fn mix(n: u64) -> u64 {
    let x = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    /// The time of the `i`th record: a million a second, `disorder` percent late.
    fn time(&mut self, i: usize, disorder: u64) -> i64 {
        let late = if self.below(100) < disorder { self.below(DISORDER as u64) } else { 0 };
        (i as i64 - late as i64).max(0)
    }
}

fn spell(n: u64) -> [u8; 10] {
    let mut rest = mix(n);
    std::array::from_fn(|_| {
        let letter = b'a' + (rest % 26) as u8;
        rest /= 26;
        letter
    })
}

impl Data {
    pub(crate) fn prepare(workload: Workload, records: usize, disorder: u64, epoch: usize) -> Self {
        let mut random = Random(0x2545_F491_4F6C_DD1D);
        let shape = Shape { epoch };
        match workload {
            Workload::W1 => Self::Words(words(&mut random, records, disorder), shape),
            Workload::W2 => {
                let reading = |i| {
                    let time = random.time(i, disorder);
                    Reading { time, key: mix(random.below(KEYS)), value: random.below(1000) }
                };
                Self::Readings((0..records).map(reading).collect(), shape)
            }
            Workload::W5 => Self::Lines(lines(&mut random, records / 20)),
            Workload::W6 => Self::Numbers((0..records * 4).map(|_| mix(random.below(u64::MAX))).collect()),
            Workload::W4 => Self::Sides(sides(&mut random, records, disorder)),
            Workload::Keyed => {
                let reading = |i| Reading { time: i as i64, key: mix(random.below(KEYS)), value: random.below(1000) };
                Self::Readings((0..records).map(reading).collect(), shape)
            }
            Workload::Sessions => {
                let reading = |i| Reading { time: i as i64, key: mix(zipf(&mut random)), value: random.below(1000) };
                Self::Readings((0..records).map(reading).collect(), shape)
            }
            Workload::Q1 | Workload::Q2 | Workload::Q5 => Self::Bids(bids(&mut random, records)),
            Workload::Q3 | Workload::Q8 => Self::Sellers(nexmark::sellers(&mut random, records, disorder)),
            Workload::Q4 | Workload::Q9 => Self::Offers(nexmark::offers(&mut random, records, disorder)),
            Workload::Q7 | Workload::Q11 | Workload::Q12 | Workload::Q17 => {
                Self::Bids(nexmark::late_bids(&mut random, records, disorder))
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Words(words, _) => words.len(),
            Self::Readings(readings, _) => readings.len(),
            Self::Lines(lines) => lines.len(),
            Self::Numbers(numbers) => numbers.len(),
            Self::Bids(bids) => bids.len(),
            Self::Sides(sides) => sides.all.len(),
            Self::Sellers(sellers) => sellers.all.len(),
            Self::Offers(offers) => offers.len(),
        }
    }
}

fn words(random: &mut Random, records: usize, disorder: u64) -> Arc<[Word]> {
    let mut total = 0.0;
    let cumulated: Vec<f64> = (1..=WORDS)
        .map(|rank| {
            total += 1.0 / rank as f64;
            total
        })
        .collect();
    let spelt: Vec<_> = (0..WORDS as u64).map(spell).collect();
    let word = |i| {
        let at = random.below(1 << 53) as f64 / (1_u64 << 53) as f64 * total;
        let rank = cumulated.partition_point(|sum| *sum < at).min(WORDS - 1);
        Word { time: random.time(i, disorder), word: spelt[rank] }
    };
    (0..records).map(word).collect()
}

/// Two streams of 100k keys, alternating: 100k records of each in a second, so that a record has one partner on average.
fn sides(random: &mut Random, records: usize, disorder: u64) -> Sides {
    let mut sided = |i: usize| Sided {
        time: random.time(i, disorder) * 5,
        key: mix(random.below(100_000)),
        value: random.below(1000),
        right: i % 2 == 1,
    };
    let all: Arc<[Sided]> = (0..records).map(&mut sided).collect();
    // Late by half a second at most, as elsewhere.
    let all: Arc<[Sided]> =
        all.iter().enumerate().map(|(i, r)| Sided { time: r.time.max(i as i64 * 5 - DISORDER), ..*r }).collect();
    let side = |right| {
        let of = all.iter().filter(|record| record.right == right);
        of.map(|record| Reading { time: record.time, key: record.key, value: record.value }).collect()
    };
    Sides { left: side(false), right: side(true), all }
}

/// One of 100k, the first ones most often: the inverse of a continuous distribution.
fn zipf(random: &mut Random) -> u64 {
    let at = random.below(1 << 53) as f64 / (1_u64 << 53) as f64;
    (100_001_f64.powf(at) - 1.0) as u64
}

fn lines(random: &mut Random, records: usize) -> Arc<[&'static str]> {
    let mut line = |_| {
        let mut line = String::with_capacity(1024);
        while line.len() < 1000 {
            line.push_str(std::str::from_utf8(&spell(random.below(1000))).unwrap_or_default());
            line.push(' ');
        }
        line.push_str(if random.below(20) == 0 { "status=503 timeout" } else { "status=200 ok" });
        &*line.leak()
    };
    (0..records).map(&mut line).collect()
}

/// Bids as the Nexmark generator makes them: half of them on the hot auction of the moment, of which there is a new one each
/// hundred; the others on one of the last hundred.
fn bids(random: &mut Random, records: usize) -> Arc<[Bid]> {
    let bid = |i: usize| {
        let newest = i as u64 * 3 / 46;
        let hot = newest / 100 * 100;
        let auction = if random.below(2) == 0 { hot } else { newest.saturating_sub(random.below(100)) };
        Bid {
            time: i as i64 * BID_INTERVAL,
            auction: 1000 + auction,
            bidder: 1000 + random.below(1 + i as u64 / 46),
            price: 100 + random.below(10_000_000),
        }
    };
    (0..records).map(bid).collect()
}

/// Microseconds without a record that end a session.
pub(crate) const GAP: i64 = 500_000;

/// What a row of the keyed state adds to the checksum.
#[inline]
pub(crate) fn digest_seen(key: u64, count: u64) -> u64 {
    mix(key ^ count << 40)
}

/// What a session adds to the checksum.
#[inline]
pub(crate) fn digest_session(first: i64, key: u64, count: u64, sum: u64) -> u64 {
    mix(key ^ first as u64).wrapping_mul(sum ^ count << 40)
}

/// What a pair of W4 adds to the checksum.
#[inline]
pub(crate) fn digest_pair(window: i64, key: u64, left: u64, right: u64) -> u64 {
    mix(key ^ window as u64).wrapping_mul(left << 20 ^ right)
}

/// What a row of W1 adds to the checksum.
#[inline]
pub(crate) fn digest_word(window: i64, word: &[u8; 10], count: u64) -> u64 {
    let head = u64::from_le_bytes(std::array::from_fn(|i| word[i]));
    mix(head ^ u64::from(word[8]) << 7 ^ u64::from(word[9]) ^ window as u64).wrapping_mul(count)
}

/// What a row of W2 adds to the checksum.
#[inline]
pub(crate) fn digest_reading(window: i64, key: u64, sum: u64, count: u64, max: u64) -> u64 {
    mix(key ^ window as u64).wrapping_mul(sum ^ count << 40 ^ max << 20)
}

/// What a row of query 5 adds to the checksum.
pub(crate) fn digest_hot(end: i64, auction: u64, count: u64) -> u64 {
    mix(auction ^ end as u64).wrapping_mul(count)
}
