//! Runs the checks of the fuzz targets over their corpus (`fuzz/corpus`), and over mutations of it, so that what fuzzing has found stays
//! mended.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(unreachable_pub, reason = "shared with the fuzz targets")]
mod checks;
#[path = "../../fuzz/corpus.rs"]
mod kept;

use kept::{check_kept, check_mutated};

#[test]
fn the_corpus_passes() {
    checks::CHECKS.iter().for_each(|(target, check)| check_kept(target, *check));
}

#[test]
fn mutations_of_messages_pass() {
    let messages = checks::CHECKS.iter().filter(|(target, _)| target.starts_with("message_"));
    messages.for_each(|(target, check)| check_mutated(target, *check, 50));
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
