//! A frame: the entries of one turn of the loop behind one header. It is built once and then written, sent and acked as
//! the same bytes.

use std::fmt;

use super::layout::{self, frame as at};
use super::{Entry, Epoch, LogIndex, Origin, Position};
use crate::config;
use crate::time::Time;

/// What a frame says before its first entry is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameStart {
    /// The configuration it is made in.
    pub epoch: Epoch,
    /// Index of its first entry.
    pub first_index: LogIndex,
    /// Where it begins in the log.
    pub position: Position,
    /// Everything below is known to be durable (D1); never above `position`.
    pub durable_upto: Position,
    /// The leader's time.
    pub time: Time,
}

/// What the header of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What was known when it was begun.
    pub start: FrameStart,
    /// How many entries it holds; at least one.
    pub entries: u32,
    /// Bytes after the header.
    pub body_bytes: u32,
    /// CRC32C of them.
    pub body_checksum: u32,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFault {
    /// They end in the middle of it.
    Short,
    /// They start with something else.
    Magic,
    /// Some byte of the header is not what was written.
    HeaderChecksum,
    /// A version that this program does not know.
    Version(u16),
    /// The header is whole and says what no frame says: no entry, too large a body, a watermark above the frame itself.
    Header,
    /// Some byte of the body is not what was written.
    BodyChecksum,
}

impl fmt::Display for FrameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the file ends within a frame"),
            Self::Magic => f.write_str("no frame begins here"),
            Self::HeaderChecksum => f.write_str("the frame header's checksum is wrong"),
            Self::Version(version) => {
                write!(f, "the frame is of format version {version}, this program knows version {}", layout::VERSION)
            }
            Self::Header => f.write_str("the frame's header contradicts itself"),
            Self::BodyChecksum => f.write_str("the checksum of the frame's entries is wrong"),
        }
    }
}

impl FrameHeader {
    /// Reads the header at the start of `bytes`.
    ///
    /// # Errors
    /// When they do not start with a whole header whose checksum is right.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameFault> {
        let bytes = bytes.get(..at::BYTES).ok_or(FrameFault::Short)?;
        if layout::get(bytes, at::MAGIC) != at::MAGIC_BYTES {
            return Err(FrameFault::Magic);
        }
        if u32::from_le_bytes(layout::get(bytes, at::CHECKSUM)) != crc32c::crc32c(&bytes[at::CHECKSUM.end()..]) {
            return Err(FrameFault::HeaderChecksum);
        }
        let version = u16::from_le_bytes(layout::get(bytes, at::VERSION));
        if version != layout::VERSION {
            return Err(FrameFault::Version(version));
        }
        let header = Self {
            start: FrameStart {
                epoch: Epoch(u64::from_le_bytes(layout::get(bytes, at::EPOCH))),
                first_index: LogIndex(u64::from_le_bytes(layout::get(bytes, at::FIRST_INDEX))),
                position: Position(u64::from_le_bytes(layout::get(bytes, at::POSITION))),
                durable_upto: Position(u64::from_le_bytes(layout::get(bytes, at::DURABLE_UPTO))),
                time: Time(u64::from_le_bytes(layout::get(bytes, at::TIME))),
            },
            entries: u32::from_le_bytes(layout::get(bytes, at::ENTRIES)),
            body_bytes: u32::from_le_bytes(layout::get(bytes, at::BODY_BYTES)),
            body_checksum: u32::from_le_bytes(layout::get(bytes, at::BODY_CHECKSUM)),
        };
        let header_bytes = u16::from_le_bytes(layout::get(bytes, at::HEADER_BYTES));
        if usize::from(header_bytes) != at::BYTES || !header.is_plausible() {
            return Err(FrameFault::Header);
        }
        Ok(header)
    }

    /// What the checksum cannot know: a header that was made by a wrong program is not followed.
    fn is_plausible(&self) -> bool {
        let FrameStart { first_index, position, durable_upto, .. } = self.start;
        self.entries > 0
            && self.body_bytes >= self.entries
            && self.body_bytes as usize <= layout::BODY_BYTES_MAX
            && first_index.0 > 0
            && first_index.0.checked_add(u64::from(self.entries)).is_some()
            && position.0.checked_add(self.frame_bytes() as u64).is_some()
            && durable_upto <= position
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub const fn frame_bytes(&self) -> usize {
        at::BYTES + self.body_bytes as usize
    }

    /// Where the frame ends and the next begins.
    #[must_use]
    pub const fn end(&self) -> Position {
        Position(self.start.position.0 + self.frame_bytes() as u64)
    }

    /// Index of its last entry.
    #[must_use]
    pub const fn last_index(&self) -> LogIndex {
        LogIndex(self.start.first_index.0 + self.entries as u64 - 1)
    }

    fn encode_into(&self, bytes: &mut [u8]) {
        let FrameStart { epoch, first_index, position, durable_upto, time } = self.start;
        layout::put(bytes, at::MAGIC, at::MAGIC_BYTES);
        layout::put(bytes, at::VERSION, layout::VERSION.to_le_bytes());
        layout::put(bytes, at::HEADER_BYTES, (at::BYTES as u16).to_le_bytes());
        layout::put(bytes, at::ENTRIES, self.entries.to_le_bytes());
        layout::put(bytes, at::BODY_BYTES, self.body_bytes.to_le_bytes());
        layout::put(bytes, at::BODY_CHECKSUM, self.body_checksum.to_le_bytes());
        layout::put(bytes, at::EPOCH, epoch.0.to_le_bytes());
        layout::put(bytes, at::FIRST_INDEX, first_index.0.to_le_bytes());
        layout::put(bytes, at::POSITION, position.0.to_le_bytes());
        layout::put(bytes, at::DURABLE_UPTO, durable_upto.0.to_le_bytes());
        layout::put(bytes, at::TIME, time.0.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[at::CHECKSUM.end()..at::BYTES]);
        layout::put(bytes, at::CHECKSUM, checksum.to_le_bytes());
    }
}

