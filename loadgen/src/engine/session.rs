//! One connection as data: what it has sent, in order, and what each answer means for the request it belongs to. Knows no
//! socket and no clock.

use std::collections::VecDeque;

use ringstore::proto::{Answer, MetaCode};

use super::freshness::{Freshness, Write};
use super::tally::Tally;
use crate::workload::keys::{Keys, Kind};
use crate::workload::mix::Operation;
use crate::workload::proof::Origin;

/// A request that was sent and not answered in full.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// What it asks for.
    pub operation: Operation,
    /// When it was due, in nanoseconds since the load began.
    pub due: u64,
    /// When it was sent.
    pub sent: u64,
    /// With what it writes, if it does.
    pub write: Option<Write>,
    /// A cas whose gets has been answered.
    pub swaps: bool,
}

/// A key that a request names.
#[derive(Clone, Copy, Debug)]
struct Asked {
    key: u32,
    /// The oldest version of this thread's that may come back.
    floor: u64,
}

/// What an answer did to the request at the front.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// More is to come.
    Open,
    /// It was the last one to this request.
    Finished(Request),
    /// A gets found this cas id; the cas is to follow.
    Found {
        /// The request, whose time goes on.
        request: Request,
        /// The number of the key.
        key: u32,
        /// What the cas compares with.
        unique: u64,
    },
}

/// How answers are judged, and by whom.
pub struct Judge<'a> {
    /// Where they are counted.
    pub tally: &'a mut Tally,
    /// What is known of the order of writes.
    pub freshness: &'a mut Freshness,
    /// Who this thread is in values.
    pub writer: u32,
    /// Whether values are checked.
    pub verify: bool,
}

/// One connection.
#[derive(Default)]
pub struct Session {
    /// Bytes to send.
    pub output: Vec<u8>,
    /// Whether there is a connection.
    pub connected: bool,
    requests: VecDeque<Request>,
    keys: VecDeque<Asked>,
    /// The cas id that the front's gets has found.
    found: Option<u64>,
    /// Keys of the front's that were passed.
    passed: u16,
}

impl Session {
    /// Requests sent and not answered.
    #[inline]
    pub fn in_flight(&self) -> usize {
        self.requests.len()
    }

    /// When the oldest of them was sent.
    pub fn oldest_sent(&self) -> Option<u64> {
        self.requests.front().map(|request| request.sent)
    }

    /// Takes note of a request whose bytes are in the output and of its keys, each with the oldest version that may
    /// come back.
    #[inline]
    pub fn push(&mut self, request: Request, keys: impl IntoIterator<Item = (u32, u64)>) {
        self.requests.push_back(request);
        self.keys.extend(keys.into_iter().map(|(key, floor)| Asked { key, floor }));
    }

    /// The connection has ended: what was in flight, oldest first.
    pub fn end(&mut self) -> Vec<Request> {
        self.connected = false;
        self.output.clear();
        self.keys.clear();
        self.passed = 0;
        self.found = None;
        self.requests.drain(..).collect()
    }

    /// Takes an answer. Nothing when no request is waiting for one.
    #[inline]
    pub fn answer(&mut self, answer: &Answer<&[u8]>, judge: &mut Judge<'_>) -> Option<Outcome> {
        let request = *self.requests.front()?;
        match (request.operation, answer) {
            (_, Answer::Refused(..)) => judge.tally.errors += 1,
            (Operation::Get | Operation::MultiGet(_), Answer::Value { key, data, .. }) => {
                self.value(request, Keys::id(Kind::Value, key), data, judge);
                return Some(Outcome::Open);
            }
            (Operation::Get | Operation::MultiGet(_), Answer::End) => {
                judge.tally.misses += u64::from(request.operation.keys() - self.passed);
            }
            (Operation::Set | Operation::SetCounter, Answer::Stored) => {
                judge.tally.stored += 1;
                self.acknowledged(request, judge);
            }
            (Operation::Cas, _) if !request.swaps => return Some(self.gets(request, answer, judge)),
            _ => self.other(request, answer, judge),
        }
        Some(Outcome::Finished(self.finish()))
    }

