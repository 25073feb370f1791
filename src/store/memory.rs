//! Where the next item goes, and how much memory there may be.
//!
//! ```text
//!   held: open, closed, being cleared       waiting: cleared, readers may still be there
//!   |<------------------ limit ------------------>|<-- 1: what is moved goes there -->|<-- waiting, at most -->|
//! ```
//!
//! Cleared segments that wait for readers do not count against the limit as long as they are few: they are as good as
//! free, and counting them would make a full store refuse writes in the middle of a turn.

use super::arena::Unit;
use super::writer::Writer;
use crate::config::{self, SEGMENT_BYTES};

/// The smallest store: one segment open, one that is moved to, two to choose from.
pub(super) const SEGMENTS_MIN: u64 = 4;

/// Items larger than this get segments of their own.
const SHARED_BYTES_MAX: usize = SEGMENT_BYTES / 2;

impl Writer {
    /// Segments that may wait for readers on top of the limit.
    pub(super) fn waiting_max(&self) -> u64 {
        (self.limit / 8).clamp(4, config::STORE_SEGMENTS_WAITING_MAX)
    }

    /// Segments that housekeeping keeps free.
    pub(super) fn ahead(&self) -> u64 {
        (self.limit / 32).clamp(1, config::STORE_SEGMENTS_AHEAD_MAX)
    }

    /// Whether room has to be made for what comes.
    pub(super) fn is_pressed(&self) -> bool {
        self.segments.held + self.ahead() > self.limit + self.reclaim.proposed_segments()
    }

    fn fits(&self, segments: u64) -> bool {
        self.segments.held + segments <= self.limit && !self.readers_are_behind()
    }

    fn readers_are_behind(&self) -> bool {
        self.segments.held + self.segments.waiting_count >= self.limit + self.waiting_max()
    }

    /// Memory for an item; nothing when there is none and none can be had at once.
    pub(super) fn allocate(&mut self, bytes: usize) -> Option<Unit> {
        if self.is_pressed() {
            let (least, most) = config::STORE_RECLAIM_BYTES;
            let work = (bytes * config::STORE_RECLAIM_FACTOR).clamp(least, most);
            self.reclaim(work, &mut None);
        }
        if bytes > SHARED_BYTES_MAX {
            return self.allocate_run(bytes);
        }
        if let Some(open) = self.open {
            if self.segments.get(open).used as usize + bytes <= SEGMENT_BYTES {
                return Some(self.bump(open, bytes));
            }
            // a smaller item may still fit there when there is no room for another segment
            if !self.make_room(1) {
                return None;
            }
            self.open = None;
            self.close(open);
        } else if !self.make_room(1) {
            return None;
        }
        let segment = self.segments.take(1, super::segments::Use::Open)?;
        self.shared.clock.bear(segment, self.next_birth, false);
        // further than a segment is long: a full segment's end stays before the next one's birth
        self.next_birth += 2 * SEGMENT_BYTES as u64;
        self.open = Some(segment);
        self.give_back();
        Some(self.bump(segment, bytes))
    }

    fn allocate_run(&mut self, bytes: usize) -> Option<Unit> {
        let length = bytes.div_ceil(SEGMENT_BYTES);
        if !self.make_room(length as u64) {
            return None;
        }
        // it is as old as the open segment's next item, and a flush mark takes a place of its own behind that
        let time = match self.open {
            Some(open) => {
                self.shared.clock.time_of(Unit::at(open * SEGMENT_BYTES)) + u64::from(self.segments.get(open).used)
            }
            None => self.next_birth,
        };
        let segment = self.segments.take(length, super::segments::Use::Run)?;
        self.shared.clock.bear(segment, time, true);
        self.segments.get_mut(segment).used = bytes as u32;
        self.segments.close(segment, self.evict);
        self.give_back();
        Some(Unit::at(segment * SEGMENT_BYTES))
    }

    /// The next bytes of an open segment.
    pub(super) fn bump(&mut self, segment: usize, bytes: usize) -> Unit {
        let s = self.segments.get_mut(segment);
        let unit = Unit::at(segment * SEGMENT_BYTES + s.used as usize);
        s.used += bytes as u32;
        assert!(s.used as usize <= SEGMENT_BYTES, "a segment overflows");
        unit
    }

    /// An open segment takes no more.
    pub(super) fn close(&mut self, segment: usize) {
        self.segments.close(segment, self.evict);
        self.retire_if_empty(segment);
    }

    /// Lets go of a closed segment nothing leads to.
    pub(super) fn retire_if_empty(&mut self, segment: usize) {
        let s = self.segments.get(segment);
        if s.linked > 0 || s.pins > 0 || !s.may_retire() {
            return;
        }
        let epoch = self.shared.epochs.advance();
        self.segments.retire(segment, epoch);
        self.reclaim.retired(segment);
    }

    /// Takes back the segments all readers have left.
    pub(super) fn release(&mut self) {
        if self.segments.waiting_count > 0 {
            self.segments.release(self.shared.epochs.passed());
        }
    }

    /// Works until there is room for that many segments; false when that is not to be.
    fn make_room(&mut self, segments: u64) -> bool {
        if self.fits(segments) {
            return true;
        }
        self.release();
        let mut left = config::STORE_LAST_RESORT_BYTES.max(segments as usize * SEGMENT_BYTES * 2);
        while !self.fits(segments) {
            // more clearing gains nothing while it is the readers that are waited for
            let waits = self.segments.held + segments <= self.limit;
            if waits || left == 0 || segments > self.limit {
                return false;
            }
            self.reclaim.is_last_resort = true;
            let walked = self.reclaim(config::STORE_RECLAIM_BYTES.1.min(left), &mut None);
            self.reclaim.is_last_resort = false;
            self.release();
            if walked == 0 && !self.fits(segments) {
                return false;
            }
            left = left.saturating_sub(walked);
        }
        true
    }

    /// Whether writes should wait for the next turn: there is no room now and there will be, once readers have passed
    /// or `maintain` has gone on. The caller must then not sleep for long before its next turn.
    #[must_use]
    pub fn must_wait(&self) -> bool {
        // only where nothing but the housekeeping is waited for is it worth being early
        let clears_itself = !self.keeps_all && !self.logged;
        let open = self.open.map_or(0, |open| SEGMENT_BYTES - self.segments.get(open).used as usize);
        if self.fits(1) || open >= SHARED_BYTES_MAX && !clears_itself {
            return false;
        }
        if self.readers_are_behind() {
            return self.segments.waiting_count > 0;
        }
        self.can_reclaim()
    }

    /// Keeps what is resident within the limit: pages of free segments go back to the kernel.
    pub(super) fn give_back(&mut self) {
        let allowed = self.limit + self.waiting_max() + 1;
        while self.segments.resident > allowed.max(self.segments.held + self.segments.waiting_count) {
            let Some(segment) = self.segments.shed() else { return };
            self.shared.arena.give_back(segment * SEGMENT_BYTES, SEGMENT_BYTES);
        }
    }
}
