//! The running process: the machine's inputs and effects, the data plane, the disk's queue, the writes of clients.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ringstore::cluster::{Boot, Digest, Doubt, Effect, Frame, Input, Mark, NodeRecord, Replica, Report};
use ringstore::conn::ConnId;
use ringstore::log::layout::file;
use ringstore::log::{Epoch, FrameHeader, Incarnation, NodeId, Position};
use ringstore::node::{Gate, Node, Outputs, Scene};
use ringstore::stats::Counters;
use ringstore::store::{Reader, Region, StoreConfig, Walk, create};
use ringstore::time::Time;
use ringstore::writes::{Answer, Origin, Writes};

use super::reads::Read;
use super::snapshot::{Streams, restore};
use super::{Arrival, File, Host, OpId, Out, Shared};
use crate::data::{Item, Items};
use crate::disk::{Job, Refusal};
use crate::linear::Op;
use crate::recovery::new_log;
use crate::request::{Key, key_bytes, outcome, write};

/// Work for the disk, in order, one at a time.
pub(super) enum Work {
    Record {
        record: NodeRecord,
        epoch: Epoch,
    },
    Append {
        frame: Frame,
        cut: u64,
    },
    Sync {
        upto: Position,
        cut: u64,
    },
    Truncate {
        to: Mark,
    },
    /// Neither log nor keystore are there any more.
    Drop,
    /// The data as bytes: taken here, or of the stream of that number.
    Keystore {
        bytes: Vec<u8>,
        stream: Option<u64>,
    },
    /// The log begins at that keystore's start.
    Rebase {
        start: Mark,
        keystore: Vec<u8>,
        bytes: Vec<u8>,
        stream: Option<u64>,
    },
}

/// What was found on the disk.
pub struct Log {
    pub frames: Vec<Frame>,
    pub keystore: Vec<u8>,
    /// Where the log file begins.
    pub base: Position,
}

/// See the module.
pub struct Process {
    /// The real machine and the real write path over the real store, joined as the ring's thread 0 has them.
    pub(super) core: Node,
    pub(super) reader: Reader,
    /// Frames that are in the log and not applied, by position: what the checks are told of commits.
    pub(super) unapplied: BTreeMap<u64, Frame>,
    /// Up to where they were told.
    pub(super) checked: Position,
    /// What its store was last told to hold.
    told: Digest,
    pub(super) streams: Streams,
    /// Where the log file begins.
    pub(super) base: Position,
    /// Where the keystore's log goes on.
    pub(super) start: Mark,
    /// A snapshot's data is exact from here on.
    pub(super) consistent: Position,
    /// Something is in the store that no entry put there.
    pub(super) rotten: bool,
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub(super) queue: VecDeque<Work>,
    in_flight: Option<(u64, Work)>,
    /// Where the log ends on the disk, written or synced.
    pub(super) written: Position,
    pub(super) durable: Position,
    counters: Counters,
    pub(super) reads: BTreeMap<u64, Read>,
    pub(super) tickets: u64,
    /// What came of an effect at once.
    came: VecDeque<Input>,
}

/// About so many bytes of resting items are checked at a tick, empty buckets included.
const SCRUB_BYTES: usize = 64;

impl Process {
    /// The frame is in the log.
    fn on_append(&mut self, frame: &Frame) {
        if frame.end() > self.checked {
            self.unapplied.insert(frame.position().0, frame.clone());
        }
    }

