//! The coordinator, the load balancer's brain: the only one that makes configurations, by compare-and-swap, durable before they
//! are told (R1, R2). Watches the leader and sees to another one. Never touches the data path: its death stops no get or set.
//!
//! ```text
//!            Register (first come)                ChangeAsked, election
//!   nothing ----------------------> persisting <--------------------------- watching
//!                                       |  Persisted: announced                 ^
//!                                       '---------------------------------------'
//! ```

mod recover;

use std::collections::BTreeMap;

use super::configuration::{COORDINATOR, Configuration, Epoch, Incarnation, LogId, Mark, Member, NodeId};
use super::election::{Answer, Election};
use super::lease::Timing;
use super::message::{Body, Header, Message, Registered};
use super::pace::Pace;
use super::rules::{Rule, Rules};
use crate::config;
use crate::time::{Duration, Time};
pub use recover::{ForceRefusal, RecoverFault};

/// What a coordinator knows when it starts.
#[derive(Clone, Debug)]
pub struct CoordinatorBoot {
    /// As it was read back. Without one a new cluster is founded.
    pub record: Option<Configuration>,
    /// The id of a cluster that would be founded: random.
    pub fresh: LogId,
    /// `--min-insync` of a cluster that would be founded.
    pub min_insync: u8,
    /// Times and bounds.
    pub timing: Timing,
    /// The rules.
    pub rules: Rules,
}

/// Something that has happened.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are those of a server's inputs")]
#[allow(clippy::large_enum_variant, reason = "most inputs are messages, and none is kept")]
pub enum CoordinatorInput {
    /// A message came.
    Received { message: Message },
    /// Time has passed; comes every few milliseconds.
    Ticked,
    /// A `Persist` is done, file and directory.
    Persisted { epoch: Epoch },
    /// The lifeline to that server ended in order: it is dead (R25).
    LifelineEnded { node: NodeId, incarnation: Incarnation },
    /// It was reset or refused: a hint.
    LifelineLost { node: NodeId, incarnation: Incarnation },
    /// An operator wants this server to lead, though it may lack what was acknowledged (D3, `--unsafe-recover`). `confirmed`
    /// when the operator was told what it holds and said yes.
    UnsafeRecover { node: NodeId, confirmed: bool },
}

/// Something to do, in order.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the variants tell of their fields")]
pub enum CoordinatorEffect {
    /// Make it durable, file and directory, then say `Persisted`.
    Persist { configuration: Configuration },
    /// Send a message.
    Send { message: Message },
    /// Open a lifeline to this server.
    Watch { member: Member, incarnation: Incarnation },
    /// A server holds data of another cluster and is not let in (R1).
    RefusedServer { node: NodeId, ours: LogId, theirs: LogId },
    /// A server is of a later epoch than the record: the record is an old one, and nothing can be decided with it (R1).
    ServerAhead { node: NodeId, epoch: Epoch },
    /// No server is made to lead by force.
    ForceRefused { node: NodeId, why: ForceRefusal },
}

/// A server as it registered.
#[derive(Clone, Debug)]
struct Known {
    member: Member,
    incarnation: Incarnation,
    heard: Time,
    /// Where its log stood when it registered.
    end: Mark,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Coordinator {
    /// The newest configuration that is durable.
    record: Option<Configuration>,
    /// Being made durable. Invariant: the record's epoch and one more.
    persisting: Option<Configuration>,
    fresh: LogId,
    min_insync: u8,
    timing: Timing,
    rules: Rules,
    servers: BTreeMap<NodeId, Known>,
    /// Since when the leader may have been silent: the newest heartbeat that it answered was sent then, or it could be asked
    /// no earlier.
    leader_heard: Time,
    /// How long the leader may be silent.
    silence: Pace,
    /// The leader's lease is long: something was late there.
    lease_is_long: bool,
    /// How much longer than others this leader may be silent.
    slack: Duration,
    /// When the newest heartbeat was sent that this leader answered; nothing until it has.
    leader_answered: Option<Time>,
    /// The leader's incarnation is dead, or leads no more by its own word (R25).
    leader_gone: bool,
    /// Incarnations that are proven dead.
    dead: BTreeMap<NodeId, Incarnation>,
    election: Option<Election>,
    beaten: Option<Time>,
}

impl Coordinator {
    /// A coordinator that starts.
    #[must_use]
    pub fn start(now: Time, boot: CoordinatorBoot) -> Self {
        let CoordinatorBoot { record, fresh, min_insync, timing, rules } = boot;
        assert!(fresh.0 != 0, "0 is no cluster");
        Self {
            record,
            persisting: None,
            fresh,
            min_insync,
            timing,
            rules,
            servers: BTreeMap::new(),
            leader_heard: now,
            silence: Pace::new(now, timing.leader_silence),
            lease_is_long: false,
            slack: Duration(0),
            leader_answered: None,
            leader_gone: false,
            dead: BTreeMap::new(),
            election: None,
            beaten: None,
        }
    }

