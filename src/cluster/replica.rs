//! One server's part in the cluster: judges what comes (R7), adopts configurations, and is leader, follower or learner as they
//! say. Owns the roles; each role's own rules stand in its file.

mod reads;

use super::configuration::{COORDINATOR, Configuration, Doubt, Epoch, Incarnation, NodeId, Position};
use super::effect::{Boot, Effect, Input, Report, Snapshot};
use super::follower::Follower;
use super::frame::Frame;
use super::history::EpochStart;
use super::leader::Leader;
use super::learner::Learner;
use super::message::{Body, Header, Message};
use super::rules::Rule;
use super::server::Server;
use crate::config;
use crate::time::Time;

#[derive(Clone, Debug)]
enum Role {
    /// Its incarnation is not durable yet: it is silent.
    Starting,
    /// It belongs to no cluster yet.
    Outside,
    Learner(Learner),
    Follower(Follower),
    Leader(Box<Leader>),
}

/// Why a write cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteRefusal {
    /// There is no leader that serves, as far as this server knows.
    NoLeader,
    /// Fewer members than writes need (R10).
    TooFewMembers,
    /// Too much is prepared (R11).
    Busy,
    /// The disk is full.
    DiskFull,
}

/// Where a write is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritePlace {
    /// Here: this server leads.
    Here,
    /// At the leader: hand it in as `ForwardAsked`.
    Leader,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Replica {
    server: Server,
    role: Role,
    registered: Option<Time>,
}

impl Replica {
    /// A server that starts. Nothing is said before its new incarnation is durable.
    #[must_use]
    pub fn start(now: Time, boot: Boot, effects: &mut Vec<Effect>) -> Self {
        let mut server = Server::new(now, boot);
        server.persist(effects);
        Self { server, role: Role::Starting, registered: None }
    }

    /// Takes one input. Effects are to be carried out in their order, before the next input; a frame that the write path
    /// has begun is ended and handed in before any other input.
    pub fn step(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        self.take_input(now, input, effects);
        self.answer_reads(now, effects);
    }

