//! `stats detail`: counts by the part of the key before the delimiter (`-D`), while somebody wants them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::locked;
use crate::config::DETAIL_PREFIXES_MAX;

/// What is counted of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// A key was asked for and found.
    Hit,
    /// A key was asked for; memcached counts a get-and-touch as this whether it finds something or not.
    Get,
    /// A store command.
    Set,
    /// A delete.
    Delete,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    gets: u64,
    hits: u64,
    sets: u64,
    deletes: u64,
}

/// Counts by prefix.
#[derive(Default)]
pub struct Detail {
    on: AtomicBool,
    prefixes: Mutex<BTreeMap<Vec<u8>, Counts>>,
}

impl Detail {
    /// Detail that counts from the start, or waits for `stats detail on`.
    #[must_use]
    pub fn new(on: bool) -> Self {
        Self { on: AtomicBool::new(on), prefixes: Mutex::default() }
    }

    /// Counts from now on, or no more; what was counted stays.
    pub fn switch(&self, on: bool) {
        self.on.store(on, Relaxed);
    }

    /// Whether it counts.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// Counts for the prefix of `key`, if it has one. Clients choose the prefixes, so there is a limit to them: what is
    /// new past it is not counted.
    pub fn count(&self, key: &[u8], delimiter: u8, what: Counted) {
        let Some(end) = memchr::memchr(delimiter, key) else { return };
        let mut prefixes = locked(&self.prefixes);
        if prefixes.len() >= DETAIL_PREFIXES_MAX && !prefixes.contains_key(&key[..end]) {
            return;
        }
        let counts = prefixes.entry(key[..end].to_vec()).or_default();
        match what {
            Counted::Hit => (counts.gets, counts.hits) = (counts.gets + 1, counts.hits + 1),
            Counted::Get => counts.gets += 1,
            Counted::Set => counts.sets += 1,
            Counted::Delete => counts.deletes += 1,
        }
    }

    /// `stats detail dump`.
    pub fn dump(&self, out: &mut Vec<u8>) {
        for (prefix, Counts { gets, hits, sets, deletes }) in locked(&self.prefixes).iter() {
            out.extend_from_slice(b"PREFIX ");
            out.extend_from_slice(prefix);
            write!(out, " get {gets} hit {hits} set {sets} del {deletes}\r\n")
                .expect("a vector takes what it is given");
        }
        out.extend_from_slice(b"END\r\n");
    }
}
