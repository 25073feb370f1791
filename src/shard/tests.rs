//! A whole server without a kernel: shards, a disk that takes its time and clients whose bytes come in any pieces, all
//! from one seed. Every client's answers are compared with those of a naive server that does one command at a time.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

mod cluster;

use super::{Effects, Happened, Input, Path, Shard};
use crate::config::{Fsync, ServerConfig};
use crate::conn::ConnId;
use crate::log::{Epoch, LogIndex, Position};
use crate::node::Gate;
use crate::stats::{ConnRecord, Counter, Shared};
use crate::store::{self, Region, StoreConfig};
use crate::time::{NANOS, Time};
use crate::writes::{Answer, Frame, LogStart, OwnedWrite, Writes};

const ITEM_BYTES_MAX: usize = 8 << 10;
const START: Time = Time(1_700_000_000 * NANOS);

fn config(threads: usize, logged: bool) -> ServerConfig {
    ServerConfig {
        threads,
        data_dir: logged.then(|| "a log that is not there".into()),
        fsync: Fsync::Always,
        item_bytes_max: ITEM_BYTES_MAX,
        ..ServerConfig::default()
    }
}

/// A client and what it has seen.
struct Client {
    shard: usize,
    conn: ConnId,
    input: Vec<u8>,
    given: usize,
    output: Vec<u8>,
    /// Buffers under way; the shard gets them back one at a time.
    sending: Option<Vec<u8>>,
    paused: bool,
    closed: bool,
}

/// A server in a box.
struct World {
    rng: StdRng,
    shards: Vec<Shard>,
    clients: Vec<Client>,
    forwards: Vec<OwnedWrite>,
    answers: Vec<Vec<Answer>>,
    frames: VecDeque<Frame>,
    /// What the disk of a server in a cluster will say.
    disk: VecDeque<Happened>,
    /// What else the shards' shells will hand over.
    mail: Vec<Vec<Input<'static>>>,
    /// Where the log ends.
    written: Position,
    now: Time,
}

/// What the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    WithoutLog,
    Logged,
    /// The only member of a cluster.
    Cluster {
        strict_reads: bool,
    },
}

impl World {
    fn new(seed: u64, threads: usize, kind: Kind) -> Self {
        let (writer, readers) = store::create(StoreConfig {
            memory_bytes: 64 << 20,
            address_bytes: 64 << 20,
            evict: false,
            item_bytes_max: ITEM_BYTES_MAX,
            hash_seed: seed,
            readers: threads,
            region: &mut Region::heap,
        })
        .expect("memory");
        let mut writes = Writes::new(writer, true);
        if kind == Kind::Logged {
            writes.attach_log(LogStart {
                epoch: Epoch(1),
                last_index: LogIndex(0),
                end: Position(0),
                last_time: START,
            });
        }
        let shared = Arc::new(Shared::new(config(threads, kind != Kind::WithoutLog), 1, START));
        let (path, gate, said) = match kind {
            Kind::WithoutLog | Kind::Logged => (Path::Alone(writes), None, Vec::new()),
            Kind::Cluster { strict_reads } => {
                let gate = Arc::new(Gate::new(threads, strict_reads));
                let (node, said) = cluster::node(writes, Arc::clone(&gate), strict_reads);
                (Path::Node(Box::new(node)), Some(gate), said)
            }
        };
        let mut path = Some(path);
        let mut shards: Vec<Shard> = readers
            .into_iter()
            .enumerate()
            .map(|(id, reader)| {
                Shard::new(id as u16, reader, path.take().unwrap_or(Path::Thread0), Arc::clone(&shared))
            })
            .collect();
        let mut effects = Effects::default();
        if let Some(gate) = gate {
            shards.iter_mut().for_each(|shard| shard.join(Arc::clone(&gate), cluster::clock));
            cluster::set_clock(START);
            shards[0].cluster_begin(START, said, &mut effects);
        }
        let mut world = Self {
            rng: StdRng::seed_from_u64(seed),
            shards,
            disk: VecDeque::new(),
            mail: (0..threads).map(|_| Vec::new()).collect(),
            clients: Vec::new(),
            forwards: Vec::new(),
            answers: (0..threads).map(|_| Vec::new()).collect(),
            frames: VecDeque::new(),
            written: Position(0),
            now: START,
        };
        world.carry_out(0, effects);
        world
    }

