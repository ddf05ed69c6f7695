//! Runs the check of the fuzz target over its corpus (`fuzz/corpus`), and over mutations of it, so that what fuzzing has found stays mended.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "checks/rows.rs"]
mod checks;
#[path = "../../fuzz/corpus.rs"]
mod kept;

#[test]
fn damaged_snapshots_are_told() {
    kept::check_kept("snapshot_rows", checks::snapshot_rows);
}

#[test]
fn damage_of_any_kind_is_told() {
    kept::check_mutated("snapshot_rows", checks::snapshot_rows, 50);
}
