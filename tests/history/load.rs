//! Clients that work on a few keys at once, each in a thread of its own: pinned ones that stay with their server and wait
//! for it when it is away, roaming ones that go elsewhere when a connection ends. Owns the threads; ends them also when it
//! is dropped.
//!
//! Every value is another one, so that a read says which write it saw. A key is left for a fresh one after some
//! operations, so that the history of each is short enough to be decided.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::connection::{Answer, Connection};
use super::record::{Clock, Entry, History};
use crate::dice::Dice;
use crate::linear::{Op, Operation, Outcome};

/// What the clients do.
#[derive(Clone, Debug)]
pub struct Plan {
    pub servers: Vec<SocketAddr>,
    /// What the names of its keys begin with: nobody has used them before.
    pub prefix: String,
    /// Clients that stay with their server, for each server.
    pub pinned: usize,
    /// Clients that go to any server.
    pub roaming: usize,
    /// Keys at one time; every second one is a counter.
    pub slots: usize,
    /// Operations after which a key is left for another.
    pub operations_per_key: u64,
    /// Longest pause between two operations of a client.
    pub think: Duration,
    /// How long a client waits for an answer before it hangs up.
    pub patience: Duration,
    /// Operations that a client sends before it reads their answers, at most.
    pub pipelined: usize,
    /// Length to which values are filled up.
    pub value_bytes: usize,
    pub seed: u64,
}

impl Plan {
    /// A client at each server and as many that roam, gently.
    pub fn new(servers: &[SocketAddr]) -> Self {
        static LOADS: AtomicU64 = AtomicU64::new(0);
        Self {
            servers: servers.to_vec(),
            prefix: format!("{}.{}.", std::process::id(), LOADS.fetch_add(1, Relaxed)),
            pinned: 1,
            roaming: servers.len(),
            slots: 4,
            operations_per_key: 250,
            think: Duration::from_millis(4),
            patience: Duration::from_millis(2500),
            pipelined: 1,
            value_bytes: 0,
            seed: 1,
        }
    }
}

/// Between two tries to reach a server.
const RECONNECT: Duration = Duration::from_millis(10);

struct Shared {
    plan: Plan,
    clock: Clock,
    stop: AtomicBool,
    /// Operations on the keys of each slot.
    used: Vec<AtomicU64>,
    acknowledged: AtomicU64,
}

/// Clients at work.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Entry>>>,
}

impl Load {
    pub fn start(plan: Plan) -> Self {
        let used = (0..plan.slots).map(|_| AtomicU64::new(0)).collect();
        let clients = plan.pinned * plan.servers.len() + plan.roaming;
        let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
        let shared = Arc::new(Shared { plan, clock: Clock::start(), stop, used, acknowledged });
        let threads = (0..clients)
            .map(|number| {
                let client = Client::new(number, Arc::clone(&shared));
                thread::spawn(move || client.work())
            })
            .collect();
        Self { shared, threads }
    }

