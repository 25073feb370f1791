//! A lifeline to another server: opened, and opened again, as long as that server is watched.
//!
//! ```text
//!   pausing --connect--> connecting --> greeting --hello--> open --end--> LifelineEnded --.
//!      ^                     '-----------'-- refused, reset, silent --> LifelineLost -----+
//!      '----------------------------------------------------------------------------------'
//! ```

use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{self, AddressFamily, RecvFlags, SocketFlags, SocketType};

use super::events::{Events, PeerEvent};
use crate::config;
use crate::lifeline::{HELLO_BYTES, Hello};
use crate::log::{Incarnation, NodeId};

enum State {
    Pausing { until: Instant },
    Connecting { socket: OwnedFd, until: Instant },
    Greeting { socket: OwnedFd, said: Vec<u8>, until: Instant },
    Open { socket: OwnedFd, hello: Hello },
}

/// See the module.
pub struct Watch {
    address: SocketAddr,
    state: State,
    /// It was told that there is no lifeline, and there was none since.
    told: bool,
}

/// What a connection has come to.
enum Came {
    Nothing,
    Hello(Hello),
    /// Its orderly end, behind a hello.
    End,
    Lost,
}

impl Watch {
    /// Of the server that is reached there.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, state: State::Pausing { until: Instant::now() }, told: false }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is waited for, if anything is but time.
    pub fn descriptor(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match &self.state {
            State::Pausing { .. } => None,
            State::Connecting { socket, .. } => Some((socket.as_fd(), PollFlags::OUT)),
            State::Greeting { socket, .. } | State::Open { socket, .. } => Some((socket.as_fd(), PollFlags::IN)),
        }
    }

    /// When `go_on` is due though nothing came.
    pub const fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Pausing { until } | State::Connecting { until, .. } | State::Greeting { until, .. } => Some(*until),
            State::Open { .. } => None,
        }
    }

    /// Something came on its descriptor, or time has passed.
    pub fn go_on(&mut self, now: Instant, node: NodeId, ready: bool, events: &Events) {
        let late = self.deadline().is_some_and(|deadline| deadline <= now);
        match &mut self.state {
            State::Pausing { .. } if !late => {}
            State::Pausing { .. } => match connect(self.address) {
                Ok(socket) => self.state = State::Connecting { socket, until: now + config::LIFELINE_PATIENCE },
                Err(_) => self.lose(now, node, Incarnation(0), events),
            },
            State::Connecting { socket, .. } if ready => match sockopt::socket_error(&*socket) {
                Ok(Ok(())) => self.greet(now),
                _ => self.lose(now, node, Incarnation(0), events),
            },
            State::Greeting { socket, said, .. } if ready => match hear(socket, said, node) {
                Came::Nothing => {}
                Came::Hello(hello) => self.open(hello),
                Came::End | Came::Lost => self.lose(now, node, Incarnation(0), events),
            },
            State::Open { socket, hello } if ready => {
                let incarnation = hello.incarnation;
                match end(socket) {
                    Came::Nothing | Came::Hello(_) => {}
                    Came::End => {
                        events.push(PeerEvent::LifelineEnded { node, incarnation });
                        // nothing worse can be said of it
                        self.told = true;
                        self.pause(now);
                    }
                    Came::Lost => self.lose(now, node, incarnation, events),
                }
            }
            State::Connecting { .. } | State::Greeting { .. } if late => self.lose(now, node, Incarnation(0), events),
            State::Connecting { .. } | State::Greeting { .. } | State::Open { .. } => {}
        }
    }

    fn pause(&mut self, now: Instant) {
        self.state = State::Pausing { until: now + config::LIFELINE_PAUSE };
    }

    fn greet(&mut self, now: Instant) {
        let until = now + config::LIFELINE_PATIENCE;
        let before = std::mem::replace(&mut self.state, State::Pausing { until });
        if let State::Connecting { socket, .. } = before {
            self.state = State::Greeting { socket, said: Vec::with_capacity(HELLO_BYTES), until };
        }
    }

    fn open(&mut self, hello: Hello) {
        let before = std::mem::replace(&mut self.state, State::Pausing { until: Instant::now() });
        if let State::Greeting { socket, .. } = before {
            self.state = State::Open { socket, hello };
            self.told = false;
        }
    }

    fn lose(&mut self, now: Instant, node: NodeId, incarnation: Incarnation, events: &Events) {
        if !std::mem::replace(&mut self.told, true) {
            events.push(PeerEvent::LifelineLost { node, incarnation });
        }
        self.pause(now);
    }
}

fn connect(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    match net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error),
    }
    keep_alive(&socket)?;
    Ok(socket)
}

/// A host that is gone ends no connection: the kernel asks now and then whether it is there.
pub fn keep_alive(socket: &impl AsFd) -> Result<(), Errno> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(1))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(1))?;
    sockopt::set_tcp_keepcnt(socket, 5)
}

/// Takes what is there of a hello.
fn hear(socket: &OwnedFd, said: &mut Vec<u8>, node: NodeId) -> Came {
    let mut bytes = [0; HELLO_BYTES];
    let room = HELLO_BYTES - said.len();
    match net::recv(socket, &mut bytes[..room], RecvFlags::DONTWAIT) {
        Ok((_, 0)) => Came::Lost,
        Ok((_, read)) => {
            said.extend_from_slice(&bytes[..read]);
            if said.len() < HELLO_BYTES {
                return Came::Nothing;
            }
            // another server at an address of before proves nothing about this one
            Hello::decode(said).filter(|hello| hello.node == node).map_or(Came::Lost, Came::Hello)
        }
        Err(Errno::AGAIN | Errno::INTR) => Came::Nothing,
        Err(_) => Came::Lost,
    }
}

/// Whether the connection has ended, and how: whoever has said hello says nothing more.
fn end(socket: &OwnedFd) -> Came {
    match net::recv(socket, &mut [0; 1], RecvFlags::DONTWAIT) {
        Ok((_, 0)) => Came::End,
        Err(Errno::AGAIN | Errno::INTR) => Came::Nothing,
        Ok(_) | Err(_) => Came::Lost,
    }
}

/// Ends a connection so that its other end learns nothing from it.
pub fn reset(connection: TcpStream) {
    // what is not reset would be ended in order; the kernel refuses this to no connection
    if sockopt::set_socket_linger(&connection, Some(Duration::ZERO)).is_err() {
        std::mem::forget(connection);
    }
}
