//! What surrounds the node of a server in a cluster, on ring thread 0: its disk, the datagrams, lifelines and streams. Carries out
//! the node's effects in their order and turns what comes of them into inputs. Decides nothing about data or roles.
//!
//! ```text
//!  datagrams, peers' events, syncs --> inputs --> Shard (Node) --> effects --> carry_out --> inputs ...
//!                                                                     '------> flush: one train of datagrams for each peer
//! ```

mod snapshot;
pub mod start;

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::RawFd;
use std::thread;

use super::disk::Fatal;
use super::driver::{Cqe, Driver, SetupError};
use super::mailbox::Mailboxes;
use super::peer::{Connections, PeerEvent, PeerSocket};
use super::replica_disk::{DiskEvent, Installing, ReplicaDisk, Surroundings};
use super::token::Token;
use crate::cluster::{Body, Effect, Input, Member, Message, NodeRecord, Report};
use crate::config;
use crate::contact::Contact;
use crate::lifeline::Hello;
use crate::log::NodeId;
use crate::node::Node;
use crate::shard::{self, Shard};
use crate::stats::{ClusterStats, Shared};
use crate::time::Time;
use crate::transport::Identity;

use snapshot::Snapshots;

/// A configuration error of sysexits.h: this server has less room than its leader.
const EXIT_CANNOT_HOLD: i32 = 78;

/// What thread 0 of a server in a cluster is made of, besides what every thread is.
pub struct ClusterParts {
    /// Record, log and keystore.
    pub disk: ReplicaDisk,
    /// What the machine said at its start.
    pub said: Vec<Effect>,
    /// Bound for datagrams of the others.
    pub socket: UdpSocket,
    /// Who speaks on it.
    pub identity: Identity,
    /// Bytes of the largest datagram.
    pub datagram_bytes: usize,
    /// The load balancer.
    pub balancer: SocketAddr,
    /// Lifelines and streams, both ways.
    pub connections: Connections,
    /// Where this server is reached.
    pub contact: Contact,
}

/// See the module.
pub struct Surround {
    disk: ReplicaDisk,
    socket: PeerSocket,
    connections: Connections,
    snapshots: Snapshots,
    contact: Contact,
    /// What it says on lifelines, once that is durable.
    hello: Hello,
    /// What came of effects, for the node.
    inputs: VecDeque<Input>,
    /// Events of the peers' threads, while they are handed on.
    came: Vec<PeerEvent>,
    role: &'static str,
    role_since: Time,
    /// The machine was told to hand the lead on.
    resigned: bool,
    /// It was said why this server is not let in: it asks again and again, and the answer is the same.
    refused: bool,
    settled: Vec<NodeId>,
}

impl Surround {
    /// Surrounds the node, which begins; on the thread that will run it.
    ///
    /// # Errors
    /// When the kernel refuses the receive buffers of datagrams.
    pub fn begin(
        parts: ClusterParts,
        driver: &mut Driver,
        shard: &mut Shard,
        now: Time,
        effects: &mut shard::Effects,
    ) -> Result<Self, SetupError> {
        let ClusterParts { disk, said, socket, identity, datagram_bytes, balancer, connections, contact } = parts;
        let hello = Hello { node: identity.node, incarnation: identity.incarnation };
        let socket = PeerSocket::new(socket, identity, datagram_bytes, balancer, driver)?;
        driver.poll(connections.descriptor(), Token::Peers);
        shard.cluster_begin(now, said, effects);
        Ok(Self {
            disk,
            socket,
            snapshots: Snapshots::new(connections.streams().clone()),
            connections,
            contact,
            hello,
            inputs: VecDeque::new(),
            came: Vec::new(),
            role: "starting",
            role_since: now,
            resigned: false,
            refused: false,
            settled: Vec::new(),
        })
    }

    /// To be polled by the ring: the peers' threads have something to say when it is readable.
    #[must_use]
    pub fn bell(&self) -> RawFd {
        self.connections.descriptor()
    }