    /// Takes one input. `pick` draws a number below its argument from the caller's seeded randomness.
    pub fn step(
        &mut self,
        now: Time,
        input: CoordinatorInput,
        pick: &mut dyn FnMut(usize) -> usize,
        effects: &mut Vec<CoordinatorEffect>,
    ) {
        match input {
            CoordinatorInput::Received { message } => self.on_received(now, message, effects),
            CoordinatorInput::Ticked => self.on_ticked(now, effects),
            CoordinatorInput::Persisted { epoch } => self.on_persisted(now, epoch, effects),
            CoordinatorInput::LifelineEnded { node, incarnation } => self.on_dead(now, node, incarnation, effects),
            CoordinatorInput::UnsafeRecover { node, confirmed } => match self.force(now, node, confirmed) {
                Ok(configuration) => self.persist(configuration, effects),
                Err(why) => effects.push(CoordinatorEffect::ForceRefused { node, why }),
            },
            CoordinatorInput::LifelineLost { node, incarnation } => {
                // R25: a reset or a refusal proves nothing
                if !self.rules.hold(Rule::R25) {
                    self.on_dead(now, node, incarnation, effects);
                }
            }
        }
        self.decide(now, pick, effects);
    }

    fn cluster(&self) -> LogId {
        self.record.as_ref().map_or(self.fresh, |record| record.cluster)
    }

    fn epoch(&self) -> Epoch {
        self.record.as_ref().map_or(Epoch(0), |record| record.epoch)
    }

    /// The newest incarnation of `node` that is known, 0 when none is. Who has started anew knows the leader's from its record,
    /// and may hear an old message of an older one first.
    fn incarnation_of(&self, node: NodeId) -> Incarnation {
        let registered = self.servers.get(&node).map_or(Incarnation(0), |known| known.incarnation);
        let leads = self.record.as_ref().filter(|record| record.leader == node);
        registered.max(leads.map_or(Incarnation(0), |record| record.leader_incarnation))
    }

    fn send(&self, destination: NodeId, body: Body, effects: &mut Vec<CoordinatorEffect>) {
        let destination_incarnation = self.incarnation_of(destination);
        let header = Header {
            cluster: self.cluster(),
            epoch: self.epoch(),
            source: COORDINATOR,
            source_incarnation: Incarnation(0),
            destination,
            destination_incarnation,
        };
        effects.push(CoordinatorEffect::Send { message: Message { header, body } });
    }

    fn announce(&self, destination: NodeId, effects: &mut Vec<CoordinatorEffect>) {
        if let Some(record) = &self.record {
            self.send(destination, Body::Announce(record.clone()), effects);
        }
    }

    fn on_received(&mut self, now: Time, message: Message, effects: &mut Vec<CoordinatorEffect>) {
        let Message { header, body } = message;
        let from = header.source;
        if header.destination != COORDINATOR || from == COORDINATOR || header.source_incarnation.0 == 0 {
            return;
        }
        if !self.is_ours(&header) {
            // R1: it may not be ours to take, and its data would be lost
            let (ours, theirs) = (self.cluster(), header.cluster);
            effects.push(CoordinatorEffect::RefusedServer { node: from, ours, theirs });
            return self.send(from, Body::Refused { yours: theirs }, effects);
        }
        if header.source_incarnation < self.incarnation_of(from) {
            return;
        }
        if header.epoch > self.epoch() && self.rules.hold(Rule::R2) {
            // R1: somebody else decided that, or this record was lost and is an old one
            return effects.push(CoordinatorEffect::ServerAhead { node: from, epoch: header.epoch });
        }
        match body {
            Body::Register { contact, end, .. } => self.on_register(now, &header, contact, end, effects),
            Body::ConfigAsked => self.announce(from, effects),
            // R4: a request made at another epoch is answered with the current configuration
            _ if header.epoch != self.epoch() && (self.rules.hold(Rule::R2) || header.epoch.0 == 0) => {
                self.announce(from, effects);
            }
            Body::ChangeAsked { members } => self.on_change_asked(now, &header, members, effects),
            Body::HeartbeatAck { echo, lease, slack, .. } if self.is_leader(&header) => {
                (self.lease_is_long, self.slack) = (lease > self.timing.lease.calm, slack);
                self.on_heartbeat_ack(now, echo);
            }
            Body::CandidateAnswer { end, promise_left, doubtful } => {
                let answer = Answer { incarnation: header.source_incarnation, end, promise_left, doubtful };
                self.on_answer(now, from, answer);
            }
            Body::Resigned if self.is_leader(&header) => {
                // it stops, or it registers again: until then it is nobody to be let in
                self.servers.retain(|&node, known| node != from || known.incarnation > header.source_incarnation);
                self.on_leader_gone(now, effects);
            }
            _ => {}
        }
    }

