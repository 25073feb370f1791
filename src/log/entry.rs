//! One entry: a result that replicas apply, never an operation. The encoding is compact (a small set costs three bytes
//! more than key and value) and canonical: what decodes encodes to the same bytes again.

use std::fmt;

use super::layout::entry::{
    DELETE, FLUSH, FLUSH_AT, HAS_BITS, HAS_CAS, HAS_EXPIRY, HAS_FLAGS, KIND_MASK, NO_OP, ORIGIN, PUT, REASON_SHIFT,
    TOUCH, VALUE_LENGTH_BYTES_MAX,
};
use super::{Incarnation, NodeId};
use crate::config;
use crate::time::{Expiry, Seconds};

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// The key holds this from now on.
    Put {
        /// 1 to 250 bytes.
        key: &'a [u8],
        /// The whole value.
        value: &'a [u8],
        /// The client's flags.
        flags: u32,
        /// When it ends, absolute.
        expiry: Expiry,
        /// Its cas id; nothing when that is the entry's own index.
        cas: Option<u64>,
        /// Stale and token bits.
        bits: u8,
    },
    /// The key is gone.
    Delete {
        /// 1 to 250 bytes.
        key: &'a [u8],
        /// Why.
        reason: Removed,
    },
    /// The key's item ends at another time.
    Touch {
        /// 1 to 250 bytes.
        key: &'a [u8],
        /// When it ends, absolute.
        expiry: Expiry,
    },
    /// All items are gone.
    Flush,
    /// All items will be gone at `time`.
    FlushAt {
        /// The second from which they are.
        time: Seconds,
    },
    /// Changes nothing; marks the start of an epoch.
    NoOp,
}

/// Who asked for an entry that came to the leader through another server (C1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The server whose client asked.
    pub node: NodeId,
    /// Its incarnation then.
    pub incarnation: Incarnation,
    /// The request's number in that incarnation; the first is 1.
    pub number: u64,
}

impl Origin {
    /// Appends its bytes to `out`; those of its entry follow.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(ORIGIN);
        out.extend_from_slice(&self.node.0.to_le_bytes());
        out.extend_from_slice(&self.incarnation.0.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
    }

    /// Takes the origin at the start of `bytes`, if there is one; the rest.
    ///
    /// # Errors
    /// When one begins and is not whole.
    pub fn decode(bytes: &[u8]) -> Result<(Option<Self>, &[u8]), EntryFault> {
        if bytes.first() != Some(&ORIGIN) {
            return Ok((None, bytes));
        }
        let mut rest = Rest(&bytes[1..]);
        let node = NodeId(u64::from_le_bytes(rest.array()?));
        let incarnation = Incarnation(u64::from_le_bytes(rest.array()?));
        let number = u64::from_le_bytes(rest.array()?);
        Ok((Some(Self { node, incarnation, number }), rest.0))
    }
}

/// Why a key was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A client said so.
    Deleted,
    /// Its time had come.
    Expired,
    /// Its memory was needed.
    Evicted,
    /// A flush covers it.
    Flushed,
}

/// Why bytes are not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryFault {
    /// They end in the middle of it.
    Short,
    /// The first byte is none that this version knows.
    Kind(u8),
    /// The key is empty or too long.
    KeyLength(u8),
    /// The value is longer than any item may be.
    ValueLength(u64),
    /// A length or an optional field is written in a longer form than needed.
    NotCanonical,
    /// So many bytes are left over behind a frame's last entry.
    Surplus(usize),
}

impl fmt::Display for EntryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("an entry is longer than its frame"),
            Self::Kind(byte) => write!(f, "an entry starts with {byte:#04x}, which this version does not know"),
            Self::KeyLength(length) => write!(f, "an entry's key has {length} bytes"),
            Self::ValueLength(length) => write!(f, "an entry's value has {length} bytes"),
            Self::NotCanonical => f.write_str("an entry has a field in a form that is never written"),
            Self::Surplus(bytes) => write!(f, "{bytes} bytes follow the frame's last entry"),
        }
    }
}

impl Removed {
    const fn code(self) -> u8 {
        match self {
            Self::Deleted => 0,
            Self::Expired => 1,
            Self::Evicted => 2,
            Self::Flushed => 3,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Deleted),
            1 => Some(Self::Expired),
            2 => Some(Self::Evicted),
            3 => Some(Self::Flushed),
            _ => None,
        }
    }
}

fn put_key_length(out: &mut Vec<u8>, key: &[u8]) {
    assert!(!key.is_empty() && key.len() <= config::KEY_BYTES_MAX, "the protocol lets no such key in");
    out.push(key.len() as u8);
}

