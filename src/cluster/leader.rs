//! The leader of an epoch: sends frames, counts acks, commits, holds and gives leases, asks for changes of members. Never
//! changes a configuration itself, never drops an entry of its log.

mod admission;
mod full;
mod members;
mod sending;
mod serve;
mod snapshot;

use std::collections::BTreeMap;

use super::configuration::{Configuration, Epoch, LogIndex, NodeId, Position};
use super::effect::{Effect, Report};
use super::frame::Frame;
use super::intake::Intake;
use super::lease::Echoes;
use super::message::{Ack, Digest};
use super::pace::Pace;
use super::progress::Progress;
use super::quorum::{self, Change, Need};
use super::rules::Rule;
use super::server::Server;
use crate::log::{Entry, FrameBuilder, FrameStart};
use crate::time::Time;
use admission::Admission;
use snapshot::Snapshots;

/// See the module.
#[derive(Clone, Debug)]
pub struct Leader {
    epoch: Epoch,
    /// Where the epoch's no-op ends: nothing is committed before all have it (R12).
    no_op: Position,
    /// Reads are answered: a no-op of this leader is committed.
    serving: bool,
    /// Resigned: nothing more is done in this epoch.
    resigned: bool,
    /// Members but itself, and learners.
    peers: BTreeMap<NodeId, Progress>,
    echoes: Echoes,
    /// How long its lease is.
    pace: Pace,
    /// Its lease held when the time was last looked at.
    held: bool,
    /// Those left out, who may still read, and until when (R20). The coordinator's name stands for unknown ones.
    left_out: Vec<(NodeId, Time)>,
    /// Asked for and not decided (R9), and when it was last asked for.
    change: Option<(Change, Time)>,
    /// Will be asked for when the newcomer has all that is committed; until then it can be given up.
    admission: Admission,
    coordinator_heard: Time,
    /// Followers that want to know whether it leads: the newest question of each, and when it came.
    questions: BTreeMap<NodeId, (u64, Time)>,
    /// Members and learners whose disks are full, and since when (D4).
    full: BTreeMap<NodeId, Time>,
    /// Since when its own is, and what was durable then.
    own_full: Option<(Time, Position)>,
    intake: Intake,
    digest: Option<Digest>,
    snapshots: Snapshots,
    ticked: Time,
    /// The largest number of an append to one that was forgotten since.
    numbered: u64,
}

impl Leader {
    /// Takes the lead in the configuration that has just become durable. `before` is what this server was in the
    /// configuration before: its leader or not.
    pub fn new(
        now: Time,
        server: &mut Server,
        before: Option<Self>,
        previous: Option<&Configuration>,
        effects: &mut Vec<Effect>,
    ) -> Self {
        let configuration = server.configuration.clone().expect("a leader has a configuration");
        let mut leader = Self {
            epoch: configuration.epoch,
            no_op: Position(0),
            serving: !server.rules.hold(Rule::R12Waits),
            resigned: false,
            peers: BTreeMap::new(),
            echoes: Echoes::default(),
            pace: Pace::new(now, server.timing.lease),
            held: false,
            left_out: Vec::new(),
            change: None,
            admission: Admission::default(),
            coordinator_heard: now,
            questions: BTreeMap::new(),
            full: BTreeMap::new(),
            own_full: None,
            intake: Intake::default(),
            digest: None,
            snapshots: Snapshots::default(),
            ticked: now,
            numbered: 0,
        };
        match before {
            Some(same) => leader.continue_from(now, same, &configuration, server),
            None => leader.take_over(now, server, previous, &configuration, effects),
        }
        let founded = configuration.epoch.0 == 1;
        for member in configuration.members.iter().filter(|member| member.node != server.node) {
            let incarnation = server.incarnation_of(member.node);
            let next = server.journal.end();
            let fresh = || {
                let mut progress = Progress::new(member.clone(), incarnation, next, 0, now);
                // R20: until it speaks in this epoch it may read under a lease of the leader before
                if !founded && server.rules.hold(Rule::R20Waits) {
                    progress.granted.make(now, server.timing.promise(server.rules));
                }
                progress
            };
            leader.peers.entry(member.node).or_insert_with(fresh).member = member.clone();
        }
        for (&node, progress) in &mut leader.peers {
            progress.learns = !configuration.has(node);
        }
        leader.begin_epoch(now, server, effects);
        leader
    }

