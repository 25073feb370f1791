//! The cluster key and what is made of it: each start of each sender has a key of its own for each receiver, so that the
//! numbers of its datagrams can be nonces (HKDF, RFC 5869, with SHA-256; AES-256-GCM, NIST SP 800-38D).

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use hkdf::Hkdf;
use sha2::Sha256;

use super::packet::{CHECKSUM_BYTES, HEADER_BYTES, SEAL_BYTES, Session};
use crate::log::NodeId;

/// What all servers and the coordinator of a cluster know and nobody else does.
#[derive(Clone)]
pub struct ClusterKey([u8; Self::BYTES]);

impl std::fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterKey")
    }
}

impl ClusterKey {
    /// Bytes of a key.
    pub const BYTES: usize = 32;

    /// From the bytes of a key file: 32 bytes, or 64 hexadecimal digits on a line.
    #[must_use]
    pub fn from_file(bytes: &[u8]) -> Option<Self> {
        if let Ok(raw) = <[u8; Self::BYTES]>::try_from(bytes) {
            return Some(Self(raw));
        }
        let digits = std::str::from_utf8(bytes).ok()?.trim_ascii();
        let mut key = [0; Self::BYTES];
        if digits.len() != 2 * Self::BYTES {
            return None;
        }
        for (byte, pair) in key.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(key))
    }

    /// The key of one start of `source` for `destination`.
    fn derive(&self, source: NodeId, session: Session, destination: NodeId) -> Aes256Gcm {
        let mut info = b"ringstore datagrams 1".to_vec();
        for word in [source.0, session.incarnation.0, session.salt, destination.0] {
            info.extend_from_slice(&word.to_le_bytes());
        }
        self.cipher(&info)
    }

    /// With a key for what `info` says, which says it of nothing else.
    pub(super) fn cipher(&self, info: &[u8]) -> Aes256Gcm {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(None, &self.0).expand(info, &mut key).expect("32 bytes are few");
        Aes256Gcm::new(&key.into())
    }
}

/// Of what has this number under its key.
pub(super) fn nonce(number: u64) -> Nonce<aes_gcm::aead::array::sizes::U12> {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    nonce.into()
}

/// What protects the datagrams of one sender's start on their way to one receiver.
pub enum Guard {
    /// A checksum: on loopback nobody forges and memory still errs.
    Checksum,
    /// See the module.
    Seal(Box<Aes256Gcm>),
}

impl Guard {
    pub fn new(key: Option<&ClusterKey>, source: NodeId, session: Session, destination: NodeId) -> Self {
        match key {
            None => Self::Checksum,
            Some(key) => Self::Seal(Box::new(key.derive(source, session, destination))),
        }
    }

    pub const fn is_sealed(&self) -> bool {
        matches!(self, Self::Seal(_))
    }

    /// Bytes behind a payload.
    pub const fn bytes(&self) -> usize {
        match self {
            Self::Checksum => CHECKSUM_BYTES,
            Self::Seal(_) => SEAL_BYTES,
        }
    }

    /// Protects the datagram that stands in `out` from `at` on, header and payload.
    pub fn seal(&self, number: u64, out: &mut Vec<u8>, at: usize) {
        match self {
            Self::Checksum => {
                let checksum = crc32c::crc32c(&out[at..]);
                out.extend_from_slice(&checksum.to_le_bytes());
            }
            Self::Seal(cipher) => {
                let (header, payload) = out[at..].split_at_mut(HEADER_BYTES);
                let tag = cipher.encrypt_inout_detached(&nonce(number), header, payload.into());
                out.extend_from_slice(&tag.expect("a datagram is short"));
            }
        }
    }

    /// The payload of a datagram, if it is what the sender made.
    pub fn open<'a>(&self, number: u64, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
        let end = datagram.len().checked_sub(self.bytes()).filter(|&end| end >= HEADER_BYTES)?;
        match self {
            Self::Checksum => {
                let checksum = crc32c::crc32c(&datagram[..end]).to_le_bytes();
                (datagram[end..] == checksum).then_some(&datagram[HEADER_BYTES..end])
            }
            Self::Seal(cipher) => {
                let (rest, tag) = datagram.split_at_mut(end);
                let (header, payload) = rest.split_at_mut(HEADER_BYTES);
                let tag = Tag::try_from(&*tag).ok()?;
                cipher.decrypt_inout_detached(&nonce(number), header, (&mut *payload).into(), &tag).ok()?;
                Some(payload)
            }
        }
    }
}
