//! The write path as a replica's data plane: does what the cluster's machine says and nothing of its own accord.
//!
//! ```text
//! on_append, lock_keys --> frames; their entries are prepared: `Framed`      log: ... applied ... committed ... end
//! lead --> log; submit --> own entries are prepared: `Put`, `Delete` ...
//! commit --> apply as far as the store has room; what is left stays locked, for the next turn
//! truncate --> what is prepared behind the cut is dropped, whoever made it
//! ```
//!
//! Entries are known by index, so it does not matter who made them: what this server made as a leader is committed or cut by
//! the next one like everything else. A frame that others made is kept until it is applied, for only then its items are given
//! memory. Only a leader proposes that items leave; a follower's store never drops anything by itself.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use super::forwards::Asked;
use super::log::{LogStart, LogState};
use super::prepared::{About, Pending, Prepared};
use super::{Origin, Writes};
use crate::cluster::{Digest, Frame, Mark};
use crate::keystore::Header;
use crate::log::layout::frame as at;
use crate::log::{self, Entry, Epoch, Incarnation, LogIndex, NodeId, Position};
use crate::store::{StoreError, Writer};
use crate::time::{Seconds, Time};

/// Why a replica cannot go on: what its leader has, it cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaFault {
    /// No memory for an entry, or for an item of a keystore.
    OutOfMemory {
        /// The entry; 0 for an item of a keystore.
        index: LogIndex,
    },
    /// An item larger than `-I` allows.
    TooLarge {
        /// The entry; 0 for an item of a keystore.
        index: LogIndex,
    },
}

impl ReplicaFault {
    pub(super) const fn of(error: StoreError, index: LogIndex) -> Self {
        match error {
            StoreError::OutOfMemory => Self::OutOfMemory { index },
            StoreError::TooLarge => Self::TooLarge { index },
        }
    }
}

impl fmt::Display for ReplicaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::OutOfMemory { index } | Self::TooLarge { index }) = *self;
        match index.0 {
            0 => f.write_str("an item of the keystore")?,
            number => write!(f, "entry {number} of the log")?,
        }
        match self {
            Self::OutOfMemory { .. } => f.write_str(
                " needs more memory than -m allows here, and its leader has it; start again with a larger -m",
            ),
            Self::TooLarge { .. } => {
                f.write_str(" is larger than -I allows here, and its leader has it; start again with a larger -I")
            }
        }
    }
}

/// Locks of entries that were cut off. What is below the cut may change the same keys and not be locked here: what was read
/// back at a start is not. So the locks stay until all of that is applied.
struct Orphans {
    below: LogIndex,
    locks: Vec<About>,
}

/// What a replica has besides its store and its prepared entries.
pub(super) struct Replica {
    pub node: NodeId,
    pub incarnation: Incarnation,
    /// Frames with entries that are not applied, oldest first: a frame stays until its last entry is.
    frames: VecDeque<Frame>,
    /// Everything up to here is in the store.
    pub applied: Mark,
    /// The newest leader's time up to there.
    pub applied_time: Time,
    /// Everything up to here is committed. Invariant: not before `applied`.
    pub committed: Mark,
    /// The newest leader's time that was heard of.
    pub time: Time,
    durable: Position,
    orphans: Vec<Orphans>,
    /// Prepared entries that clients of this server asked for by way of a leader, with their numbers.
    pub own: VecDeque<(LogIndex, u64)>,
    /// What those clients asked for, by number.
    pub forwarded: BTreeMap<u64, Asked>,
    /// Asked for and without a number yet.
    pub asked: VecDeque<Asked>,
    /// Writes of others' clients that have to wait until what is committed is applied.
    pub held: VecDeque<(log::Origin, Vec<u8>)>,
    /// Since a fuzzy keystore was read: before this is applied the store is nothing that anybody else had.
    pub consistent: Position,
    /// What was applied last and not told.
    pub news: bool,
    /// By how much the digest of what is in memory is above that of what was put there: not 0 when a bit has flipped.
    pub rot: u64,
    /// The newest entry of others that changes something, and the newest that flushes.
    changed: LogIndex,
    flushed: LogIndex,
}

