//! How a newcomer gets over the last gap (R15). Under load it is always some round trips behind what is committed; so when it
//! is near, its acks are needed for a while before it is asked for: nothing is committed without it then, and soon it
//! holds all that is. It can be given up as long as the coordinator was not asked.

use super::Leader;
use crate::cluster::configuration::{NodeId, Position};
use crate::cluster::progress::Progress;
use crate::cluster::quorum::Change;
use crate::cluster::server::Server;
use crate::config;
use crate::time::Time;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Admission {
    /// Who, as the change that will be asked for, and since when its acks are needed.
    newcomer: Option<(NodeId, Change, Time)>,
    /// The last one was too slow: nobody is waited for before this.
    not_before: Time,
    /// What was committed at an instant, and at the last one before that: a beacon's interval lies between two of them.
    commits: [(Time, Position); 2],
}

impl Admission {
    pub(super) fn change(&self) -> Option<&Change> {
        self.newcomer.as_ref().map(|(_, change, _)| change)
    }

    pub(super) fn end(&mut self) {
        self.newcomer = None;
    }
}

impl Leader {
    /// A newcomer from which so little is missing that commits may wait for it: what is not committed for long, and not many
    /// bytes.
    pub(super) fn is_near(&self, peer: &Progress, server: &Server) -> bool {
        let end = server.journal.end().position.0;
        let near =
            |durable: Position| durable >= self.admission.commits[1].1 && end - durable.0 <= config::JOIN_LAG_BYTES;
        peer.durable.is_some_and(near)
    }

    fn note_commit(&mut self, now: Time, server: &Server) {
        let commits = &mut self.admission.commits;
        if now.since(commits[0].0) >= server.timing.beacon {
            *commits = [(now, server.journal.commit().position), commits[0]];
        }
    }

    /// Begins to wait for who is near, and stops to wait for who does not get there: members are not slowed down by it.
    pub(super) fn prepare_admission(&mut self, now: Time, server: &Server) {
        let configuration = server.configuration.as_ref().expect("a leader has a configuration");
        if self.peers.keys().all(|&node| configuration.has(node)) {
            return;
        }
        self.note_commit(now, server);
        if let Some((node, _, since)) = &self.admission.newcomer {
            let gone = self.peers.get(node).is_none_or(|peer| peer.dead || !self.is_near(peer, server));
            if gone || now.since(*since).0 >= server.timing.silence.0 / 4 {
                self.admission.newcomer = None;
                self.admission.not_before = now.after(server.timing.silence);
            }
            return;
        }
        if now < self.admission.not_before
            || !self.serving
            || configuration.members.len() >= config::CLUSTER_MEMBERS_MAX
        {
            return;
        }
        let mut near = self.peers.values().filter(|peer| {
            !configuration.has(peer.member.node)
                && !peer.dead
                && !peer.leaving
                && !self.full.contains_key(&peer.member.node)
                && self.is_near(peer, server)
                && now.since(peer.heard) < server.timing.beacon
        });
        if let Some(peer) = near.next() {
            let mut members = configuration.members.clone();
            members.push(peer.member.clone());
            members.sort();
            self.admission.newcomer = Some((peer.member.node, Change { members }, now));
        }
    }
}
