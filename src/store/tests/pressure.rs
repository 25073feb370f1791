//! Full stores: dead space is used again, live data is what fills them, and what was read lately stays.

use super::*;

/// Overwrites keys at random, as a shard would: it waits for the next turn when the store asks for it.
fn overwrite(writer: &mut Writer, reader: &mut Reader, rng: &mut Rng, keys: u64, value: &[u8], sets: u64) -> u64 {
    let mut waits = 0;
    for n in 0..sets {
        while writer.must_wait() {
            waits += 1;
            assert!(waits < 1_000_000, "waits for ever: {:?}", writer.stats());
            turn(writer, reader);
        }
        let key = rng.below(keys).to_le_bytes();
        if let Err(error) = set(writer, &key, value) {
            panic!("{error:?} at set {n}: {:?}", writer.stats());
        }
        if n % 200 == 0 {
            turn(writer, reader);
        }
    }
    waits
}

#[test]
fn a_store_nine_tenths_full_is_overwritten_for_ever() {
    // one segment is open and one is moved to, which counts in a small store
    for (segments, full) in [(16, 80), (48, 90)] {
        let mut rng = Rng::seeded("nine tenths", 21);
        let (mut writer, mut readers) = store(segments, false, 1);
        let keys = (segments * SEGMENT_BYTES as u64 * full / 100) / 120;
        for n in 0..keys {
            set(&mut writer, &n.to_le_bytes(), &[1; 104]).expect("room");
        }
        let waits = overwrite(&mut writer, &mut readers[0], &mut rng, keys, &[2; 104], 2 * keys);
        let stats = writer.stats();
        println!(
            "{segments} segments: {} moved for each byte written, {waits} waits",
            stats.moved_bytes / (2 * keys * 120)
        );
        assert_eq!(stats.items, keys);
        assert!(stats.segments_used <= segments + segments / 4 + 4, "{stats:?}");
        writer.check_invariants();
    }
}

#[test]
fn live_data_fills_the_store_and_deletes_make_room() {
    let (mut writer, mut readers) = store(8, false, 1);
    let value = [3; 1000];
    let mut count = 0_u32;
    loop {
        if writer.must_wait() {
            turn(&mut writer, &mut readers[0]);
            continue;
        }
        if set(&mut writer, &count.to_le_bytes(), &value).is_err() {
            break;
        }
        count += 1;
    }
    let full = u64::from(count) * 1012;
    assert!(full > 6 << 20, "only {full} bytes fit into 8 segments");
    assert_eq!(set(&mut writer, b"more", &value), Err(StoreError::OutOfMemory));
    for n in 0..count {
        assert!(get(&readers[0], &n.to_le_bytes()).is_some(), "a full store forgets");
    }
    for n in (0..count).step_by(3) {
        assert!(writer.remove(writer.hash(&n.to_le_bytes()), &n.to_le_bytes()));
    }
    for _ in 0..100 {
        turn(&mut writer, &mut readers[0]);
    }
    for n in 0..count / 4 {
        while writer.must_wait() {
            turn(&mut writer, &mut readers[0]);
        }
        set(&mut writer, &(1_000_000 + n).to_le_bytes(), &value).expect("a third was removed");
    }
    writer.check_invariants();
}

#[test]
fn full_of_large_items_it_does_not_work_in_vain() {
    let (mut writer, mut readers) = store(16, false, 1);
    let value = vec![4; 400_000];
    let mut count = 0_u32;
    while set(&mut writer, &count.to_le_bytes(), &value).is_ok() {
        count += 1;
        turn(&mut writer, &mut readers[0]);
    }
    for _ in 0..1000 {
        turn(&mut writer, &mut readers[0]);
    }
    let before = writer.stats().moved_bytes;
    for _ in 0..1000 {
        turn(&mut writer, &mut readers[0]);
        assert_eq!(set(&mut writer, b"more", &value), Err(StoreError::OutOfMemory));
    }
    assert_eq!(writer.stats().moved_bytes, before, "it goes on moving");
    assert!(count >= 26, "only {count} of 400 kB in 16 segments");
    writer.check_invariants();
}

