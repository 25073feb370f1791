//! Servers' ends in one process, over real sockets of loopback. Every wait has an end.

mod binding;
mod datagrams;
mod lifelines;
mod streams;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use io_uring::types::Timespec;

use super::*;
use crate::cluster::message::Forward;
use crate::cluster::{Body, COORDINATOR, Header, Message};
use crate::config;
use crate::log::{Epoch, Incarnation, LogId, NodeId};
use crate::ring::clock::now;
use crate::ring::driver::{Driver, Wait};
use crate::ring::token::Token;
use crate::transport::{ClusterKey, Identity};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Against hanging and nothing else: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
static TICK: Timespec = Timespec::new().nsec(2_000_000);

fn key() -> ClusterKey {
    ClusterKey::from_file(&[3; ClusterKey::BYTES]).expect("32 bytes")
}

/// Waits until `done` gives something.
fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(done) = done() {
            return done;
        }
        assert!(Instant::now() < end, "{what}: it does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A server's datagrams.
struct Peer {
    node: NodeId,
    driver: Driver,
    socket: PeerSocket,
    address: SocketAddr,
    came: Vec<Message>,
    settled: Vec<NodeId>,
}

impl Peer {
    fn new(node: u64, datagram_bytes: usize, key: Option<ClusterKey>) -> Self {
        let bound = bind(LOCALHOST, 0).expect("a free port");
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut driver = Driver::new().expect("a ring");
        let identity = Identity { node: NodeId(node), incarnation: Incarnation(1), salt: rand::random(), key };
        let socket = PeerSocket::new(bound.socket, identity, datagram_bytes, nobody, &mut driver).expect("buffers");
        driver.tick(&TICK);
        let (came, settled) = (Vec::new(), Vec::new());
        Self { node: NodeId(node), driver, socket, address: bound.address, came, settled }
    }

    fn knows(&mut self, other: &Self) {
        self.socket.set_address(other.node, other.address);
    }

    /// One turn of its loop, which waits for nothing; whether something came.
    fn turn(&mut self) -> bool {
        let again = self.socket.flush(now());
        let mut completions = Vec::new();
        self.driver.enter(Wait::No, &mut completions);
        let came = !completions.is_empty();
        for cqe in completions {
            match cqe.token {
                Token::Tick => {
                    self.driver.tick(&TICK);
                    self.socket.on_time(now());
                }
                Token::Datagrams => {
                    let came = &mut self.came;
                    self.socket.on_received(&mut self.driver, cqe, now(), &mut |message| came.push(message));
                }
                token => panic!("nobody asked for {token:?}"),
            }
        }
        self.socket.take_settled(&mut self.settled);
        again || came
    }

    fn send(&mut self, to: NodeId, body: Body) {
        self.socket.send(now(), &message(self.node, to, body));
    }
}

fn message(source: NodeId, destination: NodeId, body: Body) -> Message {
    let source_incarnation = Incarnation(u64::from(source != COORDINATOR));
    let header = Header {
        cluster: LogId(5),
        epoch: Epoch(1),
        source,
        source_incarnation,
        destination,
        destination_incarnation: Incarnation(1),
    };
    Message { header, body }
}

/// A message of about so many bytes, to be known again by its number.
fn large(number: u64, bytes: usize) -> Body {
    let request: Vec<u8> = (0..bytes).map(|at| (at as u64 ^ (number * 31) ^ (at as u64 >> 11)) as u8).collect();
    Body::Forward(Forward { number, previous: number - 1, undecided: number, request })
}

/// Turns of all until `done`.
fn run(peers: &mut [Peer], what: &str, mut done: impl FnMut(&mut [Peer]) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done(peers) {
        assert!(
            Instant::now() < end,
            "{what}: it does not come; {:?}",
            peers.iter().map(|p| p.socket.counts()).collect::<Vec<_>>()
        );
        let busy = peers.iter_mut().fold(false, |busy, peer| peer.turn() | busy);
        if !busy {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}
