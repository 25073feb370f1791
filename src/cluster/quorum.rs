//! Whose acks are needed, and what is committed by them: all members', never a majority's (R8).

use super::configuration::{Configuration, Member, NodeId, Position};
use super::rules::{Rule, Rules};

/// A change of members that the leader has asked for and not yet seen the outcome of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The members to be, in order of their names.
    pub members: Vec<Member>,
}

/// What needs everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Acks, for commit.
    Acks,
    /// Promises, for the leader's lease.
    Promises,
}

/// Everyone whose word is needed, in order of their names, `leader` left out.
pub fn needed(
    configuration: &Configuration,
    change: Option<&Change>,
    need: Need,
    rules: Rules,
) -> impl Iterator<Item = NodeId> + Clone {
    let leader = configuration.leader;
    // R8: a shrink counts when the coordinator has confirmed it, not when it was asked for
    let shrunk = if rules.hold(Rule::R8Confirmed) { None } else { change };
    let old = configuration
        .nodes()
        .filter(move |&node| shrunk.is_none_or(|change| change.members.iter().any(|member| member.node == node)));
    // R9: the coordinator may have made the change durable already, so the new members are needed as well
    let joint = match need {
        Need::Acks => rules.hold(Rule::R9Acks),
        Need::Promises => rules.hold(Rule::R9Lease),
    };
    let asked: &[Member] = change.filter(|_| joint).map_or(&[], |change| &change.members);
    let new = asked.iter().map(|member| member.node).filter(move |&node| !configuration.has(node));
    old.chain(new).filter(move |&node| node != leader)
}

/// What is committed when the leader's own log is durable up to `own` and the others' up to what `durable` says.
pub fn committed(
    own: Position,
    needed: impl Iterator<Item = NodeId>,
    durable: impl Fn(NodeId) -> Option<Position>,
) -> Option<Position> {
    let mut least = own;
    for node in needed {
        least = least.min(durable(node)?);
    }
    Some(least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::configuration::{Epoch, Incarnation, LogId};

    fn members(nodes: &[u64]) -> Vec<Member> {
        nodes.iter().map(|&node| Member { node: NodeId(node), contact: String::new() }).collect()
    }

    fn three() -> Configuration {
        Configuration {
            cluster: LogId(1),
            epoch: Epoch(4),
            leader: NodeId(1),
            leader_incarnation: Incarnation(1),
            members: members(&[1, 2, 3]),
            min_insync: 2,
            forced: Epoch(0),
        }
    }

    fn whom(change: Option<&[u64]>, rules: Rules) -> Vec<u64> {
        let change = change.map(|nodes| Change { members: members(nodes) });
        needed(&three(), change.as_ref(), Need::Acks, rules).map(|node| node.0).collect()
    }

    #[test]
    fn while_a_change_is_under_way_old_and_new_members_are_needed() {
        assert_eq!(whom(None, Rules::ALL), [2, 3]);
        assert_eq!(whom(Some(&[1, 2]), Rules::ALL), [2, 3], "leaving");
        assert_eq!(whom(Some(&[1, 2, 3, 4]), Rules::ALL), [2, 3, 4], "joining");
        assert_eq!(whom(Some(&[1, 2]), Rules::ALL.without(Rule::R8Confirmed)), [2]);
        assert_eq!(whom(Some(&[1, 2, 3, 4]), Rules::ALL.without(Rule::R9Acks)), [2, 3]);
    }

    #[test]
    fn all_are_needed_and_the_slowest_decides() {
        let durable = |node: NodeId| match node.0 {
            2 => Some(Position(70)),
            3 => Some(Position(50)),
            _ => None,
        };
        let of = |nodes: &[u64], own| {
            committed(Position(own), nodes.iter().map(|&node| NodeId(node)), durable).map(|upto| upto.0)
        };
        assert_eq!(of(&[2, 3], 100), Some(50));
        assert_eq!(of(&[2], 100), Some(70));
        assert_eq!(of(&[2], 60), Some(60), "the leader's own disk counts too");
        assert_eq!(of(&[2, 3, 4], 100), None, "one that was not heard of");
        assert_eq!(of(&[], 100), Some(100));
    }
}
