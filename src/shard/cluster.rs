//! What a thread of a server in a cluster does besides: writes go by the node, and reads are answered only as long as the cluster
//! lets this server read (R16 to R24).
//!
//! ```text
//! batch begins: deadline --> each key: locked? value --> batch ends: clock < deadline, or the answers are dropped
//!                  | passed           | locked
//!                  v                  v
//!          ask thread 0's machine   wait until thread 0 has unlocked keys
//! ```

use super::feed::{Ask, Op};
use super::{Effects, Shard};
use crate::cluster::Effect;
use crate::cluster::Input as Happened;
use crate::config;
use crate::conn::{Blocked, ConnId, Grant};
use crate::node::{Gate, Node, Scene};
use crate::proto::reply;
use crate::store::KeyHash;
use crate::time::{Seconds, Time};
use crate::writes::{Answer, Origin, ReplicaFault, Write, Writes};
use std::sync::Arc;

/// Where a thread's writes go.
#[allow(clippy::large_enum_variant, reason = "there is one for each thread, and the hot path takes no detour")]
pub enum Path {
    /// To thread 0.
    Thread0,
    /// This is thread 0 of a server that stands alone.
    Alone(Writes),
    /// This is thread 0 of a server in a cluster.
    Node(Box<Node>),
}

impl Path {
    /// The write path, on thread 0.
    pub(super) fn writes(&self) -> Option<&Writes> {
        match self {
            Self::Thread0 => None,
            Self::Alone(writes) => Some(writes),
            Self::Node(node) => Some(node.writes()),
        }
    }

    pub(super) fn wants_turn(&self) -> bool {
        match self {
            Self::Thread0 => false,
            Self::Alone(writes) => writes.wants_turn(),
            Self::Node(node) => node.wants_turn(),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::Thread0 => true,
            Self::Alone(writes) => writes.is_idle(),
            Self::Node(node) => node.is_idle(),
        }
    }

    pub(super) fn check_invariants(&self) {
        match self {
            Self::Thread0 => {}
            Self::Alone(writes) => writes.check_invariants(),
            Self::Node(node) => node.check_invariants(),
        }
    }
}

/// What the shell of a server in a cluster is to do.
#[derive(Default)]
pub struct ClusterEffects {
    /// For disk and network, in order; on thread 0.
    pub effects: Vec<Effect>,
    /// Tell the threads of these clients that nobody knows what became of their writes.
    pub unknown: Vec<Origin>,
    /// Tell these threads that keys were unlocked.
    pub wakes: Vec<usize>,
    /// Ask thread 0 whether this thread may read.
    pub asks: Vec<u64>,
    /// Tell the threads that asked with these tickets.
    pub answers: Vec<(u64, bool)>,
    /// This server cannot hold what its leader holds: it must stop.
    pub fault: Option<ReplicaFault>,
}

/// The thread in the upper bits of a ticket.
const TICKET_THREAD_SHIFT: u32 = 48;

/// The thread that a ticket belongs to.
#[must_use]
pub const fn thread_of(ticket: u64) -> usize {
    (ticket >> TICKET_THREAD_SHIFT) as usize
}

/// A connection, and which of the slot's.
type Waiter = (ConnId, u32);

/// A connection that was answered in a batch, the first time.
struct Answered {
    conn: ConnId,
    /// The operation's place in the batch.
    at: usize,
    /// Bytes of output that were there before.
    output: usize,
}

/// A thread's reads, as the cluster lets it read.
pub(super) struct Reads {
    gate: Arc<Gate>,
    /// The machine's clock, behind the values of a batch.
    clock: fn() -> Time,
    /// This batch's.
    deadline: Time,
    /// Connections with answers from this batch.
    answered: Vec<Answered>,
    /// They wait for a key to be unlocked.
    locked: Vec<ConnId>,
    /// They wait for the answer that is under way.
    asked: Vec<Waiter>,
    /// They came after that was asked for.
    unasked: Vec<Waiter>,
    /// The number of the last ticket, and whether its answer is under way.
    ticket: u64,
    waits: bool,
}