    /// Writes that were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Relaxed)
    }

    /// Waits until so many more writes are acknowledged.
    ///
    /// # Errors
    /// They are not within that time.
    pub fn more_writes(&self, more: u64, within: Duration) -> Result<(), String> {
        let (before, deadline) = (self.acknowledged(), Instant::now() + within);
        while self.acknowledged() < before + more {
            if Instant::now() > deadline || self.threads.iter().any(JoinHandle::is_finished) {
                let done = self.acknowledged() - before;
                return Err(format!("{done} writes instead of {more} were acknowledged within {within:?}"));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Ends the clients' work and gathers what they noted.
    ///
    /// # Panics
    /// When a client did: it was told what is no answer.
    pub fn finish(mut self) -> History {
        self.shared.stop.store(true, Relaxed);
        let mut history = History::new(self.shared.clock);
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(entries) => history.entries.extend(entries),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        history
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            // a test that fails has said why already
            let _ = thread.join();
        }
    }
}

/// One client.
struct Client {
    number: usize,
    /// Its server, if it stays with one.
    home: Option<SocketAddr>,
    shared: Arc<Shared>,
    dice: Dice,
    counter: u64,
    /// The id that a key's last get returned, for cas.
    seen: HashMap<String, u64>,
    entries: Vec<Entry>,
}

impl Client {
    fn new(number: usize, shared: Arc<Shared>) -> Self {
        let plan = &shared.plan;
        let home = (number < plan.pinned * plan.servers.len()).then(|| plan.servers[number % plan.servers.len()]);
        let dice = Dice::new(plan.seed.wrapping_mul(1000) + number as u64);
        Self { number, home, shared, dice, counter: 0, seen: HashMap::new(), entries: Vec::new() }
    }

    fn work(mut self) -> Vec<Entry> {
        while !self.shared.stop.load(Relaxed) {
            let server = self.home.unwrap_or_else(|| *self.dice.pick(&self.shared.plan.servers));
            match Connection::open(server, self.shared.plan.patience) {
                Ok(mut connection) => self.stay(server, &mut connection),
                Err(_) => thread::sleep(RECONNECT),
            }
        }
        self.entries
    }

    /// Works over a connection until it ends or a roaming client moves on.
    fn stay(&mut self, server: SocketAddr, connection: &mut Connection) {
        while !self.shared.stop.load(Relaxed) {
            let together = 1 + self.dice.below(self.shared.plan.pipelined);
            let asked: Vec<(String, Op)> = (0..together).map(|_| self.next()).collect();
            let invoked = self.shared.clock.now();
            let sent = connection.send_all(asked.iter().map(|(key, op)| (key.as_str(), op)));
            let mut open = sent.is_ok();
            let mut refused = false;
            for (key, op) in asked {
                let answer = if open { connection.answer(&key, &op).ok() } else { None };
                open &= answer.is_some();
                refused |= matches!(answer, Some(Answer::Refused(_)));
                self.note(server, key, op, invoked, answer);
            }
            if !open || (self.home.is_none() && (refused || self.dice.chance(0.02))) {
                return;
            }
            let most = self.shared.plan.think.as_micros() as u64;
            thread::sleep(Duration::from_micros(if refused { 20_000 } else { self.dice.between(0, most) }));
        }
    }

    fn note(&mut self, server: SocketAddr, key: String, op: Op, invoked: u64, answer: Option<Answer>) {
        let returned = self.shared.clock.now().max(invoked + 1);
        let (outcome, refused) = match answer {
            Some(Answer::Told(outcome)) => (outcome, None),
            Some(Answer::Refused(line)) => (Outcome::Unknown, Some(line)),
            None => (Outcome::Unknown, None),
        };
        if let Outcome::Value { cas, .. } = outcome {
            self.seen.insert(key.clone(), cas);
        } else if op != Op::Get && outcome != Outcome::Unknown {
            self.shared.acknowledged.fetch_add(1, Relaxed);
        }
        let operation = Operation { client: self.number as u32, op, outcome, invoked, returned };
        self.entries.push(Entry { key, server, operation, refused });
    }

    fn next(&mut self) -> (String, Op) {
        let slot = self.dice.below(self.shared.plan.slots);
        let used = self.shared.used[slot].fetch_add(1, Relaxed);
        let key = format!("{}{slot}-{}", self.shared.plan.prefix, used / self.shared.plan.operations_per_key);
        let is_counter = slot.is_multiple_of(2);
        self.counter += 1;
        // whatever incrs add to a value, it stays another one
        let number = self.counter * 1000 + self.number as u64;
        let fresh =
            if is_counter { format!("{number}000000000") } else { self.filled(format!("v{number};")) }.into_bytes();
        let op = match self.dice.below(20) {
            0..=8 => Op::Get,
            9..=11 => Op::Set(fresh),
            12 => Op::Add(fresh),
            13 => Op::Delete,
            14 | 15 => match self.seen.get(&key) {
                Some(&id) => Op::Cas { id, value: fresh },
                None => Op::Get,
            },
            _ if is_counter => Op::Incr(number),
            _ => Op::Append(format!("+{number};").into_bytes()),
        };
        (key, op)
    }

    fn filled(&self, mut text: String) -> String {
        while text.len() < self.shared.plan.value_bytes {
            text.push('.');
        }
        text
    }
}
