//! When reads are possible at this server, whatever its role: by a lease, or in strict mode by a round that began later than the
//! read. In strict mode no clock is trusted: a read that is allowed may be answered at any time.

use super::{Replica, Role};
use crate::cluster::configuration::NodeId;
use crate::cluster::effect::Effect;
use crate::cluster::message::Body;
use crate::time::Time;

impl Replica {
    pub(super) fn on_read_asked(&mut self, now: Time, ticket: u64, effects: &mut Vec<Effect>) {
        if !self.may_come_to_read() || !self.server.reads.push(now, ticket) {
            return effects.push(Effect::ReadRefused { ticket, leader: self.other_leader() });
        }
        if let Role::Leader(leader) = &mut self.role {
            leader.begin_round(now, &self.server, effects);
        }
    }

    /// Whether it is worth to wait: a lease, or a leader's word, may come soon.
    fn may_come_to_read(&self) -> bool {
        match &self.role {
            Role::Leader(leader) => !leader.has_resigned(),
            Role::Follower(follower) => follower.may_read(&self.server),
            Role::Starting | Role::Outside | Role::Learner(_) => false,
        }
    }

    fn other_leader(&self) -> Option<NodeId> {
        self.leader().filter(|&leader| leader != self.server.node)
    }

    /// Answers the reads that need not wait any more, asks for those that need the leader's word, and refuses those that
    /// have waited for too long.
    pub(super) fn answer_reads(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.server.reads.is_empty() {
            return;
        }
        let strict = self.server.strict_reads;
        let lease = self.read_deadline().filter(|&deadline| now < deadline);
        let forever = Time(u64::MAX);
        match &self.role {
            Role::Leader(leader) if strict => {
                let round = leader.confirmed(&self.server);
                let allowed = |ticket| effects.push(Effect::ReadAllowed { ticket, deadline: forever });
                // a promise to what was sent when the read was there already proves that nobody else led by then
                self.server.reads.take(|asked, _| round.is_some_and(|round| round >= asked), allowed);
            }
            Role::Follower(follower) if strict && follower.may_read(&self.server) => {
                let (from, commit) = (follower.receiver.leader, self.server.journal.commit().position);
                let exact = self.server.is_exact();
                let allowed = |ticket| effects.push(Effect::ReadAllowed { ticket, deadline: forever });
                self.server.reads.take(|_, index| exact && index.is_some_and(|index| index <= commit), allowed);
                if let Some(number) = self.server.reads.question(now, self.server.timing.resend) {
                    self.server.send(from, Body::ReadIndexAsked { number }, effects);
                }
            }
            _ => {
                if let Some(deadline) = lease {
                    let allowed = |ticket| effects.push(Effect::ReadAllowed { ticket, deadline });
                    self.server.reads.take(|_, _| true, allowed);
                }
            }
        }
        let (hopeless, patience) = (!self.may_come_to_read(), self.server.timing.patience);
        let leader = self.other_leader();
        let refused = |ticket| effects.push(Effect::ReadRefused { ticket, leader });
        self.server.reads.take(|asked, _| hopeless || now.since(asked) >= patience, refused);
    }
}
