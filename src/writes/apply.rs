//! Commit at a replica: entries go into the store in the order of their indices, as far as there is room in this turn.

use super::prepared::{About, Pending, Slot};
use super::replica::ReplicaFault;
use super::{Answer, Writes};
use crate::cluster::{Digest, Mark};
use crate::config;
use crate::log::{Entry, LogIndex};
use crate::store::{ItemBits, KeyHash, Put, StoreError, Writer};
use crate::time::{Seconds, Time};

/// What became of an entry that others made.
enum Applied {
    Yes,
    /// There will be room once readers have let go of memory.
    Later,
}

impl Writes {
    /// Applies what this write path had prepared itself.
    #[inline]
    pub(super) fn apply_own(&mut self, pending: Pending, about: About) {
        let hash = if let About::Key(hash) = about { hash } else { KeyHash(0) };
        match pending {
            Pending::Put(reserved) => self.store.publish(reserved),
            Pending::Delete(key) => drop(self.store.remove(hash, &key)),
            // never out of memory: an item without room for an expiry was prepared as a put
            Pending::Touch(key, expiry) => drop(self.store.touch(hash, &key, expiry)),
            Pending::Flush(mark, _) => self.store.flush(mark),
            Pending::FlushAt(_) | Pending::Nothing => {}
            Pending::Framed(_) => unreachable!("others made it"),
        }
    }

    /// Everything up to `upto` is committed: applies it, unlocks its keys, answers the writes of this server's own clients. What
    /// finds no room before readers have passed is applied in later turns, and is locked until then.
    ///
    /// # Errors
    /// When this server cannot hold what its leader holds: it must stop.
    pub fn commit(&mut self, upto: Mark, answers: &mut Vec<Answer>) -> Result<Option<Digest>, ReplicaFault> {
        if let Some(log) = &mut self.log {
            log.commit(upto.position);
        }
        let replica = self.replica();
        assert!(upto.position >= replica.committed.position, "a commit goes back");
        replica.committed = upto;
        self.apply_committed(answers)
    }

    /// Goes on with what is committed and not applied: once a turn. The digest, when all of it is applied and that is news.
    ///
    /// # Errors
    /// When this server cannot hold what its leader holds: it must stop.
    pub fn apply_committed(&mut self, answers: &mut Vec<Answer>) -> Result<Option<Digest>, ReplicaFault> {
        let committed = self.replica().committed.index;
        let mut done = LogIndex(0);
        while let Some(slot) = self.prepared.front().filter(|slot| slot.index <= committed) {
            let (index, about) = (slot.index, slot.about);
            if let Pending::Framed(at) = slot.pending {
                let applied = self.apply_framed(index, at, about).map_err(|error| ReplicaFault::of(error, index))?;
                if matches!(applied, Applied::Later) {
                    self.lock_committed(committed);
                    break;
                }
            }
            let slot = self.prepared.pop_front(committed).expect("it was there");
            self.on_slot_applied(slot, answers);
            done = index;
        }
        let Self { replica, store, log, .. } = self;
        let replica = replica.as_mut().expect("only a replica is told of commits");
        replica.on_applied(done, store);
        let digest = replica.digest(store, log.is_some());
        self.answer(done, answers);
        Ok(digest)
    }

    /// The entry is in the store, or goes there now if this write path made it.
    fn on_slot_applied(&mut self, slot: Slot, answers: &mut Vec<Answer>) {
        let Slot { index, about, locked, pending, .. } = slot;
        if !matches!(pending, Pending::Framed(_)) {
            self.apply_own(pending, about);
        }
        if locked && let Some(key) = about.locks() {
            self.store.unlock(key);
        }
        self.answer_own(index, answers);
    }

    fn apply_framed(&mut self, index: LogIndex, at: u32, about: About) -> Result<Applied, StoreError> {
        let Self { replica, store, flush_at, .. } = self;
        let replica = replica.as_ref().expect("only a replica has others' frames");
        let hash = if let About::Key(hash) = about { hash } else { KeyHash(0) };
        let seconds = replica.time.seconds();
        if index.0.is_multiple_of(config::REPLAY_MAINTAIN_ENTRIES) {
            store.tidy(seconds);
        }
        match replica.framed(index, at) {
            Entry::Put { key, value, flags, expiry, cas, bits } => {
                let (cas, bits) = (cas.unwrap_or(index.0), ItemBits(bits));
                let put = Put { hash, key, flags, expiry, cas, bits, value: [value, &[]] };
                return or_later(store, seconds, |store| store.reserve(&put).map(|reserved| store.publish(reserved)));
            }
            Entry::Touch { key, expiry } => {
                return or_later(store, seconds, |store| store.touch(hash, key, expiry).map(|_| ()));
            }
            Entry::Delete { key, .. } => drop(store.remove(hash, key)),
            Entry::Flush => {
                let mark = store.flush_prepare();
                store.flush(mark);
                *flush_at = None;
            }
            Entry::FlushAt { time } => *flush_at = Some(time),
            Entry::NoOp => {}
        }
        Ok(Applied::Yes)
    }

    /// What is committed and not applied keeps its keys locked, whoever made it: others may have answered for it.
    fn lock_committed(&mut self, committed: LogIndex) {
        let slots = self.prepared.range_mut(LogIndex(0), committed);
        self.store.lock(slots.filter(|slot| !slot.locked).filter_map(|slot| {
            let lock = slot.about.locks();
            slot.locked = lock.is_some();
            lock
        }));
    }

    /// Checks about so many bytes of what rests in the store, once a turn. True when something is there that no entry put there: a
    /// leader must hand the lead on then, and a follower's next digest differs from its leader's, which takes care of the rest.
    pub fn scrub(&mut self, bytes: usize) -> bool {
        let rot = self.store.scrub(bytes);
        let replica = self.replica();
        replica.rot = rot.unwrap_or(replica.rot);
        rot.is_some_and(|rot| rot != 0)
    }

    /// Flips a bit of the value under `key`, as failing memory would; whether there is such an item.
    #[cfg(any(test, feature = "mutations"))]
    pub fn flip_bit(&mut self, key: &[u8], bit: usize) -> bool {
        let hash = self.store.hash(key);
        self.store.flip_bit(hash, key, bit)
    }

    /// A replica's housekeeping, once a turn: a leader that may prepare entries (`may_propose`) proposes what is to leave, all
    /// others only keep their memory in order.
    pub fn maintain_replica(&mut self, now: Time, may_propose: bool) {
        match &self.log {
            Some(log) if may_propose && self.others_are_applied() => {
                let now = log.at_least(now);
                self.maintain(now);
            }
            Some(_) | None => {
                let seconds = self.replica().time.seconds();
                self.store.tidy(seconds);
            }
        }
    }
}

/// Stores something, with some housekeeping where there is no room at once.
fn or_later(
    store: &mut Writer,
    now: Seconds,
    mut act: impl FnMut(&mut Writer) -> Result<(), StoreError>,
) -> Result<Applied, StoreError> {
    for _ in 0..config::APPLY_TIDY_CALLS {
        if !store.must_wait() {
            break;
        }
        store.tidy(now);
    }
    match act(store) {
        Ok(()) => Ok(Applied::Yes),
        Err(StoreError::OutOfMemory) if store.must_wait() => Ok(Applied::Later),
        Err(error) => Err(error),
    }
}
