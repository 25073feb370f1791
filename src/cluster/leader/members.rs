//! Who follows a leader: changes of members that it asks the coordinator for, and those whose leases it waits out.

use super::Leader;
use crate::cluster::configuration::{COORDINATOR, Configuration, Incarnation, Member, NodeId};
use crate::cluster::effect::{Effect, Report};
use crate::cluster::message::{Body, Registered};
use crate::cluster::progress::Progress;
use crate::cluster::quorum::Change;
use crate::cluster::rules::Rule;
use crate::cluster::server::Server;
use crate::config;
use crate::time::Time;

impl Leader {
    /// Who may still read under a lease that a leader before this one gave, and until when.
    pub(super) fn who_may_read(
        now: Time,
        server: &Server,
        previous: Option<&Configuration>,
        configuration: &Configuration,
    ) -> Vec<(NodeId, Time)> {
        let promise = server.timing.promise(server.rules);
        let until = now.after(promise);
        let Some(previous) = previous else {
            return if configuration.epoch.0 == 1 { Vec::new() } else { vec![(COORDINATOR, until)] };
        };
        if configuration.forced == configuration.epoch {
            // D3: the leader before this one was asked for nothing
            return vec![(COORDINATOR, until)];
        }
        let settled = now.since(server.adopted).0 > 3 * promise.0;
        if previous.epoch.0 + 1 != configuration.epoch.0 || !settled {
            // someone may have been left out shortly before, by a change that this server has not seen through
            return vec![(COORDINATOR, until)];
        }
        // the leader before this one read on this server's promise, which has ended or was given back (R16, R25)
        let gone = previous.nodes().filter(|&node| !configuration.has(node) && node != previous.leader);
        gone.map(|node| (node, until)).collect()
    }

    /// The coordinator speaks: it lives, and these are not members.
    pub fn on_heartbeat(
        &mut self,
        now: Time,
        sent: Time,
        registered: Vec<Registered>,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) {
        if self.resigned {
            return;
        }
        self.coordinator_heard = now;
        let end = server.journal.end();
        let (lease, slack) = (self.pace.length(), server.timing.slack);
        server.send(COORDINATOR, Body::HeartbeatAck { echo: sent, lease, slack, end }, effects);
        for Registered { member, incarnation } in registered {
            let node = member.node;
            let configured = server.configuration.as_ref().is_some_and(|configuration| configuration.has(node));
            if node == server.node || configured || incarnation < server.incarnation_of(node) {
                continue;
            }
            if !self.peers.contains_key(&node) && self.peers.len() < config::CLUSTER_LEARNERS_MAX {
                server.incarnations.insert(node, incarnation);
                let mut progress = Progress::new(member, incarnation, end, self.numbered, now);
                progress.learns = true;
                self.peers.insert(node, progress);
                server.announce(node, effects);
                self.beacon(now, node, server, effects);
            } else if let Some(progress) = self.peers.get_mut(&node) {
                progress.member = member;
            }
        }
    }

    /// Learners that have gone are forgotten, unless a change may have made them members.
    pub(super) fn forget_learners(&mut self, now: Time, server: &Server) {
        let configuration = server.configuration.as_ref().expect("a leader has a configuration");
        let joining = self.change.as_ref().map_or(&[][..], |(change, _)| &change.members);
        self.peers.retain(|node, progress| {
            let silent = progress.dead || now.since(progress.heard).0 >= 2 * server.timing.silence.0;
            let stays = configuration.has(*node) || !silent || joining.iter().any(|member| member.node == *node);
            if !stays {
                self.numbered = self.numbered.max(progress.number);
            }
            stays
        });
    }

