//! The tasks that keep a load thread's connections: they connect, receive, send what the generator has for them, and in a
//! cluster go where the load balancer says when a connection ends.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use ringstore::control::roster::BalancerAt;

use super::alarm::Alarm;
use super::generator::{Garbled, Generator, Orders};
use super::target::{Endpoint, Incoming, Outgoing, Target, open};
use crate::failure::{Failure, While};

/// Room for replies that a connection begins with; it grows with what must be there in one piece.
const REPLY_BUFFER_BYTES: usize = 16 << 10;
/// A load balancer or its servers that cannot be reached are asked again after this time.
const RETRY: Duration = Duration::from_millis(5);
/// What a load balancer said is believed for this time.
const ROSTER_AGE: Duration = Duration::from_millis(20);
/// Longest wait for a load balancer's answer.
const BALANCER_TIMEOUT: Duration = Duration::from_millis(500);
/// A load balancer must have named a server that can be reached after this time from the start.
const FIRST_CONNECTION: Duration = Duration::from_secs(10);
/// Bytes of a garbled reply that are shown.
const SHOWN_BYTES: usize = 80;

/// One load thread's connections and what is sent on them.
pub struct Connections {
    /// What decides.
    pub generator: RefCell<Generator>,
    /// When the load began.
    pub began: Cell<Instant>,
    open: RefCell<Vec<Option<Rc<Outgoing>>>>,
    /// Sessions whose output waits for room in the socket.
    congested: RefCell<Vec<bool>>,
    target: Target,
    /// What the load balancer said, and when it was asked.
    roster: RefCell<Option<(Instant, Vec<SocketAddr>)>>,
    ending: Cell<bool>,
    first_server: usize,
    alarm: Alarm,
}

impl Connections {
    /// None stands yet.
    ///
    /// # Errors
    /// When the kernel has no more descriptors.
    pub fn new(orders: Orders, target: Target) -> Result<Self, Failure> {
        let (sessions, first_server) = (orders.sessions, orders.thread);
        Ok(Self {
            generator: RefCell::new(Generator::new(orders)),
            began: Cell::new(Instant::now()),
            open: RefCell::new((0..sessions).map(|_| None).collect()),
            congested: RefCell::new(vec![false; sessions]),
            target,
            roster: RefCell::new(None),
            ending: Cell::new(false),
            first_server,
            alarm: Alarm::new()?,
        })
    }

    /// Nanoseconds since the load began.
    #[inline]
    pub fn now(&self) -> u64 {
        self.began.get().elapsed().as_nanos() as u64
    }

    /// A session's first connection.
    ///
    /// # Errors
    /// When no server can be reached.
    pub async fn first(&self, session: usize) -> Result<(Incoming, Outgoing), Failure> {
        match &self.target {
            Target::Servers(servers) => {
                let server = &servers[(self.first_server + session) % servers.len()];
                let connection = open(server).await;
                connection.during(format_args!("connecting to {server}; start it, or name another server"))
            }
            Target::Balancer(name) => {
                let mut why = String::new();
                let connected = self.through_balancer(name, Some(Instant::now() + FIRST_CONNECTION), &mut why).await;
                connected
                    .ok_or_else(|| Failure::new(format!("no server of the load balancer at {name} can be used: {why}")))
            }
        }
    }

    /// Keeps one session's connection until the load ends.
    ///
    /// # Errors
    /// When the server ends a connection that it must not, or says what cannot be understood.
    pub async fn keep(self: &Rc<Self>, session: usize, first: (Incoming, Outgoing)) -> Result<(), Failure> {
        let (mut incoming, mut outgoing) = first;
        loop {
            self.open.borrow_mut()[session] = Some(Rc::new(outgoing));
            self.congested.borrow_mut()[session] = false;
            let now = self.now();
            self.generator.borrow_mut().connected(session, now);
            self.go_on(now);
            let ended = self.receive(session, &mut incoming).await;
            self.open.borrow_mut()[session] = None;
            self.generator.borrow_mut().ended(session, self.now());
            if self.ending.get() {
                return Ok(());
            }
            ended?;
            let Target::Balancer(name) = &self.target else {
                return Err(Failure::new(
                    "the server closed a connection while requests were under way; look at its log",
                ));
            };
            match self.through_balancer(name, None, &mut String::new()).await {
                Some(next) => (incoming, outgoing) = next,
                None => return Ok(()),
            }
        }
    }

    /// Receives until the connection ends.
    async fn receive(self: &Rc<Self>, session: usize, incoming: &mut Incoming) -> Result<(), Failure> {
        let (mut buffer, mut kept) = (vec![0; REPLY_BUFFER_BYTES], 0);
        loop {
            match incoming.read(&mut buffer[kept..]).await {
                Ok(0) => return Ok(()),
                Ok(read) => kept += read,
                Err(error) if matches!(self.target, Target::Servers(_)) && !self.ending.get() => {
                    return Err(error).during("receiving from the server");
                }
                Err(_) => return Ok(()),
            }
            let now = self.now();
            let taken = self.generator.borrow_mut().received(session, &buffer[..kept], now);
            let taken = taken.map_err(|garbled| garbled_reply(garbled, &buffer[..kept]))?;
            buffer.copy_within(taken.consumed..kept, 0);
            kept -= taken.consumed;
            if taken.need.max(kept + 1) > buffer.len() {
                buffer.resize(taken.need.max(2 * kept), 0);
            }
            behind_others().await;
            self.go_on(now);
        }
    }

