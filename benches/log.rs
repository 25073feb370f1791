//! The log: building frames of a turn, and reading a log back when a server starts.

mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringstore::config::Fsync;
use ringstore::log::{Entry, Epoch, FileHeader, FrameBuilder, FrameStart, LogId, LogIndex, Position, Recovery, Step};
use ringstore::ring::disk::{self, DataDir, LogFiles, LogWriter};
use ringstore::ring::memory;
use ringstore::store::{self, StoreConfig};
use ringstore::time::{Expiry, Seconds, Time};
use ringstore::writes::Writes;
use tempfile::TempDir;

/// Entries of the log that is read back.
const REPLAYED: u64 = 1_000_000;
/// Entries in each of its frames.
const REPLAYED_BATCH: u64 = 16;
const NOW: Seconds = Seconds(1);
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
    let mut group = criterion.benchmark_group("log/append/100-bytes");
    let value = [b'v'; 100];
    for batch in [1u64, 16, 256] {
        group.throughput(Throughput::Elements(batch));
        group.bench_function(format!("batch-{batch}"), |bencher| {
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

/// The frames of a log of small sets: keys of 16 bytes, values of 32.
fn small_frames(mut take: impl FnMut(&[u8])) {
    let (mut position, mut index) = (Position(0), LogIndex(1));
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
        take(&frame);
        builder.reuse(frame);
    }
}

/// The same as one file's bytes.
fn small_log() -> Vec<u8> {
    let header =
        FileHeader { log_id: LogId(1), position: Position(0), index: LogIndex(1), epoch: Epoch(1), time: Time(1) };
    let mut bytes = header.encode().to_vec();
    small_frames(|frame| bytes.extend_from_slice(frame));
    bytes
}

/// The same as a data directory.
fn small_directory() -> TempDir {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory can be made");
    let files = LogFiles::new(DataDir::open(dir.path()).expect("it is new"));
    let (mut log, _) = disk::recover(files, Fsync::Never, LogId(1), &mut |_, _, _| Ok(())).expect("it is empty");
    small_frames(|frame| {
        log.append([frame]).expect("the disk has room");
    });
    log.finish().expect("the disk works");
    dir
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

/// What a server's start does with its data directory: files into a store. The log in the end, to be dropped unmeasured.
fn start_server(dir: &TempDir) -> (Writes, LogWriter<LogFiles>) {
    let (writer, _) = store::create(StoreConfig {
        memory_bytes: 1 << 30,
        address_bytes: 64 << 30,
        evict: false,
        item_bytes_max: 1 << 20,
        hash_seed: 1,
        readers: 1,
        region: &mut memory::region,
    })
    .expect("address space");
    let mut writes = Writes::new(writer, true);
    let files = LogFiles::new(DataDir::open(dir.path()).expect("nobody else has it open"));
    let (log, recovered) =
        disk::recover(files, Fsync::Never, LogId(1), &mut |_, index, entry| writes.replay(NOW, index, entry))
            .expect("a whole log");
    assert_eq!(recovered.entries, REPLAYED);
    (writes, log)
}

fn recover(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log/replay");
    group.throughput(Throughput::Elements(REPLAYED)).sample_size(10);
    let mut bytes = Vec::new();
    group.bench_function("decode-1M", |bencher| {
        if bytes.is_empty() {
            bytes = small_log();
            assert_eq!(replay(&bytes), REPLAYED);
        }
        bencher.iter(|| replay(black_box(&bytes)));
    });
    let mut dir = None;
    group.bench_function("files-into-store-1M", |bencher| {
        let dir = dir.get_or_insert_with(small_directory);
        bencher.iter_custom(|times| {
            let mut sum = Duration::ZERO;
            for _ in 0..times {
                let began = Instant::now();
                let started = start_server(dir);
                sum += began.elapsed();
                drop(started);
            }
            sum
        });
    });
    group.finish();
}

criterion_group! { name = benches; config = support::criterion(); targets = append, recover }
criterion_main!(benches);
