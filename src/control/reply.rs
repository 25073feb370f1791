//! What a server answers: from bytes to replies. Pure; takes whole replies off the front of the buffer and leaves the
//! rest for the next call.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use crate::config::{ITEM_BYTES_CEILING, LINE_BYTES_MAX};

/// One reply. Of a `get` and of `stats` several make the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An item.
    Value {
        /// Its key.
        key: Bytes,
        /// The client's flags.
        flags: u32,
        /// Its cas id, when asked for.
        cas: Option<u64>,
        /// Its bytes.
        data: Bytes,
    },
    /// One statistic.
    Stat {
        /// Its name.
        name: Bytes,
        /// The rest of the line.
        value: Bytes,
    },
    /// The end of the items or the statistics.
    End,
    /// `stats reset` was done.
    Reset,
    /// Stored.
    Stored,
    /// The condition of the storage command did not hold.
    NotStored,
    /// The item has changed since the cas id was read.
    Exists,
    /// There is no such item.
    NotFound,
    /// Deleted.
    Deleted,
    /// Touched.
    Touched,
    /// Done.
    Ok,
    /// The new value of a counter.
    Number(u64),
    /// The server's version.
    Version(Bytes),
    /// The request was refused, and whose fault that is; the text is the server's.
    Refused(Fault, Bytes),
}

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `ERROR`, `CLIENT_ERROR`: the request's.
    Client,
    /// `SERVER_ERROR`: the server's.
    Server,
}

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
/// When the bytes cannot be the beginning of a reply; the buffer is of no use then.
pub fn take(input: &mut BytesMut) -> Result<Option<Reply>, Malformed> {
    let malformed = |input: &BytesMut| Malformed(Bytes::copy_from_slice(&input[..input.len().min(SHOWN_BYTES_MAX)]));
    let Some(end) = memchr::memchr(b'\n', &input[..input.len().min(LINE_BYTES_MAX)]) else {
        return if input.len() < LINE_BYTES_MAX { Ok(None) } else { Err(malformed(input)) };
    };
    let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
    if line.starts_with(b"VALUE ") {
        let Some(header) = value_header(line) else { return Err(malformed(input)) };
        return take_value(input, end + 1, header).map_err(|()| malformed(input));
    }
    let Some(reply) = simple(line) else { return Err(malformed(input)) };
    input.advance(end + 1);
    Ok(Some(reply))
}

struct ValueHeader {
    key: Bytes,
    flags: u32,
    length: usize,
    cas: Option<u64>,
}

/// `VALUE <key> <flags> <bytes>[ <cas>]`
fn value_header(line: &[u8]) -> Option<ValueHeader> {
    let mut words = line.split(|&byte| byte == b' ').skip(1);
    let key = Bytes::copy_from_slice(words.next()?);
    let flags = number(words.next()?)?.try_into().ok()?;
    let length = number(words.next()?)?.try_into().ok().filter(|&length: &usize| length <= ITEM_BYTES_CEILING)?;
    let cas = match words.next() {
        Some(word) => Some(number(word)?),
        None => None,
    };
    (words.next().is_none() && !key.is_empty()).then_some(ValueHeader { key, flags, length, cas })
}

fn take_value(input: &mut BytesMut, line_bytes: usize, header: ValueHeader) -> Result<Option<Reply>, ()> {
    let total = line_bytes + header.length + 2;
    if input.len() < total {
        // room in one go for a large value, rather than by doubling
        input.reserve(total - input.len());
        return Ok(None);
    }
    if &input[total - 2..total] != b"\r\n" {
        return Err(());
    }
    input.advance(line_bytes);
    let data = input.split_to(header.length).freeze();
    input.advance(2);
    Ok(Some(Reply::Value { key: header.key, flags: header.flags, cas: header.cas, data }))
}

fn simple(line: &[u8]) -> Option<Reply> {
    let reply = match line {
        b"END" => Reply::End,
        b"RESET" => Reply::Reset,
        b"STORED" => Reply::Stored,
        b"NOT_STORED" => Reply::NotStored,
        b"EXISTS" => Reply::Exists,
        b"NOT_FOUND" => Reply::NotFound,
        b"DELETED" => Reply::Deleted,
        b"TOUCHED" => Reply::Touched,
        b"OK" => Reply::Ok,
        _ if line.first().is_some_and(u8::is_ascii_digit) => Reply::Number(number(line)?),
        _ => return with_text(line),
    };
    Some(reply)
}

fn with_text(line: &[u8]) -> Option<Reply> {
    if let Some(text) = line.strip_prefix(b"STAT ") {
        let name = text.split(|&byte| byte == b' ').next().filter(|name| !name.is_empty())?;
        let value = text.get(name.len() + 1..).unwrap_or_default();
        return Some(Reply::Stat { name: Bytes::copy_from_slice(name), value: Bytes::copy_from_slice(value) });
    }
    if let Some(version) = line.strip_prefix(b"VERSION ") {
        return Some(Reply::Version(Bytes::copy_from_slice(version)));
    }
    let fault = if line.starts_with(b"SERVER_ERROR") {
        Fault::Server
    } else if line.starts_with(b"CLIENT_ERROR") || line.starts_with(b"ERROR") {
        Fault::Client
    } else {
        return None;
    };
    Some(Reply::Refused(fault, Bytes::copy_from_slice(line)))
}

/// A decimal number, digits only.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
