//! What the store takes above keys and values, and how long its longest pause is.
//!
//! ```text
//! cargo run --release --example store_overhead [items] [value bytes]
//! ```

use ringstore::ring::memory;
use ringstore::store::{ItemBits, Put, Reader, StoreConfig, Writer, create};
use ringstore::time::{Expiry, Seconds};
use rustix::time::{ClockId, clock_gettime};

const KEY_BYTES: usize = 16;

fn key(n: u64) -> [u8; KEY_BYTES] {
    let mut key = [b'k'; KEY_BYTES];
    key[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    key
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("there is such a line");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes << 10
}

fn set(writer: &mut Writer, n: u64, value: &[u8]) {
    let key = key(n);
    let hash = writer.hash(&key);
    let put =
        Put { hash, key: &key, flags: 0, expiry: Expiry::NEVER, cas: n + 1, bits: ItemBits(0), value: [value, &[]] };
    let reserved = writer.reserve(&put).expect("room");
    writer.publish(reserved);
}

/// Nanoseconds this thread has run: what others on the machine do does not count.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// The longest of many timed calls, and how many took more than half a millisecond.
#[derive(Default)]
struct Longest {
    longest: u64,
    slow: u64,
    sum: u64,
}

impl Longest {
    fn note(&mut self, began: u64) {
        let took = cpu_ns() - began;
        self.longest = self.longest.max(took);
        self.slow += u64::from(took > 500_000);
        self.sum += took;
    }

    fn print(&self, what: &str, items: u64) {
        let Self { longest, slow, sum } = self;
        println!("  {what}: {} ns an item, longest {} us, {slow} over 500 us", sum / items, longest / 1000);
    }
}

fn fill(writer: &mut Writer, reader: &mut Reader, items: u64, value: &[u8], first: u64) {
    let (mut sets, mut turns) = (Longest::default(), Longest::default());
    let mut began = cpu_ns();
    for n in first..first + items {
        set(writer, n, value);
        if n % 64 == 63 {
            sets.note(began);
            began = cpu_ns();
            writer.maintain(Seconds(1), false, &mut |_, _| ());
            turns.note(began);
            reader.quiesce();
            began = cpu_ns();
        }
    }
    sets.print("64 sets", items);
    turns.print("maintain", items);
}

fn make(memory_bytes: u64, evict: bool) -> (Writer, Vec<Reader>) {
    let mut region = |bytes| memory::region(bytes);
    create(StoreConfig {
        memory_bytes,
        address_bytes: 64 << 30,
        evict,
        item_bytes_max: 1 << 20,
        hash_seed: 1,
        readers: 1,
        region: &mut region,
    })
    .expect("address space")
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a number"));
    let items = arguments.next().unwrap_or(10_000_000);
    let value = vec![b'v'; arguments.next().unwrap_or(32) as usize];
    let payload = items * (KEY_BYTES + value.len()) as u64;

    let before = resident_bytes();
    let (mut writer, mut readers) = make(4 * payload, false);
    println!("filling with {items} items of {KEY_BYTES} + {} bytes", value.len());
    fill(&mut writer, &mut readers[0], items, &value, 0);
    let (stats, after) = (writer.stats(), resident_bytes());
    assert!(stats.items == items, "an item is missing");
    let above = |bytes: u64| (bytes as f64 - payload as f64) / items as f64;
    println!(
        "  bytes an item above key and value: {:.2} counted, {:.2} resident",
        above(stats.memory_bytes),
        above(after - before)
    );
    println!("  of these in the index: {:.2}", stats.index_bytes as f64 / items as f64);
    println!("overwriting all of them");
    fill(&mut writer, &mut readers[0], items, &value, 0);
    drop((writer, readers));

    let (mut writer, mut readers) = make(payload, true);
    writer.maintain(Seconds(1), false, &mut |_, _| ());
    println!("twice as many into an evicting store of {} MiB", payload >> 20);
    fill(&mut writer, &mut readers[0], 2 * items, &value, 0);
    println!("  {:?}", writer.stats());
}
