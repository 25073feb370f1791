//! One client connection as data: what was received and not yet executed, what is to be sent, and why it waits.
//!
//! Owns the bytes of both directions and the order of the connection's commands. Never touches a socket and never
//! looks at the store: the shard executes, the shell sends.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::config;
use crate::stats::ConnRecord;
use crate::time::Time;
use crate::writes::Answer;

/// A slot in a thread's connection table; the shell and the shard use the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId(pub u32);

/// Why the next command of a connection must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// It need not.
    No,
    /// Its output is at its limit: the peer reads too slowly.
    Output,
    /// It is a read, or an answer of another kind, behind an unfinished write of this connection.
    Write,
    /// Too many entries are prepared; the write path will call again (R11).
    Prepared,
    /// It reads a key that has a prepared entry (R24).
    Lock,
    /// It reads, and this server may not for now: the cluster's machine was asked, or will be.
    Lease,
}

/// What the cluster's machine has said to reads that wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Nothing.
    None,
    /// Those it was asked for may be answered.
    Given,
    /// They may not.
    Refused,
}

/// A client connection.
pub struct Conn {
    /// Distinguishes this connection from earlier ones in the same slot.
    pub generation: u32,
    /// Received and not consumed: the rest of a command, or what waits while blocked.
    pub pending: Vec<u8>,
    /// No use in parsing before `pending` holds this many bytes.
    pub need: usize,
    /// Bytes of a refused data block still to be dropped.
    pub swallow: u64,
    /// Replies not yet handed to the shell.
    pub out: Vec<u8>,
    /// A send is in flight; invariant: at most one.
    pub sending: bool,
    /// Writes of this connection that were handed over and not yet answered.
    pub unfinished: u32,
    /// Operations of this connection are in the turn's batch: they come before anything that arrives now.
    pub batched: bool,
    /// Why execution stands still.
    pub blocked: Blocked,
    /// Close once everything is answered and sent; nothing more is executed.
    pub closing: bool,
    /// The client will send no more.
    pub ended: bool,
    /// What was said to the reads at the front of `pending`.
    pub grant: Grant,
    /// Bytes at the end of `pending` that came after that was asked for.
    pub unasked: usize,
    /// A get was refused in the middle of its keys: the others are passed over.
    pub refused: bool,
    /// Writes so far: the number of the next.
    pub asked: u32,
    /// The number of the write that is answered next.
    pub answered: u32,
    /// Answers that came before those of earlier writes: that of `answered` would be the first.
    pub early: VecDeque<Option<Answer>>,
    /// The shell was told to stop reading.
    pub paused: bool,
    /// Listed among the connections that have output this turn.
    pub listed: bool,
    /// What `stats conns` shows.
    pub record: Arc<ConnRecord>,
}

impl Conn {
    /// A fresh connection.
    #[must_use]
    pub fn new(generation: u32, record: Arc<ConnRecord>) -> Self {
        Self {
            generation,
            pending: Vec::new(),
            need: 0,
            swallow: 0,
            out: Vec::new(),
            sending: false,
            unfinished: 0,
            batched: false,
            blocked: Blocked::No,
            closing: false,
            ended: false,
            grant: Grant::None,
            unasked: 0,
            refused: false,
            asked: 0,
            answered: 0,
            early: VecDeque::new(),
            paused: false,
            listed: false,
            record,
        }
    }

    /// Stops execution and keeps `rest`, the input from the command that has to wait on, to be parsed again.
    /// `verb` is put before it when `rest` begins in the middle of a get's keys.
    pub fn block(&mut self, why: Blocked, verb: &[u8], rest: &[u8]) {
        assert!(self.blocked == Blocked::No, "blocked twice");
        let mut pending = Vec::with_capacity(verb.len() + rest.len());
        pending.extend_from_slice(verb);
        pending.extend_from_slice(rest);
        self.pending = pending;
        self.need = 0;
        self.blocked = why;
    }

    /// Whether the command at hand must wait, given that it is not a write.
    #[must_use]
    pub const fn wait_of_read(&self) -> Blocked {
        self.wait(1)
    }

