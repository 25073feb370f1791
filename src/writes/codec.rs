//! A client's write as bytes, as a follower sends it on to the leader (C1). One form for each write: what decodes encodes to
//! the same bytes again. FORMAT.md's table is printed from here. All numbers are little-endian.

use std::fmt;

use super::Write;
use crate::config;
use crate::proto::{Direction, StoreVerb};

/// The version of forwarded writes that this code writes and reads: their first byte.
pub const VERSION: u8 = 1;

/// What stands behind version and kind, for FORMAT.md.
pub const KINDS: [(u8, &str, &str); 13] = [
    (SET, "set", STORE),
    (ADD, "add", STORE),
    (REPLACE, "replace", STORE),
    (APPEND, "append", STORE),
    (PREPEND, "prepend", STORE),
    (CAS, "cas", "flags 4, exptime 4, cas id 8, key length 1, key, value"),
    (TOO_LARGE, "a store command whose value is too large", "its kind 1, key"),
    (DELETE, "delete", "key"),
    (INCREMENT, "incr", "delta 8, key"),
    (DECREMENT, "decr", "delta 8, key"),
    (TOUCH, "touch", "exptime 4, key"),
    (GET_AND_TOUCH, "one key of gat or gats", "exptime 4, bits 1: 1 with the cas id, 2 the last key; key"),
    (FLUSH_ALL, "flush_all", "delay 4"),
];

const STORE: &str = "flags 4, exptime 4, key length 1, key, value";

const SET: u8 = 1;
const ADD: u8 = 2;
const REPLACE: u8 = 3;
const APPEND: u8 = 4;
const PREPEND: u8 = 5;
const CAS: u8 = 6;
const TOO_LARGE: u8 = 7;
const DELETE: u8 = 8;
const INCREMENT: u8 = 9;
const DECREMENT: u8 = 10;
const TOUCH: u8 = 11;
const GET_AND_TOUCH: u8 = 12;
const FLUSH_ALL: u8 = 13;

const WITH_CAS: u8 = 1;
const LAST: u8 = 2;

const _: () = assert!(config::KEY_BYTES_MAX + config::ITEM_BYTES_CEILING + 32 <= config::FORWARD_BYTES_MAX);

/// Why bytes are not a forwarded write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardFault {
    /// They end in the middle of it.
    Short,
    /// A version that this program does not know.
    Version(u8),
    /// A kind that this version does not have.
    Kind(u8),
    /// The key is empty or too long.
    KeyLength(usize),
    /// The value is longer than any item may be.
    ValueLength(usize),
    /// Bits that this version does not have.
    Bits(u8),
    /// So many bytes are left over.
    Surplus(usize),
}

impl fmt::Display for ForwardFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("a forwarded write ends too early"),
            Self::Version(version) => {
                write!(f, "a forwarded write of version {version}, this program knows version {VERSION}")
            }
            Self::Kind(kind) => write!(f, "a forwarded write of kind {kind}, which this version does not have"),
            Self::KeyLength(length) => write!(f, "a forwarded write's key has {length} bytes"),
            Self::ValueLength(length) => write!(f, "a forwarded write's value has {length} bytes"),
            Self::Bits(bits) => write!(f, "a forwarded write has bits {bits:#04x}, which this version does not know"),
            Self::Surplus(bytes) => write!(f, "{bytes} bytes follow a forwarded write"),
        }
    }
}

const fn kind_of(verb: StoreVerb) -> u8 {
    match verb {
        StoreVerb::Set => SET,
        StoreVerb::Add => ADD,
        StoreVerb::Replace => REPLACE,
        StoreVerb::Append => APPEND,
        StoreVerb::Prepend => PREPEND,
        StoreVerb::Cas => CAS,
    }
}

const fn verb_of(kind: u8) -> Option<StoreVerb> {
    Some(match kind {
        SET => StoreVerb::Set,
        ADD => StoreVerb::Add,
        REPLACE => StoreVerb::Replace,
        APPEND => StoreVerb::Append,
        PREPEND => StoreVerb::Prepend,
        CAS => StoreVerb::Cas,
        _ => return None,
    })
}

