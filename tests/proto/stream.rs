//! A stream of commands as a connection sees it: fed whole or in pieces, and each step held against the oracle.

use ringstore::proto::{self, Command, Direction, ParseLimits, Parsed, StoreVerb};

use super::oracle::{self, Step};

/// Small, so that short inputs reach it.
pub const LIMITS: ParseLimits = ParseLimits { item_bytes_max: 1 << 10 };

/// One thing a connection has to do, with everything owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Execute(String),
    Answer(Option<&'static str>),
    Close,
}

/// A connection that keeps the tail, waits for what is needed and drops what is to be dropped.
#[derive(Default)]
pub struct Connection {
    pending: Vec<u8>,
    need: usize,
    swallow: u64,
    closed: bool,
    pub events: Vec<Event>,
}

impl Connection {
    /// Takes what was received, as the shard does.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        if self.closed || self.pending.len() < self.need {
            return;
        }
        let input = std::mem::take(&mut self.pending);
        let mut at = 0;
        loop {
            let dropped = self.swallow.min((input.len() - at) as u64);
            self.swallow -= dropped;
            at += dropped as usize;
            if at == input.len() || self.closed {
                break;
            }
            let step = checked(&input[at..]);
            if let Step::Need { total } = step {
                self.need = total;
                self.pending = input[at..].to_vec();
                return;
            }
            at += self.take(step);
        }
        self.need = 0;
    }

    fn take(&mut self, step: Step) -> usize {
        let (event, consumed, swallow) = match step {
            Step::Command { text, consumed, swallow } => (Event::Execute(text), consumed, swallow),
            Step::Invalid { reply, consumed, swallow } => (Event::Answer(reply), consumed, swallow),
            Step::Close => {
                self.closed = true;
                (Event::Close, 0, 0)
            }
            Step::Need { .. } => unreachable!("the caller waits"),
        };
        self.events.push(event);
        self.swallow = swallow;
        consumed
    }
}

/// Parses the first command of `input` and holds the answer against the oracle and against what any caller relies on.
pub fn checked(input: &[u8]) -> Step {
    let parsed = proto::parse(input, &LIMITS);
    check_bounds(&parsed, input);
    let step = described(&parsed);
    let expected = oracle::read(input, LIMITS.item_bytes_max);
    assert_eq!(step, expected, "input: {:?}", input.escape_ascii().to_string());
    step
}

fn check_bounds(parsed: &Parsed<'_>, input: &[u8]) {
    match parsed {
        Parsed::Command { consumed, .. } | Parsed::Invalid { consumed, .. } => {
            assert!((1..=input.len()).contains(consumed), "{parsed:?} of {} bytes", input.len());
        }
        Parsed::Need { total } => assert!(*total > input.len(), "{parsed:?} of {} bytes", input.len()),
        Parsed::Close { reason } => assert!(!reason.is_empty()),
    }
    if let Parsed::Command { command: Command::Get(get), .. } = parsed {
        assert!(get.keys.count() > 0, "a get without a key");
        for key in get.keys {
            assert!((1..=250).contains(&key.len()), "a key of {} bytes", key.len());
            assert!(input.as_ptr_range().contains(&key.as_ptr()), "a key outside the input");
        }
    }
}

fn described(parsed: &Parsed<'_>) -> Step {
    match parsed {
        Parsed::Command { command, consumed } => {
            let swallow = if let Command::StoreTooLarge { swallow, .. } = command { *swallow } else { 0 };
            Step::Command { text: text(command), consumed: *consumed, swallow }
        }
        Parsed::Need { total } => Step::Need { total: *total },
        Parsed::Invalid { reply, consumed, swallow } => {
            Step::Invalid { reply: *reply, consumed: *consumed, swallow: *swallow }
        }
        Parsed::Close { .. } => Step::Close,
    }
}

/// The command in the oracle's words.
fn text(command: &Command<'_>) -> String {
    match command {
        Command::Get(get) => {
            let keys: Vec<_> = get.keys.map(|key| key.escape_ascii().to_string()).collect();
            format!("get cas={} touch={:?} {keys:?}", get.with_cas, get.touch)
        }
        Command::Store(s) => {
            let (name, key, value) = (store_name(s.verb), s.key.escape_ascii(), s.value.escape_ascii());
            let (flags, exptime, cas, noreply) = (s.flags, s.exptime, s.cas, s.noreply);
            format!("{name} {key} flags={flags} exptime={exptime} cas={cas} {noreply} {value}")
        }
        Command::StoreTooLarge { verb, key, noreply, .. } => {
            format!("too large {} {} {noreply}", store_name(*verb), key.escape_ascii())
        }
        Command::Delete { key, noreply } => format!("delete {} {noreply}", key.escape_ascii()),
        Command::Arithmetic { direction, key, delta, noreply } => {
            let name = if *direction == Direction::Increment { "incr" } else { "decr" };
            format!("{name} {} {delta} {noreply}", key.escape_ascii())
        }
        Command::Touch { key, exptime, noreply } => format!("touch {} {exptime} {noreply}", key.escape_ascii()),
        Command::FlushAll { delay, noreply } => format!("flush_all {delay} {noreply}"),
        Command::CacheMemlimit { megabytes, noreply } => format!("cache_memlimit {megabytes} {noreply}"),
        Command::Verbosity { level, noreply } => format!("verbosity {level} {noreply}"),
        Command::Version => "version".into(),
        Command::Quit => "quit".into(),
        Command::Shutdown { graceful } => format!("shutdown {graceful}"),
        Command::Stats { arguments } => format!("stats [{}]", arguments.escape_ascii()),
        Command::Admin { verb, arguments } => format!("{} [{}]", admin_name(*verb), arguments.escape_ascii()),
    }
}

fn store_name(verb: StoreVerb) -> &'static str {
    match verb {
        StoreVerb::Set => "set",
        StoreVerb::Add => "add",
        StoreVerb::Replace => "replace",
        StoreVerb::Append => "append",
        StoreVerb::Prepend => "prepend",
        StoreVerb::Cas => "cas",
    }
}

fn admin_name(verb: proto::AdminVerb) -> &'static str {
    match verb {
        proto::AdminVerb::LruCrawler => "lru_crawler",
        proto::AdminVerb::Lru => "lru",
        proto::AdminVerb::Slabs => "slabs",
        proto::AdminVerb::Watch => "watch",
        proto::AdminVerb::Extstore => "extstore",
        proto::AdminVerb::RefreshCerts => "refresh_certs",
    }
}
