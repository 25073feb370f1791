//! Asks the load balancer again and again who leads in which epoch: seldom as a rule, as fast as it answers around a kill.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ringstore::control::roster::{Part, Roster};
use rustix::event::{PollFd, PollFlags};

use super::slot::dial;

/// Between an answer and the next question as a rule.
const SELDOM: Duration = Duration::from_millis(50);
/// The same around a kill: a fraction of what an election takes.
const OFTEN: Duration = Duration::from_micros(500);
/// Without an answer for so long it is asked on another connection.
const PATIENCE: Duration = Duration::from_millis(300);

/// What the load balancer says, and when it said so first.
pub struct Observer {
    balancer: SocketAddr,
    stream: Option<TcpStream>,
    connecting: bool,
    input: Vec<u8>,
    asked: Option<Instant>,
    due: Instant,
    /// It asks often until a newer epoch than this one is told.
    beyond: Option<u64>,
    /// The newest epoch that it has told of.
    pub epoch: u64,
    /// When it first told of that one.
    pub since: Instant,
    /// Where clients reach the leader of that epoch.
    pub leader: Option<SocketAddr>,
}

impl Observer {
    /// Of the load balancer at this address.
    pub fn new(balancer: SocketAddr) -> Self {
        let now = Instant::now();
        Self {
            balancer,
            stream: None,
            connecting: false,
            input: Vec::new(),
            asked: None,
            due: now,
            beyond: None,
            epoch: 0,
            since: now,
            leader: None,
        }
    }

    /// It asks often until there is a newer epoch.
    pub fn ask_often(&mut self) {
        self.beyond = Some(self.epoch);
        self.due = Instant::now();
    }

    /// When it has something to do next.
    pub fn due(&self) -> Instant {
        self.asked.map_or(self.due, |asked| asked + PATIENCE)
    }

    /// Asks if it is time to.
    pub fn pump(&mut self, now: Instant) {
        if self.asked.is_some_and(|asked| asked + PATIENCE < now) {
            self.again(now);
        }
        if self.asked.is_some() || now < self.due {
            return;
        }
        if self.stream.is_none() {
            self.stream = dial(self.balancer);
            self.connecting = true;
        }
        self.asked = Some(now);
        if !self.connecting {
            self.ask(now);
        }
    }

    fn ask(&mut self, now: Instant) {
        if self.stream.as_mut().is_none_or(|stream| stream.write(b"status\n").is_err()) {
            self.again(now);
        }
    }

    /// What to wait for at its socket.
    pub fn polled(&self) -> Option<PollFd<'_>> {
        let stream = self.stream.as_ref().filter(|_| self.asked.is_some())?;
        let flags = if self.connecting { PollFlags::OUT } else { PollFlags::IN };
        Some(PollFd::from_borrowed_fd(stream.as_fd(), flags))
    }

    /// Its socket has something.
    pub fn ready(&mut self) {
        if std::mem::take(&mut self.connecting) {
            return self.ask(Instant::now());
        }
        let Some(stream) = &mut self.stream else { return };
        let mut buffer = [0; 8 << 10];
        let read = stream.read(&mut buffer);
        let now = Instant::now();
        match read {
            Ok(length) if length > 0 => {
                self.input.extend_from_slice(&buffer[..length]);
                self.take(now);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => self.again(now),
        }
    }

    fn take(&mut self, now: Instant) {
        let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else { return };
        let line = self.input.drain(..=end).collect::<Vec<_>>();
        self.asked = None;
        self.due = now + if self.beyond.is_some() { OFTEN } else { SELDOM };
        let Some(roster) = std::str::from_utf8(&line).ok().and_then(Roster::parse) else { return };
        if roster.epoch > self.epoch {
            (self.epoch, self.since) = (roster.epoch, now);
            self.beyond = self.beyond.filter(|beyond| *beyond >= self.epoch);
        }
        let leader = roster.servers.iter().find(|server| server.part == Part::Leader);
        self.leader = leader.map(|server| server.contact.clients);
    }

    /// The connection is of no use.
    fn again(&mut self, now: Instant) {
        (self.stream, self.asked, self.connecting) = (None, None, false);
        self.input.clear();
        self.due = now + SELDOM;
    }
}
