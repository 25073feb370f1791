//! The store against a map, under pressure, and under threads. Every test prints its seed; `RINGSTORE_SEED` replays one.

mod flush;
mod model;
mod pressure;
mod threads;
mod walk;

use super::{Gone, Item, ItemBits, Put, Reader, Region, StoreConfig, StoreError, Writer, create};
use crate::config::SEGMENT_BYTES;
use crate::time::{Expiry, Seconds};

/// A reproducible source of numbers (splitmix64).
struct Rng(u64);

impl Rng {
    fn seeded(test: &str, default: u64) -> Self {
        let seed = std::env::var("RINGSTORE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(default);
        println!("{test}: RINGSTORE_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

fn store(segments: u64, evict: bool, readers: usize) -> (Writer, Vec<Reader>) {
    create(StoreConfig {
        memory_bytes: segments * SEGMENT_BYTES as u64,
        address_bytes: 2 * segments * SEGMENT_BYTES as u64,
        evict,
        item_bytes_max: 1 << 30,
        hash_seed: 7,
        readers,
        region: &mut Region::heap,
    })
    .expect("the heap has room")
}

fn put<'a>(writer: &Writer, key: &'a [u8], value: &'a [u8], cas: u64) -> Put<'a> {
    let hash = writer.hash(key);
    Put { hash, key, flags: 0, expiry: Expiry::NEVER, cas, bits: ItemBits::default(), value: [value, &[]] }
}

fn set(writer: &mut Writer, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let reserved = writer.reserve(&put(writer, key, value, 1))?;
    writer.publish(reserved);
    Ok(())
}

fn get<'a>(reader: &'a Reader, key: &[u8]) -> Option<Item<'a>> {
    reader.get(reader.hash(key), key, Seconds(100))
}

/// What ends a turn, without a log.
fn turn(writer: &mut Writer, reader: &mut Reader) {
    writer.maintain(Seconds(100), false, &mut |_, _| ());
    reader.quiesce();
}

#[test]
fn an_item_comes_back_as_it_was_stored() {
    let (mut writer, readers) = store(8, false, 1);
    for (flags, expiry, cas, bits, size) in
        [(0, 0, 1, 0, 0), (7, 0, u64::MAX, 0, 10), (0, 500, 1 << 32, 3, 70_000), (u32::MAX, 101, 0, 255, 65_536)]
    {
        let value = vec![b'v'; size];
        let (first, second) = value.split_at(size / 3);
        let key = format!("key-{size}");
        let hash = writer.hash(key.as_bytes());
        let expiry = Expiry::from_raw(expiry);
        let reserved = writer
            .reserve(&Put {
                hash,
                key: key.as_bytes(),
                flags,
                expiry,
                cas,
                bits: ItemBits(bits),
                value: [first, second],
            })
            .expect("room");
        let expected = Item { key: key.as_bytes(), value: &value, flags, expiry, cas, bits: ItemBits(bits) };
        assert_eq!(writer.view(&reserved), expected);
        assert_eq!(get(&readers[0], key.as_bytes()), None, "found before it was published");
        writer.publish(reserved);
        assert_eq!(get(&readers[0], key.as_bytes()), Some(expected));
    }
    writer.check_invariants();
}

#[test]
fn touch_works_in_place_where_there_is_room_and_by_a_copy_where_there_is_not() {
    let (mut writer, readers) = store(8, false, 1);
    set(&mut writer, b"key", b"value").expect("room");
    let hash = writer.hash(b"key");
    assert_eq!(writer.touch(hash, b"key", Expiry::NEVER), Ok(true));
    assert_eq!(writer.touch(hash, b"key", Expiry::from_raw(200)), Ok(true));
    let item = get(&readers[0], b"key").expect("it is there");
    assert_eq!((item.value, item.expiry, item.cas), (&b"value"[..], Expiry::from_raw(200), 1));
    assert_eq!(writer.touch(hash, b"key", Expiry::NEVER), Ok(true));
    assert_eq!(get(&readers[0], b"key").map(|item| item.expiry), Some(Expiry::NEVER));
    assert_eq!(writer.touch(hash, b"key", Expiry::from_raw(100)), Ok(true));
    assert_eq!(get(&readers[0], b"key"), None, "expired at its second");
    assert_eq!(writer.touch(hash, b"other", Expiry::NEVER), Ok(false));
    writer.check_invariants();
}

#[test]
fn expired_items_leave_without_being_asked_for() {
    let (mut writer, mut readers) = store(8, false, 1);
    for n in 0..20_000_u32 {
        let key = n.to_le_bytes();
        let expiry = Expiry::from_raw(if n % 2 == 0 { 150 } else { 0 });
        let reserved = writer.reserve(&Put { expiry, ..put(&writer, &key, b"value", 1) }).expect("room");
        writer.publish(reserved);
    }
    turn(&mut writer, &mut readers[0]);
    assert_eq!(writer.stats().items, 20_000);
    let mut gone = 0;
    for _ in 0..100 {
        writer.maintain(Seconds(150), false, &mut |_, why| gone += usize::from(why == Gone::Expired));
    }
    assert_eq!((writer.stats().items, gone, writer.stats().expired_unfetched), (10_000, 10_000, 10_000));
    writer.check_invariants();
}

#[test]
fn with_a_log_expired_items_are_proposed_and_stay_until_they_are_removed() {
    let (mut writer, _readers) = store(8, false, 1);
    for n in 0..1000_u32 {
        let key = n.to_le_bytes();
        let reserved =
            writer.reserve(&Put { expiry: Expiry::from_raw(150), ..put(&writer, &key, b"v", 1) }).expect("room");
        writer.publish(reserved);
    }
    let mut proposed = Vec::new();
    writer.maintain(Seconds(150), true, &mut |key, why| proposed.push((key.to_vec(), why)));
    assert_eq!((proposed.len(), writer.stats().items), (1000, 1000));
    for (key, why) in proposed {
        assert_eq!(why, Gone::Expired);
        assert!(writer.remove(writer.hash(&key), &key));
    }
    assert_eq!((writer.stats().items, writer.stats().reclaimed), (0, 1000));
    writer.check_invariants();
}

#[test]
fn the_index_grows_without_losing_anything() {
    let (mut writer, mut readers) = store(64, false, 1);
    let count = 300_000_u32;
    for n in 0..count {
        set(&mut writer, &n.to_le_bytes(), &n.to_be_bytes()).expect("room");
        if n % 10_007 == 0 {
            writer.check_invariants();
            turn(&mut writer, &mut readers[0]);
        }
    }
    for n in 0..count {
        let item = get(&readers[0], &n.to_le_bytes()).expect("it was stored");
        assert_eq!(item.value, n.to_be_bytes());
    }
    for n in 0..count {
        let key = n.to_le_bytes();
        assert!(writer.remove(writer.hash(&key), &key));
        assert!(!writer.remove(writer.hash(&key), &key));
    }
    turn(&mut writer, &mut readers[0]);
    turn(&mut writer, &mut readers[0]);
    writer.check_invariants();
    let stats = writer.stats();
    assert_eq!((stats.items, stats.bytes), (0, 0));
    assert!(stats.segments_used <= 1, "{stats:?}");
}
