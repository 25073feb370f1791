//! `store addlb`: its command line.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ringstore::config;
use ringstore::control::balancer::answers::Route;
use ringstore::control::balancer::{BalancerConfig, Recovery};
use ringstore::control::roster::BALANCER_PORT_DEFAULT;
use ringstore::time::Duration;

use crate::options::Usage;
use crate::options::cluster::{read_key, resolve};

pub const HELP: &str = "\
Servers join with store addsrv --lb HOST:PORT; the first to come founds the cluster and leads. Clients ask for the servers
over TCP with get-servers, or config get cluster as memcached clients for managed clouds do; status answers in JSON. Its
record is in --data-dir; while it is down, gets and sets go on, and no server can be left out, let in or made the leader.

Exit status: 0 stopped as asked, 64 a wrong command line, 65 a damaged record, 69 the address is in use, 71 refused by the
operating system, 73 the directory cannot be made, 74 a failed disk, 75 the directory is in use, 77
--recover is not confirmed.";

#[derive(Args, Debug)]
pub struct BalancerArgs {
    /// Where to listen: TCP for clients, UDP for servers
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:11200")]
    listen: String,
    /// Where to keep the record of the cluster
    #[arg(long, value_name = "DIR", default_value = "ringstore.lb")]
    data_dir: PathBuf,
    /// The server that a client is told to use first
    #[arg(long, value_enum, default_value = "leader")]
    route: RouteArg,
    /// Milliseconds between two heartbeats to the leader
    #[arg(long, value_name = "MS", default_value = "20", value_parser = clap::value_parser!(u64).range(5..=10_000))]
    heartbeat: u64,
    /// Members below which writes are refused, in a cluster that is founded now
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u8).range(1..=config::CLUSTER_MEMBERS_MAX as i64))]
    min_insync: u8,
    /// The cluster's key: 32 bytes, or 64 hexadecimal digits; without one, on loopback only
    #[arg(long, value_name = "FILE")]
    cluster_key_file: Option<PathBuf>,
    /// The record is lost: make it again from what these servers have on record. Name all of the cluster, as clients reach
    /// them, with commas; shows what it would write
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    recover: Vec<String>,
    /// With --recover: write it
    #[arg(long, requires = "recover")]
    confirmed: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RouteArg {
    /// The leader
    Leader,
    /// Each in turn
    RoundRobin,
    /// The one that has answered the fewest requests of late
    LeastRequests,
}

impl BalancerArgs {
    pub fn into_config(self) -> Result<BalancerConfig, Usage> {
        Ok(BalancerConfig {
            listen: resolve("--listen", &self.listen, BALANCER_PORT_DEFAULT)?[0],
            data_dir: self.data_dir,
            route: match self.route {
                RouteArg::Leader => Route::Leader,
                RouteArg::RoundRobin => Route::RoundRobin,
                RouteArg::LeastRequests => Route::LeastRequests,
            },
            heartbeat: Duration::from_millis(self.heartbeat),
            min_insync: self.min_insync,
            key: self.cluster_key_file.as_deref().map(read_key).transpose()?,
            recovery: (!self.recover.is_empty())
                .then_some(Recovery { servers: self.recover, confirmed: self.confirmed }),
        })
    }
}
