//! The header of a datagram: who sent it and which of its datagrams it is. It is not secret, but nobody can change it: the seal
//! covers it.

use crate::log::layout::Field;
use crate::log::{Incarnation, NodeId};

/// The version of datagrams that this code sends and takes.
pub const VERSION: u8 = 1;
/// The first two bytes of a datagram.
pub const MAGIC_BYTES: [u8; 2] = [0xF5, 0x9B];

/// See its text.
pub const MAGIC: Field = Field::first("magic", 2, "F5 9B");
/// See its text.
pub const FORMAT: Field = MAGIC.then("version", 1, "of the format: 1");
/// See its text.
pub const SEALED: Field = FORMAT.then("sealed", 1, "1 with a cluster key; 0 without one, on loopback only");
/// See its text.
pub const SOURCE: Field = SEALED.then("source", 8, "the sender; 0 is the coordinator");
/// See its text.
pub const INCARNATION: Field = SOURCE.then("incarnation", 8, "how often the sender was started");
/// See its text.
pub const SALT: Field = INCARNATION.then("salt", 8, "drawn when the sender started: no two starts share keys");
/// See its text.
pub const NUMBER: Field =
    SALT.then("number", 8, "of the datagram, from 1, counted for each receiver; the nonce of its seal");
/// All of them in order.
pub const FIELDS: [Field; 7] = [MAGIC, FORMAT, SEALED, SOURCE, INCARNATION, SALT, NUMBER];
/// Bytes of the header.
pub const HEADER_BYTES: usize = NUMBER.end();
/// Bytes of a seal behind the payload: AES-256-GCM's tag.
pub const SEAL_BYTES: usize = 16;
/// Bytes of the checksum that stands there without a key: CRC32C of all before it.
pub const CHECKSUM_BYTES: usize = 4;

/// A start of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// How often it was started.
    pub incarnation: Incarnation,
    /// Random.
    pub salt: u64,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether a key was used.
    pub sealed: bool,
    /// The sender.
    pub source: NodeId,
    /// Its start.
    pub session: Session,
    /// Of the datagram.
    pub number: u64,
}

impl Header {
    /// Its bytes, at the end of `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC_BYTES);
        out.extend_from_slice(&[VERSION, u8::from(self.sealed)]);
        for field in [self.source.0, self.session.incarnation.0, self.session.salt, self.number] {
            out.extend_from_slice(&field.to_le_bytes());
        }
    }

    /// What stands at the beginning of a datagram, if it is a header of ours.
    #[must_use]
    pub fn decode(datagram: &[u8]) -> Option<Self> {
        let header = datagram.get(..HEADER_BYTES)?;
        let known = header.starts_with(&MAGIC_BYTES) && header[FORMAT.at] == VERSION && header[SEALED.at] <= 1;
        let word = |field: Field| u64::from_le_bytes(header[field.at..field.end()].try_into().expect("eight bytes"));
        let session = Session { incarnation: Incarnation(word(INCARNATION)), salt: word(SALT) };
        let sealed = header[SEALED.at] == 1;
        let header = Self { sealed, source: NodeId(word(SOURCE)), session, number: word(NUMBER) };
        (known && header.number != 0).then_some(header)
    }
}
