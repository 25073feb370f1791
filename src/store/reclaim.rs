//! Makes room: clears segments of what is dead, moves on what is not, drops what was not used when it must.
//!
//! A segment is cleared item by item, a bounded number of bytes at a time, so that no set and no turn pays for all of
//! it. Two ways: *compact* takes the segment with the least live data and moves all of it; *evict* takes the oldest one
//! and moves only what was read since it came there (in the long run no more than it drops, so that there is progress
//! when everything was read). Moved items go to the end of the order with their mark cleared: a clock over segments,
//! near LRU.

use std::collections::VecDeque;
use std::sync::Arc;

use super::arena::{Head, Unit};
use super::clock::segment_of;
use super::item::{DEAD, FETCHED, RECENT};
use super::segments::{FULL, Use};
use super::writer::{Writer, note_expiry};
use super::{Gone, KeyHash, Shared};
use crate::config::{self, SEGMENT_BYTES};

/// Whom a removal is told to.
pub(super) type Tell<'a, 'b> = Option<&'a mut (dyn FnMut(&[u8], Gone) + 'b)>;

/// With eviction, segments of a class up to here (three quarters live) are compacted before anything is evicted.
const COMPACT_BEFORE_EVICT: usize = FULL * 3 / 4;
/// Segments open for what is moved; marks that were prepared and not flushed are few.
const SURVIVORS_MAX: usize = 4;
/// Items whose index lines are fetched together.
const BATCH: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Compact,
    Evict,
}

/// A segment being cleared.
#[derive(Clone, Copy, Debug)]
struct Job {
    segment: usize,
    way: Way,
    cursor: usize,
    /// A run that was read and goes to the end of the order as it is.
    spared: bool,
    /// This segment's removals were proposed before.
    again: bool,
}

/// A segment whose removals were proposed and have not all come.
#[derive(Clone, Copy, Debug)]
struct Proposed {
    segment: u32,
    life: u32,
    /// The `maintain` call at which they were.
    call: u64,
}

/// What is under way.
#[derive(Default)]
pub(super) struct Reclaim {
    job: Option<Job>,
    proposed: VecDeque<Proposed>,
    /// Removals that were proposed will not come.
    refused: bool,
    /// Counts `maintain` calls.
    calls: u64,
    /// Somebody waits for room: what eviction comes upon is dropped, read or not.
    pub is_last_resort: bool,
    /// Bytes that eviction may still keep because they were read; what it drops adds to it.
    keep: usize,
    keep_max: usize,
    /// Take what is moved: one for each side of the flush marks, lest victims of two sides close each other's.
    survivors: Vec<usize>,
    /// Cleared segments less segments taken for what was moved, since it was last positive.
    balance: i64,
    /// Dead bytes found meanwhile: when they come to more than a segment was not gained, clearing is in vain.
    dead_found: usize,
    /// Clearing is in vain until more has died.
    futile: bool,
    died_since: usize,
}

impl Reclaim {
    /// An item of that many bytes died.
    pub fn died(&mut self, bytes: u32) {
        self.died_since += bytes as usize;
        if self.futile && self.died_since >= SEGMENT_BYTES / 16 {
            self.start_counting();
        }
    }

    /// So many segments may be kept because they were read before anything is dropped.
    pub const fn allow_keeping(&mut self, segments: u64) {
        self.keep_max = segments as usize * SEGMENT_BYTES;
        self.keep = self.keep_max;
    }

    const fn start_counting(&mut self) {
        (self.futile, self.balance, self.dead_found, self.died_since) = (false, 0, 0, 0);
    }

    /// A segment was let go of.
    pub fn retired(&mut self, segment: usize) {
        if self.job.is_some_and(|job| job.segment == segment) {
            self.job = None;
            self.balance += 1;
            if self.balance > 0 {
                self.start_counting();
            } else if self.dead_found > 2 * SEGMENT_BYTES {
                (self.futile, self.died_since) = (true, 0);
            }
        }
        self.proposed.retain(|p| p.segment as usize != segment);
    }

    /// Segments that will be free when their proposed removals have come.
    pub fn proposed_segments(&self) -> u64 {
        self.proposed.len() as u64
    }

    pub fn check_invariants(&self) {
        assert!(self.survivors.len() <= SURVIVORS_MAX);
        assert!(self.balance <= 0, "a gain that was not noticed");
    }
}

impl Writer {
    /// Clears segments, walking `budget` bytes or a little more; how many bytes it walked. Without `tell` nothing is
    /// done that needs a log entry.
    pub(super) fn reclaim(&mut self, budget: usize, tell: &mut Tell<'_, '_>) -> usize {
        let mut walked = 0;
        while walked < budget {
            if self.reclaim.job.is_none() {
                self.reclaim.job = self.choose(tell.is_some());
            }
            let Some(job) = self.reclaim.job else { break };
            if job.way == Way::Evict && self.logged && tell.is_none() {
                break;
            }
            match self.step(job, budget - walked, tell) {
                0 => break,
                bytes => walked += bytes,
            }
        }
        walked
    }

