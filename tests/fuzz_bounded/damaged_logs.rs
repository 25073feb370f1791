//! Damaged logs for the log's fuzz body: whole frames first, since random bytes hardly ever get past a checksum.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use ringstore::log::{Entry, Epoch, FileHeader, FrameBuilder, FrameStart, LogId, LogIndex, Position};
use ringstore::time::{Expiry, Time};

use super::log_recovery;

/// One file of whole frames.
fn small_log(rng: &mut StdRng) -> Vec<u8> {
    let (mut position, mut index) = (Position(0), LogIndex(1));
    let mut bytes = FileHeader { log_id: LogId(7), position, index, epoch: Epoch(1), time: Time(1) }.encode().to_vec();
    let mut builder = FrameBuilder::new();
    for number in 0..rng.random_range(1..8) {
        let durable_upto = Position(rng.random_range(0..=position.0));
        let start = FrameStart { epoch: Epoch(1), first_index: index, position, durable_upto, time: Time(number + 1) };
        builder.begin(start);
        for _ in 0..rng.random_range(1..4) {
            let value = vec![b'v'; rng.random_range(0..90)];
            let (flags, expiry) = (rng.random_range(0..2), Expiry::from_raw(rng.random_range(0..2)));
            builder.push(&Entry::Put { key: b"key", value: &value, flags, expiry, cas: None, bits: 0 });
            index.0 += 1;
        }
        let frame = builder.take();
        position.0 += frame.len() as u64;
        bytes.extend_from_slice(&frame);
    }
    bytes
}

#[test]
fn damaged_logs_are_judged_alike_in_reads_of_any_size() {
    let seed = std::env::var("RINGSTORE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("RINGSTORE_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..3000 {
        // mostly one file; the split into more makes headers that stand in the wrong place
        let mut data = vec![if rng.random_ratio(1, 4) { rng.random() } else { rng.random::<u8>() & !3 }];
        data.extend_from_slice(&small_log(&mut rng));
        for _ in 0..rng.random_range(0..4) {
            let at = rng.random_range(1..data.len());
            match rng.random_range(0..4) {
                0 => data[at] ^= 1 << rng.random_range(0..8),
                1 => data.truncate(at.max(2)),
                2 => data[at..].fill(0),
                _ => data.extend_from_within(at..),
            }
        }
        log_recovery::check_log_recovery(&data);
    }
}
