//! Long random runs against a map.

use std::collections::{BTreeMap, VecDeque};

use super::super::Reserved;
use super::*;

#[derive(Clone, Debug, PartialEq)]
struct Expected {
    value: Vec<u8>,
    flags: u32,
    expiry: Expiry,
    cas: u64,
}

enum Prepared {
    Put(Vec<u8>, Expected, Reserved),
    Flush(super::super::FlushMark),
    Discard(Reserved),
}

/// A store and what it should hold.
struct Run {
    rng: Rng,
    writer: Writer,
    reader: Reader,
    expected: BTreeMap<Vec<u8>, Expected>,
    prepared: VecDeque<Prepared>,
    proposed: Vec<Vec<u8>>,
    now: Seconds,
    cas: u64,
    evict: bool,
    logged: bool,
    keys: u64,
    value_bytes_max: u64,
    refused: u64,
}

impl Run {
    fn new(rng: Rng, segments: u64, evict: bool, logged: bool, keys: u64, value_bytes_max: u64) -> Self {
        let (mut writer, mut readers) = store(segments, evict, 1);
        if logged {
            writer.keep_digest();
        }
        let reader = readers.pop().expect("one was asked for");
        let (expected, prepared, proposed, now) = (BTreeMap::new(), VecDeque::new(), Vec::new(), Seconds(1000));
        let cas = u64::from(u32::MAX) - 1000;
        Self {
            rng,
            writer,
            reader,
            expected,
            prepared,
            proposed,
            now,
            cas,
            evict,
            logged,
            keys,
            value_bytes_max,
            refused: 0,
        }
    }

    fn key(&mut self) -> Vec<u8> {
        let n = self.rng.below(self.keys);
        let length = 4 + (n * 7 % 40) as usize;
        let mut key = format!("{n:04}").into_bytes();
        key.resize(length.max(key.len()), b'k');
        key
    }

    fn expiry(&mut self) -> Expiry {
        match self.rng.below(4) {
            0 => Expiry::from_raw(self.now.0 + 1 + self.rng.below(20) as u32),
            1 => Expiry::from_raw(self.now.0 + 100_000),
            _ => Expiry::NEVER,
        }
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..50 => self.put(),
            50..60 => self.remove(),
            60..70 => self.touch(),
            70..95 => self.look(),
            95..98 => self.commit(),
            98 => self.now.0 += u32::from(self.rng.one_in(8)),
            _ => {
                if self.rng.one_in(200) {
                    let mark = self.writer.flush_prepare();
                    self.prepared.push_back(Prepared::Flush(mark));
                }
            }
        }
    }

    fn put(&mut self) {
        let key = self.key();
        self.cas += 1;
        let size = self.rng.below(self.value_bytes_max);
        let size = if self.rng.one_in(50) { size } else { size / 50 } as usize;
        let value: Vec<u8> = (0..size).map(|at| (self.cas as u8).wrapping_add(at as u8)).collect();
        let flags = if self.rng.one_in(3) { self.cas as u32 } else { 0 };
        let item = Expected { value, flags, expiry: self.expiry(), cas: self.cas };
        let (first, second) = item.value.split_at(self.rng.below(size as u64 + 1) as usize);
        let (hash, expiry, cas) = (self.writer.hash(&key), item.expiry, item.cas);
        let bits = ItemBits::default();
        match self.writer.reserve(&Put { hash, key: &key, flags, expiry, cas, bits, value: [first, second] }) {
            Ok(reserved) if self.rng.one_in(10) => self.prepared.push_back(Prepared::Discard(reserved)),
            Ok(reserved) => self.prepared.push_back(Prepared::Put(key, item, reserved)),
            Err(error) => {
                assert_eq!(error, StoreError::OutOfMemory);
                self.refused += 1;
            }
        }
        if self.rng.one_in(2) {
            self.commit();
        }
    }

    /// Applies what is prepared, in order.
    fn commit(&mut self) {
        while let Some(prepared) = self.prepared.pop_front() {
            match prepared {
                Prepared::Put(key, item, reserved) => {
                    let view = self.writer.view(&reserved);
                    assert_eq!((view.key, view.value, view.cas), (&key[..], &item.value[..], item.cas));
                    self.writer.publish(reserved);
                    self.expected.insert(key, item);
                }
                Prepared::Discard(reserved) => self.writer.discard(reserved),
                Prepared::Flush(mark) => {
                    self.writer.flush(mark);
                    self.expected.clear();
                    assert_eq!(self.writer.stats().items, 0, "the count follows a flush at once");
                }
            }
        }
        for key in std::mem::take(&mut self.proposed) {
            self.writer.remove(self.writer.hash(&key), &key);
            self.expected.remove(&key);
        }
    }

    fn remove(&mut self) {
        let key = self.key();
        let there = self.writer.remove(self.writer.hash(&key), &key);
        let expected = self.expected.remove(&key);
        let live = expected.as_ref().is_some_and(|item| !item.expiry.expired(self.now));
        assert!(there || !live || self.evict, "an item was lost");
        assert!(!there || expected.is_some(), "an item nobody stored");
    }

    fn touch(&mut self) {
        let (key, expiry) = (self.key(), self.expiry());
        let hash = self.writer.hash(&key);
        if self.writer.get(hash, &key, self.now).is_none() {
            return;
        }
        match self.writer.touch(hash, &key, expiry) {
            Ok(touched) => {
                // storing it again may have evicted it first
                assert!(touched || self.evict);
                self.expected.get_mut(&key).expect("it is there").expiry = expiry;
            }
            Err(error) => assert_eq!(error, StoreError::OutOfMemory),
        }
    }

    fn look(&mut self) {
        let key = self.key();
        let expected = self.expected.get(&key).filter(|item| !item.expiry.expired(self.now));
        let hash = self.reader.hash(&key);
        self.reader.prefetch(hash);
        self.reader.prefetch_item(hash);
        match (self.reader.get(hash, &key, self.now), expected) {
            (None, None) => {}
            (None, Some(item)) => assert!(self.evict, "lost: {item:?}"),
            (Some(item), None) => panic!("an item nobody stored, or one that was removed: {item:?}"),
            (Some(item), Some(expected)) => {
                let found =
                    Expected { value: item.value.to_vec(), flags: item.flags, expiry: item.expiry, cas: item.cas };
                assert_eq!((item.key, &found), (&key[..], expected));
            }
        }
    }

    fn end_turn(&mut self) {
        let (expected, proposed, logged) = (&mut self.expected, &mut self.proposed, self.logged);
        let now = self.now;
        self.writer.maintain(now, logged, &mut |key, why| {
            if logged {
                assert!(why != Gone::Flushed);
                proposed.push(key.to_vec());
            } else if why == Gone::Expired {
                let item = expected.remove(key).expect("it was stored");
                assert!(item.expiry.expired(now), "removed before its time");
            } else if why == Gone::Evicted {
                expected.remove(key).expect("it was stored");
            }
        });
        self.reader.quiesce();
    }

    fn run(mut self, turns: usize) -> Self {
        for at in 0..turns {
            for _ in 0..self.rng.below(200) {
                self.step();
            }
            self.end_turn();
            if at % 64 == 0 {
                self.writer.check_invariants();
            }
        }
        self.commit();
        self.writer.check_invariants();
        if !self.evict {
            let live = self.expected.values().filter(|item| !item.expiry.expired(self.now)).count() as u64;
            let items = self.writer.stats().items;
            assert!((live..=self.expected.len() as u64).contains(&items), "{items} items, {live} live");
        }
        self
    }
}

