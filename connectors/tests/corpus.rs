//! Runs the checks of the fuzz targets over their corpus (`fuzz/corpus`), so that what fuzzing has found stays mended.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(unreachable_pub, reason = "shared with the fuzz targets")]
mod checks;

use std::path::Path;

#[test]
fn the_corpus_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, check) in checks::CHECKS {
        let mut inputs: Vec<_> = corpus.join(name).read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            println!("{}", input.display());
            check(&std::fs::read(input).unwrap());
        }
    }
}

/// As a fuzzer would begin, but always the same; `UPDRAFT_MUTATIONS` says how many of each input.
#[test]
fn mutations_of_messages_pass() {
    let times: u64 = std::env::var("UPDRAFT_MUTATIONS").map_or(50, |times| times.parse().unwrap());
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut state = 1_u64;
    let mut below = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit.max(1)
    };
    for (name, check) in checks::CHECKS.iter().filter(|(name, _)| name.starts_with("message_")) {
        let mut inputs: Vec<_> = corpus.join(name).read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        let inputs: Vec<_> = inputs.iter().map(|input| std::fs::read(input).unwrap()).collect();
        for (input, _) in inputs.iter().flat_map(|input| (0..times).map(move |time| (input, time))) {
            let mut bytes = input.clone();
            for _ in 0..=below(4) {
                let at = below(bytes.len());
                match below(6) {
                    0 => bytes[at] ^= 1 << below(8),
                    1 => bytes[at] = below(256) as u8,
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
            println!("{name} {bytes:?}");
            check(&bytes);
        }
    }
}

#[test]
fn short_inputs_of_all_kinds_pass() {
    const BYTES: &[u8] = b"a,\"\n\r{\xFF";
    for length in 0..=5 {
        for n in 0..BYTES.len().pow(length) {
            let text = (0..length).map(|i| BYTES[n / BYTES.len().pow(i) % BYTES.len()]);
            for options in [[0, 0], [0, 255], [1, 2], [255, 255]] {
                let input: Vec<u8> = options.into_iter().chain(text.clone()).collect();
                checks::lines(&input);
                checks::csv(&input);
                checks::json(&input);
                checks::table_csv(&input);
                checks::table_json(&input);
            }
        }
    }
}
