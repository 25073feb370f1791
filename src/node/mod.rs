//! A server of a cluster as thread 0 has it: the cluster's machine and the write path, joined.
//!
//! ```text
//! clients' writes --submit--> Writes --frames--+                     +--> answers to clients
//!                                              v                     |
//! messages, disk, lifelines --input--> cluster::Replica --effects--> Node --> effects for disk, network, other threads
//! ```
//!
//! Owns the order between the two: a frame that the write path has begun is handed to the machine before anything else happens,
//! and what the machine says about data is done before the next input. Whatever concerns disk, network and other servers leaves as
//! effects, in their order. Decides nothing that the machine or the write path has to decide.

mod gate;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cluster::{
    Configuration, Digest, Effect, EpochStart, Input, Mark, Outcome, Replica, WritePlace, WriteRefusal,
};
use crate::config;
use crate::log::Position;
use crate::proto::{Reply, reply};
use crate::stats::{Counters, Shared};
use crate::time::Time;
use crate::writes::{Answer, Frame, Origin, Placed, ReplicaFault, Write, Writes};

pub use gate::Gate;

/// What is to be done outside, and what became of clients' writes.
#[derive(Debug, Default)]
pub struct Outputs {
    /// For the disk, the network and whoever reads, in order. What concerns the write path is done already; commits and changes
    /// of the lead are among them to be known.
    pub effects: Vec<Effect>,
    /// Answers to clients' writes.
    pub answers: Vec<Answer>,
    /// What these clients asked for may be done or not: their connections are to be closed (C2).
    pub unknown: Vec<Origin>,
    /// Keys were unlocked: reads that wait for them may go on.
    pub unlocked: bool,
    /// This server cannot hold what its leader holds: it must stop.
    pub fault: Option<ReplicaFault>,
}

/// What a step needs besides the node: where things are counted.
pub struct Scene<'a> {
    /// This server's clock.
    pub now: Time,
    /// What all threads share.
    pub shared: &'a Shared,
    /// Thread 0's counts.
    pub counters: &'a mut Counters,
}

/// See the module.
pub struct Node {
    machine: Replica,
    writes: Writes,
    gate: Arc<Gate>,
    inputs: VecDeque<Input>,
    /// Memory for a step's effects.
    stepped: Vec<Effect>,
    frames: Vec<Frame>,
    out: Outputs,
    /// Of the entries that were applied just now.
    answers: Vec<Answer>,
    /// Since when there is no server that would take a write.
    headless: Option<Time>,
    /// What the store was last found to hold.
    digest: Digest,
}

impl Node {
    /// Joins the two. `writes` holds what was read back: keystore and frames.
    #[must_use]
    pub fn new(machine: Replica, writes: Writes, gate: Arc<Gate>) -> Self {
        assert!(writes.is_replica(), "a write path of a cluster");
        let (inputs, stepped, frames, out) = (VecDeque::new(), Vec::new(), Vec::new(), Outputs::default());
        let node = Self {
            machine,
            writes,
            gate,
            inputs,
            stepped,
            frames,
            out,
            answers: Vec::new(),
            headless: None,
            digest: Digest::default(),
        };
        node.publish();
        node
    }

    /// Carries out what the machine said at its start.
    pub fn begin(&mut self, effects: Vec<Effect>, scene: &mut Scene<'_>) {
        effects.into_iter().for_each(|effect| self.effect(effect, scene));
        self.run(scene);
    }

    /// What is to be done outside, for the shell to empty.
    pub const fn outputs(&mut self) -> &mut Outputs {
        &mut self.out
    }

    /// Something has happened.
    pub fn input(&mut self, input: Input, scene: &mut Scene<'_>) {
        self.inputs.push_back(input);
        self.run(scene);
    }

    /// A client's write. The answer, when it can be given at once.
    pub fn submit(&mut self, write: &Write<'_>, origin: Origin, scene: &mut Scene<'_>) -> Option<Reply> {
        if let Write::MemoryLimit { megabytes } = *write {
            // about this server alone
            return Some(self.writes.memory_limit(megabytes, scene.shared));
        }
        match self.machine.write_place() {
            Ok(WritePlace::Here) if self.writes.leads() && !self.writes.has_undecided() => {
                match self.writes.place(scene.now, write, origin, scene.shared, scene.counters) {
                    Placed::Prepared => None,
                    // a read in disguise: the machine's way for such answers knows what it takes
                    Placed::Unchanged => self.forward(write, origin, scene),
                    Placed::Answered(reply) => Some(reply),
                }
            }
            Ok(_) => self.forward(write, origin, scene),
            Err(WriteRefusal::TooFewMembers) => Some(Reply::Line(reply::TOO_FEW_SERVERS)),
            Err(WriteRefusal::DiskFull) => Some(Reply::Line(reply::OUT_OF_MEMORY_STORING)),
            Err(WriteRefusal::NoLeader | WriteRefusal::Busy) => Some(Reply::Line(reply::NO_LEADER)),
        }
    }