    fn take_input(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::RecordPersisted { epoch } => self.on_record_persisted(now, epoch, effects),
            _ if matches!(self.role, Role::Starting) => match input {
                Input::ReadAsked { ticket } => effects.push(Effect::ReadRefused { ticket, leader: None }),
                Input::SnapshotOffered { .. } => effects.push(Effect::RefuseSnapshot),
                _ => {}
            },
            Input::Received { message } => self.on_received(now, message, effects),
            Input::Ticked => self.on_ticked(now, effects),
            Input::PiecesSettled { node } => {
                if let Role::Leader(leader) = &mut self.role {
                    leader.on_pieces_settled(now, node);
                }
            }
            Input::FrameBuilt { bytes } => {
                let Role::Leader(leader) = &mut self.role else { panic!("only a leader's write path makes frames") };
                leader.on_frame(now, Frame::built(bytes), &mut self.server, effects);
            }
            Input::Persisted { upto, cut } => {
                if self.server.journal.on_persisted(upto, cut) {
                    self.on_durable(now, effects);
                }
            }
            Input::Refused { written, cut } => self.server.journal.on_refused(written, cut),
            Input::Applied { digest } => match &mut self.role {
                Role::Leader(leader) => {
                    self.server.on_applied(digest, effects);
                    leader.on_applied(digest);
                }
                Role::Follower(follower) => follower.on_applied(digest, &mut self.server, effects),
                Role::Starting | Role::Outside | Role::Learner(_) => self.server.on_applied(digest, effects),
            },
            Input::LifelineEnded { node, incarnation } => self.on_lifeline(now, node, incarnation, true, effects),
            Input::LifelineLost { node, incarnation } => {
                // R25: a reset or a refusal proves nothing
                let proven = !self.server.rules.hold(Rule::R25);
                self.on_lifeline(now, node, incarnation, proven, effects);
            }
            Input::Resign => {
                if let Role::Leader(leader) = &mut self.role
                    && !leader.has_resigned()
                {
                    leader.resign(&self.server, effects);
                }
            }
            Input::GiveUpForwards => self.server.forwards.on_dropped(effects),
            Input::ReadAsked { ticket } => self.on_read_asked(now, ticket, effects),
            Input::ForwardAsked { request } => self.on_forward_asked(now, request, effects),
            Input::ForwardAnswered { origin, reply } => {
                if let Role::Leader(leader) = &mut self.role {
                    leader.on_forward_answered(now, origin, reply, &mut self.server, effects);
                }
            }
            Input::LogRead { node, from, frames } => {
                if let Role::Leader(leader) = &mut self.role {
                    leader.on_log_read(now, node, from, frames, &self.server, effects);
                }
            }
            Input::SnapshotOffered { message } => self.on_snapshot_offered(&message, effects),
            Input::SnapshotInstalled { snapshot } => self.on_snapshot_installed(now, snapshot, effects),
            Input::SnapshotLost => self.on_durable(now, effects),
            Input::SnapshotSent { node } | Input::SnapshotFailed { node } => {
                if let Role::Leader(leader) = &mut self.role {
                    leader.on_snapshot_ended(now, node, &self.server);
                }
            }
        }
    }

    /// Judged like a message (R7): a stream that was opened by another leader, or in another epoch, is not this server's.
    fn on_snapshot_offered(&mut self, offer: &Message, effects: &mut Vec<Effect>) {
        let (header, server) = (&offer.header, &self.server);
        let here = header.destination == server.node && header.destination_incarnation == server.incarnation;
        let now = header.cluster == server.cluster() && header.epoch == server.epoch() && self.is_leader(header);
        let learns = matches!(self.role, Role::Learner(_)) && offer.body == Body::SnapshotOffer;
        if here && now && learns {
            Learner::on_offered(&mut self.server, effects);
        } else {
            effects.push(Effect::RefuseSnapshot);
        }
    }

    fn on_snapshot_installed(&mut self, now: Time, snapshot: Snapshot, effects: &mut Vec<Effect>) {
        assert!(self.server.dropped && snapshot.fault().is_none(), "what was taken is installed");
        self.server.install(snapshot, effects);
        // what was known of how the logs agree was about another log
        let (leader, member) = match &self.role {
            Role::Learner(learner) => (learner.receiver.leader, false),
            Role::Follower(follower) => (follower.receiver.leader, true),
            Role::Starting | Role::Outside | Role::Leader(_) => unreachable!("who has dropped its data follows"),
        };
        self.follow(now, leader, member, effects);
    }

    /// More of the own log is durable.
    fn on_durable(&mut self, now: Time, effects: &mut Vec<Effect>) {
        match &mut self.role {
            Role::Leader(leader) => leader.advance(now, &mut self.server, effects),
            Role::Follower(follower) => follower.receiver.ack_standing(now, &self.server, effects),
            Role::Learner(learner) => learner.receiver.ack_standing(now, &self.server, effects),
            Role::Starting | Role::Outside => {}
        }
    }

    fn on_received(&mut self, now: Time, message: Message, effects: &mut Vec<Effect>) {
        let Message { header, body } = message;
        let server = &mut self.server;
        let to_other = header.destination_incarnation.0 != 0 && header.destination_incarnation != server.incarnation;
        if header.destination != server.node || to_other {
            // a coordinator that knows an older incarnation may wait for it for ever: this one may follow and say nothing to it
            let older = header.destination_incarnation < server.incarnation && header.destination == server.node;
            if to_other && older && header.source == COORDINATOR && !matches!(self.role, Role::Starting) {
                server.register(effects);
            }
            return;
        }
        if let Body::Refused { .. } = body {
            return effects.push(Effect::Report(Report::RefusedByCoordinator));
        }
        if server.cluster().0 != 0 && header.cluster.0 != 0 && header.cluster != server.cluster() {
            return effects.push(Effect::Report(Report::OtherCluster { from: header.source }));
        }
        if !self.is_of_newest_incarnation(&header) {
            return;
        }
        if let Body::Announce(configuration) = body {
            return self.on_announce(header, configuration, effects);
        }
        let own = self.server.epoch();
        if matches!(body, Body::ConfigAsked) {
            return self.server.announce(header.source, effects);
        }
        // R7: what was said at a lower epoch says nothing now; whoever said it is told
        if header.epoch < own && self.server.rules.hold(Rule::R7) {
            return self.server.announce(header.source, effects);
        }
        if header.epoch > own && self.server.rules.hold(Rule::R7) {
            // R7: nothing is handled before its epoch is durable here
            self.server.send(header.source, Body::ConfigAsked, effects);
            return;
        }
        self.handle(now, header, body, effects);
    }

    /// R6: an old incarnation's words count for nothing.
    fn is_of_newest_incarnation(&mut self, header: &Header) -> bool {
        if header.source == COORDINATOR {
            return true;
        }
        let known = self.server.incarnations.len() < config::CLUSTER_MEMBERS_MAX + config::CLUSTER_LEARNERS_MAX
            || self.server.incarnations.contains_key(&header.source);
        if !known {
            self.forget_strangers();
        }
        let newest = self.server.incarnations.entry(header.source).or_default();
        if header.source_incarnation < *newest {
            return false;
        }
        *newest = header.source_incarnation;
        true
    }

    /// Only members' incarnations are worth keeping; others are heard again.
    fn forget_strangers(&mut self) {
        if let Some(configuration) = &self.server.configuration {
            self.server.incarnations.retain(|node, _| configuration.has(*node));
        }
    }

    fn handle(&mut self, now: Time, header: Header, body: Body, effects: &mut Vec<Effect>) {
        let of_leader = self.is_leader(&header);
        let (from, server) = (header.source, &mut self.server);
        let heeds = of_leader || !server.rules.hold(Rule::R7);
        match (&mut self.role, body) {
            (Role::Follower(follower), Body::Append(append)) if heeds => {
                follower.receiver.leader = from;
                follower.on_append(now, &append, server, effects);
                self.send_forwards(now, effects);
            }
            (Role::Learner(learner), Body::Append(append)) if heeds => {
                learner.on_append(now, &append, server, effects);
                self.send_forwards(now, effects);
            }
            (Role::Follower(_) | Role::Learner(_), Body::Resigned) if of_leader => {
                // R25: a resignation is proof
                server.on_leader_gone();
            }
            (Role::Follower(follower), Body::CandidateAsked { proven_dead }) if from == COORDINATOR => {
                if proven_dead {
                    server.on_leader_gone();
                }
                follower.on_candidate_asked(now, server, effects);
            }
            (Role::Leader(leader), Body::ReadIndexAsked { number }) => {
                leader.on_read_index_asked(now, from, number, server, effects);
            }
            (Role::Follower(_), Body::ReadIndex { number, commit }) if of_leader => {
                server.reads.on_index(number, commit);
            }
            (Role::Learner(learner), Body::SnapshotNeeded { from }) if of_leader => {
                learner.on_snapshot_needed(from, server, effects);
            }
            (Role::Learner(learner), Body::CandidateAsked { .. }) if !server.rules.hold(Rule::R3) => {
                Follower::new(learner.receiver.leader).on_candidate_asked(now, server, effects);
            }
            (Role::Follower(_) | Role::Learner(_), Body::ForwardAnswer { number, reply }) if of_leader => {
                server.forwards.on_answered(number, reply, effects);
            }
            (Role::Leader(leader), Body::Ack(ack)) => leader.on_ack(now, from, &ack, server, effects),
            (Role::Leader(leader), Body::Heartbeat { sent, registered }) if from == COORDINATOR => {
                leader.on_heartbeat(now, sent, registered, server, effects);
            }
            (Role::Leader(leader), Body::Forward(forward)) => {
                leader.on_forward(from, header.source_incarnation, forward, server, effects);
            }
            (Role::Leader(leader), Body::Leaving) => leader.on_leaving(now, from, server, effects),
            // everything else was meant for another role, which this server had or will have
            _ => {}
        }
    }

    fn is_leader(&self, header: &Header) -> bool {
        self.server.configuration.as_ref().is_some_and(|configuration| {
            configuration.leader == header.source && configuration.leader_incarnation == header.source_incarnation
        })
    }

    fn on_announce(&mut self, header: Header, configuration: Configuration, effects: &mut Vec<Effect>) {
        if configuration.cluster != header.cluster || configuration.fault().is_some() {
            return;
        }
        let newest = self.server.adopting.as_ref().map_or(self.server.epoch(), |adopting| adopting.epoch);
        // with what is durable here and newer than that: two that are adopting the same would tell each other for ever
        if configuration.epoch < self.server.epoch() && header.source != COORDINATOR {
            return self.server.announce(header.source, effects);
        }
        // one at a time: what comes meanwhile comes again
        if configuration.epoch <= newest || self.server.adopting.is_some() {
            return;
        }
        let server = &mut self.server;
        let leads = configuration.leader == server.node && configuration.leader_incarnation == server.incarnation;
        if leads && (server.dropped || server.journal.end().position < server.consistent) {
            return effects.push(Effect::Report(Report::CannotLead));
        }
        let forced = server.configuration.as_ref().map_or(Epoch(0), |own| own.forced);
        if configuration.forced > forced && !leads && server.journal.end().position.0 > 0 {
            // D3: what is committed here may not be so there, and a committed entry is never cut off
            server.doubt = Doubt::Data;
        }
        server.adopting = Some(configuration);
        server.persist(effects);
    }

    fn on_record_persisted(&mut self, now: Time, epoch: Epoch, effects: &mut Vec<Effect>) {
        self.server.on_record_persisted(epoch, effects);
        if matches!(self.role, Role::Starting) {
            self.role = Role::Outside;
            self.take_role(now, None, None, effects);
            self.register(now, effects);
            return;
        }
        let Some(configuration) = self.server.adopting.take_if(|adopting| adopting.epoch == epoch) else { return };
        let (epoch, leader) = (configuration.epoch, configuration.leader);
        let previous = self.server.configuration.replace(configuration);
        let before = std::mem::replace(&mut self.role, Role::Outside);
        self.take_role(now, Some(before), previous.as_ref(), effects);
        effects.push(Effect::Report(Report::Adopted { epoch, leader }));
        self.watch(effects);
    }

    /// Becomes what the configuration says. The read lease goes with the old role (R7).
    fn take_role(
        &mut self,
        now: Time,
        before: Option<Role>,
        previous: Option<&Configuration>,
        effects: &mut Vec<Effect>,
    ) {
        let server = &mut self.server;
        let Some(configuration) = &server.configuration else { return };
        let leads = configuration.leader == server.node && configuration.leader_incarnation == server.incarnation;
        let (leader, member) = (configuration.leader, configuration.has(server.node));
        server.withdrawn = false;
        server.reads.in_next_epoch();
        if leads {
            let same = match before {
                Some(Role::Leader(same)) if !same.has_resigned() => Some(*same),
                _ => None,
            };
            let lead = Leader::new(now, server, same, previous, effects);
            self.role = Role::Leader(Box::new(lead));
        } else {
            if let Some(Role::Leader(mut old)) = before {
                old.step_down(effects);
            }
            self.follow(now, leader, member, effects);
        }
        self.server.adopted = now;
    }

    fn follow(&mut self, now: Time, leader: NodeId, member: bool, effects: &mut Vec<Effect>) {
        let server = &mut self.server;
        if !server.rules.hold(Rule::R13) {
            // R13: what others acked with it may be committed, and only the leader's log says so
            let commit = server.journal.commit();
            if commit.position < server.journal.end().position && server.journal.is_settled() {
                server.journal.truncate(commit, effects);
                server.forwards.on_truncated(commit.position);
            }
        }
        if member {
            let mut follower = Follower::new(leader);
            follower.receiver.ack_standing(now, server, effects);
            self.role = Role::Follower(follower);
        } else {
            let mut learner = Learner::new(leader);
            learner.receiver.ack_standing(now, server, effects);
            self.role = Role::Learner(learner);
        }
    }

    /// Lifelines to all other members, for proof of death (R25).
    fn watch(&self, effects: &mut Vec<Effect>) {
        let members = self.server.configuration.iter().flat_map(|configuration| &configuration.members);
        let others = members.filter(|member| member.node != self.server.node);
        effects.extend(others.map(|member| Effect::Watch { member: member.clone() }));
    }

    fn on_lifeline(
        &mut self,
        now: Time,
        node: NodeId,
        incarnation: Incarnation,
        proven: bool,
        effects: &mut Vec<Effect>,
    ) {
        let of_leader = self.server.configuration.as_ref().is_some_and(|configuration| {
            configuration.leader == node && configuration.leader_incarnation <= incarnation
        });
        match &mut self.role {
            Role::Leader(leader) => leader.on_lifeline(now, node, incarnation, proven, &mut self.server, effects),
            Role::Follower(_) | Role::Learner(_) if of_leader && proven => self.server.on_leader_gone(),
            Role::Starting | Role::Outside | Role::Follower(_) | Role::Learner(_) => {}
        }
    }

    fn on_ticked(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.server.retry_disk(now, effects);
        let server = &mut self.server;
        let mut lost = true;
        match &mut self.role {
            Role::Leader(leader) => {
                leader.on_ticked(now, server, effects);
                lost = leader.has_resigned();
            }
            Role::Follower(follower) => {
                follower.on_ticked(now, server, effects);
                lost = follower.receiver.is_lost(now, server);
            }
            Role::Learner(learner) => learner.on_ticked(now, server, effects),
            Role::Starting | Role::Outside => {}
        }
        let again = self.registered.is_none_or(|at| now.since(at) >= self.server.timing.heartbeat);
        if lost && again {
            self.register(now, effects);
        }
        self.send_forwards(now, effects);
    }

    fn register(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.registered = Some(now);
        self.server.register(effects);
    }

    fn on_forward_asked(&mut self, now: Time, request: Vec<u8>, effects: &mut Vec<Effect>) {
        self.server.forwards.push(request, effects);
        match &mut self.role {
            Role::Leader(leader) => leader.on_forward_asked(now, &mut self.server, effects),
            _ => self.send_forwards(now, effects),
        }
    }

    fn send_forwards(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let leader = match &self.role {
            Role::Follower(follower) => follower.receiver.leader,
            Role::Learner(learner) => learner.receiver.leader,
            Role::Starting | Role::Outside | Role::Leader(_) => return,
        };
        let server = &mut self.server;
        if server.forwards.is_empty() {
            return;
        }
        let (epoch, commit, resend, rules) =
            (server.epoch(), server.journal.commit(), server.timing.resend, server.rules);
        let mut due = Vec::new();
        server.forwards.due(now, epoch, commit, resend, rules, |forward| due.push(forward));
        for forward in due {
            server.send(leader, Body::Forward(forward), effects);
        }
    }

    /// Until when reads may be answered here, if at all; whoever reads compares it with a clock read after the value was
    /// taken (R24, `read_order`).
    #[must_use]
    pub fn read_deadline(&self) -> Option<Time> {
        match &self.role {
            Role::Leader(leader) => leader.read_deadline(&self.server),
            Role::Follower(follower) => follower.read_deadline(&self.server),
            Role::Starting | Role::Outside | Role::Learner(_) => None,
        }
    }

    /// Where a client's write goes now.
    ///
    /// # Errors
    /// When it can go nowhere for now.
    pub fn write_place(&self) -> Result<WritePlace, WriteRefusal> {
        let server = &self.server;
        match &self.role {
            Role::Leader(leader) if leader.is_serving() => {
                let few = server.configuration.as_ref().is_none_or(|c| c.members.len() < usize::from(c.min_insync));
                // R10
                if few {
                    return Err(WriteRefusal::TooFewMembers);
                }
                // D4
                if leader.is_full(server) {
                    return Err(WriteRefusal::DiskFull);
                }
                // R11
                if leader.has_room(server) { Ok(WritePlace::Here) } else { Err(WriteRefusal::Busy) }
            }
            // what was sent from here could never be found again in a log that is to be dropped
            Role::Follower(_) | Role::Learner(_) if server.is_lost() => Err(WriteRefusal::NoLeader),
            Role::Follower(_) | Role::Learner(_) if server.forwards.is_full() => Err(WriteRefusal::Busy),
            Role::Follower(_) | Role::Learner(_) => Ok(WritePlace::Leader),
            Role::Leader(_) | Role::Starting | Role::Outside => Err(WriteRefusal::NoLeader),
        }
    }

    /// The buffer of a frame that this server needs no more, for a coming one: with them the steady state allocates nothing
    /// of a frame's size.
    pub fn spare_buffer(&mut self) -> Option<Vec<u8>> {
        self.server.journal.spare_buffer()
    }

    /// Who leads, as far as this server knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.server.configuration.as_ref().map(|configuration| configuration.leader)
    }

    /// Whether it leads and serves.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.is_serving())
    }

    /// What is durable of it besides its log.
    #[must_use]
    pub const fn configuration(&self) -> Option<&Configuration> {
        self.server.configuration.as_ref()
    }

    /// Its name.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.server.node
    }

    /// Its incarnation.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.server.incarnation
    }

    /// Where its log stands.
    #[must_use]
    pub const fn end(&self) -> super::configuration::Mark {
        self.server.journal.end()
    }

    /// Up to where it is committed, as far as this server knows.
    #[must_use]
    pub const fn commit(&self) -> super::configuration::Mark {
        self.server.journal.commit()
    }

    /// `leader`, `follower`, `learner`, `outside` or `starting`.
    #[must_use]
    pub const fn role(&self) -> &'static str {
        match self.role {
            Role::Starting => "starting",
            Role::Outside => "outside",
            Role::Learner(_) => "learner",
            Role::Follower(_) => "follower",
            Role::Leader(_) => "leader",
        }
    }

    /// Where each epoch begins that has a frame below `position`: what a snapshot says of the log before it.
    #[must_use]
    pub fn epochs_below(&self, position: Position) -> Vec<EpochStart> {
        self.server.journal.history().starts_below(position).copied().collect()
    }

    /// Why its log or data is doubted, if it is.
    #[must_use]
    pub const fn doubt(&self) -> Doubt {
        self.server.doubt
    }

    /// What must hold between steps.
    pub fn check_invariants(&self) {
        self.server.journal.check_invariants();
        match &self.role {
            Role::Leader(leader) => leader.check_invariants(&self.server),
            Role::Follower(follower) => follower.receiver.check_invariants(&self.server),
            Role::Learner(learner) => learner.receiver.check_invariants(&self.server),
            Role::Starting | Role::Outside => {}
        }
        if let Some(adopting) = &self.server.adopting {
            assert!(adopting.epoch > self.server.epoch(), "only a newer configuration is adopted");
        }
    }
}
