//! Entries that are appended and not yet committed, found by key.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use crate::log::LogIndex;
use crate::store::{FlushMark, KeyHash, Reserved, Writer};
use crate::time::{Expiry, Seconds};

/// What commit will apply.
pub enum Pending {
    Put(Reserved),
    Delete(Box<[u8]>),
    Touch(Box<[u8]>, Expiry),
    /// A flush, and what was due later before it.
    Flush(FlushMark, Option<Seconds>),
    /// A flush for later, and what was due before it.
    FlushAt(Option<Seconds>),
    /// An entry that changes nothing.
    Nothing,
    /// An entry of a replica's log that this write path did not make: it stands at this byte of its frame.
    Framed(u32),
}

impl Pending {
    /// It will not be applied.
    pub fn discard(self, store: &mut Writer, flush_at: &mut Option<Seconds>) {
        match self {
            Self::Put(reserved) => store.discard(reserved),
            Self::Flush(mark, before) => {
                store.flush_discard(mark);
                *flush_at = before;
            }
            Self::FlushAt(before) => *flush_at = before,
            Self::Delete(_) | Self::Touch(..) | Self::Nothing | Self::Framed(_) => {}
        }
    }
}

/// What an entry changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The item under this hash.
    Key(KeyHash),
    /// All items.
    All,
    Nothing,
}

impl About {
    /// What is locked for it, if anything: a key, or all of them.
    pub const fn locks(self) -> Option<Option<KeyHash>> {
        match self {
            Self::Key(hash) => Some(Some(hash)),
            Self::All => Some(None),
            Self::Nothing => None,
        }
    }
}

/// An entry that is prepared.
pub struct Slot {
    pub index: LogIndex,
    pub about: About,
    /// Readers wait for it (R24).
    pub locked: bool,
    pub pending: Pending,
    /// The entry before this one under the same hash, if it was prepared then; 0 is none.
    previous: LogIndex,
}

/// Keys are hashed already.
#[derive(Default)]
struct Given(u64);

impl Hasher for Given {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only whole hashes are hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The prepared entries, oldest first; every index between the first and the last is there.
#[derive(Default)]
pub struct Prepared {
    queue: VecDeque<Slot>,
    newest: HashMap<u64, LogIndex, BuildHasherDefault<Given>>,
    /// The newest prepared flush: nothing before it, stored or prepared, will be there.
    flush: Option<LogIndex>,
}

impl Prepared {
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn contains(&self, hash: KeyHash) -> bool {
        self.newest.contains_key(&hash.0)
    }

    /// Whether a prepared flush hides what the store holds.
    pub const fn flushes(&self) -> bool {
        self.flush.is_some()
    }

    pub fn push(&mut self, index: LogIndex, about: About, pending: Pending) {
        if let Some(last) = self.queue.back() {
            assert!(index.0 == last.index.0 + 1, "prepared entries are consecutive");
        }
        let mut previous = LogIndex(0);
        match about {
            About::Key(hash) => previous = self.newest.insert(hash.0, index).unwrap_or_default(),
            About::All => self.flush = Some(index),
            About::Nothing => {}
        }
        self.queue.push_back(Slot { index, about, locked: false, pending, previous });
    }

    /// What is prepared under `hash` and not hidden by a flush, newest first.
    pub fn of(&self, hash: KeyHash) -> impl Iterator<Item = (LogIndex, &Pending)> {
        let mut next =
            if self.queue.is_empty() { LogIndex(0) } else { self.newest.get(&hash.0).copied().unwrap_or_default() };
        std::iter::from_fn(move || {
            let index = next;
            let first = self.queue.front()?.index;
            if index < first || self.flush.is_some_and(|flush| index < flush) {
                return None;
            }
            let slot = &self.queue[(index.0 - first.0) as usize];
            next = slot.previous;
            Some((index, &slot.pending))
        })
    }

    /// The oldest.
    pub fn front(&self) -> Option<&Slot> {
        self.queue.front()
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.queue.iter()
    }

    /// Those from `first` to `last`, as far as they are there.
    pub fn range_mut(&mut self, first: LogIndex, last: LogIndex) -> impl Iterator<Item = &mut Slot> {
        let from = self.queue.partition_point(|slot| slot.index < first);
        let upto = self.queue.partition_point(|slot| slot.index <= last);
        self.queue.range_mut(from..upto.max(from))
    }

    /// Takes out the oldest, if it is at or below `upto`.
    #[inline]
    pub fn pop_front(&mut self, upto: LogIndex) -> Option<Slot> {
        let front = self.queue.front().filter(|slot| slot.index <= upto)?;
        match front.about {
            About::Key(hash) => {
                if self.newest.get(&hash.0) == Some(&front.index) {
                    self.newest.remove(&hash.0);
                }
            }
            About::All if self.flush == Some(front.index) => self.flush = None,
            About::All | About::Nothing => {}
        }
        self.queue.pop_front()
    }

    /// Takes back all entries after `last`, newest first.
    pub fn discard_after(&mut self, last: LogIndex, mut discard: impl FnMut(Slot)) {
        while let Some(slot) = self.queue.pop_back_if(|slot| slot.index > last) {
            let first = self.queue.front().map_or(slot.index, |s| s.index);
            if let About::Key(hash) = slot.about {
                if slot.previous >= first && slot.previous < slot.index {
                    self.newest.insert(hash.0, slot.previous);
                } else {
                    self.newest.remove(&hash.0);
                }
            }
            discard(slot);
        }
        self.flush = self.queue.iter().rev().find(|slot| slot.about == About::All).map(|slot| slot.index);
    }

    pub fn check_invariants(&self, last_index: LogIndex) {
        if let Some(last) = self.queue.back() {
            assert!(last.index == last_index, "the newest entry is the last prepared one");
        }
        assert!(self.newest.len() <= self.queue.len(), "a key points at no entry");
    }
}