    /// Whether clearing could make room.
    pub(super) fn can_reclaim(&self) -> bool {
        let reclaim = &self.reclaim;
        if reclaim.job.is_some() || !reclaim.proposed.is_empty() {
            return true;
        }
        if !self.keeps_all {
            return !self.segments.order.is_empty();
        }
        self.segments.best(0).is_some() || (!reclaim.futile && self.segments.best(FULL - 1).is_some())
    }

    fn choose(&mut self, may_propose: bool) -> Option<Job> {
        // what a flush has emptied comes back at once, and costs no copying
        let mut chosen = self.segments.best(0).map(|segment| (segment, Way::Compact));
        if chosen.is_none() && self.is_pressed() {
            let most = if !self.keeps_all { COMPACT_BEFORE_EVICT } else { FULL - 1 };
            if !self.reclaim.futile {
                chosen = self.segments.best(most).map(|segment| (segment, Way::Compact));
            }
            if chosen.is_none() && !self.keeps_all && (may_propose || !self.logged) {
                chosen = self.segments.oldest().map(|segment| (segment, Way::Evict));
            }
        }
        let (segment, way) = chosen?;
        if way == Way::Compact {
            let s = self.segments.get(segment);
            self.reclaim.dead_found += SEGMENT_BYTES - (s.live as usize).min(SEGMENT_BYTES);
        }
        self.segments.condemn(segment);
        Some(Job { segment, way, cursor: 0, spared: false, again: false })
    }

    /// Handles the next few items of the segment; how many bytes that were, 0 when it cannot go on. Large items come one
    /// by one, lest a batch of them be far more than `budget`.
    fn step(&mut self, mut job: Job, budget: usize, tell: &mut Tell<'_, '_>) -> usize {
        let shared = Arc::clone(&self.shared);
        let (start, from) = (job.segment * SEGMENT_BYTES, job.cursor);
        let used = self.segments.get(job.segment).used as usize;
        let life = self.segments.get(job.segment).life;
        let mut batch: [(Unit, KeyHash, Head); BATCH] =
            [(Unit(0), KeyHash(0), Head { shape: DEAD, bytes: 0, dead: true }); BATCH];
        let mut count = 0;
        while job.cursor < used && count < BATCH && job.cursor - from < budget {
            let unit = Unit::at(start + job.cursor);
            let head = shared.arena.head(unit);
            job.cursor += head.bytes;
            if !head.dead {
                let hash = shared.arena.hash(unit);
                shared.index.prefetch(hash);
                batch[count] = (unit, hash, head);
                count += 1;
            }
        }
        let walked = job.cursor - from;
        self.reclaim.job = Some(job);
        for &(unit, hash, head) in &batch[..count] {
            let handled = match job.way {
                Way::Compact => self.compact(unit, hash, head, tell),
                Way::Evict => self.evict(&mut job, unit, hash, head, tell),
            };
            if !handled {
                // no segment to move to: this item again, later
                job.cursor = unit.byte() - start;
                self.reclaim.job = Some(job);
                return 0;
            }
        }
        if self.segments.get(job.segment).life == life && self.reclaim.job.is_some() {
            self.reclaim.job = Some(job);
            self.finish_if_walked(job, used);
        }
        walked.min(SEGMENT_BYTES)
    }

    /// At the segment's end everything was moved or removed, which retired it, or it is up to others.
    fn finish_if_walked(&mut self, job: Job, used: usize) {
        if job.cursor < used {
            return;
        }
        let s = self.segments.get(job.segment);
        let (segment, life) = (job.segment as u32, s.life);
        self.reclaim.job = None;
        if job.spared {
            self.segments.pardon(job.segment);
            return;
        }
        assert!(job.way == Way::Evict && self.logged, "a cleared segment keeps items: {s:?}");
        self.reclaim.proposed.push_back(Proposed { segment, life, call: self.reclaim.calls });
    }

    /// Removals that were proposed will not come: they need not be waited for before they are proposed again.
    pub const fn removals_refused(&mut self) {
        self.reclaim.refused = true;
    }

    /// Removals that were proposed long ago and did not come are proposed again.
    pub(super) fn propose_again(&mut self) {
        self.reclaim.calls += 1;
        let Some(&Proposed { segment, life, call }) = self.reclaim.proposed.front() else { return };
        let waited = self.reclaim.calls - call;
        let may = !self.logged || self.reclaim.refused || waited >= config::STORE_PROPOSE_AGAIN_CALLS;
        if may && self.reclaim.job.is_none() && self.segments.get(segment as usize).life == life {
            self.reclaim.proposed.pop_front();
            self.reclaim.refused = false;
            let segment = segment as usize;
            self.reclaim.job = Some(Job { segment, way: Way::Evict, cursor: 0, spared: false, again: true });
        }
    }

    /// Removes what is gone already; whether it was.
    fn clear_gone(&mut self, unit: Unit, hash: KeyHash, tell: &mut Tell<'_, '_>) -> bool {
        let flushed = !self.shared.clock.visible(unit);
        let expired = !flushed && !self.logged && self.shared.arena.expiry(unit).expired(self.now);
        if expired {
            self.count_expired(unit);
        }
        if flushed || expired {
            let why = if flushed { Gone::Flushed } else { Gone::Expired };
            self.unlink_and_tell(unit, hash, why, tell);
        }
        flushed || expired
    }

