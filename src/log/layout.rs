//! Where every field of the log stands: chained offsets, so that a field cannot move without its neighbours. FORMAT.md's
//! tables are printed from here by a test. All numbers are little-endian.

use crate::config;

/// A field of a fixed header.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in FORMAT.md.
    pub name: &'static str,
    /// Its first byte.
    pub at: usize,
    /// How many bytes it has.
    pub bytes: usize,
    /// What it holds.
    pub meaning: &'static str,
}

impl Field {
    pub(crate) const fn first(name: &'static str, bytes: usize, meaning: &'static str) -> Self {
        Self { name, at: 0, bytes, meaning }
    }

    pub(crate) const fn then(self, name: &'static str, bytes: usize, meaning: &'static str) -> Self {
        Self { name, at: self.end(), bytes, meaning }
    }

    /// The byte after it.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.at + self.bytes
    }
}

/// The version of files and frames that this code writes and reads.
pub const VERSION: u16 = 1;

/// The header at the start of each file.
pub mod file {
    use super::Field;

    /// The first eight bytes of a log file.
    pub const MAGIC_BYTES: [u8; 8] = *b"ringlog\n";

    /// See its text.
    pub const MAGIC: Field = Field::first("magic", 8, "the text `ringlog` and a line feed");
    /// See its text.
    pub const CHECKSUM: Field = MAGIC.then("checksum", 4, "CRC32C of the rest of this header");
    /// See its text.
    pub const VERSION: Field = CHECKSUM.then("version", 2, "of the format: 1");
    /// See its text.
    pub const HEADER_BYTES: Field = VERSION.then("header_bytes", 2, "bytes of this header: 64");
    /// See its text.
    pub const LOG_ID: Field =
        HEADER_BYTES.then("log_id", 16, "the log (in a cluster the cluster) it belongs to, random");
    /// See its text.
    pub const POSITION: Field = LOG_ID.then("position", 8, "position of its first frame; the file's name says it too");
    /// See its text.
    pub const INDEX: Field = POSITION.then("index", 8, "index of the first entry in it");
    /// See its text.
    pub const EPOCH: Field = INDEX.then("epoch", 8, "no frame in it is of an earlier one");
    /// See its text.
    pub const TIME: Field = EPOCH.then("time", 8, "no frame in it is earlier; nanoseconds since 1970");

    /// All of them in order.
    pub const FIELDS: [Field; 9] = [MAGIC, CHECKSUM, VERSION, HEADER_BYTES, LOG_ID, POSITION, INDEX, EPOCH, TIME];
    /// Bytes of the header.
    pub const BYTES: usize = TIME.end();
}

/// The header at the start of each frame.
pub mod frame {
    use super::Field;

    /// The first four bytes of a frame. None of them is a text character, so that values rarely look like frames.
    pub const MAGIC_BYTES: [u8; 4] = [0xF5, 0x9A, 0xD1, 0x06];

    /// See its text.
    pub const MAGIC: Field = Field::first("magic", 4, "F5 9A D1 06");
    /// See its text.
    pub const CHECKSUM: Field = MAGIC.then("checksum", 4, "CRC32C of the rest of this header");
    /// See its text.
    pub const VERSION: Field = CHECKSUM.then("version", 2, "of the format: 1");
    /// See its text.
    pub const HEADER_BYTES: Field = VERSION.then("header_bytes", 2, "bytes of this header: 64");
    /// See its text.
    pub const ENTRIES: Field = HEADER_BYTES.then("entries", 4, "entries in the body, at least 1");
    /// See its text.
    pub const BODY_BYTES: Field = ENTRIES.then("body_bytes", 4, "bytes of the body, which follows the header");
    /// See its text.
    pub const BODY_CHECKSUM: Field = BODY_BYTES.then("body_checksum", 4, "CRC32C of the body");
    /// See its text.
    pub const EPOCH: Field = BODY_CHECKSUM.then("epoch", 8, "configuration it was made in; never goes back");
    /// See its text.
    pub const FIRST_INDEX: Field =
        EPOCH.then("first_index", 8, "index of its first entry; the next has the next index");
    /// See its text.
    pub const POSITION: Field = FIRST_INDEX.then("position", 8, "its own position");
    /// See its text.
    pub const DURABLE_UPTO: Field = POSITION.then("durable_upto", 8, "watermark: all below it was durable by then");
    /// See its text.
    pub const TIME: Field = DURABLE_UPTO.then("time", 8, "leader's time, nanoseconds since 1970; never goes back");

