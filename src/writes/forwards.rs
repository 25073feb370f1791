//! Writes that come through servers of the cluster (C1). At the server whose client asks: the write leaves as bytes, and its
//! answer is made when its entry is applied here, or comes from the leader when it made none. At the leader: it is evaluated,
//! and its entry carries the origin.

use super::{Answer, Origin, OwnedWrite, Write, Writes};
use crate::conn::ConnId;
use crate::log::{self, LogIndex};
use crate::proto::{Reply, parse_counter, reply};
use crate::stats::{Counters, Shared};
use crate::time::Time;

/// A write that a client of this server waits for; it keeps the key and no value.
pub(super) struct Asked {
    write: OwnedWrite,
}

/// What a leader's write path did with a write of its own client.
#[derive(Debug, PartialEq, Eq)]
pub enum Placed {
    /// It made an entry: the answer comes with its commit.
    Prepared,
    /// It changes nothing, so its answer is a read, which needs the lease and what it rests on committed: hand the write in with
    /// `forward`, whose way takes care of both.
    Unchanged,
    /// It is about this server alone; this is the answer.
    Answered(Reply),
}

/// Asks for a write that came through another server: the server knows who.
const NOBODY: Origin = Origin { shard: 0, conn: ConnId(u32::MAX), generation: 0, noreply: true, bytes: 0, number: 0 };

/// Answers what no correct server sends, so that its client does not wait for ever.
const NOT_UNDERSTOOD: &str = "SERVER_ERROR the leader does not understand this write";

impl Writes {
    /// At a leader: takes a write of its own client.
    pub fn place(
        &mut self,
        now: Time,
        write: &Write<'_>,
        origin: Origin,
        shared: &Shared,
        counters: &mut Counters,
    ) -> Placed {
        if let Write::MemoryLimit { megabytes } = *write {
            return Placed::Answered(self.memory_limit(megabytes, shared));
        }
        let log = self.log.as_ref().expect("only a leader's write path is asked");
        let now = log.at_least(now);
        if !self.may_prepare(write) {
            return Placed::Unchanged;
        }
        // it is evaluated again when it changes nothing, and counted then
        let mut trial = Counters::default();
        let before = self.last_index;
        let reply = self.submit(now, write, origin, shared, &mut trial);
        if self.last_index == before {
            if reply.is_none() {
                self.waiting.pop_back();
            }
            return Placed::Unchanged;
        }
        counters.merge(&trial);
        Placed::Prepared
    }

    /// A write of a client of this server goes to the leader: its bytes, for `ForwardAsked`. It gets a number with
    /// `forward_taken`, at once.
    pub fn forward(&mut self, write: &Write<'_>, origin: Origin) -> Vec<u8> {
        let mut request = Vec::with_capacity(write.bytes() as usize);
        write.encode(&mut request);
        let mut write = *write;
        if let Write::Store { value, .. } = &mut write {
            *value = &[];
        }
        self.replica().asked.push_back(Asked { write: OwnedWrite::new(origin, &write) });
        request
    }

    /// The oldest write without a number has this one.
    pub fn forward_taken(&mut self, number: u64) {
        let replica = self.replica();
        let asked = replica.asked.pop_front().expect("a write was asked for");
        let before = replica.forwarded.insert(number, asked);
        assert!(before.is_none(), "a number is given once");
    }

    /// The machine took no write: whose it was.
    pub fn forward_refused(&mut self) -> Option<Origin> {
        self.replica().asked.pop_front().map(|asked| asked.write.origin)
    }

    /// The leader says that the write of this number changed nothing.
    pub fn forward_answered(&mut self, number: u64, reply: Vec<u8>, answers: &mut Vec<Answer>) {
        if let Some(asked) = self.replica().forwarded.remove(&number) {
            answers.push(Answer { origin: asked.write.origin, reply: Reply::Bytes(reply) });
        }
    }

    /// Nobody knows what became of the write of this number: whose it was.
    pub fn forward_unknown(&mut self, number: u64) -> Option<Origin> {
        self.replica().forwarded.remove(&number).map(|asked| asked.write.origin)
    }

    /// Everybody who waits for an answer.
    pub fn clients(&self) -> impl Iterator<Item = Origin> {
        let asked = self.replica.iter().flat_map(|replica| replica.forwarded.values().chain(&replica.asked));
        self.waiting.iter().map(|waiting| waiting.origin).chain(asked.map(|asked| asked.write.origin))
    }