#[test]
fn an_evicting_store_takes_every_set_and_stays_within_its_limit() {
    for segments in [4, 8, 64] {
        let (mut writer, mut readers) = store(segments, true, 1);
        turn(&mut writer, &mut readers[0]);
        let mut most = 0;
        for n in 0..segments * 30_000 {
            set(&mut writer, &n.to_le_bytes(), &[5; 100]).expect("a cache takes every set");
            most = most.max(writer.stats().segments_used);
            if n % 500 == 0 {
                turn(&mut writer, &mut readers[0]);
            }
        }
        assert!(most <= segments + (segments / 8).clamp(4, 32), "{most} segments of {segments}");
        let least = (segments - 3) * SEGMENT_BYTES as u64 / 116;
        assert!(writer.stats().items > least, "{:?}", writer.stats());
        writer.check_invariants();
    }
}

#[test]
fn what_is_read_stays_and_what_is_not_goes() {
    let (mut writer, mut readers) = store(16, true, 1);
    turn(&mut writer, &mut readers[0]);
    let hot = |n: u32| format!("hot-{n}").into_bytes();
    for n in 0..5000 {
        set(&mut writer, &hot(n), &[6; 200]).expect("room");
    }
    for n in 0..1_000_000_u32 {
        set(&mut writer, &n.to_le_bytes(), &[7; 100]).expect("a cache takes every set");
        if n % 10 == 0 {
            let key = hot(n / 10 % 5000);
            assert!(get(&readers[0], &key).is_some(), "a hot item was evicted at {n}");
        }
        if n % 500 == 0 {
            turn(&mut writer, &mut readers[0]);
        }
    }
    assert!(get(&readers[0], &1_u32.to_le_bytes()).is_none());
    assert!(writer.stats().evictions > 500_000, "{:?}", writer.stats());
    writer.check_invariants();
}

#[test]
fn with_a_log_evictions_are_proposed_and_memory_comes_with_the_removals() {
    let (mut writer, mut readers) = store(16, true, 1);
    let mut proposed = Vec::new();
    let mut evicted = 0;
    for n in 0..600_000_u64 {
        while writer.must_wait() || n % 500 == 0 && proposed.is_empty() {
            writer.maintain(Seconds(1), true, &mut |key, why| proposed.push((key.to_vec(), why)));
            readers[0].quiesce();
            for (key, why) in proposed.drain(..) {
                assert_eq!(why, Gone::Evicted);
                evicted += u64::from(writer.remove(writer.hash(&key), &key));
            }
            if !writer.must_wait() {
                break;
            }
        }
        set(&mut writer, &n.to_le_bytes(), &[8; 100]).expect("a cache takes every set");
    }
    assert_eq!(writer.stats().items, 600_000 - evicted);
    assert!(evicted > 400_000);
    writer.check_invariants();
}

#[test]
fn the_limit_can_be_lowered_and_raised() {
    let (mut writer, mut readers) = store(64, true, 1);
    turn(&mut writer, &mut readers[0]);
    let fill = |writer: &mut Writer, reader: &mut Reader| {
        for n in 0..1_000_000_u64 {
            set(writer, &n.to_le_bytes(), &[9; 100]).expect("a cache takes every set");
            if n % 500 == 0 {
                turn(writer, reader);
            }
        }
    };
    fill(&mut writer, &mut readers[0]);
    let wide = writer.stats().segments_used;
    writer.set_memory_limit(8 << 20);
    for _ in 0..1000 {
        turn(&mut writer, &mut readers[0]);
    }
    assert!(writer.stats().segments_used <= 8, "{:?}", writer.stats());
    fill(&mut writer, &mut readers[0]);
    assert!(writer.stats().segments_used <= 12, "{:?}", writer.stats());
    writer.set_memory_limit(64 << 20);
    fill(&mut writer, &mut readers[0]);
    assert!(wide > 60 && writer.stats().segments_used > 60, "{:?}", writer.stats());
    writer.check_invariants();
}