    fn connect(&mut self, input: Vec<u8>) {
        let shard = self.clients.len() % self.shards.len();
        let conn = ConnId((self.clients.len() / self.shards.len()) as u32);
        let record = ConnRecord::new(self.clients.len() as u64, "test".into(), "test".into(), START);
        let accepted = [Input::Accepted { conn, record: Arc::new(record) }];
        let mut effects = Effects::default();
        self.shards[shard].step(self.now, accepted.into_iter(), &mut effects);
        self.clients.push(Client {
            shard,
            conn,
            input,
            given: 0,
            output: Vec::new(),
            sending: None,
            paused: false,
            closed: false,
        });
    }

    /// One turn of one shard, with whatever chance brings.
    fn turn(&mut self) {
        let id = self.rng.random_range(0..self.shards.len());
        let mut inputs = Vec::new();
        for client in self.clients.iter_mut().filter(|c| c.shard == id && !c.closed) {
            if let Some(buffer) = client.sending.take_if(|_| self.rng.random_bool(0.7)) {
                inputs.push(Input::Sent { conn: client.conn, buffer });
            }
            while !client.paused && client.given < client.input.len() && self.rng.random_bool(0.6) {
                let rest = client.input.len() - client.given;
                let most = if self.rng.random_bool(0.3) { 7 } else { 3000 };
                let n = self.rng.random_range(1..=rest.min(most));
                inputs.push(Input::Received { conn: client.conn, bytes: &client.input[client.given..][..n] });
                client.given += n;
            }
        }
        inputs.extend(self.answers[id].drain(..).map(|answer| Input::Answered { answer }));
        inputs.extend(std::mem::take(&mut self.mail[id]));
        if id == 0 {
            inputs.extend(self.forwards.drain(..).map(|write| Input::Forwarded { write }));
            if self.rng.random_bool(0.5) {
                for _ in 0..self.rng.random_range(0..=self.frames.len()) {
                    let frame = self.frames.pop_front().expect("as many as there are");
                    inputs.push(Input::Persisted { upto: frame.end });
                    inputs.push(Input::Synced { upto: frame.end });
                    inputs.push(Input::FrameWritten { buffer: frame.bytes });
                }
            }
        }
        let mut effects = Effects::default();
        self.shards[id].step(self.now, inputs.into_iter(), &mut effects);
        if id == 0 && self.shards[0].node().is_some() {
            self.cluster_turn(&mut effects);
        }
        self.shards[id].check_invariants();
        self.carry_out(id, effects);
    }

    fn carry_out(&mut self, id: usize, effects: Effects) {
        self.written = effects.frames.last().map_or(self.written, |frame| frame.end);
        self.frames.extend(effects.frames);
        self.forwards.extend(effects.forwards);
        for answer in effects.answers {
            self.answers[answer.origin.shard as usize].push(answer);
        }
        self.carry_out_for_cluster(effects.cluster);
        for (conn, buffer) in effects.sends {
            let client = self.client(id, conn);
            assert!(client.sending.is_none(), "one send at a time");
            client.output.extend_from_slice(&buffer);
            client.sending = Some(buffer);
        }
        for conn in effects.pauses {
            self.client(id, conn).paused = true;
        }
        for conn in effects.resumes {
            self.client(id, conn).paused = false;
        }
        for conn in effects.closes {
            self.client(id, conn).closed = true;
        }
    }

    fn client(&mut self, shard: usize, conn: ConnId) -> &mut Client {
        self.clients.iter_mut().find(|c| c.shard == shard && c.conn == conn).expect("a client of this shard")
    }

    fn run(&mut self) {
        let mut turns = 0;
        while self.clients.iter().any(|c| !c.closed) {
            self.turn();
            turns += 1;
            assert!(turns < 1_000_000, "no end in sight");
        }
    }
}

/// The naive server: one command at a time, no cas ids, nothing expires.
#[derive(Default)]
struct Naive {
    items: BTreeMap<String, (u32, String)>,
    output: String,
}

impl Naive {
    fn say(&mut self, noreply: bool, line: &str) {
        if !noreply {
            self.output.push_str(line);
            self.output.push_str("\r\n");
        }
    }

    fn store(&mut self, verb: &str, key: &str, flags: u32, value: &str, noreply: bool) {
        let old = self.items.get(key).cloned();
        let new = match (verb, old) {
            ("set", _) | ("add", None) | ("replace", Some(_)) => Some((flags, value.to_owned())),
            ("append", Some((flags, old))) => Some((flags, old + value)),
            ("prepend", Some((flags, old))) => Some((flags, value.to_owned() + &old)),
            _ => None,
        };
        let stored = new.map(|new| self.items.insert(key.to_owned(), new)).is_some();
        self.say(noreply, if stored { "STORED" } else { "NOT_STORED" });
    }

