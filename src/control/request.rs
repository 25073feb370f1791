//! What a client asks of a server, checked and put into bytes. Pure.

use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;

use super::reply::Reply;
use crate::config::{GET_LINE_BYTES_MAX, KEY_BYTES_MAX};
use crate::proto::{Direction, Store, StoreVerb, request as wire};
use crate::time::{RELATIVE_SECONDS_MAX, Seconds};

/// A key that every server takes: 1 to 250 bytes, none of them a space or a control character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(Bytes);

/// A request that cannot be made. The text says what may be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// No bytes at all.
    KeyEmpty,
    /// More than 250 bytes.
    KeyTooLong(usize),
    /// A space or a control character at this place.
    KeyByte(usize),
    /// An expiry beyond what the protocol can say.
    TtlTooLong(u64),
    /// A space or a control character in an argument of `stats`.
    StatsArgument,
    /// More keys than fit a line.
    TooManyKeys,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyEmpty => write!(f, "the key is empty: give 1 to {KEY_BYTES_MAX} bytes."),
            Self::KeyTooLong(length) => {
                write!(
                    f,
                    "the key has {length} bytes: give at most {KEY_BYTES_MAX}, a hash of a longer name for example."
                )
            }
            Self::KeyByte(place) => write!(
                f,
                "byte {place} of the key is a space or a control character, which the protocol does not allow: replace it."
            ),
            Self::TtlTooLong(seconds) => {
                write!(
                    f,
                    "{seconds} seconds end after 2038, which the protocol cannot say: give fewer, or 0 for never."
                )
            }
            Self::StatsArgument => write!(f, "an argument of stats is one word without spaces."),
            Self::TooManyKeys => write!(f, "the keys are more than fit one request: get them in several calls."),
        }
    }
}

impl std::error::Error for RequestError {}

impl Key {
    /// Checks the bytes of a key.
    ///
    /// # Errors
    /// When a server would refuse them.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, RequestError> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Err(RequestError::KeyEmpty);
        }
        if bytes.len() > KEY_BYTES_MAX {
            return Err(RequestError::KeyTooLong(bytes.len()));
        }
        match bytes.iter().position(|&byte| byte <= b' ' || byte == 0x7f) {
            Some(place) => Err(RequestError::KeyByte(place + 1)),
            None => Ok(Self(bytes)),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The storage commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreMode {
    /// Whatever is there.
    Set,
    /// If the key is not there.
    Add,
    /// If the key is there.
    Replace,
    /// Behind the value that is there.
    Append,
    /// Before the value that is there.
    Prepend,
    /// If the item is unchanged since it had this cas id.
    Cas(u64),
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// set, add, replace, append, prepend, cas.
    Store {
        /// Which of them.
        mode: StoreMode,
        /// The key.
        key: Key,
        /// Opaque to the server.
        flags: u32,
        /// As on the wire.
        exptime: u32,
        /// Any bytes.
        value: Bytes,
    },
    /// get, or gets when the cas ids are wanted. At least one key.
    Get {
        /// The keys, each once.
        keys: Vec<Key>,
        /// Whether to ask for the cas ids.
        with_cas: bool,
    },
    /// delete.
    Delete(Key),
    /// incr.
    Increment(Key, u64),
    /// decr.
    Decrement(Key, u64),
    /// touch.
    Touch(Key, u32),
    /// stats, with its arguments.
    Stats(Vec<Bytes>),
    /// version.
    Version,
}

impl Request {
    /// A get of each key once, in the order of their first mention.
    ///
    /// # Errors
    /// When the keys do not fit one line.
    pub fn get(keys: Vec<Key>, with_cas: bool) -> Result<Self, RequestError> {
        assert!(!keys.is_empty(), "a get names at least one key");
        let mut seen = HashSet::new();
        let keys: Vec<Key> = keys.into_iter().filter(|key| seen.insert(key.0.clone())).collect();
        if keys.iter().map(|key| key.0.len() + 1).sum::<usize>() > GET_LINE_BYTES_MAX - 16 {
            return Err(RequestError::TooManyKeys);
        }
        Ok(Self::Get { keys, with_cas })
    }

    /// stats with its arguments.
    ///
    /// # Errors
    /// When an argument is not one word.
    pub fn stats(arguments: Vec<Bytes>) -> Result<Self, RequestError> {
        let one_word = |word: &Bytes| !word.is_empty() && word.iter().all(|&byte| byte > b' ' && byte != 0x7f);
        if arguments.iter().all(one_word) { Ok(Self::Stats(arguments)) } else { Err(RequestError::StatsArgument) }
    }

    /// Whether the server's data may be different afterwards.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        !matches!(self, Self::Get { .. } | Self::Stats(_) | Self::Version)
    }

    /// Whether a write that is done twice in a row leaves, and answers, what it does once.
    #[must_use]
    pub const fn may_be_repeated(&self) -> bool {
        matches!(self, Self::Store { mode: StoreMode::Set, .. } | Self::Touch(..)) || !self.is_write()
    }

    /// Whether this reply is the last one to this request.
    #[must_use]
    pub const fn ends_with(&self, reply: &Reply) -> bool {
        !matches!((self, reply), (Self::Get { .. }, Reply::Value { .. }) | (Self::Stats(_), Reply::Stat { .. }))
    }

    /// The bytes to send.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Store { mode, key, flags, exptime, value } => {
                let cas = if let StoreMode::Cas(unique) = mode { *unique } else { 0 };
                let (key, exptime) = (key.as_bytes(), exptime.cast_signed());
                let store = Store { verb: mode.verb(), key, flags: *flags, exptime, cas, value, noreply: false };
                wire::store(&mut out, &store);
            }
            Self::Get { keys, with_cas } => wire::get(&mut out, keys.iter().map(Key::as_bytes), *with_cas),
            Self::Delete(key) => wire::delete(&mut out, key.as_bytes()),
            Self::Increment(key, delta) => wire::arithmetic(&mut out, Direction::Increment, key.as_bytes(), *delta),
            Self::Decrement(key, delta) => wire::arithmetic(&mut out, Direction::Decrement, key.as_bytes(), *delta),
            Self::Touch(key, exptime) => wire::touch(&mut out, key.as_bytes(), exptime.cast_signed()),
            Self::Stats(arguments) => wire::words(&mut out, "stats", arguments.iter().map(|word| &word[..])),
            Self::Version => wire::words(&mut out, "version", []),
        }
        out.into()
    }
}

impl StoreMode {
    const fn verb(self) -> StoreVerb {
        match self {
            Self::Set => StoreVerb::Set,
            Self::Add => StoreVerb::Add,
            Self::Replace => StoreVerb::Replace,
            Self::Append => StoreVerb::Append,
            Self::Prepend => StoreVerb::Prepend,
            Self::Cas(_) => StoreVerb::Cas,
        }
    }
}

/// The wire's form of "in so many seconds": beyond 30 days it is the absolute second. 0 is never.
///
/// # Errors
/// When that second is beyond the protocol's 31 bits.
pub fn exptime(ttl_seconds: u64, now: Seconds) -> Result<u32, RequestError> {
    let wire = if ttl_seconds <= u64::from(RELATIVE_SECONDS_MAX.unsigned_abs()) {
        ttl_seconds
    } else {
        ttl_seconds.saturating_add(u64::from(now.0))
    };
    i32::try_from(wire).map(i32::unsigned_abs).map_err(|_| RequestError::TtlTooLong(ttl_seconds))
}