    /// A completion of the datagrams' receive.
    pub fn on_datagram(
        &mut self,
        driver: &mut Driver,
        cqe: Cqe,
        now: Time,
        shard: &mut Shard,
        effects: &mut shard::Effects,
    ) {
        let inputs = &mut self.inputs;
        self.socket.on_received(driver, cqe, now, &mut |message| inputs.push_back(Input::Received { message }));
        for input in &self.inputs {
            // where servers are that are no members yet only the load balancer says
            if let Input::Received { message: Message { body: Body::Heartbeat { registered, .. }, .. } } = input {
                for one in registered {
                    set_address(&mut self.socket, &one.member);
                }
            }
        }
        if let Some((node, fault)) = self.socket.take_fault() {
            tracing::warn!("server {} sends what this version does not understand: {fault}", node.0);
        }
        self.hand_in(now, shard, effects);
    }

    /// The node gets what has come.
    pub fn hand_in(&mut self, now: Time, shard: &mut Shard, effects: &mut shard::Effects) {
        while let Some(input) = self.inputs.pop_front() {
            shard.cluster_input(now, input, effects);
        }
    }

    /// The log's sync, or a keystore's, has ended.
    pub fn on_synced(&mut self, result: i32, now: Time, shard: &mut Shard, effects: &mut shard::Effects) {
        or_exit(self.disk.on_synced(now, result));
        self.take_disk_events(shard);
        self.hand_in(now, shard, effects);
    }

    /// The sync of a keystore has ended.
    pub fn on_keystore_synced(&mut self, result: i32) {
        or_exit(self.disk.on_keystore_synced(result));
    }

    fn take_disk_events(&mut self, shard: &mut Shard) {
        while let Some(event) = self.disk.take_event() {
            match event {
                DiskEvent::RecordPersisted { epoch } => {
                    // it names its incarnation to others from now on, and not before that is durable
                    self.connections.announce(self.hello);
                    self.inputs.push_back(Input::RecordPersisted { epoch });
                }
                DiskEvent::Persisted { upto, cut } => self.inputs.push_back(Input::Persisted { upto, cut }),
                DiskEvent::Refused { written, cut } => self.inputs.push_back(Input::Refused { written, cut }),
                DiskEvent::Durable { upto } => {
                    if let Some(node) = shard.node_mut() {
                        node.on_durable(upto);
                    }
                }
                DiskEvent::Installed { snapshot } => {
                    self.snapshots.on_installed();
                    self.inputs.push_back(Input::SnapshotInstalled { snapshot });
                }
            }
        }
    }

    /// Carries out what the node has said, in order, until nothing more comes of it.
    pub fn carry_out(&mut self, now: Time, shard: &mut Shard, effects: &mut shard::Effects) {
        let mut said = std::mem::take(&mut effects.cluster.effects);
        for effect in said.drain(..) {
            self.effect(now, effect, shard);
        }
        effects.cluster.effects = said;
        if let Some(fault) = effects.cluster.fault.take() {
            cannot_hold(&fault);
        }
        self.take_disk_events(shard);
        self.hand_in(now, shard, effects);
    }

    fn effect(&mut self, now: Time, effect: Effect, shard: &mut Shard) {
        match effect {
            // as if it had ended just before: while it stops it says nothing more, and the others need the disk
            Effect::Persist { record } if self.resigned && is_without(&record, self.hello.node) => {
                shard.on_released();
            }
            Effect::Persist { record } => or_exit(self.disk.persist(record)),
            // who stops does not ask to be let in again: as a member it would be waited for when it is gone
            Effect::Send { message } if self.resigned && matches!(message.body, Body::Register { .. }) => {}
            Effect::Send { message } => self.socket.send(now, &message),
            Effect::Append { frame, cut } => or_exit(self.disk.append(&frame, cut)),
            Effect::Truncate { to, cut } => or_exit(self.disk.truncate(to, cut)),
            Effect::Commit { upto } => or_exit(self.disk.committed(upto)),
            Effect::ReadLog { node, from, bytes } => {
                let frames = or_exit(self.disk.read_log(from, bytes));
                self.inputs.push_back(Input::LogRead { node, from, frames });
            }
            Effect::SendSnapshot { offer } => {
                let address = self.socket.address(offer.header.destination);
                let applied = shard.node().expect("thread 0 has it").applied().position;
                self.inputs.extend(self.snapshots.send(&offer, address, applied));
            }
            Effect::TakeSnapshot => {
                let node = shard.node_mut().expect("thread 0 has it");
                or_exit(self.disk.begin_install(node.writes_mut()));
                self.snapshots.take();
            }
            Effect::RefuseSnapshot => self.snapshots.refuse(),
            // lifelines to all of them were ordered when their configuration was adopted
            Effect::Watch { member } => set_address(&mut self.socket, &member),
            Effect::Report(report) => self.report(&report, shard),
            Effect::BecameLeader { epoch, .. } => tracing::info!("leads in epoch {}", epoch.0),
            Effect::SteppedDown => tracing::info!("leads no more"),
            Effect::LockKeys { .. }
            | Effect::Forwarded { .. }
            | Effect::ForwardTaken { .. }
            | Effect::ForwardDone { .. }
            | Effect::ReadAllowed { .. }
            | Effect::ReadRefused { .. } => unreachable!("the node and the shard have done it"),
        }
    }

