//! Who leads next: asks the members, waits until one of them is free to lead (R5), and takes one of those furthest ahead (R3).

use std::collections::BTreeMap;

use super::configuration::{Configuration, Incarnation, Mark, NodeId};
use crate::time::Time;

/// What a member answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who answered: a later incarnation knows nothing of it.
    pub incarnation: Incarnation,
    /// Where its log stands.
    pub end: Mark,
    /// It promised nothing to the leader any more, and will not again in this epoch (R5).
    pub free: bool,
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
    pub asked: Option<Time>,
}

impl Election {
    /// A member answered.
    pub fn on_answer(&mut self, now: Time, node: NodeId, answer: Answer) {
        let before = self.answers.get(&node).map_or(Incarnation(0), |before| before.incarnation);
        if answer.incarnation < before {
            return;
        }
        if answer.free && self.free_since.is_none() {
            self.free_since = Some(now);
        }
        self.answers.insert(node, answer);
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
        nodes.all(|node| self.answers.get(&node).is_some_and(|answer| answer.free))
    }

    /// Those who may lead and are furthest ahead among `eligible`, in order of their names.
    #[must_use]
    pub fn candidates(&self, configuration: &Configuration, eligible: &[NodeId]) -> Vec<NodeId> {
        let answered = |node: &NodeId| self.answers.get(node);
        // D1, D2: who may have lost something leads only when everyone's log could be compared with its own
        let complete = configuration.nodes().all(|node| self.answers.contains_key(&node));
        let furthest = eligible.iter().filter_map(answered).map(|answer| answer.end.ahead()).max();
        let may_lead =
            |answer: &Answer| answer.free && (!answer.doubtful || (complete && Some(answer.end.ahead()) == furthest));
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
        Answer { incarnation: Incarnation(1), end, free: true, doubtful: false }
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
        let bound = Answer { free: false, ..answer(3, 99) };
        assert_eq!(candidates(&[(2, answer(3, 9)), (3, bound)]), [2], "who is bound by its promise waits");
    }

    #[test]
    fn who_may_have_lost_something_leads_only_when_all_were_compared() {
        let doubtful = |index| Answer { doubtful: true, ..answer(3, index) };
        assert_eq!(candidates(&[(2, doubtful(9)), (3, answer(3, 5))]), [3]);
        assert_eq!(candidates(&[(2, doubtful(9)), (3, doubtful(5))]), [], "1 may have more");
        assert_eq!(candidates(&[(1, doubtful(8)), (2, doubtful(9)), (3, doubtful(5))]), [2]);
    }
}
