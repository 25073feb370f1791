//! What goes over a stream that carries a snapshot: greetings at its beginning, then sealed records in order. Owns the stream's keys
//! and the count of its records; never touches a socket and knows nothing of what is in a record.
//!
//! ```text
//! opener   --greeting: magic, version, sealed, salt-->   acceptor
//!          <--answer: salt---------------------------
//!          --offer, bytes ..., end------------------>
//!          <--taken or refused, ..., installed-------
//! ```
//!
//! Both ends draw a salt and both salts are in the keys, so that no record of another stream, or of this one at another place or in
//! the other direction, is taken for one of this.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::AeadInOut;

use super::key::{self, ClusterKey};
use crate::config;
use crate::lifeline::Hello;
use crate::log::layout::Field;

/// The version of streams that this code speaks.
pub const VERSION: u8 = 1;
/// The first bytes of a stream, by which it is told from a lifeline, whose watcher says nothing.
pub const MAGIC_BYTES: [u8; 8] = *b"ringstrm";

/// See its text.
pub const MAGIC: Field = Field::first("magic", 8, "the text `ringstrm`");
/// See its text.
pub const FORMAT: Field = MAGIC.then("version", 1, "of the format: 1");
/// See its text.
pub const SEALED: Field = FORMAT.then("sealed", 1, "1 with a cluster key; 0 without one, on loopback only");
/// See its text.
pub const SALT: Field = SEALED.then("salt", 16, "drawn by who opens the stream");
/// All of them in order.
pub const FIELDS: [Field; 4] = [MAGIC, FORMAT, SEALED, SALT];
/// Bytes of a greeting.
pub const GREETING_BYTES: usize = SALT.end();
/// Bytes of its answer: a salt.
pub const ANSWER_BYTES: usize = 16;

/// Bytes of a record before what is sealed: how many follow.
pub const LENGTH_BYTES: usize = 4;
/// AES-256-GCM's tag, or CRC32C.
const TAG_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 4;

/// The first bytes of who opens a stream.
#[must_use]
pub fn greeting(sealed: bool, salt: u128) -> [u8; GREETING_BYTES] {
    let mut bytes = [0; GREETING_BYTES];
    bytes[..MAGIC.end()].copy_from_slice(&MAGIC_BYTES);
    (bytes[FORMAT.at], bytes[SEALED.at]) = (VERSION, u8::from(sealed));
    bytes[SALT.at..].copy_from_slice(&salt.to_le_bytes());
    bytes
}

/// Whether a greeting says that the stream is sealed, and its salt; nothing when it is none of ours.
#[must_use]
pub fn read_greeting(bytes: &[u8; GREETING_BYTES]) -> Option<(bool, u128)> {
    let known = bytes.starts_with(&MAGIC_BYTES) && bytes[FORMAT.at] == VERSION && bytes[SEALED.at] <= 1;
    let salt = u128::from_le_bytes(bytes[SALT.at..].try_into().expect("sixteen bytes"));
    known.then_some((bytes[SEALED.at] == 1, salt))
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The first of who opens: an encoded message.
    Offer = 1,
    /// A part of the data.
    Bytes = 2,
    /// That was all of the data.
    End = 3,
    /// The first of who accepts: go on.
    Taken = 4,
    /// Or: do not.
    Refused = 5,
    /// Either: still there.
    Waits = 6,
    /// The last of who accepts: the data is installed.
    Installed = 7,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Offer, Self::Bytes, Self::End, Self::Taken, Self::Refused, Self::Waits, Self::Installed];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u8 == byte)
    }
}

/// A record that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// One direction of a stream.
pub struct Records {
    cipher: Option<Box<Aes256Gcm>>,
    /// Of the next record; the nonce of its seal.
    number: u64,
}

impl Records {
    /// Both directions of a stream to the server that said `hello`: of who opens it, of who accepts it.
    #[must_use]
    pub fn pair(key: Option<&ClusterKey>, hello: Hello, opener: u128, acceptor: u128) -> (Self, Self) {
        let direction = |which: u8| {
            let cipher = key.map(|key| {
                let mut info = b"ringstore streams 1".to_vec();
                info.push(which);
                info.extend_from_slice(&opener.to_le_bytes());
                info.extend_from_slice(&acceptor.to_le_bytes());
                info.extend_from_slice(&hello.node.0.to_le_bytes());
                info.extend_from_slice(&hello.incarnation.0.to_le_bytes());
                Box::new(key.cipher(&info))
            });
            Self { cipher, number: 1 }
        };
        (direction(0), direction(1))
    }

    const fn guard_bytes(&self) -> usize {
        if self.cipher.is_some() { TAG_BYTES } else { CHECKSUM_BYTES }
    }

    /// Appends the next record to `out`; `bytes` are at most `config::STREAM_RECORD_BYTES`.
    pub fn seal(&mut self, kind: Kind, bytes: &[u8], out: &mut Vec<u8>) {
        assert!(bytes.len() <= config::STREAM_RECORD_BYTES, "the caller cuts");
        let start = out.len();
        let length = 1 + bytes.len() + self.guard_bytes();
        out.extend_from_slice(&(length as u32).to_le_bytes());
        out.push(kind as u8);
        out.extend_from_slice(bytes);
        match &self.cipher {
            None => out.extend_from_slice(&checksum(self.number, &out[start..]).to_le_bytes()),
            Some(cipher) => {
                let (length, payload) = out[start..].split_at_mut(LENGTH_BYTES);
                let tag = cipher.encrypt_inout_detached(&key::nonce(self.number), length, payload.into());
                out.extend_from_slice(&tag.expect("a record is short"));
            }
        }
        self.number += 1;
    }

