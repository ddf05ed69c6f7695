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
fn mutations_pass() {
    checks::CHECKS.iter().for_each(|(target, check)| check_mutated(target, *check, 300));
}
