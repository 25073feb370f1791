//! `stats cluster`: what a server says of its part in a cluster. Thread 0 owns what is told and leaves a copy here at its
//! ticks; any thread tells it.

use std::fmt::Display;

use super::Shared;
use crate::cluster::{Configuration, Digest, Doubt, Mark, Member, Replica};
use crate::log::{Incarnation, NodeId};
use crate::proto::reply;
use crate::time::Time;
use crate::transport::Counts;

/// A server's part in its cluster, at one instant.
#[derive(Clone, Debug)]
pub struct ClusterStats {
    /// Its name.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The configuration that it adopted and made durable; nothing before the first.
    pub configuration: Option<Configuration>,
    /// As `Replica::role` says it.
    pub role: &'static str,
    /// Whether it leads and its epoch's no-op is committed.
    pub serving: bool,
    /// Up to where it knows its log to be committed.
    pub commit: Mark,
    /// Where its log ends.
    pub end: Mark,
    /// What its store holds.
    pub applied: Mark,
    /// The sum over its store, and at which position; two servers at the same position have the same one.
    pub digest: Digest,
    /// Why its log or data is doubted, if it is.
    pub doubt: Doubt,
    /// Where the other servers reach it, as ADDRESS:PORT.
    pub peer_address: String,
    /// Since when it has that role.
    pub role_since: Time,
    /// What its datagrams came to.
    pub transport: Counts,
}

impl ClusterStats {
    /// What `replica` knows of itself. The rest only its surroundings know.
    #[must_use]
    pub fn of(
        replica: &Replica,
        applied: Mark,
        digest: Digest,
        peer_address: String,
        role_since: Time,
        transport: Counts,
    ) -> Self {
        Self {
            node: replica.node(),
            incarnation: replica.incarnation(),
            configuration: replica.configuration().cloned(),
            role: replica.role(),
            serving: replica.is_serving(),
            commit: replica.commit(),
            end: replica.end(),
            applied,
            digest,
            doubt: replica.doubt(),
            peer_address,
            role_since,
            transport,
        }
    }
}

/// `stats cluster`. A server that stands alone says so and no more.
pub fn cluster(out: &mut Vec<u8>, shared: &Shared, now: Time) {
    match &*shared.cluster() {
        Some(stats) => lines(out, stats, now),
        None if shared.config.cluster.is_some() => reply::stat(out, "role", "starting"),
        None => reply::stat(out, "role", "alone"),
    }
    reply::end(out);
}

/// Every line has three words: what is not there is `none`.
fn lines(out: &mut Vec<u8>, stats: &ClusterStats, now: Time) {
    let name = |node: NodeId| format!("{:016x}", node.0);
    let mut line = |name: &str, value: &dyn Display| reply::stat(out, name, value);
    let known = stats.configuration.as_ref();
    line("node", &name(stats.node));
    line("incarnation", &stats.incarnation.0);
    line("cluster", &format_args!("{:032x}", known.map_or(0, |one| one.cluster.0)));
    line("role", &stats.role);
    line("serving", &u8::from(stats.serving));
    line("epoch", &known.map_or(0, |one| one.epoch.0));
    line("leader", &known.map_or_else(none, |one| name(one.leader)));
    line("leader_incarnation", &known.map_or(0, |one| one.leader_incarnation.0));
    line("members", &list(known, |member| name(member.node)));
    line("contacts", &list(known, |member| member.contact.replace(' ', "|")));
    line("min_insync", &known.map_or(0, |one| one.min_insync));
    line("forced", &known.map_or(0, |one| one.forced.0));
    line("commit_index", &stats.commit.index.0);
    line("commit_position", &stats.commit.position.0);
    line("end_index", &stats.end.index.0);
    line("end_position", &stats.end.position.0);
    line("applied_index", &stats.applied.index.0);
    line("applied_position", &stats.applied.position.0);
    line("digest", &format_args!("{:016x}", stats.digest.digest));
    line("digest_position", &stats.digest.position.0);
    line("doubt", &doubt(stats.doubt));
    line("peer_address", &stats.peer_address);
    line("time_in_role_us", &(now.since(stats.role_since).0 / 1000));
    let Counts {
        datagrams_sent,
        bytes_sent,
        datagrams_received,
        bytes_received,
        bytes_resent,
        messages_expired,
        refused_foreign,
        refused_forged,
        refused_replayed,
        refused_malformed,
        refused_peers,
    } = stats.transport;
    line("datagrams_sent", &datagrams_sent);
    line("datagram_bytes_sent", &bytes_sent);
    line("datagrams_received", &datagrams_received);
    line("datagram_bytes_received", &bytes_received);
    line("datagram_bytes_resent", &bytes_resent);
    line("messages_expired", &messages_expired);
    line("refused_foreign", &refused_foreign);
    line("refused_forged", &refused_forged);
    line("refused_replayed", &refused_replayed);
    line("refused_malformed", &refused_malformed);
    line("refused_peers", &refused_peers);
}

