//! The longest CPU time any one call of the store takes, when somebody tries to make it long.
//!
//! ```text
//! cargo run --release --example store_pauses [mebibytes]
//! ```
//!
//! Memory is touched beforehand, so that the kernel's page faults are not counted as ours.

use ringstore::ring::memory;
use ringstore::store::{ItemBits, Put, Reader, StoreConfig, Writer, create};
use ringstore::time::{Expiry, Seconds};
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds this thread has run: what others on the machine do does not count.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Timed calls of one kind.
#[derive(Default)]
struct Calls(Vec<u64>);

impl Calls {
    fn time<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let began = cpu_ns();
        let result = call();
        self.0.push(cpu_ns() - began);
        result
    }

    fn print(mut self, what: &str) {
        self.0.sort_unstable_by(|a, b| b.cmp(a));
        let slow = self.0.iter().take_while(|&&ns| ns > 500_000).count();
        let longest: Vec<_> = self.0.iter().take(4).map(|ns| ns / 1000).collect();
        println!("  {what}: {} calls, {slow} over 500 us, longest {longest:?} us", self.0.len());
    }
}

struct Store {
    writer: Writer,
    readers: Vec<Reader>,
    now: u32,
    sets: Calls,
    turns: Calls,
    refused: u64,
    waits: u64,
}

impl Store {
    fn new(mebibytes: u64, evict: bool) -> Self {
        let mut region = |bytes| memory::region(bytes);
        let config = StoreConfig {
            memory_bytes: mebibytes << 20,
            address_bytes: mebibytes << 20,
            evict,
            item_bytes_max: 1 << 30,
            hash_seed: 1,
            readers: 1,
            region: &mut region,
        };
        let (mut writer, readers) = create(config).expect("address space");
        writer.maintain(Seconds(1), false, &mut |_, _| ());
        let (sets, turns) = (Calls::default(), Calls::default());
        Self { writer, readers, now: 1, sets, turns, refused: 0, waits: 0 }
    }

    fn turn(&mut self) {
        let now = Seconds(self.now);
        self.turns.time(|| self.writer.maintain(now, false, &mut |_, _| ()));
        self.readers[0].quiesce();
    }

    /// As a shard does: waits for the next turn when the store asks for it.
    fn set(&mut self, key: u64, value: &[u8], expiry: u32) {
        while self.writer.must_wait() {
            self.waits += 1;
            self.turn();
        }
        let key = key.to_le_bytes();
        let put = Put {
            hash: self.writer.hash(&key),
            key: &key,
            flags: 0,
            expiry: Expiry::from_raw(expiry),
            cas: 1,
            bits: ItemBits(0),
            value: [value, &[]],
        };
        match self.sets.time(|| self.writer.reserve(&put)) {
            Ok(reserved) => self.writer.publish(reserved),
            Err(_) => self.refused += 1,
        }
    }

    fn fill(&mut self, keys: std::ops::Range<u64>, value: &[u8], expiry: u32) {
        for key in keys {
            self.set(key, value, expiry);
            if key % 64 == 0 {
                self.turn();
            }
        }
    }

    fn read_all(&self, keys: std::ops::Range<u64>) {
        for key in keys {
            let key = key.to_le_bytes();
            let _ = self.readers[0].get(self.readers[0].hash(&key), &key, Seconds(self.now));
        }
    }

    /// Forgets what was timed so far: the memory is touched now.
    fn warm(&mut self) {
        (self.sets, self.turns, self.refused, self.waits) = (Calls::default(), Calls::default(), 0, 0);
    }

    fn print(&mut self, what: &str) {
        println!("{what}: {} refused, {} waits", self.refused, self.waits);
        std::mem::take(&mut self.sets).print("reserve");
        std::mem::take(&mut self.turns).print("maintain");
    }
}

fn main() {
    let mebibytes = std::env::args().nth(1).map_or(512, |text| text.parse().expect("a number"));
    let bytes = mebibytes << 20;
    tiny_items_expire_together(mebibytes, bytes / 40);
    everything_was_read(mebibytes, bytes / 120, 100);
    everything_was_read(mebibytes, bytes / 16_400, 16_384);
    huge_among_tiny(mebibytes, bytes / 24);
    flushes(mebibytes, bytes / 60);
    nine_tenths(mebibytes, bytes * 9 / 10 / 24);
}

fn tiny_items_expire_together(mebibytes: u64, keys: u64) {
    let mut store = Store::new(mebibytes, true);
    store.fill(0..keys, b"", 10);
    store.warm();
    store.now = 10;
    let mut turns = 0_u64;
    while store.writer.stats().items > 0 && turns < 1_000_000 {
        turns += 1;
        store.now += u32::from(turns.is_multiple_of(100));
        store.turn();
    }
    store.print(&format!("{keys} tiny items expire together"));
}

fn everything_was_read(mebibytes: u64, keys: u64, size: usize) {
    let mut store = Store::new(mebibytes, true);
    let value = vec![1; size];
    store.fill(0..keys * 3 / 2, &value, 0);
    store.read_all(0..keys * 3 / 2);
    store.warm();
    store.fill(2 * keys..4 * keys, &value, 0);
    store.print(&format!("all of {size} bytes were read, then come others"));
}

fn huge_among_tiny(mebibytes: u64, keys: u64) {
    for evict in [true, false] {
        let mut store = Store::new(mebibytes, evict);
        let keys = if evict { keys } else { keys / 2 };
        store.fill(0..keys, b"", 0);
        store.warm();
        let huge = vec![2; 1_000_000];
        for n in 0..2000 {
            store.set(n % 64 + (1 << 40), &huge, 0);
            store.fill(n * 1000 % keys..(n * 1000 % keys + 1000).min(keys), b"", 0);
        }
        store.print(&format!("huge among tiny, evict {evict}"));
    }
}

fn flushes(mebibytes: u64, keys: u64) {
    let mut store = Store::new(mebibytes, true);
    store.fill(0..keys, b"some value", 0);
    store.warm();
    let (mut prepares, mut flushes) = (Calls::default(), Calls::default());
    for n in 0..50_000 {
        let mark = prepares.time(|| store.writer.flush_prepare());
        flushes.time(|| store.writer.flush(mark));
        store.fill(n..n + 2, b"x", 0);
    }
    store.print("flush in a loop");
    prepares.print("prepare");
    flushes.print("flush");
}

fn nine_tenths(mebibytes: u64, keys: u64) {
    let mut store = Store::new(mebibytes, false);
    store.fill(0..keys, b"", 0);
    store.warm();
    let mut at = 1_u64;
    for n in 0..keys / 2 {
        at = at.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        store.set((at >> 20) % keys, b"", 0);
        if n % 64 == 0 {
            store.turn();
        }
    }
    store.print("tiny items overwritten at nine tenths");
    let mut removes = Calls::default();
    for key in 0..keys {
        let key = key.to_le_bytes();
        removes.time(|| store.writer.remove(store.writer.hash(&key), &key));
    }
    removes.print("remove");
    store.fill(0..keys, b"", 0);
    store.print("all removed and filled again");
}