    fn forward(&mut self, write: &Write<'_>, origin: Origin, scene: &mut Scene<'_>) -> Option<Reply> {
        let request = self.writes.forward(write, origin);
        self.input(Input::ForwardAsked { request }, scene);
        self.writes.forward_refused().map(|_| Reply::Line(reply::NO_LEADER))
    }

    /// Whether no write should be taken for now: too many are under way, or there is no leader yet. Not for ever: then
    /// writes are taken and refused, and at once where the server `stops`.
    #[must_use]
    pub fn is_full(&mut self, now: Time, stops: bool) -> bool {
        let place = self.machine.write_place();
        if place != Err(WriteRefusal::NoLeader) {
            self.headless = None;
            return place == Err(WriteRefusal::Busy) || self.writes.is_full();
        }
        let since = *self.headless.get_or_insert(now);
        !stops && now.since(since) < config::CLUSTER_WRITE_PATIENCE
    }

    /// What this turn's writes have made is handed on.
    pub fn end_turn(&mut self, scene: &mut Scene<'_>) {
        self.run(scene);
    }

    /// Once a turn, behind what it brought: hands that on, goes on with what is committed and had no room, and keeps the store in
    /// order.
    pub fn keep_house(&mut self, scene: &mut Scene<'_>) {
        if self.writes.applied().position < self.writes.committed().position {
            let applied = self.writes.apply_committed(&mut self.answers);
            self.on_applied(applied);
        }
        // closes the frame of this turn's writes, before anything else is proposed
        self.run(scene);
        let may_propose = self.machine.write_place() == Ok(WritePlace::Here);
        self.writes.maintain_replica(scene.now, may_propose);
        let Self { writes, inputs, .. } = self;
        writes.evaluate_held(scene.now, scene.shared, scene.counters, |origin, reply| {
            inputs.push_back(Input::ForwardAnswered { origin, reply });
        });
        self.run(scene);
    }

    /// Time has passed: every few milliseconds. About so many bytes of resting items are checked; whether memory was found to
    /// have changed that nobody wrote to. A follower leaves then and takes a snapshot.
    pub fn tick(&mut self, scrub_bytes: usize, scene: &mut Scene<'_>) -> bool {
        let changed = self.writes.scrub(scrub_bytes);
        if changed && self.writes.leads() {
            // whoever leads is what others are measured by
            self.inputs.push_back(Input::Resign);
        }
        self.input(Input::Ticked, scene);
        changed
    }

    /// Gives the machine its inputs and does what it says, until there is nothing left.
    fn run(&mut self, scene: &mut Scene<'_>) {
        loop {
            // writes that came through others join the frame of those before them; everything else finds it in the log
            if !self.inputs.front().is_some_and(is_forward) {
                self.close_frame();
            }
            let Some(input) = self.inputs.pop_front() else { return };
            let mut effects = std::mem::take(&mut self.stepped);
            self.machine.step(scene.now, input, &mut effects);
            self.publish();
            for effect in effects.drain(..) {
                self.effect(effect, scene);
            }
            self.stepped = effects;
            if let Some(buffer) = self.machine.spare_buffer() {
                self.writes.reuse(buffer);
            }
        }
    }

    fn close_frame(&mut self) {
        self.writes.end_turn(&mut self.frames);
        for frame in self.frames.drain(..).rev() {
            self.inputs.push_front(Input::FrameBuilt { bytes: frame.bytes });
        }
    }

    /// Before anything that was said leaves: readers on all threads go by this.
    fn publish(&self) {
        let leads = self.writes.leads();
        self.gate.publish(self.machine.read_deadline(), self.writes.leader_time(Time(0)), leads);
    }

