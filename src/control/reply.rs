//! What a server answers, to keep: what [`proto`](crate::proto) reads off the receive buffer, with everything owned.
//! Pure; takes whole replies off the front of the buffer and leaves the rest for the next call.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

pub use crate::proto::Fault;
use crate::proto::{Answer, Answered, parse_answer};

/// One reply. Of a `get` and of `stats` several make the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An item.
    Value {
        /// Its key.
        key: Bytes,
        /// The client's flags.
        flags: u32,
        /// Its cas id, when asked for.
        cas: Option<u64>,
        /// Its bytes.
        data: Bytes,
    },
    /// One statistic.
    Stat {
        /// Its name.
        name: Bytes,
        /// The rest of the line.
        value: Bytes,
    },
    /// The end of the items or the statistics.
    End,
    /// `stats reset` was done.
    Reset,
    /// Stored.
    Stored,
    /// The condition of the storage command did not hold.
    NotStored,
    /// The item has changed since the cas id was read.
    Exists,
    /// There is no such item.
    NotFound,
    /// Deleted.
    Deleted,
    /// Touched.
    Touched,
    /// Done.
    Ok,
    /// The new value of a counter.
    Number(u64),
    /// The server's version.
    Version(Bytes),
    /// The request was refused, and whose fault that is; the text is the server's.
    Refused(Fault, Bytes),
}

/// What came is not the memcached protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(
    /// The beginning of it.
    pub Bytes,
);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// Bytes of what cannot be understood that an error shows.
const SHOWN_BYTES_MAX: usize = 60;

/// Takes one reply off the front of the buffer; nothing when it is not there in full yet, and then nothing is taken.
///
/// # Errors
/// When the bytes cannot be the beginning of a reply to a classic command; the buffer is of no use then.
pub fn take(input: &mut BytesMut) -> Result<Option<Reply>, Malformed> {
    let malformed = || Malformed(Bytes::copy_from_slice(&input[..input.len().min(SHOWN_BYTES_MAX)]));
    match parse_answer(input) {
        Answered::Need { total } => {
            // room in one go for a large value, rather than by doubling
            input.reserve(total - input.len());
            Ok(None)
        }
        Answered::Malformed => Err(malformed()),
        Answered::Answer { answer, consumed } => {
            let reply = owned(&answer).ok_or_else(malformed)?;
            input.advance(consumed);
            Ok(Some(reply))
        }
    }
}

/// Nothing for the answer to a meta command, which the client never sends.
fn owned(answer: &Answer<'_>) -> Option<Reply> {
    let bytes = Bytes::copy_from_slice;
    Some(match *answer {
        Answer::Value { key, flags, cas, data } => Reply::Value { key: bytes(key), flags, cas, data: bytes(data) },
        Answer::Stat { name, value } => Reply::Stat { name: bytes(name), value: bytes(value) },
        Answer::End => Reply::End,
        Answer::Reset => Reply::Reset,
        Answer::Stored => Reply::Stored,
        Answer::NotStored => Reply::NotStored,
        Answer::Exists => Reply::Exists,
        Answer::NotFound => Reply::NotFound,
        Answer::Deleted => Reply::Deleted,
        Answer::Touched => Reply::Touched,
        Answer::Ok => Reply::Ok,
        Answer::Number(number) => Reply::Number(number),
        Answer::Version(version) => Reply::Version(bytes(version)),
        Answer::Refused(fault, line) => Reply::Refused(fault, bytes(line)),
        Answer::Meta { .. } => return None,
    })
}