    /// All of them in order.
    pub const FIELDS: [Field; 12] = [
        MAGIC,
        CHECKSUM,
        VERSION,
        HEADER_BYTES,
        ENTRIES,
        BODY_BYTES,
        BODY_CHECKSUM,
        EPOCH,
        FIRST_INDEX,
        POSITION,
        DURABLE_UPTO,
        TIME,
    ];
    /// Bytes of the header.
    pub const BYTES: usize = TIME.end();
}

/// The first byte of an entry: its kind in the low four bits, what is present or why in the high four.
pub mod entry {
    /// Bits that hold the kind.
    pub const KIND_MASK: u8 = 0x0F;
    /// Key and value.
    pub const PUT: u8 = 1;
    /// A key is gone.
    pub const DELETE: u8 = 2;
    /// A key has a new expiry.
    pub const TOUCH: u8 = 3;
    /// Everything is gone.
    pub const FLUSH: u8 = 4;
    /// Everything will be gone at a time.
    pub const FLUSH_AT: u8 = 5;
    /// Nothing changes.
    pub const NO_OP: u8 = 6;
    /// Stands before an entry and says which server's client asked for it.
    pub const ORIGIN: u8 = 7;

    /// Four bytes of client flags follow; they are not 0.
    pub const HAS_FLAGS: u8 = 0x10;
    /// Four bytes of expiry follow; it is not never.
    pub const HAS_EXPIRY: u8 = 0x20;
    /// Eight bytes of cas id follow; without them it is the entry's index.
    pub const HAS_CAS: u8 = 0x40;
    /// One byte of item bits follows; it is not 0.
    pub const HAS_BITS: u8 = 0x80;
    /// How far the reason of a delete is shifted.
    pub const REASON_SHIFT: u32 = 4;
    /// Bytes of an origin: first byte, server, its incarnation, the request's number there.
    pub const ORIGIN_BYTES: usize = 1 + 8 + 8 + 8;
    /// The most bytes an entry has besides key and value: its origin, first byte, key length, value length, flags, expiry,
    /// cas, bits.
    pub const OVERHEAD_BYTES_MAX: usize = ORIGIN_BYTES + 1 + 1 + VALUE_LENGTH_BYTES_MAX + 4 + 4 + 8 + 1;
    /// The most bytes of a value's length, seven bits in each.
    pub const VALUE_LENGTH_BYTES_MAX: usize = 5;
}

/// The largest body: a frame is closed once it has reached its target, so it is less than that and one entry.
pub const BODY_BYTES_MAX: usize =
    config::FRAME_BYTES_TARGET + config::ITEM_BYTES_CEILING + config::KEY_BYTES_MAX + entry::OVERHEAD_BYTES_MAX;

const _: () = assert!(file::BYTES == 64);
const _: () = assert!(frame::BYTES == 64);
const _: () = assert!(config::KEY_BYTES_MAX <= u8::MAX as usize, "a key's length is one byte");
const _: () = assert!(BODY_BYTES_MAX <= u32::MAX as usize, "a body's length is four bytes");
const _: () = assert!(config::ITEM_BYTES_CEILING < 1 << 35, "a value's length is five groups of seven bits");

/// The `N` bytes of `field`.
pub(crate) fn get<const N: usize>(header: &[u8], field: Field) -> [u8; N] {
    assert!(field.bytes == N, "the field has another size");
    header[field.at..field.end()].try_into().expect("the range has that size")
}

/// Writes `field`.
pub(crate) fn put<const N: usize>(header: &mut [u8], field: Field, bytes: [u8; N]) {
    assert!(field.bytes == N, "the field has another size");
    header[field.at..field.end()].copy_from_slice(&bytes);
}
