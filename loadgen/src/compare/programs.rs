//! The programs of a comparison: where ours is, which peers are installed, and which package has those that are not.

use std::process::Command;

use clap::Args;

use crate::failure::{Failure, While};
use crate::machine;

/// A server that ours is set beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Memcached,
    Redis,
    Etcd,
}

impl Peer {
    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memcached => "memcached",
            Self::Redis => "redis",
            Self::Etcd => "etcd",
        }
    }

    /// How it can be had on Debian.
    fn remedy(self) -> &'static str {
        match self {
            Self::Memcached => {
                "apt-get install memcached, or tests/foreign/install-peers for a newer one, or --memcached PROGRAM"
            }
            Self::Redis => "apt-get install redis-server, or --redis PROGRAM",
            Self::Etcd => "apt-get install etcd-server, or --etcd PROGRAM",
        }
    }

    /// That it is not here, and what to do.
    pub fn missing(self) -> String {
        format!("{} is not installed: {}", self.name(), self.remedy())
    }
}

#[derive(Args)]
pub struct Programs {
    /// The store program [default: beside this program, or in target/release]
    #[arg(long, value_name = "PROGRAM")]
    store: Option<String>,
    /// Further options of each of our servers, separated by spaces
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub options: String,
    /// The memcached server [default: memcached-peer or memcached on PATH]
    #[arg(long, value_name = "PROGRAM")]
    memcached: Option<String>,
    /// The Redis server
    #[arg(long, value_name = "PROGRAM", default_value = "redis-server")]
    redis: String,
    /// The etcd server
    #[arg(long, value_name = "PROGRAM", default_value = "etcd")]
    etcd: String,
}

impl Programs {
    /// Our server.
    ///
    /// # Errors
    /// When there is none.
    pub fn store(&self) -> Result<String, Failure> {
        let store = self.store.clone().unwrap_or_else(|| machine::program("store"));
        if machine::is_installed(&store) {
            return Ok(store);
        }
        Err(Failure::new(format!(
            "there is no program {store}: run cargo build --release --workspace, or name it with --store"
        )))
    }

    /// What our server's program says its version is; over the wire it says memcached's whose behaviour it has.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn store_version(&self) -> Result<String, Failure> {
        let store = self.store()?;
        let output =
            Command::new(&store).arg("--version").output().during(format_args!("running {store} --version"))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// A peer's program.
    pub fn peer(&self, peer: Peer) -> String {
        match peer {
            Peer::Memcached => self.memcached.clone().unwrap_or_else(machine::memcached),
            Peer::Redis => self.redis.clone(),
            Peer::Etcd => self.etcd.clone(),
        }
    }

    /// Whether a peer can be started here.
    pub fn has(&self, peer: Peer) -> bool {
        machine::is_installed(&self.peer(peer))
    }
}
