//! `cargo +nightly fuzz run log_recovery`
#![no_main]

#[path = "../../tests/fuzz_bounded/log_recovery.rs"]
mod log_recovery;

libfuzzer_sys::fuzz_target!(|data: &[u8]| log_recovery::check_log_recovery(data));
