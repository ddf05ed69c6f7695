//! Random numbers, from the kernel: a simulated runtime replays them.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0x9E37_79B9_7F4A_7C15) };
}

/// Starts this thread's numbers anew.
pub(crate) fn seed(seed: u64) {
    STATE.set(seed);
}

/// A random number, not for secrets (SplitMix64; Steele et al., "Fast Splittable Pseudorandom Number
/// Generators", OOPSLA 2014).
pub fn u64() -> u64 {
    let state = STATE.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    STATE.set(state);
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
