//! Messages on their way out: small ones that go once, and those that are cut into pieces and stay until every piece is
//! acked. Bounded: whoever sends more than a peer takes is told so, and when a peer acks nothing for long all is given up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use super::chunk::Place;
use super::ranges::Ranges;
use crate::config;
use crate::time::Time;

/// Some bytes of a message as they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub message: u64,
    pub offset: u32,
    pub bytes: u32,
}

impl Piece {
    const fn range(self) -> Range<u64> {
        self.offset as u64..self.offset as u64 + self.bytes as u64
    }
}

#[derive(Debug)]
struct Message {
    bytes: Vec<u8>,
    /// To be sent, or sent again.
    unsent: Ranges,
    acked: Ranges,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Outgoing {
    once: VecDeque<Vec<u8>>,
    repaired: BTreeMap<u64, Message>,
    /// Those of them that have something to send.
    ready: BTreeSet<u64>,
    last: u64,
    bytes: usize,
    /// When the peer last acked something, or had nothing to ack.
    progress: Time,
    /// The last of the repaired ones came or was given up, or one was not taken, since that was asked.
    settled: bool,
    /// Memory of messages that have left, for coming ones.
    spare: Vec<Vec<u8>>,
}

impl Outgoing {
    /// Whether a message of so many bytes would go over the bound.
    pub const fn is_full(&self, bytes: usize) -> bool {
        self.bytes + bytes > config::OUTGOING_BYTES_MAX
    }

    /// A message was not taken.
    pub const fn on_refused(&mut self) {
        self.settled = true;
    }

    /// Whether no repaired message is under way any more, when some were since this was last asked.
    pub fn take_settled(&mut self) -> bool {
        std::mem::take(&mut self.settled) && self.repaired.is_empty()
    }

    /// Empty memory for a message.
    pub fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes back the memory of a message that has left.
    pub fn keep_buffer(&mut self, mut buffer: Vec<u8>) {
        let useful = (1..=config::MESSAGE_BUFFER_BYTES_KEPT).contains(&buffer.capacity());
        if useful && self.spare.len() < config::MESSAGE_BUFFERS_KEPT {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    pub fn push_once(&mut self, message: Vec<u8>) {
        self.bytes += message.len();
        self.once.push_back(message);
    }

    pub fn push_repaired(&mut self, now: Time, message: Vec<u8>) {
        assert!((1..=config::MESSAGE_BYTES_MAX).contains(&message.len()), "messages are bounded and never empty");
        self.bytes += message.len();
        self.last += 1;
        if self.repaired.is_empty() {
            self.progress = now;
        }
        let mut unsent = Ranges::default();
        unsent.insert(0..message.len() as u64);
        self.ready.insert(self.last);
        self.repaired.insert(self.last, Message { bytes: message, unsent, acked: Ranges::default() });
    }

    /// The next message to go once, if it has at most so many bytes.
    pub fn next_once(&mut self, room: usize) -> Option<Vec<u8>> {
        let message = self.once.pop_front_if(|message| message.len() <= room)?;
        self.bytes -= message.len();
        Some(message)
    }

    pub fn has_once(&self) -> bool {
        !self.once.is_empty()
    }

    /// The oldest piece to send, of at most so many bytes.
    pub fn next_piece(&mut self, room: usize) -> Option<(Place, Piece, &[u8])> {
        let &message = self.ready.first()?;
        let from = self.repaired.get_mut(&message).expect("what is ready is there");
        let range = from.unsent.take_first(room as u64)?;
        if from.unsent.is_empty() {
            self.ready.remove(&message);
        }
        let place = Place { message, total: from.bytes.len() as u32, offset: range.start as u32 };
        let piece = Piece { message, offset: place.offset, bytes: (range.end - range.start) as u32 };
        Some((place, piece, &from.bytes[range.start as usize..range.end as usize]))
    }

    pub fn has_piece(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The piece has arrived.
    pub fn on_acked(&mut self, now: Time, piece: Piece) {
        self.progress = now;
        let Some(message) = self.repaired.get_mut(&piece.message) else { return };
        message.acked.insert(piece.range());
        // it may have been thought lost
        message.unsent.remove(piece.range());
        if message.unsent.is_empty() {
            self.ready.remove(&piece.message);
        }
        if message.acked.is_all_below(message.bytes.len() as u64) {
            self.bytes -= message.bytes.len();
            let whole = self.repaired.remove(&piece.message).expect("it was there");
            self.keep_buffer(whole.bytes);
            self.settled |= self.repaired.is_empty();
        }
    }

    /// The piece is lost: sends it again, but for what has come another way. The bytes of it.
    pub fn on_lost(&mut self, piece: Piece) -> u64 {
        let Some(message) = self.repaired.get_mut(&piece.message) else { return 0 };
        let before = message.unsent.count();
        message.unsent.insert(piece.range());
        for acked in message.acked.iter() {
            message.unsent.remove(acked.clone());
        }
        if !message.unsent.is_empty() {
            self.ready.insert(piece.message);
        }
        message.unsent.count() - before
    }

    /// Gives up all messages when the peer has acked nothing for long; how many.
    pub fn expire(&mut self, now: Time) -> u64 {
        let messages = self.repaired.len() as u64;
        if messages == 0 || now.since(self.progress) < config::MESSAGE_LIFETIME {
            return 0;
        }
        self.forget_repaired();
        messages
    }

    /// The peer has lost what it had of them, or is lost.
    pub fn forget_repaired(&mut self) {
        self.bytes = self.once.iter().map(Vec::len).sum();
        self.settled |= !self.repaired.is_empty();
        self.repaired.clear();
        self.ready.clear();
    }

    pub fn check_invariants(&self) {
        let once: usize = self.once.iter().map(Vec::len).sum();
        let repaired: usize = self.repaired.values().map(|message| message.bytes.len()).sum();
        assert!(self.bytes == once + repaired, "bytes are counted");
        let ready = self.repaired.iter().filter(|(_, message)| !message.unsent.is_empty()).map(|(number, _)| number);
        assert!(self.ready.iter().eq(ready), "ready is what has something to send");
    }
}
