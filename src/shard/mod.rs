//! One ring thread's whole state: its connections, its view of the store and, on thread 0, the write path.
//!
//! ```text
//! Received --parse--> Op --prefetch--+
//! Received --parse--> Op --prefetch--+--> batch --execute in order--> out buffers --Send-->
//! Received --parse--> Op --prefetch--+         \--write--> Writes (thread 0) or Forward
//! ```
//!
//! `step` takes what the turn brought and says what to do; it touches no socket, no file, no clock.

mod admin;
mod cluster;
mod execute;
mod feed;
mod pool;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cluster::Input as Happened;
use crate::config;
use crate::conn::{Blocked, Conn, ConnId};
use crate::log::Position;
use crate::node::Node;
use crate::proto::ParseLimits;
use crate::stats::{ConnRecord, Counter, Counters, Shared};
use crate::store::Reader;
use crate::time::{NANOS, Time};
use crate::writes::{Answer, Frame, Origin, OwnedWrite, Write, Writes};

pub use self::cluster::{ClusterEffects, Path, thread_of};

use self::cluster::Reads;
use self::feed::Batch;
use self::pool::Pool;

/// Something that has happened.
#[allow(missing_docs, reason = "the variants tell of their fields")]
pub enum Input<'a> {
    /// A client connected in this slot.
    Accepted { conn: ConnId, record: Arc<ConnRecord> },
    /// Bytes of a client; they stay where they are for the whole step.
    Received { conn: ConnId, bytes: &'a [u8] },
    /// All of a buffer has been sent; the buffer comes back.
    Sent { conn: ConnId, buffer: Vec<u8> },
    /// The client sends no more; what it asked for is still answered.
    Ended { conn: ConnId },
    /// The connection is broken: nothing can be sent any more.
    Failed { conn: ConnId },
    /// Frames that end at or below this are as durable as was asked for.
    Persisted { upto: Position },
    /// Frames that end at or below this are on the disk for certain.
    Synced { upto: Position },
    /// The disk is full; nothing beyond this was written.
    Refused { written: Position },
    /// A frame's buffer, to be used again.
    FrameWritten { buffer: Vec<u8> },
    /// A write from another thread (thread 0 only).
    Forwarded { write: OwnedWrite },
    /// The answer to a write of ours, from thread 0.
    Answered { answer: Answer },
    /// Nobody knows what became of a write of ours, from thread 0: its connection is to be closed (C2).
    Unknown { origin: Origin },
    /// Keys were unlocked, from thread 0: reads that wait for them may go on.
    Unlocked,
    /// Another thread asks whether it may read (thread 0 only).
    ReadsAsked { ticket: u64 },
    /// The answer, from thread 0.
    ReadsAnswered { allowed: bool },
    /// Time has passed; comes at least once a second.
    Ticked,
    /// The server stops: what was received is executed and answered, then connections close.
    Stopping,
}

/// What the shell is to do.
#[derive(Default)]
pub struct Effects {
    /// Append these frames, in order.
    pub frames: Vec<Frame>,
    /// Send these buffers; each comes back with `Sent`.
    pub sends: Vec<(ConnId, Vec<u8>)>,
    /// Close these connections once what was sent has left; they are forgotten here already.
    pub closes: Vec<ConnId>,
    /// Stop reading from these.
    pub pauses: Vec<ConnId>,
    /// Read from these again.
    pub resumes: Vec<ConnId>,
    /// Hand these to thread 0.
    pub forwards: Vec<OwnedWrite>,
    /// Hand these to the threads that asked.
    pub answers: Vec<Answer>,
    /// Of a server in a cluster.
    pub cluster: ClusterEffects,
    /// A client asked the server to stop.
    pub shutdown: bool,
    /// There is more to do at once: step again without waiting.
    pub again: bool,
}

/// One ring thread's state.
pub struct Shard {
    id: u16,
    reader: Reader,
    conns: Vec<Option<Conn>>,
    path: Path,
    /// Of a server in a cluster.
    reads: Option<Reads>,
    shared: Arc<Shared>,
    counters: Counters,
    limits: ParseLimits,
    /// Output buffers without content.
    pool: Pool,
    /// Input buffers without content, for values that come in pieces.
    inputs: Pool,
    /// Connections that have output.
    listed: Vec<ConnId>,
    /// Connections that may go on with input they hold.
    resumable: Vec<ConnId>,
    /// Connections that wait for the write path to have room.
    starved: Vec<ConnId>,
    /// Writes of other threads that wait as those do.
    held: VecDeque<OwnedWrite>,
    /// Connections that are to be closed at once.
    broken: Vec<ConnId>,
    next_generation: u32,
    /// `stats detail` is on.
    detailed: bool,
    /// Since when the server stops.
    stopping: Option<Time>,
    /// No member any more.
    released: bool,
    last_tick: Time,
    answers: Vec<Answer>,
    /// Writes of this turn for thread 0.
    forwards: Vec<OwnedWrite>,
    /// Bytes of writes that thread 0 has not answered yet.
    forwarded_bytes: usize,
    shutdown: bool,
    /// The batch's memory from turn to turn.
    spare: Batch<'static>,
}