    /// Lifelines to all other members, and to nobody else.
    fn watch(&mut self, shard: &Shard) {
        let node = shard.node().expect("thread 0 has it");
        let members = node.configuration().map_or(&[][..], |one| &one.members);
        self.connections.set_watched(members);
    }

    fn report(&mut self, report: &Report, shard: &Shard) {
        match report {
            Report::Adopted { epoch, leader } => {
                tracing::info!("epoch {}: server {} leads", epoch.0, leader.0);
                self.refused = false;
                self.watch(shard);
            }
            Report::Serving { epoch } => tracing::info!("serves as leader of epoch {}", epoch.0),
            Report::OtherCluster { from } => {
                tracing::warn!("server {} is of another cluster: it is not answered", from.0);
            }
            Report::RefusedByCoordinator if std::mem::replace(&mut self.refused, true) => {}
            Report::RefusedByCoordinator => tracing::error!(
                "the load balancer does not let this server in: it holds data that is not the cluster's. Start it with an empty \
                 --data-dir to have it take the cluster's data"
            ),
            Report::DigestDiffers { position } => tracing::error!(
                "this server's data at position {} is not its leader's: it leaves and takes all of it again",
                position.0
            ),
            Report::LeavesOut { node } => tracing::warn!("asks to leave out server {}, which is silent", node.0),
            Report::NeedsSnapshot { node } => tracing::info!("server {} needs a snapshot", node.0),
            Report::Doubted { doubt } => tracing::warn!("this server's log or data is doubted from now on: {doubt:?}"),
            Report::Trusted => tracing::info!("this server has all that is committed"),
            Report::CannotLead => tracing::error!(
                "an operator made this server lead, and it is in the middle of a snapshot: choose another one"
            ),
        }
    }

    /// The peers' threads have called.
    pub fn on_bell(&mut self, now: Time, shard: &mut Shard, effects: &mut shard::Effects) {
        let mut came = std::mem::take(&mut self.came);
        self.connections.take_events(&mut came);
        for event in came.drain(..) {
            match event {
                PeerEvent::LifelineEnded { node, incarnation } => {
                    tracing::info!("server {} has ended", node.0);
                    self.inputs.push_back(Input::LifelineEnded { node, incarnation });
                }
                PeerEvent::LifelineLost { node, incarnation } => {
                    self.inputs.push_back(Input::LifelineLost { node, incarnation });
                }
                other => self.on_stream(now, other, shard, effects),
            }
            self.hand_in(now, shard, effects);
        }
        self.came = came;
    }

    /// The part of a turn that is beside everything else: snapshots, keystores, old files.
    pub fn advance(&mut self, now: Time, shard: &mut Shard, effects: &mut shard::Effects) -> bool {
        let Some(node) = shard.node_mut() else { return false };
        let again = match or_exit(self.disk.go_on_install(node.writes_mut())) {
            Installing::Waiting => false,
            Installing::Again => true,
            Installing::Failed(fault) => {
                if Self::is_fatal(&fault) {
                    cannot_hold(&fault);
                }
                tracing::warn!("{fault}");
                self.snapshots.on_failed();
                self.inputs.push_back(Input::SnapshotLost);
                false
            }
        };
        self.snapshots.let_go(self.disk.install_backlog());
        let node = shard.node().expect("it is there");
        let around = Surroundings {
            writes: node.writes(),
            epochs_below: &|position| node.epochs_below(position),
            log_needed_from: self.snapshots.log_needed_from(),
        };
        or_exit(self.disk.advance(now, &around));
        self.take_disk_events(shard);
        self.hand_in(now, shard, effects);
        again
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time, shard: &mut Shard, effects: &mut shard::Effects) {
        self.socket.on_time(now);
        shard.cluster_tick(now, effects);
    }

