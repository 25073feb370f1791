//! The store's hot path: get and set, alone and in batches with prefetch, near and far.

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use ringstore::ring::memory;
use ringstore::store::{ItemBits, KeyHash, Put, Reader, StoreConfig, Writer, create};
use ringstore::time::{Expiry, Seconds};

const NOW: Seconds = Seconds(1);
const SIZES: [u64; 2] = [1_000_000, 10_000_000];
const BATCHES: [usize; 3] = [1, 16, 64];

type Key = [u8; 16];

fn key(n: u64) -> Key {
    let mut key = [b'k'; 16];
    key[..8].copy_from_slice(&n.to_le_bytes());
    key
}

/// A cheap walk over 0..items in an order the processor cannot foresee.
struct Order {
    state: u64,
    items: u64,
}

impl Order {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.state >> 32) * self.items) >> 32
    }
}

fn make(memory_bytes: u64, evict: bool) -> (Writer, Reader) {
    let mut region = |bytes| memory::region(bytes);
    let (mut writer, mut readers) = create(StoreConfig {
        memory_bytes,
        address_bytes: 64 << 30,
        evict,
        item_bytes_max: 1 << 20,
        hash_seed: 1,
        readers: 1,
        region: &mut region,
    })
    .expect("address space");
    writer.maintain(NOW, false, &mut |_, _| ());
    (writer, readers.pop().expect("one was asked for"))
}

fn set(writer: &mut Writer, hash: KeyHash, key: &Key, value: &[u8]) {
    let put = Put { hash, key, flags: 0, expiry: Expiry::NEVER, cas: 1, bits: ItemBits(0), value: [value, &[]] };
    let reserved = writer.reserve(&put).expect("room");
    writer.publish(reserved);
}

fn turn(writer: &mut Writer, reader: &mut Reader) {
    writer.maintain(NOW, false, &mut |_, _| ());
    reader.quiesce();
}

fn filled(items: u64, value: &[u8]) -> (Writer, Reader) {
    let (mut writer, mut reader) = make(items * 300, false);
    for n in 0..items {
        let key = key(n);
        set(&mut writer, reader.hash(&key), &key, value);
        if n % 1024 == 0 {
            turn(&mut writer, &mut reader);
        }
    }
    (writer, reader)
}

/// One batch as a shard executes it: hash and prefetch all buckets, prefetch all items, then look them up.
fn get_batch(reader: &Reader, order: &mut Order, keys: &mut [(Key, KeyHash)]) -> usize {
    let alone = keys.len() == 1;
    for (name, hash) in keys.iter_mut() {
        *name = key(order.next());
        *hash = reader.hash(name);
        if !alone {
            reader.prefetch(*hash);
        }
    }
    if !alone {
        for (_, hash) in keys.iter() {
            reader.prefetch_item(*hash);
        }
    }
    keys.iter().map(|(key, hash)| reader.get(*hash, key, NOW).map_or(0, |item| item.value[0] as usize)).sum()
}

fn gets(criterion: &mut Criterion, items: u64, value_bytes: usize, range: u64, name: &str) {
    let (_writer, reader) = filled(items, &vec![b'v'; value_bytes]);
    let mut group = criterion.benchmark_group(format!("store/get/{name}/{value_bytes}"));
    for batch in BATCHES {
        group.throughput(Throughput::Elements(batch as u64));
        let mut order = Order { state: 1, items: range };
        let mut keys = vec![(Key::default(), KeyHash(0)); batch];
        group.bench_function(BenchmarkId::from_parameter(batch), |b| {
            b.iter(|| black_box(get_batch(&reader, &mut order, &mut keys)));
        });
    }
    group.finish();
}

fn sets(criterion: &mut Criterion, items: u64, value_bytes: usize, evict: bool) {
    let value = vec![b'v'; value_bytes];
    let (mut writer, mut reader) =
        if evict { make(items * (value_bytes as u64 + 24), true) } else { filled(items, &value) };
    let kind = if evict { "evict" } else { "overwrite" };
    let mut group = criterion.benchmark_group(format!("store/{kind}/{items}/{value_bytes}"));
    let mut fresh = 0;
    if evict {
        // full before it is measured
        while writer.stats().evictions == 0 {
            fresh += 1;
            let key = key(fresh);
            set(&mut writer, reader.hash(&key), &key, &value);
            if fresh % 64 == 0 {
                turn(&mut writer, &mut reader);
            }
        }
    }
    for batch in BATCHES {
        group.throughput(Throughput::Elements(batch as u64));
        let mut order = Order { state: 1, items };
        let mut keys = vec![(Key::default(), KeyHash(0)); batch];
        group.bench_function(BenchmarkId::from_parameter(batch), |b| {
            b.iter(|| {
                for (name, hash) in &mut keys {
                    fresh += 1;
                    *name = key(if evict { fresh } else { order.next() });
                    *hash = reader.hash(name);
                    reader.prefetch(*hash);
                }
                if batch > 1 {
                    for (_, hash) in &keys {
                        reader.prefetch_item(*hash);
                    }
                }
                for (key, hash) in &keys {
                    set(&mut writer, *hash, key, &value);
                }
                // a turn is some batches
                if fresh % 256 < batch as u64 {
                    turn(&mut writer, &mut reader);
                }
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = support::criterion().configure_from_args();
    gets(&mut criterion, 1000, 100, 1000, "near");
    for items in SIZES {
        for value_bytes in [32, 100] {
            gets(&mut criterion, items, value_bytes, items, &items.to_string());
            sets(&mut criterion, items, value_bytes, false);
            sets(&mut criterion, items, value_bytes, true);
        }
    }
    criterion.final_summary();
}
