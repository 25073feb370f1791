//! A keystore is taken from a store that goes on changing, and read into a store.

use super::Writes;
use super::replica::ReplicaFault;
use crate::cluster::EpochStart;
use crate::config;
use crate::keystore::{Encoder, End, Header};
use crate::log::{LogId, LogIndex};
use crate::store::{Item, Put, StoreError, Walk};

/// A keystore that is being taken.
#[derive(Debug)]
pub struct Snapshot {
    encoder: Encoder,
    walk: Walk,
}

impl Writes {
    /// Begins a keystore of everything that is applied. `history` has all epochs that begin below `applied`.
    pub fn begin_snapshot(&self, log_id: LogId, history: &[EpochStart], out: &mut Vec<u8>) -> Snapshot {
        let replica = self.replica.as_ref().expect("only a replica's keystore is asked for");
        let (start, last_time, flush_at) = (replica.applied, replica.applied_time, self.flush_at_applied());
        let epochs = u32::try_from(history.len()).expect("fewer epochs than that");
        let header = Header { log_id, start, last_time, flush_at, epochs };
        Snapshot { encoder: Encoder::begin(&header, history, out), walk: Walk::default() }
    }

    /// Whether the store holds what the log says and nothing else: a keystore of it is worth keeping.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.replica.as_ref().is_some_and(|replica| replica.applied.position >= replica.consistent && replica.rot == 0)
    }

    /// Adds about so many bytes of items. Whether there are more.
    pub fn go_on_snapshot(&self, snapshot: &mut Snapshot, bytes: usize, out: &mut Vec<u8>) -> bool {
        let Snapshot { encoder, walk } = snapshot;
        self.store.walk(walk, bytes, |item| encoder.push(&item, out))
    }

    /// Ends it: everything that was applied meanwhile is committed.
    pub fn end_snapshot(&self, snapshot: Snapshot, out: &mut Vec<u8>) -> End {
        let replica = self.replica.as_ref().expect("only a replica's keystore is asked for");
        snapshot.encoder.end(replica.committed, out)
    }

    /// Everything that is here makes room for a keystore: the store, what is prepared, its locks. Nobody may read it and no
    /// client may wait for it until the keystore is whole.
    pub fn begin_restore(&mut self, header: &Header) {
        assert!(self.log.is_none() && self.waiting.is_empty(), "a leader needs no keystore");
        let Self { prepared, store, flush_at, .. } = self;
        prepared.discard_after(LogIndex(0), |slot| {
            if slot.locked
                && let Some(key) = slot.about.locks()
            {
                store.unlock(key);
            }
            slot.pending.discard(store, flush_at);
        });
        let mark = store.flush_prepare();
        store.flush(mark);
        self.flush_at = header.flush_at;
        self.last_index = header.start.index;
        let Self { replica, store, .. } = self;
        replica.as_mut().expect("only a replica reads keystores").restart(header, store);
    }

    /// Stores an item of the keystore; false when it must be handed in again in a later turn, for there is no room yet.
    ///
    /// # Errors
    /// When this server cannot hold what its leader holds: it must stop.
    pub fn restore(&mut self, item: &Item<'_>) -> Result<bool, ReplicaFault> {
        let seconds = self.replica().applied_time.seconds();
        for _ in 0..config::APPLY_TIDY_CALLS {
            if !self.store.must_wait() {
                break;
            }
            self.store.tidy(seconds);
        }
        let Item { key, value, flags, expiry, cas, bits } = *item;
        let hash = self.store.hash(key);
        match self.store.reserve(&Put { hash, key, flags, expiry, cas, bits, value: [value, &[]] }) {
            Ok(reserved) => self.store.publish(reserved),
            Err(StoreError::OutOfMemory) if self.store.must_wait() => return Ok(false),
            Err(error) => return Err(ReplicaFault::of(error, LogIndex(0))),
        }
        Ok(true)
    }

    /// The keystore is whole: the log goes on behind its start mark, and makes it exact at its consistent mark.
    pub fn end_restore(&mut self, end: &End) {
        self.replica().consistent = end.consistent.position;
        self.check_invariants();
    }
}
