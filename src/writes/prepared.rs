//! Entries that are appended and not yet committed, found by key.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use crate::log::LogIndex;
use crate::store::{FlushMark, KeyHash, Reserved};
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
}

struct Slot {
    index: LogIndex,
    hash: Option<KeyHash>,
    /// The entry before this one under the same hash, if it was prepared then.
    previous: Option<LogIndex>,
    pending: Pending,
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

    pub fn push(&mut self, index: LogIndex, hash: Option<KeyHash>, pending: Pending) {
        if let Some(last) = self.queue.back() {
            assert!(index.0 == last.index.0 + 1, "prepared entries are consecutive");
        }
        if matches!(pending, Pending::Flush(..)) {
            self.flush = Some(index);
        }
        let previous = hash.and_then(|hash| self.newest.insert(hash.0, index));
        self.queue.push_back(Slot { index, hash, previous, pending });
    }

    /// What is prepared under `hash` and not hidden by a flush, newest first.
    pub fn of(&self, hash: KeyHash) -> impl Iterator<Item = &Pending> {
        let mut next = if self.queue.is_empty() { None } else { self.newest.get(&hash.0).copied() };
        std::iter::from_fn(move || {
            let index = next?;
            let first = self.queue.front()?.index;
            if index < first || self.flush.is_some_and(|flush| index < flush) {
                return None;
            }
            let slot = &self.queue[(index.0 - first.0) as usize];
            next = slot.previous;
            Some(&slot.pending)
        })
    }

    /// Hands out all entries up to `commit`, in order.
    pub fn commit(&mut self, commit: LogIndex, mut apply: impl FnMut(Pending, KeyHash)) {
        while self.queue.front().is_some_and(|slot| slot.index <= commit) {
            let slot = self.queue.pop_front().expect("it was there");
            if let Some(hash) = slot.hash
                && self.newest.get(&hash.0) == Some(&slot.index)
            {
                self.newest.remove(&hash.0);
            }
            if self.flush == Some(slot.index) {
                self.flush = None;
            }
            apply(slot.pending, slot.hash.unwrap_or(KeyHash(0)));
        }
    }

    /// Takes back all entries after `last`, newest first.
    pub fn discard_after(&mut self, last: LogIndex, mut discard: impl FnMut(Pending)) {
        while self.queue.back().is_some_and(|slot| slot.index > last) {
            let slot = self.queue.pop_back().expect("it was there");
            let first = self.queue.front().map_or(slot.index, |s| s.index);
            if let Some(hash) = slot.hash {
                match slot.previous.filter(|&previous| previous >= first && previous < slot.index) {
                    Some(previous) => self.newest.insert(hash.0, previous),
                    None => self.newest.remove(&hash.0),
                };
            }
            discard(slot.pending);
        }
        self.flush =
            self.queue.iter().rev().find(|slot| matches!(slot.pending, Pending::Flush(..))).map(|slot| slot.index);
    }

    pub fn check_invariants(&self, last_index: LogIndex) {
        if let Some(last) = self.queue.back() {
            assert!(last.index == last_index, "the newest entry is the last prepared one");
        }
        assert!(self.newest.len() <= self.queue.len(), "a key points at no entry");
    }
}
