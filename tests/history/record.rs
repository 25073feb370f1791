//! What the clients of a run did, in one list: which key, at which server, asked and told when. Owns the clock that all of
//! them go by and the sums that are printed; judges nothing.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::connection::{Answer, Connection};
use crate::linear::{Op, Operation, Outcome};

/// The time of a run: nanoseconds since it began, never the same twice for one client.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// One operation and where it was asked for.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub server: SocketAddr,
    pub operation: Operation,
    /// What it was refused with; then it was not done.
    pub refused: Option<String>,
}

impl Entry {
    fn is_done(&self) -> bool {
        self.refused.is_none() && self.operation.outcome != Outcome::Unknown
    }
}

/// A whole run.
pub struct History {
    pub clock: Clock,
    pub entries: Vec<Entry>,
}

/// Clients that read everything when the others have stopped have numbers from here on.
const LAST_READERS: u32 = 1_000_000;
/// Between two tries of a read that got no answer.
const AGAIN: Duration = Duration::from_millis(20);

impl History {
    pub const fn new(clock: Clock) -> Self {
        Self { clock, entries: Vec::new() }
    }

    /// What was or may have been done to each key.
    pub fn by_key(&self) -> BTreeMap<&str, Vec<Operation>> {
        let mut keys: BTreeMap<&str, Vec<Operation>> = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| entry.refused.is_none()) {
            keys.entry(&entry.key).or_default().push(entry.operation.clone());
        }
        keys
    }

    /// Reads every key at every server until it answers, so that the check also says whether all that was acknowledged is
    /// there.
    ///
    /// # Errors
    /// A server that does not answer within that time.
    pub fn read_everywhere(&mut self, servers: &[SocketAddr], within: Duration) -> Result<(), String> {
        let mut keys: Vec<String> = self.entries.iter().map(|entry| entry.key.clone()).collect();
        keys.sort();
        keys.dedup();
        let deadline = Instant::now() + within;
        for (place, &server) in servers.iter().enumerate() {
            let mut connection = None;
            for key in &keys {
                let client = LAST_READERS + place as u32;
                self.entries.push(read(self.clock, &mut connection, server, key, client, deadline)?);
            }
        }
        Ok(())
    }

    /// Operations that were refused or whose outcome is unknown.
    pub fn failed(&self) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| !entry.is_done()).collect()
    }

    /// Time between two acknowledged writes, at most.
    fn longest_gap(&self) -> Duration {
        let writes = self.entries.iter().filter(|entry| entry.is_done() && entry.operation.op != Op::Get);
        let mut returned: Vec<u64> = writes.map(|entry| entry.operation.returned).collect();
        returned.sort_unstable();
        Duration::from_nanos(returned.windows(2).map(|two| two[1] - two[0]).max().unwrap_or(0))
    }
}

/// A read that is asked for until it is answered.
fn read(
    clock: Clock,
    connection: &mut Option<Connection>,
    server: SocketAddr,
    key: &str,
    client: u32,
    deadline: Instant,
) -> Result<Entry, String> {
    let mut why = String::from("it was not asked");
    while Instant::now() < deadline {
        let invoked = clock.now();
        let answer = match connection {
            Some(connection) => connection.ask(key, &Op::Get),
            None => Connection::open(server, Duration::from_secs(5)).and_then(|opened| {
                *connection = Some(opened);
                connection.as_mut().expect("it was put there").ask(key, &Op::Get)
            }),
        };
        match answer {
            Ok(Answer::Told(outcome)) => {
                let returned = clock.now().max(invoked + 1);
                let operation = Operation { client, op: Op::Get, outcome, invoked, returned };
                return Ok(Entry { key: key.to_owned(), server, operation, refused: None });
            }
            Ok(Answer::Refused(line)) => why = line,
            Err(error) => {
                *connection = None;
                why = error.to_string();
            }
        }
        std::thread::sleep(AGAIN);
    }
    Err(format!("{server} does not answer a read of {key} at the end: {why}"))
}

/// The sums of a run, for whoever looks at its output.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |what: &dyn Fn(&Entry) -> bool| self.entries.iter().filter(|entry| what(entry)).count();
        let reads = count(&|entry| entry.is_done() && entry.operation.op == Op::Get);
        let writes = count(&|entry| entry.is_done() && entry.operation.op != Op::Get);
        let unknown = count(&|entry| entry.refused.is_none() && entry.operation.outcome == Outcome::Unknown);
        let mut refusals: HashMap<&str, usize> = HashMap::new();
        for line in self.entries.iter().filter_map(|entry| entry.refused.as_deref()) {
            *refusals.entry(line).or_default() += 1;
        }
        let gap = self.longest_gap().as_secs_f64() * 1e3;
        write!(f, "{reads} reads, {writes} writes, {unknown} unknown, longest time without a write {gap:.1} ms")?;
        refusals.iter().try_for_each(|(line, times)| write!(f, ", {times} x `{line}`"))
    }
}
