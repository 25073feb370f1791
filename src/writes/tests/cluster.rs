//! A few replicas' data planes without machines: the test decides who leads, what arrives and what is committed.

use std::collections::BTreeMap;

use super::Rng;
use crate::cluster::{Digest, Frame, Mark};
use crate::config::{SEGMENT_BYTES, ServerConfig};
use crate::conn::ConnId;
use crate::log::{Entry, Epoch, FrameBuilder, FrameStart, Incarnation, LogIndex, NodeId, Position};
use crate::proto::{Direction, Reply, StoreVerb};
use crate::stats::{Counters, Shared};
use crate::store::{Reader, Region, StoreConfig, Walk, create};
use crate::time::{Expiry, Time};
use crate::writes::{Answer, Origin, OwnedWrite, Placed, Write, Writes};

pub const NOW: Time = Time(1_700_000_000_000_000_000);

/// Everything in a store.
pub type Items = BTreeMap<Vec<u8>, (Vec<u8>, u32, Expiry, u64)>;

/// Clients' operations, by number: the write, and the answer once it is there.
pub type Asked = BTreeMap<u32, Option<Reply>>;

pub const fn origin(op: u32) -> Origin {
    Origin { shard: 0, conn: ConnId(op), generation: 0, noreply: false, bytes: 0, number: 0 }
}

/// A write path over an empty store, and a reader.
pub fn writes(segments: u64, hash_seed: u64) -> (Writes, Reader) {
    let (writer, mut readers) = create(StoreConfig {
        memory_bytes: segments * SEGMENT_BYTES as u64,
        address_bytes: segments * SEGMENT_BYTES as u64,
        evict: false,
        item_bytes_max: 1 << 20,
        hash_seed,
        readers: 1,
        region: &mut Region::heap,
    })
    .expect("the heap has room");
    (Writes::new(writer, true), readers.pop().expect("one was asked for"))
}

pub fn items(writes: &Writes) -> Items {
    let mut items = Items::new();
    let (mut walk, mut more) = (Walk::default(), true);
    while more {
        more = writes.store().walk(&mut walk, usize::MAX, |item| {
            items.insert(item.key.to_vec(), (item.value.to_vec(), item.flags, item.expiry, item.cas));
        });
    }
    items
}

pub fn text(reply: &Reply) -> String {
    let mut text = Vec::new();
    reply.encode(&mut text);
    String::from_utf8(text).expect("the answers here are text")
}

/// The committed log, applied to a map by the naive reading of it.
#[derive(Default)]
pub struct Naive {
    pub items: Items,
    pub flush_at: bool,
}

impl Naive {
    pub fn apply(&mut self, frame: &Frame) {
        for entry in frame.view().entries() {
            let (index, entry) = entry.expect("a whole entry");
            match entry {
                Entry::Put { key, value, flags, expiry, cas, .. } => {
                    self.items.insert(key.to_vec(), (value.to_vec(), flags, expiry, cas.unwrap_or(index.0)));
                }
                Entry::Delete { key, .. } => drop(self.items.remove(key)),
                Entry::Touch { key, expiry } => {
                    self.items.entry(key.to_vec()).and_modify(|item| item.2 = expiry);
                }
                Entry::Flush => (self.items, self.flush_at) = (Items::new(), false),
                Entry::FlushAt { .. } => self.flush_at = true,
                Entry::NoOp => {}
            }
        }
    }
}

/// A write of any kind.
pub fn draw(rng: &mut Rng) -> OwnedWrite {
    let key = format!("key-{}", rng.below(12));
    let key = key.as_bytes();
    let (number, text) = (rng.below(1000).to_string(), vec![b'x'; rng.below(40) as usize]);
    let value = if rng.one_in(2) { number.as_bytes() } else { text.as_slice() };
    let exptime = [0, 0, 100, 3000, -1][rng.below(5) as usize];
    let write = match rng.below(40) {
        0..14 => Write::Store { verb: StoreVerb::Set, key, flags: rng.below(3) as u32, exptime, cas: 0, value },
        14..16 => Write::Store { verb: StoreVerb::Add, key, flags: 1, exptime, cas: 0, value },
        16..18 => Write::Store { verb: StoreVerb::Replace, key, flags: 2, exptime, cas: 0, value },
        18 => Write::Store { verb: StoreVerb::Append, key, flags: 0, exptime: 0, cas: 0, value },
        19 => Write::Store { verb: StoreVerb::Prepend, key, flags: 0, exptime: 0, cas: 0, value },
        20..22 => Write::Store { verb: StoreVerb::Cas, key, flags: 0, exptime, cas: rng.below(60), value },
        22 => Write::TooLarge { verb: StoreVerb::Set, key },
        23..26 => Write::Delete { key },
        26..30 => Write::Arithmetic { direction: Direction::Increment, key, delta: rng.below(10) },
        30..32 => Write::Arithmetic { direction: Direction::Decrement, key, delta: rng.below(2000) },
        32..35 => Write::Touch { key, exptime },
        35..39 => Write::GetAndTouch { key, exptime, with_cas: rng.one_in(2), last: rng.one_in(2) },
        _ if rng.one_in(3) => Write::FlushAll { delay: [0, 0, 50][rng.below(3) as usize] },
        _ => Write::Delete { key },
    };
    OwnedWrite::new(origin(0), &write)
}

