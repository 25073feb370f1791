//! What an operator can do when a cluster has lost more than it may: a record that is gone is made again from the servers'
//! records (R1), and a server that may lack what was acknowledged is made to lead (D3). Both only when the operator says so.

use std::fmt;

use super::Coordinator;
use crate::cluster::configuration::{Configuration, LogId, NodeId, NodeRecord};
use crate::time::Time;

/// Why a record cannot be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoverFault {
    /// No record says anything of a cluster.
    Nothing,
    /// They are of more than one cluster.
    OtherCluster {
        /// Of the newest.
        one: LogId,
        /// Of another.
        other: LogId,
    },
    /// The record of this member of the newest configuration is not among them: it may know of a newer one.
    Missing(NodeId),
}

impl fmt::Display for RecoverFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("no server's record says anything of a cluster"),
            Self::OtherCluster { one, other } => write!(f, "there are records of cluster {one} and of cluster {other}"),
            Self::Missing(node) => write!(f, "the record of server {} is needed: it may know of a newer epoch", node.0),
        }
    }
}

/// Why a server is not made to lead by force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForceRefusal {
    /// The operator has not confirmed it.
    NotConfirmed,
    /// There is no cluster yet: the first to come leads.
    NoCluster,
    /// Another configuration is being made durable.
    Busy,
    /// The leader lives, or has not been silent for long enough to tell.
    LeaderLives,
    /// It has not registered.
    Unknown,
    /// Its log is empty.
    Empty,
}

impl fmt::Display for ForceRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConfirmed => "what other servers acknowledged may be lost by it; confirm that",
            Self::NoCluster => "there is no cluster yet",
            Self::Busy => "a configuration is being written; try again",
            Self::LeaderLives => "the leader is heard, or was a moment ago",
            Self::Unknown => "the server has not registered",
            Self::Empty => "the server holds nothing",
        })
    }
}

impl Coordinator {
    /// The record of a coordinator that lost its own, from all servers' records: `--recover`, once the operator has confirmed
    /// it (R1). A configuration that no server has seen was never announced, so that its epoch may be given again.
    ///
    /// # Errors
    /// When the records do not say which configuration was the last.
    pub fn recover(records: &[NodeRecord]) -> Result<Configuration, RecoverFault> {
        let of = |record: &NodeRecord| record.configuration.clone();
        let newest = records.iter().filter_map(of).max_by_key(|configuration| configuration.epoch);
        let mut recovered = newest.ok_or(RecoverFault::Nothing)?;
        let clusters = records.iter().filter_map(of).map(|configuration| configuration.cluster);
        if let Some(other) = clusters.into_iter().find(|&cluster| cluster != recovered.cluster) {
            return Err(RecoverFault::OtherCluster { one: recovered.cluster, other });
        }
        if let Some(missing) = recovered.nodes().find(|&node| records.iter().all(|record| record.node != node)) {
            return Err(RecoverFault::Missing(missing));
        }
        recovered.epoch.0 += 1;
        assert!(recovered.fault().is_none(), "a record holds what was made right");
        Ok(recovered)
    }

    /// The configuration in which `node` leads, alone and whatever it holds.
    pub(super) fn force(&self, now: Time, node: NodeId, confirmed: bool) -> Result<Configuration, ForceRefusal> {
        let record = self.record.as_ref().ok_or(ForceRefusal::NoCluster)?;
        if self.persisting.is_some() {
            return Err(ForceRefusal::Busy);
        }
        if !self.leader_gone && now.since(self.leader_heard) < self.timing.leader_silence.longest {
            return Err(ForceRefusal::LeaderLives);
        }
        let known = self.servers.get(&node).ok_or(ForceRefusal::Unknown)?;
        if known.end.index.0 == 0 {
            return Err(ForceRefusal::Empty);
        }
        if !confirmed {
            return Err(ForceRefusal::NotConfirmed);
        }
        let mut next = record.clone();
        next.epoch.0 += 1;
        next.forced = next.epoch;
        (next.leader, next.leader_incarnation) = (node, known.incarnation);
        next.members = vec![known.member.clone()];
        Ok(next)
    }
}