impl Reads {
    /// The deadline comes before everything that is read.
    pub fn begin_batch(&mut self) {
        self.deadline = self.gate.deadline();
    }

    /// By which time items have expired.
    pub fn seconds(&self, now: Time) -> Seconds {
        self.gate.seconds(now)
    }
}

impl Shard {
    /// From here on this is a thread of a server in a cluster, which reads by `gate`. `clock` tells the time when it is called.
    pub fn join(&mut self, gate: Arc<Gate>, clock: fn() -> Time) {
        let (answered, locked, asked, unasked) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let ticket = u64::from(self.id) << TICKET_THREAD_SHIFT;
        self.reads =
            Some(Reads { gate, clock, deadline: Time(0), answered, locked, asked, unasked, ticket, waits: false });
    }

    /// The node, on thread 0 of a server in a cluster.
    #[must_use]
    pub fn node(&self) -> Option<&Node> {
        if let Path::Node(node) = &self.path { Some(node) } else { None }
    }

    /// The same, to be changed: by a snapshot that is being installed.
    pub fn node_mut(&mut self) -> Option<&mut Node> {
        if let Path::Node(node) = &mut self.path { Some(node) } else { None }
    }

    /// Something has happened in the cluster, or to this server's disk.
    pub fn cluster_input(&mut self, now: Time, input: Happened, effects: &mut Effects) {
        self.on_node(now, effects, |node, scene| node.input(input, scene));
    }

    /// Time has passed: every few milliseconds.
    pub fn cluster_tick(&mut self, now: Time, effects: &mut Effects) {
        self.on_node(now, effects, |node, scene| {
            if node.tick(config::CLUSTER_SCRUB_BYTES, scene) {
                tracing::error!(
                    "memory has changed that nobody wrote to: this server takes its data from others again"
                );
            }
        });
    }

    /// Others were made members without this server, though its machine does not know: it is waited for by nobody, and the answers
    /// to what was sent on go to nobody here.
    pub const fn on_released(&mut self) {
        self.released = true;
    }

    /// Whether that is so.
    #[must_use]
    pub const fn is_released(&self) -> bool {
        self.released
    }

    /// A server that stops waits for what the leader does with its clients' writes; not for long, and not when it is no member any
    /// more and will never hear of it. Their clients' connections end.
    pub(super) fn give_up_forwards(&mut self, now: Time, effects: &mut Effects) {
        let Some(since) = self.stopping else { return };
        let is_member = self.node().is_some_and(|node| matches!(node.machine().role(), "leader" | "follower"));
        let belongs = is_member && !self.released;
        if !belongs || now.since(since) >= config::STOP_FORWARDS_PATIENCE {
            self.cluster_input(now, Happened::GiveUpForwards, effects);
        }
    }

    /// What the machine said at its start is to be done.
    pub fn cluster_begin(&mut self, now: Time, said: Vec<Effect>, effects: &mut Effects) {
        self.on_node(now, effects, |node, scene| node.begin(said, scene));
    }