    /// Lets the node work.
    pub(super) fn step(&mut self, now: Time, shared: &Shared, act: impl FnOnce(&mut Node, &mut Scene<'_>)) {
        act(&mut self.core, &mut Scene { now, shared: &shared.stats, counters: &mut self.counters });
    }

    pub(super) fn start(now: Time, boot: Boot, log: Log, hash_seed: u64) -> (Self, Vec<Effect>) {
        let (node, incarnation) = (boot.record.node, Incarnation(boot.record.incarnation.0 + 1));
        let start = boot.applied;
        let (end, consistent) = (boot.end.position, boot.consistent.position);
        let Log { frames, keystore, base } = log;
        let mut effects = Vec::new();
        let machine = Replica::start(now, boot, &mut effects);
        let (mut writes, reader) = store(hash_seed);
        writes.join(node, incarnation);
        restore(&mut writes, &keystore);
        frames.iter().for_each(|frame| writes.on_append(frame));
        writes.on_durable(end);
        let process = Self {
            core: Node::new(machine, writes, Arc::new(Gate::new(1, false))),
            reader,
            checked: start.position,
            told: Digest::default(),
            unapplied: frames.into_iter().map(|frame| (frame.position().0, frame)).collect(),
            streams: Streams::default(),
            base,
            start,
            consistent,
            rotten: false,
            node,
            incarnation,
            queue: VecDeque::new(),
            in_flight: None,
            written: end,
            durable: end,
            counters: Counters::default(),
            reads: BTreeMap::new(),
            tickets: 0,
            came: VecDeque::new(),
        };
        (process, effects)
    }

    /// The clients' operations that have no answer.
    pub(super) fn waiting(self) -> Vec<OpId> {
        let writes = self.core.writes().clients().map(|origin| op_of(&origin));
        writes.chain(self.reads.values().map(|read| read.op)).collect()
    }

    /// Up to where its store holds the log.
    pub fn applied(&self) -> Mark {
        self.core.writes().applied()
    }

    /// Everything in its store.
    pub fn items(&self) -> Items {
        let (mut items, mut walk) = (Items::new(), Walk::default());
        while self.core.writes().store().walk(&mut walk, usize::MAX, |item| {
            items.insert(item.key.to_vec(), Item::of(&item));
        }) {}
        items
    }

    /// What must hold of its store and its write path; walks everything.
    pub fn check_invariants(&self) {
        self.core.writes().check_invariants();
        self.core.writes().store().check_invariants();
    }

    pub fn epoch(&self) -> Epoch {
        self.core.machine().configuration().map_or(Epoch(0), |configuration| configuration.epoch)
    }

    /// Whether it may not lead because its log or data was damaged.
    pub fn is_damaged(&self) -> bool {
        self.core.machine().doubt() > Doubt::Tail
    }

    pub fn is_serving(&self) -> bool {
        self.core.machine().is_serving()
    }

    /// Whether it may answer reads at this instant of its clock.
    #[cfg(test)]
    pub fn may_read(&self, local: Time) -> bool {
        self.core.machine().read_deadline().is_some_and(|deadline| local < deadline)
    }

    /// Its incarnation is durable.
    pub fn has_begun(&self) -> bool {
        self.core.machine().role() != "starting"
    }

    pub fn follows(&self) -> bool {
        self.core.machine().role() == "follower"
    }

    /// Where it stands, for a message.
    pub fn standing(&self) -> String {
        let (machine, configuration) = (self.core.machine(), self.core.machine().configuration());
        let (role, node, incarnation) = (machine.role(), self.node.0, self.incarnation.0);
        let doubt = machine.doubt();
        format!(
            "{role} {node}.{incarnation}, {:?}, {:?}, {doubt:?}, {configuration:?}",
            machine.end(),
            machine.commit()
        )
    }
}

impl Host {
    /// Something came.
    pub fn arrive(&mut self, now: Time, arrival: Arrival, shared: &mut Shared) -> Vec<Out> {
        let mut outs = Vec::new();
        self.last_turn = self.turn_clock.unwrap_or_else(|| self.clock.read(now));
        match arrival {
            Arrival::Message(message) => self.input(now, Input::Received { message }, &mut outs, shared),
            Arrival::Lifeline { node, incarnation, ended } => {
                let input = if ended {
                    Input::LifelineEnded { node, incarnation }
                } else {
                    Input::LifelineLost { node, incarnation }
                };
                self.input(now, input, &mut outs, shared);
            }
            Arrival::Asked(op, key, Op::Get) => self.begin_read(now, op, key, &mut outs, shared),
            Arrival::Asked(op, key, what) => self.begin_write(now, op, key, &what, &mut outs, shared),
            Arrival::Stream(from, stream, piece) => self.stream(now, from, stream, piece, &mut outs, shared),
            Arrival::Resign => self.input(now, Input::Resign, &mut outs, shared),
        }
        self.pump_disk(now);
        outs
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time, shared: &mut Shared) -> Vec<Out> {
        let mut outs = Vec::new();
        let (local, name) = (self.clock.read(now), self.name());
        if let Some(process) = &mut self.process {
            let Process { core, counters, rotten, .. } = process;
            let mut scene = Scene { now: local, shared: &shared.stats, counters };
            core.keep_house(&mut scene);
            let changed = core.tick(SCRUB_BYTES, &mut scene);
            assert!(!changed || *rotten, "{name} holds what no entry put there");
        }
        self.carry_out(now, &mut outs, shared);
        self.streams_ticked(now, &mut outs, shared);
        self.pump_disk(now);
        outs
    }

