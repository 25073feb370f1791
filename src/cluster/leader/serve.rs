//! What a leader does for clients: its own lease and the leases it gives, reads that wait, writes that came through followers.

use super::Leader;
use crate::cluster::configuration::{Incarnation, NodeId};
use crate::cluster::effect::Effect;
use crate::cluster::intake::Taken;
use crate::cluster::message::{Body, Forward};
use crate::cluster::quorum::Need;
use crate::cluster::rules::Rule;
use crate::cluster::server::Server;
use crate::config;
use crate::log::Origin;
use crate::time::Time;

impl Leader {
    /// When this leader's right to read ends.
    pub(super) fn lease(&self, server: &Server) -> Option<Time> {
        self.echoes.deadline(self.needed(server, Need::Promises), |sent| self.pace.relied(sent))
    }

    pub(super) fn holds_lease(&self, now: Time, server: &Server) -> bool {
        self.lease(server).is_some_and(|deadline| now < deadline)
    }

    /// Until when reads may be answered here, if at all.
    pub fn read_deadline(&self, server: &Server) -> Option<Time> {
        if !self.serving || self.resigned || server.strict_reads {
            return None;
        }
        // R17: others may have taken over as soon as one of the promises has ended
        if server.rules.hold(Rule::R17) { self.lease(server) } else { Some(Time(u64::MAX)) }
    }

    /// Lets a follower read for D from what it sent at `sent`.
    pub(super) fn grant(&mut self, now: Time, node: NodeId, sent: Time, server: &Server) {
        let rules = server.rules;
        let member = server.configuration.as_ref().is_some_and(|configuration| configuration.has(node));
        // R20: a leader that lost its own lease may have been replaced
        let own = self.holds_lease(now, server) || !rules.hold(Rule::R20Renews);
        let commit = server.journal.commit().position;
        let progress = self.peers.get_mut(&node).expect("it was just heard");
        // R15: it holds everything that was committed without it, and from here on nothing is
        let complete = commit >= self.no_op && progress.durable.is_some_and(|durable| durable >= commit);
        if member && own && (complete || !rules.hold(Rule::R15Reads)) {
            // R18: from receipt on nothing is committed without it for G
            if rules.hold(Rule::R18) {
                progress.granted.make(now, server.timing.promise(rules));
            }
            progress.echo = progress.echo.max(Some(sent));
        }
    }

    /// Writes that this server had taken for the leader before it became the leader itself.
    pub(super) fn evaluate_own(&mut self, now: Time, server: &mut Server, effects: &mut Vec<Effect>) {
        if !server.forwards.is_empty() {
            let (node, incarnation) = (server.node, server.incarnation);
            server.forwards.take_over(self.epoch, now, |number, request| {
                effects.push(Effect::Forwarded { origin: Origin { node, incarnation, number }, request });
            });
        }
    }

    /// A client's write of this server's own that was taken as a forward.
    pub fn on_forward_asked(&mut self, now: Time, server: &mut Server, effects: &mut Vec<Effect>) {
        if self.is_serving() && server.journal.commit().position >= self.no_op {
            self.evaluate_own(now, server, effects);
        }
    }

    /// A follower's client's write.
    pub fn on_forward(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        forward: Forward,
        server: &Server,
        effects: &mut Vec<Effect>,
    ) {
        // one that is not taken comes again
        if !self.is_serving() || !self.has_room(server) || !self.peers.contains_key(&node) {
            return;
        }
        match self.intake.take(node, incarnation, &forward) {
            Taken::Next(origin) => effects.push(Effect::Forwarded { origin, request: forward.request }),
            Taken::Answered(reply) => {
                server.send(node, Body::ForwardAnswer { number: forward.number, reply }, effects);
            }
            Taken::Dropped => {}
        }
    }

    /// Whether a write may be prepared (R10, R11).
    pub fn has_room(&self, server: &Server) -> bool {
        let enough = server.configuration.as_ref().is_some_and(|c| c.members.len() >= usize::from(c.min_insync));
        enough && server.journal.prepared_bytes() < config::PREPARED_BYTES_MAX && !self.is_full(server)
    }

    /// The write path answers a forwarded write that made no entry. That is a read: it needs the lease, or a round.
    pub fn on_forward_answered(
        &mut self,
        now: Time,
        origin: Origin,
        reply: Vec<u8>,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) {
        self.intake.hold(origin, server.journal.end().position, now, reply);
        self.begin_round(now, server, effects);
        self.release_answers(now, server, effects);
    }

    pub(super) fn release_answers(&mut self, now: Time, server: &mut Server, effects: &mut Vec<Effect>) {
        if self.intake.holds_nothing() {
            return;
        }
        let holds = self.holds_lease(now, server) || !server.rules.hold(Rule::R17);
        let until = if server.strict_reads { self.confirmed(server) } else { holds.then_some(Time(u64::MAX)) };
        let Some(until) = until else { return };
        let commit = server.journal.commit().position;
        let mut own = Vec::new();
        self.intake.release(commit, until, |origin, reply| {
            if origin.node == server.node {
                own.push((origin.number, reply));
            } else if server.incarnation_of(origin.node) == origin.incarnation {
                server.send(origin.node, Body::ForwardAnswer { number: origin.number, reply }, effects);
            }
        });
        for (number, reply) in own {
            server.forwards.on_answered(number, reply, effects);
        }
    }

    /// Since when nobody else can have led: everyone whose promise counts has made one to something sent then.
    pub fn confirmed(&self, server: &Server) -> Option<Time> {
        let round = self.echoes.round(self.needed(server, Need::Promises));
        let unasked = (!server.rules.hold(Rule::R17)).then_some(Time(u64::MAX));
        round.or(unasked).filter(|_| self.is_serving())
    }

    /// Asks everyone at once, where reads wait for such a round.
    pub fn begin_round(&mut self, now: Time, server: &Server, effects: &mut Vec<Effect>) {
        if server.strict_reads {
            self.ask_everyone(now, server, effects);
        }
    }

    fn ask_everyone(&mut self, now: Time, server: &Server, effects: &mut Vec<Effect>) {
        if self.may_beacon(now, server) {
            let nodes: Vec<NodeId> = self.needed(server, Need::Promises).collect();
            for node in nodes {
                self.beacon(now, node, server, effects);
            }
        }
    }

    /// A follower's clients read strictly.
    pub fn on_read_index_asked(
        &mut self,
        now: Time,
        node: NodeId,
        number: u64,
        server: &Server,
        effects: &mut Vec<Effect>,
    ) {
        let newest = self.questions.get(&node).map_or(0, |&(newest, _)| newest);
        if self.resigned || number <= newest || !self.peers.contains_key(&node) {
            return;
        }
        self.questions.insert(node, (number, now));
        self.ask_everyone(now, server, effects);
        self.answer_questions(server, effects);
    }

    pub(super) fn answer_questions(&mut self, server: &Server, effects: &mut Vec<Effect>) {
        if self.questions.is_empty() {
            return;
        }
        let Some(round) = self.confirmed(server) else { return };
        let commit = server.journal.commit().position;
        self.questions.retain(|&node, &mut (number, asked)| {
            if round >= asked {
                server.send(node, Body::ReadIndex { number, commit }, effects);
            }
            round < asked
        });
    }
}
