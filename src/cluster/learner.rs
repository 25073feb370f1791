//! A learner: known to the cluster, not a member. Takes the leader's frames like a follower and makes the same promises,
//! because the coordinator may have made it a member before it hears of that (R9). Its acks are counted only by who asked for
//! that; it never reads and is never asked to lead.

use super::configuration::NodeId;
use super::effect::Effect;
use super::message::Append;
use super::receiver::Receiver;
use super::server::Server;
use crate::time::Time;

/// See the module.
#[derive(Debug)]
pub struct Learner {
    pub receiver: Receiver,
}

impl Learner {
    pub const fn new(leader: NodeId) -> Self {
        Self { receiver: Receiver::new(leader) }
    }

    pub fn on_append(&mut self, now: Time, append: &Append, server: &mut Server, effects: &mut Vec<Effect>) {
        self.receiver.on_append(now, append, server, effects);
    }

    pub fn on_ticked(&mut self, now: Time, server: &Server, effects: &mut Vec<Effect>) {
        if self.receiver.heard.is_some() {
            self.receiver.on_ticked(now, server, effects);
        }
    }
}