/// What there is to say of each member, in the order of their names.
fn list(known: Option<&Configuration>, say: impl Fn(&Member) -> String) -> String {
    known.map_or_else(none, |one| one.members.iter().map(say).collect::<Vec<_>>().join(","))
}

fn none() -> String {
    "none".to_owned()
}

const fn doubt(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::None => "none",
        Doubt::Tail => "tail",
        Doubt::Corruption => "corruption",
        Doubt::Snapshot => "snapshot",
        Doubt::Data => "data",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Boot, NodeRecord};
    use crate::config::ServerConfig;
    use crate::log::{Epoch, LogId, LogIndex, Position};
    use crate::time::NANOS;

    const START: Time = Time(1000 * NANOS);

    fn told(shared: &Shared, now: Time) -> String {
        let mut out = Vec::new();
        cluster(&mut out, shared, now);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_server_alone_says_so() {
        let shared = Shared::new(ServerConfig::default(), 1, START);
        assert_eq!(told(&shared, START), "STAT role alone\r\nEND\r\n");
    }

    #[test]
    fn a_server_in_a_cluster_tells_all_of_it_in_three_words_a_line() {
        let shared = Shared::new(ServerConfig::default(), 1, START);
        let boot = Boot::empty(NodeRecord::new(NodeId(0xAB)), "127.0.0.1:1 127.0.0.1:2".to_owned());
        let replica = Replica::start(START, boot, &mut Vec::new());
        let at = |index, position| Mark { epoch: Epoch(3), index: LogIndex(index), position: Position(position) };
        let digest = Digest { position: Position(77), digest: 0xFEED };
        let counts = Counts { refused_forged: 5, ..Counts::default() };
        let mut stats = ClusterStats::of(&replica, at(6, 77), digest, "127.0.0.1:2".to_owned(), START, counts);
        assert_eq!((stats.role, stats.configuration.is_none()), ("starting", true));
        shared.set_cluster(stats.clone());
        let text = told(&shared, Time(START.0 + 1_500_000));
        assert!(text.contains("STAT members none\r\nSTAT contacts none\r\n"), "{text}");

        (stats.role, stats.serving) = ("leader", true);
        let member = |node: u64| Member { node: NodeId(node), contact: format!("127.0.0.1:{node} 127.0.0.1:2") };
        stats.configuration = Some(Configuration {
            cluster: LogId(0xC),
            epoch: Epoch(3),
            leader: NodeId(0xAB),
            leader_incarnation: Incarnation(6),
            members: vec![member(0xAB), member(0xCD)],
            min_insync: 2,
            forced: Epoch(1),
        });
        (stats.commit, stats.end, stats.doubt) = (at(7, 88), at(9, 99), Doubt::Tail);
        shared.set_cluster(stats);
        let text = told(&shared, Time(START.0 + 1_500_000));
        for line in [
            "node 00000000000000ab",
            "incarnation 1",
            "role leader",
            "serving 1",
            "leader 00000000000000ab",
            "leader_incarnation 6",
            "members 00000000000000ab,00000000000000cd",
            "contacts 127.0.0.1:171|127.0.0.1:2,127.0.0.1:205|127.0.0.1:2",
            "cluster 0000000000000000000000000000000c",
            "epoch 3",
            "forced 1",
            "commit_index 7",
            "commit_position 88",
            "end_index 9",
            "end_position 99",
            "applied_index 6",
            "applied_position 77",
            "digest 000000000000feed",
            "digest_position 77",
            "doubt tail",
            "min_insync 2",
            "peer_address 127.0.0.1:2",
            "time_in_role_us 1500",
            "refused_forged 5",
        ] {
            assert!(text.contains(&format!("STAT {line}\r\n")), "{line} in {text}");
        }
        let lines = text.strip_suffix("END\r\n").expect("an end").lines();
        assert!(lines.into_iter().all(|line| line.split(' ').count() == 3), "{text}");
    }
}
