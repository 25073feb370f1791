//! `store addlb --recover`: a record that was lost is made again from what all servers have on record (R1), once the operator
//! has seen and confirmed it. The operator names the servers; each says on its clients' port what it has adopted.

use std::fmt;
use std::io;

use crate::cluster::{Configuration, Coordinator, Member, NodeRecord, RecoverFault};
use crate::contact::Contact;
use crate::control::session::runtime;
use crate::control::survey::{self, Said};
use crate::log::{Epoch, Incarnation, LogId, NodeId};

/// sysexits: the records do not agree.
const EX_DATAERR: u8 = 65;
/// sysexits: there is a record.
const EX_USAGE: u8 = 64;
/// sysexits: a server cannot be asked.
const EX_UNAVAILABLE: u8 = 69;
/// sysexits: the operating system refused.
const EX_OSERR: u8 = 71;
/// sysexits: it is not confirmed.
const EX_NOPERM: u8 = 77;

/// A record that is to be made again.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// All servers, HOST:PORT as clients reach them.
    pub servers: Vec<String>,
    /// Whether the operator has seen what will be written and wants it.
    pub confirmed: bool,
}

/// Why it is not made again.
#[derive(Debug)]
pub enum RecoveryError {
    /// There is a record: nothing is lost.
    HasRecord(Epoch),
    /// A server that was named says nothing of its record.
    Silent(String, String),
    /// The records do not say which configuration was the last.
    Fault(RecoverFault),
    /// The operator has not confirmed this.
    Unconfirmed(Configuration),
    /// The kernel refuses io_uring.
    Ring(io::Error),
}

impl RecoveryError {
    /// The exit code that says it.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::HasRecord(_) => EX_USAGE,
            Self::Silent(..) => EX_UNAVAILABLE,
            Self::Fault(_) => EX_DATAERR,
            Self::Unconfirmed(_) => EX_NOPERM,
            Self::Ring(_) => EX_OSERR,
        }
    }
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HasRecord(epoch) => {
                write!(f, "there is a record, of epoch {}: start without --recover, which is for a lost one.", epoch.0)
            }
            Self::Silent(server, why) => {
                write!(f, "{server} does not say what it has on record ({why}): start it, all servers are needed.")
            }
            Self::Fault(RecoverFault::Missing(node)) => write!(
                f,
                "the newest configuration has a member {:016x} that was not named: name it too with --recover, it may know \
                 of a newer one.",
                node.0
            ),
            Self::Fault(RecoverFault::OtherCluster { one, other }) => write!(
                f,
                "the servers are of two clusters, {:032x} and {:032x}: name those of one with --recover.",
                one.0, other.0
            ),
            Self::Fault(RecoverFault::Nothing) => {
                f.write_str("no server that was named belongs to a cluster: start without --recover to found one.")
            }
            Self::Unconfirmed(configuration) => {
                let Configuration { cluster, epoch, leader, members, .. } = configuration;
                let at = |member: &Member| clients(member).unwrap_or_else(|| member.contact.clone());
                let members: Vec<String> = members.iter().map(at).collect();
                let leader = configuration.member(*leader).map_or_else(String::new, at);
                write!(
                    f,
                    "nothing is changed yet. The record would be: cluster {:032x}, epoch {}, {leader} leads {}. If no other \
                     server of this cluster exists, start again with --confirmed.",
                    cluster.0,
                    epoch.0,
                    members.join(", ")
                )
            }
            Self::Ring(error) => write!(f, "the kernel refuses io_uring: {error}."),
        }
    }
}

fn clients(member: &Member) -> Option<String> {
    member.contact.parse::<Contact>().ok().map(|contact| contact.clients.to_string())
}

