//! `--lb` and what goes with it: a server's place in a cluster, and the addresses and keys that cluster commands share.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ringstore::config::ClusterConfig;
use ringstore::control::address;
use ringstore::control::roster::BALANCER_PORT_DEFAULT;
use ringstore::transport::ClusterKey;

use super::{Usage, refuse};

/// The options of a server in a cluster.
#[derive(Args, Clone, Debug)]
pub struct ClusterArgs {
    /// Join the cluster of this load balancer; its port is 11200 where none is given
    #[arg(long, value_name = "HOST:PORT", help_heading = "The cluster")]
    pub lb: Option<String>,

    /// Address at which clients and the other servers reach this one [default: the first that it listens on]
    #[arg(long, value_name = "HOST", requires = "lb", help_heading = "The cluster")]
    advertise: Option<String>,

    /// Port for the other servers, UDP and TCP [default: a free one]
    #[arg(long, value_name = "NUM", requires = "lb", help_heading = "The cluster")]
    peer_port: Option<u16>,

    /// The cluster's key, the same for all: 32 bytes, or 64 hexadecimal digits; without one, on loopback only
    #[arg(long, value_name = "FILE", requires = "lb", help_heading = "The cluster")]
    cluster_key_file: Option<PathBuf>,

    /// What a read rests on
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value = "lease",
        requires = "lb",
        help_heading = "The cluster"
    )]
    reads: Reads,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Reads {
    /// A lease: no message is sent, clocks may differ in speed by a tenth
    Lease,
    /// A round of messages: no clock is trusted
    Strict,
}

impl ClusterArgs {
    /// The place that the options ask for, of a server that listens on `listen`; nothing without `--lb`.
    ///
    /// # Errors
    /// When others could not reach it, or anyone could pretend to be one of them.
    pub fn place(&self, listen: &[SocketAddr]) -> Result<Option<ClusterConfig>, Usage> {
        let Some(lb) = &self.lb else { return Ok(None) };
        let Some(own) = listen.first() else {
            return refuse("-s listens on no network, and the others must reach a server of a cluster: remove -s.");
        };
        let balancer = of_family(resolve("--lb", lb, BALANCER_PORT_DEFAULT)?, *own).ok_or_else(|| {
            Usage(format!("--lb {lb} and -l {} are not both IPv4 or both IPv6: change one.", own.ip()))
        })?;
        let advertise = match &self.advertise {
            Some(host) => of_family(resolve("--advertise", host, 0)?, *own).map(|address| address.ip()),
            None => None,
        };
        if self.advertise.is_some() && advertise.is_none_or(|ip| ip.is_unspecified()) {
            return refuse(format!(
                "--advertise {} is no address at which others reach {}: give one of this machine's.",
                self.advertise.as_deref().unwrap_or_default(),
                own.ip()
            ));
        }
        let key = self.cluster_key_file.as_deref().map(read_key).transpose()?;
        let place = ClusterConfig {
            balancer,
            advertise,
            peer_port: self.peer_port.unwrap_or(0),
            key,
            strict_reads: self.reads == Reads::Strict,
        };
        reachable(&place, own.ip())?;
        Ok(Some(place))
    }
}

/// Where the others are told to look for the server they must find it, and off loopback nothing is said without a key.
fn reachable(place: &ClusterConfig, own: IpAddr) -> Result<(), Usage> {
    let balancer = place.balancer.ip();
    if place.advertise.is_none() && own.is_unspecified() {
        return refuse(format!(
            "-l {own} is every address and no one that others can be told: add --advertise HOST, an address of this machine."
        ));
    }
    if place.advertise.is_none() && own.is_loopback() && !balancer.is_loopback() {
        return refuse(format!(
            "--lb {balancer} is on a network, and at {own} other machines do not reach this server: add -l with an address \
             of this machine."
        ));
    }
    let addresses = [Some(balancer), place.advertise, Some(own)];
    match addresses.iter().flatten().find(|ip| !ip.is_loopback()) {
        Some(open) if place.key.is_none() => refuse(format!(
            "{open} is not loopback, and without a key anyone there could be a server of this cluster: make one (head -c 32 \
             /dev/urandom > KEY), give it to the load balancer and all servers, and start with --cluster-key-file KEY."
        )),
        _ => Ok(()),
    }
}

/// The first address that a socket bound to `own` can speak to.
fn of_family(found: Vec<SocketAddr>, own: SocketAddr) -> Option<SocketAddr> {
    found.into_iter().find(|address| address.is_ipv4() == own.is_ipv4())
}

/// All addresses of HOST:PORT, [V6]:PORT or HOST, which gets `port`; at least one.
///
/// # Errors
/// When it has none.
pub fn resolve(option: &str, text: &str, port: u16) -> Result<Vec<SocketAddr>, Usage> {
    address::resolve(text, port)
        .map_err(|error| Usage(format!("{option} {text}: {error}; give an address such as 127.0.0.1:{port}.")))
}

/// `--cluster-key-file`.
///
/// # Errors
/// When there is no key in it.
pub fn read_key(path: &Path) -> Result<ClusterKey, Usage> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|error| {
        Usage(format!("--cluster-key-file {shown}: {error}; make a key with head -c 32 /dev/urandom > {shown}"))
    })?;
    ClusterKey::from_file(&bytes).ok_or_else(|| {
        Usage(format!(
            "--cluster-key-file {shown}: not a key; a key is 32 bytes, or 64 hexadecimal digits: head -c 32 /dev/urandom > \
             {shown}"
        ))
    })
}