    /// The same leader in the next epoch: leases go on, acks are gathered anew.
    fn continue_from(&mut self, now: Time, same: Self, configuration: &Configuration, server: &Server) {
        self.admission = same.admission;
        self.admission.end();
        self.serving = same.serving;
        self.echoes = same.echoes;
        (self.pace, self.held) = (same.pace, same.held);
        self.left_out = same.left_out;
        (self.full, self.own_full) = (same.full, same.own_full);
        (self.digest, self.ticked) = (same.digest, same.ticked);
        self.snapshots = same.snapshots;
        for (node, mut progress) in same.peers {
            // whoever wanted to leave has left
            progress.leaving &= configuration.has(node);
            let until = progress.granted.until();
            // R20: who is left out may read until its lease has run out, unless it is dead
            if !configuration.has(node) && until > now && !progress.dead && server.rules.hold(Rule::R20Waits) {
                self.left_out.push((node, until));
            }
            self.peers.insert(node, progress.in_next_epoch());
        }
    }

    /// A new leader does not know what the old one had promised to whom.
    fn take_over(
        &mut self,
        now: Time,
        server: &mut Server,
        previous: Option<&Configuration>,
        configuration: &Configuration,
        effects: &mut Vec<Effect>,
    ) {
        if !server.rules.hold(Rule::R12Keeps) && server.journal.is_settled() {
            // R12: what others acked together with it would be lost with this
            let commit = server.journal.commit();
            server.journal.truncate(commit, effects);
            server.forwards.on_truncated(commit.position);
        }
        // R20: whoever was left out may read until its lease has run out
        if server.rules.hold(Rule::R20Waits) {
            self.left_out = Self::who_may_read(now, server, previous, configuration);
        }
    }

    /// R12: an entry of the new epoch, so that logs which differ are seen to differ, and all that was before is committed
    /// with it.
    fn begin_epoch(&mut self, now: Time, server: &mut Server, effects: &mut Vec<Effect>) {
        let end = server.journal.end();
        let mut builder = FrameBuilder::new();
        builder.begin(FrameStart {
            epoch: self.epoch,
            first_index: LogIndex(end.index.0 + 1),
            position: end.position,
            durable_upto: server.journal.durable(),
            time: server.journal.last_time(),
        });
        builder.push(&Entry::NoOp);
        let frame = Frame::built(builder.take());
        self.no_op = frame.end();
        server.append(frame, effects);
        let (end, time) = (server.journal.end(), server.journal.last_time());
        effects.push(Effect::BecameLeader { epoch: self.epoch, end, time });
        for &node in self.peers.keys() {
            server.announce(node, effects);
        }
        self.send_to_all(now, server, effects);
        self.advance(now, server, effects);
    }

    fn needed<'a>(&'a self, server: &'a Server, need: Need) -> impl Iterator<Item = NodeId> + Clone + 'a {
        let configuration = server.configuration.as_ref().expect("a leader has a configuration");
        let asked = self.change.as_ref().map(|(change, _)| change);
        // R15: while nothing is committed without it, a newcomer that is near the end does get there
        let change = asked.or(self.admission.change().filter(|_| need == Need::Acks));
        quorum::needed(configuration, change, need, server.rules)
    }

    pub const fn is_serving(&self) -> bool {
        self.serving && !self.resigned
    }

    /// R23: a leader that neither holds its lease nor hears the coordinator nor hears everyone would bind all of them by its
    /// beacons for ever, and could do nothing with that.
    fn may_beacon(&self, now: Time, server: &Server) -> bool {
        let recent = |heard: Time| now.since(heard) < server.timing.silence;
        !self.resigned
            && (recent(self.coordinator_heard)
                || self.holds_lease(now, server)
                || self.needed(server, Need::Promises).all(|node| recent(self.peers[&node].heard))
                || !server.rules.hold(Rule::R23))
    }

    /// A follower or a learner speaks, in this epoch.
    pub fn on_ack(&mut self, now: Time, node: NodeId, ack: &Ack, server: &mut Server, effects: &mut Vec<Effect>) {
        if self.resigned || !self.hear(now, node, server) {
            return;
        }
        // R20: in this epoch it reads under no lease of an older one
        self.left_out.retain(|&(left_out, _)| left_out != node);
        if let Some(echo) = ack.echo {
            self.echoes.note(node, echo);
            // who is catching up has much to do, and no lease relies on it
            if server.configuration.as_ref().is_some_and(|configuration| configuration.has(node)) {
                self.pace.on_round_trip(now, now.since(echo));
            }
        }
        let progress = self.peers.get_mut(&node).expect("it was just heard");
        if !std::mem::replace(&mut progress.acked, true) {
            progress.granted.release();
        }
        progress.withdrawn = ack.withdrawn;
        self.note_full(now, node, ack.full);
        if !self.heeds(now, node, ack, server, effects) {
            return self.advance(now, server, effects);
        }
        let progress = self.peers.get_mut(&node).expect("it was just heard");
        Self::on_standing(now, progress, ack, server);
        self.advance(now, server, effects);
        self.grant(now, node, ack.sent, server);
        if self.may_beacon(now, server) {
            self.send_to(now, node, server, effects);
        }
    }

