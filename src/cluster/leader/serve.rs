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
        self.echoes.deadline(self.needed(server, Need::Promises), server.timing.lease)
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
        if !self.is_serving() || !Self::has_room(server) || !self.peers.contains_key(&node) {
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
    pub fn has_room(server: &Server) -> bool {
        let enough = server.configuration.as_ref().is_some_and(|c| c.members.len() >= usize::from(c.min_insync));
        enough && server.journal.prepared_bytes() < config::PREPARED_BYTES_MAX && !server.journal.is_refused()
    }

    /// The write path answers a forwarded write that made no entry. That is a read: it needs the lease.
    pub fn on_forward_answered(
        &mut self,
        now: Time,
        origin: Origin,
        reply: Vec<u8>,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) {
        self.intake.hold(origin, server.journal.end().position, reply);
        self.release_answers(now, server, effects);
    }

    pub(super) fn release_answers(&mut self, now: Time, server: &mut Server, effects: &mut Vec<Effect>) {
        if server.rules.hold(Rule::R17) && !self.holds_lease(now, server) {
            return;
        }
        let commit = server.journal.commit().position;
        let mut own = Vec::new();
        self.intake.release(commit, |origin, reply| {
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

    /// A read that waits: for the lease, or in strict mode for a round that began after it.
    pub fn on_read_asked(&mut self, now: Time, ticket: u64, server: &mut Server, effects: &mut Vec<Effect>) {
        if self.resigned || self.reads.len() >= config::WAITING_READS_MAX {
            return effects.push(Effect::ReadRefused { ticket, leader: None });
        }
        self.reads.push_back((ticket, now));
        if server.strict_reads && self.may_beacon(now, server) {
            let nodes: Vec<NodeId> = self.needed(server, Need::Promises).collect();
            for node in nodes {
                self.beacon(now, node, server, effects);
            }
        }
        self.advance(now, server, effects);
    }

    pub(super) fn allow_reads(&mut self, now: Time, server: &Server, effects: &mut Vec<Effect>) {
        if self.reads.is_empty() {
            return;
        }
        let round = self.echoes.round(self.needed(server, Need::Promises));
        let deadline = self.lease(server).filter(|&deadline| now < deadline);
        let Some(deadline) = deadline.or(self.read_deadline(server).filter(|&until| now < until)) else { return };
        while let Some(&(ticket, asked)) = self.reads.front() {
            // a promise to what was sent when the read was there already proves that nobody else leads by then
            if server.strict_reads && round.is_none_or(|round| round < asked) {
                return;
            }
            self.reads.pop_front();
            effects.push(Effect::ReadAllowed { ticket, deadline });
        }
    }

    pub(super) fn refuse_reads(&mut self, effects: &mut Vec<Effect>) {
        effects.extend(self.reads.drain(..).map(|(ticket, _)| Effect::ReadRefused { ticket, leader: None }));
    }
}