impl Recovery {
    /// The record to be written, in place of `record`, which must not be there.
    ///
    /// # Errors
    /// When nothing is to be written.
    pub fn run(&self, record: Option<&Configuration>) -> Result<Configuration, RecoveryError> {
        if let Some(record) = record {
            return Err(RecoveryError::HasRecord(record.epoch));
        }
        let records = runtime().map_err(RecoveryError::Ring)?.block_on(async {
            let mut records = Vec::new();
            for server in &self.servers {
                let said = survey::ask(server.clone())
                    .await
                    .and_then(|said| record_of(&said).ok_or_else(|| format!("its role is {}", said.word("role"))));
                records.push(said.map_err(|why| RecoveryError::Silent(server.clone(), why))?);
            }
            Ok(records)
        })?;
        let recovered = Coordinator::recover(&records).map_err(RecoveryError::Fault)?;
        if self.confirmed { Ok(recovered) } else { Err(RecoveryError::Unconfirmed(recovered)) }
    }
}

/// The record that a server says it has; nothing when it says none.
fn record_of(said: &Said) -> Option<NodeRecord> {
    let node = NodeId(u64::from_str_radix(said.word("node"), 16).ok()?);
    let mut record = NodeRecord::new(node);
    record.incarnation = Incarnation(said.number("incarnation"));
    if said.number("epoch") == 0 {
        return Some(record);
    }
    let contacts = said.word("contacts").split(',').map(|contact| contact.replace('|', " "));
    let members = said
        .word("members")
        .split(',')
        .zip(contacts)
        .map(|(node, contact)| Some(Member { node: NodeId(u64::from_str_radix(node, 16).ok()?), contact }));
    let configuration = Configuration {
        cluster: LogId(u128::from_str_radix(said.word("cluster"), 16).ok()?),
        epoch: Epoch(said.number("epoch")),
        leader: NodeId(u64::from_str_radix(said.word("leader"), 16).ok()?),
        leader_incarnation: Incarnation(said.number("leader_incarnation")),
        members: members.collect::<Option<_>>()?,
        min_insync: u8::try_from(said.number("min_insync")).ok()?,
        forced: Epoch(said.number("forced")),
    };
    configuration.fault().is_none().then(|| {
        record.configuration = Some(configuration);
        record
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Boot, Digest, Mark, Replica};
    use crate::config::ServerConfig;
    use crate::stats::{self, ClusterStats, Shared};
    use crate::time::Time;
    use crate::transport::Counts;

    #[test]
    fn what_a_server_says_of_its_record_is_its_record() {
        let member =
            |node: u64| Member { node: NodeId(node), contact: format!("10.0.0.{node}:11211 10.0.0.{node}:12211") };
        let configuration = Configuration {
            cluster: LogId(u128::MAX - 5),
            epoch: Epoch(7),
            leader: NodeId(2),
            leader_incarnation: Incarnation(4),
            members: vec![member(1), member(2)],
            min_insync: 2,
            forced: Epoch(3),
        };
        let mut record = NodeRecord::new(NodeId(2));
        (record.incarnation, record.configuration) = (Incarnation(5), Some(configuration.clone()));
        let shared = Shared::new(ServerConfig::default(), 1, Time(1));
        let boot = Boot::empty(record, String::new());
        let replica = Replica::start(Time(1), boot, &mut Vec::new());
        let (mark, digest) = (Mark::default(), Digest { digest: 0, ..Digest::default() });
        let stats = ClusterStats::of(&replica, mark, digest, "127.0.0.1:1".to_owned(), Time(1), Counts::default());
        shared.set_cluster(stats);
        let mut text = Vec::new();
        stats::cluster(&mut text, &shared, Time(1));
        let text = String::from_utf8(text).expect("a text");
        let pair = |line: &str| {
            let (name, value) = line.strip_prefix("STAT ")?.split_once(' ')?;
            Some((name.to_owned(), value.to_owned()))
        };
        let said = Said { cluster: text.lines().filter_map(pair).collect(), ..Said::default() };
        let read = record_of(&said).expect("a record");
        assert_eq!((read.node, read.configuration), (NodeId(2), Some(configuration)));
        assert_eq!(record_of(&Said::default()), None, "a server that stands alone has none");
    }
}