    /// How many bytes follow these, if it is as many as a record with `most` bytes in it has at most.
    ///
    /// # Errors
    /// When no such record begins so.
    pub fn length(&self, bytes: [u8; LENGTH_BYTES], most: usize) -> Result<usize, Damaged> {
        let length = u32::from_le_bytes(bytes) as usize;
        let least = 1 + self.guard_bytes();
        if (least..=least + most).contains(&length) { Ok(length) } else { Err(Damaged) }
    }

    /// What is in the next record, all of whose bytes these are.
    ///
    /// # Errors
    /// When it is not what the other end made at this place.
    pub fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<(Kind, &'a [u8]), Damaged> {
        let end = record.len().checked_sub(self.guard_bytes()).filter(|&end| end > LENGTH_BYTES).ok_or(Damaged)?;
        let (body, guard) = record.split_at_mut(end);
        match &self.cipher {
            None if checksum(self.number, body).to_le_bytes() == *guard => {}
            None => return Err(Damaged),
            Some(cipher) => {
                let (length, payload) = body.split_at_mut(LENGTH_BYTES);
                let tag = (&*guard).try_into().map_err(|_| Damaged)?;
                let opened = cipher.decrypt_inout_detached(&key::nonce(self.number), length, payload.into(), &tag);
                opened.map_err(|_| Damaged)?;
            }
        }
        self.number += 1;
        let kind = Kind::of(body[LENGTH_BYTES]).ok_or(Damaged)?;
        Ok((kind, &body[LENGTH_BYTES + 1..]))
    }
}

/// Of a record in its place.
fn checksum(number: u64, record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Incarnation, NodeId};

    const HELLO: Hello = Hello { node: NodeId(4), incarnation: Incarnation(2) };

    fn sealed(records: &mut Records, kind: Kind, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        records.seal(kind, bytes, &mut out);
        let length: [u8; 4] = out[..LENGTH_BYTES].try_into().expect("four bytes");
        assert_eq!(records.length(length, bytes.len()), Ok(out.len() - LENGTH_BYTES));
        assert_eq!(records.length(length, bytes.len().wrapping_sub(1)), Err(Damaged), "it is longer than that");
        out
    }

    #[test]
    fn a_record_is_taken_once_at_its_place_and_in_its_direction() {
        let key = ClusterKey::from_file(&[3; ClusterKey::BYTES]).expect("32 bytes");
        for key in [None, Some(&key)] {
            let (mut forth, _) = Records::pair(key, HELLO, 1, 2);
            let first = sealed(&mut forth, Kind::Offer, b"offer");
            let second = sealed(&mut forth, Kind::Bytes, b"items and more of them");
            let open = |records: &mut Records, record: &[u8]| {
                let mut record = record.to_vec();
                records.open(&mut record).map(|(kind, bytes)| (kind, bytes.to_vec()))
            };
            let (mut here, mut back) = Records::pair(key, HELLO, 1, 2);
            assert_eq!(open(&mut here, &second), Err(Damaged), "it is not the first");
            assert_eq!(open(&mut here, &first), Ok((Kind::Offer, b"offer".to_vec())));
            assert_eq!(open(&mut here, &first), Err(Damaged), "a replay");
            for at in 0..second.len() {
                let mut damaged = second.clone();
                damaged[at] ^= 1 << (at % 8);
                assert_eq!(open(&mut here, &damaged), Err(Damaged), "byte {at}");
                assert_eq!(open(&mut here, &second[..at]), Err(Damaged), "{at} bytes of it");
            }
            assert_eq!(open(&mut here, &second), Ok((Kind::Bytes, b"items and more of them".to_vec())));
            if key.is_some() {
                assert_eq!(open(&mut back, &first), Err(Damaged), "of the other direction");
                let (mut other, _) = Records::pair(key, HELLO, 1, 3);
                assert_eq!(open(&mut other, &first), Err(Damaged), "of another stream");
                assert!(!second.windows(5).any(|bytes| bytes == b"items"), "nobody can read it");
            }
        }
    }

    #[test]
    fn greetings_are_as_format_md_says() {
        let bytes = greeting(true, 7);
        assert_eq!(read_greeting(&bytes), Some((true, 7)));
        for at in 0..SALT.at {
            let mut other = bytes;
            other[at] ^= 2;
            assert_eq!(read_greeting(&other), None, "byte {at}");
        }
        let mut table = String::from("| byte | bytes | field | holds |\n|---|---|---|---|\n");
        for field in FIELDS {
            table += &format!("| {} | {} | `{}` | {} |\n", field.at, field.bytes, field.name, field.meaning);
        }
        let page = include_str!("../../FORMAT.md");
        assert!(page.contains(&table), "FORMAT.md lacks this table:\n{table}");
    }
}
