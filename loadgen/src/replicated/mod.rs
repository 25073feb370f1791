//! `loadgen replicated`: sets per second that three servers hold when they are answered, beside etcd's and Redis's, all on
//! this machine.

mod peers;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::cluster::{Cluster, Shape as ClusterShape};
use crate::contest::{Event, EventResult, KEYS, ServerDescription, VALUE_BYTES, bench, rounds};
use crate::failure::{Failure, While};
use crate::keys::KeySpace;
use crate::machine::{self, Machine};
use crate::measure::{Shape, Target};
use crate::request::{Dialect, Mix};
use peers::Peer;

/// Connections of every load.
const CONNECTIONS: usize = 64;
/// Servers that hold each set.
const SERVERS: usize = 3;
/// What is to be reached: our rate over etcd's and over Redis's.
const ETCD_GOAL: f64 = 8.0;
const REDIS_GOAL: f64 = 1.3;
/// Open files: the connections to etcd above all.
const OPEN_FILES: u64 = 8192;

#[derive(Args)]
pub struct ReplicatedArgs {
    /// Rounds; in each one everybody is measured once under every load
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds per measurement
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// The store program [default: beside this program, or in target/release]
    #[arg(long)]
    store: Option<String>,
    /// Further options of each of our servers, separated by spaces
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    options: String,
    /// The Redis server
    #[arg(long, default_value = "redis-server")]
    redis: String,
    /// The etcd server
    #[arg(long, default_value = "etcd")]
    etcd: String,
    /// Only our own servers
    #[arg(long)]
    alone: bool,
    /// Only loads whose title contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Folder, on a disk, for the servers' data directories
    #[arg(long, default_value = "/var/tmp")]
    data_parent: PathBuf,
    /// Decides the order of keys and the content of values
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// When a set is on the disks: ours and Redis's words for it.
const FSYNC: [(&str, &str); 2] = [("always", "always"), ("never", "no")];

#[derive(Serialize)]
struct Report {
    machine: Machine,
    rounds: u32,
    seconds: f64,
    seed: u64,
    servers: Vec<ServerDescription>,
    events: Vec<EventResult>,
}

/// Runs the comparison and prints its table.
pub fn run(args: &ReplicatedArgs) -> Result<(), Failure> {
    machine::allow_open_files(OPEN_FILES)?;
    let clusters = FSYNC.map(|(ours, _)| args.cluster(ours)).into_iter().collect::<Result<Vec<_>, _>>()?;
    let peers = if args.alone { Vec::new() } else { args.peers()? };
    let mut targets = peers.iter().map(Peer::target).collect::<Vec<_>>();
    let described = |name: &str, command: &str, version| ServerDescription {
        name: name.to_owned(),
        command: command.to_owned(),
        version,
    };
    let mut servers = peers
        .iter()
        .zip(&targets)
        .map(|(peer, target)| described(&target.name, &peer.command, peer.version()))
        .collect::<Vec<_>>();
    for (cluster, (fsync, _)) in clusters.iter().zip(FSYNC) {
        let (target, command) = ours(cluster, fsync)?;
        servers.push(described(&target.name, &command, String::new()));
        targets.push(target);
    }
    let events = args.events(&targets);
    if events.is_empty() {
        return Err(Failure::new(format!("no load has `{}` in its title", args.only)));
    }
    let (keys, bench) = (KeySpace::new(KEYS, VALUE_BYTES, args.seed), bench(args.seconds, None)?);
    let events = rounds(args.rounds, &bench, &targets, keys, args.seed, &events)?;
    let (rounds, seconds, seed) = (args.rounds, args.seconds, args.seed);
    let report = Report { machine: Machine::describe(), rounds, seconds, seed, servers, events };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).during("writing JSON")?);
    } else {
        print!("{}", report.markdown());
    }
    Ok(())
}

