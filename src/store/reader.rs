//! A thread's view of the store: lookups without a lock.

use std::cell::Cell;
use std::sync::Arc;

use super::{Item, KeyHash, Shared};
use crate::time::Seconds;

/// Looks items up. One for each thread; it can be sent to its thread, not shared.
///
/// What `get` returned stays valid until `quiesce` or `park`, which the borrow checker sees to. A reader begins parked;
/// its first lookup ends that.
pub struct Reader {
    shared: Arc<Shared>,
    number: usize,
    /// The reader promised to hold and look up nothing.
    parked: Cell<bool>,
}

impl Reader {
    pub(super) const fn new(shared: Arc<Shared>, number: usize) -> Self {
        Self { shared, number, parked: Cell::new(true) }
    }

    /// The hash the other methods want.
    #[inline]
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        self.shared.arena.hash_of(key)
    }

    /// Has the bucket of a hash fetched. First step of a batch of lookups.
    #[inline]
    pub fn prefetch(&self, hash: KeyHash) {
        self.shared.index.prefetch(hash);
    }

    /// Has the item fetched that the bucket, which is near by now, probably leads to. Second step.
    #[inline]
    pub fn prefetch_item(&self, hash: KeyHash) {
        if let Some(unit) = self.shared.index.guess(hash) {
            self.shared.arena.prefetch(unit);
        }
    }

    /// The item under `key`, unless it has expired or was flushed. Third step, or the only one.
    #[inline]
    #[must_use]
    pub fn get<'a>(&'a self, hash: KeyHash, key: &[u8], now: Seconds) -> Option<Item<'a>> {
        if self.parked.get() {
            self.wake();
        }
        let item = self.shared.get(hash, key, now)?;
        Some(item)
    }

    /// Whether an entry that changes the key is prepared and not yet applied: then a read of it must wait (R24). Asked before
    /// `get` and not behind it, as locks.rs explains. Only servers of a cluster have locks to ask for.
    #[inline]
    #[must_use]
    pub fn is_locked(&self, hash: KeyHash) -> bool {
        self.shared.locks.is_locked(hash)
    }

    #[cold]
    fn wake(&self) {
        self.parked.set(false);
        self.shared.epochs.unpark(self.number);
    }

    /// Nothing that was looked up is held any more: once a turn, so that memory can be used again.
    pub fn quiesce(&mut self) {
        if !self.parked.get() {
            self.shared.epochs.quiesce(self.number);
        }
    }

    /// The thread goes to sleep: holds nothing, looks up nothing, is not waited for.
    pub fn park(&mut self) {
        self.parked.set(true);
        self.shared.epochs.park(self.number);
    }

    /// The thread is awake again.
    pub fn unpark(&mut self) {
        if self.parked.get() {
            self.wake();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.park();
    }
}