impl Shard {
    /// A thread's state.
    #[must_use]
    pub fn new(id: u16, reader: Reader, path: Path, shared: Arc<Shared>) -> Self {
        assert!((id == 0) == !matches!(path, Path::Thread0), "thread 0 and no other writes");
        if let Some(writes) = path.writes() {
            writes.publish(&shared);
        }
        let limits = ParseLimits { item_bytes_max: shared.config.item_bytes_max };
        Self {
            id,
            reader,
            conns: Vec::new(),
            path,
            reads: None,
            counters: Counters::default(),
            limits,
            pool: Pool::default(),
            inputs: Pool::default(),
            listed: Vec::new(),
            resumable: Vec::new(),
            starved: Vec::new(),
            held: VecDeque::new(),
            broken: Vec::new(),
            next_generation: 0,
            detailed: false,
            stopping: None,
            released: false,
            last_tick: shared.started,
            answers: Vec::new(),
            forwards: Vec::new(),
            forwarded_bytes: 0,
            shutdown: false,
            spare: Batch::new(),
            shared,
        }
    }

    /// One turn: everything it brought is parsed, looked up and executed together; then the store is kept in order.
    pub fn step<'a>(&mut self, now: Time, inputs: impl Iterator<Item = Input<'a>>, effects: &mut Effects) {
        self.take(now, inputs, effects);
        match &mut self.path {
            Path::Alone(writes) => writes.maintain(now),
            Path::Node(_) => self.on_node(now, effects, Node::keep_house),
            Path::Thread0 => {}
        }
        self.end_turn(now, effects);
    }

    /// The rest of a turn, after its frames were appended. Housekeeping is not done again: what it finds makes frames
    /// too, and so a turn would not end before nothing is found any more.
    pub fn step_on<'a>(&mut self, now: Time, inputs: impl Iterator<Item = Input<'a>>, effects: &mut Effects) {
        self.take(now, inputs, effects);
        self.end_turn(now, effects);
    }

    fn take<'a>(&mut self, now: Time, inputs: impl Iterator<Item = Input<'a>>, effects: &mut Effects) {
        self.detailed = self.shared.detail.is_on();
        let mut batch = feed::emptied(std::mem::take(&mut self.spare));
        for input in inputs {
            match input {
                Input::Received { conn, bytes } => self.on_received(now, conn, bytes, &mut batch),
                Input::Sent { conn, buffer } => self.on_sent(conn, buffer),
                other => {
                    self.execute(now, &mut batch);
                    self.on_rare(now, other, effects);
                }
            }
        }
        self.execute(now, &mut batch);
        self.spare = feed::emptied(batch);
        self.resume(now);
    }

    fn on_rare(&mut self, now: Time, input: Input<'_>, effects: &mut Effects) {
        match input {
            Input::Accepted { conn, record } => self.on_accepted(conn, record),
            Input::Ended { conn } => self.on_ended(conn),
            Input::Failed { conn } => self.on_failed(conn, effects),
            Input::Persisted { upto } => {
                self.on_writes(|writes, answers, _| writes.on_persisted(upto, answers), effects);
            }
            Input::Synced { upto } => self.on_writes(|writes, _, _| writes.on_synced(upto), effects),
            Input::Refused { written } => {
                self.on_writes(|writes, answers, shared| writes.on_refused(written, shared, answers), effects);
            }
            Input::FrameWritten { buffer } => self.on_writes(|writes, _, _| writes.reuse(buffer), effects),
            Input::Forwarded { write } => self.on_forwarded(now, write, effects),
            Input::Answered { answer } => self.deliver(answer),
            Input::Unknown { origin } => self.hang_up(&origin),
            Input::Unlocked => self.on_unlocked(),
            Input::ReadsAsked { ticket } => {
                self.cluster_input(now, Happened::ReadAsked { ticket }, effects);
            }
            Input::ReadsAnswered { allowed } => self.on_reads_answered(allowed),
            Input::Ticked => self.on_ticked(now, effects),
            Input::Stopping => self.on_stopping(now),
            Input::Received { .. } | Input::Sent { .. } => unreachable!("step takes these itself"),
        }
    }

    fn on_accepted(&mut self, id: ConnId, record: Arc<ConnRecord>) {
        let at = id.0 as usize;
        if self.conns.len() <= at {
            self.conns.resize_with(at + 1, || None);
        }
        assert!(self.conns[at].is_none(), "the slot is taken");
        self.next_generation = self.next_generation.wrapping_add(1);
        if self.stopping.is_some() {
            self.listed.push(id);
        }
        self.counters.count(Counter::TotalConnections);
        self.shared.register(Arc::clone(&record));
        let mut conn = Conn::new(self.next_generation, record);
        (conn.ended, conn.listed) = (self.stopping.is_some(), self.stopping.is_some());
        self.conns[at] = Some(conn);
    }

    fn on_ended(&mut self, id: ConnId) {
        if let Some(conn) = self.conns[id.0 as usize].as_mut() {
            conn.ended = true;
            self.list(id);
        }
    }

    fn on_failed(&mut self, id: ConnId, effects: &mut Effects) {
        if self.forget(id) {
            effects.closes.push(id);
        }
    }

    fn on_sent(&mut self, id: ConnId, buffer: Vec<u8>) {
        self.counters.add(Counter::BytesWritten, buffer.len() as u64);
        self.pool.give(buffer);
        let Some(conn) = self.conns.get_mut(id.0 as usize).and_then(Option::as_mut) else { return };
        conn.sending = false;
        if conn.blocked == Blocked::Output && conn.may_resume() {
            self.resumable.push(id);
        }
        if !conn.out.is_empty() || conn.is_leaving() {
            self.list(id);
        }
    }

    /// Lets the write path work and passes its answers on.
    fn on_writes(&mut self, act: impl FnOnce(&mut Writes, &mut Vec<Answer>, &Shared), effects: &mut Effects) {
        let Path::Alone(writes) = &mut self.path else {
            unreachable!("the disk speaks to thread 0, and a node hears it by itself")
        };
        let mut answers = std::mem::take(&mut self.answers);
        act(writes, &mut answers, &self.shared);
        self.pass_on(&mut answers, effects);
        self.answers = answers;
    }

    /// Answers to those who asked, here or on other threads.
    fn pass_on(&mut self, answers: &mut Vec<Answer>, effects: &mut Effects) {
        for answer in answers.drain(..) {
            if answer.origin.shard == self.id {
                self.deliver(answer);
            } else {
                effects.answers.push(answer);
            }
        }
    }

    /// Whether no write may be taken for now: too many are under way, or the store waits for its readers.
    fn writes_are_full(&mut self, now: Time) -> bool {
        match &mut self.path {
            Path::Alone(writes) => writes.is_full(),
            // those of other threads that wait come first
            Path::Node(node) => !self.held.is_empty() || node.is_full(now, self.stopping.is_some()),
            Path::Thread0 => self.forwarded_bytes >= config::FORWARDED_BYTES_MAX,
        }
    }

    fn on_forwarded(&mut self, now: Time, write: OwnedWrite, effects: &mut Effects) {
        match &mut self.path {
            Path::Alone(writes) => {
                let reply = writes.submit(now, &write.as_write(), write.origin, &self.shared, &mut self.counters);
                if let Some(reply) = reply {
                    effects.answers.push(Answer { origin: write.origin, reply });
                }
            }
            Path::Node(_) => {
                self.held.push_back(write);
                self.take_held(now, effects);
            }
            Path::Thread0 => unreachable!("writes go to thread 0"),
        }
    }

    /// Gives a connection the answer to one of its writes.
    fn deliver(&mut self, answer: Answer) {
        if self.id != 0 {
            self.forwarded_bytes -= answer.origin.bytes as usize;
        }
        let id = answer.origin.conn;
        let Some(conn) = self.conns.get_mut(id.0 as usize).and_then(Option::as_mut) else { return };
        if conn.generation != answer.origin.generation {
            return;
        }
        let Self { pool, listed, resumable, .. } = self;
        let (mut left, mut out) = (0, std::mem::take(&mut conn.out));
        conn.in_order(answer, |answer| {
            left += 1;
            if !answer.origin.noreply {
                if out.capacity() == 0 {
                    out = pool.take();
                }
                answer.reply.encode(&mut out);
            }
        });
        conn.out = out;
        conn.unfinished = conn.unfinished.checked_sub(left).expect("an answer nobody waits for");
        if conn.unfinished == 0 && conn.blocked == Blocked::Write {
            resumable.push(id);
        }
        if !conn.listed {
            conn.listed = true;
            listed.push(id);
        }
    }

    /// Appends to a connection's output.
    fn reply(&mut self, id: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(conn) = self.conns[id.0 as usize].as_mut() else { return };
        if conn.out.capacity() == 0 {
            conn.out = self.pool.take();
        }
        write(&mut conn.out);
        if !conn.listed {
            conn.listed = true;
            self.listed.push(id);
        }
    }

    /// Has the end of the turn look at a connection.
    fn list(&mut self, id: ConnId) {
        let Some(conn) = self.conns[id.0 as usize].as_mut() else { return };
        if !conn.listed {
            conn.listed = true;
            self.listed.push(id);
        }
    }

    /// Whether it was there.
    fn forget(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.conns.get_mut(id.0 as usize).and_then(Option::take) else { return false };
        self.shared.unregister(&conn.record);
        self.pool.give(conn.out);
        self.inputs.give(conn.pending);
        true
    }

    fn on_ticked(&mut self, now: Time, effects: &mut Effects) {
        let idle = u64::from(self.shared.config.idle_timeout_seconds) * NANOS;
        if idle > 0 && now.since(self.last_tick).0 >= NANOS {
            self.last_tick = now;
            self.close_idle(now, idle, effects);
        }
    }

    fn close_idle(&mut self, now: Time, idle: u64, effects: &mut Effects) {
        for at in 0..self.conns.len() {
            let silent = self.conns[at].as_ref().is_some_and(|c| now.since(c.record.last_heard()).0 > idle);
            if silent {
                self.counters.count(Counter::IdleKicks);
                let id = ConnId(at as u32);
                self.forget(id);
                effects.closes.push(id);
            }
        }
    }

    /// As if every client had said that it sends no more: connections close when all they asked for is answered.
    fn on_stopping(&mut self, now: Time) {
        self.stopping = Some(now);
        for at in 0..self.conns.len() {
            self.on_ended(ConnId(at as u32));
        }
    }

    /// A connection was refused because there are too many.
    pub fn count_rejected(&mut self) {
        self.counters.count(Counter::RejectedConnections);
    }

    /// Accepting was stopped because there are too many connections.
    pub fn count_listen_disabled(&mut self) {
        self.counters.count(Counter::ListenDisabled);
    }

    fn end_turn(&mut self, now: Time, effects: &mut Effects) {
        match &mut self.path {
            Path::Alone(writes) => writes.end_turn(&mut effects.frames),
            Path::Node(_) => {
                self.take_held(now, effects);
                self.give_up_forwards(now, effects);
                self.on_node(now, effects, Node::end_turn);
            }
            Path::Thread0 => {}
        }
        if let Some(writes) = self.path.writes() {
            writes.publish(&self.shared);
        }
        if !self.starved.is_empty() && !self.writes_are_full(now) {
            self.resumable.append(&mut self.starved);
        }
        self.ask_to_read(now, effects);
        self.drop_broken(effects);
        effects.again |= !self.resumable.is_empty() || self.path.wants_turn();
        effects.forwards.append(&mut self.forwards);
        effects.shutdown |= std::mem::take(&mut self.shutdown);
        // with frames the shell steps again at once: what that has to say leaves in the same send
        if effects.frames.is_empty() && effects.cluster.effects.is_empty() {
            let mut listed = std::mem::take(&mut self.listed);
            for id in listed.drain(..) {
                self.flush(id, effects);
            }
            self.listed = listed;
        }
        self.shared.publish(self.id as usize, &self.counters);
    }

    /// Hands a connection's output to the shell, unless a send of it is in flight: then it goes with the next.
    fn flush(&mut self, id: ConnId, effects: &mut Effects) {
        let Some(conn) = self.conns[id.0 as usize].as_mut() else { return };
        conn.listed = false;
        if conn.paused && conn.blocked == Blocked::No {
            conn.paused = false;
            effects.resumes.push(id);
        } else if !conn.paused && conn.should_pause() {
            conn.paused = true;
            effects.pauses.push(id);
        }
        if conn.sending {
            return;
        }
        if !conn.out.is_empty() {
            conn.sending = true;
            // the shell hears of a send that succeeds at once when it next looks: it must not sleep before that
            effects.again |= conn.blocked == Blocked::Output || conn.is_leaving();
            effects.sends.push((id, std::mem::take(&mut conn.out)));
        } else if conn.is_leaving() && conn.drained() {
            self.forget(id);
            effects.closes.push(id);
        }
    }

    /// Whether everything taken has been answered, sent and committed: a stopping server may go.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.path.is_idle() && self.conns.iter().all(Option::is_none)
    }

    /// The reader, for the shell to park around its sleep.
    pub const fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// What must hold between steps.
    pub fn check_invariants(&self) {
        for (at, conn) in self.conns.iter().enumerate() {
            let Some(conn) = conn else { continue };
            conn.check_invariants();
            let waits = conn.blocked != Blocked::Write || conn.unfinished > 0;
            assert!(waits || self.resumable.contains(&ConnId(at as u32)), "waits for no write");
        }
        self.path.check_invariants();
    }
}
