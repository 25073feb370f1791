//! One ring thread: its loop turns completions into the shard's inputs and the shard's effects into requests.
//!
//! ```text
//!        +------------------------- enter: submit all, wait for one -------------------------+
//!        |                                                                                   |
//!        v                                                                                   |
//!   completions --> events --> Shard::step --> effects --> log: write(2), then step again    |
//!                                                    '---> sends, closes, calls -------------+
//! ```
//!
//! Owns the thread's ring, sockets and buffers and, on thread 0, the log's files. Decides nothing about data.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use io_uring::types::Timespec;

use super::accept::{Accepted, Acceptor, Listener};
use super::buf_ring::BufRing;
use super::clock;
use super::cluster::{ClusterParts, Surround};
use super::driver::{Cqe, Driver, SetupError, Socket, Wait};
use super::log_disk::{LogDisk, LogEvent};
use super::mailbox::{Mail, Mailboxes};
use super::process;
use super::socket::{SocketEvent, Sockets};
use super::token::Token;
use crate::config;
use crate::conn::ConnId;
use crate::log::Position;
use crate::shard::{Effects, Input, Shard, thread_of};
use crate::stats::{ConnRecord, Shared};
use crate::time::Time;
use crate::writes::{Answer, Origin, OwnedWrite};

/// How often an idle thread looks at the clock.
static TICK: Timespec = Timespec::new().nsec(config::TICK_NANOS);

/// The same of thread 0 in a cluster, whose machine counts milliseconds.
static CLUSTER_TICK: Timespec = Timespec::new().nsec(config::CLUSTER_TICK_NANOS);

/// A message that memcached sends to a client too many before it closes.
const TOO_MANY: &[u8] = b"ERROR Too many open connections\r\n";

/// What a turn has brought, until the shard takes it.
enum Event {
    Socket(SocketEvent),
    Accepted { conn: ConnId, record: Arc<ConnRecord> },
    Persisted { upto: Position },
    Synced { upto: Position },
    Refused { written: Position },
    FrameWritten { buffer: Vec<u8> },
    Forwarded(OwnedWrite),
    Answered(Answer),
    Unknown(Origin),
    Unlocked,
    ReadsAsked(u64),
    ReadsAnswered(bool),
    Ticked,
    Stopping,
}

/// What a ring thread is made of.
pub struct Parts {
    /// Its number; thread 0 writes.
    pub id: usize,
    /// The core it runs on.
    pub cpu: Option<usize>,
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// Its state.
    pub shard: Shard,
    /// The log's files, on thread 0 of a server that stands alone and has a log.
    pub disk: Option<LogDisk>,
    /// On thread 0 of a server in a cluster.
    pub cluster: Option<ClusterParts>,
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// How they talk.
    pub mailboxes: Arc<Mailboxes>,
}

/// A ring thread's shell.
pub struct RingThread {
    // dropped first: once the ring is gone no request touches the buffers of `sockets`
    driver: Driver,
    id: usize,
    buffers: BufRing,
    sockets: Sockets,
    acceptor: Acceptor,
    fixed_files: bool,
    tick: &'static Timespec,
    shard: Shard,
    disk: Option<LogDisk>,
    cluster: Option<Surround>,
    shared: Arc<Shared>,
    mailboxes: Arc<Mailboxes>,
    completions: Vec<Cqe>,
    events: Vec<Event>,
    /// Buffers the shard has seen and the kernel may have again.
    used: Vec<u16>,
    effects: Effects,
    mail: Mail,
    mail_came: bool,
    connections_seen: u64,
    stopping_since: Option<Time>,
    now: Time,
}

