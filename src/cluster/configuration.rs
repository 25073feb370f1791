//! Who is in the cluster: a configuration has a number, the epoch, and only the coordinator makes a new one (R1, R2).

use crate::config;
pub use crate::log::{Epoch, Incarnation, LogId, LogIndex, NodeId, Position};

/// The coordinator's name in messages; no server has it.
pub const COORDINATOR: NodeId = NodeId(0);

/// A server and where others reach it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its name.
    pub node: NodeId,
    /// Its addresses, as the shell writes them; at most `CONTACT_BYTES_MAX` bytes. The core only passes it on.
    pub contact: String,
}

/// The servers whose acks are needed, and the one that leads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The cluster; its log's id too.
    pub cluster: LogId,
    /// Its number; the first is 1.
    pub epoch: Epoch,
    /// One of the members.
    pub leader: NodeId,
    /// The leader's incarnation: a restarted leader leads no more (R6).
    pub leader_incarnation: Incarnation,
    /// In the order of their names, each once; leader included.
    pub members: Vec<Member>,
    /// With fewer members client writes are refused (R10).
    pub min_insync: u8,
    /// The newest epoch whose leader an operator has forced although it may lack what was acknowledged
    /// (`--unsafe-recover`, D3); 0 when nobody ever did.
    pub forced: Epoch,
}

impl Configuration {
    /// Whether `node` is one of the members.
    #[must_use]
    pub fn has(&self, node: NodeId) -> bool {
        self.member(node).is_some()
    }

    /// The member of that name.
    #[must_use]
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.node == node)
    }

    /// The members' names, in order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + Clone {
        self.members.iter().map(|member| member.node)
    }

    /// What is wrong with it, if anything: what a correct coordinator never makes.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        if self.epoch.0 == 0 || self.leader_incarnation.0 == 0 {
            return Some("epochs and incarnations begin with 1");
        }
        if self.forced > self.epoch {
            return Some("forced in an epoch to come");
        }
        if self.members.len() > config::CLUSTER_MEMBERS_MAX {
            return Some("too many members");
        }
        if !self.members.is_sorted_by(|a, b| a.node < b.node) {
            return Some("members are not in order");
        }
        if self.has(COORDINATOR) {
            return Some("the coordinator is no member");
        }
        if self.members.iter().any(|member| member.contact.len() > config::CONTACT_BYTES_MAX) {
            return Some("a contact is too long");
        }
        if !self.has(self.leader) {
            return Some("the leader is no member");
        }
        None
    }
}

/// Where a log stands: the epoch and index of its last entry, and where its last frame ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Epoch of the last frame; 0 before the first.
    pub epoch: Epoch,
    /// Index of the last entry; 0 before the first.
    pub index: LogIndex,
    /// Where the next frame begins.
    pub position: Position,
}

impl Mark {
    /// What is wrong with it, if anything.
    #[must_use]
    pub const fn fault(&self) -> Option<&'static str> {
        let nothing = self.index.0 == 0;
        if (self.epoch.0 == 0) != nothing || (self.position.0 == 0) != nothing {
            return Some("a log that has begun in part");
        }
        None
    }

    /// What decides who is further ahead (R3).
    #[must_use]
    pub const fn ahead(&self) -> (Epoch, LogIndex) {
        (self.epoch, self.index)
    }
}

/// Why a server's log or data may not be what the cluster was told it is. Part of its record, because whoever cuts a damaged
/// log forgets by that why it is short. Invariant: the later ones say all that the earlier ones say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// It is.
    #[default]
    None,
    /// A tail that had been acked may be gone (D2), or was cut where it may have been acked.
    Tail,
    /// Below a watermark something was wrong; the log was cut there (D1).
    Corruption,
    /// The data came in a snapshot and is exact only when more of the log is applied.
    Snapshot,
    /// The data differs from the leader's, or is being replaced: only a snapshot of the leader's makes it good.
    Data,
}

/// What a server keeps on its disk besides log and keystore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its name.
    pub node: NodeId,
    /// The incarnation that runs, or ran last.
    pub incarnation: Incarnation,
    /// The newest configuration it adopted; nothing before the first.
    pub configuration: Option<Configuration>,
    /// Taken back when it has all that a leader of the cluster calls committed.
    pub doubt: Doubt,
}

impl NodeRecord {
    /// Of a server that has never run.
    #[must_use]
    pub const fn new(node: NodeId) -> Self {
        Self { node, incarnation: Incarnation(0), configuration: None, doubt: Doubt::None }
    }

    /// The epoch it adopted, 0 before the first.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.configuration.as_ref().map_or(Epoch(0), |configuration| configuration.epoch)
    }
}
