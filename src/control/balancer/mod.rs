//! `store addlb`: the load balancer. Servers speak to it in datagrams, clients over TCP at the same port; its state is the
//! coordinator's configuration on the disk and can be killed at any instant. While it is down, gets and sets go on.
//!
//! ```text
//!   servers --datagrams--.               .--> Persist: record, then announced (R1)
//!   clock    --ticks-----+--> State -----+--> Send: datagrams
//!   lifelines --ends-----'               '--> Watch: lifelines
//!   clients  --lines--------> answers
//! ```
//!
//! Reading order: `answers` (what clients are told), `state` (what is to be done), `record` (the disk), `recovery`
//! (what is done when the disk is lost), `serve` (sockets).

pub mod answers;
pub mod record;
pub mod recovery;
mod serve;
pub mod state;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::time::Duration;
use crate::transport::ClusterKey;
use answers::Route;
pub use recovery::{Recovery, RecoveryError};
pub use serve::run;

/// What a load balancer does, as its command line said.
#[derive(Clone, Debug)]
pub struct BalancerConfig {
    /// TCP for clients, UDP for servers.
    pub listen: SocketAddr,
    /// Where its record is.
    pub data_dir: PathBuf,
    /// Which server a client is told to use first.
    pub route: Route,
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// Of a cluster that it founds: with fewer members writes are refused.
    pub min_insync: u8,
    /// Nothing on loopback only.
    pub key: Option<ClusterKey>,
    /// Its record is lost and is to be made again.
    pub recovery: Option<Recovery>,
}

/// Why a load balancer does not run.
#[derive(Debug)]
pub enum BalancerError {
    /// Its directory cannot be used.
    Record(record::RecordError),
    /// The address cannot be had.
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// Servers elsewhere, and nothing to know them by.
    NoKey(SocketAddr),
    /// The record is not made again.
    Recovery(RecoveryError),
    /// The kernel refuses io_uring.
    Ring(io::Error),
    /// The system refuses something else.
    System(io::Error),
}

impl fmt::Display for BalancerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(error) => error.fmt(f),
            Self::Recovery(error) => error.fmt(f),
            Self::Listen { address, error } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{address} is in use; stop what listens there, or choose another with --listen")
            }
            Self::Listen { address, error } => {
                write!(f, "cannot listen on {address}: {error}; choose an address of this machine with --listen")
            }
            Self::NoKey(address) => write!(
                f,
                "{address} is not loopback, and without a key anyone there could be a server of this cluster: make one \
                 (head -c 32 /dev/urandom > KEY), give it to all of them and start with --cluster-key-file KEY"
            ),
            Self::Ring(error) => write!(
                f,
                "the kernel refuses io_uring: {error}; allow it (sysctl kernel.io_uring_disabled=0, and in a container \
                 a seccomp profile that lets it)"
            ),
            Self::System(error) => write!(f, "the system refuses: {error}"),
        }
    }
}

impl BalancerError {
    /// The exit code that says it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Record(error) => error.exit_code(),
            Self::Recovery(error) => error.exit_code(),
            Self::Listen { .. } => 69,
            Self::NoKey(_) => 64,
            Self::Ring(_) | Self::System(_) => 71,
        }
    }
}
