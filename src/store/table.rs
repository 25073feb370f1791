//! The index as the writer changes it: insert, replace, remove, and growth by one split at a time.
//!
//! Owns the overflow buckets that are free and the number of entries. Every change keeps the order index.rs asks for:
//! copy, announce, clear.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

use super::KeyHash;
use super::arena::{Arena, Unit};
use super::index::{BUCKET_BYTES, Bucket, Index, LINK, SLOTS, is_item, scan, slot_of, unit_of};
use crate::config::STORE_BUCKET_LOAD;

/// Buckets of an empty store.
pub(super) const FIRST_BUCKETS: u64 = 64;

/// How far the next split has been prepared, so that its cache misses overlap with other work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Split {
    Idle,
    BucketFetched,
    ItemsFetched,
}

/// What the writer knows of the index.
pub(super) struct Table {
    /// Items the index leads to.
    entries: u64,
    /// Overflow buckets that are empty and in no chain.
    free: Vec<u32>,
    /// Overflow buckets ever used.
    overflow_used: u64,
    split: Split,
    /// Entries that leave the bucket being split.
    leaving: Vec<u64>,
}

impl Table {
    pub const fn new() -> Self {
        Self { entries: 0, free: Vec::new(), overflow_used: 0, split: Split::Idle, leaving: Vec::new() }
    }

    /// Bytes of buckets in use or used before.
    pub fn bytes(&self, index: &Index) -> u64 {
        (index.count() + self.overflow_used) * BUCKET_BYTES as u64
    }

    /// Whether there should be more buckets.
    pub fn is_behind(&self, index: &Index) -> bool {
        self.entries > index.count() * STORE_BUCKET_LOAD && index.count() < index.buckets_max()
    }