/// A replica.
pub struct Node {
    pub number: u64,
    pub writes: Writes,
    pub reader: Reader,
    /// Its log.
    pub log: Vec<Frame>,
    numbers: u64,
    shared: Shared,
    counters: Counters,
}

impl Node {
    pub fn new(number: u64) -> Self {
        let (mut writes, reader) = writes(4, number);
        writes.join(NodeId(number), Incarnation(1));
        let shared = Shared::new(ServerConfig::default(), 1, NOW);
        Self { number, writes, reader, log: Vec::new(), numbers: 0, shared, counters: Counters::default() }
    }

    pub fn end(&self) -> Mark {
        self.log.last().map_or_else(Mark::default, Frame::mark)
    }

    pub fn append(&mut self, frame: &Frame, locks: bool) {
        assert!(frame.position() == self.end().position);
        self.writes.on_append(frame);
        if locks {
            self.writes.lock_keys(frame);
        }
        self.log.push(frame.clone());
    }

    /// Takes the lead with a no-op.
    pub fn lead(&mut self, epoch: u64) {
        let (end, mut builder) = (self.end(), FrameBuilder::new());
        let (epoch, first_index, position) = (Epoch(epoch), LogIndex(end.index.0 + 1), end.position);
        builder.begin(FrameStart { epoch, first_index, position, durable_upto: Position(0), time: NOW });
        builder.push(&Entry::NoOp);
        self.append(&Frame::built(builder.take()), false);
        self.writes.lead(epoch, self.end(), NOW);
    }

    /// Ends the turn: its frames join the log.
    pub fn end_turn(&mut self) {
        let mut frames = Vec::new();
        self.writes.end_turn(&mut frames);
        for frame in frames {
            self.append(&Frame::built(frame.bytes), false);
        }
    }

    /// Commits up to there.
    pub fn commit(&mut self, upto: Mark, asked: &mut Asked) -> Option<Digest> {
        let mut answers = Vec::new();
        let digest = self.writes.commit(upto, &mut answers).expect("room");
        note(asked, &answers);
        self.writes.check_invariants();
        digest
    }

    /// A client of this server, which leads, asks; what changes nothing goes the long way.
    pub fn ask_here(&mut self, now: Time, op: u32, write: &Write<'_>, asked: &mut Asked) {
        asked.insert(op, None);
        match self.writes.place(now, write, origin(op), &self.shared, &mut self.counters) {
            Placed::Prepared => {}
            Placed::Answered(reply) => drop(asked.insert(op, Some(reply))),
            Placed::Unchanged => {
                let (number, request) = self.forward(op, write);
                if let Some(reply) = self.evaluate(now, self.number, number, request) {
                    self.answered(number, reply, asked);
                }
            }
        }
    }

    /// A client of this server asks: number and bytes of the write for the leader.
    pub fn forward(&mut self, op: u32, write: &Write<'_>) -> (u64, Vec<u8>) {
        let request = self.writes.forward(write, origin(op));
        self.numbers += 1;
        self.writes.forward_taken(self.numbers);
        (self.numbers, request)
    }

    /// At the leader: a write that came through `node`.
    pub fn evaluate(&mut self, now: Time, node: u64, number: u64, request: Vec<u8>) -> Option<Vec<u8>> {
        let origin = crate::log::Origin { node: NodeId(node), incarnation: Incarnation(1), number };
        self.writes.evaluate_forwarded(now, origin, request, &self.shared, &mut self.counters)
    }

    /// The leader's answer to what changed nothing.
    pub fn answered(&mut self, number: u64, reply: Vec<u8>, asked: &mut Asked) {
        let mut answers = Vec::new();
        self.writes.forward_answered(number, reply, &mut answers);
        note(asked, &answers);
    }

    /// What waited is evaluated.
    pub fn evaluate_held(&mut self, now: Time) -> Vec<(crate::log::Origin, Vec<u8>)> {
        let mut answers = Vec::new();
        self.writes.evaluate_held(now, &self.shared, &mut self.counters, |origin, reply| answers.push((origin, reply)));
        answers
    }
}

pub fn note(asked: &mut Asked, answers: &[Answer]) {
    for answer in answers {
        let before = asked.insert(answer.origin.conn.0, Some(answer.reply.clone()));
        assert!(matches!(before, Some(None)), "an answer nobody waits for, or a second one: {answer:?}");
    }
}
