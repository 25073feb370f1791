//! The write path: everything that changes data passes here, on thread 0 and on no other.
//!
//! ```text
//! Write --evaluate--> result --reserve--> store (invisible)      `prepared`
//!                       |                                           |
//!                       +--encode--> frame --Persist--> disk --Persisted--> publish, answer
//! ```
//!
//! Owns the store's only writer, the entries that are appended and not yet committed, and the answers that wait for
//! them. A conditional command is evaluated against committed plus prepared state and its *result* is logged. Without a
//! log the same path is taken and an entry is applied as soon as it is made.
//!
//! In a cluster the same path is a replica's data plane (`replica`): it makes frames only while its server leads, takes
//! those of others, and the cluster's machine says what is committed.

mod apply;
pub mod codec;
mod evaluate;
mod forwards;
mod log;
mod prepared;
mod replica;
mod request;
mod snapshot;
#[cfg(test)]
mod tests;

pub use codec::ForwardFault;
pub use forwards::Placed;
pub use log::{Frame, LogStart};
pub use replica::ReplicaFault;
pub use request::{Answer, Origin, OwnedWrite, Write};
pub use snapshot::Snapshot;

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use self::evaluate::Change;
use self::log::LogState;
use self::prepared::{About, Pending, Prepared};
use self::replica::Replica;
use crate::config;
use crate::log::{Entry, LogIndex, Position, Removed};
use crate::proto::reply;
use crate::proto::{Reply, StoreVerb};
use crate::stats::{Counter, Counters, Shared};
use crate::store::{Gone, ItemBits, KeyHash, Put, StoreError, Writer};
use crate::time::{Expiry, Seconds, Time};

/// An answer that leaves when `index` is committed: it may have been read from any entry up to there.
struct Waiting {
    index: LogIndex,
    origin: Origin,
    reply: Reply,
    /// The answer goes on with that to the next key of the same command.
    goes_on: bool,
}

/// What a write is answered that came to nothing: one line for each command, however many keys it has.
fn out_of_memory(goes_on: bool) -> Reply {
    if goes_on { Reply::Bytes(Vec::new()) } else { Reply::Line(reply::OUT_OF_MEMORY_STORING) }
}

/// The write path of one server.
pub struct Writes {
    store: Writer,
    prepared: Prepared,
    /// While there is none, entries are applied as they are made. A replica has one while its server leads.
    log: Option<LogState>,
    /// In a cluster.
    replica: Option<Box<Replica>>,
    /// In the order of their indices; invariant: none is at or below the commit index.
    waiting: VecDeque<Waiting>,
    /// The newest entry's index, prepared or committed.
    last_index: LogIndex,
    flush_at: Option<Seconds>,
    /// The disk took nothing when it was last asked.
    disk_is_full: bool,
    cas_enabled: bool,
    scratch: Vec<u8>,
    removals: Vec<(Vec<u8>, Gone)>,
}

impl Writes {
    /// The write path over an empty store.
    #[must_use]
    pub fn new(store: Writer, cas_enabled: bool) -> Self {
        Self {
            store,
            prepared: Prepared::default(),
            log: None,
            replica: None,
            waiting: VecDeque::new(),
            last_index: LogIndex(0),
            flush_at: None,
            disk_is_full: false,
            cas_enabled,
            scratch: Vec::new(),
            removals: Vec::new(),
        }
    }

    /// Applies an entry that was read back from the log.
    ///
    /// # Errors
    /// A sentence for the operator when the data does not fit into the memory limit.
    pub fn replay(&mut self, now: Seconds, index: LogIndex, entry: &Entry<'_>) -> Result<(), String> {
        // its removals are entries of the log and come in their order: the store proposes none of its own meanwhile
        if index.0.is_multiple_of(config::REPLAY_MAINTAIN_ENTRIES) {
            self.store.tidy(now);
        }
        while self.store.must_wait() {
            self.store.tidy(now);
        }
        self.last_index = index;
        match *entry {
            Entry::Put { key, value, flags, expiry, cas, bits } => {
                let hash = self.store.hash(key);
                let cas = cas.unwrap_or(index.0);
                let put = Put { hash, key, flags, expiry, cas, bits: ItemBits(bits), value: [value, &[]] };
                let reserved = self.store.reserve(&put).map_err(|e| match e {
                    StoreError::OutOfMemory => {
                        "the data in the log needs more memory than -m allows; start again with a larger -m".to_owned()
                    }
                    StoreError::TooLarge => {
                        format!("entry {} of the log is larger than -I allows; start again with a larger -I", index.0)
                    }
                })?;
                self.store.publish(reserved);
            }
            Entry::Delete { key, .. } => {
                let hash = self.store.hash(key);
                self.store.remove(hash, key);
            }
            Entry::Touch { key, expiry } => {
                let hash = self.store.hash(key);
                self.store
                    .touch(hash, key, expiry)
                    .map_err(|_| "the log needs more memory than -m allows; start again with a larger -m".to_owned())?;
            }
            Entry::Flush => {
                let mark = self.store.flush_prepare();
                self.store.flush(mark);
                self.flush_at = None;
            }
            Entry::FlushAt { time } => self.flush_at = Some(time),
            Entry::NoOp => {}
        }
        Ok(())
    }

