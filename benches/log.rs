//! The log: building frames of a turn, and reading a log back when a server starts.

mod support;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringstore::log::{Entry, Epoch, FileHeader, FrameBuilder, FrameStart, LogId, LogIndex, Position, Recovery, Step};
use ringstore::time::{Expiry, Time};

/// Entries of the log that is read back.
const REPLAYED: u64 = 1_000_000;
/// Entries in each of its frames.
const REPLAYED_BATCH: u64 = 16;
/// What is in memory at a time, as in a server.
const READ_BYTES: usize = ringstore::config::LOG_READ_BYTES;

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Entry<'a> {
    Entry::Put { key, value, flags: 0, expiry: Expiry::NEVER, cas: None, bits: 0 }
}

const fn start(position: Position, first_index: LogIndex) -> FrameStart {
    FrameStart { epoch: Epoch(1), first_index, position, durable_upto: position, time: Time(1) }
}

/// One turn: begin, push its entries, checksum, take the buffer back.
fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log/append-100-bytes");
    let value = [b'v'; 100];
    for batch in [1u64, 16, 256] {
        group.throughput(Throughput::Elements(batch));
        group.bench_function(batch.to_string(), |bencher| {
            let mut builder = FrameBuilder::new();
            let (mut position, mut index) = (Position(0), LogIndex(1));
            bencher.iter(|| {
                builder.begin(start(position, index));
                for _ in 0..batch {
                    builder.push(black_box(&put(b"key-of-16-bytes-", &value)));
                }
                let frame = builder.take();
                position.0 += frame.len() as u64;
                index.0 += batch;
                builder.reuse(black_box(frame));
            });
        });
    }
    group.finish();
}

/// A file of small sets: keys of 16 bytes, values of 32.
fn small_log() -> Vec<u8> {
    let (mut position, mut index) = (Position(0), LogIndex(1));
    let header = FileHeader { log_id: LogId(1), position, index, epoch: Epoch(1), time: Time(1) };
    let mut bytes = header.encode().to_vec();
    let mut builder = FrameBuilder::new();
    while index.0 <= REPLAYED {
        builder.begin(start(position, index));
        for _ in 0..REPLAYED_BATCH {
            let key = format!("key-{:012}", index.0);
            builder.push(&put(key.as_bytes(), &[b'v'; 32]));
            index.0 += 1;
        }
        let frame = builder.take();
        position.0 += frame.len() as u64;
        bytes.extend_from_slice(&frame);
        builder.reuse(frame);
    }
    bytes
}

/// Judges and decodes the whole log; the callback looks at every key and value.
fn replay(bytes: &[u8]) -> u64 {
    let mut recovery = Recovery::new();
    recovery.begin_file(Position(0), bytes.len() as u64);
    let mut seen = 0;
    loop {
        let at = recovery.offset() as usize;
        match recovery.step(&bytes[at..bytes.len().min(at + READ_BYTES)]).expect("a whole log") {
            Step::Frame { frame, .. } => {
                for entry in frame.entries() {
                    let (_, entry) = entry.expect("a whole entry");
                    black_box(&entry);
                    seen += 1;
                }
            }
            Step::FileEnd => return seen,
            Step::Passed { .. } | Step::Need { .. } => {}
        }
    }
}

fn recover(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log/replay");
    let bytes = small_log();
    assert_eq!(replay(&bytes), REPLAYED);
    group.throughput(Throughput::Elements(REPLAYED)).sample_size(10);
    group.bench_function("1M-small-entries", |bencher| bencher.iter(|| replay(black_box(&bytes))));
    group.finish();
}

criterion_group! { name = benches; config = support::criterion(); targets = append, recover }
criterion_main!(benches);