    /// The leader heard the heartbeat that was sent at `echo`. An answer counts from there: it may have been long on its way.
    fn on_heartbeat_ack(&mut self, now: Time, echo: Time) {
        if echo > now {
            return; // the coordinator that asked ran before this one, by another clock
        }
        self.leader_answered = self.leader_answered.max(Some(echo));
        self.leader_heard = self.leader_heard.max(echo);
        self.silence.on_round_trip(now, now.since(echo));
        // R5: it lives, so it is not deposed; those who promise nothing more are freed by its next change
        if !self.leader_gone && !self.leader_is_silent(now) && self.election.take().is_some() {
            self.silence.on_false_alarm(now);
        }
    }

    fn silence(&self) -> Duration {
        let silence = if self.lease_is_long { self.timing.leader_silence.longest } else { self.silence.length() };
        Duration(silence.0 + self.slack.0)
    }

    fn leader_is_silent(&self, now: Time) -> bool {
        now.since(self.leader_heard) >= self.silence()
    }

    /// Whether the leader hears this coordinator. One that hears nobody finds all others silent, and the change that it asks for
    /// would leave it alone in a configuration that it never learns of.
    fn leader_hears(&self, now: Time) -> bool {
        self.leader_answered.is_some_and(|answered| now.since(answered) < self.silence())
    }

    /// Whether the sender holds no data or this cluster's. A log that was written before its server was in any cluster founds one, and
    /// has no place in another, also where the ids are alike because a directory was copied.
    fn is_ours(&self, header: &Header) -> bool {
        if header.cluster.0 == 0 {
            return true;
        }
        let founded = self.record.as_ref().or(self.persisting.as_ref());
        match founded {
            None => header.epoch.0 == 0,
            Some(record) => header.cluster == record.cluster && (header.epoch.0 > 0 || record.has(header.source)),
        }
    }

    fn is_leader(&self, header: &Header) -> bool {
        self.record.as_ref().is_some_and(|record| {
            record.leader == header.source && record.leader_incarnation == header.source_incarnation
        })
    }

    fn on_register(
        &mut self,
        now: Time,
        header: &Header,
        contact: String,
        end: Mark,
        effects: &mut Vec<CoordinatorEffect>,
    ) {
        let (node, incarnation) = (header.source, header.source_incarnation);
        let room = self.servers.contains_key(&node)
            || self.servers.len() < config::CLUSTER_MEMBERS_MAX + config::CLUSTER_LEARNERS_MAX;
        if contact.len() > config::CONTACT_BYTES_MAX || !room {
            return;
        }
        let member = Member { node, contact };
        let news = self.servers.get(&node).is_none_or(|known| known.incarnation < incarnation);
        self.servers.insert(node, Known { member: member.clone(), incarnation, heard: now, end });
        if news {
            effects.push(CoordinatorEffect::Watch { member: member.clone(), incarnation });
        }
        let Some(record) = &self.record else { return self.found(header, member, end, effects) };
        if header.epoch < record.epoch {
            self.announce(node, effects);
        }
        // R6: where a later incarnation runs, the earlier one does not
        let restarted =
            self.record.as_ref().is_some_and(|record| record.leader == node && record.leader_incarnation < incarnation);
        if restarted {
            self.on_leader_gone(now, effects);
        }
    }

    /// The first to come leads a new cluster. What it wrote when it stood alone is of an earlier epoch, and of the cluster from now on.
    fn found(&mut self, header: &Header, member: Member, end: Mark, effects: &mut Vec<CoordinatorEffect>) {
        if self.persisting.is_none() {
            if header.cluster.0 != 0 {
                self.fresh = header.cluster;
            }
            let configuration = Configuration {
                cluster: self.fresh,
                epoch: Epoch(end.epoch.0 + 1),
                leader: member.node,
                leader_incarnation: header.source_incarnation,
                members: vec![member],
                min_insync: self.min_insync,
                forced: Epoch(0),
            };
            self.persist(configuration, effects);
        }
    }