    /// Notes that `node` lives; false when an old incarnation speaks.
    fn hear(&mut self, now: Time, node: NodeId, server: &Server) -> bool {
        let incarnation = server.incarnation_of(node);
        let Some(progress) = self.peers.get_mut(&node) else { return false };
        if incarnation > progress.incarnation {
            progress.reincarnate(incarnation, now);
            self.echoes.forget(node);
        }
        progress.heard = now;
        true
    }

    /// Commits what all have, answers what waited for it.
    pub fn advance(&mut self, now: Time, server: &mut Server, effects: &mut Vec<Effect>) {
        if self.resigned {
            return;
        }
        self.left_out.retain(|&(_, until)| now < until);
        if self.left_out.is_empty() {
            self.commit(now, server, effects);
        }
        if self.serving {
            self.answer_questions(server, effects);
            self.release_answers(now, server, effects);
        }
    }

    fn commit(&mut self, now: Time, server: &mut Server, effects: &mut Vec<Effect>) {
        let silence = server.timing.silence;
        let silent = |node: &NodeId| self.peers.get(node).is_some_and(|peer| now.since(peer.heard) >= silence);
        // R8: all members; nobody is left out here for being silent
        let counts = |node: &NodeId| server.rules.hold(Rule::R8All) || !silent(node);
        let durable = |node: NodeId| self.peers.get(&node).and_then(|progress| progress.durable);
        let needed = self.needed(server, Need::Acks).filter(counts);
        let Some(upto) = quorum::committed(server.journal.durable(), needed, durable) else { return };
        if upto < self.no_op && server.rules.hold(Rule::R12Waits) {
            return;
        }
        if !server.commit_to(upto, effects) {
            return;
        }
        if !self.serving && server.journal.commit().position >= self.no_op {
            self.serving = true;
            effects.push(Effect::Report(Report::Serving { epoch: self.epoch }));
        }
        if server.journal.commit().position >= self.no_op {
            // all members hold all of this log, whatever was doubted
            server.trust(effects);
            self.evaluate_own(now, server, effects);
        }
        // under load the next frame tells them; otherwise nothing would
        if server.journal.prepared_bytes() == 0 && self.may_beacon(now, server) {
            self.beacon_to_all(now, server, effects);
        }
    }

    pub fn on_ticked(&mut self, now: Time, server: &mut Server, effects: &mut Vec<Effect>) {
        if self.resigned {
            return;
        }
        // who was stopped for long heard nobody, which says nothing about them
        if now.since(self.ticked) > server.timing.silence.min(server.timing.lease.longest) {
            self.peers.values_mut().for_each(|progress| progress.heard = now);
        }
        self.ticked = now;
        self.look_at_lease(now, server);
        if self.makes_way(now, server) {
            return self.resign(server, effects);
        }
        if self.may_beacon(now, server) {
            self.beacon_when_due(now, server, effects);
        }
        self.forget_learners(now, server);
        self.ask_for_change(now, server, effects);
        self.advance(now, server, effects);
    }

    /// A lease that ended while this server was to read makes the next one longer.
    fn look_at_lease(&mut self, now: Time, server: &Server) {
        let held = self.holds_lease(now, server);
        if self.held && !held {
            self.pace.on_false_alarm(now);
        } else if !held {
            self.pace.on_nothing_heard(now);
        }
        self.held = held;
        self.pace.on_ticked(now);
    }

    pub const fn on_applied(&mut self, digest: Digest) {
        self.digest = Some(digest);
    }

    /// Another leads.
    pub fn step_down(&mut self, effects: &mut Vec<Effect>) {
        if !self.resigned {
            effects.push(Effect::SteppedDown);
        }
    }

    pub const fn has_resigned(&self) -> bool {
        self.resigned
    }

    pub fn check_invariants(&self, server: &Server) {
        let configuration = server.configuration.as_ref().expect("a leader has a configuration");
        assert!(configuration.epoch == self.epoch, "a leader leads in its server's epoch");
        assert!(server.journal.end().epoch == self.epoch, "its no-op is in its log");
        assert!(!self.peers.contains_key(&server.node), "a leader is not its own follower");
        for node in configuration.nodes().filter(|&node| node != server.node) {
            assert!(self.peers.contains_key(&node), "every member is followed");
        }
        for progress in self.peers.values() {
            assert!(progress.end <= server.journal.end().position, "it has more than there is");
            progress.check_invariants();
        }
    }
}
