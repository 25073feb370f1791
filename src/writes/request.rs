//! A write as it is handed to the write path, borrowed on thread 0 and owned when it comes from another thread.

use crate::conn::ConnId;
use crate::proto::{Direction, Reply, StoreVerb};

/// Who asked, so that the answer finds its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The ring thread that owns the connection.
    pub shard: u16,
    /// The connection's slot there.
    pub conn: ConnId,
    /// Which of the slot's connections.
    pub generation: u32,
    /// No answer is wanted; it is counted all the same.
    pub noreply: bool,
    /// Bytes of the write, for the bound on what is under way.
    pub bytes: u32,
    /// Counts the connection's writes: answers leave in their order, in whichever they come.
    pub number: u32,
}

/// An answer on its way back to its connection.
#[derive(Debug)]
pub struct Answer {
    /// Who asked.
    pub origin: Origin,
    /// What to say.
    pub reply: Reply,
}

/// A command that changes data.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the fields are the protocol's own words")]
pub enum Write<'a> {
    /// set, add, replace, append, prepend, cas.
    Store {
        verb: StoreVerb,
        key: &'a [u8],
        flags: u32,
        exptime: i32,
        cas: u64,
        value: &'a [u8],
    },
    /// A store command whose value is larger than `-I`: a set removes the old value, as in memcached.
    TooLarge {
        verb: StoreVerb,
        key: &'a [u8],
    },
    Delete {
        key: &'a [u8],
    },
    Arithmetic {
        direction: Direction,
        key: &'a [u8],
        delta: u64,
    },
    Touch {
        key: &'a [u8],
        exptime: i32,
    },
    /// One key of gat or gats; its answer is the item's `VALUE` block, and `END` behind the last key.
    GetAndTouch {
        key: &'a [u8],
        exptime: i32,
        with_cas: bool,
        last: bool,
    },
    FlushAll {
        delay: i32,
    },
    MemoryLimit {
        megabytes: u64,
    },
}

impl<'a> Write<'a> {
    /// The key it is about; empty for those that are about none.
    #[must_use]
    pub const fn key(&self) -> &'a [u8] {
        match *self {
            Self::Store { key, .. }
            | Self::TooLarge { key, .. }
            | Self::Delete { key }
            | Self::Arithmetic { key, .. }
            | Self::Touch { key, .. }
            | Self::GetAndTouch { key, .. } => key,
            Self::FlushAll { .. } | Self::MemoryLimit { .. } => &[],
        }
    }
}

impl Write<'_> {
    /// Whether its answer is only a part of a command's: another key follows.
    #[must_use]
    pub const fn goes_on(&self) -> bool {
        matches!(self, Self::GetAndTouch { last: false, .. })
    }

    /// Bytes it carries, a little more for the rest of it included.
    #[must_use]
    pub const fn bytes(&self) -> u32 {
        let value = if let Self::Store { value, .. } = self { value.len() } else { 0 };
        (64 + self.key().len() + value) as u32
    }
}

/// A write with bytes of its own, to be handed to thread 0.
#[derive(Debug)]
pub struct OwnedWrite {
    /// Who asked.
    pub origin: Origin,
    /// Key, then value.
    bytes: Box<[u8]>,
    key_len: usize,
    /// The command with its slices left empty.
    shape: Write<'static>,
}

impl OwnedWrite {
    /// Copies a write's key and value.
    #[must_use]
    pub fn new(origin: Origin, write: &Write<'_>) -> Self {
        let key = write.key();
        let value = if let Write::Store { value, .. } = *write { value } else { &[] };
        let shape = match *write {
            Write::Store { verb, flags, exptime, cas, .. } => {
                Write::Store { verb, key: &[], flags, exptime, cas, value: &[] }
            }
            Write::TooLarge { verb, .. } => Write::TooLarge { verb, key: &[] },
            Write::Delete { .. } => Write::Delete { key: &[] },
            Write::Arithmetic { direction, delta, .. } => Write::Arithmetic { direction, key: &[], delta },
            Write::Touch { exptime, .. } => Write::Touch { key: &[], exptime },
            Write::GetAndTouch { exptime, with_cas, last, .. } => {
                Write::GetAndTouch { key: &[], exptime, with_cas, last }
            }
            Write::FlushAll { delay } => Write::FlushAll { delay },
            Write::MemoryLimit { megabytes } => Write::MemoryLimit { megabytes },
        };
        Self { origin, bytes: [key, value].concat().into_boxed_slice(), key_len: key.len(), shape }
    }

    /// The write again, borrowing from these bytes.
    #[must_use]
    pub fn as_write(&self) -> Write<'_> {
        let (own_key, own_value) = self.bytes.split_at(self.key_len);
        let mut write: Write<'_> = self.shape;
        match &mut write {
            Write::Store { key, value, .. } => (*key, *value) = (own_key, own_value),
            Write::TooLarge { key, .. }
            | Write::Delete { key }
            | Write::Arithmetic { key, .. }
            | Write::Touch { key, .. }
            | Write::GetAndTouch { key, .. } => *key = own_key,
            Write::FlushAll { .. } | Write::MemoryLimit { .. } => {}
        }
        write
    }
}
