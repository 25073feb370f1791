//! The load balancer's whole state: the coordinator's machine, the links to the servers, and what is to be done next. Takes
//! what happened and says what to do; reads no clock and touches no socket.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::answers::{self, Ask, Router};
use crate::cluster::codec;
use crate::cluster::{Configuration, Coordinator, CoordinatorEffect, CoordinatorInput, ForceRefusal, Member, Message};
use crate::config;
use crate::contact::Contact;
use crate::log::{Incarnation, NodeId};
use crate::time::Time;
use crate::transport::{Endpoint, Refusal, Repair, Train};

/// Something for the shell to do.
#[derive(Debug)]
pub enum Task {
    /// Make it durable, then say so with `persisted`.
    Persist(Configuration),
    /// Send these bytes.
    Send(SocketAddr, Vec<u8>),
    /// Open a lifeline.
    Watch(Member, Incarnation),
    /// A line for the operator.
    Warn(String),
}

/// See the module.
pub struct State {
    coordinator: Coordinator,
    endpoint: Endpoint,
    /// Where each server's datagrams last came from; before it spoke, what its contact says.
    addresses: BTreeMap<NodeId, SocketAddr>,
    router: Router,
    /// What was last said about each server, so that it is said once.
    said: BTreeMap<NodeId, String>,
    /// Why the machine did not do what an operator asked for last.
    force_refused: Option<ForceRefusal>,
    train: Train,
    pick: Box<dyn FnMut(usize) -> usize>,
}

impl State {
    /// `pick` draws a number below its argument.
    pub fn new(
        coordinator: Coordinator,
        endpoint: Endpoint,
        router: Router,
        pick: Box<dyn FnMut(usize) -> usize>,
    ) -> Self {
        Self {
            coordinator,
            endpoint,
            addresses: BTreeMap::new(),
            router,
            said: BTreeMap::new(),
            force_refused: None,
            train: Train::default(),
            pick,
        }
    }

    /// The newest configuration that is durable.
    #[must_use]
    pub fn configuration(&self) -> Option<&Configuration> {
        self.coordinator.configuration()
    }

    /// Who chooses servers for clients.
    pub const fn router(&mut self) -> &mut Router {
        &mut self.router
    }

    /// A datagram came.
    pub fn received(&mut self, now: Time, datagram: &mut [u8], from: SocketAddr, tasks: &mut Vec<Task>) {
        let mut messages: Vec<Message> = Vec::new();
        let mut faults = Vec::new();
        let received = self.endpoint.receive(now, datagram, &mut |bytes| match codec::decode(bytes) {
            Ok(message) => messages.push(message),
            Err(fault) => faults.push(fault),
        });
        // what is not proven to be a server's is counted and no more: it costs a line of nobody's log
        let source = match received {
            Ok(source) => source,
            Err(Refusal::Malformed) => return tasks.push(Task::Warn(format!("{from} sends what no server sends"))),
            Err(_) => return,
        };
        for fault in faults {
            tasks.push(Task::Warn(format!("a message of {from} is dropped: {fault}")));
        }
        self.addresses.insert(source, from);
        for message in messages.into_iter().filter(|message| message.header.source == source) {
            self.step(now, CoordinatorInput::Received { message }, tasks);
        }
        self.flush(now, tasks);
    }

    /// Time has passed.
    pub fn ticked(&mut self, now: Time, tasks: &mut Vec<Task>) {
        self.endpoint.on_time(now);
        self.input(now, CoordinatorInput::Ticked, tasks);
    }

    /// Anything else that happened.
    pub fn input(&mut self, now: Time, input: CoordinatorInput, tasks: &mut Vec<Task>) {
        self.step(now, input, tasks);
        self.flush(now, tasks);
    }