    fn get(&mut self, keys: &[String]) {
        for key in keys {
            if let Some((flags, value)) = self.items.get(key) {
                let _ = write!(self.output, "VALUE {key} {flags} {}\r\n{value}\r\n", value.len());
            }
        }
        self.output.push_str("END\r\n");
    }

    fn arithmetic(&mut self, verb: &str, key: &str, delta: u64, noreply: bool) {
        let Some((_, value)) = self.items.get_mut(key) else { return self.say(noreply, "NOT_FOUND") };
        let Ok(old) = value.trim_end().parse::<u64>() else {
            return self.say(noreply, "CLIENT_ERROR cannot increment or decrement non-numeric value");
        };
        let new = if verb == "incr" { old.wrapping_add(delta) } else { old.saturating_sub(delta) };
        *value = format!("{new:<width$}", width = value.len());
        self.say(noreply, &new.to_string());
    }
}

/// A client's commands on keys of its own, and what it must be answered.
fn story(rng: &mut StdRng, client: usize) -> (Vec<u8>, String) {
    let mut naive = Naive::default();
    let mut input = String::new();
    for _ in 0..rng.random_range(1..120) {
        let key = format!("c{client}k{}", rng.random_range(0..6));
        let noreply = rng.random_bool(0.15);
        let tail = if noreply { " noreply" } else { "" };
        match rng.random_range(0..13) {
            12 => {
                let size = rng.random_range(ITEM_BYTES_MAX..ITEM_BYTES_MAX + 9000);
                let _ =
                    write!(input, "set {key} 0 0 {size}{tail}\r\n{}\r\n", "get x\r\n".repeat(size)[..size].to_owned());
                naive.items.remove(&key);
                naive.say(noreply, "SERVER_ERROR object too large for cache");
            }
            0..=3 => {
                let verb = ["set", "set", "add", "replace", "append", "prepend"][rng.random_range(0..6)];
                let flags = rng.random::<u32>();
                let value = match rng.random_range(0..4) {
                    0 => rng.random_range(0..300u64).to_string(),
                    1 => String::new(),
                    _ => "v".repeat(rng.random_range(0..900)),
                };
                let _ = write!(input, "{verb} {key} {flags} 0 {}{tail}\r\n{value}\r\n", value.len());
                naive.store(verb, &key, flags, &value, noreply);
            }
            4..=7 => {
                let keys: Vec<_> =
                    (0..rng.random_range(1..9)).map(|_| format!("c{client}k{}", rng.random_range(0..6))).collect();
                let _ = write!(input, "get {}\r\n", keys.join(" "));
                naive.get(&keys);
            }
            8 => {
                let _ = write!(input, "delete {key}{tail}\r\n");
                let found = naive.items.remove(&key).is_some();
                naive.say(noreply, if found { "DELETED" } else { "NOT_FOUND" });
            }
            9 => {
                let (verb, delta) = (["incr", "decr"][rng.random_range(0..2)], rng.random_range(0..400));
                let _ = write!(input, "{verb} {key} {delta}{tail}\r\n");
                naive.arithmetic(verb, &key, delta, noreply);
            }
            10 => {
                let _ = write!(input, "touch {key} 0{tail}\r\n");
                let found = naive.items.contains_key(&key);
                naive.say(noreply, if found { "TOUCHED" } else { "NOT_FOUND" });
            }
            _ => {
                let keys = [key, format!("c{client}k{}", rng.random_range(0..6))];
                let _ = write!(input, "gat 1000 {}\r\n", keys.join(" "));
                naive.get(&keys);
            }
        }
    }
    input.push_str("quit\r\n");
    (input.into_bytes(), naive.output)
}

fn seeds() -> Vec<u64> {
    match std::env::var("RINGSTORE_SEED") {
        Ok(seed) => vec![seed.parse().expect("RINGSTORE_SEED is a number")],
        Err(_) => (0..150).collect(),
    }
}

