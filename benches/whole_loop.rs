//! A whole loop over loopback: the server as the program runs it, in this process, and a client that waits for its answers.
//!
//! ```text
//! this thread: requests in one write(2) --> socket --> ring thread: recv, parse, store, log, reply --> socket --> compare
//! ```
//!
//! One connection. "16 in flight": sixteen requests leave together, and the next sixteen when all are answered. Client and
//! server are one process, so that a flame graph shows both.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use ringstore::config::{Fsync, ServerConfig};
use ringstore::ring::process::{self, Prepared};
use ringstore::ring::server::{self, ServerError};
use tempfile::TempDir;

const KEYS: usize = 10_000;
const VALUE: &str = "0123456789abcdef0123456789abcdef";
const IN_FLIGHT: [usize; 3] = [1, 16, 64];
const MULTIGET_KEYS: usize = 100;
const START_PATIENCE: Duration = Duration::from_secs(10);

/// What leaves together, and the bytes that must come back.
struct Round {
    requests: Vec<u8>,
    replies: Vec<u8>,
}

/// A server with all keys set, and a connection to it.
struct Loopback {
    stream: TcpStream,
    received: Vec<u8>,
    server: Option<JoinHandle<Result<(), ServerError>>>,
    _prepared: Prepared,
    /// Its log and its port file; removed last.
    _dir: TempDir,
}

impl Loopback {
    /// `fsync`: nothing for a server without a log.
    fn start(fsync: Option<Fsync>) -> Self {
        // beside the build, not in /tmp: that is often memory, where a sync costs nothing
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory can be made");
        let port_file = dir.path().join("port");
        let config = ServerConfig {
            listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
            port_file: Some(port_file.clone()),
            shutdown_command: true,
            data_dir: fsync.map(|_| dir.path().join("log")),
            fsync: fsync.unwrap_or(Fsync::Never),
            ..ServerConfig::default()
        };
        let prepared = process::prepare(&config).expect("the process can be prepared");
        let server = thread::spawn(move || server::run(config));
        let Some(address) = wait_for_port(&port_file, &server) else {
            panic!("the server does not start: {:?}", server.join());
        };
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP option");
        let mut loopback = Self { stream, received: Vec::new(), server: Some(server), _prepared: prepared, _dir: dir };
        for round in rounds(MULTIGET_KEYS, set) {
            loopback.turn(&round);
        }
        loopback
    }

    /// Sends a round's requests and waits until all are answered.
    fn turn(&mut self, round: &Round) {
        self.stream.write_all(&round.requests).expect("the server reads");
        self.received.resize(round.replies.len(), 0);
        self.stream.read_exact(&mut self.received).expect("the server answers");
        assert!(self.received == round.replies, "an answer is wrong: {}", self.received.escape_ascii());
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        let server = self.server.take().expect("it is stopped once");
        if thread::panicking() {
            return;
        }
        self.stream.write_all(b"shutdown\r\n").expect("the server reads");
        server.join().expect("the server does not panic").expect("the server stops in order");
    }
}

/// The address in the port file; nothing when the server ends or takes too long.
fn wait_for_port(path: &Path, server: &JoinHandle<Result<(), ServerError>>) -> Option<SocketAddr> {
    let began = Instant::now();
    while !server.is_finished() && began.elapsed() < START_PATIENCE {
        if let Ok(text) = fs::read_to_string(path) {
            let port = text.trim().strip_prefix("TCP INET: ").expect("one address of IPv4");
            return Some((Ipv4Addr::LOCALHOST, port.parse().expect("a port")).into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    None
}

fn key(n: usize) -> String {
    format!("key-{n:012}")
}

fn get(key: &str, round: &mut Round) {
    round.requests.extend_from_slice(format!("get {key}\r\n").as_bytes());
    round.replies.extend_from_slice(format!("VALUE {key} 0 {}\r\n{VALUE}\r\nEND\r\n", VALUE.len()).as_bytes());
}

fn set(key: &str, round: &mut Round) {
    round.requests.extend_from_slice(format!("set {key} 0 0 {}\r\n{VALUE}\r\n", VALUE.len()).as_bytes());
    round.replies.extend_from_slice(b"STORED\r\n");
}

/// Rounds of `size` requests that together use every key.
fn rounds(size: usize, request: fn(&str, &mut Round)) -> Vec<Round> {
    let round = |first: usize| {
        let mut round = Round { requests: Vec::new(), replies: Vec::new() };
        // a stride that shares no factor with the number of keys, so that neighbours are not together
        (first..first + size).for_each(|n| request(&key(n * 7919 % KEYS), &mut round));
        round
    };
    (0..KEYS).step_by(size).map(round).collect()
}

fn multiget_rounds() -> Vec<Round> {
    let into_one = |round: Round| {
        let requests = String::from_utf8(round.requests).expect("text").replace("\r\nget ", " ");
        let replies = String::from_utf8(round.replies).expect("text").replace("END\r\n", "") + "END\r\n";
        Round { requests: requests.into(), replies: replies.into() }
    };
    rounds(MULTIGET_KEYS, get).into_iter().map(into_one).collect()
}

/// One benchmark; the group's server starts with the first that is not filtered out.
fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    server: &mut Option<Loopback>,
    fsync: Option<Fsync>,
    (name, elements): (String, usize),
    rounds: impl FnOnce() -> Vec<Round>,
) {
    let (mut make, mut made) = (Some(rounds), Vec::new());
    group.throughput(Throughput::Elements(elements as u64));
    group.bench_function(name, |bencher| {
        let server = server.get_or_insert_with(|| Loopback::start(fsync));
        if let Some(make) = make.take() {
            made = make();
        }
        let mut next = made.iter().cycle();
        bencher.iter(|| server.turn(next.next().expect("there are rounds")));
    });
}

fn requests(
    group: &mut BenchmarkGroup<'_, WallTime>,
    server: &mut Option<Loopback>,
    fsync: Option<Fsync>,
    verb: &str,
    request: fn(&str, &mut Round),
) {
    for size in IN_FLIGHT {
        bench(group, server, fsync, (format!("{verb}/{size}-in-flight"), size), || rounds(size, request));
    }
}

fn cache(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("whole_loop/no-log");
    let mut server = None;
    requests(&mut group, &mut server, None, "get", get);
    requests(&mut group, &mut server, None, "set", set);
    bench(&mut group, &mut server, None, (format!("multiget/{MULTIGET_KEYS}-keys"), MULTIGET_KEYS), multiget_rounds);
    group.finish();
}

/// Gets do not touch the log, so only sets are of interest here.
fn logged(criterion: &mut Criterion, name: &str, fsync: Fsync) {
    let mut group = criterion.benchmark_group(format!("whole_loop/{name}"));
    // a sync may take milliseconds, and the log grows with each set
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    let mut server = None;
    requests(&mut group, &mut server, Some(fsync), "set", set);
    group.finish();
}

fn main() {
    // before criterion starts threads of its own: the server waits for signals, which must be blocked in all
    process::block_signals().expect("signals can be blocked");
    let mut criterion = support::criterion().configure_from_args();
    cache(&mut criterion);
    logged(&mut criterion, "fsync-never", Fsync::Never);
    logged(&mut criterion, "fsync-always", Fsync::Always);
    criterion.final_summary();
}
