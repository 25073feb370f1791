//! One writer of the crash test: it owns its keys and its connection, knows what every command must be answered, and
//! after a crash finds out how many of its commands survived.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::client::{Client, shown};

const KEYS: usize = 24;
/// Keys that a writer leaves alone in a round, so that they must come through it unchanged, cas id included.
const KEYS_AT_REST: usize = 6;
const COUNTERS: usize = 2;
/// Commands without an answer at which a writer reads before it sends more.
const PIPELINE_MAX: usize = 300;
const BATCH_MAX: usize = 40;
/// A value that has grown to this is set anew instead of appended to.
const VALUE_BYTES_MAX: usize = 20_000;

/// What the server keeps under a key.
#[derive(Clone, PartialEq, Eq)]
struct Stored {
    flags: u32,
    value: Vec<u8>,
}

type State = BTreeMap<String, Stored>;

/// A command that was sent: what it makes of its key, and what it is answered.
struct Sent {
    key: String,
    after: Option<Stored>,
    reply: String,
}

/// A writer and its view of its keys.
pub struct Writer {
    number: usize,
    rng: StdRng,
    /// Counts every command ever made; makes every value another.
    version: u32,
    /// What was found at the last verification.
    base: State,
    base_cas: BTreeMap<String, u64>,
    /// What all commands that were sent make of the base.
    ahead: State,
    sent: Vec<Sent>,
    /// How many of `sent` were answered; invariant: at most `sent.len()`.
    acknowledged: usize,
}

impl Writer {
    pub fn new(number: usize, seed: u64) -> Self {
        Self {
            number,
            rng: StdRng::seed_from_u64(seed),
            version: 0,
            base: State::new(),
            base_cas: BTreeMap::new(),
            ahead: State::new(),
            sent: Vec::new(),
            acknowledged: 0,
        }
    }

    /// Commands acknowledged and sent since the last verification.
    pub fn progress(&self) -> (usize, usize) {
        (self.acknowledged, self.sent.len())
    }

    /// Sends commands and checks their answers until the connection ends; why it ended.
    pub fn write_until_closed(&mut self, mut client: Client) -> String {
        let rest = self.rng.random_range(0..KEYS);
        loop {
            let mut batch = Vec::new();
            for _ in 0..self.rng.random_range(1..=BATCH_MAX) {
                self.command(rest, &mut batch);
            }
            if let Err(e) = client.try_send(&batch) {
                // some answers may still have come; they count, being acknowledgements
                while self.sent.len() > self.acknowledged && self.answer(&mut client).is_ok() {}
                return e.to_string();
            }
            let waiting = self.sent.len() - self.acknowledged;
            let least = waiting.saturating_sub(PIPELINE_MAX);
            for _ in 0..self.rng.random_range(least..=waiting) {
                if let Err(e) = self.answer(&mut client) {
                    return e;
                }
            }
        }
    }

    /// Takes one answer.
    fn answer(&mut self, client: &mut Client) -> Result<(), String> {
        let line = client.try_line().map_err(|e| e.to_string())?.ok_or("closed")?;
        let sent = &self.sent[self.acknowledged];
        let expected = sent.reply.as_bytes();
        assert!(
            line == expected,
            "writer {}, {}: `{}` instead of `{}`",
            self.number,
            sent.key,
            shown(&line),
            sent.reply
        );
        self.acknowledged += 1;
        Ok(())
    }

    /// Adds a command to a batch.
    fn command(&mut self, rest: usize, batch: &mut Vec<u8>) {
        self.version += 1;
        if self.rng.random_ratio(1, 6) {
            let key = format!("counter:{}:{}", self.number, self.rng.random_range(0..COUNTERS));
            return self.count(key, batch);
        }
        let number = (rest + self.rng.random_range(KEYS_AT_REST..KEYS)) % KEYS;
        let key = format!("key:{}:{number}", self.number);
        match (self.rng.random_range(0..10), self.ahead.get(&key).cloned()) {
            (0, there) => {
                batch.extend_from_slice(format!("delete {key}\r\n").as_bytes());
                self.note(key, None, if there.is_some() { "DELETED" } else { "NOT_FOUND" });
            }
            (1 | 2, Some(there)) if there.value.len() < VALUE_BYTES_MAX => {
                let more = format!("+v{}", self.version);
                batch.extend_from_slice(format!("append {key} 0 0 {}\r\n{more}\r\n", more.len()).as_bytes());
                let value = [there.value.as_slice(), more.as_bytes()].concat();
                self.note(key, Some(Stored { flags: there.flags, value }), "STORED");
            }
            (3, Some(there)) => {
                batch.extend_from_slice(format!("add {key} 0 0 1\r\nx\r\n").as_bytes());
                self.note(key, Some(there), "NOT_STORED");
            }
            _ => self.set(key, batch),
        }
    }