impl RingThread {
    /// Sets a ring up; on the thread that will run it.
    ///
    /// # Errors
    /// When io_uring is refused.
    pub fn new(parts: Parts) -> Result<Self, SetupError> {
        if let Some(cpu) = parts.cpu
            && let Err(error) = process::pin_current_thread(cpu)
        {
            tracing::warn!(%error, cpu, "a ring thread runs unpinned");
        }
        let mut driver = Driver::new()?;
        let buffers = driver.register_buffers()?;
        let alone = parts.shared.config.cluster.is_none();
        // the guardian of a server in a cluster reaches plain descriptors only
        let files = parts.shared.config.connections_max as u32 + config::SPARE_FILES;
        let fixed_files = alone && driver.register_files(files);
        let acceptor = Acceptor::new(parts.listeners, &mut driver);
        let tick = if parts.cluster.is_some() { &CLUSTER_TICK } else { &TICK };
        driver.tick(tick);
        parts.mailboxes.register(parts.id, driver.descriptor());
        let mut effects = Effects::default();
        let mut shard = parts.shard;
        let now = clock::now();
        let cluster = match parts.cluster {
            Some(cluster) => Some(Surround::begin(cluster, &mut driver, &mut shard, now, &mut effects)?),
            None => None,
        };
        Ok(Self {
            id: parts.id,
            driver,
            buffers,
            sockets: Sockets::default(),
            acceptor,
            fixed_files,
            shard,
            disk: parts.disk,
            cluster,
            tick,
            shared: parts.shared,
            mailboxes: parts.mailboxes,
            completions: Vec::new(),
            events: Vec::new(),
            used: Vec::new(),
            effects,
            mail: Mail::default(),
            // what was put here before this thread could be called
            mail_came: true,
            connections_seen: 0,
            stopping_since: None,
            now,
        })
    }

    /// Serves until the server stops; then hands back the log's files.
    pub fn run(mut self) -> Option<LogDisk> {
        // the first turn waits for nobody: what came due while no server ran is done at once
        let mut again = true;
        loop {
            again = self.turn(!again);
            if self.stopping_since.is_some() && self.may_leave() {
                if self.id != 0 {
                    self.mailboxes.served();
                }
                return self.finish();
            }
        }
    }

    fn finish(self) -> Option<LogDisk> {
        let Self { driver, shard, disk, cluster, .. } = self;
        // no request touches the buffers of what follows
        drop(driver);
        if let Some(cluster) = cluster {
            cluster.finish(&shard);
        }
        disk
    }

    /// One turn of the loop; whether the next must not wait.
    fn turn(&mut self, wait: bool) -> bool {
        if wait {
            self.shard.reader().park();
        }
        let wait = if wait { self.patience() } else { Wait::No };
        self.driver.enter(wait, &mut self.completions);
        if wait != Wait::No {
            self.shard.reader().unpark();
        } else {
            self.shard.reader().quiesce();
        }
        self.now = self.now.max(clock::now());
        let mut completions = std::mem::take(&mut self.completions);
        for cqe in completions.drain(..) {
            self.on_completion(cqe);
        }
        self.completions = completions;
        self.sockets.finish_sends(|event| self.events.push(Event::Socket(event)));
        self.take_mail();
        self.notice_stop();
        self.step();
        self.apply()
    }

    /// For a completion, or until a sync of the log is due.
    fn patience(&self) -> Wait {
        let disk = self.disk.as_ref().and_then(LogDisk::sync_due);
        let due = disk.or_else(|| self.cluster.as_ref().and_then(Surround::sync_due));
        due.map_or(Wait::Completion, |due| Wait::CompletionFor(due.since(clock::now())))
    }

    fn on_completion(&mut self, cqe: Cqe) {
        let driver = &mut self.driver;
        let event = match cqe.token {
            Token::Recv(slot) => self.sockets.on_received(driver, slot, cqe),
            Token::SendNow(slot) => self.sockets.on_send_now(driver, slot, cqe),
            Token::Send(slot) => self.sockets.on_send(driver, slot, cqe),
            Token::Cancel(slot) | Token::Close(slot) => {
                self.sockets.on_done(slot);
                None
            }
            Token::Accept(listener) => return self.on_accept(listener, cqe),
            Token::Mail => {
                self.mail_came = true;
                return;
            }
            Token::Call(thread) => return self.mailboxes.call_failed(thread as usize),
            Token::Sync => return self.on_synced(cqe.result),
            Token::KeystoreSync | Token::Datagrams | Token::Peers => return self.on_cluster_completion(cqe),
            Token::Tick => return self.on_tick(),
            // thread 0 of a cluster's server alone asks for the last two
            Token::CancelAccept(_) => return,
        };
        if let Some(event) = event {
            self.events.push(Event::Socket(event));
        }
    }

