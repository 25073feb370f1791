//! Where every field of a keystore stands. FORMAT.md's tables are printed from here by a test. All numbers are little-endian.

use crate::config;
use crate::log::layout::{BODY_BYTES_MAX as FRAME_BODY_BYTES_MAX, Field};

/// The version of keystores that this code writes and reads.
pub const VERSION: u16 = 1;

/// The header at the start.
pub mod header {
    use super::Field;

    /// The first eight bytes.
    pub const MAGIC_BYTES: [u8; 8] = *b"ringkey\n";

    /// See its text.
    pub const MAGIC: Field = Field::first("magic", 8, "the text `ringkey` and a line feed");
    /// See its text.
    pub const CHECKSUM: Field = MAGIC.then("checksum", 4, "CRC32C of the rest of this header");
    /// See its text.
    pub const VERSION: Field = CHECKSUM.then("version", 2, "of the format: 1");
    /// See its text.
    pub const HEADER_BYTES: Field = VERSION.then("header_bytes", 2, "bytes of this header: 72");
    /// See its text.
    pub const LOG_ID: Field =
        HEADER_BYTES.then("log_id", 16, "the log (in a cluster the cluster) whose entries it holds");
    /// See its text.
    pub const EPOCH: Field = LOG_ID.then("epoch", 8, "start mark: epoch of the last frame before it");
    /// See its text.
    pub const INDEX: Field = EPOCH.then("index", 8, "start mark: index of the last entry before it");
    /// See its text.
    pub const POSITION: Field = INDEX.then("position", 8, "start mark: all entries below are in it");
    /// See its text.
    pub const TIME: Field =
        POSITION.then("time", 8, "newest leader's time of the log below the start mark; nanoseconds since 1970");
    /// See its text.
    pub const FLUSH_AT: Field =
        TIME.then("flush_at", 4, "second at which everything is to be flushed, as of the start mark; 0: none");
    /// See its text.
    pub const EPOCHS: Field = FLUSH_AT.then("epochs", 4, "how many epochs begin below the start mark");

    /// All of them in order.
    pub const FIELDS: [Field; 11] =
        [MAGIC, CHECKSUM, VERSION, HEADER_BYTES, LOG_ID, EPOCH, INDEX, POSITION, TIME, FLUSH_AT, EPOCHS];
    /// Bytes of the header.
    pub const BYTES: usize = EPOCHS.end();
}

/// The header of each chunk.
pub mod chunk {
    use super::Field;

    /// The first four bytes of a chunk.
    pub const MAGIC_BYTES: [u8; 4] = [0xF5, 0x9A, 0xD1, 0x08];

    /// See its text.
    pub const MAGIC: Field = Field::first("magic", 4, "F5 9A D1 08");
    /// See its text.
    pub const CHECKSUM: Field = MAGIC.then("checksum", 4, "CRC32C of the rest of this header");
    /// See its text.
    pub const KIND: Field = CHECKSUM.then("kind", 4, "what the body holds");
    /// See its text.
    pub const COUNT: Field = KIND.then("count", 4, "how many of that, at least 1");
    /// See its text.
    pub const BODY_BYTES: Field = COUNT.then("body_bytes", 4, "bytes of the body, which follows this header");
    /// See its text.
    pub const BODY_CHECKSUM: Field = BODY_BYTES.then("body_checksum", 4, "CRC32C of the body");
    /// See its text.
    pub const NUMBER: Field = BODY_CHECKSUM.then("number", 8, "the chunk's number; the first is 0");

    /// All of them in order.
    pub const FIELDS: [Field; 7] = [MAGIC, CHECKSUM, KIND, COUNT, BODY_BYTES, BODY_CHECKSUM, NUMBER];
    /// Bytes of the header.
    pub const BYTES: usize = NUMBER.end();
}

/// Kinds of chunks.
pub mod kind {
    /// Where epochs begin.
    pub const EPOCHS: u32 = 1;
    /// Items.
    pub const ITEMS: u32 = 2;
    /// The end.
    pub const END: u32 = 3;
}

/// What the body of each kind holds, for FORMAT.md.
pub const KINDS: [(u32, &str, &str); 3] = [
    (kind::EPOCHS, "epochs", "of each: epoch 8, index of its first entry 8, position of its first frame 8"),
    (kind::ITEMS, "items", "of each: a put entry of the log with its cas id"),
    (kind::END, "end", "consistent mark: epoch 8, index 8, position 8; items in all chunks 8"),
];

/// Bytes of an epoch in its chunk.
pub const EPOCH_BYTES: usize = 24;
/// Bytes of the end's body.
pub const END_BYTES: usize = 32;

/// The largest body: a chunk is closed once it has reached its target, so it is less than that and one item.
pub const BODY_BYTES_MAX: usize = FRAME_BODY_BYTES_MAX;

const _: () = assert!(header::BYTES == 72);
const _: () = assert!(chunk::BYTES == 32);
const _: () = assert!(config::KEYSTORE_CHUNK_BYTES <= config::FRAME_BYTES_TARGET, "a body is no larger than a frame's");
const _: () = assert!(config::KEYSTORE_CHUNK_BYTES >= EPOCH_BYTES);
