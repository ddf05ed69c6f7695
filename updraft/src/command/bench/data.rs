//! The records that the workloads run over, the same each time.

use std::sync::Arc;

/// A word at a time.
#[derive(Clone, Copy)]
pub(super) struct Word {
    /// Microseconds.
    pub(super) time: i64,
    pub(super) word: [u8; 10],
}

/// A value of a key at a time.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    /// Microseconds.
    pub(super) time: i64,
    pub(super) key: u64,
    pub(super) value: u64,
}

/// How many distinct words there are.
const WORDS: usize = 100_000;
/// How many distinct keys there are.
const KEYS: u64 = 1_000_000;
/// Microseconds that a record is late at most; one in ten is.
const DISORDER: u64 = 500_000;

/// Random numbers, the same each time (xorshift64; Marsaglia, "Xorshift RNGs", 2003).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new() -> Self {
        Self(0x2545_F491_4F6C_DD1D)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Between 0 and 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The time of the `i`th record: a million a second, one in ten up to [`DISORDER`] late.
    fn time(&mut self, i: usize) -> i64 {
        let late = if self.below(10) == 0 { self.below(DISORDER) } else { 0 };
        (i as i64 - late as i64).max(0)
    }
}

/// Spreads small numbers over all bits.
pub(super) fn mix(n: u64) -> u64 {
    let x = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x ^ (x >> 29)
}

/// The `n`th word.
pub(super) fn spell(n: u64) -> [u8; 10] {
    let mut rest = mix(n);
    std::array::from_fn(|_| {
        let letter = b'a' + (rest % 26) as u8;
        rest /= 26;
        letter
    })
}

/// Words of 10 letters, Zipf(1.0) over [`WORDS`].
pub(super) fn words(records: usize) -> Arc<[Word]> {
    let mut random = Random::new();
    let words: Vec<_> = (0..WORDS as u64).map(spell).collect();
    let mut total = 0.0;
    let cumulated: Vec<f64> = (1..=WORDS)
        .map(|rank| {
            total += 1.0 / rank as f64;
            total
        })
        .collect();
    (0..records)
        .map(|i| {
            let at = random.unit() * total;
            let rank = cumulated.partition_point(|sum| *sum < at).min(WORDS - 1);
            Word { time: random.time(i), word: words[rank] }
        })
        .collect()
}

/// Values of [`KEYS`] keys, all equally likely.
pub(super) fn readings(records: usize) -> Arc<[Reading]> {
    let mut random = Random::new();
    (0..records)
        .map(|i| Reading { time: random.time(i), key: mix(random.below(KEYS)), value: random.below(1000) })
        .collect()
}

/// Lines of a kilobyte, of which one in twenty says that something failed.
pub(super) fn lines(records: usize) -> Arc<[Arc<str>]> {
    let mut random = Random::new();
    let slab: Vec<Arc<str>> = (0..records.min(50_000))
        .map(|_| {
            let mut line = String::with_capacity(1024);
            while line.len() < 1000 {
                line.push_str(std::str::from_utf8(&spell(random.below(1000))).unwrap_or_default());
                line.push(' ');
            }
            line.push_str(if random.below(20) == 0 { "status=503 timeout" } else { "status=200 ok" });
            line.into()
        })
        .collect();
    (0..records).map(|i| slab[i % slab.len()].clone()).collect()
}

/// Numbers.
pub(super) fn numbers(records: usize) -> Arc<[u64]> {
    let mut random = Random::new();
    (0..records).map(|_| random.next()).collect()
}
