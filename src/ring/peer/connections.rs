//! The TCP port for other servers, on one small thread with poll(2) and never on a ring, which would end what it has in flight before
//! the process is dead. Accepts connections and says on each who this server is; opens lifelines to others and waits for their ends;
//! hands streams on to threads of their own.
//!
//! **A connection that was accepted is never ended in order while this server lives**, as that would prove its death (R25): those that
//! are to go are reset, and those that are left when the thread ends stay open until the process is gone. Nothing is said before
//! this start's incarnation is durable.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::accepted::Accepted;
use super::events::{Events, PeerEvent};
use super::streams::Streams;
use super::watch::Watch;
use crate::cluster::Member;
use crate::contact::Contact;
use crate::lifeline::Hello;
use crate::log::NodeId;
use crate::ring::guardian::Guardian;
use crate::transport::ClusterKey;

/// What the thread is to do.
#[derive(Default)]
struct Orders {
    hello: Option<Hello>,
    watched: BTreeMap<NodeId, SocketAddr>,
    stop: bool,
}

struct Shared {
    orders: Mutex<Orders>,
    bell: OwnedFd,
}

impl Shared {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread, as thread 0 has it. Dropping it ends the thread and all streams, and no lifeline.
pub struct Connections {
    shared: Arc<Shared>,
    events: Arc<Events>,
    streams: Streams,
    thread: Option<JoinHandle<()>>,
}

impl Connections {
    /// Starts the thread; nothing is accepted before `announce`. The guardian, if there is one, is told of each connection; who
    /// comes from the load balancer's address is let in when there are too many.
    ///
    /// # Errors
    /// When the system gives no thread or no descriptor.
    pub fn start(
        listener: TcpListener,
        key: Option<ClusterKey>,
        guardian: Option<Arc<Guardian>>,
        balancer: IpAddr,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let events = Arc::new(Events::new()?);
        let streams = Streams::new(key, Arc::clone(&events));
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared { orders: Mutex::default(), bell });
        let body = Thread {
            shared: Arc::clone(&shared),
            events: Arc::clone(&events),
            hello: None,
            accepted: Accepted::new(listener, guardian, streams.clone(), balancer),
            watches: BTreeMap::new(),
        };
        let thread = thread::Builder::new().name("lifelines".to_owned()).spawn(move || body.run())?;
        Ok(Self { shared, events, streams, thread: Some(thread) })
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.shared.orders());
        super::ring_bell(&self.shared.bell);
    }

    /// This server's name and incarnation are durable: connections are accepted from now on, and told.
    pub fn announce(&self, hello: Hello) {
        self.order(|orders| orders.hello = Some(hello));
    }

    /// Keeps lifelines to these servers and no others; to itself it needs none and opens none.
    pub fn set_watched(&self, members: &[Member]) {
        let contact = |member: &Member| Some((member.node, member.contact.parse::<Contact>().ok()?.servers));
        let watched: BTreeMap<NodeId, SocketAddr> = members.iter().filter_map(contact).collect();
        if self.shared.orders().watched != watched {
            self.order(|orders| orders.watched = watched);
        }
    }

    /// What has happened: readable, and again, when there is something for `take_events`. For a multishot poll of thread 0's ring.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.events.descriptor()
    }

    /// Moves what has happened to `events`.
    pub fn take_events(&self, events: &mut Vec<PeerEvent>) {
        self.events.take(events);
    }

    /// The streams.
    #[must_use]
    pub const fn streams(&self) -> &Streams {
        &self.streams
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.order(|orders| orders.stop = true);
        if let Some(thread) = self.thread.take() {
            // it has said on stderr why it panicked
            let _ = thread.join();
        }
        self.streams.break_all();
    }
}

/// The thread itself.
struct Thread {
    shared: Arc<Shared>,
    events: Arc<Events>,
    hello: Option<Hello>,
    accepted: Accepted,
    watches: BTreeMap<NodeId, Watch>,
}

impl Thread {
    fn run(mut self) {
        while self.obey() {
            let ready = self.wait();
            let mut ready = ready.into_iter();
            if ready.next().is_some_and(|ready| !ready.is_empty()) {
                let mut counted = [0; 8];
                // whatever was counted: it is obeyed
                let _ = rustix::io::read(&self.shared.bell, &mut counted);
            }
            let now = Instant::now();
            for (&node, watch) in &mut self.watches {
                let ready = watch.descriptor().and_then(|_| ready.next()).unwrap_or(PollFlags::empty());
                watch.go_on(now, node, !ready.is_empty(), &self.events);
            }
            if let Some(hello) = self.hello {
                let watched = self.watches.values().map(|watch| watch.address().ip()).collect();
                self.accepted.go_on(now, hello, ready, &watched);
            }
        }
        self.accepted.leave_open();
    }

    /// Takes new orders; false to end.
    fn obey(&mut self) -> bool {
        let orders = self.shared.orders();
        self.hello = orders.hello;
        let own = self.hello.map(|hello| hello.node);
        self.watches.retain(|node, watch| orders.watched.get(node) == Some(&watch.address()));
        for (&node, &address) in orders.watched.iter().filter(|(node, _)| own != Some(**node)) {
            self.watches.entry(node).or_insert_with(|| Watch::new(address));
        }
        !orders.stop
    }

    /// Waits for something: of the bell, of each watch that has a connection, of what was accepted, in this order.
    fn wait(&self) -> Vec<PollFlags> {
        let bell = std::iter::once((self.shared.bell.as_fd(), PollFlags::IN));
        let watches = self.watches.values().filter_map(Watch::descriptor);
        let accepted = self.accepted.descriptors().filter(|_| self.hello.is_some());
        let all = bell.chain(watches).chain(accepted);
        let mut polled: Vec<PollFd<'_>> =
            all.map(|(descriptor, flags)| PollFd::from_borrowed_fd(descriptor, flags)).collect();
        let deadline = self.watches.values().filter_map(Watch::deadline).chain(self.accepted.deadline()).min();
        let patience = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        match poll(&mut polled, patience.as_ref()) {
            Ok(_) => polled.iter().map(PollFd::revents).collect(),
            // a signal that somebody else waits for
            Err(_) => polled.iter().map(|_| PollFlags::empty()).collect(),
        }
    }
}
