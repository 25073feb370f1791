//! A follower: a member whose ack is needed. Reads under the leader's lease, and may be asked to take over.

use super::configuration::{COORDINATOR, Doubt, NodeId};
use super::effect::Effect;
use super::message::{Append, Body, Digest};
use super::receiver::Receiver;
use super::rules::Rule;
use super::server::Server;
use crate::time::{Duration, Time};

/// See the module.
#[derive(Clone, Debug)]
pub struct Follower {
    pub receiver: Receiver,
    /// Since when the right to read counts: the newest own send time that came back, and D from there.
    lease: Option<Time>,
}

impl Follower {
    pub fn new(leader: NodeId) -> Self {
        Self { receiver: Receiver::new(leader), lease: None }
    }

    pub fn on_append(&mut self, now: Time, append: &Append, server: &mut Server, effects: &mut Vec<Effect>) {
        self.receiver.on_append(now, append, server, effects);
        // R19: from the own send time that came back; a beacon alone says nothing about how long it was under way
        let since = if server.rules.hold(Rule::R19) { append.echo } else { Some(now) };
        self.lease = self.lease.max(since);
        let agreed = self.receiver.agrees_up_to(append.commit);
        server.compare_log(append.commit, agreed, effects);
        if let Some(digest) = append.digest {
            self.compare_data(digest, server, effects);
        }
    }

    fn compare_data(&self, digest: Digest, server: &mut Server, effects: &mut Vec<Effect>) {
        let doubt = server.doubt;
        server.expect_digest(digest, effects);
        if server.doubt > doubt {
            self.leave(server, effects);
        }
    }

    /// Who holds other data than its leader, or none, is no use as a member: it gets a snapshot when it is none.
    fn leave(&self, server: &Server, effects: &mut Vec<Effect>) {
        if server.doubt == Doubt::Data {
            server.send(self.receiver.leader, Body::Leaving, effects);
        }
    }

    /// Whether its data is what the cluster's is, as far as it is committed here.
    pub fn may_read(&self, server: &Server) -> bool {
        server.doubt != Doubt::Data && !server.dropped
    }

    /// Until when reads may be answered here by lease, if at all.
    pub fn read_deadline(&self, server: &Server) -> Option<Time> {
        let commit = server.journal.commit();
        // R15: only when the entry that opened this epoch is committed here is everything before it
        let admitted = commit.epoch == server.epoch() && server.journal.is_settled();
        let complete = (admitted || !server.rules.hold(Rule::R15Reads)) && server.is_exact();
        if server.strict_reads || !complete || !self.may_read(server) {
            return None;
        }
        self.lease.map(|since| since.after(server.timing.lease.longest))
    }

    /// The coordinator asks whether this server could lead instead (R5).
    pub fn on_candidate_asked(&self, now: Time, server: &mut Server, effects: &mut Vec<Effect>) {
        let left = server.promise.left(now);
        // R16: the leader may read on this promise until it has ended
        let promise_left = if server.rules.hold(Rule::R16) { left } else { Duration(0) };
        // D1: who lost what had been on its disk never leads, though nobody else be left: an operator decides then (D3). So with
        // who holds wrong data, or none. Its log still says how far others should be
        let damaged = server.doubt > Doubt::Tail;
        let promise_left = if damaged { server.timing.promise(server.rules) } else { promise_left };
        server.withdrawn |= promise_left.0 == 0;
        let (end, doubtful) = (server.journal.end(), server.is_doubtful());
        server.send(COORDINATOR, Body::CandidateAnswer { end, promise_left, doubtful }, effects);
    }

    pub fn on_applied(&self, digest: Digest, server: &mut Server, effects: &mut Vec<Effect>) {
        let doubt = server.doubt;
        server.on_applied(digest, effects);
        if server.doubt > doubt {
            self.leave(server, effects);
        }
    }

    pub fn on_ticked(&mut self, now: Time, server: &Server, effects: &mut Vec<Effect>) {
        self.receiver.on_ticked(now, server, effects);
        self.leave(server, effects);
    }
}
