//! A server's answers as a client reads them: from the bytes at hand to one answer, borrowed from them. A function of
//! those bytes, like [`parse`](super::parse); which request an answer belongs to is the caller's to know.
//!
//! ```text
//! bytes at hand --parse_answer--> Answer     a whole answer with its data block
//!                             |-> Need       not whole yet: wait for that many bytes
//!                             '-> Malformed  no memcached server says this
//! ```

use memchr::memchr;

use super::line::find_space;
use super::number;
use crate::config::{ITEM_BYTES_CEILING, LINE_BYTES_MAX};

/// The line end of the protocol.
const CRLF: &[u8] = b"\r\n";

/// One answer, or one of several that make the answer to a get or to stats. `B` holds bytes: `&[u8]` as read, something
/// owned to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<B> {
    /// An item.
    Value {
        /// Its key, at least one byte.
        key: B,
        /// The client's flags.
        flags: u32,
        /// Its cas id, when asked for.
        cas: Option<u64>,
        /// Its bytes without the line end.
        data: B,
    },
    /// One statistic.
    Stat {
        /// Its name, at least one byte.
        name: B,
        /// The rest of the line.
        value: B,
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
    Version(B),
    /// The answer to a meta command.
    Meta {
        /// Its first word.
        code: MetaCode,
        /// What follows on the line without its first space: flags and what they return.
        flags: B,
        /// The item's bytes, with [`MetaCode::Value`] and nowhere else.
        data: Option<B>,
    },
    /// The request was refused, and whose fault that is; the text is the server's whole line.
    Refused(Fault, B),
}

impl<B> Answer<B> {
    /// The same with its bytes held otherwise.
    pub fn map<C>(self, mut hold: impl FnMut(B) -> C) -> Answer<C> {
        match self {
            Self::Value { key, flags, cas, data } => Answer::Value { key: hold(key), flags, cas, data: hold(data) },
            Self::Stat { name, value } => Answer::Stat { name: hold(name), value: hold(value) },
            Self::End => Answer::End,
            Self::Reset => Answer::Reset,
            Self::Stored => Answer::Stored,
            Self::NotStored => Answer::NotStored,
            Self::Exists => Answer::Exists,
            Self::NotFound => Answer::NotFound,
            Self::Deleted => Answer::Deleted,
            Self::Touched => Answer::Touched,
            Self::Ok => Answer::Ok,
            Self::Number(number) => Answer::Number(number),
            Self::Version(version) => Answer::Version(hold(version)),
            Self::Meta { code, flags, data } => Answer::Meta { code, flags: hold(flags), data: data.map(hold) },
            Self::Refused(fault, line) => Answer::Refused(fault, hold(line)),
        }
    }
}

/// First word of the answer to a meta command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaCode {
    /// `HD`: done, and no value.
    Done,
    /// `VA`: an item with its value.
    Value,
    /// `EN`: a get found nothing.
    Miss,
    /// `NF`: no such item.
    NotFound,
    /// `NS`: not stored.
    NotStored,
    /// `EX`: the item has another cas id.
    Exists,
    /// `MN`: the answer to `mn`, behind all answers before it.
    NoOp,
}

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `ERROR`, `CLIENT_ERROR`: the request's.
    Client,
    /// `SERVER_ERROR`: the server's.
    Server,
}

/// What the bytes at hand begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered<'a> {
    /// An answer, and how many bytes it took.
    Answer {
        /// What was answered.
        answer: Answer<&'a [u8]>,
        /// Bytes it took, its data block included.
        consumed: usize,
    },
    /// The beginning of an answer: parsing again is of no use before so many bytes are there.
    Need {
        /// More than there are; exact when a data block's length is known.
        total: usize,
    },
    /// No answer of memcached, and no telling where the next one begins.
    Malformed,
}

/// Reads the first answer off `input`.
#[inline]
#[must_use]
pub fn parse_answer(input: &[u8]) -> Answered<'_> {
    let Some(newline) = memchr(b'\n', &input[..input.len().min(LINE_BYTES_MAX)]) else {
        return if input.len() < LINE_BYTES_MAX { need(input.len() + 1) } else { Answered::Malformed };
    };
    let consumed = newline + 1;
    // one of memcached's own refusals ends without the carriage return
    let line = match &input[..newline] {
        [line @ .., b'\r'] => line,
        line => line,
    };
    if let Some(words) = line.strip_prefix(b"VALUE ") {
        return value(words, input, consumed).unwrap_or(Answered::Malformed);
    }
    let answer = match line {
        b"END" => Some(Answer::End),
        b"STORED" => Some(Answer::Stored),
        _ => other(line),
    };
    match answer {
        Some(answer) => Answered::Answer { answer, consumed },
        None => meta_value(line, input, consumed).unwrap_or(Answered::Malformed),
    }
}

