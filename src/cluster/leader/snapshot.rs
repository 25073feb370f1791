//! Those who need a snapshot: whose log ends before this one begins, or whose data is not to be trusted. One stream at a time,
//! paced after a failure, and only to who is no member: a member is left out first.

use std::collections::BTreeMap;

use super::Leader;
use crate::cluster::configuration::{Mark, NodeId};
use crate::cluster::effect::{Effect, Report};
use crate::cluster::message::{Ack, Body, Standing};
use crate::cluster::server::Server;
use crate::time::Time;

/// One that said it is lost.
#[derive(Clone, Debug)]
struct Lost {
    /// When it said so last, by its clock: what it said before counts for nothing.
    said: Time,
    /// No stream is opened before.
    not_before: Time,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshots {
    lost: BTreeMap<NodeId, Lost>,
    /// A stream is under way to this one.
    sending: Option<NodeId>,
}

impl Snapshots {
    pub(super) fn is_lost(&self, node: NodeId) -> bool {
        self.lost.contains_key(&node)
    }
}

impl Leader {
    /// The log holds no more what `node` needs next.
    pub(super) fn on_log_too_short(
        &mut self,
        now: Time,
        node: NodeId,
        from: Mark,
        server: &Server,
        effects: &mut Vec<Effect>,
    ) {
        if self.is_needed(node, server) {
            self.on_leaving(now, node, server, effects);
        } else {
            server.send(node, Body::SnapshotNeeded { from }, effects);
        }
    }

    /// It is a member, or may be one already.
    fn is_needed(&self, node: NodeId, server: &Server) -> bool {
        let joining = self.change.iter().flat_map(|(change, _)| &change.members);
        let configuration = server.configuration.as_ref().expect("a leader has a configuration");
        configuration.members.iter().chain(joining).any(|member| member.node == node)
    }

    /// Whether what the ack says of a log is to be counted.
    pub(super) fn heeds(
        &mut self,
        now: Time,
        node: NodeId,
        ack: &Ack,
        server: &Server,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if ack.standing != Standing::Lost {
            let stale = self.snapshots.lost.get(&node).is_some_and(|lost| ack.sent <= lost.said);
            if !stale {
                self.snapshots.lost.remove(&node);
            }
            return !stale;
        }
        let lost = self.snapshots.lost.entry(node).or_insert(Lost { said: ack.sent, not_before: now });
        lost.said = lost.said.max(ack.sent);
        let progress = self.peers.get_mut(&node).expect("it was just heard");
        progress.forget(server.journal.end());
        if self.is_needed(node, server) {
            self.on_leaving(now, node, server, effects);
        } else {
            self.send_snapshot(now, node, server, effects);
        }
        false
    }

    fn send_snapshot(&mut self, now: Time, node: NodeId, server: &Server, effects: &mut Vec<Effect>) {
        let due = self.snapshots.lost.get(&node).is_some_and(|lost| now >= lost.not_before);
        if !due || self.snapshots.sending.is_some() || !self.is_serving() {
            return;
        }
        self.snapshots.sending = Some(node);
        effects.push(Effect::Report(Report::NeedsSnapshot { node }));
        effects.push(Effect::SendSnapshot { offer: server.message(node, Body::SnapshotOffer) });
    }

    /// The stream to `node` has ended, well or not.
    pub fn on_snapshot_ended(&mut self, now: Time, node: NodeId, server: &Server) {
        if self.snapshots.sending == Some(node) {
            self.snapshots.sending = None;
            if let Some(lost) = self.snapshots.lost.get_mut(&node) {
                lost.not_before = now.after(server.timing.silence);
            }
        }
    }
}
