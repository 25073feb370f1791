//! The running process: the machine's inputs and effects, the disk's queue, the writes of clients.

use std::collections::{BTreeMap, VecDeque};

use ringstore::cluster::{
    Boot, Effect, Frame, Input, Mark, NodeRecord, Outcome as Forwarded, Replica, Report, WritePlace,
};
use ringstore::log::layout::file;
use ringstore::log::{Epoch, Incarnation, LogIndex, NodeId, Position};
use ringstore::time::Time;

use super::reads::Read;
use super::{Arrival, File, Host, OpId, Out, Shared};
use crate::data::{Data, Decision, answer};
use crate::disk::{Job, Refusal};
use crate::linear::{Op, Outcome};
use crate::request::{self, Key};

/// Work for the disk, in order, one at a time.
enum Work {
    Record { record: NodeRecord, epoch: Epoch },
    Append { frame: Frame, cut: u64 },
    Sync { upto: Position, cut: u64 },
    Truncate { to: Mark },
}

/// A write of a client of this server, evaluated here.
struct Own {
    index: LogIndex,
    op: OpId,
    outcome: Outcome,
}

/// See the module.
pub struct Process {
    pub(super) machine: Replica,
    pub(super) data: Data,
    pub node: NodeId,
    pub incarnation: Incarnation,
    queue: VecDeque<Work>,
    in_flight: Option<(u64, Work)>,
    /// Where the log ends on the disk, written or synced.
    written: Position,
    durable: Position,
    /// Prepared, in the order of their entries.
    own: VecDeque<Own>,
    /// Sent on to the leader, by number.
    forwards: BTreeMap<u64, (OpId, Op)>,
    /// Asked for and without a number yet.
    asked: Option<(OpId, Op)>,
    /// What the entries wrote that were applied here.
    values: BTreeMap<u64, Option<Vec<u8>>>,
    pub(super) reads: BTreeMap<u64, Read>,
    pub(super) tickets: u64,
    inputs: VecDeque<Input>,
}

impl Process {
    pub(super) fn start(now: Time, boot: Boot, frames: Vec<Frame>) -> (Self, Vec<Effect>) {
        let (node, incarnation) = (boot.record.node, Incarnation(boot.record.incarnation.0 + 1));
        let end = boot.end.position;
        let mut effects = Vec::new();
        let machine = Replica::start(now, boot, &mut effects);
        let process = Self {
            machine,
            data: Data::recovered(frames),
            node,
            incarnation,
            queue: VecDeque::new(),
            in_flight: None,
            written: end,
            durable: end,
            own: VecDeque::new(),
            forwards: BTreeMap::new(),
            asked: None,
            values: BTreeMap::new(),
            reads: BTreeMap::new(),
            tickets: 0,
            inputs: VecDeque::new(),
        };
        (process, effects)
    }

    /// The clients' operations that have no answer.
    pub(super) fn waiting(self) -> Vec<OpId> {
        let own = self.own.into_iter().map(|own| own.op);
        let forwarded = self.forwards.into_values().chain(self.asked).map(|(op, _)| op);
        own.chain(forwarded).chain(self.reads.into_values().map(|read| read.op)).collect()
    }

    pub const fn data(&self) -> &Data {
        &self.data
    }

    pub fn epoch(&self) -> Epoch {
        self.machine.configuration().map_or(Epoch(0), |configuration| configuration.epoch)
    }

    pub fn is_serving(&self) -> bool {
        self.machine.is_serving()
    }

    /// Whether it may answer reads at this instant of its clock.
    #[cfg(test)]
    pub fn may_read(&self, local: Time) -> bool {
        self.machine.read_deadline().is_some_and(|deadline| local < deadline)
    }

    pub fn follows(&self) -> bool {
        self.machine.role() == "follower"
    }

    /// Where it stands, for a message.
    pub fn standing(&self) -> String {
        let (machine, configuration) = (&self.machine, self.machine.configuration());
        let (role, node, incarnation) = (machine.role(), self.node.0, self.incarnation.0);
        format!("{role} {node}.{incarnation}, {:?}, {:?}, {configuration:?}", machine.end(), machine.commit())
    }
}

