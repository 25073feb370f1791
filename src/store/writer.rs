//! The only one that changes the store: items are reserved, then published or discarded; removed, touched, flushed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;

use super::arena::Unit;
use super::clock::{FlushMark, segment_of};
use super::index::slot_of;
use super::item::{FETCHED, Plan, UNIT_BYTES};
use super::reclaim::Reclaim;
use super::scrub::Scrub;
use super::segments::{Segments, Use};
use super::sweep::Sweep;
use super::table::Table;
use super::{Gone, Item, KeyHash, Put, Shared, Stats, StoreError};
use crate::config::{self, SEGMENT_BYTES};
use crate::time::{Expiry, Seconds};

/// An item in the arena that nobody can find yet: to be published or discarded. One that is dropped keeps its memory.
#[derive(Debug)]
#[must_use = "a reserved item is published or discarded"]
pub struct Reserved {
    unit: Unit,
    hash: KeyHash,
    bytes: u32,
}

/// The writer.
pub struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) table: Table,
    pub(super) segments: Segments,
    /// `-m` in segments.
    pub(super) limit: u64,
    pub(super) evict: bool,
    pub(super) item_bytes_max: usize,
    /// Takes new items.
    pub(super) open: Option<usize>,
    /// Birth of the next segment to be opened; invariant: later than anything handed out.
    pub(super) next_birth: u64,
    /// Marks that were prepared and not overtaken by a flush, in order.
    pub(super) marks: VecDeque<u64>,
    pub(super) reclaim: Reclaim,
    pub(super) sweep: Sweep,
    /// As of the last `maintain`.
    pub(super) now: Seconds,
    /// Removals need a log entry. Until the first `maintain` says otherwise they do.
    pub(super) logged: bool,
    /// Nothing is evicted, nor proposed for it: the store was not made to, or now is not the time.
    pub(super) keeps_all: bool,
    pub(super) items: u64,
    pub(super) bytes: u64,
    pub(super) counted: Stats,
    /// Of all visible items, if somebody wants it.
    pub(super) digest: Option<u64>,
    /// The check of what rests, while a round of it is under way.
    pub(super) scrub: Option<Scrub>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, evict: bool, item_bytes_max: usize) -> Self {
        let segments = Segments::new(shared.arena.bytes() / SEGMENT_BYTES);
        Self {
            shared,
            table: Table::new(),
            segments,
            limit: 0,
            evict,
            item_bytes_max,
            open: None,
            next_birth: UNIT_BYTES as u64,
            marks: VecDeque::new(),
            reclaim: Reclaim::default(),
            sweep: Sweep::default(),
            now: Seconds(0),
            logged: true,
            keeps_all: true,
            items: 0,
            bytes: 0,
            counted: Stats::default(),
            digest: None,
            scrub: None,
        }
    }

    /// The hash the other methods want.
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        self.shared.arena.hash_of(key)
    }

    /// The item under `key`, unless it has expired or was flushed.
    #[must_use]
    pub fn get(&self, hash: KeyHash, key: &[u8], now: Seconds) -> Option<Item<'_>> {
        // the borrow keeps the writer, and so the item, from changing
        self.shared.get(hash, key, now)
    }

    /// Copies an item into the arena, where nobody finds it before it is published.
    ///
    /// # Errors
    /// `TooLarge` when no item may be that large, `OutOfMemory` when there is no room and none can be made.
    pub fn reserve(&mut self, put: &Put<'_>) -> Result<Reserved, StoreError> {
        assert!(!put.key.is_empty() && put.key.len() <= config::KEY_BYTES_MAX, "a key of {} bytes", put.key.len());
        let plan = Plan::of(put);
        if plan.bytes > self.item_bytes_max {
            return Err(StoreError::TooLarge);
        }
        let unit = self.allocate(plan.bytes).ok_or(StoreError::OutOfMemory)?;
        Ok(self.fill(unit, put, plan))
    }

    fn fill(&mut self, unit: Unit, put: &Put<'_>, plan: Plan) -> Reserved {
        self.shared.arena.write(unit, put, plan);
        let segment = self.segments.get_mut(segment_of(unit));
        segment.pins += 1;
        note_expiry(&mut segment.soonest, put.expiry);
        Reserved { unit, hash: put.hash, bytes: plan.bytes as u32 }
    }

    /// A reserved item.
    #[must_use]
    pub fn view(&self, reserved: &Reserved) -> Item<'_> {
        self.shared.arena.item(reserved.unit)
    }

    /// Lets everybody find the item; what was there under its key is gone.
    #[allow(clippy::needless_pass_by_value, reason = "it is reserved no longer")]
    pub fn publish(&mut self, reserved: Reserved) {
        let Reserved { unit, hash, bytes } = reserved;
        let segment = self.segments.get_mut(segment_of(unit));
        segment.pins -= 1;
        segment.linked += 1;
        if self.shared.clock.visible(unit) {
            segment.live += bytes;
            segment.items += 1;
            self.items += 1;
            self.bytes += u64::from(bytes);
        }
        self.segments.reclass(segment_of(unit));
        let Shared { index, arena, .. } = &*self.shared;
        let key = arena.key(unit);
        if let Some((slot, old)) = self.table.find(index, hash, |unit| arena.key_is(unit, key)) {
            // Release: whoever finds the item sees its bytes
            slot.store(slot_of(hash, unit), Release);
            self.dropped(old);
        } else {
            self.table.insert(index, arena, hash, unit);
        }
        if self.digest.is_some() {
            self.digest_came(unit);
        }
    }

    /// Gives a reserved item's memory up.
    #[allow(clippy::needless_pass_by_value, reason = "it is reserved no longer")]
    pub fn discard(&mut self, reserved: Reserved) {
        self.shared.arena.set_dead(reserved.unit);
        let segment = segment_of(reserved.unit);
        self.segments.get_mut(segment).pins -= 1;
        self.retire_if_empty(segment);
    }

    /// The item under `key`, expired or not, unless it was flushed. It does not count as read.
    #[must_use]
    pub fn peek(&self, hash: KeyHash, key: &[u8]) -> Option<Item<'_>> {
        let unit = self.locate(hash, key).filter(|&unit| self.shared.clock.visible(unit))?;
        Some(self.shared.arena.item(unit))
    }

    /// Flips a bit of the value under `key`, as failing memory would; whether there is such an item.
    #[cfg(any(test, feature = "mutations"))]
    pub fn flip_bit(&mut self, hash: KeyHash, key: &[u8], bit: usize) -> bool {
        let found = self.locate(hash, key).filter(|&unit| self.shared.clock.visible(unit));
        found.inspect(|&unit| self.shared.arena.flip_bit(unit, bit)).is_some()
    }

    /// Makes reads of these keys wait, of all keys for `None`, before anything that is done afterwards can be seen (R24).
    pub fn lock(&self, keys: impl Iterator<Item = Option<KeyHash>>) {
        self.shared.locks.lock(keys);
    }

    /// Takes one lock away, once everything that it was for is published.
    pub fn unlock(&self, key: Option<KeyHash>) {
        self.shared.locks.unlock(key);
    }

    /// Whether no key is locked.
    #[must_use]
    pub fn is_unlocked(&self) -> bool {
        self.shared.locks.is_empty()
    }

    fn locate(&self, hash: KeyHash, key: &[u8]) -> Option<Unit> {
        let Shared { index, arena, .. } = &*self.shared;
        index.find(hash, |unit| arena.key_is(unit, key))
    }

    /// Removes the item under `key`; whether there was one that no flush had hidden.
    pub fn remove(&mut self, hash: KeyHash, key: &[u8]) -> bool {
        let Some(unit) = self.locate(hash, key) else { return false };
        let visible = self.shared.clock.visible(unit);
        if visible && self.shared.arena.expiry(unit).expired(self.now) {
            self.count_expired(unit);
        }
        self.unlink(unit, hash);
        visible
    }

    /// Sets the expiry of the item under `key`; whether there is one.
    ///
    /// # Errors
    /// `OutOfMemory` when the item has no room for an expiry and cannot be stored again.
    pub fn touch(&mut self, hash: KeyHash, key: &[u8], expiry: Expiry) -> Result<bool, StoreError> {
        let Some(unit) = self.locate(hash, key).filter(|&unit| self.shared.clock.visible(unit)) else {
            return Ok(false);
        };
        let kept = self.digest.is_some();
        if kept {
            self.digest_goes(unit);
        }
        let in_place = self.shared.arena.set_expiry(unit, expiry);
        if kept {
            self.digest_came(unit);
        }
        if in_place {
            note_expiry(&mut self.segments.get_mut(segment_of(unit)).soonest, expiry);
            return Ok(true);
        }
        let item = self.shared.arena.item(unit);
        let (flags, cas, bits, value) = (item.flags, item.cas, item.bits, item.value.to_vec());
        let put = Put { hash, key, flags, expiry, cas, bits, value: [&value, &[]] };
        let plan = Plan::of(&put);
        // it stays as old as it is for a flush that was prepared since
        let reserved = if self.is_marked(unit) && plan.bytes <= SEGMENT_BYTES {
            let survivor = self.survivor_for(unit, plan.bytes).ok_or(StoreError::OutOfMemory)?;
            let to = self.bump(survivor, plan.bytes);
            self.fill(to, &put, plan)
        } else {
            self.reserve(&put)?
        };
        self.publish(reserved);
        Ok(true)
    }

    /// Marks this moment: a flush with the mark hides everything published or reserved before it, and nothing else.
    pub fn flush_prepare(&mut self) -> FlushMark {
        let room = |open: usize| self.segments.get(open).used as usize + UNIT_BYTES <= SEGMENT_BYTES;
        let mark = match self.open {
            Some(open) if room(open) => {
                // the mark takes a place of its own, so that the moment is not shared with what comes next
                let filler = self.bump(open, UNIT_BYTES);
                self.shared.arena.fill(filler);
                self.shared.clock.time_of(filler) + UNIT_BYTES as u64
            }
            _ => {
                if let Some(open) = self.open.take() {
                    self.close(open);
                }
                self.next_birth += UNIT_BYTES as u64;
                self.next_birth
            }
        };
        self.marks.push_back(mark);
        FlushMark(mark)
    }

    /// Takes a mark back: there will be no flush with it.
    #[allow(clippy::needless_pass_by_value, reason = "a mark is used once")]
    pub fn flush_discard(&mut self, mark: FlushMark) {
        self.marks.retain(|&other| other != mark.0);
    }

    /// Hides everything older than the mark, for everybody, at once. `Stats::items` follows at once, memory comes back
    /// with `maintain`.
    #[allow(clippy::needless_pass_by_value, reason = "a mark is used once")]
    pub fn flush(&mut self, mark: FlushMark) {
        let (before, point) = (self.shared.clock.flushed(), mark.0);
        if point <= before {
            return;
        }
        self.shared.clock.flush(point);
        while self.marks.front().is_some_and(|&mark| mark <= point) {
            self.marks.pop_front();
        }
        self.close_survivors_before(point);
        for segment in 0..self.segments.len() {
            let s = self.segments.get(segment);
            if s.items == 0 {
                continue;
            }
            if self.shared.clock.all_flushed(segment, s.used as usize) {
                let (items, live) = (s.items, s.live);
                self.uncount(segment, items, live);
            } else if self.shared.clock.time_of(Unit::at(segment * SEGMENT_BYTES)) < point {
                self.flush_part(segment, before, point);
            }
        }
        self.digest_flushed();
    }

    /// The one segment that was open at the mark has items of both sides.
    fn flush_part(&mut self, segment: usize, before: u64, point: u64) {
        let shared = Arc::clone(&self.shared);
        let Shared { arena, clock, index, .. } = &*shared;
        let (mut at, end) =
            (segment * SEGMENT_BYTES, segment * SEGMENT_BYTES + self.segments.get(segment).used as usize);
        let pinned = self.segments.get(segment).pins > 0;
        let (mut items, mut live) = (0, 0);
        while at < end {
            let unit = Unit::at(at);
            let (head, time) = (arena.head(unit), clock.time_of(unit));
            at += head.bytes;
            if time >= point {
                break;
            }
            // what is reserved and not published was never counted
            let counted = || !pinned || self.table.slot(index, arena.hash(unit), unit).is_some();
            if !head.dead && time >= before && counted() {
                items += 1;
                live += head.bytes as u32;
            }
        }
        self.uncount(segment, items, live);
    }

    /// Takes items no flush had hidden before out of the counts.
    fn uncount(&mut self, segment: usize, items: u32, live: u32) {
        let s = self.segments.get_mut(segment);
        s.items -= items;
        s.live -= live;
        self.items -= u64::from(items);
        self.bytes -= u64::from(live);
        self.segments.reclass(segment);
    }

    /// Takes an item out of the index and the counts.
    pub(super) fn unlink(&mut self, unit: Unit, hash: KeyHash) {
        let removed = self.table.remove(&self.shared.index, hash, unit);
        assert!(removed, "an item the index does not lead to");
        self.dropped(unit);
    }

    /// The index leads to `unit` no longer.
    pub(super) fn dropped(&mut self, unit: Unit) {
        if self.digest.is_some() {
            self.digest_goes(unit);
        }
        let (segment, bytes) = (segment_of(unit), self.shared.arena.head(unit).bytes as u32);
        self.shared.arena.set_dead(unit);
        self.reclaim.died(bytes);
        self.segments.get_mut(segment).linked -= 1;
        if self.shared.clock.visible(unit) {
            self.uncount(segment, 1, bytes);
        }
        self.retire_if_empty(segment);
    }

    pub(super) fn count_expired(&mut self, unit: Unit) {
        self.counted.reclaimed += 1;
        self.counted.expired_unfetched += u64::from(self.shared.arena.head(unit).shape & FETCHED == 0);
    }

    /// Housekeeping, once a turn; the work is bounded. With `logged`, what is to be removed is only proposed to `gone`,
    /// and leaves by a later `remove`; otherwise it is gone when `gone` hears of it. What a flush hid leaves without a
    /// log entry of its own and is told only when not `logged`.
    pub fn maintain(&mut self, now: Seconds, logged: bool, gone: &mut dyn FnMut(&[u8], Gone)) {
        (self.now, self.logged, self.keeps_all) = (now, logged, !self.evict);
        self.release();
        self.propose_again();
        self.reclaim(config::STORE_MAINTAIN_BYTES, &mut Some(&mut *gone));
        self.sweep_expired(gone);
        self.give_back();
    }

    /// Housekeeping at a time when nobody could take a removal: while a log is read back, or takes no more entries.
    /// Dead space is made usable to the last, for nothing may be dropped.
    pub fn tidy(&mut self, now: Seconds) {
        (self.now, self.logged, self.keeps_all) = (now, true, true);
        self.release();
        self.reclaim(config::STORE_MAINTAIN_BYTES, &mut None);
        self.rest_sweep();
        self.give_back();
    }

    /// Sets the memory limit. A lower one is reached by and by.
    pub fn set_memory_limit(&mut self, bytes: u64) {
        let segments = self.segments.max() as u64;
        self.limit = (bytes / SEGMENT_BYTES as u64).clamp(super::memory::SEGMENTS_MIN, segments * 3 / 4);
        self.reclaim.allow_keeping((self.limit / 4).min(self.ahead() * config::STORE_KEEP_FACTOR));
    }

    /// Numbers for `stats`.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let index_bytes = self.table.bytes(&self.shared.index);
        let used = self.segments.held + self.segments.waiting_count;
        Stats {
            items: self.items,
            bytes: self.bytes,
            memory_bytes: used * SEGMENT_BYTES as u64 + index_bytes,
            index_bytes,
            hash_power: u64::from(self.shared.index.count().ilog2()),
            growing: self.table.is_behind(&self.shared.index),
            segments_used: used,
            segments_free: self.limit.saturating_sub(used),
            ..self.counted
        }
    }

    /// What must hold between calls; walks everything.
    pub fn check_invariants(&self) {
        let Shared { index, arena, clock, .. } = &*self.shared;
        self.segments.check_invariants();
        self.table.check_invariants(index, arena);
        let mut found = vec![(0, 0, 0); self.segments.len()];
        self.table.each(index, |_, slot| {
            let unit = super::index::unit_of(slot);
            let head = arena.head(unit);
            assert!(!head.dead, "the index leads to a dead item");
            let (linked, items, live) = &mut found[segment_of(unit)];
            *linked += 1;
            if clock.visible(unit) {
                *items += 1;
                *live += head.bytes as u32;
            }
        });
        for (segment, &numbers) in found.iter().enumerate() {
            let s = self.segments.get(segment);
            assert!(numbers == (s.linked, s.items, s.live), "segment {segment} has {numbers:?}, counted {s:?}");
            let useful = s.linked > 0 || s.pins > 0 || !matches!(s.state, Use::Closed | Use::Run | Use::Victim);
            assert!(useful, "segment {segment} holds nothing and was not retired: {s:?}");
        }
        let (items, bytes) = found.iter().fold((0, 0), |sum, n| (sum.0 + u64::from(n.1), sum.1 + u64::from(n.2)));
        assert!((items, bytes) == (self.items, self.bytes), "items miscounted");
        assert!(
            self.digest.is_none_or(|digest| digest == self.digest_in_full()),
            "the digest is not that of the items"
        );
        self.reclaim.check_invariants();
    }
}

/// Keeps a segment's soonest expiry right when an item there gets this one.
pub(super) fn note_expiry(soonest: &mut u32, expiry: Expiry) {
    if expiry != Expiry::NEVER {
        *soonest = (*soonest).min(expiry.raw());
    }
}