    /// Gives the machine an input and does what it says, and what comes of that.
    pub(super) fn input(&mut self, now: Time, input: Input, outs: &mut Vec<Out>, shared: &mut Shared) {
        let local = self.clock.read(now);
        self.last_turn = local;
        let Some(process) = &mut self.process else { return };
        process.step(local, shared, |core, scene| core.input(input, scene));
        self.carry_out(now, outs, shared);
    }

    /// Does what the node has said, and what comes of that.
    pub(super) fn carry_out(&mut self, now: Time, outs: &mut Vec<Out>, shared: &mut Shared) {
        while let Some(process) = &mut self.process {
            process.core.check_invariants();
            let Outputs { effects, answers, unknown, unlocked, fault } = std::mem::take(process.core.outputs());
            assert!(fault.is_none(), "the store is large enough");
            answer(&answers, outs);
            hang_up(&unknown, outs);
            self.effects(now, effects, outs, shared);
            if self.is_dying() {
                return;
            }
            self.check_digest(shared);
            if unlocked {
                self.wake_reads(now, outs);
            }
            let local = self.clock.read(now);
            let Some(input) = self.running().came.pop_front() else { return };
            self.running().step(local, shared, |core, scene| core.input(input, scene));
        }
    }

    fn effects(&mut self, now: Time, effects: Vec<Effect>, outs: &mut Vec<Out>, shared: &mut Shared) {
        let mut appended = None;
        for effect in effects {
            if self.dies_now() {
                return;
            }
            if let Effect::Append { frame, cut } = &effect {
                appended = Some((frame.end(), *cut));
            } else if let Some((upto, cut)) = appended.take() {
                self.running().queue.push_back(Work::Sync { upto, cut });
            }
            self.effect(now, effect, outs, shared);
        }
        if let Some((upto, cut)) = appended {
            self.running().queue.push_back(Work::Sync { upto, cut });
        }
    }

    /// What it holds at a place of the log is what all hold there; a snapshot's data says nothing before it is exact.
    fn check_digest(&mut self, shared: &mut Shared) {
        let process = self.running();
        let digest = process.core.digest();
        if digest != process.told {
            process.told = digest;
            if !process.rotten {
                shared.checks.on_applied(process.node, digest);
            }
        }
    }

    pub(super) fn running(&mut self) -> &mut Process {
        self.process.as_mut().expect("only a running process has effects")
    }