    fn effect(&mut self, effect: Effect, scene: &mut Scene<'_>) {
        match effect {
            Effect::Append { ref frame, .. } => {
                self.writes.on_append(frame);
                self.out.effects.push(effect);
            }
            Effect::Truncate { to, .. } => {
                self.writes.truncate(to, &mut self.out.unknown);
                self.out.unlocked = true;
                self.out.effects.push(effect);
            }
            Effect::LockKeys { frame } => self.writes.lock_keys(&frame),
            Effect::Commit { upto } => {
                let committed = self.writes.commit(upto, &mut self.answers);
                self.on_applied(committed);
                self.out.effects.push(effect);
            }
            Effect::BecameLeader { epoch, end, time } => {
                self.writes.lead(epoch, end, time);
                self.publish();
                self.out.effects.push(effect);
            }
            Effect::SteppedDown => {
                self.writes.step_down(&mut self.out.unknown);
                self.publish();
                self.out.effects.push(effect);
            }
            Effect::Forwarded { origin, request } => {
                let reply = self.writes.evaluate_forwarded(scene.now, origin, request, scene.shared, scene.counters);
                if let Some(reply) = reply {
                    self.inputs.push_back(Input::ForwardAnswered { origin, reply });
                }
            }
            Effect::ForwardTaken { number } => self.writes.forward_taken(number),
            // answered when its entry was applied
            Effect::ForwardDone { outcome: Outcome::Committed { .. }, .. } => {}
            Effect::ForwardDone { number, outcome: Outcome::Answered { reply } } => {
                self.writes.forward_answered(number, reply, &mut self.out.answers);
            }
            Effect::ForwardDone { number, outcome: Outcome::Unknown } => {
                self.out.unknown.extend(self.writes.forward_unknown(number));
            }
            Effect::Persist { .. }
            | Effect::Send { .. }
            | Effect::ReadAllowed { .. }
            | Effect::ReadRefused { .. }
            | Effect::ReadLog { .. }
            | Effect::SendSnapshot { .. }
            | Effect::TakeSnapshot
            | Effect::RefuseSnapshot
            | Effect::Watch { .. }
            | Effect::Report(_) => self.out.effects.push(effect),
        }
    }

    fn on_applied(&mut self, applied: Result<Option<Digest>, ReplicaFault>) {
        self.out.unlocked = true;
        if self.has_too_few_members() {
            // R10: it is committed and on fewer disks than were promised, so that nobody is told that it is safe
            self.out.unknown.extend(self.answers.drain(..).map(|answer| answer.origin));
        }
        self.out.answers.append(&mut self.answers);
        match applied {
            Ok(Some(digest)) => {
                self.digest = digest;
                self.inputs.push_back(Input::Applied { digest });
            }
            Ok(None) => {}
            Err(fault) => self.out.fault = Some(fault),
        }
    }

    fn has_too_few_members(&self) -> bool {
        self.configuration().is_some_and(|one| one.members.len() < usize::from(one.min_insync))
    }

    /// More of the log is on this server's disk.
    pub fn on_durable(&mut self, upto: Position) {
        self.writes.on_durable(upto);
    }

    /// Whether the next turn should come at once.
    #[must_use]
    pub fn wants_turn(&self) -> bool {
        self.writes.wants_turn() || self.writes.applied().position < self.writes.committed().position
    }

    /// The write path: for snapshots, and for the shell's numbers.
    #[must_use]
    pub const fn writes(&self) -> &Writes {
        &self.writes
    }

    /// The write path while the machine has dropped its data and a snapshot is being installed.
    pub const fn writes_mut(&mut self) -> &mut Writes {
        &mut self.writes
    }

    /// The machine.
    #[must_use]
    pub const fn machine(&self) -> &Replica {
        &self.machine
    }

    /// What the store was last found to hold, and where.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Where its log stands, and where each epoch begins below `position`.
    #[must_use]
    pub fn epochs_below(&self, position: Position) -> Vec<EpochStart> {
        self.machine.epochs_below(position)
    }

    /// Up to where the log is applied.
    #[must_use]
    pub fn applied(&self) -> Mark {
        self.writes.applied()
    }

    /// The newest configuration it adopted.
    #[must_use]
    pub const fn configuration(&self) -> Option<&Configuration> {
        self.machine.configuration()
    }

    /// Whether clients wait for nothing.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.writes.clients().next().is_none()
    }

    /// What must hold between steps.
    pub fn check_invariants(&self) {
        self.machine.check_invariants();
        self.writes.check_invariants();
    }
}

const fn is_forward(input: &Input) -> bool {
    use crate::cluster::{Body, Message};
    matches!(input, Input::Received { message: Message { body: Body::Forward(_), .. } })
}
