//! Which items a flush has made invisible, by when their memory was taken.
//!
//! The clock counts bytes handed out. An item's time is its segment's birth plus its place in the segment, or just the
//! birth in a *flat* segment, whose items were moved there from elsewhere. A flush is one store of a point in time:
//! everything older is gone for every thread at that instant, whatever the number of items.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::arena::Unit;
use crate::config::SEGMENT_BYTES;

/// A point in time before which everything is to be flushed.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a mark that is not flushed changes nothing"]
pub struct FlushMark(pub(super) u64);

/// A segment's birth word has this bit when its items have no time of their own.
const FLAT: u64 = 1;

/// The segment an item begins in.
#[inline]
pub(super) const fn segment_of(unit: Unit) -> usize {
    unit.byte() / SEGMENT_BYTES
}

/// Births of all segments and the point of the last flush.
pub(super) struct Clock {
    births: Box<[AtomicU64]>,
    flushed: AtomicU64,
}

impl Clock {
    pub fn new(segments: usize) -> Self {
        Self { births: (0..segments).map(|_| AtomicU64::new(0)).collect(), flushed: AtomicU64::new(0) }
    }

    /// Writer: gives a segment nobody reads its birth.
    pub fn bear(&self, segment: usize, time: u64, flat: bool) {
        // seen by whoever finds an item there: the index slot is stored later, with Release
        self.births[segment].store(time << 1 | u64::from(flat), Relaxed);
    }

    /// Everything before this is flushed.
    pub fn flushed(&self) -> u64 {
        self.flushed.load(Acquire)
    }

    /// Writer: flushes everything before `point`.
    pub fn flush(&self, point: u64) {
        self.flushed.store(point, Release);
    }

    /// When the item's memory was taken.
    #[inline]
    pub fn time_of(&self, unit: Unit) -> u64 {
        let birth = self.births[segment_of(unit)].load(Relaxed);
        let place = if birth & FLAT == 0 { (unit.byte() % SEGMENT_BYTES) as u64 } else { 0 };
        (birth >> 1) + place
    }

    /// Whether no flush has hidden the item.
    #[inline]
    pub fn visible(&self, unit: Unit) -> bool {
        let flushed = self.flushed.load(Acquire);
        let birth = self.births[segment_of(unit)].load(Relaxed) >> 1;
        birth >= flushed || self.time_of(unit) >= flushed
    }

    /// Whether a segment with items in its first `used` bytes has none that is visible.
    pub fn all_flushed(&self, segment: usize, used: usize) -> bool {
        let birth = self.births[segment].load(Relaxed);
        let length = if birth & FLAT == 0 { used as u64 } else { 1 };
        (birth >> 1) + length <= self.flushed()
    }
}
