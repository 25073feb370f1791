//! Finds expired items nobody asks for, so that their memory comes back.
//!
//! Each segment knows the soonest second at which something in it may expire; only segments past theirs are walked, a
//! bounded number of bytes and of removals at a time: one that is removed costs as much as many that are walked over. A
//! pass over all segments begins at most once a second; one that is under way asks for another turn.

use std::sync::Arc;

use super::arena::Unit;
use super::item::EXPIRY;
use super::segments::Use;
use super::writer::Writer;
use super::{Gone, Shared};
use crate::config::{self, SEGMENT_BYTES};
use crate::time::Seconds;

/// Where the sweep is.
#[derive(Default)]
pub(super) struct Sweep {
    segment: usize,
    /// Within the segment; 0 when its walk has not begun.
    cursor: usize,
    /// The segment's life when its walk began.
    life: u32,
    /// The soonest expiry that remains, of the items walked over.
    soonest: u32,
    /// The second in which this pass began.
    began: Seconds,
    /// The last call ended because its budget did.
    unfinished: bool,
}

/// What one call may do yet.
struct Budget {
    bytes: usize,
    removals: usize,
}

impl Budget {
    const fn is_spent(&self) -> bool {
        self.bytes == 0 || self.removals == 0
    }
}

impl Writer {
    /// Goes on with the sweep.
    pub(super) fn sweep_expired(&mut self, gone: &mut dyn FnMut(&[u8], Gone)) {
        let mut left = Budget { bytes: config::STORE_SWEEP_BYTES, removals: config::STORE_SWEEP_REMOVALS };
        self.sweep.unfinished = false;
        if (self.sweep.segment, self.sweep.cursor) == (0, 0) {
            if self.sweep.began == self.now {
                return;
            }
            self.sweep.began = self.now;
        }
        for _ in 0..config::STORE_SWEEP_SEGMENTS {
            if self.sweep.segment >= self.segments.len() {
                (self.sweep.segment, self.sweep.cursor) = (0, 0);
                return;
            }
            // asked first: a walk that has begun must get beyond the segment's first item
            if left.is_spent() || self.is_worth_sweeping() && !self.sweep_segment(&mut left, gone) {
                self.sweep.unfinished = true;
                return;
            }
            self.sweep.segment += 1;
            self.sweep.cursor = 0;
        }
    }

    /// Whether expired items wait for the next `maintain`. An idle server should not let a second pass before it.
    #[must_use]
    pub const fn is_sweeping(&self) -> bool {
        self.sweep.unfinished
    }

    /// Nothing that has expired is looked for until the next `sweep_expired`.
    pub(super) const fn rest_sweep(&mut self) {
        self.sweep.unfinished = false;
    }

    fn is_worth_sweeping(&mut self) -> bool {
        let s = self.segments.get_mut(self.sweep.segment);
        let usable = matches!(s.state, Use::Open | Use::Closed | Use::Run);
        if self.sweep.cursor > 0 {
            if usable && s.life == self.sweep.life {
                return true;
            }
            // it is being cleared: what the walk has learned is not the whole truth
            s.soonest = if s.life == self.sweep.life { 0 } else { s.soonest };
            return false;
        }
        if !usable || s.soonest > self.now.0 {
            return false;
        }
        (self.sweep.life, self.sweep.soonest) = (s.life, u32::MAX);
        // what comes or is touched while the walk goes on notes itself here
        s.soonest = u32::MAX;
        true
    }

    /// Walks on; false when the budget ended within the segment.
    fn sweep_segment(&mut self, left: &mut Budget, gone: &mut dyn FnMut(&[u8], Gone)) -> bool {
        let shared = Arc::clone(&self.shared);
        let Shared { arena, index, clock, .. } = &*shared;
        let start = self.sweep.segment * SEGMENT_BYTES;
        loop {
            let s = self.segments.get(self.sweep.segment);
            // its last item may just have left
            if s.life != self.sweep.life || !matches!(s.state, Use::Open | Use::Closed | Use::Run) {
                return true;
            }
            if self.sweep.cursor >= s.used as usize {
                break;
            }
            if left.is_spent() {
                return false;
            }
            let unit = Unit::at(start + self.sweep.cursor);
            let head = arena.head(unit);
            self.sweep.cursor += head.bytes;
            left.bytes = left.bytes.saturating_sub(head.bytes);
            // what was flushed is gone already and leaves with its segment
            if head.dead || head.shape & EXPIRY == 0 || !clock.visible(unit) {
                continue;
            }
            let expiry = arena.expiry(unit);
            if !expiry.expired(self.now) {
                super::writer::note_expiry(&mut self.sweep.soonest, expiry);
                continue;
            }
            left.removals -= 1;
            let hash = arena.hash(unit);
            if self.logged || self.table.slot(index, hash, unit).is_none() {
                // it stays until its entry has come, or is not published yet
                super::writer::note_expiry(&mut self.sweep.soonest, expiry);
                if self.table.slot(index, hash, unit).is_some() {
                    gone(arena.key(unit), Gone::Expired);
                }
            } else {
                self.count_expired(unit);
                self.unlink_and_tell(unit, hash, Gone::Expired, &mut Some(&mut *gone));
            }
        }
        let s = self.segments.get_mut(self.sweep.segment);
        s.soonest = s.soonest.min(self.sweep.soonest);
        true
    }
}
