//! Listeners: binding them, and accepting from them by multishot accept.
//!
//! Each ring thread has a TCP listener of its own on every address (SO_REUSEPORT), so the kernel spreads connections
//! over the threads; a Unix socket cannot be bound twice and is shared. TCP_NODELAY is inherited from the listener.
#![allow(unsafe_code, reason = "accept points at no memory, which the ring cannot know")]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::opcode;
use io_uring::types::Fd;
use rustix::net::sockopt;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::driver::Driver;
use super::guardian;
use super::token::Token;

/// How long an address in use may turn out to be a dead server's.
const BIND_PATIENCE: Duration = Duration::from_millis(1000);

/// A listening socket.
pub struct Listener {
    socket: OwnedFd,
    /// As `stats conns` shows it.
    pub name: Arc<str>,
}

/// A listening TCP socket; others may listen beside it when `shared`.
fn tcp_socket(address: SocketAddr, backlog: i32, shared: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, shared)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    net::bind(&socket, &address)?;
    net::listen(&socket, backlog)?;
    Ok(socket)
}

/// A listening socket with none beside it. A server that was just killed keeps its address until the kernel has taken
/// its ring apart: waits for that, but not for a server that lives.
fn first_on(address: SocketAddr, backlog: i32) -> io::Result<OwnedFd> {
    let began = Instant::now();
    loop {
        match tcp_socket(address, backlog, false) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && began.elapsed() < BIND_PATIENCE => {
                std::thread::sleep(BIND_PATIENCE / 20);
            }
            bound => return bound,
        }
    }
}

/// Listens on `address` once per thread. Port 0 is replaced by the one the kernel gave.
///
/// # Errors
/// When the address cannot be bound; another server's listener on the same port is found out too.
pub fn tcp(address: SocketAddr, backlog: i32, threads: usize) -> io::Result<(SocketAddr, Vec<Listener>)> {
    if address.port() != 0 {
        // SO_REUSEPORT would let us listen beside another server of the same user without either knowing
        drop(first_on(address, backlog)?);
    }
    let first = tcp_socket(address, backlog, true)?;
    let bound = SocketAddr::try_from(net::getsockname(&first)?)?;
    let mut sockets = vec![first];
    for _ in 1..threads {
        sockets.push(tcp_socket(bound, backlog, true)?);
    }
    let name: Arc<str> = format!("tcp:{bound}").into();
    Ok((bound, sockets.into_iter().map(|socket| Listener { socket, name: Arc::clone(&name) }).collect()))
}

/// Listens on a Unix socket; every thread accepts from the same one.
///
/// # Errors
/// When the path cannot be bound. A socket that nobody listens on any more is replaced.
pub fn unix(path: &Path, mask: u32, backlog: i32, threads: usize) -> io::Result<Vec<Listener>> {
    let address = SocketAddrUnix::new(path)?;
    let new = || net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    if path.exists() {
        if net::connect(&new()?, &address).is_ok() {
            return Err(io::Error::from_raw_os_error(libc::EADDRINUSE));
        }
        std::fs::remove_file(path)?;
    }
    let socket = new()?;
    net::bind(&socket, &address)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mask))?;
    net::listen(&socket, backlog)?;
    let name: Arc<str> = format!("unix:{}", path.display()).into();
    let mut listeners = Vec::with_capacity(threads);
    for _ in 1..threads {
        listeners.push(Listener { socket: socket.try_clone()?, name: Arc::clone(&name) });
    }
    listeners.push(Listener { socket, name });
    Ok(listeners)
}

/// What came of an accept.
pub enum Accepted {
    /// A new connection.
    Connection { socket: OwnedFd, listener: Arc<str>, peer: String },
    /// The client was gone again, or there are no descriptors left; nothing to do but to go on.
    Nothing,
}

/// A thread's listeners.
pub struct Acceptor {
    listeners: Vec<Listener>,
    /// Whether the multishot accept of each is with the kernel.
    accepting: Vec<bool>,
    /// No more connections are wanted for now.
    paused: bool,
}

impl Acceptor {
    /// Begins to accept.
    #[must_use]
    pub fn new(listeners: Vec<Listener>, driver: &mut Driver) -> Self {
        let accepting = vec![false; listeners.len()];
        listeners.iter().for_each(|listener| guardian::reaches(listener.socket.as_fd()));
        let mut acceptor = Self { listeners, accepting, paused: false };
        acceptor.rearm(driver);
        acceptor
    }

    /// Accepts again where an error or a pause had ended it.
    pub fn rearm(&mut self, driver: &mut Driver) {
        if self.paused {
            return;
        }
        for (i, listener) in self.listeners.iter().enumerate() {
            if !self.accepting[i] {
                self.accepting[i] = true;
                let sqe = opcode::AcceptMulti::new(Fd(listener.socket.as_raw_fd())).flags(libc::SOCK_CLOEXEC);
                // SAFETY: points at no memory; the listener stays open while accepting
                unsafe { driver.push(&sqe.build().user_data(Token::Accept(i as u32).pack())) }
            }
        }
    }

    /// An accept has completed.
    pub fn on_accept(&mut self, listener: u32, result: i32, more: bool) -> Accepted {
        let at = listener as usize;
        if !more {
            self.accepting[at] = false;
        }
        if result < 0 {
            if !matches!(-result, libc::ECANCELED | libc::ECONNABORTED | libc::EINTR | libc::EAGAIN) {
                let error = io::Error::from_raw_os_error(-result);
                tracing::warn!(%error, "a connection could not be accepted; trying again at the next tick");
            }
            return Accepted::Nothing;
        }
        let raw: RawFd = result;
        // SAFETY: the kernel has just made this descriptor for us
        let socket = unsafe { OwnedFd::from_raw_fd(raw) };
        guardian::reaches(socket.as_fd());
        let peer = peer_name(&socket);
        Accepted::Connection { socket, listener: Arc::clone(&self.listeners[at].name), peer }
    }

    /// Stops accepting; what was accepted already still comes.
    pub fn pause(&mut self, driver: &mut Driver) {
        if self.paused {
            return;
        }
        self.paused = true;
        for (i, &accepting) in self.accepting.iter().enumerate() {
            if accepting {
                driver.cancel_request(Token::Accept(i as u32), Token::CancelAccept(i as u32));
            }
        }
    }

    /// Accepts again.
    pub fn resume(&mut self, driver: &mut Driver) {
        self.paused = false;
        self.rearm(driver);
    }

    /// Whether no accept is with the kernel.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.accepting.contains(&true)
    }

    /// Whether it was paused.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused
    }
}

fn peer_name(socket: &OwnedFd) -> String {
    let Ok(Some(peer)) = net::getpeername(socket) else { return "unknown".to_owned() };
    match SocketAddr::try_from(peer) {
        Ok(address @ SocketAddr::V4(_)) => format!("tcp:{address}"),
        Ok(address @ SocketAddr::V6(_)) => format!("tcp6:{address}"),
        Err(_) => "unix".to_owned(),
    }
}