#[test]
fn every_client_is_answered_as_by_a_naive_server() {
    for seed in seeds() {
        println!("replay with RINGSTORE_SEED={seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let kind = match rng.random_range(0..10) {
            0..3 => Kind::WithoutLog,
            3..6 => Kind::Logged,
            _ => Kind::Cluster { strict_reads: rng.random_bool(0.3) },
        };
        let mut world = World::new(seed, rng.random_range(1..=3), kind);
        world.found();
        let mut expected = Vec::new();
        for client in 0..rng.random_range(1..8) {
            let (input, output) = story(&mut rng, client);
            world.connect(input);
            expected.push(output);
        }
        world.run();
        for (client, expected) in world.clients.iter().zip(&expected) {
            let output = String::from_utf8_lossy(&client.output);
            assert!(output == *expected, "seed {seed}:\n got {output:?}\nwant {expected:?}");
        }
    }
}

/// A world of one client on one thread with a log that does nothing by itself.
fn one_client(input: &str) -> World {
    let mut world = World::new(1, 1, Kind::Logged);
    world.connect(Vec::new());
    world.give(input.as_bytes());
    world
}

impl World {
    fn step(&mut self, inputs: Vec<Input<'_>>) {
        let mut effects = Effects::default();
        self.shards[0].step(self.now, inputs.into_iter(), &mut effects);
        self.shards[0].check_invariants();
        self.carry_out(0, effects);
        if let Some(buffer) = self.clients[0].sending.take() {
            self.step(vec![Input::Sent { conn: ConnId(0), buffer }]);
        }
    }

    fn give(&mut self, bytes: &[u8]) {
        self.step(vec![Input::Received { conn: ConnId(0), bytes }]);
    }

    fn persist(&mut self) {
        let upto = self.frames.drain(..).next_back().expect("something was written").end;
        self.step(vec![Input::Persisted { upto }]);
    }

    fn said(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.clients[0].output)).expect("text")
    }
}

#[test]
fn no_reply_leaves_before_its_entry_is_persisted() {
    let mut world = one_client("set a 0 0 1\r\n1\r\nadd a 0 0 1\r\n2\r\nget a\r\n");
    assert_eq!(world.said(), "", "even a refusal tells of an entry that could still be lost");
    world.persist();
    assert_eq!(world.said(), "STORED\r\nNOT_STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\n");
}

#[test]
fn a_prepared_entry_is_seen_by_writes_and_hidden_from_reads() {
    let mut world = one_client("set n 0 0 1\r\n1\r\nincr n 4\r\nincr n 5\r\n");
    world.persist();
    assert_eq!(world.said(), "STORED\r\n5\r\n10\r\n");
    world.give(b"incr n 1 noreply\r\n");
    let (hash, now) = (world.shards[0].reader.hash(b"n"), world.now.seconds());
    let value = world.shards[0].reader.get(hash, b"n", now).map(|item| item.value.to_vec());
    assert_eq!(value.as_deref(), Some(&b"10"[..]), "not committed, not visible");
    world.persist();
    world.give(b"get n\r\n");
    assert_eq!(world.said(), "VALUE n 0 2\r\n11\r\nEND\r\n");
}

#[test]
fn a_full_disk_refuses_the_write_and_loses_nothing_else() {
    let mut world = one_client("set a 0 0 1\r\n1\r\n");
    let written = world.frames.back().expect("a frame").end;
    world.give(b"set a 0 0 1\r\n2\r\nset b 0 0 1\r\n3\r\ndelete a\r\n");
    world.frames.truncate(1);
    world.step(vec![Input::Refused { written }]);
    world.persist();
    let refused = "SERVER_ERROR out of memory storing object\r\n";
    assert_eq!(world.said(), format!("STORED\r\n{refused}{refused}{refused}"), "in the order of the commands");
    world.give(b"get a b\r\nset b 0 0 1\r\n4\r\n");
    world.persist();
    assert_eq!(world.said(), "VALUE a 0 1\r\n1\r\nEND\r\nSTORED\r\n", "and there is space again");
}

#[test]
fn a_flush_hides_what_was_prepared_before_it() {
    let mut world = one_client("set a 0 0 1\r\n1\r\nflush_all\r\nadd a 0 0 1\r\n2\r\nset b 0 0 1\r\n3\r\n");
    world.persist();
    assert_eq!(world.said(), "STORED\r\nOK\r\nSTORED\r\nSTORED\r\n");
    world.give(b"get a b\r\n");
    assert_eq!(world.said(), "VALUE a 0 1\r\n2\r\nVALUE b 0 1\r\n3\r\nEND\r\n");
}

