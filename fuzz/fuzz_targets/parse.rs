//! `cargo +nightly fuzz run parse`
#![no_main]

#[path = "../../tests/fuzz_bounded/parse.rs"]
mod parse;

libfuzzer_sys::fuzz_target!(|data: &[u8]| parse::check_parse(data));