    /// An answer to the first half of a cas.
    fn gets(&mut self, request: Request, answer: &Answer<&[u8]>, judge: &mut Judge<'_>) -> Outcome {
        match answer {
            Answer::Value { key, data, cas: Some(unique), .. } => {
                self.value(request, Keys::id(Kind::Value, key), data, judge);
                self.found = Some(*unique);
                return Outcome::Open;
            }
            Answer::End => {
                if let Some(unique) = self.found.take() {
                    let key = self.front_key();
                    return Outcome::Found { request: self.finish(), key, unique };
                }
                judge.tally.misses += 1;
            }
            _ => judge.tally.mismatches += 1,
        }
        Outcome::Finished(self.finish())
    }

    fn other(&self, request: Request, answer: &Answer<&[u8]>, judge: &mut Judge<'_>) {
        use MetaCode::{Done, Exists, Miss, NotFound, NotStored, Value};
        let code = if let Answer::Meta { code, .. } = answer { Some(*code) } else { None };
        match (request.operation, answer, code) {
            (Operation::Delete, Answer::Deleted, _) | (Operation::MetaDelete, _, Some(Done)) => {
                judge.tally.hits += 1;
                self.acknowledged(request, judge);
            }
            (Operation::Delete, Answer::NotFound, _) | (Operation::MetaDelete, _, Some(NotFound)) => {
                judge.tally.misses += 1;
                self.acknowledged(request, judge);
            }
            (Operation::MetaSet, _, Some(Done)) | (Operation::Cas, Answer::Stored, _) => {
                judge.tally.stored += 1;
                self.acknowledged(request, judge);
            }
            (Operation::Cas, Answer::Exists, _)
            | (Operation::Set | Operation::SetCounter, Answer::NotStored, _)
            | (Operation::MetaSet, _, Some(NotStored | Exists)) => {
                judge.tally.not_stored += 1;
                judge.freshness.refused(self.front_key());
            }
            (Operation::Cas, Answer::NotFound, _) => {
                judge.tally.misses += 1;
                judge.freshness.refused(self.front_key());
            }
            (Operation::Touch, Answer::Touched, _)
            | (Operation::Incr, Answer::Number(_), _)
            | (Operation::MetaIncr, _, Some(Value)) => judge.tally.hits += 1,
            (Operation::Touch | Operation::Incr, Answer::NotFound, _)
            | (Operation::MetaIncr, _, Some(NotFound))
            | (Operation::MetaGet, _, Some(Miss)) => judge.tally.misses += 1,
            (Operation::MetaGet, Answer::Meta { data: Some(data), .. }, _) => {
                let asked = *self.keys.front().expect("a request has a key");
                judge.value(asked, data);
            }
            _ => judge.tally.mismatches += 1,
        }
    }

    /// A value that came for the request at the front: of one of its keys, behind those that came before.
    #[inline]
    fn value(&mut self, request: Request, id: Option<u32>, data: &[u8], judge: &mut Judge<'_>) {
        let asked = self.keys.range(usize::from(self.passed)..usize::from(request.operation.keys()));
        match asked.enumerate().find(|(_, asked)| Some(asked.key) == id).map(|(skipped, asked)| (skipped, *asked)) {
            Some((skipped, asked)) => {
                judge.tally.misses += skipped as u64;
                self.passed += skipped as u16 + 1;
                judge.value(asked, data);
            }
            None => judge.tally.mismatches += 1,
        }
    }

    fn acknowledged(&self, request: Request, judge: &mut Judge<'_>) {
        if let Some(write) = request.write {
            judge.freshness.acknowledged(self.front_key(), write);
        }
    }

    fn front_key(&self) -> u32 {
        self.keys.front().expect("a request has a key").key
    }

    fn finish(&mut self) -> Request {
        let request = self.requests.pop_front().expect("an answer belongs to a request");
        self.keys.drain(..usize::from(request.operation.keys()));
        self.passed = 0;
        self.found = None;
        request
    }
}

impl Judge<'_> {
    /// Counts a value that came for a key that was asked for.
    #[inline]
    fn value(&mut self, asked: Asked, data: &[u8]) {
        if !self.verify {
            self.tally.hits += 1;
            return;
        }
        match Origin::of(data) {
            Some(origin) if origin.key == asked.key => {
                self.tally.hits += 1;
                if origin.writer == self.writer && origin.version < asked.floor {
                    self.tally.stale += 1;
                }
            }
            _ => self.tally.mismatches += 1,
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
