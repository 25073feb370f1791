//! Connections that others opened to this server: lifelines, on which they say nothing, and streams, which begin with a magic. Owns the
//! listener and all lifelines, and keeps the guardian's list of them.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{self, RecvFlags};

use super::streams::Streams;
use super::watch::{keep_alive, reset};
use crate::config;
use crate::lifeline::Hello;
use crate::ring::guardian::Guardian;
use crate::transport::stream::MAGIC_BYTES;

struct Connection {
    socket: TcpStream,
    from: IpAddr,
    /// What of a stream's magic has come.
    said: usize,
    /// When the rest must have come.
    until: Option<Instant>,
}

/// What is to become of a connection.
enum Verdict {
    Stays,
    Goes,
    Stream,
}

/// See the module.
pub struct Accepted {
    listener: TcpListener,
    guardian: Option<Arc<Guardian>>,
    streams: Streams,
    balancer: IpAddr,
    connections: Vec<Connection>,
    /// The system gave no descriptor: nothing is accepted until then.
    pause: Option<Instant>,
}

impl Accepted {
    pub const fn new(
        listener: TcpListener,
        guardian: Option<Arc<Guardian>>,
        streams: Streams,
        balancer: IpAddr,
    ) -> Self {
        Self { listener, guardian, streams, balancer, connections: Vec::new(), pause: None }
    }

    /// What is waited for: the listener first.
    pub fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let listens = if self.pause.is_some() { PollFlags::empty() } else { PollFlags::IN };
        let connections = self.connections.iter().map(|one| (one.socket.as_fd(), PollFlags::IN));
        std::iter::once((self.listener.as_fd(), listens)).chain(connections)
    }

    /// When `go_on` is due though nothing came.
    pub fn deadline(&self) -> Option<Instant> {
        self.connections.iter().filter_map(|one| one.until).chain(self.pause).min()
    }

    /// What `descriptors` had, in its order, has this to say. Who comes from a `watched` address is let in before others.
    pub fn go_on(
        &mut self,
        now: Instant,
        hello: Hello,
        mut ready: impl Iterator<Item = PollFlags>,
        watched: &BTreeSet<IpAddr>,
    ) {
        let listener = ready.next().unwrap_or(PollFlags::empty());
        let verdicts: Vec<Verdict> = self
            .connections
            .iter_mut()
            .map(|one| one.go_on(now, !ready.next().unwrap_or(PollFlags::empty()).is_empty()))
            .collect();
        for (at, verdict) in verdicts.into_iter().enumerate().rev() {
            match verdict {
                Verdict::Stays => {}
                Verdict::Goes => reset(self.take(at)),
                Verdict::Stream => {
                    let socket = self.take(at);
                    self.streams.accepted(socket, hello);
                }
            }
        }
        self.pause = self.pause.filter(|&until| until > now);
        if !listener.is_empty() && self.pause.is_none() {
            self.accept(now, hello, watched);
        }
    }

    /// No lifeline of this server any more, and still open.
    fn take(&mut self, at: usize) -> TcpStream {
        let connection = self.connections.swap_remove(at);
        if let Some(guardian) = &self.guardian {
            guardian.remove_lifeline(connection.socket.as_fd());
        }
        connection.socket
    }

    fn accept(&mut self, now: Instant, hello: Hello, watched: &BTreeSet<IpAddr>) {
        loop {
            match self.listener.accept() {
                Ok((socket, from)) => self.admit(socket, from.ip(), hello, watched),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                // out of descriptors, say: others may end meanwhile
                Err(_) => {
                    self.pause = Some(now + config::LIFELINE_PAUSE);
                    return;
                }
            }
        }
    }

    /// Says hello, once the guardian knows of the connection.
    fn admit(&mut self, socket: TcpStream, from: IpAddr, hello: Hello, watched: &BTreeSet<IpAddr>) {
        if self.connections.len() >= config::LIFELINES_MAX {
            let known = |ip: IpAddr| ip == self.balancer || watched.contains(&ip);
            let stranger = self.connections.iter().position(|one| !known(one.from));
            match stranger.filter(|_| known(from)) {
                Some(stranger) => reset(self.take(stranger)),
                None => return reset(socket),
            }
        }
        let guarded = self.guardian.as_ref().is_none_or(|guardian| guardian.add_lifeline(socket.as_fd()));
        let set = socket.set_nonblocking(true).is_ok() && keep_alive(&socket).is_ok();
        self.connections.push(Connection { socket, from, said: 0, until: None });
        let last = self.connections.len() - 1;
        if !guarded || !set || !self.connections[last].greet(hello) {
            reset(self.take(last));
        }
    }

    /// The thread ends and the server does not, yet: its end is the kernel's to tell, or the guardian's.
    pub fn leave_open(self) {
        self.connections.into_iter().for_each(|one| std::mem::forget(one.socket));
    }
}

impl Connection {
    /// A new connection has room for a few bytes; one that has not is none.
    fn greet(&mut self, hello: Hello) -> bool {
        let bytes = hello.encode();
        matches!(self.socket.write(&bytes), Ok(written) if written == bytes.len())
    }

    fn go_on(&mut self, now: Instant, ready: bool) -> Verdict {
        if self.until.is_some_and(|until| until <= now) {
            return Verdict::Goes;
        }
        if !ready {
            return Verdict::Stays;
        }
        let mut bytes = [0; MAGIC_BYTES.len()];
        let rest = &MAGIC_BYTES[self.said..];
        match net::recv(&self.socket, &mut bytes[..rest.len()], RecvFlags::DONTWAIT) {
            Ok((_, read)) if read > 0 && rest.starts_with(&bytes[..read]) => {
                self.said += read;
                self.until.get_or_insert(now + config::STREAM_GREETING_PATIENCE);
                if self.said == MAGIC_BYTES.len() { Verdict::Stream } else { Verdict::Stays }
            }
            Err(Errno::AGAIN | Errno::INTR) => Verdict::Stays,
            // the watcher has gone, or whoever it is says what nobody says
            Ok(_) | Err(_) => Verdict::Goes,
        }
    }
}