    fn step(&mut self, now: Time, input: CoordinatorInput, tasks: &mut Vec<Task>) {
        let mut effects = Vec::new();
        self.coordinator.step(now, input, &mut self.pick, &mut effects);
        for effect in effects {
            match effect {
                CoordinatorEffect::Persist { configuration } => tasks.push(Task::Persist(configuration)),
                CoordinatorEffect::Send { message } => self.send(now, &message),
                CoordinatorEffect::Watch { member, incarnation } => tasks.push(Task::Watch(member, incarnation)),
                CoordinatorEffect::ServerAhead { node, epoch } => {
                    let text = format!(
                        "server {:016x} is in epoch {}, which is later than this record knows: the record is an old copy; \
                         stop this load balancer and start it with the newest one",
                        node.0, epoch.0
                    );
                    self.warn_once(node, text, tasks);
                }
                CoordinatorEffect::ForceRefused { why, .. } => self.force_refused = Some(why),
                CoordinatorEffect::RefusedServer { node, ours, theirs } => {
                    let text = format!(
                        "server {:016x} holds data of cluster {:032x} and is not let into this one, {:032x}: start it with \
                         the load balancer of its own cluster, or with an empty --data-dir",
                        node.0, theirs.0, ours.0
                    );
                    self.warn_once(node, text, tasks);
                }
            }
        }
    }

    /// Servers come again every few milliseconds.
    fn warn_once(&mut self, node: NodeId, text: String, tasks: &mut Vec<Task>) {
        if self.said.get(&node) == Some(&text) {
            return;
        }
        if self.said.len() >= config::PEERS_MAX {
            self.said.clear();
        }
        self.said.insert(node, text.clone());
        tasks.push(Task::Warn(text));
    }

    fn send(&mut self, now: Time, message: &Message) {
        let mut bytes = Vec::new();
        codec::encode(message, &mut bytes);
        // when it is not taken it is lost, which the machines are made for
        let _ = self.endpoint.send(now, message.header.destination, bytes, Repair::Never);
    }

    /// Where a server is reached.
    fn address(&self, node: NodeId) -> Option<SocketAddr> {
        let contact = |member: &Member| member.contact.parse::<Contact>().ok();
        let member = || self.configuration()?.member(node).and_then(contact).map(|contact| contact.servers);
        self.addresses.get(&node).copied().or_else(member)
    }

    fn flush(&mut self, now: Time, tasks: &mut Vec<Task>) {
        let due: Vec<NodeId> = self.endpoint.due().collect();
        for node in due {
            self.train.clear();
            self.endpoint.transmit(now, node, &mut self.train);
            if let Some(address) = self.address(node) {
                tasks.extend(self.train.datagrams().map(|datagram| Task::Send(address, datagram.to_vec())));
            }
        }
    }

    /// An operator wants that server to lead, though it may lack what was acknowledged (D3); what is answered.
    pub fn force(&mut self, now: Time, node: NodeId, confirmed: bool, tasks: &mut Vec<Task>) -> String {
        self.force_refused = None;
        self.input(now, CoordinatorInput::UnsafeRecover { node, confirmed }, tasks);
        match self.force_refused.take() {
            Some(why) => format!("REFUSED {why}\r\n"),
            None => {
                tasks.push(Task::Warn(format!(
                    "an operator makes server {:016x} lead by force: what others had acknowledged may be lost",
                    node.0
                )));
                "FORCED\r\n".to_owned()
            }
        }
    }

    /// What a client is told.
    pub fn answer(&mut self, ask: Ask) -> String {
        let configuration = self.coordinator.configuration();
        let order = configuration.map(|configuration| self.router.order(configuration)).unwrap_or_default();
        match ask {
            Ask::Servers => answers::servers(&order),
            Ask::Cluster => answers::cluster(configuration.map_or(0, |one| one.epoch.0), &order),
            Ask::Status => {
                let registered: Vec<Member> = self.coordinator.registered().cloned().collect();
                answers::status(configuration, &registered, &self.endpoint.counts())
            }
            Ask::Version => concat!("VERSION ", env!("CARGO_PKG_VERSION"), "\r\n").to_owned(),
            Ask::Quit | Ask::Force { .. } => String::new(),
        }
    }
}
