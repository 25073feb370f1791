//! Walks in slices over a store that changes, and the digest against a map.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Walk, item_digest};
use super::*;

/// A key that lives for the whole walk, one that is written again and again, one that comes and goes.
fn key(kind: char, n: u64) -> Vec<u8> {
    format!("{kind}{n:06}").into_bytes()
}

/// Writes, removes and writes again, and lets the index grow.
fn disturb(rng: &mut Rng, writer: &mut Writer, fresh: &mut u64) {
    let rewritten = key('w', rng.below(60));
    while writer.must_wait() {
        writer.tidy(Seconds(100));
    }
    set(writer, &rewritten, &vec![b'w'; rng.below(30_000) as usize]).expect("room");
    let passing = key('p', rng.below(2000));
    if rng.one_in(2) {
        writer.remove(writer.hash(&passing), &passing);
    } else {
        set(writer, &passing, b"passing").expect("room");
    }
    for _ in 0..rng.below(6) {
        if *fresh >= 20_000 {
            break;
        }
        *fresh += 1;
        set(writer, &key('n', *fresh), b"new").expect("room");
    }
}

#[test]
fn nothing_that_lives_for_the_whole_walk_is_missed() {
    let mut rng = Rng::seeded("walk", 51);
    let mut disturbed = (0, 0);
    for round in 0..20 {
        let (mut writer, mut readers) = store(6, false, 1);
        let (lasting, mut fresh) = (500 + rng.below(3000), 0);
        for n in 0..lasting {
            set(&mut writer, &key('l', n), &n.to_le_bytes()).expect("room");
        }
        let before = writer.stats();
        let (mut walk, mut more, mut slices) = (Walk::default(), true, 0u64);
        let (mut met, mut twice, mut before_slice) = (BTreeSet::new(), 0u64, before.index_bytes / 64);
        while more {
            let mut handed = 0;
            let (buckets, asked) = (writer.stats().index_bytes / 64, 600);
            more = writer.walk(&mut walk, asked, |item| {
                handed += item.value.len();
                if item.key[0] == b'l' {
                    let n: u64 = std::str::from_utf8(&item.key[1..]).expect("digits").parse().expect("a number");
                    assert_eq!(item.value, n.to_le_bytes(), "another item's value");
                    twice += u64::from(!met.insert(n));
                }
            });
            // a bucket is not parted, and that many large items are in none
            let added = (buckets - before_slice) as usize;
            before_slice = buckets;
            assert!(handed < asked + (20 + 2 * added) * 30_000, "{handed} bytes in a slice");
            slices += 1;
            for _ in 0..rng.below(if round % 2 == 0 { 20 } else { 150 }) {
                disturb(&mut rng, &mut writer, &mut fresh);
            }
            turn(&mut writer, &mut readers[0]);
        }
        let after = writer.stats();
        assert_eq!(met.len() as u64, lasting, "round {round}: items were missed in {slices} slices");
        assert!(slices > 5 || round % 2 == 1);
        disturbed.0 += u64::from(after.hash_power > before.hash_power);
        disturbed.1 += u64::from(after.moved_bytes > 0);
        println!("{lasting} items in {slices} slices, {twice} of them twice, {after:?}");
        writer.check_invariants();
    }
    assert!(disturbed.0 >= 5 && disturbed.1 >= 5, "the store was hardly disturbed: {disturbed:?}");
}

#[test]
fn a_walk_meets_nothing_that_a_flush_has_hidden() {
    let (mut writer, _readers) = store(8, false, 1);
    (0..100).for_each(|n| set(&mut writer, &key('l', n), b"old").expect("room"));
    let mark = writer.flush_prepare();
    writer.flush(mark);
    set(&mut writer, b"after", b"new").expect("room");
    let mut met = Vec::new();
    assert!(!writer.walk(&mut Walk::default(), usize::MAX, |item| met.push(item.key.to_vec())));
    assert_eq!(met, [b"after".to_vec()]);
}

/// A store whose index is laid out by this seed.
fn seeded(hash_seed: u64) -> Writer {
    let config = StoreConfig {
        memory_bytes: 8 << 20,
        address_bytes: 8 << 20,
        evict: false,
        item_bytes_max: 1 << 20,
        hash_seed,
        readers: 1,
        region: &mut Region::heap,
    };
    let (mut writer, _) = create(config).expect("the heap has room");
    writer.keep_digest();
    writer
}