    fn on_tick(&mut self) {
        self.driver.tick(self.tick);
        self.events.push(Event::Ticked);
        let Self { cluster, shard, effects, shared, now, .. } = self;
        if let Some(cluster) = cluster {
            cluster.tick(*now, shard, effects);
            cluster.publish(*now, shard, shared);
        }
        // in case the kernel had no memory for somebody's call
        self.mail_came = true;
        if self.acceptor.is_paused() {
            if !self.is_full() && self.stopping_since.is_none() {
                self.acceptor.resume(&mut self.driver);
                self.shared.gauges.accepting.store(1, Relaxed);
            }
        } else {
            self.acceptor.rearm(&mut self.driver);
        }
        if self.id == 0 {
            let (user, system) = clock::cpu_times_us();
            self.shared.gauges.rusage_user_us.store(user, Relaxed);
            self.shared.gauges.rusage_system_us.store(system, Relaxed);
        }
    }

    fn is_full(&self) -> bool {
        self.shared.gauges.curr_connections.load(Relaxed) >= self.shared.config.connections_max as u64
    }

    fn on_accept(&mut self, listener: u32, cqe: Cqe) {
        let Accepted::Connection { socket, listener, peer } = self.acceptor.on_accept(listener, cqe.result, cqe.more)
        else {
            return;
        };
        if self.stopping_since.is_some() {
            return;
        }
        let before = self.shared.gauges.curr_connections.fetch_add(1, Relaxed);
        if before >= self.shared.config.connections_max as u64 {
            self.shared.gauges.curr_connections.fetch_sub(1, Relaxed);
            return self.refuse(&socket);
        }
        let socket = self.adopt(socket);
        let conn = self.sockets.insert(&mut self.driver, socket);
        self.connections_seen += 1;
        let number = self.connections_seen * self.shared.config.threads as u64 + self.id as u64;
        let record = Arc::new(ConnRecord::new(number, peer, listener, self.now));
        self.events.push(Event::Accepted { conn, record });
    }

    /// One connection too many: says so, or leaves the others waiting at the listener.
    fn refuse(&mut self, socket: &OwnedFd) {
        if self.shared.config.maxconns_fast {
            self.shard.count_rejected();
            // best effort, as the client may be gone
            let _ = rustix::net::send(socket, TOO_MANY, rustix::net::SendFlags::DONTWAIT);
        } else {
            self.shard.count_listen_disabled();
            self.acceptor.pause(&mut self.driver);
            self.shared.gauges.accepting.store(0, Relaxed);
        }
    }

    /// Makes an accepted descriptor the ring's. Past the table's end, where a storm of closes and connects may lead, it
    /// stays a plain one.
    fn adopt(&mut self, socket: OwnedFd) -> Socket {
        let slot = self.sockets.next_slot();
        if self.fixed_files && self.driver.register_file(slot, socket.as_raw_fd()).is_ok() {
            return Socket::Fixed(slot);
        }
        Socket::Plain(socket.into_raw_fd())
    }

    fn take_mail(&mut self) {
        if !std::mem::take(&mut self.mail_came) {
            return;
        }
        let mut mail = std::mem::take(&mut self.mail);
        self.mailboxes.take(self.id, &mut mail);
        self.events.extend(mail.forwards.drain(..).map(Event::Forwarded));
        self.events.extend(mail.answers.drain(..).map(Event::Answered));
        self.events.extend(mail.unknown.drain(..).map(Event::Unknown));
        self.events.extend(mail.asks.drain(..).map(Event::ReadsAsked));
        self.events.extend(mail.may_read.take().map(Event::ReadsAnswered));
        if std::mem::take(&mut mail.unlocked) {
            self.events.push(Event::Unlocked);
        }
        self.mail = mail;
    }

    fn notice_stop(&mut self) {
        if self.stopping_since.is_none() && self.mailboxes.stopping() {
            self.stopping_since = Some(self.now);
            self.acceptor.pause(&mut self.driver);
            self.events.push(Event::Stopping);
        }
    }

    /// Whether a stopping thread is done, or has waited long enough for slow readers.
    fn may_leave(&self) -> bool {
        let patience = self.stopping_since.is_some_and(|since| self.now.since(since) > config::STOP_PATIENCE);
        // a request that is still with the kernel would hold the listener beyond the end of the process
        let drained = self.shard.is_drained() && self.sockets.is_empty() && self.acceptor.is_idle();
        (drained || patience) && (self.id != 0 || patience || self.mailboxes.serving() == 0)
    }

