//! Runs the checks of the fuzz targets over their corpus (`fuzz/corpus`), so that what fuzzing has found stays mended.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(unreachable_pub, reason = "shared with the fuzz targets")]
mod checks;

use std::path::Path;

#[test]
fn damaged_snapshots_are_told() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/snapshot");
    let mut inputs: Vec<_> = corpus.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty());
    for input in inputs {
        println!("{}", input.display());
        checks::snapshot(&std::fs::read(input).unwrap());
    }
}