    /// R1: durable first, then announced.
    fn persist(&mut self, configuration: Configuration, effects: &mut Vec<CoordinatorEffect>) {
        assert!(self.persisting.is_none(), "one change at a time");
        let next = configuration.epoch.0 == self.epoch().0 + 1;
        assert!(next || self.record.is_none(), "R2: from e to e + 1 and no other");
        assert!(configuration.fault().is_none(), "a configuration is made right");
        self.persisting = Some(configuration.clone());
        effects.push(CoordinatorEffect::Persist { configuration });
    }

    fn on_persisted(&mut self, now: Time, epoch: Epoch, effects: &mut Vec<CoordinatorEffect>) {
        let Some(configuration) = self.persisting.take_if(|persisting| persisting.epoch == epoch) else { return };
        let before = self.record.replace(configuration);
        (self.leader_heard, self.leader_gone, self.election) = (now, false, None);
        let leads = |record: &Configuration| (record.leader, record.leader_incarnation);
        if before.as_ref().map(leads) != self.record.as_ref().map(leads) {
            self.leader_answered = None;
            (self.lease_is_long, self.slack) = (false, Duration(0));
            self.silence.on_nothing_heard(now);
        }
        let record = self.record.as_ref().expect("it was just set");
        // what happened to its leader meanwhile is still true
        let restarted =
            self.servers.get(&record.leader).is_some_and(|known| known.incarnation > record.leader_incarnation);
        let dead = self.dead.get(&record.leader).is_some_and(|&dead| dead >= record.leader_incarnation);
        self.leader_gone = restarted || dead;
        self.dead.retain(|&node, _| record.has(node));
        let left = before.iter().flat_map(Configuration::nodes).filter(|&node| !record.has(node));
        let told: Vec<NodeId> = record.nodes().chain(left).collect();
        for node in told {
            self.announce(node, effects);
        }
        self.watch_leader(effects);
    }

    /// A lifeline to the leader, for proof of its death (R25).
    fn watch_leader(&self, effects: &mut Vec<CoordinatorEffect>) {
        let Some(record) = &self.record else { return };
        let member = record.member(record.leader).expect("the leader is a member").clone();
        effects.push(CoordinatorEffect::Watch { member, incarnation: record.leader_incarnation });
    }

    /// R2: compare and swap, by the leader of the current configuration, which is one of its members.
    fn on_change_asked(
        &mut self,
        now: Time,
        header: &Header,
        members: Vec<Member>,
        effects: &mut Vec<CoordinatorEffect>,
    ) {
        let Some(record) = &self.record else { return };
        if self.persisting.is_some() || self.leader_gone {
            return;
        }
        let mut next = record.clone();
        next.epoch.0 += 1;
        next.members = members;
        if self.rules.hold(Rule::R2) {
            if !self.is_leader(header) || !self.leader_hears(now) {
                return; // it asks again
            }
        } else {
            // R2: whoever asks gets what it asks for
            (next.leader, next.leader_incarnation) = (header.source, header.source_incarnation);
        }
        if next.fault().is_none() {
            self.persist(next, effects);
        }
    }

    fn on_dead(&mut self, now: Time, node: NodeId, incarnation: Incarnation, effects: &mut Vec<CoordinatorEffect>) {
        if self.servers.get(&node).is_some_and(|known| known.incarnation <= incarnation) {
            self.servers.remove(&node);
        }
        let of = |configuration: &Option<Configuration>| configuration.as_ref().is_some_and(|one| one.has(node));
        if of(&self.record) || of(&self.persisting) {
            let dead = self.dead.entry(node).or_default();
            *dead = incarnation.max(*dead);
        }
        let leads = |record: &Configuration| record.leader == node && record.leader_incarnation <= incarnation;
        if self.record.as_ref().is_some_and(leads) {
            self.on_leader_gone(now, effects);
        }
    }

    fn on_leader_gone(&mut self, now: Time, effects: &mut Vec<CoordinatorEffect>) {
        if !self.leader_gone {
            self.leader_gone = true;
            self.election = None;
            self.elect(now, effects);
        }
    }

    fn on_ticked(&mut self, now: Time, effects: &mut Vec<CoordinatorEffect>) {
        let Some(leader) = self.record.as_ref().map(|record| record.leader) else { return };
        self.silence.on_ticked(now);
        if self.beaten.is_none_or(|at| now.since(at) >= self.timing.heartbeat) {
            // who was stopped for long heard nobody, which says nothing about the leader
            if self.beaten.is_none() {
                self.watch_leader(effects);
            }
            let stopped = self.beaten.is_some_and(|at| now.since(at) >= self.silence());
            if stopped {
                self.silence.on_false_alarm(now);
                self.leader_heard = now;
            }
            self.beaten = Some(now);
            let forgotten = 20 * self.timing.leader_silence.longest.0;
            let record = self.record.as_ref().expect("it was just looked at");
            self.servers.retain(|&node, known| record.has(node) || now.since(known.heard).0 < forgotten);
            let registered = self.learners();
            self.send(leader, Body::Heartbeat { sent: now, registered }, effects);
        }
        if self.leader_gone || self.leader_is_silent(now) {
            self.elect(now, effects);
        }
    }