#[test]
fn a_stopping_server_answers_what_it_has_received() {
    let mut world = one_client("set a 0 0 1\r\n1\r\nget a\r\nget b\r\nset part");
    world.step(vec![Input::Stopping]);
    assert!(!world.shards[0].is_drained());
    world.persist();
    assert_eq!(world.said(), "STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\nEND\r\n");
    assert!(world.clients[0].closed && world.shards[0].is_drained());
}

/// A server without a log, and one client of its.
fn cache() -> World {
    let mut world = World::new(1, 1, Kind::WithoutLog);
    world.connect(Vec::new());
    world
}

impl World {
    /// One step of the first thread, none of whose effects are carried out.
    fn effects_of(&mut self, bytes: &[u8]) -> Effects {
        let mut effects = Effects::default();
        let inputs = [Input::Received { conn: ConnId(0), bytes }];
        self.shards[0].step(self.now, inputs.into_iter(), &mut effects);
        effects
    }
}

/// The shell slept until the next tick before it noticed that a send had succeeded: every megabyte of a pipeline and
/// every `quit` took a tenth of a second.
#[test]
fn the_shell_stays_awake_for_a_send_that_something_waits_for() {
    let mut world = cache();
    let value = "v".repeat(8000);
    world.give(format!("set k 0 0 8000\r\n{value}\r\n").as_bytes());
    assert!(!world.effects_of(b"get k\r\n").again, "nothing waits for this one");
    let gets = world.effects_of(&b"get k\r\n".repeat(300));
    assert!(!gets.again && gets.sends.is_empty(), "one is still in flight");
    let mut world = cache();
    world.give(format!("set k 0 0 8000\r\n{value}\r\n").as_bytes());
    assert!(world.effects_of(&b"get k\r\n".repeat(300)).again, "more gets wait for it");
    assert!(cache().effects_of(b"version\r\nquit\r\n").again, "the end of the connection waits for it");
}

/// Replies of a read left in a send of their own while the frame was written; those of the writes beside it then waited
/// for that send, which the shell noticed a tick later.
#[test]
fn what_a_turn_answers_leaves_in_one_send() {
    let mut world = one_client("");
    let mut effects = world.effects_of(b"get a\r\nset b 0 0 1\r\n1\r\n");
    assert!(effects.sends.is_empty(), "the frame is written first");
    let upto = effects.frames.pop().expect("a frame").end;
    world.shards[0].step(world.now, [Input::Persisted { upto }].into_iter(), &mut effects);
    assert_eq!(effects.sends, [(ConnId(0), b"END\r\nSTORED\r\n".to_vec())]);
}

/// Housekeeping ran in every step of a turn. What it found made a frame, the frame made another step: a turn that began
/// to sweep expired items did nothing else before it had swept them all, and on a full disk it never ended.
#[test]
fn a_turn_ends_although_there_is_more_to_sweep() {
    let mut world = one_client("");
    for batch in 0..40 {
        let sets: String =
            (0..500).map(|i| format!("set k{batch}-{i} 0 1 400 noreply\r\n{}\r\n", "v".repeat(400))).collect();
        world.give(sets.as_bytes());
        world.persist();
    }
    world.now = world.now.after(crate::time::Duration::from_seconds(5));
    for full in [true, false] {
        let mut effects = Effects::default();
        let mut written = world.written;
        world.shards[0].step(world.now, std::iter::empty(), &mut effects);
        let mut steps = 0;
        while !effects.frames.is_empty() {
            steps += 1;
            assert!(steps < 4, "the turn goes on");
            let end = effects.frames.drain(..).next_back().expect("a frame").end;
            let said = if full { Input::Refused { written } } else { Input::Persisted { upto: end } };
            written = if full { written } else { end };
            world.shards[0].step_on(world.now, [said].into_iter(), &mut effects);
        }
        assert!(steps > 0, "something has expired");
        world.written = written;
    }
}

impl World {
    /// A turn in which the disk takes nothing.
    fn refuse(&mut self) {
        let written = self.written;
        self.step(Vec::new());
        assert!(!self.frames.is_empty(), "there was nothing to refuse");
        self.frames.clear();
        self.step(vec![Input::Refused { written }]);
        self.written = written;
    }
}

