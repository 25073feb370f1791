//! Which keys have an entry that is prepared and not yet applied, as readers on all threads see it (R24).
//!
//! A table of counters by key hash: an entry counts its key's up before its ack can leave, commit counts it down. Two keys
//! may share a counter; then one of them waits for the other, which is late and never wrong.
//!
//! **Why no reader returns an old value.** Let a client have been told that its write is done. All members had acked its
//! entry before that, this one too, and the lock was set before its ack left: `lock` ends with a SeqCst fence, and the way of
//! the ack to the leader, of the answer to the client and of a later read to this server is one of system calls, each of
//! which orders what is before it before what is behind it. So a read that begins later and asks `is_locked` *first* sees
//! the lock, or that it was taken away since. It was taken away with a Release store behind the value's publication, and is
//! asked for with an Acquire load, so that the lookup which follows finds the value. Asked the other way round, a value could be
//! looked up before its publication and the lock after its end. A counter is 0 only by its first state or by such a Release
//! store, whatever other keys it counts.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;

use super::KeyHash;
use super::epoch::Line;
use crate::config::STORE_LOCKS;

/// See the module. Only the writer changes it.
pub(super) struct Locks {
    keys: Box<[AtomicU32]>,
    /// Entries that change every key: flushes.
    all: Line<AtomicU32>,
}

/// What an entry locks: a key, or all of them.
pub(super) type Locked = Option<KeyHash>;

impl Locks {
    pub fn new() -> Self {
        Self { keys: (0..STORE_LOCKS).map(|_| AtomicU32::new(0)).collect(), all: Line(AtomicU32::new(0)) }
    }

    #[inline]
    fn counter(&self, of: Locked) -> &AtomicU32 {
        // the index uses the lowest bits of the hash and its tags the topmost
        of.map_or(&self.all.0, |hash| &self.keys[(hash.0 >> 20) as usize % STORE_LOCKS])
    }

    /// Writer: counts up, and lets nothing that follows be seen before it.
    pub fn lock(&self, all: impl Iterator<Item = Locked>) {
        for of in all {
            let counter = self.counter(of);
            let count = counter.load(Relaxed).checked_add(1).expect("fewer locks than a counter counts");
            counter.store(count, Relaxed);
        }
        fence(SeqCst);
    }

    /// Writer: counts down, behind everything that was published.
    pub fn unlock(&self, of: Locked) {
        let counter = self.counter(of);
        let count = counter.load(Relaxed).checked_sub(1).expect("what is unlocked was locked");
        counter.store(count, Release);
    }

    /// Whether a read of the key must wait.
    #[inline]
    pub fn is_locked(&self, hash: KeyHash) -> bool {
        self.counter(Some(hash)).load(Acquire) != 0 || self.all.0.load(Acquire) != 0
    }

    /// Whether nothing is locked.
    pub fn is_empty(&self) -> bool {
        self.all.0.load(Relaxed) == 0 && self.keys.iter().all(|counter| counter.load(Relaxed) == 0)
    }
}