const fn need(total: usize) -> Answered<'static> {
    Answered::Need { total }
}

/// `<key> <flags> <bytes>[ <cas>]` and the data block, which begins at `block`.
#[inline]
fn value<'a>(words: &'a [u8], input: &'a [u8], block: usize) -> Option<Answered<'a>> {
    let (key, rest) = split_word(words)?;
    let (flags, rest) = split_word(rest)?;
    let (length, cas) = match find_space(rest) {
        Some(space) => (&rest[..space], Some(number::unsigned(&rest[space + 1..])?)),
        None => (rest, None),
    };
    let flags = u32::try_from(number::unsigned(flags)?).ok()?;
    if key.is_empty() {
        return None;
    }
    match data_block(input, block, length)? {
        Block::Need(total) => Some(need(total)),
        Block::Whole(data, consumed) => {
            Some(Answered::Answer { answer: Answer::Value { key, flags, cas, data }, consumed })
        }
    }
}

/// `VA <bytes> <flags>*` and the data block.
fn meta_value<'a>(line: &'a [u8], input: &'a [u8], block: usize) -> Option<Answered<'a>> {
    let words = line.strip_prefix(b"VA ")?;
    let (length, flags) = split_word(words).unwrap_or((words, &[]));
    match data_block(input, block, length)? {
        Block::Need(total) => Some(need(total)),
        Block::Whole(data, consumed) => {
            Some(Answered::Answer { answer: Answer::Meta { code: MetaCode::Value, flags, data: Some(data) }, consumed })
        }
    }
}

enum Block<'a> {
    Need(usize),
    /// The bytes, and where what follows begins.
    Whole(&'a [u8], usize),
}

/// The data block of this length that begins at `start`; nothing when it does not end as it must.
#[inline]
fn data_block<'a>(input: &'a [u8], start: usize, length: &[u8]) -> Option<Block<'a>> {
    let length = usize::try_from(number::unsigned(length)?).ok().filter(|&length| length <= ITEM_BYTES_CEILING)?;
    let end = start + length;
    let total = end + CRLF.len();
    if input.len() < total {
        return Some(Block::Need(total));
    }
    (&input[end..total] == CRLF).then_some(Block::Whole(&input[start..end], total))
}

/// What stands before the first space and what stands behind it.
#[inline]
fn split_word(words: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = find_space(words)?;
    Some((&words[..space], &words[space + 1..]))
}

/// The answers of one line, but for the two that come most.
fn other(line: &[u8]) -> Option<Answer<&[u8]>> {
    Some(match line {
        b"NOT_FOUND" => Answer::NotFound,
        b"DELETED" => Answer::Deleted,
        b"TOUCHED" => Answer::Touched,
        b"NOT_STORED" => Answer::NotStored,
        b"EXISTS" => Answer::Exists,
        b"OK" => Answer::Ok,
        b"RESET" => Answer::Reset,
        [b'0'..=b'9', ..] => Answer::Number(number::unsigned(line)?),
        _ => return with_text(line),
    })
}

fn with_text(line: &[u8]) -> Option<Answer<&[u8]>> {
    if let Some(text) = line.strip_prefix(b"STAT ") {
        let (name, value) = split_word(text).unwrap_or((text, &[]));
        return (!name.is_empty()).then_some(Answer::Stat { name, value });
    }
    if let Some(version) = line.strip_prefix(b"VERSION ") {
        return Some(Answer::Version(version));
    }
    if line.starts_with(b"SERVER_ERROR") {
        return Some(Answer::Refused(Fault::Server, line));
    }
    if line == b"ERROR" || line.starts_with(b"ERROR ") || line.starts_with(b"CLIENT_ERROR") {
        return Some(Answer::Refused(Fault::Client, line));
    }
    meta(line)
}

/// The meta answers without a value.
fn meta(line: &[u8]) -> Option<Answer<&[u8]>> {
    let (code, flags) = match line {
        [a, b] => ([*a, *b], &[][..]),
        [a, b, b' ', flags @ ..] => ([*a, *b], flags),
        _ => return None,
    };
    let code = match &code {
        b"HD" => MetaCode::Done,
        b"EN" => MetaCode::Miss,
        b"NF" => MetaCode::NotFound,
        b"NS" => MetaCode::NotStored,
        b"EX" => MetaCode::Exists,
        b"MN" => MetaCode::NoOp,
        _ => return None,
    };
    Some(Answer::Meta { code, flags, data: None })
}
