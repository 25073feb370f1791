//! The keystore: everything in a store as bytes. One format is the file on the disk and the stream from a server to one that
//! is far behind. Owns the layout, the encoder and the decoder. Never touches a file or a store.
//!
//! ```text
//! | header: start mark, time, flush_at | epochs ... | items | items | ... | end: consistent mark, count |
//! ```
//!
//! It is *fuzzy*: it is taken while the store goes on changing. It holds the effect of every entry below its start mark, of no
//! entry at or behind its consistent mark, and of some of those between. Because an entry is a result and never an operation,
//! applying the log from the start mark to the consistent mark, or further, makes it exact. In between it is nothing that any
//! server ever held, and its digest says nothing.

mod decode;
mod encode;
pub mod layout;
#[cfg(test)]
mod tests;

pub use decode::{Decoder, Items, KeystoreFault, Piece, Step};
pub use encode::Encoder;

use crate::cluster::Mark;
use crate::log::LogId;
use crate::time::{Seconds, Time};

/// What stands at the start of a keystore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The log whose entries it holds.
    pub log_id: LogId,
    /// All entries below are in it.
    pub start: Mark,
    /// The newest leader's time below `start`.
    pub last_time: Time,
    /// When everything is to be flushed, as of `start`.
    pub flush_at: Option<Seconds>,
    /// How many epochs begin below `start`.
    pub epochs: u32,
}

/// What stands at the end of a keystore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// No entry from here on is in it: with all below applied it is exact.
    pub consistent: Mark,
    /// How many items there were; some may be there twice, the later one counts.
    pub items: u64,
}
