//! From the bytes at hand to one command: the line, its first word, and the commands without a data block.

use memchr::memchr;

use super::line::{Words, find_space};
use super::{AdminVerb, Command, Direction, Get, Keys, StoreVerb, number, reply, storage};
use crate::config::{GET_LINE_BYTES_MAX, KEY_BYTES_MAX, LINE_BYTES_MAX};

/// Shortest line that can hold a command, line end included; below it memcached does not look for a name.
const LINE_BYTES_MIN: usize = 4;
/// Spaces that may stand before a get that is longer than other lines may be (memcached's rule).
const GET_LEADING_SPACES_MAX: usize = 100;
/// Words after the key at which a delete is refused.
const DELETE_EXTRA_WORDS_REFUSED: usize = 3;
/// First byte of a request of the binary protocol, which is not spoken.
const BINARY_MAGIC: u8 = 0x80;

/// What the parser must know of the server's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseLimits {
    /// `-I`: largest item in bytes, by memcached's formula.
    pub item_bytes_max: usize,
}

/// What the bytes at hand begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A command, and how many bytes it took.
    Command {
        /// What is asked for.
        command: Command<'a>,
        /// Bytes it took, its data block included.
        consumed: usize,
    },
    /// The beginning of a command: parsing again is of no use before so many bytes are there.
    Need {
        /// More than there are; exact when a data block's length is known.
        total: usize,
    },
    /// No command. What follows is parsed as if nothing had happened.
    Invalid {
        /// The answer, unless the client asked for none.
        reply: Option<&'static str>,
        /// Bytes to drop, all of them at hand.
        consumed: usize,
        /// Further bytes to drop, at hand or yet to come: the data block of the refused command.
        swallow: u64,
    },
    /// No command, and no hope that one follows.
    Close {
        /// For the server's own log.
        reason: &'static str,
    },
}

/// Why a line is refused, and whether the client hears of it.
pub(super) struct Refusal {
    pub(super) text: &'static str,
    pub(super) noreply: bool,
}

impl Refusal {
    pub(super) const fn new(text: &'static str, noreply: bool) -> Self {
        Self { text, noreply }
    }

    /// The line lacks words: memcached looks for `noreply` only behind those, so the client always hears of it.
    pub(super) const SHORT: Self = Self::new(reply::BAD_FORMAT, false);

    pub(super) fn parsed<'a>(self, consumed: usize, swallow: u64) -> Parsed<'a> {
        Parsed::Invalid { reply: (!self.noreply).then_some(self.text), consumed, swallow }
    }
}

/// Reads the first command off `input`, which must not be empty.
#[inline]
pub fn parse<'a>(input: &'a [u8], limits: &ParseLimits) -> Parsed<'a> {
    assert!(!input.is_empty(), "nothing to parse");
    let Some(newline) = memchr(b'\n', input) else { return unfinished(input) };
    let consumed = newline + 1;
    let line = match &input[..newline] {
        [line @ .., b'\r'] => line,
        line => line,
    };
    if let Some(keys) = line.strip_prefix(b"get ")
        && let Some(keys) = Keys::validated(keys)
    {
        return Parsed::Command { command: Command::Get(Get { keys, with_cas: false, touch: None }), consumed };
    }
    if let Some(words) = line.strip_prefix(b"set ") {
        return storage::parse(StoreVerb::Set, Words::new(words), input, consumed, limits);
    }
    other(input, line, consumed, limits)
}

/// Input without a line end: wait for it, or give up.
#[cold]
fn unfinished<'a>(input: &[u8]) -> Parsed<'a> {
    if input[0] == BINARY_MAGIC {
        return Parsed::Close { reason: "the binary protocol is not spoken here" };
    }
    if input.len() > LINE_BYTES_MAX {
        let spaces = input.iter().take_while(|&&byte| byte == b' ').count();
        let line = &input[spaces..];
        let is_get = line.starts_with(b"get ") || line.starts_with(b"gets ");
        if spaces > GET_LEADING_SPACES_MAX || !is_get {
            return Parsed::Close { reason: "a command line is too long" };
        }
        if input.len() > GET_LINE_BYTES_MAX {
            return Parsed::Close { reason: "a get line is too long" };
        }
    }
    Parsed::Need { total: input.len() + 1 }
}

