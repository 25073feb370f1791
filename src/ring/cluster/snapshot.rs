//! Snapshots on their way: those that this server sends, a piece whenever the receiver has room, and the one that it takes.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use super::Surround;
use crate::cluster::{Input, Message, codec};
use crate::config;
use crate::log::{LogId, NodeId, Position};
use crate::ring::peer::{PeerEvent, StreamId, Streams};
use crate::ring::replica_disk::InstallFault;
use crate::shard::{self, Shard};
use crate::time::Time;
use crate::writes::Snapshot;

struct Sending {
    to: NodeId,
    /// Nothing before it was taken, and when all was sent.
    snapshot: Option<Snapshot>,
    begun: bool,
    /// The log is kept from here on.
    start: Position,
}

struct Taking {
    stream: StreamId,
    /// Bytes that came and are not said to be consumed.
    unsaid: usize,
}

/// See the module.
pub struct Snapshots {
    streams: Streams,
    sending: BTreeMap<StreamId, Sending>,
    taking: Option<Taking>,
    /// Offers that the node has been told of and not answered.
    offered: VecDeque<StreamId>,
}

impl Snapshots {
    pub const fn new(streams: Streams) -> Self {
        Self { streams, sending: BTreeMap::new(), taking: None, offered: VecDeque::new() }
    }

    /// Opens a stream; what to say when that cannot be.
    pub fn send(&mut self, offer: &Message, address: Option<SocketAddr>, applied: Position) -> Option<Input> {
        let to = offer.header.destination;
        let Some(address) = address else { return Some(Input::SnapshotFailed { node: to }) };
        let mut bytes = Vec::new();
        codec::encode(offer, &mut bytes);
        let stream = self.streams.open(to, address, bytes);
        self.sending.insert(stream, Sending { to, snapshot: None, begun: false, start: applied });
        None
    }

    /// The node takes what it was offered: any other stream is let go.
    pub fn take(&mut self) {
        let Some(stream) = self.offered.pop_front() else { return };
        if let Some(before) = self.taking.replace(Taking { stream, unsaid: 0 }) {
            self.streams.break_off(before.stream);
        }
        self.streams.accept(stream);
    }

    /// The node does not take it.
    pub fn refuse(&mut self) {
        if let Some(stream) = self.offered.pop_front() {
            self.streams.refuse(stream);
        }
    }

    /// What was taken is installed.
    pub fn on_installed(&mut self) {
        if let Some(taking) = self.taking.take() {
            tracing::info!("the snapshot is installed");
            self.streams.installed(taking.stream);
        }
    }

    /// Nothing comes of what was taken.
    pub fn on_failed(&mut self) {
        if let Some(taking) = self.taking.take() {
            self.streams.break_off(taking.stream);
        }
    }

    /// Bytes that came and were used since: as many may come. `backlog` are not.
    pub fn let_go(&mut self, backlog: usize) {
        if let Some(Taking { stream, unsaid }) = &mut self.taking
            && *unsaid > backlog
        {
            self.streams.consumed(*stream, *unsaid - backlog);
            *unsaid = backlog;
        }
    }

    /// The log is kept from here on, for those to whom its beginning is being sent.
    pub fn log_needed_from(&self) -> Option<Position> {
        self.sending.values().map(|sending| sending.start).min()
    }

    fn is_taken(&self, stream: StreamId) -> bool {
        self.taking.as_ref().is_some_and(|taking| taking.stream == stream)
    }
}

impl Surround {
    /// Something has happened on a stream.
    pub(super) fn on_stream(&mut self, now: Time, event: PeerEvent, shard: &mut Shard, effects: &mut shard::Effects) {
        match event {
            PeerEvent::StreamOffered { stream, offer } => match codec::decode(&offer) {
                Ok(message) => {
                    self.snapshots.offered.push_back(stream);
                    shard.cluster_input(now, Input::SnapshotOffered { message }, effects);
                }
                Err(fault) => {
                    tracing::warn!("a stream with an offer that this version does not understand: {fault}");
                    self.snapshots.streams.refuse(stream);
                }
            },
            PeerEvent::StreamBytes { stream, bytes } => {
                if let Some(taking) = self.snapshots.taking.as_mut().filter(|taking| taking.stream == stream) {
                    taking.unsaid += bytes.len();
                    self.disk.install(&bytes);
                }
            }
            // what it ended with is seen in its bytes
            PeerEvent::StreamEnd { .. } => {}
            PeerEvent::StreamWants { stream } => self.send_more(stream, shard),
            PeerEvent::StreamInstalled { stream } => {
                if let Some(Sending { to, .. }) = self.snapshots.sending.remove(&stream) {
                    self.inputs.push_back(Input::SnapshotSent { node: to });
                }
            }
            PeerEvent::StreamBroken { stream } => {
                self.snapshots.offered.retain(|&offered| offered != stream);
                if let Some(Sending { to, .. }) = self.snapshots.sending.remove(&stream) {
                    tracing::warn!("a snapshot to server {} broke off", to.0);
                    self.inputs.push_back(Input::SnapshotFailed { node: to });
                }
                if self.snapshots.is_taken(stream) {
                    tracing::warn!("the snapshot that was being taken broke off");
                    self.snapshots.taking = None;
                    super::or_exit(self.disk.abandon_install());
                    self.inputs.push_back(Input::SnapshotLost);
                }
            }
            PeerEvent::LifelineEnded { .. } | PeerEvent::LifelineLost { .. } => unreachable!("the caller took it"),
        }
    }

    /// The receiver has room: the beginning, some items, or the end.
    fn send_more(&mut self, stream: StreamId, shard: &Shard) {
        let Some(sending) = self.snapshots.sending.get_mut(&stream) else {
            return self.snapshots.streams.break_off(stream);
        };
        let node = shard.node().expect("thread 0 has it");
        let writes = node.writes();
        let mut bytes = Vec::new();
        if !std::mem::replace(&mut sending.begun, true) {
            sending.start = node.applied().position;
            let history = node.epochs_below(sending.start);
            let cluster = node.configuration().map_or(LogId(0), |one| one.cluster);
            sending.snapshot = Some(writes.begin_snapshot(cluster, &history, &mut bytes));
        } else if let Some(mut snapshot) = sending.snapshot.take() {
            if writes.go_on_snapshot(&mut snapshot, config::STREAM_RECORD_BYTES, &mut bytes) {
                sending.snapshot = Some(snapshot);
            } else {
                writes.end_snapshot(snapshot, &mut bytes);
            }
        } else {
            return self.snapshots.streams.finish(stream);
        }
        self.snapshots.streams.push(stream, bytes);
    }

    /// Whether nothing comes of what was taken because this server cannot hold it.
    pub(super) fn is_fatal(fault: &InstallFault) -> bool {
        matches!(fault, InstallFault::Store(_))
    }
}
