//! The log: the order of all changes, as bytes. Owns the layout of files, frames and entries, the building of frames and
//! the judgement of what was read back. Never touches a file: `ring::disk` does.
//!
//! ```text
//! file:  | file header | frame | frame | frame ...        a log is files that continue each other
//! frame: | header: epoch, index, position, watermark, checksums | entry | entry | ...
//! ```
//!
//! Reading order: `layout` (where each field stands), `entry`, `frame`, `reader`, `file`, `recovery`.

mod entry;
mod file;
mod frame;
pub mod layout;
mod reader;
mod recovery;
#[cfg(test)]
mod tests;

pub use entry::{Entry, EntryFault, Origin, Removed};
pub use file::{FileFault, FileHeader, LogId};
pub use frame::{FrameBuilder, FrameFault, FrameHeader, FrameStart};
pub use reader::{Entries, FrameView, Frames};
pub use recovery::{Corruption, Cut, Fault, Recovered, Recovery, Step};

/// The number of an entry: the first is 1, 0 means before the log. Also the entry's memcached cas id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogIndex(pub u64);

/// The byte offset of a frame in the log since the cluster began: the bytes of all frames before it, file headers not
/// counted. The same on every replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// The byte at which it stands in the file of that name.
    #[must_use]
    pub const fn offset_in(self, file: Self) -> u64 {
        self.0 - file.0 + layout::file::BYTES as u64
    }
}

/// The number of the configuration an entry was made in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// One server's name in a cluster, drawn at random when its directory is made. 0 is the coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// How often a server has been started; 0 is before its first start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);
