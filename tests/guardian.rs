//! The guardian seen from outside: what the peers of a killed server hear, what becomes of its lock, and what an orderly
//! end leaves.
//!
//! Called with a role this program is the server; without one it starts itself and looks.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ringstore::ring::guardian::{self, Guardian};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Longest wait for something that should happen at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// Resident, so that the kernel has something to free.
const MEMORY_BYTES: usize = 256 << 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.as_slice() {
        [_, role, port, lock] if role == "play-server" => play(port.parse().expect("a port"), lock),
        _ => {
            a_killed_server_is_heard_of_on_its_lifeline();
            a_guardian_outlives_every_signal_but_one();
            a_server_that_stops_leaves_no_guardian();
            println!("guardian: ok");
            ExitCode::SUCCESS
        }
    }
}

/// A server with two connections and a lock: the first connection is a lifeline, and a ring waits at the second. It ends
/// when its standard input does.
fn play(port: u16, lock: &str) -> ExitCode {
    let lock = File::open(lock).expect("the lock file");
    flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("nobody else has it");
    let memory = vec![1u8; MEMORY_BYTES];
    let lifeline = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the test listens");
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the test listens");
    let guardian = Guardian::start().expect("a guardian");
    assert!(guardian.add_lifeline(lifeline.as_fd()), "there is room");
    guardian::reaches(client.as_fd());
    thread::spawn(move || receive_by_ring(client));
    println!("{}", guardian.process());
    std::io::stdin().read_to_end(&mut Vec::new()).expect("the test's end of it");
    guardian.remove_lifeline(lifeline.as_fd());
    assert!(std::hint::black_box(memory)[MEMORY_BYTES - 1] == 1);
    ExitCode::SUCCESS
}

/// Keeps a receive in flight: the kernel has to cancel it before the connection can end.
fn receive_by_ring(client: TcpStream) {
    tokio_uring::start(async move {
        let client = tokio_uring::net::TcpStream::from_std(client);
        let _ = client.read(vec![0; 64]).await;
    });
}

/// A started server as its peers see it. Dropping it kills it.
struct Server {
    process: Child,
    guardian: Pid,
    lifeline: TcpStream,
    client: TcpStream,
    directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        File::create(directory.path().join("lock")).expect("a lock file");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(["play-server", &port.to_string()])
            .arg(directory.path().join("lock"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut line = String::new();
        let out = process.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut line).expect("the guardian's number");
        let guardian = Pid::from_raw(line.trim().parse().expect("a number")).expect("not zero");
        let accept = || {
            let (connection, _) = listener.accept().expect("it connects");
            connection.set_read_timeout(Some(PATIENCE)).expect("a time");
            connection
        };
        let (lifeline, client) = (accept(), accept());
        Self { process, guardian, lifeline, client, directory }
    }

    fn lock_is_free(&self) -> bool {
        let lock = File::open(self.directory.path().join("lock")).expect("it is there");
        flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        until("the guardian goes with its server", || is_gone(self.guardian));
    }
}

/// Gone or a zombie that nobody waits for.
fn is_gone(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    let is_zombie = |stat: &str| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']));
    stat.map_or(true, |stat| is_zombie(&stat))
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Reads the end of a stream: orderly, which is what a lifeline means.
fn assert_orderly_end(mut connection: &TcpStream, what: &str) {
    match connection.read(&mut [0; 1]) {
        Ok(0) => {}
        other => panic!("{what} ends with {other:?}"),
    }
}

fn a_killed_server_is_heard_of_on_its_lifeline() {
    let mut server = Server::start();
    let name = format!("/proc/{}/comm", server.guardian.as_raw_nonzero());
    // it says so as soon as it runs, which may be after the server has told its number
    until("it has its name", || std::fs::read_to_string(&name).expect("it is there").trim() == "guardian");
    assert!(!server.lock_is_free(), "the server has it");
    let begun = Instant::now();
    server.process.kill().expect("it runs");
    assert_orderly_end(&server.lifeline, "the lifeline");
    let lifeline = begun.elapsed();
    assert_orderly_end(&server.client, "a client's connection");
    println!("guardian: lifeline {lifeline:?}, client {:?} after SIGKILL", begun.elapsed());
    until("another server can have the directory", || server.lock_is_free());
}

fn a_guardian_outlives_every_signal_but_one() {
    let mut server = Server::start();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::PIPE] {
        kill_process(server.guardian, signal).expect("it runs");
    }
    thread::sleep(Duration::from_millis(20));
    assert!(!is_gone(server.guardian), "what is sent to a whole group ends it");
    server.process.kill().expect("it runs");
    assert_orderly_end(&server.lifeline, "the lifeline");
}

fn a_server_that_stops_leaves_no_guardian() {
    let mut server = Server::start();
    server.lifeline.set_nonblocking(true).expect("a socket");
    let nothing = server.lifeline.read(&mut [0; 1]).expect_err("it lives");
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    drop(server.process.stdin.take());
    assert!(server.process.wait().expect("it ends").success());
    assert!(test_kill_process(server.guardian).is_err(), "it was waited for");
    assert!(server.lock_is_free(), "nobody holds the directory when the server's process is gone");
}