    /// The slot that leads to `unit`.
    pub fn slot<'a>(&self, index: &'a Index, hash: KeyHash, unit: Unit) -> Option<&'a AtomicU64> {
        let wanted = slot_of(hash, unit);
        let mut bucket = index.bucket(index.home(hash));
        loop {
            if let Some(slot) = bucket.iter().find(|slot| slot.load(Relaxed) == wanted) {
                return Some(slot);
            }
            bucket = next(index, bucket)?;
        }
    }

    /// The slot of the item under `hash` that `is` the one, and the item. Only the writer may ask: nothing moves meanwhile.
    #[inline]
    pub fn find<'a>(
        &self,
        index: &'a Index,
        hash: KeyHash,
        mut is: impl FnMut(Unit) -> bool,
    ) -> Option<(&'a AtomicU64, Unit)> {
        let mut bucket = index.bucket(index.home(hash));
        loop {
            let (slots, mut hits) = scan(bucket, hash);
            while hits != 0 {
                let at = hits.trailing_zeros() as usize & (SLOTS - 1);
                if is(unit_of(slots[at])) {
                    return Some((&bucket[at], unit_of(slots[at])));
                }
                hits &= hits - 1;
            }
            if slots[SLOTS - 1] & LINK == 0 {
                return None;
            }
            bucket = index.linked(slots[SLOTS - 1]);
        }
    }

    /// Lets the entry of `old` lead to `new`; whether there was one.
    pub fn replace(&self, index: &Index, hash: KeyHash, old: Unit, new: Unit) -> bool {
        let slot = self.slot(index, hash, old);
        // Release: whoever finds the item sees its bytes
        slot.inspect(|slot| slot.store(slot_of(hash, new), Release)).is_some()
    }

    /// Adds an entry; the key must have none.
    pub fn insert(&mut self, index: &Index, arena: &Arena, hash: KeyHash, unit: Unit) {
        self.place(index, index.home(hash), slot_of(hash, unit));
        self.entries += 1;
        if self.is_behind(index) {
            self.grow(index, arena);
        }
    }

    /// Puts a slot's value into the first free place of a chain.
    fn place(&mut self, index: &Index, number: u64, value: u64) {
        let mut bucket = index.bucket(number);
        loop {
            if let Some(slot) = bucket.iter().find(|slot| slot.load(Relaxed) == 0) {
                return slot.store(value, Release);
            }
            match next(index, bucket) {
                Some(linked) => bucket = linked,
                None => break,
            }
        }
        // full of items: the last makes room for a link, which leads to it and to the new one
        let link = LINK | u64::from(self.take_overflow(index));
        let linked = index.linked(link);
        linked[0].store(bucket[SLOTS - 1].load(Relaxed), Release);
        linked[1].store(value, Release);
        bucket[SLOTS - 1].store(link, Release);
    }

    fn take_overflow(&mut self, index: &Index) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            assert!(self.overflow_used < index.overflow_max(), "more overflow buckets than items there is memory for");
            self.overflow_used += 1;
            (self.overflow_used - 1) as u32
        })
    }

    /// Removes the entry of `unit`; whether there was one.
    pub fn remove(&mut self, index: &Index, hash: KeyHash, unit: Unit) -> bool {
        let removed = self.take_out(index, index.home(hash), slot_of(hash, unit));
        self.entries -= u64::from(removed);
        removed
    }

    /// Takes a value out of a chain. The chain stays dense: its very last entry fills the gap.
    fn take_out(&mut self, index: &Index, number: u64, value: u64) -> bool {
        let mut bucket = index.bucket(number);
        let mut gap = None;
        let mut parent = None;
        loop {
            gap = gap.or_else(|| bucket.iter().find(|slot| slot.load(Relaxed) == value));
            match next(index, bucket) {
                Some(linked) => (parent, bucket) = (Some(&bucket[SLOTS - 1]), linked),
                None => break,
            }
        }
        let Some(gap) = gap else { return false };
        let Some(parent) = parent else {
            gap.store(0, Release);
            return true;
        };
        let last = bucket.iter().rev().find(|slot| slot.load(Relaxed) != 0).expect("a linked bucket has two items");
        if !std::ptr::eq(last, gap) {
            gap.store(last.load(Relaxed), Release);
            index.announce(index.count());
        }
        last.store(0, Release);
        self.unlink_if_single(index, parent, bucket);
        true
    }

    /// A linked bucket with one item is not worth its line: the item takes the link's place.
    fn unlink_if_single(&mut self, index: &Index, parent: &AtomicU64, bucket: &Bucket) {
        if bucket[1].load(Relaxed) != 0 {
            return;
        }
        let link = parent.load(Relaxed);
        parent.store(bucket[0].load(Relaxed), Release);
        index.announce(index.count());
        bucket[0].store(0, Release);
        self.free.push(link as u32);
    }

    /// One step towards the next bucket. Called once for each new entry: three steps make a split, and a split makes
    /// room for `STORE_BUCKET_LOAD` entries, so growth keeps up and no insert pays for more than one split.
    fn grow(&mut self, index: &Index, arena: &Arena) {
        let count = index.count();
        let from = count - (1 << count.ilog2());
        self.split = match self.split {
            Split::Idle => {
                index.prefetch_bucket(from);
                index.prefetch_bucket(count);
                Split::BucketFetched
            }
            Split::BucketFetched => {
                each(index, from, |slot| arena.prefetch(unit_of(slot)));
                Split::ItemsFetched
            }
            Split::ItemsFetched => {
                self.split(index, arena, from, count);
                Split::Idle
            }
        };
    }

    /// Moves to bucket `count` what belongs there.
    fn split(&mut self, index: &Index, arena: &Arena, from: u64, count: u64) {
        let bit = 1 << count.ilog2();
        let mut leaving = std::mem::take(&mut self.leaving);
        each(index, from, |slot| {
            if arena.hash(unit_of(slot)).0 & bit != 0 {
                leaving.push(slot);
            }
        });
        for &slot in &leaving {
            self.place(index, count, slot);
        }
        index.announce(count + 1);
        for slot in leaving.drain(..) {
            let found = self.take_out(index, from, slot);
            assert!(found, "an entry left twice");
        }
        self.leaving = leaving;
    }

    /// Calls `visit` with every entry's slot.
    pub fn each(&self, index: &Index, mut visit: impl FnMut(u64, u64)) {
        for number in 0..index.count() {
            each(index, number, |slot| visit(number, slot));
        }
    }

    /// What must hold between changes: chains are dense, entries are where their hash says, all are counted.
    pub fn check_invariants(&self, index: &Index, arena: &Arena) {
        let (mut entries, mut linked) = (0, 0);
        for number in 0..index.count() {
            let mut bucket = index.bucket(number);
            while let Some(following) = next(index, bucket) {
                assert!(bucket.iter().all(|slot| slot.load(Relaxed) != 0), "a gap before an overflow bucket");
                assert!(following[1].load(Relaxed) != 0, "an overflow bucket for one item");
                bucket = following;
                linked += 1;
            }
            each(index, number, |slot| {
                entries += 1;
                let hash = arena.hash(unit_of(slot));
                assert!(index.home(hash) == number, "an entry in another's bucket");
                assert!(slot == slot_of(hash, unit_of(slot)), "a slot with another's tag");
            });
        }
        assert!(entries == self.entries, "{entries} entries, {} counted", self.entries);
        assert!(linked + self.free.len() as u64 == self.overflow_used, "an overflow bucket is lost");
        for &free in &self.free {
            assert!(index.linked(u64::from(free)).iter().all(|slot| slot.load(Relaxed) == 0), "a free bucket in use");
        }
    }
}

/// The overflow bucket behind `bucket`.
fn next<'a>(index: &'a Index, bucket: &Bucket) -> Option<&'a Bucket> {
    let last = bucket[SLOTS - 1].load(Relaxed);
    (last & LINK != 0).then(|| index.linked(last))
}

/// Calls `visit` with the slot of every entry of a chain.
pub(super) fn each(index: &Index, number: u64, mut visit: impl FnMut(u64)) {
    let mut bucket = index.bucket(number);
    loop {
        for slot in bucket {
            let slot = slot.load(Relaxed);
            if is_item(slot) {
                visit(slot);
            }
        }
        match next(index, bucket) {
            Some(linked) => bucket = linked,
            None => return,
        }
    }
}
