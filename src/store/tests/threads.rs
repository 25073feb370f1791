//! Readers on other threads while the writer does everything it can do.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::*;

const KEYS: u64 = 4096;

/// A value that says which key and version it is of, all along its length.
fn value_of(key: u64, version: u64, out: &mut Vec<u8>) {
    out.clear();
    let words = 2 + (key ^ version) % 40;
    for at in 0..words {
        out.extend_from_slice(&(key << 40 ^ version.wrapping_add(at << 56)).to_le_bytes());
    }
}

/// The version a value is of; panics when it is torn or of another key.
fn version_of(key: u64, value: &[u8]) -> u64 {
    let word = |at: usize| u64::from_le_bytes(value[at * 8..at * 8 + 8].try_into().expect("eight bytes"));
    let version = word(0) ^ key << 40;
    assert!(version < 1 << 40, "another key's value");
    assert_eq!(value.len() as u64 / 8, 2 + (key ^ version) % 40, "torn");
    for at in 0..value.len() / 8 {
        assert_eq!(word(at), key << 40 ^ version.wrapping_add((at as u64) << 56), "torn at {at}");
    }
    version
}

fn read(mut reader: Reader, published: &[AtomicU64], stop: &AtomicU64, mut rng: Rng, evict: bool) -> u64 {
    let mut found = 0;
    while stop.load(Relaxed) == 0 {
        for _ in 0..rng.below(100) {
            let key = rng.below(KEYS);
            let least = published[key as usize].load(Acquire);
            let name = key.to_le_bytes();
            let hash = reader.hash(&name);
            match reader.get(hash, &name, Seconds(100)) {
                Some(item) => {
                    assert_eq!(item.key, name);
                    let version = version_of(key, item.value);
                    assert_eq!(item.cas, version);
                    assert!(version >= least, "key {key}: version {version} after {least} was published");
                    found += 1;
                }
                None => assert!(least == 0 || evict, "key {key} was lost at version {least}"),
            }
        }
        match rng.below(10) {
            0 => {
                reader.park();
                std::thread::yield_now();
                reader.unpark();
            }
            _ => reader.quiesce(),
        }
    }
    found
}

/// One writer overwrites, fills and removes while `threads` readers check.
fn race(name: &str, segments: u64, evict: bool, threads: usize, sets: u64, seed: u64) {
    let mut rng = Rng::seeded(name, seed);
    let (mut writer, readers) = store(segments, evict, threads);
    let published: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let stop = AtomicU64::new(0);
    let found = std::thread::scope(|scope| {
        let handles: Vec<_> = readers
            .into_iter()
            .map(|reader| {
                let (published, stop, rng) = (&published, &stop, Rng(rng.next()));
                scope.spawn(move || read(reader, published, stop, rng, evict))
            })
            .collect();
        // readers leave their loop also when the writer panics
        let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            write(&mut writer, &published, &mut rng, sets);
        }));
        stop.store(1, Relaxed);
        let found: u64 = handles.into_iter().map(|handle| handle.join().expect("a reader is content")).sum();
        stopped.expect("the writer is content");
        found
    });
    assert!(found > 0);
    writer.check_invariants();
    println!("{name}: {found} found, {:?}", writer.stats());
}

fn write(writer: &mut Writer, published: &[AtomicU64], rng: &mut Rng, sets: u64) {
    let mut value = Vec::new();
    let mut fresh = 0_u64;
    for version in 1..=sets {
        while writer.must_wait() {
            writer.maintain(Seconds(100), false, &mut |_, _| ());
            std::thread::yield_now();
        }
        let key = rng.below(KEYS);
        value_of(key, version, &mut value);
        let name = key.to_le_bytes();
        let put = Put { cas: version, ..put(writer, &name, &value, version) };
        match writer.reserve(&put) {
            Ok(reserved) => {
                writer.publish(reserved);
                published[key as usize].store(version, Release);
            }
            // readers that do not get the processor hold memory up
            Err(_) => std::thread::yield_now(),
        }
        // keys nobody asks for make the index grow and its chains change
        for _ in 0..4 {
            fresh += 1;
            let live = 20_000 + version / 8;
            if set(writer, &(KEYS + fresh).to_le_bytes(), b"x").is_ok() && fresh > live {
                let old = (KEYS + fresh - live).to_le_bytes();
                writer.remove(writer.hash(&old), &old);
            }
        }
        if version % 32 == 0 {
            writer.maintain(Seconds(100), false, &mut |_, _| ());
        }
    }
}

#[test]
fn readers_see_whole_values_and_never_old_ones_while_segments_are_cleared() {
    race("clearing", 8, false, 2, 200_000, 31);
}

#[test]
fn readers_see_whole_values_while_items_are_evicted() {
    race("evicting", 4, true, 2, 200_000, 32);
}

#[test]
fn readers_find_everything_while_the_index_grows() {
    race("growing", 64, false, 3, 200_000, 33);
}

