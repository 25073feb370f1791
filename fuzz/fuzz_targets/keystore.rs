//! `cargo +nightly fuzz run keystore`
#![no_main]

#[path = "../../tests/fuzz_bounded/keystore.rs"]
mod keystore;

libfuzzer_sys::fuzz_target!(|data: &[u8]| keystore::check_keystore(data));
