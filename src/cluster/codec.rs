//! The bytes of messages and of the two records on disk. One form for each: what decodes encodes to the same bytes again.
//! FORMAT.md's tables are printed from here by a test. All numbers are little-endian.

mod body;
mod record;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;

pub use body::KINDS;
pub use record::{decode_configuration, decode_node, encode_configuration, encode_node};

use self::wire::{Rest, Writer};
use super::configuration::{Epoch, Incarnation, LogId, NodeId};
use super::message::{Header, Message};
use crate::log::FrameFault;
use crate::log::layout::{self, Field};

/// The version of messages and records that this code writes and reads.
pub const VERSION: u16 = 1;

/// The header of a message.
pub mod header {
    use super::Field;

    /// The first four bytes of a message.
    pub const MAGIC_BYTES: [u8; 4] = [0xF5, 0x9A, 0xD1, 0x07];

    /// See its text.
    pub const MAGIC: Field = Field::first("magic", 4, "F5 9A D1 07");
    /// See its text.
    pub const CHECKSUM: Field = MAGIC.then("checksum", 4, "CRC32C of the rest of the message");
    /// See its text.
    pub const VERSION: Field = CHECKSUM.then("version", 2, "of the format: 1");
    /// See its text.
    pub const KIND: Field = VERSION.then("kind", 2, "what the message says");
    /// See its text.
    pub const BODY_BYTES: Field = KIND.then("body_bytes", 4, "bytes after this header");
    /// See its text.
    pub const CLUSTER: Field = BODY_BYTES.then(
        "cluster",
        16,
        "the cluster; of a server that belongs to none yet its log, 0 when that is empty",
    );
    /// See its text.
    pub const EPOCH: Field = CLUSTER.then("epoch", 8, "the sender's epoch, durable there");
    /// See its text.
    pub const SOURCE: Field = EPOCH.then("source", 8, "the sender; 0 is the coordinator");
    /// See its text.
    pub const SOURCE_INCARNATION: Field =
        SOURCE.then("source_incarnation", 8, "the sender's incarnation; 0 only from the coordinator");
    /// See its text.
    pub const DESTINATION: Field = SOURCE_INCARNATION.then("destination", 8, "the receiver; 0 is the coordinator");
    /// See its text.
    pub const DESTINATION_INCARNATION: Field =
        DESTINATION.then("destination_incarnation", 8, "the receiver's incarnation; 0 when the sender knows none");

    /// All of them in order.
    pub const FIELDS: [Field; 11] = [
        MAGIC,
        CHECKSUM,
        VERSION,
        KIND,
        BODY_BYTES,
        CLUSTER,
        EPOCH,
        SOURCE,
        SOURCE_INCARNATION,
        DESTINATION,
        DESTINATION_INCARNATION,
    ];
    /// Bytes of the header.
    pub const BYTES: usize = DESTINATION_INCARNATION.end();
}

/// Bytes of the shortest message that carries a frame, beside the frame.
pub const APPEND_BYTES_MIN: usize = header::BYTES + 62;

/// Why bytes are not a message or not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecFault {
    /// They end in the middle of it.
    Short,
    /// They start with something else.
    Magic,
    /// Some byte is not what was written.
    Checksum,
    /// A version that this program does not know.
    Version(u16),
    /// A kind of message that this version does not know.
    Kind(u16),
    /// A field that says what is never said.
    Field(&'static str),
    /// A frame in it is not whole.
    Frame(FrameFault),
    /// So many bytes are left over.
    Surplus(usize),
}

impl fmt::Display for CodecFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("it ends too early"),
            Self::Magic => f.write_str("it is none of ours"),
            Self::Checksum => f.write_str("its checksum is wrong"),
            Self::Version(version) => {
                write!(f, "it is of format version {version}, this program knows version {VERSION}")
            }
            Self::Kind(kind) => write!(f, "it is a message of kind {kind}, which this version does not know"),
            Self::Field(what) => f.write_str(what),
            Self::Frame(fault) => fault.fmt(f),
            Self::Surplus(bytes) => write!(f, "{bytes} bytes are left over"),
        }
    }
}

/// Appends the bytes of `message` to `out`.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    let from = out.len();
    out.resize(from + header::BYTES, 0);
    let mut writer = Writer(out);
    let kind = body::encode(&message.body, &mut writer);
    let bytes = &mut out[from..];
    let body_bytes = u32::try_from(bytes.len() - header::BYTES).expect("frames and requests are bounded below that");
    let Header { cluster, epoch, source, source_incarnation, destination, destination_incarnation } = message.header;
    layout::put(bytes, header::MAGIC, header::MAGIC_BYTES);
    layout::put(bytes, header::VERSION, VERSION.to_le_bytes());
    layout::put(bytes, header::KIND, kind.to_le_bytes());
    layout::put(bytes, header::BODY_BYTES, body_bytes.to_le_bytes());
    layout::put(bytes, header::CLUSTER, cluster.0.to_le_bytes());
    layout::put(bytes, header::EPOCH, epoch.0.to_le_bytes());
    layout::put(bytes, header::SOURCE, source.0.to_le_bytes());
    layout::put(bytes, header::SOURCE_INCARNATION, source_incarnation.0.to_le_bytes());
    layout::put(bytes, header::DESTINATION, destination.0.to_le_bytes());
    layout::put(bytes, header::DESTINATION_INCARNATION, destination_incarnation.0.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[header::CHECKSUM.end()..]);
    layout::put(bytes, header::CHECKSUM, checksum.to_le_bytes());
}

/// Reads the message that `bytes` are.
///
/// # Errors
/// When they are not exactly one message that a correct sender of this version makes.
pub fn decode(bytes: &[u8]) -> Result<Message, CodecFault> {
    if bytes.len() < header::BYTES {
        return Err(CodecFault::Short);
    }
    if layout::get(bytes, header::MAGIC) != header::MAGIC_BYTES {
        return Err(CodecFault::Magic);
    }
    let u64_at = |field| u64::from_le_bytes(layout::get(bytes, field));
    // before the checksum: another version may have it elsewhere
    let version = u16::from_le_bytes(layout::get(bytes, header::VERSION));
    if version != VERSION {
        return Err(CodecFault::Version(version));
    }
    if u32::from_le_bytes(layout::get(bytes, header::CHECKSUM)) != crc32c::crc32c(&bytes[header::CHECKSUM.end()..]) {
        return Err(CodecFault::Checksum);
    }
    let body = &bytes[header::BYTES..];
    let body_bytes = u32::from_le_bytes(layout::get(bytes, header::BODY_BYTES)) as usize;
    if body_bytes != body.len() {
        return Err(if body_bytes > body.len() {
            CodecFault::Short
        } else {
            CodecFault::Surplus(body.len() - body_bytes)
        });
    }
    let header = Header {
        cluster: LogId(u128::from_le_bytes(layout::get(bytes, header::CLUSTER))),
        epoch: Epoch(u64_at(header::EPOCH)),
        source: NodeId(u64_at(header::SOURCE)),
        source_incarnation: Incarnation(u64_at(header::SOURCE_INCARNATION)),
        destination: NodeId(u64_at(header::DESTINATION)),
        destination_incarnation: Incarnation(u64_at(header::DESTINATION_INCARNATION)),
    };
    let mut rest = Rest(body);
    let body = body::decode(u16::from_le_bytes(layout::get(bytes, header::KIND)), &mut rest)?;
    rest.end()?;
    let message = Message { header, body };
    message.fault().map_or(Ok(message), |fault| Err(CodecFault::Field(fault)))
}
