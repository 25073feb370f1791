//! Answers as bytes, and every fixed string the server says. Appends to a buffer; knows nothing about who reads it.

use std::fmt::Display;
use std::io::Write;

/// The line end of the protocol.
const CRLF: &[u8] = b"\r\n";

macro_rules! strings {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
    };
}

strings! {
    /// Unknown command, or a bad argument of a command for operators.
    ERROR = "ERROR";
    /// Done.
    OK = "OK";
    /// Too few words, a key that is too long, a number that is none.
    BAD_FORMAT = "CLIENT_ERROR bad command line format";
    /// The data block does not end where its length says.
    BAD_CHUNK = "CLIENT_ERROR bad data chunk";
    /// incr and decr.
    INVALID_DELTA = "CLIENT_ERROR invalid numeric delta argument";
    /// touch, gat and `flush_all`.
    INVALID_EXPTIME = "CLIENT_ERROR invalid exptime argument";
    /// incr and decr on a value that is no number.
    NON_NUMERIC_VALUE = "CLIENT_ERROR cannot increment or decrement non-numeric value";
    /// The item exceeds `-I`.
    TOO_LARGE = "SERVER_ERROR object too large for cache";
    /// No memory, or no room on the disk.
    OUT_OF_MEMORY_STORING = "SERVER_ERROR out of memory storing object";
    /// A cluster with fewer members than `--min-insync` (R10).
    TOO_FEW_SERVERS = "SERVER_ERROR too few servers: no writes until one more is back";
    /// A cluster without a leader, for longer than a write waits.
    NO_LEADER = "SERVER_ERROR no leader: try again, or ask another server";
    /// A server that may not read, for longer than a read waits.
    NO_LEASE = "SERVER_ERROR cannot read here for now: ask another server";
    /// `-F`.
    FLUSH_NOT_ALLOWED = "CLIENT_ERROR flush_all not allowed";
    /// Without `-A`; the colon is memcached's.
    SHUTDOWN_NOT_ENABLED = "SERVER_ERROR: shutdown not enabled";
    /// shutdown knows no other word than graceful.
    INVALID_SHUTDOWN_MODE = "CLIENT_ERROR invalid shutdown mode";
    /// `-X`.
    STATS_DETAIL_NOT_ALLOWED = "CLIENT_ERROR stats detail not allowed";
    /// `stats detail` with another word.
    STATS_DETAIL_USAGE = "CLIENT_ERROR usage: stats detail on|off|dump";
    /// `-X`.
    CACHEDUMP_NOT_ALLOWED = "CLIENT_ERROR stats cachedump not allowed";
    /// `stats cachedump` of a class that cannot be.
    ILLEGAL_SLAB_ID = "CLIENT_ERROR Illegal slab id";
    /// `stats cachedump` with too few words.
    BAD_COMMAND_LINE = "CLIENT_ERROR bad command line";
    /// `cache_memlimit` with a number that must be bytes.
    MEMLIMIT_NOT_MEGABYTES = "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes";
    /// `cache_memlimit` below the smallest.
    MEMLIMIT_TOO_SMALL = "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m";
    /// `-W`.
    WATCH_NOT_ALLOWED = "CLIENT_ERROR watch commands not allowed";
}

/// The answer to a write, before it is bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the protocol's own words")]
pub enum Reply {
    Stored,
    NotStored,
    Exists,
    NotFound,
    Deleted,
    Touched,
    Ok,
    /// A counter's new value.
    Number(u64),
    /// A line, whose end is added.
    Line(&'static str),
    /// Bytes as they are.
    Bytes(Vec<u8>),
}

impl Reply {
    /// Appends the answer to `out`.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let text: &[u8] = match self {
            Self::Stored => b"STORED\r\n",
            Self::NotStored => b"NOT_STORED\r\n",
            Self::Exists => b"EXISTS\r\n",
            Self::NotFound => b"NOT_FOUND\r\n",
            Self::Deleted => b"DELETED\r\n",
            Self::Touched => b"TOUCHED\r\n",
            Self::Ok => b"OK\r\n",
            Self::Number(number) => return line(out, itoa::Buffer::new().format(*number)),
            Self::Line(text) => return line(out, text),
            Self::Bytes(bytes) => bytes,
        };
        out.extend_from_slice(text);
    }
}

/// Bytes of a `VALUE` line and its block beside key and value: the word, three numbers, four spaces and two line ends.
const VALUE_OVERHEAD_BYTES: usize = "VALUE ".len() + 3 + 10 + 20 + 20 + 2 * CRLF.len();

/// Appends one found item: the `VALUE` line and the data block.
#[inline]
pub fn value(out: &mut Vec<u8>, key: &[u8], flags: u32, value: &[u8], cas: Option<u64>) {
    out.reserve(key.len() + value.len() + VALUE_OVERHEAD_BYTES);
    out.extend_from_slice(b"VALUE ");
    out.extend_from_slice(key);
    spaced(out, u64::from(flags));
    spaced(out, value.len() as u64);
    if let Some(cas) = cas {
        spaced(out, cas);
    }
    out.extend_from_slice(CRLF);
    out.extend_from_slice(value);
    out.extend_from_slice(CRLF);
}

/// Appends a space and a number. Flags are mostly 0, which is worth a branch.
#[inline]
fn spaced(out: &mut Vec<u8>, number: u64) {
    out.push(b' ');
    if number < 10 {
        out.push(b'0' + number as u8);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
}

/// Appends what closes the answer to a get or a stats.
#[inline]
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"END\r\n");
}

/// Appends a line.
#[inline]
pub fn line(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + CRLF.len());
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(CRLF);
}

/// Appends one statistic; `value` must print without spaces, since readers count the words.
pub fn stat(out: &mut Vec<u8>, name: &str, value: impl Display) {
    write!(out, "STAT {name} {value}\r\n").expect("a vector takes what it is given");
}
