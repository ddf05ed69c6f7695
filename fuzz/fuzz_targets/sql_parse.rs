//! Fuzzes `checks::sql_parse`.
#![no_main]

#[path = "../../sql/tests/checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::sql_parse(input));
