//! From a configuration to what thread 0 of a server in a cluster is made of: the port for others, the directory, the machine, the
//! guardian.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::ClusterParts;
use crate::cluster::{Boot, Lengths, Replica, Timing, codec};
use crate::config::{self, ClusterConfig, ServerConfig};
use crate::contact::Contact;
use crate::node::{Gate, Node};
use crate::ring::clock;
use crate::ring::guardian::Guardian;
use crate::ring::peer::{self, Bound, Connections};
use crate::ring::replica_disk;
use crate::ring::server::ServerError;
use crate::time::Duration;
use crate::transport::{self, Identity};
use crate::writes::Writes;

/// What is there before the store is: the port, and the directory with its lock.
pub struct Opened {
    bound: Bound,
    disk: replica_disk::Opened,
    contact: Contact,
    timing: Timing,
}

/// What a server in a cluster is made of.
pub struct Joined {
    /// For thread 0.
    pub node: Node,
    /// For thread 0.
    pub parts: ClusterParts,
    /// For all threads.
    pub gate: Arc<Gate>,
}

/// Takes the port for other servers and the directory. The ports of clients are bound: `config.listen` says where.
///
/// # Errors
/// When one of them cannot be had.
pub fn open(config: &ServerConfig, place: &ClusterConfig) -> Result<Opened, ServerError> {
    let listen = config.listen.first().map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), |first| *first);
    let ip: IpAddr = listen.ip();
    let advertised = peer::advertised(place, ip).map_err(ServerError::Peer)?;
    let bound = peer::bind(ip, place.peer_port).map_err(ServerError::Peer)?;
    let contact = Contact {
        clients: SocketAddr::new(advertised, listen.port()),
        servers: SocketAddr::new(advertised, bound.address.port()),
    };
    let dir = config.data_dir.as_ref().expect("the options give a cluster's server one");
    let disk = replica_disk::open(dir, config.fsync).map_err(|error| ServerError::Log(Box::new(error)))?;
    Ok(Opened { bound, disk, contact, timing: timing(config.item_bytes_max) })
}

/// How long a server that takes items of up to so many bytes may be silent, while nothing is wrong with it.
fn timing(item_bytes_max: usize) -> Timing {
    let usual = Timing::default();
    if item_bytes_max <= config::CALM_ITEM_BYTES_MAX {
        return usual;
    }
    let slack = Duration((item_bytes_max >> 20) as u64 * config::SLACK_PER_MIB.0).min(config::CLUSTER_SLACK_MAX);
    let lease = Lengths::always(usual.lease.longest);
    Timing { lease, silence: Duration(usual.silence.0 + slack.0), slack, ..usual }
}

impl Opened {
    /// Reads what is in the directory into the store, and starts the machine.
    ///
    /// # Errors
    /// When that cannot be, or the system gives no guardian and no threads.
    pub fn join(self, mut writes: Writes, place: &ClusterConfig, threads: usize) -> Result<Joined, ServerError> {
        let Self { bound, disk, contact, timing } = self;
        let (node, incarnation) = (disk.node(), disk.incarnation());
        writes.join(node, incarnation);
        let (disk, boot) = disk.start(&mut writes).map_err(|error| ServerError::Log(Box::new(error)))?;
        let key = place.key.clone();
        let identity = Identity { node, incarnation, salt: rand::random(), key: key.clone() };
        let datagram_bytes = peer::datagram_bytes(contact.servers.ip());
        // where a frame is so large that its message may or may not go in pieces, both look after it
        let whole_bytes = transport::whole_bytes_max(datagram_bytes, key.is_some()) - codec::APPEND_BYTES_MIN;
        let strict_reads = place.strict_reads;
        let boot = Boot { contact: contact.to_string(), timing, strict_reads, whole_bytes, ..boot };
        let mut said = Vec::new();
        let machine = Replica::start(clock::now(), boot, &mut said);
        let gate = Arc::new(Gate::new(threads, place.strict_reads));
        let guardian = guardian();
        let Bound { listener, socket, .. } = bound;
        let connections =
            Connections::start(listener, key, guardian, place.balancer.ip()).map_err(ServerError::Thread)?;
        let parts = ClusterParts {
            disk,
            said,
            socket,
            identity,
            datagram_bytes,
            balancer: place.balancer,
            connections,
            contact,
        };
        tracing::info!("server {} joins by the load balancer at {}, reached at {contact}", node.0, place.balancer);
        Ok(Joined { node: Node::new(machine, writes, Arc::clone(&gate)), parts, gate })
    }
}

/// Without one the others find out by silence that this server was killed.
fn guardian() -> Option<Arc<Guardian>> {
    match Guardian::start() {
        Ok(guardian) => Some(Arc::new(guardian)),
        Err(error) => {
            tracing::warn!("no guardian: {error}; if this server is killed, the others hear of it late");
            None
        }
    }
}
