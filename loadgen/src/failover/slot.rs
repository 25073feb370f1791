//! One client: it belongs to a server, has its requests answered there in order, and goes to another server when its connection
//! ends or says nothing for too long. What was sent and not answered then is of unknown outcome if it was a set; a get is
//! asked again. It comes home when it is told that its server is back.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ringstore::control::reply::{self, Reply};
use ringstore::proto::{Store, StoreVerb, request};
use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

use super::gap::{Fate, Kind, Outcome};
use super::ledger::{KeyId, Ledger, Write};

/// Pause after no server could be reached.
const RETRY: Duration = Duration::from_millis(1);
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes read in one go.
const RECEIVE_BYTES: usize = 16 << 10;

/// A request that waits to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// When it was to be sent.
    pub due: Instant,
    /// What it asks.
    pub kind: Kind,
}

/// A request that was sent.
struct Flight {
    request: Request,
    asked: Asked,
    sent: Instant,
}

/// What exactly was asked.
enum Asked {
    Set(Write),
    Get { key: KeyId, floor: u64, shown: bool },
}

enum Link {
    /// It may be used.
    Up(TcpStream),
    /// It is being made, since then.
    Coming(TcpStream, Instant),
    /// The next try is then.
    Down(Instant),
}

/// What the clients of one run share.
pub struct Common {
    /// Where each server is.
    pub addresses: Vec<SocketAddr>,
    /// A connection that has not answered for so long is given up.
    pub timeout: Duration,
    /// What was acknowledged.
    pub ledger: Ledger,
    /// Requests that are over, to be taken away by whoever drives.
    pub outcomes: Vec<Outcome>,
    /// Ends of connections, with the server at the other end, to be taken away likewise.
    pub ends: Vec<(usize, Instant)>,
    /// How late requests left whose connection was there: nanoseconds each.
    pub lags: Vec<u64>,
}

/// One client.
pub struct Slot {
    /// The server it belongs to.
    pub home: usize,
    /// The server it uses.
    pub at: usize,
    link: Link,
    queued: VecDeque<Request>,
    flights: VecDeque<Flight>,
    out: Vec<u8>,
    written: usize,
    input: BytesMut,
    /// Since when its connection has been there without anything queued from before.
    ready_since: Instant,
    going_home: bool,
    /// Servers that were tried in vain since the last answer.
    tried: usize,
}

impl Slot {
    /// A client of that server, without a connection yet.
    pub fn new(home: usize) -> Self {
        let now = Instant::now();
        Self {
            home,
            at: home,
            link: Link::Down(now),
            queued: VecDeque::new(),
            flights: VecDeque::new(),
            out: Vec::new(),
            written: 0,
            input: BytesMut::new(),
            ready_since: now,
            going_home: false,
            tried: 0,
        }
    }

    /// A request is due.
    pub fn ask(&mut self, request: Request) {
        self.queued.push_back(request);
    }

    /// Requests that are not over.
    pub fn pending(&self) -> usize {
        self.queued.len() + self.flights.len()
    }

    /// When the oldest of them was due.
    pub fn oldest_due(&self) -> Option<Instant> {
        self.flights.iter().map(|flight| flight.request.due).chain(self.queued.iter().map(|one| one.due)).min()
    }

    /// Its server is back.
    pub fn go_home(&mut self) {
        self.going_home = self.at != self.home;
    }

    /// Does what can be done without waiting: connects, gives up what is silent, sends.
    pub fn pump(&mut self, now: Instant, common: &mut Common) {
        if self.going_home && self.flights.is_empty() && self.written == self.out.len() {
            (self.going_home, self.at, self.link) = (false, self.home, Link::Down(now));
        }
        match &self.link {
            Link::Down(until) if *until <= now => {
                let stream = dial(common.addresses[self.at]);
                self.link = stream.map_or(Link::Down(now + RETRY), |stream| Link::Coming(stream, now));
            }
            Link::Coming(_, since) if *since + CONNECT_TIMEOUT < now => self.elsewhere(now, common.addresses.len()),
            _ => {}
        }
        if self.flights.front().is_some_and(|flight| flight.sent + common.timeout < now) {
            return self.end(now, common);
        }
        self.send(now, common);
    }