/// Gathers the entries of a turn into a frame.
#[derive(Debug, Default)]
pub struct FrameBuilder {
    /// The header's room and the entries so far; empty while no frame is begun.
    bytes: Vec<u8>,
    start: Option<FrameStart>,
    entries: u32,
    /// Buffers for coming frames; invariant: empty, few, none larger than the bound in config.
    spare: Vec<Vec<u8>>,
}

impl FrameBuilder {
    /// Without a frame.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it holds no entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Begins a frame.
    pub fn begin(&mut self, start: FrameStart) {
        assert!(self.is_empty(), "a frame is taken before the next is begun");
        assert!(start.durable_upto <= start.position, "a frame is not durable before it is made");
        assert!(start.first_index.0 > 0, "index 0 is before the log");
        self.bytes.clear();
        self.bytes.resize(at::BYTES, 0);
        self.start = Some(start);
    }

    /// Adds an entry to the frame that was begun; its index.
    pub fn push(&mut self, entry: &Entry<'_>) -> LogIndex {
        let start = self.start.as_ref().expect("a frame is begun before it is filled");
        let index = LogIndex(start.first_index.0 + u64::from(self.entries));
        entry.encode(&mut self.bytes);
        self.entries += 1;
        index
    }

    /// Adds an entry that was asked for through another server; its index.
    pub fn push_from(&mut self, origin: &Origin, entry: &Entry<'_>) -> LogIndex {
        assert!(self.start.is_some(), "a frame is begun before it is filled");
        origin.encode(&mut self.bytes);
        self.push(entry)
    }

    /// Bytes of the frame so far, header included; 0 when none is begun.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Ends the frame: its bytes, checksums included.
    pub fn take(&mut self) -> Vec<u8> {
        assert!(!self.is_empty(), "a frame holds an entry at least");
        let mut bytes = std::mem::replace(&mut self.bytes, self.spare.pop().unwrap_or_default());
        let body = &bytes[at::BYTES..];
        assert!(body.len() <= layout::BODY_BYTES_MAX, "a frame is taken when it has reached its target");
        let header = FrameHeader {
            start: self.start.take().expect("a frame with entries was begun"),
            entries: self.entries,
            body_bytes: body.len() as u32,
            body_checksum: crc32c::crc32c(body),
        };
        header.encode_into(&mut bytes[..at::BYTES]);
        self.entries = 0;
        bytes
    }

    /// Takes back the buffer of a frame that nobody needs any more.
    pub fn reuse(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < config::FRAME_BUFFERS_KEPT && buffer.capacity() <= config::FRAME_BUFFER_BYTES_KEPT {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