#[test]
fn a_turn_removes_a_bounded_number_of_expired_items_and_asks_for_another() {
    let (mut writer, mut readers) = store(8, false, 1);
    for n in 0..100_000_u32 {
        let key = n.to_le_bytes();
        let reserved = writer.reserve(&Put { expiry: Expiry::from_raw(150), ..put(&writer, &key, b"", 1) });
        writer.publish(reserved.expect("room"));
        if n % 1000 == 0 {
            turn(&mut writer, &mut readers[0]);
        }
    }
    assert!(!writer.is_sweeping());
    let mut turns = 0;
    loop {
        let before = writer.stats().items;
        writer.maintain(Seconds(150), false, &mut |_, _| ());
        let removed = before - writer.stats().items;
        assert!(removed <= crate::config::STORE_SWEEP_REMOVALS as u64, "{removed} in one turn");
        turns += 1;
        if !writer.is_sweeping() {
            break;
        }
    }
    assert!((98..200).contains(&turns), "{turns} turns");
    assert_eq!(writer.stats().items, 0, "the pass ended early");
    writer.check_invariants();
}

/// What fitted into an evicting store with a log fits again when the log is read back: its removals come in the order
/// of the log, wherever the items lie this time.
#[test]
fn what_an_evicting_log_holds_is_read_back_within_the_same_limit() {
    let mut rng = Rng::seeded("read back", 41);
    let (mut writer, mut readers) = store(16, true, 1);
    let mut log: Vec<(u64, Option<usize>)> = Vec::new();
    let mut proposed = Vec::new();
    for n in 0..300_000_u64 {
        while writer.must_wait() || n % 300 == 0 {
            writer.maintain(Seconds(1), true, &mut |key, _| proposed.push(key.to_vec()));
            readers[0].quiesce();
            for key in proposed.drain(..) {
                writer.remove(writer.hash(&key), &key);
                log.push((u64::from_le_bytes(key.try_into().expect("eight")), None));
            }
            if !writer.must_wait() {
                break;
            }
        }
        let size = 50 + rng.below(200) as usize;
        let key = if rng.one_in(3) { rng.below(40_000) } else { n + 40_000 };
        set(&mut writer, &key.to_le_bytes(), &vec![8; size]).expect("a cache takes every set");
        log.push((key, Some(size)));
        for _ in 0..2 {
            let _ = get(&readers[0], &rng.below(40_000).to_le_bytes());
        }
    }
    let (mut again, readers) = store(16, true, 1);
    for (n, &(key, size)) in log.iter().enumerate() {
        let key = key.to_le_bytes();
        if n % 64 == 0 {
            again.tidy(Seconds(1));
        }
        while again.must_wait() {
            again.tidy(Seconds(1));
        }
        match size {
            Some(size) => set(&mut again, &key, &vec![8; size]).unwrap_or_else(|e| panic!("{e:?} at entry {n}")),
            None => assert!(again.remove(again.hash(&key), &key), "removed once"),
        }
    }
    assert_eq!((again.stats().items, again.stats().evictions), (writer.stats().items, 0));
    drop(readers);
    again.check_invariants();
}

/// Every item is read as soon as it is there; what one set moves must not grow with the store.
#[test]
fn a_cache_in_which_everything_was_read_takes_every_set_without_a_pause() {
    let (mut writer, mut readers) = store(128, true, 1);
    turn(&mut writer, &mut readers[0]);
    let value = vec![1; 100_000];
    let mut most = 0;
    for n in 0..4000_u64 {
        let before = writer.stats().moved_bytes;
        set(&mut writer, &n.to_le_bytes(), &value).expect("a cache takes every set");
        most = most.max(writer.stats().moved_bytes - before);
        assert!(get(&readers[0], &n.to_le_bytes()).is_some());
        if n % 50 == 0 {
            turn(&mut writer, &mut readers[0]);
        }
    }
    assert!(most > 0 && most <= 3 << 20, "one set moved {most} bytes");
    writer.check_invariants();
}
