//! Fuzzes `checks::log_entry`.
#![no_main]

#[path = "../../checkpoint/tests/checks/mod.rs"]
#[allow(dead_code, reason = "each target runs one of the checks")]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drop(checks::log_entry(input)));
