//! The store commands: a line that announces a data block, and the block.

use super::line::Words;
use super::parse::{ParseLimits, Parsed, Refusal};
use super::{Command, Store, StoreVerb, number, reply};
use crate::config::{ITEM_HEADER_BYTES_MEMCACHED, KEY_BYTES_MAX};

/// Bytes of the line end behind a data block.
const BLOCK_END_BYTES: usize = 2;
/// Longest data block whose length, line end included, memcached can count.
const BLOCK_BYTES_MAX: i32 = i32::MAX - BLOCK_END_BYTES as i32;

/// What the line says.
struct Header<'a> {
    key: &'a [u8],
    /// Nothing when the word is no number.
    flags: Option<u32>,
    /// Nothing when the word is no number.
    exptime: Option<i32>,
    block_bytes: usize,
    /// The cas id's word, and `noreply`'s.
    rest: Words<'a>,
}

/// Parses a store command whose line takes the first `line_bytes` of `input`; `words` is what follows its name.
///
/// Once the length of the block is known, a refusal swallows the block too. A line that does not even tell the length
/// is all there is to drop, and its client hears of it in any case: it is out of step.
#[inline]
pub(super) fn parse<'a>(
    verb: StoreVerb,
    words: Words<'a>,
    input: &'a [u8],
    line_bytes: usize,
    limits: &ParseLimits,
) -> Parsed<'a> {
    let Some(header) = header(words) else { return Refusal::SHORT.parsed(line_bytes, 0) };
    let total = line_bytes + header.block_bytes + BLOCK_END_BYTES;
    let swallow = (header.block_bytes + BLOCK_END_BYTES) as u64;
    let noreply = header.rest.noreply();
    let Some(store) = check(verb, &header, noreply) else {
        return Refusal::new(reply::BAD_FORMAT, noreply).parsed(line_bytes, swallow);
    };
    if ITEM_HEADER_BYTES_MEMCACHED + store.key.len() + header.block_bytes > limits.item_bytes_max {
        let command = Command::StoreTooLarge { verb, key: store.key, noreply, swallow };
        return Parsed::Command { command, consumed: line_bytes };
    }
    if input.len() < total {
        return Parsed::Need { total };
    }
    match &input[line_bytes..total] {
        [value @ .., b'\r', b'\n'] => {
            Parsed::Command { command: Command::Store(Store { value, ..store }), consumed: total }
        }
        _ => Refusal::new(reply::BAD_CHUNK, noreply).parsed(total, 0),
    }
}

/// The words every store command has; nothing when one is missing or the length is none.
#[inline]
fn header(mut words: Words<'_>) -> Option<Header<'_>> {
    let key = words.long()?;
    let flags = match words.small() {
        None => number::flags(words.short()?),
        small => small,
    };
    let exptime = match words.small() {
        None => number::exptime(words.short()?),
        small => small.map(u32::cast_signed),
    };
    let length = match words.small() {
        None => number::signed(words.short()?)?,
        Some(small) => small.cast_signed(),
    };
    if !(0..=BLOCK_BYTES_MAX).contains(&length) {
        return None;
    }
    Some(Header { key, flags, exptime, block_bytes: length as usize, rest: words })
}

/// The command without its value; nothing when a word of the line is wrong.
#[inline]
fn check<'a>(verb: StoreVerb, header: &Header<'a>, noreply: bool) -> Option<Store<'a>> {
    if header.key.len() > KEY_BYTES_MAX {
        return None;
    }
    let cas = match verb {
        StoreVerb::Cas => number::unsigned({ header.rest }.short()?)?,
        _ => 0,
    };
    Some(Store { verb, key: header.key, flags: header.flags?, exptime: header.exptime?, cas, value: &[], noreply })
}