    /// From here on every entry goes to the log, which continues at `start`.
    pub fn attach_log(&mut self, start: LogStart) {
        assert!(self.prepared.is_empty(), "a log is attached before the first write");
        self.last_index = start.last_index;
        self.log = Some(LogState::new(start));
    }

    /// Takes a write. The answer, when it can be given at once; otherwise it comes with a later `Persisted`. The one way of
    /// every write, a replica's too: `place` and `evaluate_forwarded` come here.
    pub fn submit(
        &mut self,
        now: Time,
        write: &Write<'_>,
        origin: Origin,
        shared: &Shared,
        counters: &mut Counters,
    ) -> Option<Reply> {
        let reply = self.carry_out(now, write, shared, counters);
        if self.prepared.is_empty() {
            return Some(reply);
        }
        self.waiting.push_back(Waiting { index: self.last_index, origin, reply, goes_on: write.goes_on() });
        None
    }

    /// Whether no more entries should be prepared before some are committed (R11), or before the store's readers have
    /// let go of memory.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.prepared.len() >= config::PREPARED_ENTRIES_MAX
            || self.log.as_ref().is_some_and(|log| log.bytes_under_way() >= config::PREPARED_BYTES_MAX)
            // what the store waits for may need an entry, for which a full disk has no room: then a write is refused
            || (!self.disk_is_full && self.store.must_wait())
    }

    /// Whether the next turn should come at once: memory is short, or much has expired.
    #[must_use]
    pub fn wants_turn(&self) -> bool {
        // on a full disk what is found cannot leave: looking for more of it at once is of no use
        !self.disk_is_full && (self.store.must_wait() || self.store.is_sweeping())
    }

    /// Takes back the buffer of a frame that has been written.
    pub fn reuse(&mut self, buffer: Vec<u8>) {
        if let Some(log) = &mut self.log {
            log.reuse(buffer);
        }
    }

    fn carry_out(&mut self, now: Time, write: &Write<'_>, shared: &Shared, counters: &mut Counters) -> Reply {
        match *write {
            Write::FlushAll { delay } => self.flush_all(now, delay, counters),
            Write::MemoryLimit { megabytes } => self.memory_limit(megabytes, shared),
            _ => self.carry_out_on_key(now, write, counters),
        }
    }

    fn carry_out_on_key(&mut self, now: Time, write: &Write<'_>, counters: &mut Counters) -> Reply {
        let key = write.key();
        let hash = self.store.hash(key);
        let decision = self.evaluate(now.seconds(), hash, write, counters);
        let done = match decision.change {
            Change::None => Ok(()),
            Change::Put { flags, expiry, bits, cas, value, in_place } => {
                let scratch = std::mem::take(&mut self.scratch);
                let value = value.of(write).unwrap_or(&scratch);
                let cas_or_next = cas.unwrap_or(self.last_index.0 + 1);
                let put = Put { hash, key, flags, expiry, cas: cas_or_next, bits, value: [value, &[]] };
                let done = self.put(now, &put, cas);
                self.scratch = scratch;
                done.inspect(|()| counters.add(Counter::TotalItems, u64::from(!in_place)))
            }
            Change::Delete => {
                self.delete(now, hash, key, Removed::Deleted);
                Ok(())
            }
            Change::Touch { expiry } => self.touch(now, hash, key, expiry),
        };
        match done {
            Ok(()) => decision.reply,
            Err(StoreError::TooLarge) => {
                counters.count(Counter::StoreTooLarge);
                match write {
                    // memcached's: the parts are each small enough, so nothing is wrong with the command
                    Write::Store { verb: StoreVerb::Append | StoreVerb::Prepend, .. } => Reply::NotStored,
                    _ => Reply::Line(reply::TOO_LARGE),
                }
            }
            Err(StoreError::OutOfMemory) => {
                counters.count(Counter::StoreNoMemory);
                out_of_memory(write.goes_on())
            }
        }
    }

    /// `kept_cas`: the cas id, when it is not the entry's own index.
    fn put(&mut self, now: Time, put: &Put<'_>, kept_cas: Option<u64>) -> Result<(), StoreError> {
        let reserved = self.store.reserve(put)?;
        self.last_index.0 += 1;
        let index = self.last_index;
        match &mut self.log {
            None => {
                self.store.publish(reserved);
            }
            Some(log) => {
                let Put { hash, key, flags, expiry, bits, value: [value, _], .. } = *put;
                log.push(now, index, &Entry::Put { key, value, flags, expiry, cas: kept_cas, bits: bits.0 });
                self.prepared.push(index, About::Key(hash), Pending::Put(reserved));
            }
        }
        Ok(())
    }

    fn delete(&mut self, now: Time, hash: KeyHash, key: &[u8], reason: Removed) {
        self.last_index.0 += 1;
        match &mut self.log {
            None => {
                self.store.remove(hash, key);
            }
            Some(log) => {
                log.push(now, self.last_index, &Entry::Delete { key, reason });
                self.prepared.push(self.last_index, About::Key(hash), Pending::Delete(key.into()));
            }
        }
    }

    fn touch(&mut self, now: Time, hash: KeyHash, key: &[u8], expiry: Expiry) -> Result<(), StoreError> {
        match &mut self.log {
            None => {
                self.store.touch(hash, key, expiry)?;
                self.last_index.0 += 1;
            }
            Some(log) => {
                self.last_index.0 += 1;
                log.push(now, self.last_index, &Entry::Touch { key, expiry });
                self.prepared.push(self.last_index, About::Key(hash), Pending::Touch(key.into(), expiry));
            }
        }
        Ok(())
    }

    fn flush_all(&mut self, now: Time, delay: i32, counters: &mut Counters) -> Reply {
        counters.count(Counter::CmdFlush);
        if delay <= 0 {
            self.flush_now(now);
            return Reply::Ok;
        }
        let time = Seconds(Expiry::from_exptime(delay, now.seconds()).raw());
        let before = self.flush_at.replace(time);
        self.last_index.0 += 1;
        if let Some(log) = &mut self.log {
            log.push(now, self.last_index, &Entry::FlushAt { time });
            self.prepared.push(self.last_index, About::Nothing, Pending::FlushAt(before));
        }
        Reply::Ok
    }

    fn flush_now(&mut self, now: Time) {
        let before = self.flush_at.take();
        self.last_index.0 += 1;
        let mark = self.store.flush_prepare();
        match &mut self.log {
            None => self.store.flush(mark),
            Some(log) => {
                log.push(now, self.last_index, &Entry::Flush);
                self.prepared.push(self.last_index, About::All, Pending::Flush(mark, before));
            }
        }
    }

    /// Changes the memory limit of this server's store: what `cache_memlimit` asks for, and is answered.
    pub fn memory_limit(&mut self, megabytes: u64, shared: &Shared) -> Reply {
        if megabytes < config::MEMORY_MEGABYTES_MIN {
            return Reply::Line(reply::MEMLIMIT_TOO_SMALL);
        }
        if megabytes > config::MEMORY_MEGABYTES_MAX {
            return Reply::Line(reply::MEMLIMIT_NOT_MEGABYTES);
        }
        let bytes = megabytes.saturating_mul(1 << 20);
        self.store.set_memory_limit(bytes);
        shared.gauges.limit_maxbytes.store(bytes, Relaxed);
        Reply::Ok
    }

    /// What is due by the clock and by the memory limit: once a turn, before `end_turn`.
    pub fn maintain(&mut self, now: Time) {
        assert!(self.replica.is_none() || self.log.is_some(), "only a leader proposes");
        if self.flush_at.is_some_and(|at| at <= now.seconds()) {
            self.flush_now(now);
        }
        let logged = self.log.is_some();
        if logged && self.prepared.len() >= config::PREPARED_ENTRIES_MAX {
            // what housekeeping proposes would be prepared too (R11)
            return self.store.tidy(now.seconds());
        }
        let removals = &mut self.removals;
        self.store.maintain(now.seconds(), logged, &mut |key, why| {
            if logged {
                removals.push((key.to_vec(), why));
            }
        });
        while let Some((key, why)) = self.removals.pop() {
            let hash = self.store.hash(&key);
            // an entry that is under way decides about this key; what is left of the old item goes with it
            if !self.prepared.contains(hash) {
                let reason = match why {
                    Gone::Expired => Removed::Expired,
                    Gone::Evicted => Removed::Evicted,
                    Gone::Flushed => Removed::Flushed,
                };
                self.delete(now, hash, &key, reason);
            }
        }
    }

    /// Closes the turn's frame. The frames must be appended in order, before anything else is stepped.
    pub fn end_turn(&mut self, frames: &mut Vec<Frame>) {
        if let Some(log) = &mut self.log {
            log.finish_turn(frames);
        }
    }

    /// All entries of frames that end at or below `upto` are as durable as was asked for: applies and answers them.
    pub fn on_persisted(&mut self, upto: Position, answers: &mut Vec<Answer>) {
        let Some(log) = &mut self.log else { return };
        let Some(commit) = log.commit(upto) else { return };
        self.disk_is_full = false;
        while let Some(slot) = self.prepared.pop_front(commit) {
            self.apply_own(slot.pending, slot.about);
        }
        self.answer(commit, answers);
    }

    /// Tells what is known durable by now, for the watermark of coming frames (D1).
    pub const fn on_synced(&mut self, upto: Position) {
        if let Some(log) = &mut self.log {
            log.synced(upto);
        }
    }

    /// The disk is full: nothing beyond `written` is in the log. Takes back what was prepared since and says so (D4).
    pub fn on_refused(&mut self, written: Position, shared: &Shared, answers: &mut Vec<Answer>) {
        let log = self.log.as_mut().expect("only a log refuses");
        let last = log.refuse(written);
        self.last_index = last;
        self.disk_is_full = true;
        self.store.removals_refused();
        let Self { prepared, store, flush_at, .. } = self;
        prepared.discard_after(last, |slot| slot.pending.discard(store, flush_at));
        // they keep their places: a connection's answers leave in the order of its commands
        for waiting in self.waiting.iter_mut().rev().take_while(|w| w.index > last) {
            waiting.reply = out_of_memory(waiting.goes_on);
            waiting.index = last;
            shared.gauges.log_refused.fetch_add(1, Relaxed);
        }
        if self.prepared.is_empty() {
            self.answer(last, answers);
        }
        self.check_invariants();
    }

    fn answer(&mut self, commit: LogIndex, answers: &mut Vec<Answer>) {
        while self.waiting.front().is_some_and(|w| w.index <= commit) {
            let waiting = self.waiting.pop_front().expect("it was there");
            answers.push(Answer { origin: waiting.origin, reply: waiting.reply });
        }
    }

    /// Whether entries wait for the disk.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.prepared.is_empty() && self.waiting.is_empty()
    }

    /// Brings the shared numbers up to date.
    pub fn publish(&self, shared: &Shared) {
        let (stats, gauges) = (self.store.stats(), &shared.gauges);
        gauges.curr_items.store(stats.items, Relaxed);
        gauges.bytes.store(stats.bytes, Relaxed);
        gauges.memory_bytes.store(stats.memory_bytes, Relaxed);
        gauges.hash_bytes.store(stats.index_bytes, Relaxed);
        gauges.hash_power.store(stats.hash_power, Relaxed);
        gauges.hash_is_expanding.store(u64::from(stats.growing), Relaxed);
        gauges.evictions.store(stats.evictions, Relaxed);
        gauges.expired_unfetched.store(stats.expired_unfetched, Relaxed);
        gauges.evicted_unfetched.store(stats.evicted_unfetched, Relaxed);
        gauges.reclaimed.store(stats.reclaimed, Relaxed);
        gauges.segments_used.store(stats.segments_used, Relaxed);
        gauges.segments_free.store(stats.segments_free, Relaxed);
        if let Some(log) = &self.log {
            gauges.log_index.store(self.last_index.0, Relaxed);
            gauges.log_position.store(log.end().0, Relaxed);
            gauges.log_durable.store(log.durable().0, Relaxed);
        }
    }

    /// The store, for the shell's advice about memory.
    #[must_use]
    pub const fn store(&self) -> &Writer {
        &self.store
    }

    /// What must hold between steps.
    pub fn check_invariants(&self) {
        self.prepared.check_invariants(self.last_index);
        assert!(self.log.is_some() || self.replica.is_some() || self.prepared.is_empty(), "prepared without a log");
        assert!(self.waiting.is_empty() || !self.prepared.is_empty(), "an answer waits for nothing");
        self.check_replica();
    }
}
