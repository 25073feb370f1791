//! The peers of the comparison: Redis with two replicas, and three members of etcd with their defaults.

use std::path::Path;
use std::time::{Duration, Instant};

use super::durable::redis_command;
use super::measure::Target;
use crate::failure::Failure;
use crate::request::Dialect;
use crate::server::{Recipe, Server, ask, free_port};

/// How long a peer may take until its servers have found each other.
const TOGETHER_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at that.
const LOOK: Duration = Duration::from_millis(50);
/// Copies besides the one that takes the writes.
const REPLICAS: u32 = 2;

/// Servers that hold the same.
pub struct PeerCluster {
    servers: Vec<Server>,
    /// Which takes the writes.
    leader: usize,
    /// The command line of that one.
    pub command: String,
}

impl PeerCluster {
    /// Redis that syncs as `appendfsync` says, with its replicas.
    pub fn redis(program: &str, name: &str, appendfsync: &str, data_parent: &Path) -> Result<Self, Failure> {
        let command = redis_command(program, appendfsync);
        let mut servers: Vec<Server> = Vec::new();
        for _ in 0..=REPLICAS {
            let of = servers.first().map(|first| format!(" --replicaof 127.0.0.1 {}", first.address.port()));
            let recipe = Recipe::new(name, command.clone() + &of.unwrap_or_default(), Dialect::RedisWait(REPLICAS));
            let mut server = Server::spawn(&recipe, free_port()?, &all_cpus(), data_parent)?;
            server.wait_until_it_answers(&recipe.command)?;
            servers.push(server);
        }
        let together = |servers: &[Server]| {
            let told = ask(servers[0].address, b"INFO replication\r\nQUIT\r\n")?;
            Ok((told.matches("state=online").count() == REPLICAS as usize).then_some(0))
        };
        Self::when_together(servers, command, together)
    }

    /// etcd as it comes.
    pub fn etcd(program: &str, name: &str, data_parent: &Path) -> Result<Self, Failure> {
        let members = (0..=REPLICAS).map(|_| Ok((free_port()?, free_port()?))).collect::<Result<Vec<_>, Failure>>()?;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let all = members.iter().enumerate().map(|(place, (_, peer))| format!("m{place}={}", url(*peer)));
        let all = all.collect::<Vec<_>>().join(",");
        let mut servers = Vec::new();
        for (place, (client, peer)) in members.iter().enumerate() {
            let (client_url, peer_url) = (url(*client), url(*peer));
            let command = format!(
                "{program} --name m{place} --data-dir {{dir}} --listen-client-urls {client_url} \
                 --advertise-client-urls {client_url} --listen-peer-urls {peer_url} \
                 --initial-advertise-peer-urls {peer_url} --initial-cluster {all}"
            );
            let recipe = Recipe::new(name, command, Dialect::Etcd);
            servers.push((Server::spawn(&recipe, *client, &all_cpus(), data_parent)?, recipe.command));
        }
        let command = servers[0].1.clone();
        for (server, command) in &mut servers {
            server.wait_until_it_answers(command)?;
        }
        let servers = servers.into_iter().map(|(server, _)| server).collect();
        Self::when_together(servers, command, etcd_leader)
    }

    fn when_together(
        servers: Vec<Server>,
        command: String,
        leader: impl Fn(&[Server]) -> Result<Option<usize>, Failure>,
    ) -> Result<Self, Failure> {
        let began = Instant::now();
        loop {
            if let Some(leader) = leader(&servers)? {
                return Ok(Self { servers, leader, command });
            }
            if began.elapsed() > TOGETHER_TIMEOUT {
                return Err(Failure::new(format!("the servers of `{command}` do not find each other")));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// What it says of itself.
    pub fn version(&self) -> String {
        self.servers[self.leader].version.clone()
    }

    /// Load goes to the leader, CPU time is that of all.
    pub fn target(&self) -> Target {
        let processes = self.servers.iter().map(Server::process).collect();
        Target { processes, ..Target::of(&self.servers[self.leader]) }
    }
}

/// The member that the others follow.
fn etcd_leader(servers: &[Server]) -> Result<Option<usize>, Failure> {
    let question =
        b"POST /v3/maintenance/status HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    for (place, server) in servers.iter().enumerate() {
        let told = ask(server.address, question)?;
        let value =
            |name: &str| told.split_once(&format!("\"{name}\":\"")).and_then(|(_, rest)| rest.split('"').next());
        if value("leader").is_some() && value("leader") == value("member_id") {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// `taskset`'s list of every core.
fn all_cpus() -> String {
    format!("0-{}", std::thread::available_parallelism().map_or(1, usize::from) - 1)
}
