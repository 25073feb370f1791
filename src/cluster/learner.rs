//! A learner: known to the cluster, not a member. Takes the leader's frames like a follower and makes the same promises,
//! because the coordinator may have made it a member before it hears of that (R9). Its acks are counted only by who asked for
//! that; it never reads and is never asked to lead.
//!
//! ```text
//!             log reaches back                    caught up (R15)
//!   learner <------------------ Matched acks ----------------------> follower
//!      |  SnapshotNeeded, or its data differs                           |
//!      v                                           left out (R2)        |
//!   doubt: Data, durable: Lost acks <------------ Leaving, its data differs
//!      |  SnapshotOffered: data and log are dropped
//!      v
//!   SnapshotInstalled: doubt: Snapshot, until the log is applied beyond `consistent`
//! ```

use super::configuration::{Doubt, Mark, NodeId};
use super::effect::Effect;
use super::message::Append;
use super::receiver::Receiver;
use super::server::Server;
use crate::time::Time;

/// See the module.
#[derive(Clone, Debug)]
pub struct Learner {
    pub receiver: Receiver,
}

impl Learner {
    pub fn new(leader: NodeId) -> Self {
        Self { receiver: Receiver::new(leader) }
    }

    pub fn on_append(&mut self, now: Time, append: &Append, server: &mut Server, effects: &mut Vec<Effect>) {
        self.receiver.on_append(now, append, server, effects);
        let agreed = self.receiver.agrees_up_to(append.commit);
        server.compare_log(append.commit, agreed, effects);
        if let Some(digest) = append.digest {
            server.expect_digest(digest, effects);
        }
    }

    /// The leader's log does not reach back to where this one ends.
    pub fn on_snapshot_needed(&self, from: Mark, server: &mut Server, effects: &mut Vec<Effect>) {
        // an old message says so of what it has got since
        if !self.receiver.agrees_beyond(from.position) {
            server.suspect(Doubt::Data, effects);
        }
    }

    /// A stream was opened: whether it is what this server waits for.
    pub fn on_offered(server: &mut Server, effects: &mut Vec<Effect>) {
        if server.is_lost() {
            server.dropped = true;
            server.forwards.on_dropped(effects);
            effects.push(Effect::TakeSnapshot);
        } else {
            effects.push(Effect::RefuseSnapshot);
        }
    }

    pub fn on_ticked(&mut self, now: Time, server: &Server, effects: &mut Vec<Effect>) {
        if self.receiver.heard.is_some() {
            self.receiver.on_ticked(now, server, effects);
        }
    }
}