impl Host {
    /// Something came.
    pub fn arrive(&mut self, now: Time, arrival: Arrival, shared: &mut Shared) -> Vec<Out> {
        let mut outs = Vec::new();
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
            Arrival::Asked(op, key, what) => self.begin_write(now, op, key, what, &mut outs, shared),
            Arrival::Resign => self.input(now, Input::Resign, &mut outs, shared),
        }
        self.pump_disk(now);
        outs
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time, shared: &mut Shared) -> Vec<Out> {
        let mut outs = Vec::new();
        self.input(now, Input::Ticked, &mut outs, shared);
        self.pump_disk(now);
        outs
    }

    /// Gives the machine an input and does what it says, and what comes of that.
    pub(super) fn input(&mut self, now: Time, input: Input, outs: &mut Vec<Out>, shared: &mut Shared) {
        let local = self.clock.read(now);
        let Some(process) = &mut self.process else { return };
        process.inputs.push_back(input);
        while let Some(process) = &mut self.process {
            // what the write path has evaluated is in the log before anything else happens
            let turn = process.data.finish_turn().map(|bytes| Input::FrameBuilt { bytes });
            let Some(input) = turn.or_else(|| process.inputs.pop_front()) else { return };
            if let Input::FrameBuilt { bytes } = &input {
                process.data.append(Frame::built(bytes.clone()));
            }
            let mut effects = Vec::new();
            process.machine.step(local, input, &mut effects);
            process.machine.check_invariants();
            self.carry_out(now, effects, outs, shared);
            if self.is_dying() {
                return;
            }
        }
    }

    pub(super) fn carry_out(&mut self, now: Time, effects: Vec<Effect>, outs: &mut Vec<Out>, shared: &mut Shared) {
        let mut appended = None;
        for effect in effects {
            if self.dies_now() {
                return;
            }
            if let Effect::Append { frame, cut } = &effect {
                appended = Some((frame.end(), *cut));
            } else if let Some((upto, cut)) = appended.take_if(|_| !matches!(effect, Effect::LockKeys { .. })) {
                self.running().queue.push_back(Work::Sync { upto, cut });
            }
            self.effect(now, effect, outs, shared);
        }
        if let Some((upto, cut)) = appended {
            self.running().queue.push_back(Work::Sync { upto, cut });
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
                process.data.append(frame.clone());
                // group commit: what has not begun to be synced is synced together with this
                process.queue.pop_back_if(|work| matches!(work, Work::Sync { cut: of, .. } if *of == cut));
                process.queue.push_back(Work::Append { frame, cut });
            }
            Effect::Truncate { to, cut } => {
                shared.trace.line(now, &name, || format!("cuts its log to {:?} (cut {cut})", to.index));
                shared.checks.on_truncate(process.node, process.data.applied(), to);
                process.data.truncate(to);
                process.queue.push_back(Work::Truncate { to });
                hang_up_own(process, outs);
                self.wake_reads(now, outs);
            }
            Effect::LockKeys { frame } => {
                process.data.append(frame.clone());
                process.data.lock(&frame);
            }
            Effect::Commit { upto } => self.commit(now, upto, outs, shared),
            Effect::BecameLeader { epoch, end, time } => {
                shared.trace.line(now, &name, || format!("leads in epoch {}", epoch.0));
                shared.checks.on_lead(process.node, process.incarnation, epoch);
                process.data.lead(epoch, end, time);
            }
            Effect::SteppedDown => {
                shared.trace.line(now, &name, || "leads no more".into());
                process.data.step_down();
                hang_up_own(process, outs);
            }
            Effect::Forwarded { origin, request } => {
                let (key, op) = request::decode(&request);
                let (local, durable) = (self.clock.read(now), self.running().durable);
                let process = self.running();
                if let Decision::Unchanged(outcome) = process.data.write(local, durable, Some(origin), key, &op) {
                    let reply = request::encode_answer(&outcome);
                    process.inputs.push_back(Input::ForwardAnswered { origin, reply });
                }
            }
            Effect::ForwardTaken { number } => {
                let asked = process.asked.take().expect("a write was asked for");
                process.forwards.insert(number, asked);
            }
            Effect::ForwardDone { number, outcome } => {
                let (op, what) = process.forwards.remove(&number).expect("a write of this number is under way");
                let outcome = match outcome {
                    Forwarded::Answered { reply } => request::decode_answer(&reply),
                    Forwarded::Committed { index } => {
                        answer(&what, process.values.get(&index.0).expect("it is applied").as_deref())
                    }
                };
                outs.push(Out::Answer(op, outcome));
            }
            Effect::ReadAllowed { ticket, deadline } => self.read_allowed(ticket, deadline, outs),
            Effect::ReadRefused { ticket, .. } => self.read_refused(ticket, outs),
            Effect::ReadLog { node, from, bytes } => {
                let frames = process.data.read_log(from.position, bytes);
                process.inputs.push_back(Input::LogRead { node, from, frames });
            }
            Effect::Watch { member } => outs.push(Out::Watch(member)),
            Effect::Report(report) => {
                shared.trace.line(now, &name, || format!("{report:?}"));
                assert!(
                    !matches!(report, Report::DigestDiffers { .. }),
                    "{name} holds other data than its leader: {report:?}"
                );
                if matches!(report, Report::Serving { .. }) {
                    outs.push(Out::Serving);
                }
            }
        }
    }

    fn commit(&mut self, now: Time, upto: Mark, outs: &mut Vec<Out>, shared: &mut Shared) {
        let process = self.running();
        shared.checks.on_commit(process.node, process.data.unapplied(upto.position));
        let values = &mut process.values;
        process.data.commit(upto, |applied| drop(values.insert(applied.index.0, applied.value)));
        let digest = process.data.digest();
        shared.checks.on_applied(process.node, digest);
        process.inputs.push_back(Input::Applied { digest });
        while let Some(own) = process.own.pop_front_if(|own| own.index <= upto.index) {
            outs.push(Out::Answer(own.op, own.outcome));
        }
        self.on_applied(upto.position);
        self.wake_reads(now, outs);
    }

    fn begin_write(&mut self, now: Time, op: OpId, key: Key, what: Op, outs: &mut Vec<Out>, shared: &mut Shared) {
        let (local, direct) = (self.clock.read(now), shared.dice.chance(0.8));
        let Some(process) = &mut self.process else { return };
        let place = match process.machine.write_place() {
            Ok(place) => place,
            Err(_) => return outs.push(Out::Refuse(op)),
        };
        if place == WritePlace::Here && process.data.leads() && direct {
            let durable = process.durable;
            match process.data.write(local, durable, None, key, &what) {
                Decision::Change(index, outcome) => process.own.push_back(Own { index, op, outcome }),
                // a read in disguise: the machine's own way for such answers knows what it takes
                Decision::Unchanged(_) => return self.forward(now, op, key, what, outs, shared),
            }
            // some turns gather more than one write
            if shared.dice.chance(0.7) {
                self.input(now, Input::Ticked, outs, shared);
            }
            return;
        }
        self.forward(now, op, key, what, outs, shared);
    }

    fn forward(&mut self, now: Time, op: OpId, key: Key, what: Op, outs: &mut Vec<Out>, shared: &mut Shared) {
        let request = request::encode(key, &what);
        self.running().asked = Some((op, what));
        self.input(now, Input::ForwardAsked { request }, outs, shared);
        if let Some((op, _)) = self.process.as_mut().and_then(|process| process.asked.take()) {
            outs.push(Out::Refuse(op));
        }
    }

    /// Hands the disk its next work.
    pub fn pump_disk(&mut self, now: Time) {
        let Some(process) = &mut self.process else { return };
        if process.in_flight.is_some() {
            return;
        }
        let Some(work) = process.queue.pop_front() else { return };
        let job = match &work {
            Work::Record { record, .. } => {
                let record = record.clone();
                Job::Replace(File::Record, self.keep_record(record))
            }
            Work::Append { frame, .. } => Job::Append(File::Log, frame.bytes().to_vec()),
            Work::Sync { .. } => Job::Sync(File::Log),
            Work::Truncate { to } => Job::Truncate(File::Log, to.position.0 + file::BYTES as u64),
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
            (_, Err(_)) => return (false, outs),
            (Work::Record { epoch, .. }, Ok(())) => {
                self.input(now, Input::RecordPersisted { epoch }, &mut outs, shared);
            }
            (Work::Append { frame, .. }, Ok(())) => process.written = frame.end(),
            (Work::Truncate { to }, Ok(())) => {
                process.written = to.position;
                process.durable = process.durable.min(to.position);
            }
            (Work::Sync { upto, cut }, Ok(())) => {
                // the file as it was when the sync began, and nothing was written since
                process.durable = process.written;
                self.input(now, Input::Persisted { upto, cut }, &mut outs, shared);
            }
        }
        self.pump_disk(now);
        (true, outs)
    }
}

/// The writes of this server's own clients that are prepared may be committed by another leader, or never.
fn hang_up_own(process: &mut Process, outs: &mut Vec<Out>) {
    outs.extend(process.own.drain(..).map(|own| Out::Hangup(own.op)));
}