/// A server of a cluster: an entry locks its key, others answer for it, then it is published and the lock taken away. A read
/// that begins after the answer and finds no lock finds the value.
fn race_locks(name: &str, threads: usize, sets: u64, seed: u64) {
    let mut rng = Rng::seeded(name, seed);
    let (mut writer, readers) = store(16, false, threads);
    let answered: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let stop = AtomicU64::new(0);
    let (found, waited) = std::thread::scope(|scope| {
        let handles: Vec<_> = readers
            .into_iter()
            .map(|mut reader| {
                let (answered, stop, mut rng) = (&answered, &stop, Rng(rng.next()));
                scope.spawn(move || {
                    let (mut found, mut waited) = (0, 0);
                    while stop.load(Relaxed) == 0 {
                        let name = rng.below(64).to_le_bytes();
                        let least = answered[name[0] as usize].load(Acquire);
                        let hash = reader.hash(&name);
                        if reader.is_locked(hash) {
                            waited += 1;
                        } else {
                            let version = reader.get(hash, &name, Seconds(100)).map_or(0, |item| item.cas);
                            assert!(version >= least, "version {version} after {least} was answered");
                            found += 1;
                        }
                        reader.quiesce();
                    }
                    (found, waited)
                })
            })
            .collect();
        let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for version in 1..=sets {
                while writer.must_wait() {
                    writer.maintain(Seconds(100), false, &mut |_, _| ());
                    std::thread::yield_now();
                }
                let name = rng.below(64).to_le_bytes();
                let (hash, flushes) = (writer.hash(&name), version % 1000 == 0);
                let Ok(reserved) = writer.reserve(&put(&writer, &name, b"value", version)) else { continue };
                writer.lock(std::iter::once((!flushes).then_some(hash)));
                answered[name[0] as usize].store(version, Release);
                if rng.one_in(4) {
                    std::thread::yield_now();
                }
                writer.publish(reserved);
                writer.unlock((!flushes).then_some(hash));
                if version % 32 == 0 {
                    writer.maintain(Seconds(100), false, &mut |_, _| ());
                }
            }
        }));
        stop.store(1, Relaxed);
        let counts = handles.into_iter().map(|handle| handle.join().expect("a reader is content"));
        let counts = counts.fold((0u64, 0u64), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        stopped.expect("the writer is content");
        counts
    });
    println!("{name}: {found} reads, {waited} waited");
    assert!(found > 0 && waited > 0 && writer.is_unlocked());
}

#[test]
fn a_reader_that_finds_no_lock_finds_what_others_have_answered_for() {
    race_locks("locks", 2, 200_000, 35);
}

/// Longer, with changing seeds: `RINGSTORE_STRESS=<rounds>`.
#[test]
fn stress() {
    let rounds = std::env::var("RINGSTORE_STRESS").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    for round in 0..rounds {
        race("stress clearing", 8 + round % 5, false, 3, 2_000_000, 1000 + round);
        race("stress evicting", 4 + round % 5, true, 3, 2_000_000, 2000 + round);
        race_locks("stress locks", 3, 2_000_000, 3000 + round);
    }
}

/// One thread plays the writer and three readers in an order the seed decides: what a reader holds does not change,
/// whatever the writer does, until that reader is quiescent.
#[test]
fn a_held_item_does_not_change_whatever_the_schedule() {
    for evict in [false, true] {
        let mut rng = Rng::seeded("schedule", 34);
        let (mut writer, mut readers) = store(6, evict, 3);
        let mut latest = vec![0; KEYS as usize];
        let (mut version, mut held, mut refused) = (0, 0_u64, 0_u64);
        for _ in 0..3000 {
            let mut items = Vec::new();
            for reader in &readers {
                let key = rng.below(KEYS);
                let name = key.to_le_bytes();
                let item = reader.get(reader.hash(&name), &name, Seconds(100));
                assert!(item.is_some() || evict || latest[key as usize] == 0, "key {key} was lost");
                if let Some(item) = item {
                    assert_eq!(version_of(key, item.value), latest[key as usize], "not the newest");
                    items.push((key, item));
                }
            }
            for _ in 0..rng.below(300) {
                version += 1;
                let key = rng.below(KEYS);
                let mut value = Vec::new();
                value_of(key, version, &mut value);
                match writer.reserve(&put(&writer, &key.to_le_bytes(), &value, version)) {
                    Ok(reserved) if rng.one_in(9) => writer.discard(reserved),
                    Ok(reserved) => {
                        writer.publish(reserved);
                        latest[key as usize] = version;
                    }
                    Err(_) => refused += 1,
                }
                if rng.one_in(50) {
                    writer.maintain(Seconds(100), false, &mut |_, _| ());
                }
            }
            for (key, item) in items {
                assert_eq!(version_of(key, item.value), item.cas, "key {key} changed in a reader's hands");
                held += 1;
            }
            for reader in &mut readers {
                match rng.below(8) {
                    0 => reader.park(),
                    1..5 => reader.quiesce(),
                    _ => {}
                }
            }
        }
        println!("{held} items held, {refused} sets of {version} refused, {:?}", writer.stats());
        assert!(held > 1000 && refused < version / 2);
        writer.check_invariants();
    }
}
