//! The header of a log file: which log it belongs to and where in it the file starts.

use std::fmt;

use super::layout::{self, file as at};
use super::{Epoch, LogIndex, Position};
use crate::time::Time;

/// Which log a file belongs to: drawn at random when the log begins; in a cluster the cluster's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogId(pub u128);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What the header of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// The log it belongs to.
    pub log_id: LogId,
    /// Position of its first frame.
    pub position: Position,
    /// Index of the first entry in it.
    pub index: LogIndex,
    /// No frame in it is of an earlier epoch.
    pub epoch: Epoch,
    /// No frame in it is earlier.
    pub time: Time,
}

impl FileHeader {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; at::BYTES] {
        let mut bytes = [0; at::BYTES];
        layout::put(&mut bytes, at::MAGIC, at::MAGIC_BYTES);
        layout::put(&mut bytes, at::VERSION, layout::VERSION.to_le_bytes());
        layout::put(&mut bytes, at::HEADER_BYTES, (at::BYTES as u16).to_le_bytes());
        layout::put(&mut bytes, at::LOG_ID, self.log_id.0.to_le_bytes());
        layout::put(&mut bytes, at::POSITION, self.position.0.to_le_bytes());
        layout::put(&mut bytes, at::INDEX, self.index.0.to_le_bytes());
        layout::put(&mut bytes, at::EPOCH, self.epoch.0.to_le_bytes());
        layout::put(&mut bytes, at::TIME, self.time.0.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[at::CHECKSUM.end()..]);
        layout::put(&mut bytes, at::CHECKSUM, checksum.to_le_bytes());
        bytes
    }

    /// Reads the header at the start of `bytes`.
    ///
    /// # Errors
    /// When they do not start with a whole header of this version.
    pub fn decode(bytes: &[u8]) -> Result<Self, FileFault> {
        let bytes = bytes.get(..at::BYTES).ok_or(FileFault::Short)?;
        if layout::get(bytes, at::MAGIC) != at::MAGIC_BYTES {
            return Err(FileFault::Magic);
        }
        if u32::from_le_bytes(layout::get(bytes, at::CHECKSUM)) != crc32c::crc32c(&bytes[at::CHECKSUM.end()..]) {
            return Err(FileFault::Checksum);
        }
        let version = u16::from_le_bytes(layout::get(bytes, at::VERSION));
        let header_bytes = u16::from_le_bytes(layout::get(bytes, at::HEADER_BYTES));
        if version != layout::VERSION || usize::from(header_bytes) != at::BYTES {
            return Err(FileFault::Version(version));
        }
        Ok(Self {
            log_id: LogId(u128::from_le_bytes(layout::get(bytes, at::LOG_ID))),
            position: Position(u64::from_le_bytes(layout::get(bytes, at::POSITION))),
            index: LogIndex(u64::from_le_bytes(layout::get(bytes, at::INDEX))),
            epoch: Epoch(u64::from_le_bytes(layout::get(bytes, at::EPOCH))),
            time: Time(u64::from_le_bytes(layout::get(bytes, at::TIME))),
        })
    }
}

/// Why bytes are not the header of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFault {
    /// They end in the middle of it.
    Short,
    /// They start with something else.
    Magic,
    /// Some byte is not what was written.
    Checksum,
    /// A version that this program does not know.
    Version(u16),
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the file ends within its header"),
            Self::Magic => f.write_str("this is not a log file"),
            Self::Checksum => f.write_str("the file header's checksum is wrong"),
            Self::Version(version) => {
                write!(f, "the file is of format version {version}, this program knows version {}", layout::VERSION)
            }
        }
    }
}