    /// Lets the shard take what there is; then the log, until both are at rest.
    fn step(&mut self) {
        let Self { shard, buffers, used, events, effects, now, .. } = self;
        shard.step(*now, events.drain(..).map(|event| event.into_input(buffers, used)), effects);
        self.give_buffers_back();
        if self.cluster.is_some() {
            return self.step_cluster();
        }
        if self.disk.is_none() {
            return;
        }
        while !self.effects.frames.is_empty() {
            let Self { shard, disk, buffers, used, events, effects, now, .. } = self;
            let disk = disk.as_mut().expect("just looked");
            disk.append(&mut effects.frames, |event| events.push(Event::from(event)));
            shard.step_on(*now, events.drain(..).map(|event| event.into_input(buffers, used)), effects);
        }
        self.sync_log();
    }

    /// Does what the node has said, and what comes of that, until nothing does; then everything leaves together.
    fn step_cluster(&mut self) {
        let Self { cluster, shard, effects, now, mailboxes, .. } = self;
        let cluster = cluster.as_mut().expect("the caller looked");
        cluster.notice_resign(*now, shard, effects, mailboxes);
        let mut again = cluster.advance(*now, shard, effects);
        while !effects.cluster.effects.is_empty() {
            cluster.carry_out(*now, shard, effects);
            shard.step_on(*now, std::iter::empty(), effects);
        }
        again |= cluster.flush(*now, shard, effects);
        cluster.say_when_resigned(shard, mailboxes);
        effects.again |= again;
        self.sync_cluster();
    }

    fn sync_cluster(&mut self) {
        let Self { cluster, driver, now, .. } = self;
        let (log, keystore) = cluster.as_mut().expect("the caller looked").next_syncs(*now);
        if let Some(descriptor) = keystore {
            driver.fdatasync(descriptor, Token::KeystoreSync);
        }
        if let Some(descriptor) = log {
            start_sync(driver, descriptor);
        }
    }

    fn on_cluster_completion(&mut self, cqe: Cqe) {
        let Self { cluster, driver, shard, effects, now, .. } = self;
        let cluster = cluster.as_mut().expect("only a cluster's server asks for these");
        match cqe.token {
            Token::Datagrams => cluster.on_datagram(driver, cqe, *now, shard, effects),
            Token::KeystoreSync => cluster.on_keystore_synced(cqe.result),
            _ => {
                if !cqe.more {
                    driver.poll(cluster.bell(), Token::Peers);
                }
                cluster.on_bell(*now, shard, effects);
            }
        }
    }

    fn give_buffers_back(&mut self) {
        if !self.used.is_empty() {
            for bid in self.used.drain(..) {
                self.buffers.give_back(bid);
            }
            self.buffers.publish();
        }
        // whatever turn their buffers went in: all are with the kernel again
        self.sockets.feed_starved(&mut self.driver);
    }

    fn sync_log(&mut self) {
        if let Some(descriptor) = self.disk.as_mut().and_then(|disk| disk.next_sync(self.now)) {
            start_sync(&mut self.driver, descriptor);
        }
    }

    fn on_synced(&mut self, result: i32) {
        let Self { cluster, shard, effects, now, .. } = self;
        if let Some(cluster) = cluster {
            return cluster.on_synced(result, *now, shard, effects);
        }
        let Self { disk, events, now, .. } = self;
        let disk = disk.as_mut().expect("only a log syncs");
        disk.on_synced(*now, result, |event| events.push(Event::from(event)));
    }

