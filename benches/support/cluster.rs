//! A leader and two followers in memory. Their disks are as fast as a function call, so that what is measured is what the
//! machines cost, and if asked for the codec on both ends.

use std::collections::VecDeque;
use std::hint::black_box;

use ringstore::cluster::codec::{decode, encode};
use ringstore::cluster::configuration::{Epoch, LogId, LogIndex, NodeId, Position};
use ringstore::cluster::{Boot, Configuration, Effect, Input, Mark, Member, Message, NodeRecord, Replica};
use ringstore::log::{Entry, FrameBuilder, FrameStart, Incarnation};
use ringstore::time::{Duration, Expiry, Time};

const SERVERS: u64 = 3;

/// Three servers in one epoch, the first leads.
pub struct Cluster {
    now: Time,
    replicas: Vec<Replica>,
    inputs: VecDeque<(usize, Input)>,
    effects: Vec<Effect>,
    builder: FrameBuilder,
    epoch: Epoch,
    end: Mark,
    committed: [LogIndex; SERVERS as usize],
    /// Messages are encoded and decoded on their way.
    codec: bool,
    wire: Vec<u8>,
}

impl Cluster {
    /// Started and serving.
    pub fn new(codec: bool) -> Self {
        let member = |node| Member { node: NodeId(node), contact: String::new() };
        let configuration = Configuration {
            cluster: LogId(1),
            epoch: Epoch(1),
            leader: NodeId(1),
            leader_incarnation: Incarnation(1),
            members: (1..=SERVERS).map(member).collect(),
            min_insync: 2,
            forced: Epoch(0),
        };
        let mut cluster = Self {
            now: Time(1_000_000_000),
            replicas: Vec::new(),
            inputs: VecDeque::new(),
            effects: Vec::new(),
            builder: FrameBuilder::new(),
            epoch: Epoch(0),
            end: Mark::default(),
            committed: [LogIndex(0); SERVERS as usize],
            codec,
            wire: Vec::new(),
        };
        for node in 1..=SERVERS {
            let mut record = NodeRecord::new(NodeId(node));
            record.configuration = Some(configuration.clone());
            let boot = Boot::empty(record, String::new());
            cluster.replicas.push(Replica::start(cluster.now, boot, &mut Vec::new()));
        }
        for at in (0..SERVERS as usize).rev() {
            cluster.inputs.push_back((at, Input::RecordPersisted { epoch: Epoch(1) }));
        }
        cluster.settle();
        assert!(cluster.replicas[0].is_serving(), "the first leads");
        cluster
    }

    /// Until nothing is left to do.
    fn settle(&mut self) {
        while let Some((at, input)) = self.inputs.pop_front() {
            self.replicas[at].step(self.now, input, &mut self.effects);
            for effect in self.effects.drain(..) {
                match effect {
                    Effect::Send { message } if message.header.destination.0 > 0 => {
                        let to = message.header.destination.0 as usize - 1;
                        let message = if self.codec { carried(&message, &mut self.wire) } else { message };
                        self.inputs.push_back((to, Input::Received { message }));
                    }
                    Effect::Append { frame, cut } => {
                        self.inputs.push_back((at, Input::Persisted { upto: frame.end(), cut }));
                    }
                    Effect::Commit { upto } => self.committed[at] = upto.index,
                    Effect::BecameLeader { epoch, end, .. } => (self.epoch, self.end) = (epoch, end),
                    _ => {}
                }
            }
        }
    }

    /// So many entries in one frame, until all three have committed them.
    pub fn write(&mut self, entries: u64) {
        self.now = self.now.after(Duration(1000));
        self.builder.begin(FrameStart {
            epoch: self.epoch,
            first_index: LogIndex(self.end.index.0 + 1),
            position: self.end.position,
            durable_upto: Position(0),
            time: self.now,
        });
        for _ in 0..entries {
            let (key, value) = (black_box(b"key:12345678"), black_box(b"a value of thirty-two bytes here"));
            let entry = Entry::Put { key, value, flags: 0, expiry: Expiry::NEVER, cas: None, bits: 0 };
            self.end.index = self.builder.push(&entry);
        }
        let bytes = self.builder.take();
        self.end.position.0 += bytes.len() as u64;
        self.inputs.push_back((0, Input::FrameBuilt { bytes }));
        self.settle();
        assert!(self.committed.iter().all(|&committed| committed == self.end.index), "all have it");
        for replica in &mut self.replicas {
            while let Some(buffer) = replica.spare_buffer() {
                self.builder.reuse(buffer);
            }
        }
    }
}

/// A message as it comes out at the other end.
fn carried(message: &Message, wire: &mut Vec<u8>) -> Message {
    wire.clear();
    encode(message, wire);
    decode(wire).expect("what is said is heard")
}
