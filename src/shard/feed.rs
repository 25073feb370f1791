//! From bytes to operations: parses what a connection sent and gathers the turn's commands into one batch.

use memchr::memchr;

use super::{Shard, Write};
use crate::config;
use crate::conn::{Blocked, ConnId};
use crate::proto::{self, Command, Get, Parsed, Store};
use crate::stats::Counter;
use crate::store::KeyHash;
use crate::time::Time;

/// What one command, or one key of a get, asks for.
pub(super) enum Ask<'a> {
    /// One key of a get; `last` closes the answer.
    Lookup { key: &'a [u8], with_cas: bool, last: bool },
    /// A command that changes data.
    Write { write: Write<'a>, noreply: bool },
    /// Everything else.
    Admin(Command<'a>),
    /// A line the parser refused.
    Refuse { reply: Option<&'static str>, swallow: u64 },
    /// The end of the connection, with no answer.
    Close,
}

/// An operation on its way through a batch.
pub(super) struct Op<'a> {
    pub(super) conn: ConnId,
    pub(super) hash: KeyHash,
    pub(super) ask: Ask<'a>,
    /// The input from this operation on, for when it must wait.
    pub(super) rest: &'a [u8],
    /// What to put before `rest` when it begins in the middle of a command's keys.
    pub(super) verb: Verb,
}

/// The beginning of a command whose keys were partly executed.
#[derive(Clone, Copy)]
pub(super) enum Verb {
    /// `rest` begins with a command.
    Whole,
    Get,
    Gets,
    Gat(i32),
    Gats(i32),
}

impl Verb {
    pub(super) fn text(self) -> Vec<u8> {
        match self {
            Self::Whole => Vec::new(),
            Self::Get => b"get ".to_vec(),
            Self::Gets => b"gets ".to_vec(),
            Self::Gat(exptime) => format!("gat {exptime} ").into_bytes(),
            Self::Gats(exptime) => format!("gats {exptime} ").into_bytes(),
        }
    }
}

/// Operations in the order in which they will be executed.
pub(super) type Batch<'a> = Vec<Op<'a>>;

/// The memory of a batch for another one, whose operations live for another time.
pub(super) fn emptied<'b>(mut batch: Batch<'_>) -> Batch<'b> {
    batch.clear();
    batch.into_iter().map(|_| unreachable!("it is empty")).collect()
}

