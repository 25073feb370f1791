//! The parser against a naive oracle, on generated, mutated and cut input. A failure prints its seed; run it again with
//! `RINGSTORE_SEED=<seed>`.

mod generate;
mod oracle;
mod stream;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use stream::{Connection, Event};

/// A runner whose whole course follows from one number.
fn runner(cases: u32) -> TestRunner {
    let seed: u64 = match std::env::var("RINGSTORE_SEED") {
        Ok(text) => text.parse().expect("RINGSTORE_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("RINGSTORE_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn fed(pieces: &[&[u8]]) -> Vec<Event> {
    let mut connection = Connection::default();
    for piece in pieces {
        connection.receive(piece);
    }
    connection.events
}

/// Whether no line is so long that it matters whether its end came together with it.
fn short_lines(bytes: &[u8]) -> bool {
    bytes.split(|&byte| byte == b'\n').all(|line| line.len() <= ringstore::config::LINE_BYTES_MAX)
}

/// `bytes` in pieces that end at `cuts`.
fn cut<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}

#[test]
fn generated_commands_parse_as_the_oracle_says() {
    runner(4000)
        .run(&generate::command(), |bytes| {
            stream::checked(&bytes);
            Ok(())
        })
        .expect("the parser agrees with the oracle");
}

#[test]
fn mutated_streams_parse_as_the_oracle_says() {
    runner(2000)
        .run(&generate::mutated(), |bytes| {
            for start in 0..bytes.len() {
                stream::checked(&bytes[start..]);
            }
            Ok(())
        })
        .expect("the parser agrees with the oracle");
}

#[test]
fn a_stream_means_the_same_wherever_it_is_cut() {
    let cuts = prop::collection::vec(any::<usize>(), 0..12);
    runner(3000)
        .run(&(prop_oneof![generate::stream(), generate::mutated()], cuts), |(bytes, cuts)| {
            prop_assume!(short_lines(&bytes));
            prop_assert_eq!(fed(&cut(&bytes, &cuts)), fed(&[&bytes]));
            Ok(())
        })
        .expect("cuts change nothing");
}

#[test]
fn a_stream_means_the_same_byte_by_byte() {
    runner(300)
        .run(&generate::stream(), |bytes| {
            prop_assume!(short_lines(&bytes));
            let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(fed(&pieces), fed(&[&bytes]));
            Ok(())
        })
        .expect("cuts change nothing");
}