impl<'a> Write<'a> {
    /// Whether it is about this server alone, and never sent on.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        matches!(self, Self::MemoryLimit { .. })
    }

    /// Appends its bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        assert!(!self.is_local(), "another server's memory is no client's affair");
        out.push(VERSION);
        match *self {
            Self::Store { verb, key, flags, exptime, cas, value } => {
                out.push(kind_of(verb));
                out.extend_from_slice(&flags.to_le_bytes());
                out.extend_from_slice(&exptime.to_le_bytes());
                if verb == StoreVerb::Cas {
                    out.extend_from_slice(&cas.to_le_bytes());
                }
                out.push(key.len() as u8);
                out.extend_from_slice(key);
                out.extend_from_slice(value);
                return;
            }
            Self::TooLarge { verb, .. } => out.extend_from_slice(&[TOO_LARGE, kind_of(verb)]),
            Self::Delete { .. } => out.push(DELETE),
            Self::Arithmetic { direction, delta, .. } => {
                out.push(if direction == Direction::Increment { INCREMENT } else { DECREMENT });
                out.extend_from_slice(&delta.to_le_bytes());
            }
            Self::Touch { exptime, .. } => {
                out.push(TOUCH);
                out.extend_from_slice(&exptime.to_le_bytes());
            }
            Self::GetAndTouch { exptime, with_cas, last, .. } => {
                out.push(GET_AND_TOUCH);
                out.extend_from_slice(&exptime.to_le_bytes());
                out.push(if with_cas { WITH_CAS } else { 0 } | if last { LAST } else { 0 });
            }
            Self::FlushAll { delay } => {
                out.push(FLUSH_ALL);
                out.extend_from_slice(&delay.to_le_bytes());
            }
            Self::MemoryLimit { .. } => unreachable!("checked above"),
        }
        out.extend_from_slice(self.key());
    }

    /// What `encode` made of a write.
    ///
    /// # Errors
    /// When the bytes are not exactly one write in the form that `encode` gives it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ForwardFault> {
        let mut rest = Rest(bytes);
        let [version] = rest.array()?;
        if version != VERSION {
            return Err(ForwardFault::Version(version));
        }
        let [kind] = rest.array()?;
        if let Some(verb) = verb_of(kind) {
            return rest.store(verb);
        }
        Ok(match kind {
            TOO_LARGE => {
                let [of] = rest.array()?;
                let verb = verb_of(of).ok_or(ForwardFault::Kind(of))?;
                Self::TooLarge { verb, key: rest.key()? }
            }
            DELETE => Self::Delete { key: rest.key()? },
            INCREMENT | DECREMENT => {
                let direction = if kind == INCREMENT { Direction::Increment } else { Direction::Decrement };
                let delta = u64::from_le_bytes(rest.array()?);
                Self::Arithmetic { direction, key: rest.key()?, delta }
            }
            TOUCH => {
                let exptime = i32::from_le_bytes(rest.array()?);
                Self::Touch { key: rest.key()?, exptime }
            }
            GET_AND_TOUCH => {
                let exptime = i32::from_le_bytes(rest.array()?);
                let [bits] = rest.array()?;
                if bits & !(WITH_CAS | LAST) != 0 {
                    return Err(ForwardFault::Bits(bits));
                }
                let (with_cas, last) = (bits & WITH_CAS != 0, bits & LAST != 0);
                Self::GetAndTouch { key: rest.key()?, exptime, with_cas, last }
            }
            FLUSH_ALL => {
                let delay = i32::from_le_bytes(rest.array()?);
                if !rest.0.is_empty() {
                    return Err(ForwardFault::Surplus(rest.0.len()));
                }
                Self::FlushAll { delay }
            }
            _ => return Err(ForwardFault::Kind(kind)),
        })
    }
}

/// Bytes not yet decoded.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], ForwardFault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(ForwardFault::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// Everything that is left, as a key.
    const fn key(&self) -> Result<&'a [u8], ForwardFault> {
        match self.0.len() {
            1..=config::KEY_BYTES_MAX => Ok(self.0),
            length => Err(ForwardFault::KeyLength(length)),
        }
    }

    fn store(mut self, verb: StoreVerb) -> Result<Write<'a>, ForwardFault> {
        let flags = u32::from_le_bytes(self.array()?);
        let exptime = i32::from_le_bytes(self.array()?);
        let cas = if verb == StoreVerb::Cas { u64::from_le_bytes(self.array()?) } else { 0 };
        let [key_length] = self.array()?;
        let key_length = usize::from(key_length);
        if key_length == 0 || key_length > config::KEY_BYTES_MAX {
            return Err(ForwardFault::KeyLength(key_length));
        }
        let (key, value) = self.0.split_at_checked(key_length).ok_or(ForwardFault::Short)?;
        if value.len() > config::ITEM_BYTES_CEILING {
            return Err(ForwardFault::ValueLength(value.len()));
        }
        Ok(Write::Store { verb, key, flags, exptime, cas, value })
    }
}
