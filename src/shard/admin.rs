//! The commands that are neither reads nor writes of data.

use std::sync::atomic::Ordering::Relaxed;

use super::Shard;
use crate::config::MEMCACHED_VERSION;
use crate::conn::ConnId;
use crate::proto::{AdminVerb, Command, reply};
use crate::stats;
use crate::time::Time;

impl Shard {
    pub(super) fn admin(&mut self, now: Time, id: ConnId, command: &Command<'_>) {
        match *command {
            Command::Version => self.reply(id, |out| reply::line(out, &format!("VERSION {MEMCACHED_VERSION}"))),
            Command::Verbosity { level, noreply } => {
                self.shared.verbosity.store(level, Relaxed);
                self.say(id, reply::OK, noreply);
            }
            Command::FlushAll { noreply, .. } => self.say(id, reply::FLUSH_NOT_ALLOWED, noreply),
            Command::Quit => {
                let conn = self.conns[id.0 as usize].as_mut().expect("the caller looked");
                conn.closing = true;
                self.list(id);
            }
            Command::Shutdown { .. } if self.shared.config.shutdown_command => {
                tracing::info!("a client asked the server to stop");
                self.shutdown = true;
                let conn = self.conns[id.0 as usize].as_mut().expect("the caller looked");
                conn.closing = true;
                self.list(id);
            }
            Command::Shutdown { .. } => self.say(id, reply::SHUTDOWN_NOT_ENABLED, false),
            Command::Stats { arguments } => self.stats(now, id, arguments),
            Command::Admin { verb, arguments } => {
                self.say(id, answer(verb, arguments, self.shared.config.watch_command), false);
            }
            Command::Get(_)
            | Command::Store(_)
            | Command::StoreTooLarge { .. }
            | Command::Delete { .. }
            | Command::Arithmetic { .. }
            | Command::Touch { .. }
            | Command::CacheMemlimit { .. } => unreachable!("these are operations on data"),
        }
    }

    fn say(&mut self, id: ConnId, text: &str, noreply: bool) {
        if !noreply {
            self.reply(id, |out| reply::line(out, text));
        }
    }

    fn stats(&mut self, now: Time, id: ConnId, arguments: &[u8]) {
        let shared = std::sync::Arc::clone(&self.shared);
        shared.publish(self.id as usize, &self.counters);
        if let Some(writes) = self.path.writes() {
            writes.publish(&shared);
        }
        let dump = shared.config.dump_command;
        let mut words = arguments.split(|&b| b == b' ').filter(|word| !word.is_empty());
        match words.next() {
            None => self.reply(id, |out| stats::general(out, &shared, now)),
            Some(b"settings") => self.reply(id, |out| stats::settings(out, &shared)),
            Some(b"items") => self.reply(id, |out| stats::items(out, &shared)),
            Some(b"slabs") => self.reply(id, |out| stats::slabs(out, &shared)),
            Some(b"conns") => self.reply(id, |out| stats::conns(out, &shared, now)),
            Some(b"cluster") => self.reply(id, |out| stats::cluster(out, &shared, now)),
            Some(b"sizes") => self.reply(id, |out| {
                reply::stat(out, "sizes_status", "disabled");
                reply::end(out);
            }),
            Some(b"reset") => {
                shared.reset();
                self.say(id, "RESET", false);
            }
            Some(b"detail") if !dump => self.say(id, reply::STATS_DETAIL_NOT_ALLOWED, false),
            Some(b"detail") => match words.next() {
                Some(word @ (b"on" | b"off")) => {
                    shared.detail.switch(word == b"on");
                    self.say(id, reply::OK, false);
                }
                Some(b"dump") => self.reply(id, |out| shared.detail.dump(out)),
                _ => self.say(id, reply::STATS_DETAIL_USAGE, false),
            },
            Some(b"cachedump") if !dump => self.say(id, reply::CACHEDUMP_NOT_ALLOWED, false),
            Some(b"cachedump") => self.cachedump(id, words.next(), words.next()),
            Some(_) => self.say(id, reply::ERROR, false),
        }
    }

    /// memcached's own dump is of one slab class; here all items are of class 1. What it prints is a sample by design,
    /// and ours is an empty one: a walk through the store belongs to the snapshot, not to a connection's turn.
    fn cachedump(&mut self, id: ConnId, class: Option<&[u8]>, limit: Option<&[u8]>) {
        let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse::<u32>().ok();
        match (class.map(number), limit.map(number)) {
            (Some(Some(0..64)), Some(Some(_))) => self.reply(id, reply::end),
            (Some(Some(_)), Some(Some(_))) => self.say(id, reply::ILLEGAL_SLAB_ID, false),
            (Some(_), Some(_)) => self.say(id, reply::BAD_FORMAT, false),
            _ => self.say(id, reply::BAD_COMMAND_LINE, false),
        }
    }
}

/// Tuning commands are accepted where they change nothing a client can see; the rest is refused.
fn answer(verb: AdminVerb, arguments: &[u8], watch_allowed: bool) -> &'static str {
    let first = arguments.split(|&b| b == b' ').next().unwrap_or_default();
    match (verb, first) {
        (AdminVerb::LruCrawler, b"enable" | b"disable" | b"sleep" | b"tocrawl" | b"crawl")
        | (AdminVerb::Lru, b"tune" | b"mode" | b"temp_ttl")
        | (AdminVerb::Slabs, b"reassign" | b"automove") => reply::OK,
        (AdminVerb::Watch, _) if !watch_allowed => reply::WATCH_NOT_ALLOWED,
        _ => reply::ERROR,
    }
}
