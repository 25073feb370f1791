//! `loadgen compare replicated`: sets that three servers hold when they are answered, beside etcd's and Redis's, all on this
//! machine.

use super::contest::{Event, Field, rounds};
use super::measure::{RATE, Shape, Target};
use super::peer_clusters::PeerCluster;
use super::programs::Peer;
use super::sheet::{Bound, Goal, ServerDescription};
use super::{CompareArgs, Scenario, Setup, Sheet, measure};
use crate::cluster::{Cluster, Shape as ClusterShape};
use crate::failure::Failure;
use crate::request::{Dialect, Mix};
use crate::server::ask_version;

/// Connections of every load.
const CONNECTIONS: usize = 64;
/// Servers that hold each set.
const SERVERS: usize = 3;
/// What is to be reached: our rate over etcd's and over Redis's.
const ETCD_GOAL: f64 = 8.0;
const REDIS_GOAL: f64 = 1.3;

/// When a set is on the disks: ours and Redis's words for it.
const FSYNC: [(&str, &str); 2] = [("always", "always"), ("never", "no")];

/// Starts all clusters and runs the loads. Nothing when none is asked for.
///
/// # Errors
/// When a cluster does not come together or answers wrongly.
pub fn run(setup: &Setup) -> Result<Option<Sheet>, Failure> {
    let args = setup.args;
    let asked = FSYNC.iter().flat_map(|fsync| [1, 16].map(|pipeline| (*fsync, pipeline)));
    let asked = asked.filter(|((fsync, _), pipeline)| args.contest.asks_for(&title(fsync, *pipeline)));
    let asked = asked.collect::<Vec<_>>();
    if asked.is_empty() {
        return Ok(None);
    }
    let peers = peers(setup)?;
    let clusters = FSYNC.map(|(ours, _)| cluster(args, ours)).into_iter().collect::<Result<Vec<_>, _>>()?;
    let (mut targets, mut servers) = (Vec::new(), Vec::new());
    for peer in &peers {
        let target = peer.target();
        servers.push(described(&target, true, peer.command.clone(), peer.version()));
        targets.push(target);
    }
    for (cluster, (fsync, _)) in clusters.iter().zip(FSYNC) {
        let (target, command) = ours(cluster, fsync)?;
        let version = ask_version(target.address, target.dialect)?;
        servers.push(described(&target, false, command, version));
        targets.push(target);
    }
    let events = asked.into_iter().map(|(fsync, pipeline)| event(fsync, pipeline, &targets)).collect::<Vec<_>>();
    let field = Field { targets, servers, load_cpu: None };
    let results = rounds(&args.contest, &field, &events)?;
    let about = about();
    Ok(Some(Sheet {
        scenario: Scenario::Replicated,
        about,
        columns: &measure::COLUMNS,
        servers: field.servers,
        results,
    }))
}

fn about() -> String {
    format!(
        "{SERVERS} servers that hold every set, on this machine. A cluster needs more than one core: our servers are pinned to the \
         cores in turn, peers and load run on any. CPU time is that of all processes that hold the data, of our guardians and \
         our load balancer too; the load goes to the leader. etcd is asked in JSON over HTTP, which costs it some CPU, and gets what \
         others have in flight on as many connections more. {}",
        super::load_terms()
    )
}

fn title(fsync: &str, pipeline: usize) -> String {
    format!("fsync {fsync}, {CONNECTIONS} connections, {pipeline} in flight")
}

/// Name of our cluster that syncs so.
fn our_name(fsync: &str) -> String {
    format!("ringstore {fsync}")
}

/// Name of the Redis that syncs so.
fn redis_name(appendfsync: &str) -> String {
    format!("{} {appendfsync}", Peer::Redis.name())
}

/// Under `always` and `never` those who are set so; etcd under both, for it knows no other way.
fn event((fsync, appendfsync): (&str, &str), pipeline: usize, targets: &[Target]) -> Event {
    let (etcd, redis, ours) = (Peer::Etcd.name().to_owned(), redis_name(appendfsync), our_name(fsync));
    let place = |name: &String| targets.iter().position(|target| target.name == *name);
    let goal = |peer: &String, bound| {
        let (ours, peer) = (ours.clone(), peer.clone());
        Goal { ours, peer, figure: RATE, bound: Bound::AtLeast(bound) }
    };
    Event {
        title: title(fsync, pipeline),
        shape: Shape { mix: Mix::Set, connections: CONNECTIONS, pipeline },
        entrants: [&etcd, &redis, &ours].into_iter().filter_map(place).collect(),
        goals: vec![goal(&etcd, ETCD_GOAL), goal(&redis, REDIS_GOAL)],
    }
}

fn peers(setup: &Setup) -> Result<Vec<PeerCluster>, Failure> {
    let (programs, data_parent) = (&setup.args.programs, &setup.args.contest.data_parent);
    let mut peers = Vec::new();
    if setup.peers.contains(&Peer::Etcd) {
        peers.push(PeerCluster::etcd(&programs.peer(Peer::Etcd), Peer::Etcd.name(), data_parent)?);
    }
    if setup.peers.contains(&Peer::Redis) {
        for (_, appendfsync) in FSYNC {
            let name = redis_name(appendfsync);
            peers.push(PeerCluster::redis(&programs.peer(Peer::Redis), &name, appendfsync, data_parent)?);
        }
    }
    Ok(peers)
}

fn cluster(args: &CompareArgs, fsync: &str) -> Result<Cluster, Failure> {
    let (store, data_parent) = (args.programs.store()?, &args.contest.data_parent);
    let options = format!("-m 1024 -c 4096 --fsync {fsync} {}", args.programs.options);
    Cluster::start(&ClusterShape { store: &store, servers: SERVERS, options: options.trim_end(), data_parent })
}

/// Load goes to the leader, CPU time is that of all servers, their guardians and the load balancer.
fn ours(cluster: &Cluster, fsync: &str) -> Result<(Target, String), Failure> {
    let leader = &cluster.servers[cluster.until_whole()?];
    let mut processes = cluster.balancer.process().into_iter().collect::<Vec<_>>();
    for server in &cluster.servers {
        processes.extend(server.process());
        processes.push(server.guardian()?);
    }
    let target = Target { name: our_name(fsync), dialect: Dialect::Memcached, address: leader.address, processes };
    Ok((target, leader.command.clone()))
}

fn described(target: &Target, peer: bool, command: String, version: String) -> ServerDescription {
    ServerDescription { name: target.name.clone(), peer, command, version }
}