    /// Carries out what the shard wants; whether there is more to do at once.
    fn apply(&mut self) -> bool {
        let Self { effects, driver, sockets, .. } = self;
        for (conn, buffer) in effects.sends.drain(..) {
            sockets.send(driver, conn, buffer);
        }
        for conn in effects.pauses.drain(..) {
            sockets.pause(driver, conn);
        }
        for conn in effects.resumes.drain(..) {
            sockets.resume(driver, conn);
        }
        for conn in effects.closes.drain(..) {
            sockets.close(driver, conn);
            self.shared.gauges.curr_connections.fetch_sub(1, Relaxed);
        }
        self.post();
        if std::mem::take(&mut self.effects.shutdown) {
            // by way of the thread that waits for signals
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT);
        }
        std::mem::take(&mut self.effects.again)
    }

    /// Puts writes and answers into other threads' mailboxes.
    fn post(&mut self) {
        let Self { effects, driver, mailboxes, .. } = self;
        if !effects.forwards.is_empty() {
            mailboxes.put(0, |mail| mail.forwards.append(&mut effects.forwards));
            call(driver, mailboxes, 0);
        }
        // answers come in runs of one thread each
        while let Some(first) = effects.answers.first() {
            let thread = first.origin.shard as usize;
            let run = effects.answers.iter().take_while(|a| a.origin.shard as usize == thread).count();
            mailboxes.put(thread, |mail| mail.answers.extend(effects.answers.drain(..run)));
            call(driver, mailboxes, thread);
        }
        if self.shared.config.cluster.is_some() {
            self.post_of_cluster();
        }
    }

    fn post_of_cluster(&mut self) {
        let Self { effects, driver, mailboxes, .. } = self;
        let cluster = &mut effects.cluster;
        let mut put = |thread: usize, put: &mut dyn FnMut(&mut Mail)| {
            mailboxes.put(thread, put);
            call(driver, mailboxes, thread);
        };
        if !cluster.asks.is_empty() {
            put(0, &mut |mail| mail.asks.append(&mut cluster.asks));
        }
        for origin in cluster.unknown.drain(..) {
            put(origin.shard.into(), &mut |mail| mail.unknown.push(origin));
        }
        for (ticket, allowed) in cluster.answers.drain(..) {
            put(thread_of(ticket), &mut |mail| mail.may_read = Some(allowed));
        }
        for thread in cluster.wakes.drain(..) {
            put(thread, &mut |mail| mail.unlocked = true);
        }
    }
}

fn start_sync(driver: &mut Driver, descriptor: RawFd) {
    driver.fdatasync(descriptor, Token::Sync);
    // the sync is made by a kernel worker that may share our core: it gets to start the disk before the replies are sent, so
    // that both go on at once
    driver.submit();
    std::thread::yield_now();
}

fn call(driver: &mut Driver, mailboxes: &Mailboxes, thread: usize) {
    if let Some(ring) = mailboxes.to_call(thread) {
        driver.call(ring, thread as u32);
    }
}

impl From<LogEvent> for Event {
    fn from(event: LogEvent) -> Self {
        match event {
            LogEvent::Persisted { upto } => Self::Persisted { upto },
            LogEvent::Synced { upto } => Self::Synced { upto },
            LogEvent::Refused { written } => Self::Refused { written },
            LogEvent::FrameWritten { buffer } => Self::FrameWritten { buffer },
        }
    }
}

impl Event {
    fn into_input<'a>(self, buffers: &'a BufRing, used: &mut Vec<u16>) -> Input<'a> {
        match self {
            Self::Socket(SocketEvent::Received { conn, bid, len }) => {
                used.push(bid);
                Input::Received { conn, bytes: buffers.bytes(bid, len) }
            }
            Self::Socket(SocketEvent::Sent { conn, buffer }) => Input::Sent { conn, buffer },
            Self::Socket(SocketEvent::Ended { conn }) => Input::Ended { conn },
            Self::Socket(SocketEvent::Failed { conn }) => Input::Failed { conn },
            Self::Accepted { conn, record } => Input::Accepted { conn, record },
            Self::Persisted { upto } => Input::Persisted { upto },
            Self::Synced { upto } => Input::Synced { upto },
            Self::Refused { written } => Input::Refused { written },
            Self::FrameWritten { buffer } => Input::FrameWritten { buffer },
            Self::Forwarded(write) => Input::Forwarded { write },
            Self::Answered(answer) => Input::Answered { answer },
            Self::Unknown(origin) => Input::Unknown { origin },
            Self::Unlocked => Input::Unlocked,
            Self::ReadsAsked(ticket) => Input::ReadsAsked { ticket },
            Self::ReadsAnswered(allowed) => Input::ReadsAnswered { allowed },
            Self::Ticked => Input::Ticked,
            Self::Stopping => Input::Stopping,
        }
    }
}
