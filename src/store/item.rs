//! The layout of an item in the arena. Bytes and arithmetic only; the arena reads and writes them.
//!
//! ```text
//!   0    1      2           4        .        .         .            .       .
//!   +----+------+-----------+--------+--------+---------+------------+------+-----+-------+
//!   | key| shape| value len | expiry | flags  | cas     | value len  | bits | key | value |  pad to 4
//!   | len|      | low 16    | u32    | u32    | 4 or 8  | u32        | u8   |     |       |
//!   +----+------+-----------+--------+--------+---------+------------+------+-----+-------+
//!                            EXPIRY   FLAGS    WIDE_CAS   LONG         BITS     what is there says `shape`
//! ```
//!
//! A key length of zero is a filler: four bytes that belong to no item.

use super::Put;
use crate::config;

/// Granule of item addresses and sizes.
pub(super) const UNIT_BYTES: usize = 4;

/// The item has room for an expiry.
pub(super) const EXPIRY: u8 = 1;
/// The item has flags other than 0.
pub(super) const FLAGS: u8 = 1 << 1;
/// The cas id takes eight bytes.
pub(super) const WIDE_CAS: u8 = 1 << 2;
/// The value's length takes more than 16 bits and stands in a word of its own.
pub(super) const LONG: u8 = 1 << 3;
/// The item has marks of the meta commands.
pub(super) const BITS: u8 = 1 << 4;
/// Read since it was stored or last moved; what eviction goes by.
pub(super) const RECENT: u8 = 1 << 5;
/// Read at least once.
pub(super) const FETCHED: u8 = 1 << 6;
/// No index entry leads here any more.
pub(super) const DEAD: u8 = 1 << 7;

/// The bits that say which fields there are.
const FIELDS: u8 = EXPIRY | FLAGS | WIDE_CAS | LONG | BITS;

/// Longest header.
pub(super) const HEADER_BYTES_MAX: usize = header_bytes(FIELDS);

const _: () = assert!(config::KEY_BYTES_MAX <= u8::MAX as usize);
const _: () = assert!(HEADER_BYTES_MAX == 25);

const HEADER_BYTES: [u8; FIELDS as usize + 1] = {
    let mut table = [0; FIELDS as usize + 1];
    let mut shape = 0;
    while shape <= FIELDS {
        let mut bytes = 4 + 4;
        bytes += if shape & EXPIRY != 0 { 4 } else { 0 };
        bytes += if shape & FLAGS != 0 { 4 } else { 0 };
        bytes += if shape & WIDE_CAS != 0 { 4 } else { 0 };
        bytes += if shape & LONG != 0 { 4 } else { 0 };
        bytes += if shape & BITS != 0 { 1 } else { 0 };
        table[shape as usize] = bytes;
        shape += 1;
    }
    table
};

/// Bytes before the key.
pub(super) const fn header_bytes(shape: u8) -> usize {
    HEADER_BYTES[(shape & FIELDS) as usize] as usize
}

/// Where the flags stand.
pub(super) const fn flags_at(shape: u8) -> usize {
    4 + 4 * (shape & EXPIRY) as usize
}

/// Where the cas id stands.
pub(super) const fn cas_at(shape: u8) -> usize {
    flags_at(shape) + 2 * (shape & FLAGS) as usize
}

/// Where the long value length stands.
pub(super) const fn long_at(shape: u8) -> usize {
    cas_at(shape) + 4 + (shape & WIDE_CAS) as usize
}

/// Bytes an item takes, padding included.
pub(super) const fn item_bytes(shape: u8, key: usize, value: usize) -> usize {
    (header_bytes(shape) + key + value).next_multiple_of(UNIT_BYTES)
}

/// What an item is before it is written: its fields and its size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub shape: u8,
    pub bytes: usize,
}

impl Plan {
    pub fn of(put: &Put<'_>) -> Self {
        let value = put.value[0].len() + put.value[1].len();
        let mut shape = 0;
        shape |= if put.expiry.raw() != 0 { EXPIRY } else { 0 };
        shape |= if put.flags != 0 { FLAGS } else { 0 };
        shape |= if put.cas > u64::from(u32::MAX) { WIDE_CAS } else { 0 };
        shape |= if value > usize::from(u16::MAX) { LONG } else { 0 };
        shape |= if put.bits.0 != 0 { BITS } else { 0 };
        Self { shape, bytes: item_bytes(shape, put.key.len(), value) }
    }
}

/// The header of `put`, and how many bytes of the array it takes.
pub(super) fn header(put: &Put<'_>, shape: u8) -> ([u8; HEADER_BYTES_MAX], usize) {
    let mut bytes = [0; HEADER_BYTES_MAX];
    let value = put.value[0].len() + put.value[1].len();
    bytes[0] = put.key.len() as u8;
    bytes[1] = shape;
    bytes[2..4].copy_from_slice(&(value as u16).to_ne_bytes());
    let mut field = |at: usize, word: u32| bytes[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    if shape & EXPIRY != 0 {
        field(4, put.expiry.raw());
    }
    if shape & FLAGS != 0 {
        field(flags_at(shape), put.flags);
    }
    field(cas_at(shape), put.cas as u32);
    if shape & WIDE_CAS != 0 {
        field(cas_at(shape) + 4, (put.cas >> 32) as u32);
    }
    if shape & LONG != 0 {
        field(long_at(shape), value as u32);
    }
    let length = header_bytes(shape);
    if shape & BITS != 0 {
        bytes[length - 1] = put.bits.0;
    }
    (bytes, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_follow_each_other() {
        for shape in 0..=FIELDS {
            let mut at = 4;
            at += if shape & EXPIRY != 0 { 4 } else { 0 };
            assert_eq!(flags_at(shape), at, "shape {shape:05b}");
            at += if shape & FLAGS != 0 { 4 } else { 0 };
            assert_eq!(cas_at(shape), at, "shape {shape:05b}");
            at += if shape & WIDE_CAS != 0 { 8 } else { 4 };
            assert_eq!(long_at(shape), at, "shape {shape:05b}");
            at += if shape & LONG != 0 { 4 } else { 0 };
            at += usize::from(shape & BITS != 0);
            assert_eq!(header_bytes(shape), at, "shape {shape:05b}");
        }
    }

    #[test]
    fn a_plain_small_item_has_eight_bytes_above_key_and_value() {
        assert_eq!(item_bytes(0, 16, 32), 16 + 32 + 8);
        assert_eq!(item_bytes(WIDE_CAS, 16, 32), 16 + 32 + 12);
    }
}
