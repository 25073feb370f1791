//! A client's write as bytes, as a follower sends it to the leader, and an answer as bytes, as the leader sends it back.
//! The cluster's machines pass both on and never look into them.

use crate::linear::{Op, Outcome};

/// A key of the simulation; there are only a few, so that clients meet.
pub type Key = u8;

/// The bytes of a key in the log.
pub fn key_bytes(key: Key) -> Vec<u8> {
    vec![b'k', b'a' + key]
}

/// Encodes a write.
pub fn encode(key: Key, op: &Op) -> Vec<u8> {
    let (tag, number, value): (u8, u64, &[u8]) = match op {
        Op::Get => (0, 0, b""),
        Op::Set(value) => (1, 0, value),
        Op::Add(value) => (2, 0, value),
        Op::Cas { id, value } => (3, *id, value),
        Op::Append(value) => (4, 0, value),
        Op::Incr(delta) => (5, *delta, b""),
        Op::Delete => (6, 0, b""),
    };
    let mut bytes = vec![tag, key];
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// What `encode` made.
pub fn decode(bytes: &[u8]) -> (Key, Op) {
    let number = u64::from_le_bytes(bytes[2..10].try_into().expect("eight bytes"));
    let value = bytes[10..].to_vec();
    let op = match bytes[0] {
        0 => Op::Get,
        1 => Op::Set(value),
        2 => Op::Add(value),
        3 => Op::Cas { id: number, value },
        4 => Op::Append(value),
        5 => Op::Incr(number),
        6 => Op::Delete,
        tag => panic!("a request of kind {tag}"),
    };
    (bytes[1], op)
}

/// The answers that a write which changed nothing can have.
const UNCHANGED: [Outcome; 4] = [Outcome::NotStored, Outcome::Exists, Outcome::NotFound, Outcome::NonNumeric];

/// Encodes the answer to a write that changed nothing.
pub fn encode_answer(outcome: &Outcome) -> Vec<u8> {
    let at = UNCHANGED.iter().position(|answer| answer == outcome).expect("an answer to what changed nothing");
    vec![at as u8]
}

/// What `encode_answer` made.
pub fn decode_answer(bytes: &[u8]) -> Outcome {
    UNCHANGED[usize::from(bytes[0])].clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_come_back_as_they_went() {
        let value = b"some value".to_vec();
        let ops = [
            Op::Get,
            Op::Set(value.clone()),
            Op::Add(Vec::new()),
            Op::Cas { id: u64::MAX, value: value.clone() },
            Op::Append(value),
            Op::Incr(1 << 40),
            Op::Delete,
        ];
        for op in ops {
            assert_eq!(decode(&encode(3, &op)), (3, op));
        }
        for answer in UNCHANGED {
            assert_eq!(decode_answer(&encode_answer(&answer)), answer);
        }
    }
}