    fn learners(&self) -> Vec<Registered> {
        let record = self.record.as_ref().expect("whoever asks has one");
        let strangers = self.servers.iter().filter(|(node, _)| !record.has(**node));
        let registered =
            strangers.map(|(_, known)| Registered { member: known.member.clone(), incarnation: known.incarnation });
        registered.take(config::CLUSTER_LEARNERS_MAX).collect()
    }

    /// Those who may lead next.
    fn eligible(&self) -> Vec<NodeId> {
        let Some(record) = &self.record else { return Vec::new() };
        let restarted =
            |node: NodeId| self.servers.get(&node).is_some_and(|known| known.incarnation > record.leader_incarnation);
        // R3: members and nobody else; the leader itself when it was started again
        let members = record.nodes().filter(|&node| node != record.leader || restarted(node));
        if self.rules.hold(Rule::R3) {
            members.collect()
        } else {
            let strangers = self.servers.keys().copied().filter(|&node| !record.has(node));
            members.chain(strangers).collect()
        }
    }

    /// Asks all that may lead, again and again.
    fn elect(&mut self, now: Time, effects: &mut Vec<CoordinatorEffect>) {
        if self.persisting.is_some() || self.record.is_none() {
            return;
        }
        let resend = self.timing.resend;
        if !self.election.get_or_insert_default().asks(now, resend) {
            return;
        }
        // R25: silence proves nothing
        let proven_dead = self.leader_gone || !self.rules.hold(Rule::R25);
        for node in self.eligible() {
            self.send(node, Body::CandidateAsked { proven_dead }, effects);
        }
    }

    fn on_answer(&mut self, now: Time, node: NodeId, answer: Answer) {
        if let Some(election) = &mut self.election {
            election.on_answer(now, node, answer);
        }
    }

    /// Makes one of the candidates leader, once all have answered or were waited for.
    fn decide(&mut self, now: Time, pick: &mut dyn FnMut(usize) -> usize, effects: &mut Vec<CoordinatorEffect>) {
        let (Some(election), Some(record)) = (&self.election, &self.record) else { return };
        let Some(since) = election.free_since() else { return };
        let eligible = self.eligible();
        let waited = now.since(since) >= self.timing.resend;
        if self.persisting.is_some() || !(waited || election.all_free(eligible.iter().copied())) {
            return;
        }
        let candidates = election.candidates(record, &eligible);
        if candidates.is_empty() {
            return;
        }
        let chosen = candidates[pick(candidates.len())];
        let answer = *election.answer(chosen).expect("a candidate has answered");
        let mut next = record.clone();
        next.epoch.0 += 1;
        // the old leader stays only if it was started again and spoke
        let old = record.leader;
        next.members.retain(|member| member.node != old || election.answer(old).is_some());
        (next.leader, next.leader_incarnation) = (chosen, answer.incarnation);
        if !next.has(chosen)
            && let Some(known) = self.servers.get(&chosen)
        {
            next.members.push(known.member.clone());
            next.members.sort();
        }
        self.persist(next, effects);
    }

    /// The newest durable configuration.
    #[must_use]
    pub const fn configuration(&self) -> Option<&Configuration> {
        self.record.as_ref()
    }

    /// Servers that clients may be told of: the leader first, then the other members.
    pub fn servers(&self) -> impl Iterator<Item = &Member> {
        let leader = self.record.as_ref().map_or(COORDINATOR, |record| record.leader);
        let members = || self.record.iter().flat_map(|record| &record.members);
        let leads = members().filter(move |member| member.node == leader);
        leads.chain(members().filter(move |member| member.node != leader))
    }

    /// Servers that have registered since this coordinator started and are not known to be dead.
    pub fn registered(&self) -> impl Iterator<Item = &Member> {
        self.servers.values().map(|known| &known.member)
    }

    /// What must hold between steps.
    pub fn check_invariants(&self) {
        if let Some(persisting) = &self.persisting {
            let next = persisting.epoch.0 == self.epoch().0 + 1;
            assert!(next || self.record.is_none(), "one change at a time, to the next epoch");
        }
        assert!(self.record.as_ref().is_none_or(|record| record.fault().is_none()), "what was made is right");
    }
}
