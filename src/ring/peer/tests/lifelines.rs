//! Lifelines, between threads of this process and from a process that is killed.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};

use super::*;
use crate::cluster::Member;
use crate::lifeline::{HELLO_BYTES, Hello};

const HELLO: Hello = Hello { node: NodeId(7), incarnation: Incarnation(3) };
/// Set for the process that plays a server.
const ROLE: &str = "RINGSTORE_LIFELINE_SERVER";

fn connections() -> (Connections, SocketAddr) {
    let bound = bind(LOCALHOST, 0).expect("a free port");
    (Connections::start(bound.listener, None, None, LOCALHOST).expect("a thread"), bound.address)
}

fn member(node: u64, address: SocketAddr) -> Member {
    Member { node: NodeId(node), contact: format!("127.0.0.1:1 {address}") }
}

fn event(connections: &Connections) -> PeerEvent {
    let mut events = Vec::new();
    let event = until("an event", || {
        connections.take_events(&mut events);
        events.pop()
    });
    assert!(events.is_empty(), "and {events:?}");
    event
}

fn hello(mut stream: &TcpStream) -> Option<Hello> {
    let mut bytes = [0; HELLO_BYTES];
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.read_exact(&mut bytes).ok()?;
    Hello::decode(&bytes)
}

/// Whether something can be read, or has ended.
fn is_silent(stream: &TcpStream) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::IN)];
    let patience = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    poll(&mut polled, Some(&patience)).expect("it is polled") == 0
}

#[test]
fn hello_is_said_once_the_incarnation_is_durable() {
    let (server, address) = connections();
    let stream = TcpStream::connect(address).expect("the kernel takes it");
    assert!(is_silent(&stream), "nothing is said before");
    server.announce(HELLO);
    assert_eq!(hello(&stream), Some(HELLO));
    assert!(is_silent(&stream), "and nothing more");
    // the thread ends before the process does: that is no proof
    drop(server);
    assert!(is_silent(&stream));
}

#[test]
fn whoever_says_something_is_reset() {
    let (server, address) = connections();
    server.announce(HELLO);
    for said in [&b"get key\r\n"[..], b"ringstrX", b"\0"] {
        let mut stream = TcpStream::connect(address).expect("it listens");
        assert_eq!(hello(&stream), Some(HELLO));
        stream.write_all(said).expect("it is sent");
        let error = stream.read(&mut [0; 1]).expect_err("an orderly end would be a proof of death");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    // the beginning of a stream and no more
    let mut stream = TcpStream::connect(address).expect("it listens");
    assert_eq!(hello(&stream), Some(HELLO));
    stream.write_all(b"ring").expect("it is sent");
    let error = stream.read(&mut [0; 1]).expect_err("it takes too long");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn strangers_find_an_end_and_take_nobody_elses_place() {
    let (server, address) = connections();
    server.announce(HELLO);
    let mut open = Vec::new();
    for _ in 0..config::LIFELINES_MAX {
        let stream = TcpStream::connect(address).expect("it listens");
        assert_eq!(hello(&stream), Some(HELLO));
        open.push(stream);
    }
    let stream = TcpStream::connect(address).expect("the kernel takes it");
    assert_eq!(hello(&stream), None, "one too many");
    drop(open.pop());
    until("a place", || hello(&TcpStream::connect(address).expect("the kernel takes it")));
    assert!(is_silent(&open[0]), "the others stay");
}

#[test]
fn only_an_orderly_end_behind_a_hello_is_a_proof() {
    let (watcher, _) = connections();
    let listener = TcpListener::bind((LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    let lost = |incarnation| PeerEvent::LifelineLost { node: NodeId(7), incarnation: Incarnation(incarnation) };
    watcher.set_watched(&[member(7, address)]);

    // each end is followed by another attempt, and what is wrong is told once
    let accept = || listener.accept().expect("it comes").0;
    drop(accept());
    assert_eq!(event(&watcher), lost(0), "nothing was said");
    accept().write_all(&HELLO.encode()[..10]).expect("it is sent");
    accept().write_all(&Hello { node: NodeId(8), ..HELLO }.encode()).expect("it is sent");
    let mut lifeline = accept();
    lifeline.write_all(&HELLO.encode()[..10]).expect("it is sent");
    lifeline.write_all(&HELLO.encode()[10..]).expect("it is sent");
    // what it would have said of the two before is said before its end
    drop(lifeline);
    assert_eq!(event(&watcher), PeerEvent::LifelineEnded { node: NodeId(7), incarnation: Incarnation(3) });

    // a reset takes with it what was not read yet: then there was no hello
    let mut events = Vec::new();
    while events.is_empty() {
        let mut lifeline = accept();
        lifeline.write_all(&HELLO.encode()).expect("it is sent");
        std::thread::sleep(Duration::from_millis(20));
        watch::reset(lifeline);
        std::thread::sleep(Duration::from_millis(20));
        watcher.take_events(&mut events);
    }
    assert_eq!(events, [lost(3)], "a reset");

    let mut lifeline = accept();
    lifeline.write_all(&HELLO.encode()).expect("it is sent");
    watcher.set_watched(&[member(7, address)]);
    assert!(is_silent(&lifeline), "it is still wanted");
    watcher.set_watched(&[]);
    assert_eq!(lifeline.read(&mut [0; 1]).expect("an end"), 0, "nobody is watched any more");
}

#[test]
fn nobody_watches_itself() {
    let (server, address) = connections();
    server.announce(HELLO);
    let (other, there) = connections();
    other.announce(Hello { node: NodeId(8), incarnation: Incarnation(1) });
    let listener = TcpListener::bind((LOCALHOST, 0)).expect("a port");
    server.set_watched(&[member(7, address), member(8, there), member(9, listener.local_addr().expect("bound"))]);
    listener.accept().expect("it comes");
    drop(other);
    // the other's thread is gone, its end is not: nothing is told
    assert!(matches!(event(&server), PeerEvent::LifelineLost { node: NodeId(9), .. }));
}

#[test]
fn a_killed_process_ends_its_lifelines() {
    // killed before the lifeline is open it proves nothing: then another one gets more time
    for milliseconds in [20, 200, 2000, 10_000] {
        let mut child = Server::start();
        let (watcher, _) = connections();
        watcher.set_watched(&[member(7, child.address)]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.process.kill().expect("it runs");
        match event(&watcher) {
            PeerEvent::LifelineLost { incarnation: Incarnation(0), .. } => {}
            other => {
                let ended = PeerEvent::LifelineEnded { node: NodeId(7), incarnation: Incarnation(3) };
                return assert_eq!(other, ended);
            }
        }
    }
    panic!("no lifeline was ever open");
}

/// This test program in another role.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut process = Command::new(program)
            .args(["--exact", "--nocapture", "--test-threads=1", "ring::peer::tests::lifelines::plays_a_server"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut said = String::new();
        let mut out = process.stdout.take().expect("it is piped");
        let mut byte = [0; 1];
        let address = loop {
            assert_eq!(out.read(&mut byte).expect("it says something"), 1, "it ended: {said}");
            said.push(char::from(byte[0]));
            let line = said.lines().find_map(|line| line.split_once("listens on ")).map(|(_, address)| address);
            if let Some(address) = line.filter(|_| said.ends_with('\n')) {
                break address.parse().expect("an address");
            }
        };
        Self { process, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Nothing by itself: the body of the process that `Server` starts.
#[test]
fn plays_a_server() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let (server, address) = connections();
    server.announce(HELLO);
    println!("\nlistens on {address}");
    // ends with whoever started it
    let _ = std::io::stdin().read(&mut [0; 1]);
}
