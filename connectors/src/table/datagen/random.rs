//! Random numbers that depend on a seed and an index alone: any part of a column can be made anywhere.

use crate::nexmark::random::{STEP, mix};

/// What the random numbers of one field are drawn from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(u64);

impl Seed {
    /// Of the field at `path`: fields that come and go change no other.
    pub(super) fn new(seed: u64, path: &str) -> Self {
        let hash = path
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
        Self(mix(hash ^ mix(seed.wrapping_add(STEP))))
    }

    /// The same for another purpose.
    pub(super) fn other(self) -> Self {
        Self(mix(self.0 ^ STEP))
    }

    /// 64 random bits.
    pub(super) fn bits(self, index: u64) -> u64 {
        mix(self.0.wrapping_add(index.wrapping_mul(STEP)))
    }

    /// What the numbers within value `index` are drawn from.
    pub(super) fn within(self, index: u64) -> Self {
        Self(self.bits(index))
    }

    /// Uniform in `0..n`, or of all 64 bits for `n` = 2^64.
    pub(super) fn below(self, index: u64, n: u128) -> u64 {
        ((u128::from(self.bits(index)) * n) >> 64) as u64
    }

    /// Uniform in 0..1.
    pub(super) fn fraction(self, index: u64) -> f64 {
        (self.bits(index) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True for that share of all indices.
    pub(super) fn happens(self, index: u64, share: f64) -> bool {
        self.fraction(index) < share
    }
}
