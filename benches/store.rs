//! The store's hot path: get and set, alone and in batches with prefetch, near and far.

mod support;

use std::cell::Cell;
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use ringstore::ring::memory;
use ringstore::store::{ItemBits, KeyHash, Put, Reader, StoreConfig, Writer, create};
use ringstore::time::{Expiry, Seconds};

const NOW: Seconds = Seconds(1);
const SIZES: [(&str, u64); 2] = [("1M", 1_000_000), ("10M", 10_000_000)];
const BATCHES: [usize; 3] = [1, 16, 64];
/// Sets between two rounds of housekeeping: a turn is some batches.
const TURN_SETS: u64 = 256;
/// An item's bytes beside its value, for the size of a store that must be full: key and header.
const ITEM_BYTES: u64 = 24;

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

/// One batch of sets with the keys that `next` names, and the housekeeping of a turn now and then.
fn set_batch(
    (writer, reader): &mut (Writer, Reader),
    mut next: impl FnMut() -> u64,
    keys: &mut [(Key, KeyHash)],
    value: &[u8],
    done: &mut u64,
) {
    let alone = keys.len() == 1;
    for (name, hash) in keys.iter_mut() {
        *name = key(next());
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
    for (key, hash) in keys.iter() {
        set(writer, *hash, key, value);
    }
    *done += keys.len() as u64;
    if *done >= TURN_SETS {
        *done = 0;
        turn(writer, reader);
    }
}

/// How large a store is, and what it is called.
#[derive(Clone, Copy)]
struct Size {
    name: &'static str,
    items: u64,
    value_bytes: usize,
}

impl Size {
    fn group(self, verb: &str) -> String {
        format!("store/{verb}/{}/{}-bytes", self.name, self.value_bytes)
    }

    fn value(self) -> Vec<u8> {
        vec![b'v'; self.value_bytes]
    }
}

/// One benchmark for each size of a batch. The store is made by the first that is not filtered out: millions of items take
/// seconds.
fn batches(
    criterion: &mut Criterion,
    group: &str,
    make: impl Fn() -> (Writer, Reader),
    mut run: impl FnMut(&mut (Writer, Reader), &mut [(Key, KeyHash)]),
) {
    let mut group = criterion.benchmark_group(group);
    let mut store = None;
    for batch in BATCHES {
        let mut keys = vec![(Key::default(), KeyHash(0)); batch];
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("batch-{batch}"), |b| {
            let store = store.get_or_insert_with(&make);
            b.iter(|| run(store, &mut keys));
        });
    }
    group.finish();
}

fn gets(criterion: &mut Criterion, size: Size) {
    let mut order = Order { state: 1, items: size.items };
    let make = || filled(size.items, &size.value());
    batches(criterion, &size.group("get"), make, |(_, reader), keys| {
        black_box(get_batch(reader, &mut order, keys));
    });
}

/// Sets of keys that are there.
fn sets(criterion: &mut Criterion, size: Size) {
    let (value, mut order, mut done) = (size.value(), Order { state: 1, items: size.items }, 0);
    let make = || filled(size.items, &value);
    batches(criterion, &size.group("set"), make, |store, keys| {
        set_batch(store, || order.next(), keys, &value, &mut done);
    });
}

/// Sets of new keys into a store that has no room for them.
fn evictions(criterion: &mut Criterion, size: Size) {
    let (value, fresh, mut done) = (size.value(), Cell::new(0), 0);
    let next = || {
        fresh.set(fresh.get() + 1);
        fresh.get()
    };
    let make = || {
        let mut store = make(size.items * (size.value_bytes as u64 + ITEM_BYTES), true);
        let (mut keys, mut done) = (vec![(Key::default(), KeyHash(0)); 64], 0);
        while store.0.stats().evictions == 0 {
            set_batch(&mut store, &next, &mut keys, &value, &mut done);
        }
        store
    };
    batches(criterion, &size.group("evict"), make, |store, keys| {
        set_batch(store, &next, keys, &value, &mut done);
    });
}

fn main() {
    let mut criterion = support::criterion().configure_from_args();
    gets(&mut criterion, Size { name: "near", items: 1000, value_bytes: 100 });
    // whether it works shows with a hundredth of the items too
    let divisor = if support::is_test() { 100 } else { 1 };
    for (name, items) in SIZES {
        for value_bytes in [32, 100] {
            let size = Size { name, items: items / divisor, value_bytes };
            gets(&mut criterion, size);
            sets(&mut criterion, size);
            evictions(&mut criterion, size);
        }
    }
    criterion.final_summary();
}