    /// Unlinks and, without a log, tells. The key is read first: unlinking may free the segment.
    pub(super) fn unlink_and_tell(&mut self, unit: Unit, hash: KeyHash, why: Gone, tell: &mut Tell<'_, '_>) {
        if let Some(tell) = tell
            && !self.logged
        {
            tell(self.shared.arena.key(unit), why);
        }
        self.unlink(unit, hash);
    }

    fn compact(&mut self, unit: Unit, hash: KeyHash, head: Head, tell: &mut Tell<'_, '_>) -> bool {
        self.clear_gone(unit, hash, tell) || self.move_on(unit, hash, head)
    }

    fn evict(&mut self, job: &mut Job, unit: Unit, hash: KeyHash, head: Head, tell: &mut Tell<'_, '_>) -> bool {
        if self.clear_gone(unit, hash, tell) {
            return true;
        }
        let is_run = self.segments.get(job.segment).state == Use::Run;
        let may_keep = !job.again && !self.reclaim.is_last_resort && self.reclaim.keep >= head.bytes;
        if head.shape & RECENT != 0 && may_keep {
            if is_run {
                self.shared.arena.forget_read(unit);
                job.spared = true;
            } else if !self.move_on(unit, hash, head) {
                return false;
            }
            self.reclaim.keep -= head.bytes;
            return true;
        }
        self.reclaim.keep = (self.reclaim.keep + head.bytes).min(self.reclaim.keep_max);
        if !job.again {
            self.counted.evictions += 1;
            self.counted.evicted_unfetched += u64::from(head.shape & FETCHED == 0);
        }
        if !self.logged {
            self.unlink_and_tell(unit, hash, Gone::Evicted, tell);
        } else if let Some(tell) = tell {
            tell(self.shared.arena.key(unit), Gone::Evicted);
        }
        true
    }

    /// Moves an item behind everything else; false when there is no segment to move to.
    fn move_on(&mut self, unit: Unit, hash: KeyHash, head: Head) -> bool {
        let Some(target) = self.survivor_for(unit, head.bytes) else { return false };
        let to = self.bump(target, head.bytes);
        let Shared { arena, index, .. } = &*self.shared;
        arena.copy(unit, to, head.bytes);
        let moved = self.table.replace(index, hash, unit, to);
        assert!(moved, "an item the index does not lead to");
        arena.set_dead(unit);
        let bytes = head.bytes as u32;
        let t = self.segments.get_mut(target);
        (t.linked, t.items, t.live) = (t.linked + 1, t.items + 1, t.live + bytes);
        note_expiry(&mut t.soonest, arena.expiry(to));
        let segment = segment_of(unit);
        let s = self.segments.get_mut(segment);
        (s.linked, s.items, s.live) = (s.linked - 1, s.items - 1, s.live - bytes);
        self.counted.moved_bytes += u64::from(bytes);
        self.retire_if_empty(segment);
        true
    }

    /// A segment with room for an item that is moved. It must not change sides of any flush mark by that.
    pub(super) fn survivor_for(&mut self, unit: Unit, bytes: usize) -> Option<usize> {
        let time = self.shared.clock.time_of(unit);
        let era = self.era(time);
        let open = self.reclaim.survivors.iter().position(|&survivor| self.era(self.birth_of(survivor)) == era);
        if let Some(at) = open {
            let survivor = self.reclaim.survivors[at];
            if self.segments.get(survivor).used as usize + bytes <= SEGMENT_BYTES {
                return Some(survivor);
            }
            self.reclaim.survivors.swap_remove(at);
            self.close(survivor);
        } else if self.reclaim.survivors.len() == SURVIVORS_MAX {
            let survivor = self.reclaim.survivors.remove(0);
            self.close(survivor);
        }
        let survivor = self.segments.take(1, Use::Open)?;
        self.shared.clock.bear(survivor, time, true);
        self.reclaim.survivors.push(survivor);
        self.reclaim.balance -= 1;
        Some(survivor)
    }

    fn birth_of(&self, segment: usize) -> u64 {
        self.shared.clock.time_of(Unit::at(segment * SEGMENT_BYTES))
    }

    /// Between which marks a time lies.
    fn era(&self, time: u64) -> usize {
        self.marks.partition_point(|&mark| mark <= time)
    }

    /// Whether a flush was prepared since the item's memory was taken.
    pub(super) fn is_marked(&self, unit: Unit) -> bool {
        let time = self.shared.clock.time_of(unit);
        self.marks.back().is_some_and(|&mark| mark > time)
    }

    /// Survivors all of whose items are flushed take no more.
    pub(super) fn close_survivors_before(&mut self, point: u64) {
        let mut at = 0;
        while let Some(&survivor) = self.reclaim.survivors.get(at) {
            if self.birth_of(survivor) < point {
                self.reclaim.survivors.swap_remove(at);
                self.close(survivor);
            } else {
                at += 1;
            }
        }
    }
}
