//! `cargo +nightly fuzz run forward`
#![no_main]

#[path = "../../tests/fuzz_bounded/forward.rs"]
mod forward;

libfuzzer_sys::fuzz_target!(|data: &[u8]| forward::check_forward(data));