    /// Whether the write at hand must wait. Writes pipeline, up to a bound.
    #[must_use]
    pub const fn wait_of_write(&self) -> Blocked {
        self.wait(config::UNFINISHED_WRITES_MAX)
    }

    /// Whether the write at hand, whose answer carries a value, must wait: answers are kept until their turn.
    #[must_use]
    pub const fn wait_of_get_and_touch(&self) -> Blocked {
        self.wait(config::UNFINISHED_VALUES_MAX)
    }

    const fn wait(&self, unfinished_max: u32) -> Blocked {
        if self.unfinished >= unfinished_max {
            Blocked::Write
        } else if self.out.len() >= config::OUTPUT_BYTES_MAX {
            Blocked::Output
        } else {
            Blocked::No
        }
    }

    /// Whether what it waited for has come.
    #[must_use]
    pub const fn may_resume(&self) -> bool {
        match self.blocked {
            Blocked::No => false,
            Blocked::Output => self.out.len() < config::OUTPUT_BYTES_MAX && !self.sending,
            Blocked::Write => self.unfinished == 0,
            Blocked::Prepared | Blocked::Lock => true,
            Blocked::Lease => !matches!(self.grant, Grant::None),
        }
    }

    /// A write of this connection was taken, and is answered later.
    pub const fn count_write(&mut self) {
        self.asked = self.asked.wrapping_add(1);
        self.unfinished += 1;
    }

    /// Takes the answer to a write, and gives those that may leave now, in the order of the writes.
    pub fn in_order(&mut self, answer: Answer, mut leave: impl FnMut(Answer)) {
        let ahead = answer.origin.number.wrapping_sub(self.answered) as usize;
        assert!(ahead < config::UNFINISHED_WRITES_MAX as usize, "an answer nobody waits for");
        if ahead == 0 && self.early.is_empty() {
            self.answered = self.answered.wrapping_add(1);
            return leave(answer);
        }
        if self.early.len() <= ahead {
            self.early.resize_with(ahead + 1, || None);
        }
        self.early[ahead] = Some(answer);
        while let Some(Some(_)) = self.early.front() {
            let answer = self.early.pop_front().flatten().expect("just looked");
            self.answered = self.answered.wrapping_add(1);
            leave(answer);
        }
    }

    /// Whether reading should stop: it is blocked, and enough waits already.
    #[must_use]
    pub const fn should_pause(&self) -> bool {
        !matches!(self.blocked, Blocked::No) && self.pending.len() >= config::BLOCKED_INPUT_BYTES_MAX
    }

    /// Whether it is to be closed as soon as it is drained.
    #[must_use]
    pub const fn is_leaving(&self) -> bool {
        self.closing || (self.ended && matches!(self.blocked, Blocked::No))
    }

    /// Whether it holds the beginning of a get line, the only line that may be as long without its end.
    #[must_use]
    pub fn is_in_long_line(&self) -> bool {
        self.pending.len() > config::LINE_BYTES_MAX
            && self.need == self.pending.len() + 1
            && matches!(self.pending[0], b'g' | b' ')
    }

    /// Whether everything that was asked for has been answered and sent.
    #[must_use]
    pub const fn drained(&self) -> bool {
        !self.sending && self.out.is_empty() && self.unfinished == 0
    }

    /// Drops what belongs to a refused data block from the front of `input`.
    #[must_use]
    pub fn skip<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let n = self.swallow.min(input.len() as u64);
        self.swallow -= n;
        &input[n as usize..]
    }

    /// Notes that the peer spoke.
    pub fn heard(&self, now: Time) {
        self.record.heard(now);
    }

    /// What must hold between turns.
    pub fn check_invariants(&self) {
        assert!(self.early.len() <= self.unfinished as usize, "answers to writes that were not asked for");
        assert!(self.swallow == 0 || self.pending.is_empty(), "kept input that is to be dropped");
        assert!(!self.batched, "left in a batch between turns");
        assert!(self.out.is_empty() || self.sending || self.listed, "output nobody will send");
    }
}
