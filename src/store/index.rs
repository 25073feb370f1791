#![allow(unsafe_code, reason = "publishes items to other threads: the buckets lie in a region of raw memory")]
//! The index as every thread sees it: buckets of eight 64-bit slots, and one word that says how many buckets there are.
//!
//! ```text
//!   bucket, one cache line                        a slot
//!   +----+----+----+----+----+----+----+----+     63   62       40                   0
//!   | s0 | s1 | s2 | s3 | s4 | s5 | s6 | s7 |     +----+--------+--------------------+
//!   +----+----+----+----+----+----+----+--|-+     |link|  tag   | unit of the item   |   0: empty
//!                                         |       +----+--------+--------------------+
//!       when it overflows, s7 is a link   +--> an overflow bucket, whose s7 may be a link again
//! ```
//!
//! A tag is the hash's topmost 22 bits and a one, so no tag equals an empty slot's.
//!
//! The index grows by linear hashing: `count` buckets, the next split is of bucket `count - 2^k`.
//!
//! **Why a reader needs no lock.** `state` packs the bucket count and a version. The writer only ever
//! 1. stores a new value into a slot (one atomic store: insert, replace, remove), or
//! 2. moves an entry: copies it to its new place, then changes `state`, then clears the old place.
//!
//! A reader loads `state` (Acquire), scans, and takes a hit as it is: the item it found has the key, was in the index at
//! that moment and its memory is pinned by the reader's epoch. A miss counts only if `state` is still the same:
//! - the scan saw the old place cleared: the clear is a Release store behind the change of `state`, the reader fences
//!   with Acquire behind its loads, so it sees the change and looks again;
//! - the reader started from the new `state`: the copy happened before that, so it is seen.
//!
//! An overflow bucket may be reused while a reader still walks it: what the reader finds there is checked by key like
//! everything else, and what it misses is covered by the change of `state` that preceded the reuse. Nobody ever waits.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};

use super::arena::{Region, Unit, prefetch};
use super::{KeyHash, epoch::Line};

/// Slots of a bucket.
pub(super) const SLOTS: usize = 8;
/// A bucket: one cache line.
pub(super) type Bucket = [AtomicU64; SLOTS];
/// Bytes of a bucket.
pub(super) const BUCKET_BYTES: usize = size_of::<Bucket>();

const _: () = assert!(BUCKET_BYTES == 64);

/// Where the tag stands in a slot.
const TAG_SHIFT: u32 = 40;
const UNIT_MASK: u64 = (1 << TAG_SHIFT) - 1;
/// In every slot that holds an item.
const OCCUPIED: u64 = 1 << 62;
/// In a slot that holds the number of an overflow bucket.
pub(super) const LINK: u64 = 1 << 63;
const TAG_BITS: u32 = 22;

/// Where the bucket count stands in the state word; below is the version.
const COUNT_SHIFT: u32 = 24;

/// The slot's tag part for a hash.
#[inline]
const fn tag(hash: KeyHash) -> u64 {
    OCCUPIED | (hash.0 >> (64 - TAG_BITS)) << TAG_SHIFT
}

/// The slot of an item.
#[inline]
pub(super) const fn slot_of(hash: KeyHash, unit: Unit) -> u64 {
    assert!(unit.0 <= UNIT_MASK);
    tag(hash) | unit.0
}

/// The item of a slot that holds one.
#[inline]
pub(super) const fn unit_of(slot: u64) -> Unit {
    Unit(slot & UNIT_MASK)
}

/// Whether the slot holds an item.
#[inline]
pub(super) const fn is_item(slot: u64) -> bool {
    slot & OCCUPIED != 0
}

/// The bucket of a hash among `count` buckets.
#[inline]
const fn place(hash: KeyHash, count: u64) -> u64 {
    let mask = u64::MAX >> (count - 1).leading_zeros();
    let wide = hash.0 & mask;
    if wide < count { wide } else { wide & (mask >> 1) }
}

/// The bucket of a hash when there were so many: all that are there now came of those by splits.
pub(super) const fn part_of(hash: KeyHash, count: u64) -> u64 {
    place(hash, count)
}

/// How far apart the buckets stand that came of bucket `part` of `count`, itself the first.
pub(super) const fn parts_stride(part: u64, count: u64) -> usize {
    let whole = count.next_power_of_two();
    let half = whole / 2;
    // what has not been split yet in this doubling has the hashes of both halves
    (if part < half && part + half >= count { half } else { whole }) as usize
}

/// Buckets in memory, and the word that says how many.
pub(super) struct Index {
    buckets: Region,
    overflow: Region,
    state: Line<AtomicU64>,
}

