//! Who leads next: asks the members, waits until one of them is free to lead (R5), and takes one of those furthest ahead (R3).

use std::collections::BTreeMap;

use super::configuration::{Configuration, Incarnation, Mark, NodeId};
use crate::time::{Duration, Time};

/// What a member answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who answered: a later incarnation knows nothing of it.
    pub incarnation: Incarnation,
    /// Where its log stands.
    pub end: Mark,
    /// How long its promise to the leader still binds it. Zero: it has none any more, and will make none in this epoch (R5).
    pub promise_left: Duration,
    /// Its log may lack what it once acked (D1, D2).
    pub doubtful: bool,
}

/// One election: at one epoch, until it is decided or the leader is heard again.
#[derive(Clone, Debug, Default)]
pub struct Election {
    answers: BTreeMap<NodeId, Answer>,
    /// When the first of them was free.
    free_since: Option<Time>,
    /// When everyone was last asked.
    asked: Option<Time>,
    /// When the first of those who were still bound will be free.
    first_free: Option<Time>,
}

impl Answer {
    const fn is_free(&self) -> bool {
        self.promise_left.0 == 0
    }
}

impl Election {
    /// A member answered.
    pub fn on_answer(&mut self, now: Time, node: NodeId, answer: Answer) {
        let before = self.answers.get(&node).map_or(Incarnation(0), |before| before.incarnation);
        if answer.incarnation < before {
            return;
        }
        if answer.is_free() && self.free_since.is_none() {
            self.free_since = Some(now);
        }
        if !answer.is_free() {
            let free = now.after(answer.promise_left);
            self.first_free = Some(self.first_free.map_or(free, |first| first.min(free)));
        }
        self.answers.insert(node, answer);
    }

    /// Whether everyone is to be asked now: for the first time, again after `resend`, or because one has just become free. Says so
    /// once.
    pub fn asks(&mut self, now: Time, resend: Duration) -> bool {
        let waited = self.asked.is_none_or(|at| now.since(at) >= resend);
        let free = self.first_free.is_some_and(|at| now >= at);
        if waited || free {
            (self.asked, self.first_free) = (Some(now), None);
        }
        waited || free
    }

    /// What a member answered, if it did.
    #[must_use]
    pub fn answer(&self, node: NodeId) -> Option<&Answer> {
        self.answers.get(&node)
    }

    /// Since when there is somebody who could lead.
    #[must_use]
    pub const fn free_since(&self) -> Option<Time> {
        self.free_since
    }

    /// Whether all of `nodes` have answered and are free.
    #[must_use]
    pub fn all_free(&self, mut nodes: impl Iterator<Item = NodeId>) -> bool {
        nodes.all(|node| self.answers.get(&node).is_some_and(Answer::is_free))
    }

    /// Those who may lead and are furthest ahead among `eligible`, in order of their names.
    #[must_use]
    pub fn candidates(&self, configuration: &Configuration, eligible: &[NodeId]) -> Vec<NodeId> {
        let answered = |node: &NodeId| self.answers.get(node);
        // D1, D2: who may have lost something leads only when everyone's log could be compared with its own
        let complete = configuration.nodes().all(|node| self.answers.contains_key(&node));
        let furthest = eligible.iter().filter_map(answered).map(|answer| answer.end.ahead()).max();
        let may_lead = |answer: &Answer| {
            answer.is_free() && (!answer.doubtful || (complete && Some(answer.end.ahead()) == furthest))
        };
        let free = || eligible.iter().filter(|&node| answered(node).is_some_and(may_lead)).copied();
        let best = free().filter_map(|node| answered(&node).map(|answer| answer.end.ahead())).max();
        free().filter(|node| answered(node).map(|answer| answer.end.ahead()) == best).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::configuration::{Epoch, LogId, LogIndex, Member, Position};

    fn configuration() -> Configuration {
        let member = |node| Member { node: NodeId(node), contact: String::new() };
        Configuration {
            cluster: LogId(1),
            epoch: Epoch(3),
            leader: NodeId(1),
            leader_incarnation: Incarnation(1),
            members: [1, 2, 3].map(member).to_vec(),
            min_insync: 2,
            forced: Epoch(0),
        }
    }

    fn answer(epoch: u64, index: u64) -> Answer {
        let end = Mark { epoch: Epoch(epoch), index: LogIndex(index), position: Position(index * 100) };
        Answer { incarnation: Incarnation(1), end, promise_left: Duration(0), doubtful: false }
    }

    fn candidates(answers: &[(u64, Answer)]) -> Vec<u64> {
        let mut election = Election::default();
        for &(node, answer) in answers {
            election.on_answer(Time(5), NodeId(node), answer);
        }
        let eligible = [NodeId(1), NodeId(2), NodeId(3)];
        election.candidates(&configuration(), &eligible).iter().map(|node| node.0).collect()
    }

    #[test]
    fn the_furthest_ahead_that_are_free_may_lead() {
        assert_eq!(candidates(&[]), []);
        assert_eq!(candidates(&[(2, answer(3, 9)), (3, answer(3, 9))]), [2, 3]);
        assert_eq!(candidates(&[(2, answer(3, 9)), (3, answer(2, 50))]), [2], "the epoch counts before the index");
        let bound = Answer { promise_left: Duration(1), ..answer(3, 99) };
        assert_eq!(candidates(&[(2, answer(3, 9)), (3, bound)]), [2], "who is bound by its promise waits");
    }

    #[test]
    fn who_is_bound_is_asked_again_when_its_promise_has_ended() {
        let mut election = Election::default();
        let resend = Duration(50);
        assert!(election.asks(Time(100), resend));
        let bound = |left| Answer { promise_left: Duration(left), ..answer(3, 9) };
        election.on_answer(Time(101), NodeId(2), bound(30));
        election.on_answer(Time(102), NodeId(3), bound(7));
        assert!(!election.asks(Time(108), resend));
        assert!(election.asks(Time(109), resend));
        assert!(!election.asks(Time(110), resend), "until it has answered");
        assert!(election.asks(Time(159), resend), "or its answer was lost");
    }

    #[test]
    fn who_may_have_lost_something_leads_only_when_all_were_compared() {
        let doubtful = |index| Answer { doubtful: true, ..answer(3, index) };
        assert_eq!(candidates(&[(2, doubtful(9)), (3, answer(3, 5))]), [3]);
        assert_eq!(candidates(&[(2, doubtful(9)), (3, doubtful(5))]), [], "1 may have more");
        assert_eq!(candidates(&[(1, doubtful(8)), (2, doubtful(9)), (3, doubtful(5))]), [2]);
    }
}
