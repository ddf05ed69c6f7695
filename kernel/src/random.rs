//! Random numbers, from the kernel: a simulated runtime replays them.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<Random> = const { Cell::new(Random(0x9E37_79B9_7F4A_7C15)) };
}

/// Starts this thread's numbers anew.
pub(crate) fn seed(seed: u64) {
    STATE.set(Random(seed));
}

/// A random number, not for secrets.
pub fn u64() -> u64 {
    let mut random = STATE.take();
    let number = random.u64();
    STATE.set(random);
    number
}

/// Random numbers that follow from a seed (SplitMix64; Steele et al., "Fast Splittable Pseudorandom Number Generators",
/// OOPSLA 2014).
#[derive(Clone, Default, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.u64()) * u128::from(end)) >> 64) as u64
    }

    /// Whether something happens that has this probability. Draws no number where it cannot.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && ((self.u64() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }
}