impl Replica {
    /// The entry of that index, which stands at byte `at` of its frame.
    pub fn framed(&self, index: LogIndex, at: u32) -> Entry<'_> {
        let frame = &self.frames[self.frames.partition_point(|frame| frame.last_index() < index)];
        Entry::decode(&frame.bytes()[at as usize..]).expect("it was decoded when it came").0
    }

    /// Whether the log has this frame already.
    fn knows(&self, frame: &Frame) -> bool {
        frame.end() <= self.applied.position || self.frames.back().is_some_and(|last| frame.position() < last.end())
    }

    /// Everything up to `index` is in the store.
    pub fn on_applied(&mut self, index: LogIndex, store: &Writer) {
        while let Some(frame) = self.frames.pop_front_if(|frame| frame.last_index() <= index) {
            self.applied = frame.mark();
            self.applied_time = self.applied_time.max(frame.header().start.time);
            self.news = true;
        }
        self.orphans.retain(|orphans| {
            let stay = orphans.below > index;
            if !stay {
                unlock(&orphans.locks, store);
            }
            stay
        });
    }

    /// Nothing is here any more but what a keystore is about to bring.
    pub fn restart(&mut self, header: &Header, store: &Writer) {
        self.frames.clear();
        self.own.clear();
        self.orphans.drain(..).for_each(|orphans| unlock(&orphans.locks, store));
        (self.applied, self.committed, self.durable) = (header.start, header.start, header.start.position);
        (self.applied_time, self.time) = (header.last_time, self.time.max(header.last_time));
        (self.news, self.rot) = (false, 0);
        (self.changed, self.flushed) = (LogIndex(0), LogIndex(0));
        // until the end of the keystore says more
        self.consistent = Position(u64::MAX);
    }

    /// What the store holds is to be told now.
    pub fn digest(&mut self, store: &Writer, leads: bool) -> Option<Digest> {
        let exact = self.applied == self.committed && self.applied.position >= self.consistent;
        if !exact || !std::mem::take(&mut self.news) {
            return None;
        }
        let kept = store.digest().expect("a replica keeps it");
        // a leader's digest is what others are measured by: it hands the lead on before it says that it is wrong
        let digest = if leads { kept } else { kept.wrapping_add(self.rot) };
        Some(Digest { position: self.applied.position, digest })
    }
}

fn unlock(locks: &[About], store: &Writer) {
    locks.iter().filter_map(|about| about.locks()).for_each(|key| store.unlock(key));
}