    /// What to wait for at its socket.
    pub fn polled(&self) -> Option<PollFd<'_>> {
        match &self.link {
            Link::Up(stream) => {
                let more = if self.written < self.out.len() { PollFlags::OUT } else { PollFlags::empty() };
                Some(PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN | more))
            }
            Link::Coming(stream, _) => Some(PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::OUT)),
            Link::Down(_) => None,
        }
    }

    /// Its socket has something.
    pub fn ready(&mut self, now: Instant, common: &mut Common) {
        match std::mem::replace(&mut self.link, Link::Down(now)) {
            Link::Coming(stream, _) => match sockopt::socket_error(&stream) {
                Ok(Ok(())) => {
                    let _ = stream.set_nodelay(true); // without it answers are late, and that is seen
                    (self.link, self.ready_since) = (Link::Up(stream), now);
                    self.send(now, common);
                }
                _ => self.elsewhere(now, common.addresses.len()),
            },
            link @ Link::Up(_) => {
                self.link = link;
                self.receive(common);
            }
            link @ Link::Down(_) => self.link = link,
        }
    }

    /// Goes to the next server, after a pause when all were tried.
    fn elsewhere(&mut self, now: Instant, servers: usize) {
        self.at = (self.at + 1) % servers;
        self.tried += 1;
        let pause = if self.tried.is_multiple_of(servers) { RETRY } else { Duration::ZERO };
        self.link = Link::Down(now + pause);
    }

    /// The connection is over.
    fn end(&mut self, now: Instant, common: &mut Common) {
        common.ends.push((self.at, now));
        for flight in std::mem::take(&mut self.flights).into_iter().rev() {
            match flight.asked {
                Asked::Set(write) => {
                    common.ledger.unknown(write);
                    self.over(&flight.request, now, Fate::Unknown, common);
                }
                Asked::Get { .. } => self.queued.push_front(flight.request),
            }
        }
        self.out.clear();
        self.input.clear();
        self.written = 0;
        self.elsewhere(now, common.addresses.len());
    }

    fn over(&self, request: &Request, now: Instant, fate: Fate, common: &mut Common) {
        let Request { due, kind } = *request;
        common.outcomes.push(Outcome { due, over: now, kind, fate, home: self.home, server: self.at });
    }

    fn send(&mut self, now: Instant, common: &mut Common) {
        let Link::Up(stream) = &mut self.link else { return };
        loop {
            if self.written == self.out.len() && !self.going_home {
                self.out.clear();
                self.written = 0;
                for request in self.queued.drain(..) {
                    let asked = encode(&mut self.out, &request, &mut common.ledger);
                    common
                        .lags
                        .push(now.saturating_duration_since(request.due.max(self.ready_since)).as_nanos() as u64);
                    self.flights.push_back(Flight { request, asked, sent: now });
                }
            }
            if self.written == self.out.len() {
                return;
            }
            match stream.write(&self.out[self.written..]) {
                Ok(length) => self.written += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // who waits behind a full socket is not held up by us
                    self.ready_since = now;
                    return;
                }
                Err(_) => return self.end(now, common),
            }
        }
    }

    fn receive(&mut self, common: &mut Common) {
        let Link::Up(stream) = &mut self.link else { return };
        let mut buffer = [0; RECEIVE_BYTES];
        let read = stream.read(&mut buffer);
        let now = Instant::now();
        match read {
            Ok(0) => self.end(now, common),
            Ok(length) => {
                self.input.extend_from_slice(&buffer[..length]);
                self.take(now, common);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.end(now, common),
        }
    }

    fn take(&mut self, now: Instant, common: &mut Common) {
        loop {
            match reply::take(&mut self.input) {
                Ok(Some(answer)) if self.flights.is_empty() => {
                    common.ledger.told.push(format!("server {} says {answer:?} unasked", self.at + 1));
                    return self.end(now, common);
                }
                Ok(Some(answer)) => self.answered(answer, now, common),
                Ok(None) => return,
                Err(malformed) => {
                    common.ledger.told.push(format!("server {} says {malformed}", self.at + 1));
                    return self.end(now, common);
                }
            }
        }
    }

    /// Takes one answer for the oldest request; of a get there are two when there is a value.
    fn answered(&mut self, answer: Reply, now: Instant, common: &mut Common) {
        let flight = self.flights.front_mut().expect("somebody waits");
        let whom = format_args!("server {}", self.at + 1).to_string();
        let fate = match (&mut flight.asked, answer) {
            (Asked::Set(write), Reply::Stored) => {
                common.ledger.acked(*write);
                Fate::Answered
            }
            (Asked::Get { key, floor, shown }, Reply::Value { key: name, data, .. }) => {
                let is_asked = name == common.ledger.name(*key).as_bytes();
                let _ = common.ledger.judge(*key, *floor, Some(if is_asked { &data } else { b"" }), &whom); // it is counted
                *shown = true;
                return;
            }
            (Asked::Get { key, floor, shown }, Reply::End) => {
                if !*shown {
                    let _ = common.ledger.judge(*key, *floor, None, &whom); // it is counted
                }
                Fate::Answered
            }
            (Asked::Set(write), Reply::Refused(..)) => {
                common.ledger.refused(*write);
                Fate::Refused
            }
            (Asked::Get { .. }, Reply::Refused(..)) => Fate::Refused,
            (_, other) => {
                common.ledger.told.push(format!("{whom} answers with {other:?} to something else"));
                return self.end(now, common);
            }
        };
        self.tried = 0;
        let flight = self.flights.pop_front().expect("it was looked at");
        self.over(&flight.request, now, fate, common);
    }
}

/// Begins a connection without waiting for it; whatever comes of it, its socket says when it is polled.
pub fn dial(address: SocketAddr) -> Option<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None).ok()?;
    let _ = connect(&socket, &address);
    Some(TcpStream::from(socket))
}

/// Appends the request; a set takes the next key, a get the next one to be looked at.
fn encode(out: &mut Vec<u8>, wanted: &Request, ledger: &mut Ledger) -> Asked {
    match wanted.kind {
        Kind::Set => {
            let write = ledger.write();
            let (name, value) = (ledger.name(write.key), ledger.value(write));
            let (verb, key) = (StoreVerb::Set, name.as_bytes());
            request::store(out, &Store { verb, key, flags: 0, exptime: 0, cas: 0, value: &value, noreply: false });
            Asked::Set(write)
        }
        Kind::Get => {
            let key = ledger.read();
            request::get(out, [ledger.name(key).as_bytes()], false);
            Asked::Get { key, floor: ledger.floor(key), shown: false }
        }
    }
}
