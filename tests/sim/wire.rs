//! What travels between simulated processes: messages as the bytes that the codec makes, and lifelines' ends. Whatever is
//! damaged on the way must be refused, whatever is not must be understood.

use std::rc::Rc;

use ringstore::cluster::{Message, codec};
use ringstore::log::{Incarnation, NodeId};

use crate::dice::Dice;
use crate::host::Arrival;
use crate::network::{Cargo, Packet};

/// See the module.
#[derive(Clone, Debug)]
pub enum Wire {
    Datagram(Rc<[u8]>),
    Lifeline {
        node: NodeId,
        incarnation: Incarnation,
        ended: bool,
    },
    /// Of the stream of that number.
    Stream(u64, Piece),
}

/// A part of a stream that carries a snapshot, or of what its receiver says.
#[derive(Clone, Debug)]
pub enum Piece {
    /// To a server of this name: the first, as the codec makes it.
    Offer(Rc<[u8]>),
    /// Some of the keystore.
    Bytes(Rc<[u8]>),
    /// The rest of the keystore.
    End(Rc<[u8]>),
    /// From the receiver: more, please.
    Next,
    /// From the receiver: it is on the disk.
    Installed,
    /// From either: it has ended early.
    Broken,
}

/// A message as it travels.
pub fn datagram(message: &Message, scratch: &mut Vec<u8>) -> Wire {
    scratch.clear();
    codec::encode(message, scratch);
    Wire::Datagram(Rc::from(scratch.as_slice()))
}

/// What has arrived; nothing when it is damaged and refused.
pub fn receive(packet: Packet<Wire>) -> Option<Arrival> {
    let bytes = match packet.message {
        Wire::Lifeline { node, incarnation, ended } => return Some(Arrival::Lifeline { node, incarnation, ended }),
        Wire::Stream(stream, piece) => return Some(Arrival::Stream(packet.from, stream, piece)),
        Wire::Datagram(bytes) => bytes,
    };
    match codec::decode(&bytes) {
        Ok(message) => {
            assert!(!packet.damaged, "a damaged datagram is taken for {message:?}");
            Some(Arrival::Message(message))
        }
        Err(fault) => {
            assert!(packet.damaged, "place {} does not understand place {}: {fault}", packet.to, packet.from);
            None
        }
    }
}

impl Cargo for Wire {
    fn damaged(&self, dice: &mut Dice) -> Option<Self> {
        let Self::Datagram(bytes) = self else { return None };
        let mut bytes = bytes.to_vec();
        let at = dice.below(bytes.len());
        match dice.below(4) {
            0 => bytes.truncate(at),
            1 => bytes.push(dice.below(256) as u8),
            // up to four bytes in a row, the first of them surely
            2 => {
                let end = bytes.len().min(at + 1 + dice.below(4));
                bytes[at] ^= dice.between(1, 255) as u8;
                bytes[at + 1..end].iter_mut().for_each(|byte| *byte ^= dice.below(256) as u8);
            }
            _ => bytes[at] ^= 1 << dice.below(8),
        }
        Some(Self::Datagram(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use ringstore::cluster::{Body, Header};
    use ringstore::log::{Epoch, LogId};

    use super::*;
    use crate::dice::seeds;
    use crate::network::Way;

    fn message() -> Message {
        let header = Header {
            cluster: LogId(7),
            epoch: Epoch(3),
            source: NodeId(1),
            source_incarnation: Incarnation(2),
            destination: NodeId(2),
            destination_incarnation: Incarnation(1),
        };
        Message { header, body: Body::Leaving }
    }

    fn packet(message: Wire, damaged: bool) -> Packet<Wire> {
        Packet { from: 1, to: 2, way: Way::Datagram, message, damaged }
    }

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let sent = datagram(&message(), &mut Vec::new());
        let Some(Arrival::Message(received)) = receive(packet(sent, false)) else { panic!("a message") };
        assert_eq!(received, message());
    }

    #[test]
    fn whatever_is_damaged_is_refused() {
        let sent = datagram(&message(), &mut Vec::new());
        for seed in seeds(0..2000) {
            let damaged = sent.damaged(&mut Dice::new(seed)).expect("bytes travel");
            assert!(receive(packet(damaged, true)).is_none(), "RINGSTORE_SEED={seed}");
        }
    }
}