/// Prepares a frame's entries, which are told to `each`.
fn prepare(
    frame: &Frame,
    store: &Writer,
    prepared: &mut Prepared,
    mut each: impl FnMut(LogIndex, Option<log::Origin>, &Entry<'_>),
) {
    let bytes = frame.bytes();
    let mut rest = &bytes[at::BYTES..];
    for index in frame.header().start.first_index.0..=frame.last_index().0 {
        let index = LogIndex(index);
        let (origin, from) = log::Origin::decode(rest).expect("a whole frame");
        let (entry, behind) = Entry::decode(from).expect("a whole frame");
        let about = match entry {
            Entry::Put { key, .. } | Entry::Delete { key, .. } | Entry::Touch { key, .. } => {
                About::Key(store.hash(key))
            }
            Entry::Flush => About::All,
            Entry::FlushAt { .. } | Entry::NoOp => About::Nothing,
        };
        prepared.push(index, about, Pending::Framed((bytes.len() - from.len()) as u32));
        each(index, origin, &entry);
        rest = behind;
    }
}

impl Writes {
    /// From here on this is a replica's data plane, over an empty store: its server has this name, and its log begins anew.
    /// What was read back of a log or of a keystore is handed in like anything else: `restore`, `on_append`.
    pub fn join(&mut self, node: NodeId, incarnation: Incarnation) {
        assert!(self.log.is_none() && self.replica.is_none() && self.last_index.0 == 0, "a server is alone or not");
        self.store.keep_digest();
        self.replica = Some(Box::new(Replica {
            node,
            incarnation,
            frames: VecDeque::new(),
            applied: Mark::default(),
            applied_time: Time(0),
            committed: Mark::default(),
            time: Time(0),
            durable: Position(0),
            orphans: Vec::new(),
            own: VecDeque::new(),
            forwarded: BTreeMap::new(),
            asked: VecDeque::new(),
            held: VecDeque::new(),
            consistent: Position(0),
            news: false,
            rot: 0,
            changed: LogIndex(0),
            flushed: LogIndex(0),
        }));
    }

    /// Whether this is a replica's data plane.
    #[must_use]
    pub const fn is_replica(&self) -> bool {
        self.replica.is_some()
    }

    pub(super) fn replica(&mut self) -> &mut Replica {
        self.replica.as_mut().expect("the cluster speaks to a replica")
    }

    pub(super) fn framed(&self, index: LogIndex, at: u32) -> Entry<'_> {
        self.replica.as_ref().expect("only a replica has others' frames").framed(index, at)
    }

    /// A frame is in the log: one that this write path made, the machine's own, or another server's. The same may be told
    /// more than once.
    pub fn on_append(&mut self, frame: &Frame) {
        let Self { replica, prepared, store, last_index, .. } = self;
        let replica = replica.as_mut().expect("the cluster speaks to a replica");
        if replica.knows(frame) {
            return;
        }
        let first = frame.header().start.first_index;
        replica.time = replica.time.max(frame.header().start.time);
        replica.frames.push_back(frame.clone());
        if first.0 == last_index.0 + 1 {
            let (node, incarnation) = (replica.node, replica.incarnation);
            prepare(frame, store, prepared, |index, origin, entry| {
                if let Some(log::Origin { number, .. }) =
                    origin.filter(|origin| (origin.node, origin.incarnation) == (node, incarnation))
                {
                    replica.own.push_back((index, number));
                }
                match entry {
                    Entry::NoOp => {}
                    Entry::Flush | Entry::FlushAt { .. } => (replica.changed, replica.flushed) = (index, index),
                    Entry::Put { .. } | Entry::Delete { .. } | Entry::Touch { .. } => replica.changed = index,
                }
            });
            *last_index = frame.last_index();
        }
        assert!(frame.last_index() <= *last_index, "a frame does not follow the one before it");
    }

    /// Reads of the frame's keys wait from now on, before its ack can leave (R24).
    pub fn lock_keys(&mut self, frame: &Frame) {
        self.on_append(frame);
        let slots = self.prepared.range_mut(frame.header().start.first_index, frame.last_index());
        self.store.lock(slots.filter(|slot| !slot.locked).filter_map(|slot| {
            let lock = slot.about.locks();
            slot.locked = lock.is_some();
            lock
        }));
    }

    /// The log ends with `to`. Clients of this server whose entries are cut are told to `unknown`: their connections are to be
    /// closed (C2).
    pub fn truncate(&mut self, to: Mark, unknown: &mut Vec<Origin>) {
        let Self { replica, prepared, store, flush_at, waiting, last_index, log, .. } = self;
        let replica = replica.as_mut().expect("the cluster speaks to a replica");
        assert!(to.position >= replica.committed.position, "R13: a committed entry would be cut off");
        let mut locks = Vec::new();
        prepared.discard_after(to.index, |slot| {
            if slot.locked {
                locks.push(slot.about);
            }
            slot.pending.discard(store, flush_at);
        });
        while replica.frames.pop_back_if(|frame| frame.end() > to.position).is_some() {}
        while replica.own.pop_back_if(|(index, _)| *index > to.index).is_some() {}
        while let Some(cut) = waiting.pop_back_if(|waiting| waiting.index > to.index) {
            unknown.push(cut.origin);
        }
        *log = None;
        *last_index = to.index;
        (replica.changed, replica.flushed) = (replica.changed.min(to.index), replica.flushed.min(to.index));
        replica.held.clear();
        replica.durable = replica.durable.min(to.position);
        // those of an earlier cut wait for no more than is left now
        replica.orphans.iter_mut().for_each(|orphans| orphans.below = orphans.below.min(to.index));
        if !locks.is_empty() {
            replica.orphans.push(Orphans { below: to.index, locks });
        }
        if prepared.is_empty() {
            replica.orphans.drain(..).for_each(|orphans| unlock(&orphans.locks, store));
        }
        self.check_invariants();
    }

    /// This server leads: the log goes on from `end`, behind the epoch's no-op. Comes again for each epoch.
    pub fn lead(&mut self, epoch: Epoch, end: Mark, time: Time) {
        assert!(self.log.as_ref().is_none_or(LogState::is_between_turns), "a frame is handed in before another input");
        let untold = end.index.0.checked_sub(self.last_index.0);
        assert!(untold.is_some_and(|untold| untold <= 1), "the log has entries that nobody told of");
        if end.index > self.last_index {
            // while the disk is full the no-op has not been handed to it, and so not told
            self.last_index = end.index;
            self.prepared.push(end.index, About::Nothing, Pending::Nothing);
        }
        let (last_index, end) = (end.index, end.position);
        let replica = self.replica();
        replica.time = replica.time.max(time);
        let (time, durable) = (replica.time, replica.durable.min(end));
        self.log = Some(LogState::leading(LogStart { epoch, last_index, end, last_time: time }, durable));
    }

    /// Whether this server's write path makes frames.
    #[must_use]
    pub const fn leads(&self) -> bool {
        self.replica.is_some() && self.log.is_some()
    }

    /// This server leads no more. What it has prepared may be committed or not: the clients that wait for it are told to
    /// `unknown` (C2).
    pub fn step_down(&mut self, unknown: &mut Vec<Origin>) {
        assert!(self.log.as_ref().is_none_or(LogState::is_between_turns), "a frame is handed in before another input");
        self.log = None;
        self.replica().held.clear();
        unknown.extend(self.waiting.drain(..).map(|waiting| waiting.origin));
    }

    /// Everything below is on this server's disk: coming frames say so (D1).
    pub fn on_durable(&mut self, upto: Position) {
        let replica = self.replica();
        replica.durable = replica.durable.max(upto);
        if let Some(log) = &mut self.log {
            log.synced(upto.min(log.end()));
        }
    }

    /// Whether everything is applied that others made and that changes something.
    pub(super) fn others_are_applied(&self) -> bool {
        let changed = self.replica.as_ref().map_or(LogIndex(0), |replica| replica.changed);
        self.prepared.front().is_none_or(|slot| slot.index > changed)
    }

    /// Whether every flush that others made is applied.
    pub(super) fn others_flushes_are_applied(&self) -> bool {
        let flushed = self.replica.as_ref().map_or(LogIndex(0), |replica| replica.flushed);
        self.prepared.front().is_none_or(|slot| slot.index > flushed)
    }

    /// The newest leader's time: what replicas compare expiry with, so that all agree. A leader's own clock counts too.
    #[must_use]
    pub fn leader_time(&self, now: Time) -> Time {
        match (&self.log, &self.replica) {
            (Some(log), _) => log.at_least(now),
            (None, Some(replica)) => replica.time,
            (None, None) => now,
        }
    }

    /// Everything up to here is in the store.
    #[must_use]
    pub fn applied(&self) -> Mark {
        self.replica.as_ref().map_or_else(Mark::default, |replica| replica.applied)
    }

    /// Everything up to here is committed, applied or not.
    #[must_use]
    pub fn committed(&self) -> Mark {
        self.replica.as_ref().map_or_else(Mark::default, |replica| replica.committed)
    }

    /// Whether writes that came earlier wait to be evaluated: later ones queue behind them.
    #[must_use]
    pub fn has_undecided(&self) -> bool {
        self.replica.as_ref().is_some_and(|replica| !replica.held.is_empty())
    }

    /// When everything is to be flushed, as far as that is applied.
    pub(super) fn flush_at_applied(&self) -> Option<Seconds> {
        let before = self.prepared.iter().find_map(|slot| match slot.pending {
            Pending::Flush(_, before) | Pending::FlushAt(before) => Some(before),
            _ => None,
        });
        before.unwrap_or(self.flush_at)
    }

    pub(super) fn check_replica(&self) {
        let Some(replica) = &self.replica else { return };
        assert!(replica.committed.position >= replica.applied.position, "applied and not committed");
        assert!(replica.frames.front().is_none_or(|frame| frame.position() >= replica.applied.position));
        assert!(!self.prepared.is_empty() || replica.orphans.is_empty(), "a lock that nobody will take away");
        assert!(replica.own.iter().is_sorted(), "own entries are in the order of their indices");
        assert!(self.prepared.front().is_none_or(|slot| slot.index > replica.applied.index), "applied twice");
    }
}