    /// Whether the server is about to stop: somebody else is to lead before it does.
    pub fn notice_resign(&mut self, now: Time, shard: &mut Shard, effects: &mut shard::Effects, mailboxes: &Mailboxes) {
        if !self.resigned && mailboxes.resigning() {
            self.resigned = true;
            shard.cluster_input(now, Input::Resign, effects);
        }
    }

    /// In every turn, not only at ticks: the clients of a server that stops wait for their connections' end.
    pub fn say_when_resigned(&self, shard: &Shard, mailboxes: &Mailboxes) {
        if !self.resigned || mailboxes.has_resigned() {
            return;
        }
        let alone = |node: &Node| node.configuration().is_none_or(|one| one.members.len() < 2);
        if shard.is_released() || shard.node().is_some_and(|node| node.machine().role() != "leader" || alone(node)) {
            mailboxes.on_resigned();
        }
    }

    /// Leaves what this server has to say of itself where every thread can read it.
    pub fn publish(&mut self, now: Time, shard: &Shard, shared: &Shared) {
        let Some(node) = shard.node() else { return };
        let role = node.machine().role();
        if role != self.role {
            (self.role, self.role_since) = (role, now);
        }
        let (address, counts) = (self.contact.servers.to_string(), self.socket.counts().transport);
        shared.set_cluster(ClusterStats::of(
            node.machine(),
            node.applied(),
            node.digest(),
            address,
            self.role_since,
            counts,
        ));
    }

    /// Sends what the turn has to say; whether there is more.
    pub fn flush(&mut self, now: Time, shard: &mut Shard, effects: &mut shard::Effects) -> bool {
        let again = self.socket.flush(now);
        // here, where the socket has all that was said to be sent: of what it has not it would not be true
        self.socket.take_settled(&mut self.settled);
        for node in self.settled.drain(..) {
            shard.cluster_input(now, Input::PiecesSettled { node }, effects);
        }
        again || !effects.cluster.effects.is_empty()
    }

    /// The descriptors to fdatasync now: the log's, and a keystore's.
    pub fn next_syncs(&mut self, now: Time) -> (Option<RawFd>, Option<RawFd>) {
        (self.disk.next_sync(now), self.disk.next_keystore_sync())
    }

    /// When `next_syncs` is to be asked although nothing happens; nothing when it need not be.
    pub fn sync_due(&self) -> Option<Time> {
        self.disk.sync_due()
    }

    /// The end of an orderly stop.
    pub fn finish(self, shard: &Shard) {
        if shard.is_released() {
            // whoever leads now writes its first entries at this moment, and clients wait for that: they may share the disk
            thread::sleep(config::CLUSTER_FINISH_DELAY);
        }
        let committed = shard.node().map(|node| node.machine().commit()).unwrap_or_default();
        or_exit(self.disk.finish(committed));
    }
}

/// Whether the record is of a configuration that this server is no member of.
fn is_without(record: &NodeRecord, node: NodeId) -> bool {
    record.configuration.as_ref().is_some_and(|configuration| !configuration.has(node))
}

fn set_address(socket: &mut PeerSocket, member: &Member) {
    if let Ok(contact) = member.contact.parse::<Contact>() {
        socket.set_address(member.node, contact.servers);
    }
}

/// Ends the process: going on without what the others have would be another cache.
fn cannot_hold(fault: &impl std::fmt::Display) -> ! {
    tracing::error!("{fault}");
    std::process::exit(EXIT_CANNOT_HOLD);
}

/// Ends the process when the disk has failed; what was not said stays unsaid, and the others hear of the end.
fn or_exit<T>(result: Result<T, Fatal>) -> T {
    result.unwrap_or_else(|fatal| {
        tracing::error!("{fatal}");
        std::process::exit(fatal.exit_code().into());
    })
}