fn put_value_length(out: &mut Vec<u8>, value: &[u8]) {
    assert!(value.len() <= config::ITEM_BYTES_CEILING, "the store takes no such value");
    let mut rest = value.len();
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

impl<'a> Entry<'a> {
    /// Appends its bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Put { key, value, flags, expiry, cas, bits } => {
                let has = |present, bit| if present { bit } else { 0 };
                out.push(
                    PUT | has(flags != 0, HAS_FLAGS)
                        | has(expiry != Expiry::NEVER, HAS_EXPIRY)
                        | has(cas.is_some(), HAS_CAS)
                        | has(bits != 0, HAS_BITS),
                );
                put_key_length(out, key);
                put_value_length(out, value);
                if flags != 0 {
                    out.extend_from_slice(&flags.to_le_bytes());
                }
                if expiry != Expiry::NEVER {
                    out.extend_from_slice(&expiry.raw().to_le_bytes());
                }
                if let Some(cas) = cas {
                    out.extend_from_slice(&cas.to_le_bytes());
                }
                if bits != 0 {
                    out.push(bits);
                }
                out.extend_from_slice(key);
                out.extend_from_slice(value);
            }
            Self::Delete { key, reason } => {
                out.push(DELETE | reason.code() << REASON_SHIFT);
                put_key_length(out, key);
                out.extend_from_slice(key);
            }
            Self::Touch { key, expiry } => {
                out.push(TOUCH);
                put_key_length(out, key);
                out.extend_from_slice(&expiry.raw().to_le_bytes());
                out.extend_from_slice(key);
            }
            Self::Flush => out.push(FLUSH),
            Self::FlushAt { time } => {
                out.push(FLUSH_AT);
                out.extend_from_slice(&time.0.to_le_bytes());
            }
            Self::NoOp => out.push(NO_OP),
        }
    }

    /// Takes the entry at the start of `bytes`; the rest.
    ///
    /// # Errors
    /// When they do not start with a whole entry in the form that `encode` writes.
    pub fn decode(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), EntryFault> {
        let mut rest = Rest(bytes);
        let [first] = rest.array()?;
        let has = |bit: u8| first & bit != 0;
        let entry = match first & KIND_MASK {
            PUT => {
                let key_length = rest.key_length()?;
                let value_length = rest.value_length()?;
                let flags = if has(HAS_FLAGS) { rest.nonzero_u32()? } else { 0 };
                let expiry = if has(HAS_EXPIRY) { rest.nonzero_u32()? } else { 0 };
                let cas = if has(HAS_CAS) { Some(u64::from_le_bytes(rest.array()?)) } else { None };
                let bits = if has(HAS_BITS) { rest.nonzero_u8()? } else { 0 };
                let key = rest.take(key_length)?;
                let value = rest.take(value_length)?;
                Self::Put { key, value, flags, expiry: Expiry::from_raw(expiry), cas, bits }
            }
            DELETE => {
                let reason = Removed::from_code(first >> REASON_SHIFT).ok_or(EntryFault::Kind(first))?;
                let key_length = rest.key_length()?;
                Self::Delete { key: rest.take(key_length)?, reason }
            }
            _ => match first {
                TOUCH => {
                    let key_length = rest.key_length()?;
                    let expiry = Expiry::from_raw(u32::from_le_bytes(rest.array()?));
                    Self::Touch { key: rest.take(key_length)?, expiry }
                }
                FLUSH => Self::Flush,
                FLUSH_AT => Self::FlushAt { time: Seconds(u32::from_le_bytes(rest.array()?)) },
                NO_OP => Self::NoOp,
                _ => return Err(EntryFault::Kind(first)),
            },
        };
        Ok((entry, rest.0))
    }
}

/// Bytes not yet decoded.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], EntryFault> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(EntryFault::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], EntryFault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(EntryFault::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn key_length(&mut self) -> Result<usize, EntryFault> {
        let [length] = self.array()?;
        if length == 0 || usize::from(length) > config::KEY_BYTES_MAX {
            return Err(EntryFault::KeyLength(length));
        }
        Ok(usize::from(length))
    }

    fn value_length(&mut self) -> Result<usize, EntryFault> {
        let mut length = 0;
        for group in 0..VALUE_LENGTH_BYTES_MAX {
            let [byte] = self.array()?;
            length |= u64::from(byte & 0x7F) << (7 * group);
            if byte & 0x80 == 0 {
                if byte == 0 && group > 0 {
                    return Err(EntryFault::NotCanonical);
                }
                if length > config::ITEM_BYTES_CEILING as u64 {
                    return Err(EntryFault::ValueLength(length));
                }
                return Ok(length as usize);
            }
        }
        Err(EntryFault::ValueLength(length))
    }

    fn nonzero_u32(&mut self) -> Result<u32, EntryFault> {
        match u32::from_le_bytes(self.array()?) {
            0 => Err(EntryFault::NotCanonical),
            some => Ok(some),
        }
    }

    fn nonzero_u8(&mut self) -> Result<u8, EntryFault> {
        match self.array()? {
            [0] => Err(EntryFault::NotCanonical),
            [some] => Ok(some),
        }
    }
}