/// Everything but the two commands that come most.
fn other<'a>(input: &'a [u8], line: &'a [u8], consumed: usize, limits: &ParseLimits) -> Parsed<'a> {
    if line.first() == Some(&BINARY_MAGIC) {
        return Parsed::Close { reason: "the binary protocol is not spoken here" };
    }
    if consumed < LINE_BYTES_MIN {
        return Refusal::SHORT.parsed(consumed, 0);
    }
    let (name, rest) = line.split_at(find_space(line).unwrap_or(line.len()));
    let words = Words::new(rest);
    if let Some(verb) = store_verb(name) {
        return storage::parse(verb, words, input, consumed, limits);
    }
    // the meta commands (mg, ms, md, ma, me, mn) have their place here
    match plain(name, words) {
        Some(Ok(command)) => Parsed::Command { command, consumed },
        Some(Err(refusal)) => refusal.parsed(consumed, 0),
        None => unknown(words, consumed),
    }
}

/// A name nobody knows. A line that looks like HTTP comes from a browser that was lured here: no answer at all.
#[cold]
fn unknown<'a>(words: Words<'_>, consumed: usize) -> Parsed<'a> {
    if words.last().is_some_and(|word| word.starts_with(b"HTTP/")) {
        return Parsed::Close { reason: "an HTTP request" };
    }
    Refusal::new(reply::ERROR, words.noreply()).parsed(consumed, 0)
}

fn store_verb(name: &[u8]) -> Option<StoreVerb> {
    Some(match name {
        b"set" => StoreVerb::Set,
        b"add" => StoreVerb::Add,
        b"replace" => StoreVerb::Replace,
        b"append" => StoreVerb::Append,
        b"prepend" => StoreVerb::Prepend,
        b"cas" => StoreVerb::Cas,
        _ => return None,
    })
}

/// The commands that are whole with their line; nothing when the name is none of theirs.
fn plain<'a>(name: &[u8], words: Words<'a>) -> Option<Result<Command<'a>, Refusal>> {
    Some(match name {
        b"get" => get(words, false),
        b"gets" => get(words, true),
        b"gat" => get_and_touch(words, false),
        b"gats" => get_and_touch(words, true),
        b"delete" => delete(words),
        b"incr" => arithmetic(Direction::Increment, words),
        b"decr" => arithmetic(Direction::Decrement, words),
        b"touch" => touch(words),
        b"flush_all" => flush_all(words),
        b"cache_memlimit" => cache_memlimit(words),
        b"version" => Ok(Command::Version),
        b"verbosity" => verbosity(words),
        b"quit" => Ok(Command::Quit),
        b"shutdown" => shutdown(words),
        b"stats" => Ok(Command::Stats { arguments: words.trimmed() }),
        _ => Ok(Command::Admin { verb: admin_verb(name)?, arguments: words.trimmed() }),
    })
}

fn admin_verb(name: &[u8]) -> Option<AdminVerb> {
    Some(match name {
        b"lru_crawler" => AdminVerb::LruCrawler,
        b"lru" => AdminVerb::Lru,
        b"slabs" => AdminVerb::Slabs,
        b"watch" => AdminVerb::Watch,
        b"extstore" => AdminVerb::Extstore,
        b"refresh_certs" => AdminVerb::RefreshCerts,
        _ => return None,
    })
}