    /// Sends what is due, gives up what has waited for too long, and waits until there is more to do.
    ///
    /// # Errors
    /// When the kernel refuses to wait, which it does not.
    pub async fn turn(self: &Rc<Self>, now: u64) -> Result<(), Failure> {
        let wake = self.send_due(now);
        self.alarm.wait(wake, self.now()).await
    }

    fn send_due(self: &Rc<Self>, now: u64) -> u64 {
        let mut generator = self.generator.borrow_mut();
        generator.tick(now);
        generator.issue(now);
        let (wake, overdue) = (generator.wake_at(), generator.overdue(now));
        drop(generator);
        self.flush();
        for session in overdue {
            if let Some(connection) = &self.open.borrow()[session] {
                connection.end();
            }
        }
        wake
    }

    /// Sends what is due.
    #[inline]
    fn go_on(self: &Rc<Self>, now: u64) {
        let mut generator = self.generator.borrow_mut();
        generator.issue(now);
        let wake = generator.wake_at();
        drop(generator);
        self.flush();
        self.alarm.set_no_later(wake, now);
    }

    /// Ends all connections: their tasks end.
    pub fn end_all(&self) {
        self.ending.set(true);
        for connection in self.open.borrow().iter().flatten() {
            connection.end();
        }
    }

    /// Sends the outputs that have something new.
    fn flush(self: &Rc<Self>) {
        let mut generator = self.generator.borrow_mut();
        let open = self.open.borrow();
        while let Some(session) = generator.take_outgoing() {
            let Some(connection) = &open[session] else { continue };
            if self.congested.borrow()[session] {
                continue;
            }
            let output = generator.output(session);
            match connection.send_now(output) {
                Ok(sent) if sent == output.len() => output.clear(),
                Ok(sent) => {
                    self.congested.borrow_mut()[session] = true;
                    output.drain(..sent);
                    let (all, connection) = (Rc::clone(self), Rc::clone(connection));
                    tokio_uring::spawn(async move { all.send_rest(session, &connection).await });
                }
                // who receives sees the same, and says so
                Err(_) => output.clear(),
            }
        }
    }

    /// Sends what the socket had no room for, and what has come behind it meanwhile.
    async fn send_rest(self: &Rc<Self>, session: usize, outgoing: &Rc<Outgoing>) {
        let is_same = || self.open.borrow()[session].as_ref().is_some_and(|open| Rc::ptr_eq(open, outgoing));
        while outgoing.until_room().await.is_ok() && is_same() {
            let mut generator = self.generator.borrow_mut();
            let output = generator.output(session);
            // who receives sees the same, and says so
            let Ok(sent) = outgoing.send_now(output) else { break };
            output.drain(..sent);
            if output.is_empty() {
                break;
            }
        }
        if is_same() {
            self.congested.borrow_mut()[session] = false;
        }
    }

    /// A connection to the first server that the load balancer names and that can be reached. Nothing once the load ends
    /// or the time is over, and then `why` says what went wrong last.
    async fn through_balancer(
        &self,
        name: &str,
        until: Option<Instant>,
        why: &mut String,
    ) -> Option<(Incoming, Outgoing)> {
        while !self.ending.get() && until.is_none_or(|until| Instant::now() < until) {
            match self.servers(name).await {
                Ok(servers) if servers.is_empty() => *why = "it knows none yet".to_owned(),
                Ok(servers) => {
                    for server in servers.into_iter().map(Endpoint::Tcp) {
                        match open(&server).await {
                            Ok(connection) => return Some(connection),
                            Err(error) => *why = format!("{server}: {error}"),
                        }
                    }
                }
                Err(error) => *why = error,
            }
            tokio::time::sleep(RETRY).await;
        }
        None
    }

    async fn servers(&self, name: &str) -> Result<Vec<SocketAddr>, String> {
        if let Some((asked, servers)) = &*self.roster.borrow()
            && asked.elapsed() < ROSTER_AGE
        {
            return Ok(servers.clone());
        }
        let asked = Instant::now();
        let balancer = BalancerAt { name: name.to_owned(), timeout: BALANCER_TIMEOUT };
        let servers = balancer.servers().await.map_err(|error| error.to_string())?;
        *self.roster.borrow_mut() = Some((asked, servers.clone()));
        Ok(servers)
    }
}

/// Lets those go first who were woken together with the calling task, so that what they all have to send leaves in one go:
/// a server that is woken by each request does more work for it.
async fn behind_others() {
    let mut waits = true;
    let turn = poll_fn(|context| {
        if std::mem::take(&mut waits) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    });
    turn.await;
}

fn garbled_reply(garbled: Garbled, bytes: &[u8]) -> Failure {
    let what = match garbled {
        Garbled::Malformed => "a reply is not of memcached's text protocol",
        Garbled::Surplus => "the server said more than it was asked",
    };
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES)];
    Failure::wrong_reply(format!("{what}; look at the server, it was in: {}", shown.escape_ascii()))
}
