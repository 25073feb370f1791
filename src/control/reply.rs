//! What a server answers, to keep: what [`proto`](crate::proto) reads off the receive buffer, with everything owned.
//! Pure; takes whole replies off the front of the buffer and leaves the rest for the next call.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

pub use crate::proto::Fault;
use crate::proto::{Answer, Answered, parse_answer};

/// One reply. Of a `get` and of `stats` several make the answer.
pub type Reply = Answer<Bytes>;

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
        // the client sends no meta command, so nothing it asked for is answered so
        Answered::Malformed | Answered::Answer { answer: Answer::Meta { .. }, .. } => Err(malformed()),
        Answered::Answer { answer, consumed } => {
            let reply = answer.map(Bytes::copy_from_slice);
            input.advance(consumed);
            Ok(Some(reply))
        }
    }
}