    /// At the leader: evaluates a write that came through a server. The answer, when it makes no entry; nothing also when the
    /// write has to wait, and is evaluated by `evaluate_held`.
    pub fn evaluate_forwarded(
        &mut self,
        now: Time,
        origin: log::Origin,
        request: Vec<u8>,
        shared: &Shared,
        counters: &mut Counters,
    ) -> Option<Vec<u8>> {
        let may = Write::decode(&request).map_or(true, |write| self.may_prepare(&write));
        if !may || !self.replica().held.is_empty() {
            self.replica().held.push_back((origin, request));
            return None;
        }
        self.evaluate_at_once(now, origin, &request, shared, counters)
    }

    /// Evaluates what had to wait, as far as it need not wait any more: once a turn. Answers without an entry are told.
    pub fn evaluate_held(
        &mut self,
        now: Time,
        shared: &Shared,
        counters: &mut Counters,
        mut answered: impl FnMut(log::Origin, Vec<u8>),
    ) {
        while let Some((_, request)) = self.replica.as_ref().and_then(|replica| replica.held.front()) {
            if Write::decode(request).is_ok_and(|write| !self.may_prepare(&write)) {
                return;
            }
            let (origin, request) = self.replica().held.pop_front().expect("it was there");
            if let Some(reply) = self.evaluate_at_once(now, origin, &request, shared, counters) {
                answered(origin, reply);
            }
        }
    }

    fn evaluate_at_once(
        &mut self,
        now: Time,
        origin: log::Origin,
        request: &[u8],
        shared: &Shared,
        counters: &mut Counters,
    ) -> Option<Vec<u8>> {
        let before = self.last_index;
        let log = self.log.as_mut().expect("only a leader's write path is asked");
        let now = log.at_least(now);
        log.origin = Some(origin);
        let reply = match Write::decode(request) {
            Ok(write) if !write.is_local() => self.submit(now, &write, NOBODY, shared, counters),
            Ok(_) | Err(_) => Some(Reply::Line(NOT_UNDERSTOOD)),
        };
        // the answer goes another way than that of a client of the leader
        let reply = reply.or_else(|| self.waiting.pop_back().map(|waiting| waiting.reply));
        self.log.as_mut().expect("it was there").origin = None;
        if self.last_index == before {
            let mut text = Vec::new();
            reply.expect("every write is answered").encode(&mut text);
            return Some(text);
        }
        let index = self.last_index;
        let replica = self.replica();
        if (origin.node, origin.incarnation) == (replica.node, replica.incarnation) {
            replica.own.push_back((index, origin.number));
        }
        None
    }

    /// Whether the write may be prepared before everything that others made is applied. Items that others made get their
    /// memory when they are applied, and a flush tells old from new by when memory was taken.
    fn may_prepare(&self, write: &Write<'_>) -> bool {
        match write {
            Write::FlushAll { .. } => self.others_are_applied(),
            _ => self.others_flushes_are_applied(),
        }
    }

    /// An entry is applied: if a client of this server asked for it, here is its answer.
    pub(super) fn answer_own(&mut self, index: LogIndex, answers: &mut Vec<Answer>) {
        let Some(replica) = &mut self.replica else { return };
        let Some((_, number)) = replica.own.pop_front_if(|(of, _)| *of == index) else { return };
        if let Some(asked) = replica.forwarded.remove(&number) {
            let reply = self.reply_to(&asked.write.as_write());
            answers.push(Answer { origin: asked.write.origin, reply });
        }
    }

    /// What a write is answered whose entry was applied just now, and nothing behind it.
    fn reply_to(&self, write: &Write<'_>) -> Reply {
        let key = write.key();
        let item = || self.store.peek(self.store.hash(key), key);
        match *write {
            Write::Store { .. } => Reply::Stored,
            Write::TooLarge { .. } => Reply::Line(reply::TOO_LARGE),
            Write::Delete { .. } => Reply::Deleted,
            Write::Arithmetic { .. } => {
                let number = item().and_then(|item| parse_counter(item.value));
                Reply::Number(number.expect("its entry wrote a number"))
            }
            Write::Touch { .. } => Reply::Touched,
            Write::GetAndTouch { with_cas, last, .. } => {
                let (item, mut text) = (item().expect("its entry touched the item"), Vec::new());
                let cas = with_cas.then_some(if self.cas_enabled { item.cas } else { 0 });
                reply::value(&mut text, item.key, item.flags, item.value, cas);
                if last {
                    reply::end(&mut text);
                }
                Reply::Bytes(text)
            }
            Write::FlushAll { .. } => Reply::Ok,
            Write::MemoryLimit { .. } => unreachable!("it is never sent on"),
        }
    }
}
