//! The fuzz targets' bodies on a bounded number of seeded inputs, so that the stable toolchain runs them with every
//! test. Each target's body is one function in a file of its own here, which `fuzz/fuzz_targets` includes.
//! A failure prints its seed; run it again with `RINGSTORE_SEED=<seed>`.

mod damaged_logs;
mod forward;
mod keystore;
mod log_recovery;
mod message;
mod parse;

use rand::prelude::*;
use rand::rngs::StdRng;

/// Inputs per target.
const INPUTS: usize = 4000;

/// Runs `check` on random inputs: pieces of `dictionary` mixed with random bytes.
fn run(dictionary: &[&[u8]], check: fn(&[u8])) {
    let seed: u64 = match std::env::var("RINGSTORE_SEED") {
        Ok(text) => text.parse().expect("RINGSTORE_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("RINGSTORE_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..INPUTS {
        let mut input = Vec::new();
        for _ in 0..rng.random_range(1..30) {
            if rng.random_ratio(1, 6) {
                input.push(rng.random());
            } else {
                input.extend_from_slice(dictionary[rng.random_range(0..dictionary.len())]);
            }
        }
        check(&input);
    }
}

#[test]
fn parse() {
    run(parse::DICTIONARY, parse::check_parse);
}

#[test]
fn forward() {
    run(forward::DICTIONARY, forward::check_forward);
}

#[test]
fn keystore() {
    run(keystore::DICTIONARY, keystore::check_keystore);
}

#[test]
fn message() {
    run(message::DICTIONARY, message::check_message);
}