#[test]
fn the_digest_is_that_of_the_items_and_of_nothing_else() {
    let mut rng = Rng::seeded("digest", 52);
    let (mut one, mut other) = (seeded(1), seeded(2));
    let mut map: BTreeMap<Vec<u8>, (Vec<u8>, u32, Expiry, u64)> = BTreeMap::new();
    for cas in 1..5000u64 {
        let key = key('k', rng.below(300));
        match rng.below(20) {
            0..3 => {
                one.remove(one.hash(&key), &key);
                map.remove(&key);
            }
            3..6 => {
                let expiry = Expiry::from_raw(rng.below(3) as u32 * 1000);
                let touched = one.touch(one.hash(&key), &key, expiry).expect("room");
                assert_eq!(touched, map.contains_key(&key));
                map.entry(key).and_modify(|item| item.2 = expiry);
            }
            6 if rng.one_in(40) => {
                let mark = one.flush_prepare();
                one.flush(mark);
                map.clear();
            }
            _ => {
                let (value, flags) = (vec![cas as u8; rng.below(200) as usize], rng.below(2) as u32);
                let expiry = Expiry::from_raw(rng.below(2) as u32 * 500);
                let hash = one.hash(&key);
                let put = Put { hash, key: &key, flags, expiry, cas, bits: ItemBits(0), value: [&value, &[]] };
                let reserved = one.reserve(&put).expect("room");
                one.publish(reserved);
                map.insert(key, (value, flags, expiry, cas));
            }
        }
        if cas % 64 == 0 {
            one.maintain(Seconds(100), true, &mut |_, _| ());
        }
        let bits = ItemBits(0);
        let naive = map.iter().fold(0, |sum: u64, (key, (value, flags, expiry, cas))| {
            sum.wrapping_add(item_digest(&Item { key, value, flags: *flags, expiry: *expiry, cas: *cas, bits }))
        });
        assert_eq!(one.digest(), Some(naive), "after {cas} changes");
    }
    // the same items, in another order, in a store of another seed
    for (key, (value, flags, expiry, cas)) in map.iter().rev() {
        let (flags, expiry, cas, hash) = (*flags, *expiry, *cas, other.hash(key));
        let put = Put { hash, key, flags, expiry, cas, bits: ItemBits(0), value: [value, &[]] };
        let reserved = other.reserve(&put).expect("room");
        other.publish(reserved);
    }
    assert_eq!(one.digest(), other.digest());
    assert_eq!(one.digest_in_full(), other.digest_in_full());
    one.check_invariants();
}

#[test]
fn every_part_of_an_item_is_in_its_digest() {
    let item = Item { key: b"ab", value: b"cd", flags: 1, expiry: Expiry::from_raw(2), cas: 3, bits: ItemBits(4) };
    let all = [
        item,
        Item { key: b"ac", ..item },
        Item { value: b"ce", ..item },
        Item { key: b"abc", value: b"d", ..item },
        Item { flags: 2, ..item },
        Item { expiry: Expiry::NEVER, ..item },
        Item { cas: 4, ..item },
        Item { bits: ItemBits(5), ..item },
    ];
    let digests: BTreeSet<u64> = all.iter().map(item_digest).collect();
    assert_eq!(digests.len(), all.len());
}

#[test]
fn a_flipped_bit_is_noticed_when_its_item_is_read_anew_and_when_it_goes() {
    let mut rng = Rng::seeded("flip", 53);
    for _ in 0..200 {
        let (mut writer, mut sound) = (seeded(1), seeded(2));
        for n in 0..20 {
            for store in [&mut writer, &mut sound] {
                set(store, &key('k', n), &vec![n as u8; 1 + n as usize]).expect("room");
            }
        }
        let (n, bit) = (rng.below(20), rng.below(8));
        let (damaged, at) = (key('k', n), rng.below(1 + n) * 8 + bit);
        assert!(writer.flip_bit(writer.hash(&damaged), &damaged, at as usize));
        assert_eq!(writer.digest(), sound.digest(), "what was not looked at is not noticed");
        assert_ne!(writer.digest_in_full(), sound.digest_in_full());
        for store in [&mut writer, &mut sound] {
            if rng.one_in(2) {
                store.remove(store.hash(&damaged), &damaged);
                set(store, &damaged, b"new").expect("room");
            } else {
                set(store, &damaged, b"new").expect("room");
            }
        }
        assert_ne!(writer.digest(), sound.digest(), "value of {n} bytes, bit {at}");
    }
}

#[test]
fn a_store_that_changes_is_checked_without_a_false_alarm() {
    let mut rng = Rng::seeded("scrub", 54);
    let (mut rounds, mut grown) = (0, false);
    for _ in 0..10 {
        let (mut writer, mut readers) = store(6, false, 1);
        writer.keep_digest();
        let mut fresh = 0;
        for n in 0..rng.below(2000) {
            set(&mut writer, &key('l', n), &n.to_le_bytes()).expect("room");
        }
        for _ in 0..150 {
            for _ in 0..rng.below(40) {
                disturb(&mut rng, &mut writer, &mut fresh);
            }
            if rng.one_in(80) {
                let mark = writer.flush_prepare();
                writer.flush(mark);
            }
            turn(&mut writer, &mut readers[0]);
            grown |= writer.stats().hash_power > 8;
            if let Some(above) = writer.scrub(20_000) {
                assert_eq!(above, 0, "a false alarm");
                rounds += 1;
            }
        }
        writer.check_invariants();
    }
    assert!(rounds > 30 && grown, "{rounds} rounds");
}

#[test]
fn a_bit_that_flips_where_nothing_is_written_is_found_within_two_rounds() {
    let mut rng = Rng::seeded("scrub and flip", 55);
    for _ in 0..50 {
        let (mut writer, mut readers) = store(6, false, 1);
        writer.keep_digest();
        let (mut fresh, lasting) = (0, 1 + rng.below(500));
        for n in 0..lasting {
            set(&mut writer, &key('l', n), &n.to_le_bytes()).expect("room");
        }
        for _ in 0..rng.below(20) {
            assert!(writer.scrub(500).is_none_or(|above| above == 0), "a false alarm");
        }
        let damaged = key('l', rng.below(lasting));
        assert!(writer.flip_bit(writer.hash(&damaged), &damaged, rng.below(64) as usize));
        let (mut rounds, mut found) = (0, false);
        while rounds < 2 && !found {
            for _ in 0..rng.below(10) {
                disturb(&mut rng, &mut writer, &mut fresh);
            }
            turn(&mut writer, &mut readers[0]);
            if let Some(above) = writer.scrub(2000) {
                rounds += 1;
                found = above != 0;
            }
        }
        assert!(found, "nobody noticed");
    }
}
