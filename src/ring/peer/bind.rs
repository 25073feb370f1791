//! The port for other servers: TCP and UDP at the same number, with what the kernel allows of room, and never a datagram that a
//! router would cut into fragments.
#![allow(unsafe_code, reason = "socket options that rustix has not are set with a raw call")]

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use rustix::net::sockopt;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

use crate::config::{self, ClusterConfig};

/// Why a server cannot speak to others.
#[derive(Debug)]
pub enum PeerError {
    /// The port cannot be had.
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// Servers elsewhere, and nothing to know them by.
    NoKey {
        /// Which address that is.
        what: &'static str,
        /// It is not loopback.
        address: IpAddr,
    },
    /// It listens everywhere, and others have to be told one address.
    NoAddress(IpAddr),
    /// The system refuses something else.
    System(io::Error),
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, error } => {
                write!(f, "cannot listen for other servers on {address} (TCP and UDP): {error}; ")?;
                match error.kind() {
                    ErrorKind::AddrInUse => f.write_str(
                        "stop what listens there, or choose another port with --peer-port (0 takes a free one)",
                    ),
                    ErrorKind::PermissionDenied => f.write_str("choose a port above 1023 with --peer-port"),
                    ErrorKind::AddrNotAvailable => {
                        f.write_str("this machine has no such address: choose one of its own with -l")
                    }
                    _ => f.write_str("choose another address with -l and --peer-port"),
                }
            }
            Self::NoKey { what, address } => write!(
                f,
                "{what} {address} is not loopback, and without a key anyone there could be a server of this cluster: make one \
                 (head -c 32 /dev/urandom > KEY), give it to all of them and start with --cluster-key-file KEY"
            ),
            Self::NoAddress(address) => write!(
                f,
                "{address} is every address of this machine and none that others could connect to: choose one with -l, or \
                 say which with --advertise"
            ),
            Self::System(error) => write!(f, "the system refuses: {error}"),
        }
    }
}

impl std::error::Error for PeerError {}

impl PeerError {
    /// The exit code of sysexits.h that says it.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Bind { .. } => 69,
            Self::NoKey { .. } | Self::NoAddress(_) => 64,
            Self::System(_) => 71,
        }
    }
}

/// Whether a server may listen on `listen`: others must be able to connect to it, and off loopback nobody is believed without a
/// key. The address that others are told.
///
/// # Errors
/// A sentence with its remedy.
pub fn advertised(cluster: &ClusterConfig, listen: IpAddr) -> Result<IpAddr, PeerError> {
    let address = cluster.advertise.unwrap_or(listen);
    if address.is_unspecified() {
        return Err(PeerError::NoAddress(address));
    }
    if cluster.key.is_none() {
        let places =
            [("the address", listen), ("--advertise", address), ("the load balancer's address", cluster.balancer.ip())];
        for (what, address) in places {
            if !address.to_canonical().is_loopback() {
                return Err(PeerError::NoKey { what, address });
            }
        }
    }
    Ok(address)
}

/// Bytes of a datagram for a server that listens on `listen`: large ones where nothing leaves the machine.
#[must_use]
pub fn datagram_bytes(listen: IpAddr) -> usize {
    if listen.to_canonical().is_loopback() { config::DATAGRAM_BYTES_LOOPBACK } else { config::DATAGRAM_BYTES }
}

/// The port for other servers.
#[derive(Debug)]
pub struct Bound {
    /// Streams and lifelines.
    pub listener: TcpListener,
    /// Messages.
    pub socket: UdpSocket,
    /// Where both are.
    pub address: SocketAddr,
}

/// TCP, then UDP at the same port; 0 takes one that is free for both. A predecessor that was killed just now may hold a given port
/// for some milliseconds, as its ring is taken apart after its end.
///
/// # Errors
/// When the port cannot be had.
pub fn bind(ip: IpAddr, port: u16) -> Result<Bound, PeerError> {
    let address = SocketAddr::new(ip, port);
    let until = Instant::now() + config::PREDECESSOR_PATIENCE;
    loop {
        match bind_once(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < until => {
                if port != 0 {
                    std::thread::sleep(config::PREDECESSOR_PATIENCE / 50);
                }
            }
            bound => return bound.map_err(|error| PeerError::Bind { address, error }),
        }
    }
}

fn bind_once(address: SocketAddr) -> io::Result<Bound> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let new = |kind, address: SocketAddr| -> io::Result<OwnedFd> {
        let socket = net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
        if kind == SocketType::STREAM {
            // connections of a predecessor that are still being ended do not hold the port
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        net::bind(&socket, &address)?;
        Ok(socket)
    };
    let listener = new(SocketType::STREAM, address)?;
    net::listen(&listener, config::PEER_BACKLOG)?;
    let listener = TcpListener::from(listener);
    let address = listener.local_addr()?;
    let socket = new(SocketType::DGRAM, address)?;
    make_room(&socket);
    never_fragment(&socket, address)?;
    Ok(Bound { listener, socket: UdpSocket::from(socket), address })
}

/// What a turn of the loop may bring and send. More than the system's limit takes a privilege; what is given is enough to work.
fn make_room(socket: &OwnedFd) {
    let bytes = config::PEER_SOCKET_BYTES;
    if sockopt::set_socket_recv_buffer_size_force(socket, bytes).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(socket, bytes);
    }
    if sockopt::set_socket_send_buffer_size_force(socket, bytes).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(socket, bytes);
    }
}

/// A datagram has the size of what every path takes, or of loopback. One that a path does not take is dropped there. The kernel's
/// own idea of the path is left out, as an ICMP message that nobody authenticated would make it.
fn never_fragment(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
        SocketAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
    }
}

/// Sets a socket option that is a number.
pub(super) fn set(socket: &impl AsFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the kernel reads one number from where it stands on the stack.
    let done = unsafe {
        let bytes = size_of::<libc::c_int>() as libc::socklen_t;
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), bytes)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