    /// Asks the coordinator to leave out who is silent, or to let in who has caught up.
    pub(super) fn ask_for_change(&mut self, now: Time, server: &Server, effects: &mut Vec<Effect>) {
        if self.change.is_none() {
            self.change = self.wanted(now, server, effects).map(|members| (Change { members }, Time(0)));
            match &self.change {
                Some(_) => self.admission.end(),
                None => self.prepare_admission(now, server),
            }
        }
        // R9: what was asked for stays asked for until a newer configuration is seen; no answer takes it back
        if let Some((change, asked)) = &mut self.change
            && now.since(*asked) >= server.timing.resend
        {
            *asked = now;
            server.send(COORDINATOR, Body::ChangeAsked { members: change.members.clone() }, effects);
        }
    }

    pub(super) fn wanted(&self, now: Time, server: &Server, effects: &mut Vec<Effect>) -> Option<Vec<Member>> {
        let configuration = server.configuration.as_ref().expect("a leader has a configuration");
        let mut members = configuration.members.clone();
        let lost = |node: &NodeId| {
            self.peers
                .get(node)
                .is_some_and(|peer| peer.dead || peer.leaving || now.since(peer.heard) >= server.timing.silence)
        };
        members.retain(|member| !lost(&member.node));
        self.leave_out_full(now, &mut members, server);
        if members.len() < configuration.members.len() {
            for member in configuration.members.iter().filter(|member| !members.contains(member)) {
                effects.push(Effect::Report(Report::LeavesOut { node: member.node }));
            }
            return Some(members);
        }
        // R5: who told the coordinator that it could lead promises nothing more in this epoch; the next frees it
        if configuration.nodes().any(|node| self.peers.get(&node).is_some_and(|peer| peer.withdrawn)) {
            return Some(members);
        }
        if members.len() >= config::CLUSTER_MEMBERS_MAX {
            return None;
        }
        let learners = self.peers.values().filter(|peer| !configuration.has(peer.member.node));
        let mut caught_up = learners.filter(|peer| {
            self.has_caught_up(peer, server) && !lost(&peer.member.node) && !self.full.contains_key(&peer.member.node)
        });
        members.push(caught_up.next()?.member.clone());
        members.sort();
        Some(members)
    }

    /// R15: it holds all that is committed; what is prepared it acks from when it is asked for on (R9).
    fn has_caught_up(&self, peer: &Progress, server: &Server) -> bool {
        let commit = server.journal.commit().position;
        let caught_up = commit >= self.no_op && peer.durable.is_some_and(|durable| durable >= commit);
        (self.serving && caught_up && self.is_near(peer, server)) || !server.rules.hold(Rule::R15CaughtUp)
    }

    /// The lifeline says something about `node`.
    pub fn on_lifeline(
        &mut self,
        now: Time,
        node: NodeId,
        incarnation: Incarnation,
        proven: bool,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) {
        let Some(progress) = self.peers.get_mut(&node) else {
            if proven {
                self.left_out.retain(|&(left_out, _)| left_out != node);
            }
            return self.advance(now, server, effects);
        };
        if progress.incarnation > incarnation {
            return;
        }
        if proven {
            progress.dead = true;
            progress.granted.release();
            self.left_out.retain(|&(left_out, _)| left_out != node);
        } else {
            // a hint: it is looked at sooner
            progress.heard = Time(progress.heard.0.min(now.0.saturating_sub(server.timing.silence.0 / 2)));
        }
        self.ask_for_change(now, server, effects);
        self.advance(now, server, effects);
    }

    /// A member asks to be left out.
    pub fn on_leaving(&mut self, now: Time, node: NodeId, server: &Server, effects: &mut Vec<Effect>) {
        let member = server.configuration.as_ref().is_some_and(|configuration| configuration.has(node));
        if let Some(progress) = self.peers.get_mut(&node).filter(|_| member) {
            progress.leaving = true;
            self.ask_for_change(now, server, effects);
        }
    }

    /// Leads no more: reads end first, then the others are told.
    pub fn resign(&mut self, server: &Server, effects: &mut Vec<Effect>) {
        self.resigned = true;
        effects.push(Effect::SteppedDown);
        for node in self.peers.keys().copied().chain([COORDINATOR]) {
            server.send(node, Body::Resigned, effects);
        }
    }
}
