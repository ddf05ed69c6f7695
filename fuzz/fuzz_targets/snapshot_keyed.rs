//! Fuzzes `checks::snapshot_keyed`.
#![no_main]

#[path = "../../dataflow/tests/checks/mod.rs"]
#[allow(dead_code, reason = "each target runs one of the checks")]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::snapshot_keyed(input));
