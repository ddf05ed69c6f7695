//! For ordinary tests: has checks look at what is in `fuzz/corpus`, and at what a fuzzer would begin to make of it.

use std::path::Path;

/// What is given any bytes, and panics if something does not hold.
pub(crate) type Check = fn(&[u8]);

/// Inputs that are kept for a fuzz target.
fn inputs(target: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut inputs: Vec<_> = corpus.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{target} has no corpus");
    inputs.iter().for_each(|input| println!("{}", input.display()));
    inputs.iter().map(|input| std::fs::read(input).unwrap()).collect()
}

/// Checks what is kept.
pub(crate) fn check_kept(target: &str, check: Check) {
    for input in inputs(target) {
        println!("{target} {input:?}");
        check(&input);
    }
}

/// Checks so many mutations of each input, always the same ones; `UPDRAFT_MUTATIONS` says otherwise how many.
pub(crate) fn check_mutated(target: &str, check: Check, times: u64) {
    let times = std::env::var("UPDRAFT_MUTATIONS").map_or(times, |times| times.parse().unwrap());
    let inputs = inputs(target);
    let mut state = std::env::var("UPDRAFT_MUTATIONS_SEED").map_or(1_u64, |seed| seed.parse().unwrap());
    let mut below = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit.max(1)
    };
    for (input, _) in inputs.iter().flat_map(|input| (0..times).map(move |time| (input, time))) {
        let mut bytes = input.clone();
        for _ in 0..=below(4) {
            let at = below(bytes.len());
            match below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << below(8),
                1 if at < bytes.len() => bytes[at] = below(256) as u8,
                2 => bytes.insert(at, below(256) as u8),
                3 if bytes.len() > 3 => drop(bytes.remove(at)),
                4 if at > 2 => bytes.truncate(at),
                // A part of another input.
                _ => {
                    let other = &inputs[below(inputs.len())];
                    let from = below(other.len());
                    bytes.splice(at..at, other[from..].iter().take(1 + below(8)).copied());
                }
            }
        }
        println!("{target} {bytes:?}");
        check(&bytes);
    }
}
