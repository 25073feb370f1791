//! Full disks (D4). What is prepared stays and is tried again; new writes are refused while anybody's disk is full whose ack
//! is needed; and a member whose disk stays full is left out, if enough others are left, also if it leads: then by
//! resigning.

use super::Leader;
use crate::cluster::configuration::{Member, NodeId};
use crate::cluster::quorum::Need;
use crate::cluster::server::Server;
use crate::time::Time;

impl Leader {
    pub(super) fn note_full(&mut self, now: Time, node: NodeId, full: bool) {
        if full {
            self.full.entry(node).or_insert(now);
        } else {
            self.full.remove(&node);
        }
    }

    /// Whether an entry that is prepared now could not be made durable everywhere.
    pub fn is_full(&self, server: &Server) -> bool {
        let full = |node: NodeId| self.full.contains_key(&node);
        server.journal.is_refused() || (!self.full.is_empty() && self.needed(server, Need::Acks).any(full))
    }

    /// Whether another should lead: this server's own disk has been full for long, and writes would go on without it.
    pub(super) fn makes_way(&mut self, now: Time, server: &Server) -> bool {
        // between a refusal and the next it is tried again: only what becomes durable says that there is room
        let durable = server.journal.durable();
        self.own_full = self.own_full.filter(|&(_, at)| at == durable);
        if server.journal.is_refused() {
            self.own_full.get_or_insert((now, durable));
        }
        let Some((since, _)) = self.own_full else { return false };
        let configuration = server.configuration.as_ref().expect("a leader has a configuration");
        let has_room = |node: &NodeId| {
            let heard = self.peers.get(node).is_some_and(|peer| now.since(peer.heard) < server.timing.silence);
            heard && !self.full.contains_key(node)
        };
        let others = configuration.nodes().filter(|&node| node != server.node).filter(has_room).count();
        now.since(since) >= server.timing.full && others >= usize::from(configuration.min_insync).max(1)
    }

    /// Members whose disks have been full for long, as far as writes go on without them.
    pub(super) fn leave_out_full(&self, now: Time, members: &mut Vec<Member>, server: &Server) {
        let configuration = server.configuration.as_ref().expect("a leader has a configuration");
        for (node, &since) in &self.full {
            let enough = members.len() > usize::from(configuration.min_insync).max(1);
            if enough && now.since(since) >= server.timing.full {
                members.retain(|member| member.node != *node);
            }
        }
    }
}
