//! Fuzzes `checks::snapshot_rows`.
#![no_main]

#[path = "../../sql/tests/checks/rows.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::snapshot_rows(input));