impl Index {
    /// An index of `count` empty buckets.
    pub fn new(buckets: Region, overflow: Region, count: u64) -> Self {
        let index = Self { buckets, overflow, state: Line(AtomicU64::new(count << COUNT_SHIFT)) };
        assert!(count >= 2 && count <= index.buckets_max(), "the first buckets fit");
        index
    }

    /// How many buckets there can be.
    pub const fn buckets_max(&self) -> u64 {
        (self.buckets.len() / BUCKET_BYTES) as u64
    }

    /// How many overflow buckets there can be.
    pub const fn overflow_max(&self) -> u64 {
        (self.overflow.len() / BUCKET_BYTES) as u64
    }

    #[inline]
    fn within(region: &Region, number: u64) -> &Bucket {
        assert!(number < (region.len() / BUCKET_BYTES) as u64, "no such bucket");
        // SAFETY: within the region, which begins on a cache line; zeroed memory is eight empty slots; buckets are
        // accessed atomically only.
        unsafe { &*region.base().as_ptr().cast::<Bucket>().add(number as usize) }
    }

    #[inline]
    pub fn bucket(&self, number: u64) -> &Bucket {
        Self::within(&self.buckets, number)
    }

    /// The bucket a link leads to.
    #[inline]
    pub fn linked(&self, link: u64) -> &Bucket {
        Self::within(&self.overflow, link & UNIT_MASK)
    }

    /// How many buckets there are (the writer's view, which is exact).
    pub fn count(&self) -> u64 {
        self.state.0.load(Relaxed) >> COUNT_SHIFT
    }

    /// The bucket a hash belongs to (the writer's view).
    #[inline]
    pub fn home(&self, hash: KeyHash) -> u64 {
        place(hash, self.count())
    }

    /// Step two of a move: what was copied counts from now on, and what is cleared after is no longer looked for.
    pub fn announce(&self, count: u64) {
        let version = self.state.0.load(Relaxed).wrapping_add(1) & ((1 << COUNT_SHIFT) - 1);
        self.state.0.store(count << COUNT_SHIFT | version, Release);
    }

    /// Finds the item under `hash` that `is` the one.
    #[inline]
    pub fn find(&self, hash: KeyHash, mut is: impl FnMut(Unit) -> bool) -> Option<Unit> {
        let mut state = self.state.0.load(Acquire);
        loop {
            let mut bucket = self.bucket(place(hash, state >> COUNT_SHIFT));
            loop {
                let (slots, mut hits) = scan(bucket, hash);
                if hits != 0 {
                    // pairs with the Release store of the slot: the item's bytes are seen
                    fence(Acquire);
                }
                while hits != 0 {
                    let unit = unit_of(slots[hits.trailing_zeros() as usize]);
                    if is(unit) {
                        return Some(unit);
                    }
                    hits &= hits - 1;
                }
                if slots[SLOTS - 1] & LINK == 0 {
                    break;
                }
                fence(Acquire);
                bucket = self.linked(slots[SLOTS - 1]);
            }
            // pairs with the Release stores that clear moved entries
            fence(Acquire);
            let now = self.state.0.load(Acquire);
            if now == state {
                return None;
            }
            state = now;
        }
    }

    /// The first item in the bucket's own line whose tag fits.
    #[inline]
    pub fn guess(&self, hash: KeyHash) -> Option<Unit> {
        let bucket = self.bucket(place(hash, self.state.0.load(Acquire) >> COUNT_SHIFT));
        let (slots, hits) = scan(bucket, hash);
        (hits != 0).then(|| unit_of(slots[hits.trailing_zeros() as usize & (SLOTS - 1)]))
    }

    /// Has the bucket of a hash fetched.
    #[inline]
    pub fn prefetch(&self, hash: KeyHash) {
        self.prefetch_bucket(place(hash, self.state.0.load(Relaxed) >> COUNT_SHIFT));
    }

    /// Has a bucket fetched.
    #[inline]
    pub fn prefetch_bucket(&self, number: u64) {
        prefetch(self.buckets.base().as_ptr().wrapping_add(number as usize * BUCKET_BYTES));
    }
}

/// The slots of a bucket, and a bit for each whose tag fits; a link's never does.
#[inline]
pub(super) fn scan(bucket: &Bucket, hash: KeyHash) -> ([u64; SLOTS], u32) {
    let wanted = tag(hash);
    let mut slots = [0; SLOTS];
    let mut hits = 0;
    for at in 0..SLOTS {
        slots[at] = bucket[at].load(Relaxed);
        hits |= u32::from(slots[at] ^ wanted <= UNIT_MASK) << at;
    }
    (slots, hits)
}