    /// Lets the node work and passes on what came of it.
    pub(super) fn on_node(&mut self, now: Time, effects: &mut Effects, act: impl FnOnce(&mut Node, &mut Scene<'_>)) {
        let Path::Node(node) = &mut self.path else { unreachable!("only thread 0 of a cluster's server has one") };
        act(node, &mut Scene { now, shared: &self.shared, counters: &mut self.counters });
        self.take_outputs(effects);
    }

    fn take_outputs(&mut self, effects: &mut Effects) {
        let Path::Node(node) = &mut self.path else { return };
        let out = node.outputs();
        effects.cluster.fault = effects.cluster.fault.take().or(out.fault.take());
        let (unlocked, mut answers) = (std::mem::take(&mut out.unlocked), std::mem::take(&mut out.answers));
        let unknown = std::mem::take(&mut out.unknown);
        let mut said = std::mem::take(&mut out.effects);
        self.pass_on(&mut answers, effects);
        for origin in unknown {
            if origin.shard == self.id { self.hang_up(&origin) } else { effects.cluster.unknown.push(origin) }
        }
        for effect in said.drain(..) {
            match effect {
                Effect::ReadAllowed { ticket, .. } => self.answer_reader(ticket, true, effects),
                Effect::ReadRefused { ticket, .. } => self.answer_reader(ticket, false, effects),
                other => effects.cluster.effects.push(other),
            }
        }
        if unlocked {
            self.wake_readers(effects);
        }
        let Path::Node(node) = &mut self.path else { return };
        // their memory is used again
        (node.outputs().answers, node.outputs().effects) = (answers, said);
    }

    fn answer_reader(&mut self, ticket: u64, allowed: bool, effects: &mut Effects) {
        if thread_of(ticket) == usize::from(self.id) {
            self.on_reads_answered(allowed);
        } else {
            effects.cluster.answers.push((ticket, allowed));
        }
    }

    fn wake_readers(&mut self, effects: &mut Effects) {
        let gate = Arc::clone(&self.reads.as_ref().expect("a node's threads have joined").gate);
        for thread in gate.to_wake() {
            if thread == usize::from(self.id) { self.on_unlocked() } else { effects.cluster.wakes.push(thread) }
        }
    }

    /// A client's write, on thread 0.
    pub(super) fn submit_to_node(&mut self, now: Time, write: &Write<'_>, origin: Origin) {
        let Path::Node(node) = &mut self.path else { unreachable!("the caller looked") };
        let mut scene = Scene { now, shared: &self.shared, counters: &mut self.counters };
        if let Some(reply) = node.submit(write, origin, &mut scene) {
            node.outputs().answers.push(Answer { origin, reply });
        }
    }

    /// Writes of other threads, as far as there is room for them.
    pub(super) fn take_held(&mut self, now: Time, effects: &mut Effects) {
        while let Path::Node(node) = &mut self.path
            && !self.held.is_empty()
            && !node.is_full(now, self.stopping.is_some())
        {
            let write = self.held.pop_front().expect("just looked");
            self.submit_to_node(now, &write.as_write(), write.origin);
            self.take_outputs(effects);
        }
    }

    /// Nobody knows what became of a write: its client learns that by the end of the connection (C2).
    pub(super) fn hang_up(&mut self, origin: &Origin) {
        if self.id != 0 {
            self.forwarded_bytes -= origin.bytes as usize;
        }
        let conn = self.conns.get_mut(origin.conn.0 as usize).and_then(Option::as_mut);
        if conn.is_some_and(|conn| conn.generation == origin.generation) {
            self.break_off(origin.conn);
        }
    }

    /// Closes a connection without another word.
    fn break_off(&mut self, id: ConnId) {
        if let Some(conn) = self.conns[id.0 as usize].as_mut() {
            conn.closing = true;
            self.broken.push(id);
        }
    }

    pub(super) fn drop_broken(&mut self, effects: &mut Effects) {
        while let Some(id) = self.broken.pop() {
            if self.forget(id) {
                effects.closes.push(id);
            }
        }
    }

    /// Whether one key of a get may be looked up now; it is blocked or refused here if not.
    pub(super) fn may_look_up(&mut self, now: Time, at: usize, op: &Op<'_>) -> bool {
        let reads = self.reads.as_mut().expect("the caller looked");
        let conn = self.conns[op.conn.0 as usize].as_mut().expect("the caller looked");
        let last = matches!(op.ask, Ask::Lookup { last: true, .. });
        if conn.refused {
            conn.refused = !last;
            return false;
        }
        let covered = op.rest.len() > conn.unasked;
        if conn.grant == Grant::Refused && covered {
            conn.refused = !last;
            self.reply(op.conn, |out| reply::line(out, reply::NO_LEASE));
            return false;
        }
        let allowed = if reads.gate.is_strict() { conn.grant == Grant::Given && covered } else { now < reads.deadline };
        if !allowed {
            self.block(Blocked::Lease, op);
            return false;
        }
        if self.reader.is_locked(op.hash) {
            self.block(Blocked::Lock, op);
            return false;
        }
        if !reads.gate.is_strict() && reads.answered.last().is_none_or(|last| last.conn != op.conn) {
            reads.answered.push(Answered { conn: op.conn, at, output: conn.out.len() });
        }
        true
    }

    /// R24: the clock comes last. A thread that was stopped for so long that the right to read ended in between has answers
    /// that may be old: they are taken back, and their reads wait for a lease.
    pub(super) fn end_reads(&mut self, batch: &[Op<'_>]) {
        let Some(reads) = self.reads.as_mut().filter(|reads| !reads.answered.is_empty()) else { return };
        let late = (reads.clock)() >= reads.deadline;
        let mut answered = std::mem::take(&mut reads.answered);
        // the first answer of a connection comes last here, and decides
        for answer in answered.drain(..).rev().filter(|_| late) {
            self.take_back(&answer, batch);
        }
        self.reads.as_mut().expect("it is there").answered = answered;
    }

    /// A connection that did anything else since learns by its end that it got no answer: that cannot be taken back.
    fn take_back(&mut self, answer: &Answered, batch: &[Op<'_>]) {
        let &Answered { conn: id, at, output } = answer;
        let only_reads = batch[at..].iter().filter(|op| op.conn == id).all(|op| matches!(op.ask, Ask::Lookup { .. }));
        let Some(conn) = self.conns[id.0 as usize].as_mut() else { return };
        if !only_reads || conn.closing {
            return self.break_off(id);
        }
        conn.out.truncate(output);
        (conn.blocked, conn.refused) = (Blocked::No, false);
        self.block(Blocked::Lease, &batch[at]);
    }

    pub(super) fn wait_for_lock(&mut self, id: ConnId, hash: KeyHash) {
        let reads = self.reads.as_mut().expect("only a cluster locks keys");
        reads.gate.wait(self.id);
        if self.reader.is_locked(hash) {
            reads.locked.push(id);
        } else {
            // unlocked before thread 0 could see that somebody waits
            self.resumable.push(id);
        }
    }

    /// Keys were unlocked.
    pub(super) fn on_unlocked(&mut self) {
        if let Some(reads) = &mut self.reads {
            self.resumable.append(&mut reads.locked);
        }
    }

    pub(super) fn wait_for_lease(&mut self, id: ConnId) {
        let reads = self.reads.as_mut().expect("only a cluster has leases");
        let conn = self.conns[id.0 as usize].as_mut().expect("it is blocked");
        (conn.grant, conn.unasked) = (Grant::None, 0);
        reads.unasked.push((id, conn.generation));
    }

    /// Asks the machine for those that wait, one question at a time.
    pub(super) fn ask_to_read(&mut self, now: Time, effects: &mut Effects) {
        let Some(reads) = self.reads.as_mut().filter(|reads| !reads.waits && !reads.unasked.is_empty()) else {
            return;
        };
        reads.asked.append(&mut reads.unasked);
        (reads.waits, reads.ticket) = (true, reads.ticket + 1);
        let ticket = reads.ticket;
        if self.id == 0 {
            self.cluster_input(now, Happened::ReadAsked { ticket }, effects);
        } else {
            effects.cluster.asks.push(ticket);
        }
    }

    /// The machine has answered the question that was under way.
    pub(super) fn on_reads_answered(&mut self, allowed: bool) {
        let reads = self.reads.as_mut().expect("somebody has asked");
        reads.waits = false;
        for (id, generation) in reads.asked.drain(..) {
            let conn = self.conns[id.0 as usize].as_mut();
            let Some(conn) = conn.filter(|conn| conn.generation == generation) else { continue };
            conn.grant = if allowed { Grant::Given } else { Grant::Refused };
            self.resumable.push(id);
        }
    }

    /// What was said to a connection's reads has been used.
    pub(super) fn end_grant(&mut self, id: ConnId) {
        if let Some(conn) = self.conns[id.0 as usize].as_mut()
            && conn.blocked != Blocked::Lease
        {
            (conn.grant, conn.unasked) = (Grant::None, 0);
        }
    }
}

const _: () = assert!(config::WAITING_READS_MAX >= 1 << 10, "one question for each thread at a time");