fn get(words: Words<'_>, with_cas: bool) -> Result<Command<'_>, Refusal> {
    let keys = Keys::validated(words.rest()).ok_or(Refusal::SHORT)?;
    Ok(Command::Get(Get { keys, with_cas, touch: None }))
}

fn get_and_touch(mut words: Words<'_>, with_cas: bool) -> Result<Command<'_>, Refusal> {
    let exptime = words.short().ok_or(Refusal::SHORT)?;
    if words.last().is_none() {
        return Err(Refusal::SHORT);
    }
    let exptime = number::signed(exptime).ok_or(Refusal::new(reply::INVALID_EXPTIME, false))?;
    let keys = Keys::validated(words.rest()).ok_or(Refusal::new(reply::BAD_FORMAT, false))?;
    Ok(Command::Get(Get { keys, with_cas, touch: Some(exptime) }))
}

fn delete(mut words: Words<'_>) -> Result<Command<'_>, Refusal> {
    let key = words.long().ok_or(Refusal::SHORT)?;
    let noreply = words.noreply();
    if key.len() > KEY_BYTES_MAX || words.count_upto(DELETE_EXTRA_WORDS_REFUSED) == DELETE_EXTRA_WORDS_REFUSED {
        return Err(Refusal::new(reply::BAD_FORMAT, noreply));
    }
    Ok(Command::Delete { key, noreply })
}

/// A key and the number behind it, still a word, and whether the last word asks for silence.
fn key_and_word(mut words: Words<'_>) -> Result<(&[u8], &[u8], bool), Refusal> {
    let key = words.long().ok_or(Refusal::SHORT)?;
    // memcached takes the last word for noreply even where it stands in the number's place
    let noreply = words.noreply();
    let word = words.short().ok_or(Refusal::SHORT)?;
    if key.len() > KEY_BYTES_MAX {
        return Err(Refusal::new(reply::BAD_FORMAT, noreply));
    }
    Ok((key, word, noreply))
}

fn arithmetic(direction: Direction, words: Words<'_>) -> Result<Command<'_>, Refusal> {
    let (key, delta, noreply) = key_and_word(words)?;
    let delta = number::unsigned(delta).ok_or(Refusal::new(reply::INVALID_DELTA, noreply))?;
    Ok(Command::Arithmetic { direction, key, delta, noreply })
}

fn touch(words: Words<'_>) -> Result<Command<'_>, Refusal> {
    let (key, exptime, noreply) = key_and_word(words)?;
    let exptime = number::signed(exptime).ok_or(Refusal::new(reply::INVALID_EXPTIME, noreply))?;
    Ok(Command::Touch { key, exptime, noreply })
}

fn flush_all(mut words: Words<'_>) -> Result<Command<'_>, Refusal> {
    let noreply = words.noreply();
    let delay = match (words.short(), words.last()) {
        (None, _) => 0,
        (Some(_), None) if noreply => 0,
        (Some(word), _) => number::signed(word).ok_or(Refusal::new(reply::INVALID_EXPTIME, noreply))?,
    };
    Ok(Command::FlushAll { delay, noreply })
}

/// The argument of a command that has one number of 32 bits.
fn only_number(mut words: Words<'_>, refused: &'static str) -> Result<(u32, bool), Refusal> {
    let noreply = words.noreply();
    let number = words.short().and_then(number::unsigned).and_then(|number| u32::try_from(number).ok());
    Ok((number.ok_or(Refusal::new(refused, noreply))?, noreply))
}

fn verbosity(words: Words<'_>) -> Result<Command<'_>, Refusal> {
    let (level, noreply) = only_number(words, reply::BAD_FORMAT)?;
    Ok(Command::Verbosity { level, noreply })
}

fn cache_memlimit(words: Words<'_>) -> Result<Command<'_>, Refusal> {
    let (megabytes, noreply) = only_number(words, reply::ERROR)?;
    Ok(Command::CacheMemlimit { megabytes: u64::from(megabytes), noreply })
}

fn shutdown(words: Words<'_>) -> Result<Command<'_>, Refusal> {
    match words.trimmed() {
        b"" => Ok(Command::Shutdown { graceful: false }),
        b"graceful" => Ok(Command::Shutdown { graceful: true }),
        _ => Err(Refusal::new(reply::INVALID_SHUTDOWN_MODE, words.noreply())),
    }
}