    fn effect(&mut self, now: Time, effect: Effect, outs: &mut Vec<Out>, shared: &mut Shared) {
        let name = self.name();
        let process = self.running();
        match effect {
            Effect::Persist { record } => {
                let epoch = record.epoch();
                process.queue.push_back(Work::Record { record, epoch });
            }
            Effect::Send { message } => outs.push(Out::Send(message)),
            Effect::Append { frame, cut } => {
                process.on_append(&frame);
                // group commit: what has not begun to be synced is synced together with this
                process.queue.pop_back_if(|work| matches!(work, Work::Sync { cut: of, .. } if *of == cut));
                process.queue.push_back(Work::Append { frame, cut });
            }
            Effect::Truncate { to, cut } => {
                shared.trace.line(now, &name, || format!("cuts its log to {:?} (cut {cut})", to.index));
                shared.checks.on_truncate(process.node, process.core.writes().applied(), to);
                process.unapplied.split_off(&to.position.0);
                process.queue.push_back(Work::Truncate { to });
            }
            Effect::Commit { upto } => {
                let left = process.unapplied.split_off(&upto.position.0);
                let applied = std::mem::replace(&mut process.unapplied, left);
                process.checked = upto.position;
                shared.checks.on_commit(process.node, applied.values());
            }
            Effect::BecameLeader { epoch, .. } => {
                shared.trace.line(now, &name, || format!("leads in epoch {}", epoch.0));
                shared.checks.on_lead(process.node, process.incarnation, epoch);
            }
            Effect::SteppedDown => shared.trace.line(now, &name, || "leads no more".into()),
            Effect::ReadAllowed { ticket, deadline } => self.read_allowed(ticket, deadline, outs),
            Effect::ReadRefused { ticket, .. } => self.read_refused(ticket, outs),
            Effect::ReadLog { node, from, bytes } => {
                let base = process.base;
                let frames = read_log(self.disk.read(&File::Log), base, from.position, bytes);
                self.running().came.push_back(Input::LogRead { node, from, frames });
            }
            Effect::SendSnapshot { offer } => self.send_snapshot(now, &offer, outs, shared),
            Effect::TakeSnapshot => self.take_snapshot(),
            Effect::RefuseSnapshot => process.streams.refuse(),
            Effect::Watch { member } => outs.push(Out::Watch(member)),
            Effect::Report(report) => {
                shared.trace.line(now, &name, || format!("{report:?}"));
                assert!(
                    process.rotten || !matches!(report, Report::DigestDiffers { .. }),
                    "{name} holds other data than its leader: {report:?}"
                );
                if matches!(report, Report::Serving { .. }) {
                    outs.push(Out::Serving);
                }
            }
            Effect::LockKeys { .. }
            | Effect::Forwarded { .. }
            | Effect::ForwardTaken { .. }
            | Effect::ForwardDone { .. } => unreachable!("the write path's, which the node has done"),
        }
    }

    fn begin_write(&mut self, now: Time, op: OpId, key: Key, what: &Op, outs: &mut Vec<Out>, shared: &mut Shared) {
        let local = self.clock.read(now);
        let Some(process) = &mut self.process else { return };
        if process.core.machine().write_place().is_err() {
            return outs.push(Out::Refuse(op));
        }
        let key = key_bytes(key);
        let Process { core, counters, .. } = process;
        let mut scene = Scene { now: local, shared: &shared.stats, counters };
        let reply = core.submit(&write(&key, what), origin_of(op), &mut scene);
        assert!(reply.is_none(), "no client asks for this server alone, and there was a place");
        // some turns gather more than one write
        if shared.dice.chance(0.7) {
            core.end_turn(&mut scene);
        }
        self.carry_out(now, outs, shared);
    }

    /// Hands the disk its next work.
    pub fn pump_disk(&mut self, now: Time) {
        let Some(process) = &mut self.process else { return };
        if process.in_flight.is_some() {
            return;
        }
        let Some(work) = process.queue.pop_front() else { return };
        let (base, start) = (process.base, process.start);
        let job = match &work {
            Work::Record { record, .. } => {
                let record = record.clone();
                Job::Replace(File::Record, self.keep_record(record))
            }
            Work::Append { frame, .. } => Job::Append(File::Log, frame.bytes().to_vec()),
            Work::Sync { .. } => Job::Sync(File::Log),
            // all that is kept of a log is in the keystore
            Work::Truncate { to } if base < start.position && to.position <= start.position => {
                self.running().base = start.position;
                Job::Replace(File::Log, new_log(start, Time(0)))
            }
            Work::Truncate { to } => Job::Truncate(File::Log, to.position.0 - base.0 + file::BYTES as u64),
            Work::Drop => {
                // the keystore goes first: a log without it is seen not to reach it, and goes as well
                self.disk.do_at_once(Job::Replace(File::Keystore, Vec::new()));
                Job::Replace(File::Log, new_log(Mark::default(), Time(0)))
            }
            Work::Keystore { bytes, .. } => Job::Replace(File::Keystore, bytes.clone()),
            Work::Rebase { bytes, .. } => Job::Replace(File::Log, bytes.clone()),
        };
        let ticket = self.disk.submit(now, job);
        self.running().in_flight = Some((ticket, work));
    }

