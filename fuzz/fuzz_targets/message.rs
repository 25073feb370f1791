//! `cargo +nightly fuzz run message`
#![no_main]

#[path = "../../tests/fuzz_bounded/message.rs"]
mod message;

libfuzzer_sys::fuzz_target!(|data: &[u8]| message::check_message(data));
