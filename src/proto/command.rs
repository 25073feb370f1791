//! Commands as data, borrowed from the receive buffer.

use memchr::memrchr;

use super::line::find_space;
use crate::config::KEY_BYTES_MAX;

/// A command that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the protocol's own words")]
pub enum Command<'a> {
    /// get, gets, gat, gats.
    Get(Get<'a>),
    /// set, add, replace, append, prepend, cas, with the data block.
    Store(Store<'a>),
    /// A store command whose item would be larger than `-I`. `swallow` counts the bytes of its data block, line end
    /// included, which follow the command's line and of which none is consumed.
    StoreTooLarge {
        verb: StoreVerb,
        key: &'a [u8],
        noreply: bool,
        swallow: u64,
    },
    Delete {
        key: &'a [u8],
        noreply: bool,
    },
    /// incr, decr.
    Arithmetic {
        direction: Direction,
        key: &'a [u8],
        delta: u64,
        noreply: bool,
    },
    Touch {
        key: &'a [u8],
        exptime: i32,
        noreply: bool,
    },
    /// `delay` as on the wire: 0 and below mean now.
    FlushAll {
        delay: i32,
        noreply: bool,
    },
    CacheMemlimit {
        megabytes: u64,
        noreply: bool,
    },
    Version,
    Verbosity {
        level: u32,
        noreply: bool,
    },
    Quit,
    Shutdown {
        graceful: bool,
    },
    /// `arguments`: what follows the word, without outer spaces.
    Stats {
        arguments: &'a [u8],
    },
    /// `arguments`: what follows the word, without outer spaces.
    Admin {
        verb: AdminVerb,
        arguments: &'a [u8],
    },
}

/// get, gets and, with `touch`, gat and gats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get<'a> {
    /// The keys in the client's order.
    pub keys: Keys<'a>,
    /// Whether the cas id is wanted.
    pub with_cas: bool,
    /// The expiry time to give to what is found.
    pub touch: Option<i32>,
}

/// A store command and its data block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the protocol's own words")]
pub struct Store<'a> {
    pub verb: StoreVerb,
    pub key: &'a [u8],
    pub flags: u32,
    pub exptime: i32,
    /// What `cas` compares with; 0 for the others.
    pub cas: u64,
    /// The data block without its line end.
    pub value: &'a [u8],
    pub noreply: bool,
}

/// Which store command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the protocol's own words")]
pub enum StoreVerb {
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    Cas,
}

/// Which way a counter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "incr and decr")]
pub enum Direction {
    Increment,
    Decrement,
}

/// Commands for the operator; their arguments are left to the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the protocol's own words")]
pub enum AdminVerb {
    LruCrawler,
    Lru,
    Slabs,
    Watch,
    Extstore,
    RefreshCerts,
}

/// The keys of a get: at least one, each of 1 to 250 bytes. They are found one by one as they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys<'a> {
    /// Invariant: no run of other bytes than space is longer than a key may be.
    rest: &'a [u8],
}

impl<'a> Keys<'a> {
    /// The keys in `words`, or nothing when there is none or one is too long.
    ///
    /// ```text
    /// aaa bbbbb cc ddd
    /// |<- window ->|     of one byte more than a key may have: its last space proves that
    ///             ^      no key before it is too long, and the next window begins behind it
    /// ```
    ///
    /// So the check touches few bytes, and a list that fits one key is not looked at.
    #[inline]
    pub(super) fn validated(words: &'a [u8]) -> Option<Self> {
        let first = words.iter().position(|&byte| byte != b' ')?;
        let rest = &words[first..];
        let mut unproven = rest;
        while unproven.len() > KEY_BYTES_MAX {
            let space = memrchr(b' ', &unproven[..=KEY_BYTES_MAX])?;
            unproven = &unproven[space + 1..];
        }
        Some(Self { rest })
    }
}

impl<'a> Iterator for Keys<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        while let [b' ', rest @ ..] = self.rest {
            self.rest = rest;
        }
        if self.rest.is_empty() {
            return None;
        }
        let key;
        (key, self.rest) = match find_space(self.rest) {
            Some(space) => (&self.rest[..space], &self.rest[space + 1..]),
            None => (self.rest, &[][..]),
        };
        Some(key)
    }
}