    /// The disk has done something. False when the process cannot go on: a sync has failed.
    pub fn disk_done(&mut self, now: Time, shared: &mut Shared) -> (bool, Vec<Out>) {
        let mut outs = Vec::new();
        let Some(done) = self.disk.take(now) else { return (true, outs) };
        let process = self.running();
        let (ticket, work) = process.in_flight.take().expect("only one job at a time");
        assert!(ticket == done.ticket, "jobs are done in order");
        match (work, done.result) {
            (Work::Append { frame, cut }, Err(Refusal::Full)) => {
                let written = process.written;
                shared.trace.line(now, &self.name(), || format!("has no room for {frame:?}"));
                let same = |work: &Work| matches!(work, Work::Append { cut: of, .. } | Work::Sync { cut: of, .. } if *of == cut);
                let process = self.running();
                process.queue.retain(|work| !same(work));
                // what was written before is still to be made durable
                process.queue.push_front(Work::Sync { upto: written, cut });
                self.input(now, Input::Refused { written, cut }, &mut outs, shared);
            }
            (Work::Keystore { stream, .. }, Err(Refusal::Full)) => {
                self.keystore_refused(now, stream, &mut outs, shared);
            }
            (_, Err(_)) => return (false, outs),
            (Work::Drop, Ok(())) => process.on_rebased(Mark::default(), Position(0)),
            (Work::Keystore { bytes, stream }, Ok(())) => self.keystore_done(bytes, stream),
            (Work::Rebase { start, keystore, bytes, stream }, Ok(())) => {
                let end = start.position.0 + (bytes.len() - file::BYTES) as u64;
                self.running().on_rebased(start, Position(end));
                self.rebased(now, &keystore, stream, &mut outs, shared);
            }
            (Work::Record { epoch, .. }, Ok(())) => {
                self.input(now, Input::RecordPersisted { epoch }, &mut outs, shared);
            }
            (Work::Append { frame, .. }, Ok(())) => process.written = frame.end(),
            (Work::Truncate { to }, Ok(())) => {
                // what the disk had no room for was never there
                process.written = process.written.min(to.position);
                process.durable = process.durable.min(to.position);
            }
            (Work::Sync { upto, cut }, Ok(())) => {
                // the file as it was when the sync began, and nothing was written since
                process.durable = process.written;
                process.core.on_durable(process.durable);
                self.input(now, Input::Persisted { upto, cut }, &mut outs, shared);
            }
        }
        self.pump_disk(now);
        (true, outs)
    }
}

/// What these clients' writes have prepared may be committed by another leader, or never.
fn hang_up(unknown: &[Origin], outs: &mut Vec<Out>) {
    outs.extend(unknown.iter().map(|origin| Out::Hangup(op_of(origin))));
}

fn answer(answers: &[Answer], outs: &mut Vec<Out>) {
    outs.extend(answers.iter().map(|answer| Out::Answer(op_of(&answer.origin), outcome(&answer.reply))));
}

/// A client's operation stands where its connection would.
const fn origin_of(op: OpId) -> Origin {
    Origin { shard: 0, conn: ConnId(op as u32), generation: 0, noreply: false, bytes: 0, number: 0 }
}

const fn op_of(origin: &Origin) -> OpId {
    origin.conn.0 as OpId
}

/// An empty store of the smallest size, and the write path over it.
fn store(hash_seed: u64) -> (Writes, Reader) {
    let (writer, mut readers) = create(StoreConfig {
        memory_bytes: 4 << 20,
        // so much that the allocator maps it: what it has used before it would have to clear, for each process that starts
        address_bytes: 80 << 20,
        evict: false,
        item_bytes_max: 1 << 20,
        hash_seed,
        readers: 1,
        region: &mut Region::heap,
    })
    .expect("the heap has room");
    (Writes::new(writer, true), readers.pop().expect("one was asked for"))
}

/// Frames of a log file from `from` on, of about so many bytes; nothing when no frame begins there.
fn read_log(log: &[u8], base: Position, from: Position, bytes: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    let at = from.0.checked_sub(base.0).map(|at| file::BYTES + at as usize);
    let mut rest = at.and_then(|at| log.get(at..)).unwrap_or_default();
    let mut taken = 0;
    while taken <= bytes
        && let Ok(header) = FrameHeader::decode(rest)
        && let Some(whole) = rest.get(..header.frame_bytes())
        && let Ok(frame) = Frame::parse(whole.to_vec())
        && frame.position().0 == from.0 + taken as u64
    {
        taken += whole.len();
        rest = &rest[whole.len()..];
        frames.push(frame);
    }
    frames
}