/// Load goes to the leader, CPU time is that of all servers, their guardians and the load balancer.
fn ours(cluster: &Cluster, fsync: &str) -> Result<(Target, String), Failure> {
    let leader = &cluster.servers[cluster.until_whole()?];
    let mut processes = cluster.balancer.process().into_iter().collect::<Vec<_>>();
    for server in &cluster.servers {
        processes.extend(server.process());
        processes.push(server.guardian()?);
    }
    let target =
        Target { name: format!("ringstore {fsync}"), dialect: Dialect::Memcached, address: leader.address, processes };
    Ok((target, leader.command.clone()))
}

impl ReplicatedArgs {
    fn cluster(&self, fsync: &str) -> Result<Cluster, Failure> {
        let store = self.store.clone().unwrap_or_else(|| machine::program("store"));
        let options = format!("-m 1024 -c 4096 --fsync {fsync} {}", self.options);
        Cluster::start(&ClusterShape {
            store: &store,
            servers: SERVERS,
            options: &options,
            data_parent: &self.data_parent,
        })
    }

    fn peers(&self) -> Result<Vec<Peer>, Failure> {
        let mut peers = vec![Peer::etcd(&self.etcd, "etcd", &self.data_parent)?];
        for (_, appendfsync) in FSYNC {
            peers.push(Peer::redis(&self.redis, &format!("redis {appendfsync}"), appendfsync, &self.data_parent)?);
        }
        Ok(peers)
    }

    /// Under `always` and `never` those who are set so; etcd under both, for it knows no other way.
    fn events(&self, targets: &[Target]) -> Vec<Event> {
        let place = |name: String| targets.iter().position(|target| target.name == name);
        let events = FSYNC.iter().flat_map(|(fsync, appendfsync)| {
            let entrants = ["etcd".to_owned(), format!("redis {appendfsync}"), format!("ringstore {fsync}")];
            let entrants = entrants.into_iter().filter_map(place).collect::<Vec<_>>();
            [1, 16].map(|pipeline| Event {
                title: format!("fsync {fsync}, {CONNECTIONS} connections, {pipeline} in flight"),
                shape: Shape { mix: Mix::Set, connections: CONNECTIONS, pipeline },
                entrants: entrants.clone(),
            })
        });
        events.filter(|event| event.title.contains(&self.only)).collect()
    }
}

impl Report {
    fn markdown(&self) -> String {
        let machine = &self.machine;
        let mut out = format!(
            "Kernel {}, {}, {} cores, commit {}; {} rounds of {} s, seed {}; {KEYS} keys, values of {VALUE_BYTES} bytes.\n\n",
            machine.kernel, machine.cpu, machine.cores, machine.commit, self.rounds, self.seconds, self.seed
        );
        for server in &self.servers {
            out += &format!("- {} {}: `{}`\n", server.name, server.version, server.command);
        }
        out +=
            "\n| load | servers | sets/s | CPU us/set | cores busy | ours is | goal |\n|---|---|--:|--:|--:|--:|---|\n";
        for event in &self.events {
            let Some(ours) = event.entrants.last() else { continue };
            for entrant in &event.entrants {
                let name = &self.servers[entrant.server].name;
                let ratio = ours.rate.median / entrant.rate.median;
                let (ratio, goal) = match goal(name) {
                    Some(goal) => {
                        let reached = if ratio >= goal { "reached" } else { "MISSED" };
                        (format!("{ratio:.2} times"), format!("{goal} {reached}"))
                    }
                    None => Default::default(),
                };
                let (rate, cpu) = (entrant.rate, entrant.cpu_us);
                out += &format!(
                    "| {} | {name} | {:.0} ({:.0}-{:.0}) | {:.2} ({:.2}-{:.2}) | {:.2} | {ratio} | {goal} |\n",
                    event.title, rate.median, rate.min, rate.max, cpu.median, cpu.min, cpu.max, entrant.busy
                );
            }
        }
        out += "\nMedians, smallest and largest in brackets. CPU is that of all processes that hold the data. etcd is asked in JSON \
                over HTTP, which costs it some CPU, and gets what others have in flight on as many connections more.\n";
        out
    }
}

/// How many times as fast as these servers ours are to be.
fn goal(name: &str) -> Option<f64> {
    match name.split(' ').next() {
        Some("etcd") => Some(ETCD_GOAL),
        Some("redis") => Some(REDIS_GOAL),
        _ => None,
    }
}