impl Shard {
    /// Takes what a client sent. Commands that are whole go into the batch straight from the receive buffer; the rest
    /// of the input is kept.
    pub(super) fn on_received<'a>(&mut self, now: Time, id: ConnId, bytes: &'a [u8], batch: &mut Batch<'a>) {
        self.counters.add(Counter::BytesRead, bytes.len() as u64);
        let Some(conn) = self.conns.get_mut(id.0 as usize).and_then(Option::as_mut) else { return };
        conn.heard(now);
        if conn.closing {
            return;
        }
        if conn.batched {
            // what came before in this turn may block or end the connection, or tell how much of this is to be dropped
            self.execute(now, batch);
        }
        let Some(conn) = self.conns[id.0 as usize].as_mut() else { return };
        if conn.closing {
            return;
        }
        let bytes = conn.skip(bytes);
        if conn.pending.is_empty() && conn.blocked == Blocked::No {
            let consumed = self.feed(now, id, bytes, batch);
            self.keep(id, &bytes[consumed..]);
            return;
        }
        if conn.need > conn.pending.len() + bytes.len() {
            let room = conn.need.min(config::INPUT_RESERVE_BYTES_MAX).saturating_sub(conn.pending.len());
            conn.pending.reserve(room.max(bytes.len()));
        }
        let length = conn.pending.len() + bytes.len();
        if conn.is_in_long_line() && length <= config::GET_LINE_BYTES_MAX && memchr(b'\n', bytes).is_none() {
            // megabytes may come byte by byte: only what is new is searched for the line's end
            conn.need = length + 1;
        }
        conn.pending.extend_from_slice(bytes);
        if conn.blocked == Blocked::Lease {
            conn.unasked += bytes.len();
        }
        if conn.blocked == Blocked::No && conn.pending.len() >= conn.need {
            self.feed_pending(now, id);
        } else if conn.should_pause() {
            self.list(id);
        }
    }

    /// Executes what a connection holds, as far as it goes.
    fn feed_pending(&mut self, now: Time, id: ConnId) {
        let Some(conn) = self.conns[id.0 as usize].as_mut() else { return };
        let mut source = std::mem::take(&mut conn.pending);
        conn.need = 0;
        let mut batch = Batch::new();
        let consumed = self.feed(now, id, &source, &mut batch);
        if consumed == 0 && self.goes_on(id) {
            // a part of a command and nothing else: it stays where it is, as its bytes may come one by one
            let conn = self.conns[id.0 as usize].as_mut().expect("it goes on");
            conn.pending = source;
            return;
        }
        // kept before the execution, which replaces it by more when it has to stop
        self.keep(id, &source[consumed..]);
        self.execute(now, &mut batch);
        drop(batch);
        let Some(conn) = self.conns[id.0 as usize].as_mut() else { return };
        if conn.pending.is_empty() && source.capacity() <= config::IDLE_INPUT_BYTES_MAX {
            source.clear();
            conn.pending = source;
        } else {
            self.inputs.give(source);
        }
    }

    /// Keeps input that is not a whole command yet.
    fn keep(&mut self, id: ConnId, tail: &[u8]) {
        if tail.is_empty() {
            return;
        }
        if let Some(conn) = self.conns[id.0 as usize].as_mut()
            && conn.blocked == Blocked::No
            && !conn.closing
        {
            let room = conn.need.clamp(tail.len(), config::INPUT_RESERVE_BYTES_MAX.max(tail.len()));
            if conn.pending.capacity() < room && room > config::IDLE_INPUT_BYTES_MAX {
                let small = std::mem::replace(&mut conn.pending, self.inputs.take());
                self.inputs.give(small);
            }
            conn.pending.reserve_exact(room);
            conn.pending.extend_from_slice(tail);
        }
    }

    /// Parses commands off `input` into the batch; how many bytes they took.
    fn feed<'a>(&mut self, now: Time, id: ConnId, input: &'a [u8], batch: &mut Batch<'a>) -> usize {
        let mut at = 0;
        while at < input.len() {
            let rest = &input[at..];
            match proto::parse(rest, &self.limits) {
                Parsed::Command { command: Command::StoreTooLarge { verb, key, noreply, swallow }, consumed } => {
                    self.push_write(now, id, Write::TooLarge { verb, key }, noreply, rest, batch);
                    let here = ((rest.len() - consumed) as u64).min(swallow);
                    at += consumed + here as usize;
                    self.push(now, id, Ask::Refuse { reply: None, swallow: swallow - here }, rest, batch);
                }
                Parsed::Command { command, consumed } => {
                    at += consumed;
                    self.ask(now, id, command, rest, batch);
                }
                Parsed::Need { total } => {
                    if let Some(conn) = self.conns[id.0 as usize].as_mut() {
                        conn.need = total;
                    }
                    return at;
                }
                Parsed::Invalid { reply, consumed, swallow } => {
                    let here = ((rest.len() - consumed) as u64).min(swallow);
                    at += consumed + here as usize;
                    self.push(now, id, Ask::Refuse { reply, swallow: swallow - here }, rest, batch);
                }
                Parsed::Close { reason } => {
                    let _ = reason;
                    self.push(now, id, Ask::Close, rest, batch);
                    return input.len();
                }
            }
            if batch.is_empty() && !self.goes_on(id) {
                // the batch was full and was executed: a command had to wait and has kept its input, or was the last
                return input.len();
            }
        }
        at
    }

    /// Whether a connection's next command would be executed.
    fn goes_on(&self, id: ConnId) -> bool {
        self.conns[id.0 as usize].as_ref().is_some_and(|conn| conn.blocked == Blocked::No && !conn.closing)
    }

    fn push<'a>(&mut self, now: Time, conn: ConnId, ask: Ask<'a>, rest: &'a [u8], batch: &mut Batch<'a>) {
        self.push_op(now, Op { conn, hash: KeyHash(0), ask, rest, verb: Verb::Whole }, batch);
    }

    fn push_op<'a>(&mut self, now: Time, op: Op<'a>, batch: &mut Batch<'a>) {
        if let Some(conn) = self.conns[op.conn.0 as usize].as_mut() {
            conn.batched = true;
        }
        batch.push(op);
        if batch.len() >= config::BATCH_COMMANDS_MAX {
            self.execute(now, batch);
        }
    }

    fn push_write<'a>(
        &mut self,
        now: Time,
        id: ConnId,
        write: Write<'a>,
        noreply: bool,
        rest: &'a [u8],
        batch: &mut Batch<'a>,
    ) {
        let hash = self.reader.hash(write.key());
        self.reader.prefetch(hash);
        self.push_op(now, Op { conn: id, hash, ask: Ask::Write { write, noreply }, rest, verb: Verb::Whole }, batch);
    }

    /// Turns a command into operations.
    fn ask<'a>(&mut self, now: Time, id: ConnId, command: Command<'a>, rest: &'a [u8], batch: &mut Batch<'a>) {
        let (write, noreply) = match command {
            Command::Get(get) => return self.ask_get(now, id, &get, rest, batch),
            Command::Store(Store { verb, key, flags, exptime, cas, value, noreply }) => {
                (Write::Store { verb, key, flags, exptime, cas, value }, noreply)
            }
            Command::Delete { key, noreply } => (Write::Delete { key }, noreply),
            Command::Arithmetic { direction, key, delta, noreply } => {
                (Write::Arithmetic { direction, key, delta }, noreply)
            }
            Command::Touch { key, exptime, noreply } => (Write::Touch { key, exptime }, noreply),
            Command::FlushAll { delay, noreply } if self.shared.config.flush_command => {
                (Write::FlushAll { delay }, noreply)
            }
            Command::CacheMemlimit { megabytes, noreply } => (Write::MemoryLimit { megabytes }, noreply),
            other => return self.push(now, id, Ask::Admin(other), rest, batch),
        };
        self.push_write(now, id, write, noreply, rest, batch);
    }

    fn ask_get<'a>(&mut self, now: Time, id: ConnId, get: &Get<'a>, rest: &'a [u8], batch: &mut Batch<'a>) {
        let with_cas = get.with_cas;
        let mut verb = Verb::Whole;
        let mut rest = rest;
        let mut keys = get.keys;
        let mut next = keys.next();
        while let Some(key) = next {
            next = keys.next();
            let last = next.is_none();
            let hash = self.reader.hash(key);
            self.reader.prefetch(hash);
            let ask = match get.touch {
                None => Ask::Lookup { key, with_cas, last },
                Some(exptime) => {
                    Ask::Write { write: Write::GetAndTouch { key, exptime, with_cas, last }, noreply: false }
                }
            };
            self.push_op(now, Op { conn: id, hash, ask, rest, verb }, batch);
            if batch.is_empty() && !self.goes_on(id) {
                // the batch was executed as far as it went, and the rest of the line is kept
                return;
            }
            if let Some(following) = next {
                verb = match (get.touch, with_cas) {
                    (None, false) => Verb::Get,
                    (None, true) => Verb::Gets,
                    (Some(exptime), false) => Verb::Gat(exptime),
                    (Some(exptime), true) => Verb::Gats(exptime),
                };
                rest = &rest[following.as_ptr() as usize - rest.as_ptr() as usize..];
            }
        }
    }

    /// Goes on with connections whose reason to wait is gone.
    pub(super) fn resume(&mut self, now: Time) {
        while let Some(id) = self.resumable.pop() {
            let Some(conn) = self.conns[id.0 as usize].as_mut() else { continue };
            if !conn.may_resume() {
                continue;
            }
            conn.blocked = Blocked::No;
            self.feed_pending(now, id);
            self.end_grant(id);
            self.list(id);
        }
    }
}
