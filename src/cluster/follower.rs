//! A follower: a member whose ack is needed. Reads under the leader's lease, and may be asked to take over.

use super::configuration::{COORDINATOR, NodeId};
use super::effect::{Effect, Report};
use super::message::{Append, Body, Digest};
use super::receiver::Receiver;
use super::rules::Rule;
use super::server::Server;
use crate::time::{Duration, Time};

/// See the module.
#[derive(Debug)]
pub struct Follower {
    pub receiver: Receiver,
    /// Since when the right to read counts: the newest own send time that came back, and D from there.
    lease: Option<Time>,
    /// The leader's digest that is to be compared when the own store is there.
    expected: Option<Digest>,
    /// This server's data is not the leader's.
    differs: bool,
}

impl Follower {
    pub const fn new(leader: NodeId) -> Self {
        Self { receiver: Receiver::new(leader), lease: None, expected: None, differs: false }
    }

    pub fn on_append(&mut self, now: Time, append: &Append, server: &mut Server, effects: &mut Vec<Effect>) {
        self.receiver.on_append(now, append, server, effects);
        // R19: from the own send time that came back; a beacon alone says nothing about how long it was under way
        let since = if server.rules.hold(Rule::R19) { append.echo } else { Some(now) };
        self.lease = self.lease.max(since);
        if append.digest.is_some() {
            self.expected = append.digest;
            self.compare(server, effects);
        }
        // D1: what it may have lost it has got again once it holds all that this epoch's leader calls committed
        let complete = self.receiver.agrees_up_to(append.commit) && server.journal.durable() >= append.commit;
        if complete && server.journal.commit().epoch == server.epoch() {
            server.doubtful = false;
        }
    }

    /// Until when reads may be answered here, if at all.
    pub fn read_deadline(&self, server: &Server) -> Option<Time> {
        let commit = server.journal.commit();
        // R15: only when the entry that opened this epoch is committed here is everything before it
        let admitted = commit.epoch == server.epoch() && server.journal.is_settled();
        if self.differs || server.strict_reads || (!admitted && server.rules.hold(Rule::R15Reads)) {
            return None;
        }
        self.lease.map(|since| since.after(server.timing.lease))
    }

    /// The coordinator asks whether this server could lead instead (R5).
    pub fn on_candidate_asked(&self, now: Time, server: &mut Server, effects: &mut Vec<Effect>) {
        let left = server.promise.left(now);
        // R16: the leader may read on this promise until it has ended
        let promise_left = if server.rules.hold(Rule::R16) { left } else { Duration(0) };
        server.withdrawn |= promise_left.0 == 0;
        let (end, doubtful) = (server.journal.end(), server.doubtful);
        server.send(COORDINATOR, Body::CandidateAnswer { end, promise_left, doubtful }, effects);
    }

    pub fn on_applied(&mut self, server: &Server, effects: &mut Vec<Effect>) {
        self.compare(server, effects);
    }

    /// Replicas hold the same at the same position, or one of them is wrong.
    fn compare(&mut self, server: &Server, effects: &mut Vec<Effect>) {
        let Some(expected) = self.expected else { return };
        let Some(own) = server.digests.iter().find(|own| own.position == expected.position) else { return };
        self.expected = None;
        if own.digest != expected.digest && !self.differs {
            self.differs = true;
            effects.push(Effect::Report(Report::DigestDiffers { position: own.position }));
        }
        if self.differs {
            server.send(self.receiver.leader, Body::Leaving, effects);
        }
    }

    pub fn on_ticked(&mut self, now: Time, server: &Server, effects: &mut Vec<Effect>) {
        self.receiver.on_ticked(now, server, effects);
        if self.differs {
            server.send(self.receiver.leader, Body::Leaving, effects);
        }
    }
}