#[test]
fn a_roomy_store_is_a_map() {
    let run = Run::new(Rng::seeded("roomy", 1), 64, false, false, 2000, 5000).run(1000);
    assert_eq!(run.refused, 0);
}

#[test]
fn a_store_whose_dead_space_must_be_reused_is_a_map() {
    // 200 keys of up to 250 KB, about 3 MB live, in 8 segments; 60 MB are written
    let run = Run::new(Rng::seeded("dense", 2), 8, false, false, 200, 250_000).run(1500);
    assert!(run.writer.stats().moved_bytes > 0, "nothing was moved: {:?}", run.writer.stats());
    assert_eq!(run.refused, 0);
}

#[test]
fn a_logged_store_is_a_map() {
    let run = Run::new(Rng::seeded("logged", 3), 16, false, true, 1500, 60_000).run(1500);
    assert!(run.writer.stats().reclaimed > 0, "nothing expired");
}

#[test]
fn an_evicting_store_is_a_map_that_forgets() {
    let run = Run::new(Rng::seeded("evicting", 4), 8, true, false, 5000, 100_000).run(1500);
    assert!(run.writer.stats().evictions > 0, "nothing was evicted");
    assert_eq!(run.refused, 0);
}

#[test]
fn a_logged_evicting_store_is_a_map_that_forgets() {
    let run = Run::new(Rng::seeded("logged evicting", 5), 10, true, true, 5000, 100_000).run(1500);
    assert!(run.writer.stats().evictions > 0, "nothing was evicted");
}

#[test]
fn large_items_over_several_segments_come_and_go() {
    let run = Run::new(Rng::seeded("large", 6), 64, false, false, 40, 6 << 20).run(60);
    assert_eq!(run.refused, 0);
    let run = Run::new(Rng::seeded("large evicting", 7), 24, true, false, 400, 6 << 20).run(60);
    assert!(run.writer.stats().evictions > 0, "nothing was evicted");
}