    fn set(&mut self, key: String, batch: &mut Vec<u8>) {
        let length = match self.rng.random_range(0..100) {
            0 => self.rng.random_range(20_000..300_000),
            1..=9 => self.rng.random_range(1000..20_000),
            _ => self.rng.random_range(40..200),
        };
        let stored = Stored { flags: self.version, value: value(&key, self.number, self.version, length) };
        batch.extend_from_slice(format!("set {key} {} 0 {}\r\n", stored.flags, stored.value.len()).as_bytes());
        batch.extend_from_slice(&stored.value);
        batch.extend_from_slice(b"\r\n");
        self.note(key, Some(stored), "STORED");
    }

    fn count(&mut self, key: String, batch: &mut Vec<u8>) {
        if let Some(there) = self.ahead.get(&key) {
            let number: u64 = String::from_utf8_lossy(&there.value).trim_end().parse().expect("a counter");
            let next = number + u64::from(self.version % 7);
            let stored = Stored { flags: there.flags, value: next.to_string().into_bytes() };
            batch.extend_from_slice(format!("incr {key} {}\r\n", next - number).as_bytes());
            self.note(key, Some(stored), &next.to_string());
        } else {
            batch.extend_from_slice(format!("set {key} 1 0 1\r\n1\r\n").as_bytes());
            self.note(key, Some(Stored { flags: 1, value: b"1".to_vec() }), "STORED");
        }
    }

    fn note(&mut self, key: String, after: Option<Stored>, reply: &str) {
        apply(&mut self.ahead, &key, after.as_ref());
        self.sent.push(Sent { key, after, reply: reply.to_owned() });
    }

    /// Reads all keys and finds how many commands survived; the largest cas id among the items.
    pub fn verify(&mut self, client: &mut Client) -> u64 {
        let (found, cas) = self.read(client);
        let mut state = std::mem::take(&mut self.base);
        let (certain, possible) = self.sent.split_at(self.acknowledged);
        for sent in certain {
            apply(&mut state, &sent.key, sent.after.as_ref());
        }
        let acknowledged = state.clone();
        let mut possible = possible.iter();
        while state != found {
            let Some(sent) = possible.next() else { self.explain(&acknowledged, &found) };
            apply(&mut state, &sent.key, sent.after.as_ref());
        }
        for (key, before) in &self.base_cas {
            if !self.sent.iter().any(|sent| sent.key == *key) {
                assert_eq!(cas.get(key), Some(before), "the cas id of {key}, which nobody changed");
            }
        }
        self.sent.clear();
        self.acknowledged = 0;
        self.ahead.clone_from(&found);
        self.base = found;
        self.base_cas = cas;
        self.base_cas.values().copied().max().unwrap_or(0)
    }

    fn read(&self, client: &mut Client) -> (State, BTreeMap<String, u64>) {
        let keys = (0..KEYS).map(|i| format!("key:{}:{i}", self.number));
        let counters = (0..COUNTERS).map(|i| format!("counter:{}:{i}", self.number));
        client.send(format!("gets {}\r\n", keys.chain(counters).collect::<Vec<_>>().join(" ")));
        let (mut found, mut ids) = (State::new(), BTreeMap::new());
        loop {
            let line = client.line();
            if line == "END" {
                return (found, ids);
            }
            let words: Vec<&str> = line.split(' ').collect();
            let ["VALUE", key, flags, length, cas] = words[..] else { panic!("gets is answered `{line}`") };
            let value = client.try_take(length.parse().expect("a length")).expect("the value");
            client.expect("\r\n");
            found.insert(key.to_owned(), Stored { flags: flags.parse().expect("flags"), value });
            ids.insert(key.to_owned(), cas.parse().expect("a cas id"));
        }
    }

    /// No number of survivors explains what was found: says which keys differ from what was acknowledged, and how.
    fn explain(&self, acknowledged: &State, found: &State) -> ! {
        let tell = |stored: Option<&Stored>| match stored {
            Some(stored) => format!("{} bytes `{}`", stored.value.len(), shown(&stored.value)),
            None => "nothing".to_owned(),
        };
        let mut keys: Vec<&String> = found.keys().chain(acknowledged.keys()).collect();
        keys.sort();
        keys.dedup();
        let differing = keys.into_iter().filter(|key| found.get(*key) != acknowledged.get(*key));
        let lines: Vec<String> = differing
            .map(|key| format!("  {key}: found {}, acknowledged {}", tell(found.get(key)), tell(acknowledged.get(key))))
            .collect();
        panic!(
            "writer {}: {} commands sent, {} acknowledged; no beginning of them makes what is found:\n{}",
            self.number,
            self.sent.len(),
            self.acknowledged,
            lines.join("\n")
        );
    }
}

fn apply(state: &mut State, key: &str, after: Option<&Stored>) {
    match after {
        Some(stored) => state.insert(key.to_owned(), stored.clone()),
        None => state.remove(key),
    };
}

/// A value that says what it is, in a pattern that no other version has.
fn value(key: &str, writer: usize, version: u32, length: usize) -> Vec<u8> {
    let mut value = format!("{key} w{writer} v{version} l{length} ").into_bytes();
    let start = version.wrapping_mul(2_654_435_761);
    while value.len() < length {
        value.push((start.wrapping_add(value.len() as u32 * 31) >> 3) as u8);
    }
    value
}