/// A flush that came due while the disk was full was forgotten; one that was refused came all the same.
#[test]
fn a_full_disk_keeps_the_flush_that_is_due_and_no_other() {
    let mut world = one_client("set a 0 0 1\r\n1\r\nflush_all 10\r\n");
    world.persist();
    let written = world.written;
    world.give(b"flush_all 5\r\n");
    world.frames.clear();
    world.step(vec![Input::Refused { written }]);
    world.written = written;
    assert_eq!(world.said(), "STORED\r\nOK\r\nSERVER_ERROR out of memory storing object\r\n");
    world.now = world.now.after(crate::time::Duration::from_seconds(7));
    world.give(b"get a\r\n");
    assert_eq!(world.said(), "VALUE a 0 1\r\n1\r\nEND\r\n", "the flush that was refused does not come");
    world.now = world.now.after(crate::time::Duration::from_seconds(7));
    world.refuse();
    world.give(b"get a\r\n");
    assert_eq!(world.said(), "VALUE a 0 1\r\n1\r\nEND\r\n");
    world.step(Vec::new());
    world.persist();
    world.give(b"get a\r\n");
    assert_eq!(world.said(), "END\r\n", "it comes as soon as there is space");
}

#[test]
fn a_refused_get_and_touch_is_one_line_whatever_its_keys() {
    let mut world = one_client("set a 0 100 1\r\n1\r\nset b 0 100 1\r\n2\r\n");
    world.persist();
    let written = world.written;
    world.give(b"gat 10 a b\r\n");
    world.frames.clear();
    world.step(vec![Input::Refused { written }]);
    assert_eq!(world.said(), "STORED\r\nSTORED\r\nSERVER_ERROR out of memory storing object\r\n");
}

/// A thousand answers with a value in each waited for the disk: a gigabyte for one client.
#[test]
fn few_values_wait_for_the_disk() {
    let mut world = one_client("set a 0 100 1\r\n1\r\n");
    world.persist();
    world.give(&b"gat 100 a\r\n".repeat(1000));
    let mut rounds = 0;
    while !world.frames.is_empty() {
        world.persist();
        rounds += 1;
    }
    assert!(rounds >= 1000 / 16, "all were evaluated in {rounds} turns");
    assert_eq!(world.said(), format!("STORED\r\n{}", "VALUE a 0 1\r\n1\r\nEND\r\n".repeat(1000)));
}

#[test]
fn items_are_counted_as_by_memcached() {
    let mut world = cache();
    for (command, items) in [
        ("set n 0 0 1\r\n9\r\n", 1),
        ("incr n 0\r\n", 0),
        ("incr n 1\r\n", 1),
        ("decr n 9\r\n", 0),
        ("touch n 100\r\n", 0),
        ("append n 0 0 1\r\n1\r\n", 1),
        ("set m 0 0 1\r\n1\r\ngat 100 m\r\n", 1),
    ] {
        let before = world.shards[0].shared.total(Counter::TotalItems);
        world.give(command.as_bytes());
        assert_eq!(world.shards[0].shared.total(Counter::TotalItems) - before, items, "{command}");
    }
    let total = |counter| world.shards[0].shared.total(counter);
    assert_eq!((total(Counter::CmdGet), total(Counter::GetHits)), (0, 0), "a get-and-touch is no get");
    assert_eq!((total(Counter::CmdTouch), total(Counter::TouchHits)), (2, 2));
}

/// Each piece of a long line was a reason to copy and to search all of it again: minutes of a thread for one client.
#[test]
fn a_long_line_may_come_in_small_pieces() {
    let mut world = cache();
    let key = "k".repeat(250);
    let line = format!("get {}\r\n", vec![key.as_str(); 15_000].join(" "));
    let began = std::time::Instant::now();
    for piece in line.as_bytes().chunks(500) {
        world.give(piece);
    }
    assert_eq!(world.said(), "END\r\n");
    assert!(began.elapsed().as_secs() < 3, "it took {:?}", began.elapsed());
}

#[test]
fn a_get_of_much_more_than_may_be_held_goes_on_key_by_key() {
    let mut world = cache();
    let value = "v".repeat(8000);
    world.give(format!("set k 0 0 8000\r\n{value}\r\n").as_bytes());
    assert_eq!(world.said(), "STORED\r\n");
    let hits = world.shards[0].shared.total(Counter::GetHits);
    world.give(format!("get {}\r\nversion\r\n", ["k"; 1000].join(" ")).as_bytes());
    assert_eq!(world.shards[0].shared.total(Counter::GetHits) - hits, 1000);
    let said = world.said();
    assert!(said.ends_with("END\r\nVERSION 1.6.45\r\n") && said.matches("VALUE k 0 8000\r\n").count() == 1000);
}
