//! The load balancer's sockets, its clock and its disk, on tokio-uring: one thread, one task for each client and each lifeline.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener, UdpSocket as StdSocket};
use std::rc::Rc;
use std::time::Instant;

use bytes::BytesMut;
use memchr::memchr;
use tokio::time::timeout;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::{TcpListener, TcpStream, UdpSocket};

use super::answers::{Ask, Route, Router};
use super::record::{RecordDir, RecordError};
use super::state::{State, Task};
use super::{BalancerConfig, BalancerError};
use crate::cluster::{
    COORDINATOR, Configuration, Coordinator, CoordinatorBoot, CoordinatorInput, Lengths, Member, Rules, Timing,
};
use crate::config;
use crate::contact::Contact;
use crate::lifeline::{HELLO_BYTES, Hello};
use crate::log::{Incarnation, LogId, NodeId};
use crate::ring::clock::now;
use crate::ring::process::{Signal, block_signals, wait_for_signal};
use crate::time::Duration;
use crate::transport::{Endpoint, Identity};

/// Submission queue entries.
const RING_ENTRIES: u32 = 256;
/// The coordinator's clock ticks so often.
const TICK: std::time::Duration = std::time::Duration::from_millis(5);
/// Longest line of a client, and room for what it sends.
const LINE_BYTES_MAX: usize = 256;
/// A client that says nothing for so long is let go.
const CLIENT_PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
/// Clients at once.
const CLIENTS_MAX: usize = 1024;
/// Between two attempts to open a lifeline.
const LIFELINE_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
/// Between two rounds of asking how much members have to do, and how long each may take to say it.
const STATS_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
const STATS_PATIENCE: std::time::Duration = std::time::Duration::from_millis(200);
/// More than any server's `stats`.
const STATS_BYTES_MAX: usize = 64 << 10;
/// How long an address that is in use may still be a dead predecessor's.
const PREDECESSOR_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
/// Datagrams are received into so many bytes: the largest there are.
const DATAGRAM_ROOM: usize = 65_536;

/// What all tasks share.
struct Balancer {
    state: RefCell<State>,
    record: RecordDir,
    socket: UdpSocket,
    /// Where it listens.
    address: IpAddr,
    /// Lifelines that are open or being opened.
    watched: RefCell<Vec<(NodeId, Incarnation)>>,
    clients: RefCell<usize>,
}

/// Runs a load balancer until a signal ends it. `ready` is called with the address when it listens.
///
/// # Errors
/// When it cannot start.
pub fn run(config: &BalancerConfig, ready: impl FnOnce(SocketAddr)) -> Result<(), BalancerError> {
    if config.key.is_none() && !config.listen.ip().is_loopback() {
        return Err(BalancerError::NoKey(config.listen));
    }
    let (record, configuration, incarnation) = RecordDir::open(&config.data_dir).map_err(BalancerError::Record)?;
    let configuration = match &config.recovery {
        None => configuration,
        Some(recovery) => {
            let recovered = recovery.run(configuration.as_ref()).map_err(BalancerError::Recovery)?;
            record.write(&recovered).map_err(BalancerError::Record)?;
            Some(recovered)
        }
    };
    let (listener, socket) = listen(config.listen)?;
    let address = listener.local_addr().map_err(BalancerError::System)?;
    block_signals().map_err(BalancerError::System)?;
    // everything that must outlive the process is durable already
    std::thread::spawn(|| {
        while wait_for_signal() == Signal::HangUp {}
        std::process::exit(0);
    });
    let state = state(config, configuration, incarnation);
    let runtime =
        tokio_uring::Runtime::new(tokio_uring::builder().entries(RING_ENTRIES)).map_err(BalancerError::Ring)?;
    runtime.block_on(async move {
        let balancer = Rc::new(Balancer {
            state: RefCell::new(state),
            record,
            socket: UdpSocket::from_std(socket),
            address: address.ip(),
            watched: RefCell::default(),
            clients: RefCell::new(0),
        });
        ready(address);
        tokio_uring::spawn(receive(Rc::clone(&balancer)));
        tokio_uring::spawn(accept(Rc::clone(&balancer), TcpListener::from_std(listener)));
        if config.route == Route::LeastRequests {
            tokio_uring::spawn(count_requests(Rc::clone(&balancer)));
        }
        loop {
            let mut tasks = Vec::new();
            balancer.state.borrow_mut().ticked(now(), &mut tasks);
            carry_out(&balancer, tasks);
            tokio::time::sleep(TICK).await;
        }
    })
}

/// TCP and UDP at the same port. The ring of a load balancer that was killed just now may hold its sockets for some
/// milliseconds after its process is gone.
fn listen(address: SocketAddr) -> Result<(StdListener, StdSocket), BalancerError> {
    let until = Instant::now() + PREDECESSOR_PATIENCE;
    loop {
        match bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < until => {
                std::thread::sleep(LIFELINE_PAUSE);
            }
            bound => return bound.map_err(|error| BalancerError::Listen { address, error }),
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<(StdListener, StdSocket)> {
    let listener = StdListener::bind(address)?;
    let socket = StdSocket::bind(listener.local_addr()?)?;
    Ok((listener, socket))
}

fn state(config: &BalancerConfig, record: Option<Configuration>, incarnation: Incarnation) -> State {
    let defaults = Timing::default();
    let scale = |duration: Duration| Duration(duration.0 * config.heartbeat.0 / defaults.heartbeat.0);
    let Lengths { calm, longest } = defaults.leader_silence;
    let leader_silence = Lengths { calm: scale(calm), longest: scale(longest) };
    let timing = Timing { heartbeat: config.heartbeat, leader_silence, ..defaults };
    let fresh = LogId(rand::random::<u128>().max(1));
    let boot = CoordinatorBoot { record, fresh, min_insync: config.min_insync, timing, rules: Rules::ALL };
    let salt = rand::random();
    let identity = Identity { node: COORDINATOR, incarnation, salt, key: config.key.clone() };
    let loopback = config.listen.ip().is_loopback();
    let bytes = if loopback { config::DATAGRAM_BYTES_LOOPBACK } else { config::DATAGRAM_BYTES };
    let pick = Box::new(|below| rand::random_range(0..below));
    State::new(Coordinator::start(now(), boot), Endpoint::new(identity, bytes), Router::new(config.route), pick)
}

fn carry_out(balancer: &Rc<Balancer>, tasks: Vec<Task>) {
    let mut datagrams = Vec::new();
    for task in tasks {
        match task {
            Task::Send(address, bytes) => datagrams.push((address, bytes)),
            Task::Persist(configuration) => persist(balancer, &configuration),
            Task::Watch(member, incarnation) => watch(balancer, &member, incarnation),
            Task::Warn(text) => tracing::warn!("{text}"),
        }
    }
    if !datagrams.is_empty() {
        let balancer = Rc::clone(balancer);
        tokio_uring::spawn(async move {
            for (address, bytes) in datagrams {
                // what cannot be sent is lost, like what is lost on the way
                let _ = balancer.socket.send_to(bytes, address).await;
            }
        });
    }
}

/// R1. The loop waits for the disk: a configuration changes rarely, and nothing may be said before it is durable.
fn persist(balancer: &Rc<Balancer>, configuration: &Configuration) {
    if let Err(error) = balancer.record.write(configuration) {
        stop(&error);
    }
    tracing::info!("epoch {}: {}", configuration.epoch.0, described(configuration));
    let mut tasks = Vec::new();
    let persisted = CoordinatorInput::Persisted { epoch: configuration.epoch };
    balancer.state.borrow_mut().input(now(), persisted, &mut tasks);
    carry_out(balancer, tasks);
}

/// Nothing is known of what is on the disk after an error: it is never tried again.
fn stop(error: &RecordError) -> ! {
    tracing::error!("{error}");
    std::process::exit(i32::from(error.exit_code()));
}

fn described(configuration: &Configuration) -> String {
    let clients =
        |member: &Member| member.contact.parse::<Contact>().map_or_else(|_| "?".into(), |c| c.clients.to_string());
    let leader = configuration.member(configuration.leader).map_or_else(String::new, clients);
    let members: Vec<String> = configuration.members.iter().map(clients).collect();
    format!("{leader} leads {}", members.join(", "))
}

async fn receive(balancer: Rc<Balancer>) {
    let mut buffer = vec![0; DATAGRAM_ROOM];
    loop {
        let (received, back) = balancer.socket.recv_from(buffer).await;
        buffer = back;
        // an error here is an ICMP answer to something that was sent: its receiver is not there
        if let Ok((bytes, from)) = received {
            let mut tasks = Vec::new();
            balancer.state.borrow_mut().received(now(), &mut buffer[..bytes], from, &mut tasks);
            carry_out(&balancer, tasks);
        }
    }
}

/// Opens a lifeline and waits for its end, unless one is open.
fn watch(balancer: &Rc<Balancer>, member: &Member, incarnation: Incarnation) {
    let key = (member.node, incarnation);
    let Ok(contact) = member.contact.parse::<Contact>() else { return };
    if balancer.watched.borrow().contains(&key) {
        return;
    }
    balancer.watched.borrow_mut().push(key);
    let balancer = Rc::clone(balancer);
    tokio_uring::spawn(async move {
        while !watch_once(&balancer, key, contact).await {
            tokio::time::sleep(LIFELINE_PAUSE).await;
        }
        balancer.watched.borrow_mut().retain(|watched| *watched != key);
    });
}

/// Whether the watch is over: the incarnation is dead, or nobody asks any more.
async fn watch_once(balancer: &Rc<Balancer>, (node, incarnation): (NodeId, Incarnation), contact: Contact) -> bool {
    let ended = match lifeline_end(node, contact).await {
        Some((hello, ended)) if hello.incarnation >= incarnation => ended.then_some(hello.incarnation),
        // an older one answers: not the one that is asked for
        Some(_) | None => None,
    };
    let input = match ended {
        Some(incarnation) => CoordinatorInput::LifelineEnded { node, incarnation },
        None => CoordinatorInput::LifelineLost { node, incarnation },
    };
    let mut tasks = Vec::new();
    balancer.state.borrow_mut().input(now(), input, &mut tasks);
    carry_out(balancer, tasks);
    let wanted = balancer.state.borrow().configuration().is_some_and(|one| one.leader == node);
    ended.is_some() || !wanted
}

/// Who answered at the other end, and whether its end was orderly, which proves its death (R25).
async fn lifeline_end(node: NodeId, contact: Contact) -> Option<(Hello, bool)> {
    let stream = TcpStream::connect(contact.servers).await.ok()?;
    let mut said = Vec::new();
    while said.len() < HELLO_BYTES {
        let (read, buffer) = stream.read(vec![0; HELLO_BYTES - said.len()]).await;
        let read = read.ok().filter(|&read| read > 0)?;
        said.extend_from_slice(&buffer[..read]);
    }
    let hello = Hello::decode(&said).filter(|hello| hello.node == node)?;
    let (read, _) = stream.read(vec![0; 1]).await;
    Some((hello, matches!(read, Ok(0))))
}

async fn accept(balancer: Rc<Balancer>, listener: TcpListener) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // out of descriptors, say: others may end meanwhile
            tokio::time::sleep(LIFELINE_PAUSE).await;
            continue;
        };
        if *balancer.clients.borrow() >= CLIENTS_MAX {
            continue;
        }
        *balancer.clients.borrow_mut() += 1;
        let balancer = Rc::clone(&balancer);
        tokio_uring::spawn(async move {
            serve_client(&balancer, &stream, peer.ip()).await;
            *balancer.clients.borrow_mut() -= 1;
        });
    }
}

/// Asks all members again and again how many requests they have answered.
async fn count_requests(balancer: Rc<Balancer>) {
    let mut before: BTreeMap<NodeId, u64> = BTreeMap::new();
    loop {
        let members = balancer.state.borrow().configuration().map_or_else(Vec::new, |one| one.members.clone());
        for Member { node, contact } in members {
            let Ok(contact) = contact.parse::<Contact>() else { continue };
            // who does not answer is not chosen for having answered nothing
            let requests = match timeout(STATS_PATIENCE, requests_of(contact.clients)).await {
                Ok(Some(total)) => total.saturating_sub(before.insert(node, total).unwrap_or(total)),
                Ok(None) | Err(_) => u64::MAX / 2,
            };
            balancer.state.borrow_mut().router().note_requests(node, requests);
        }
        tokio::time::sleep(STATS_PAUSE).await;
    }
}

/// What memcached's `stats` counts of commands.
async fn requests_of(address: SocketAddr) -> Option<u64> {
    let stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(b"stats\r\n".to_vec()).await.0.ok()?;
    let mut text = Vec::new();
    while !text.ends_with(b"END\r\n") {
        let (read, buffer) = stream.read(vec![0; 4096]).await;
        let read = read.ok().filter(|&read| read > 0 && text.len() < STATS_BYTES_MAX)?;
        text.extend_from_slice(&buffer[..read]);
    }
    let text = String::from_utf8(text).ok()?;
    let count = |line: &str| {
        let (name, value) = line.strip_prefix("STAT cmd_")?.split_once(' ')?;
        matches!(name, "get" | "set" | "touch" | "meta").then(|| value.parse::<u64>().ok())?
    };
    Some(text.lines().filter_map(count).sum())
}

/// Anyone who reaches the port may ask which servers there are; who may be cut off from what is for who is on this machine.
fn force(balancer: &Rc<Balancer>, peer: IpAddr, node: NodeId, confirmed: bool) -> String {
    if !peer.is_loopback() && peer != balancer.address {
        return "REFUSED it is taken from the load balancer's own machine only\r\n".to_owned();
    }
    let mut tasks = Vec::new();
    let answer = balancer.state.borrow_mut().force(now(), node, confirmed, &mut tasks);
    carry_out(balancer, tasks);
    answer
}

/// Answers lines until the client quits, or sends something that is none.
async fn serve_client(balancer: &Rc<Balancer>, stream: &TcpStream, peer: IpAddr) {
    let mut input = BytesMut::with_capacity(LINE_BYTES_MAX);
    loop {
        while let Some(end) = memchr(b'\n', &input) {
            let line = input.split_to(end + 1);
            let line = line[..end].strip_suffix(b"\r").unwrap_or(&line[..end]);
            let answer = match Ask::parse(line) {
                Some(Ask::Quit) => return,
                Some(Ask::Force { node, confirmed }) => force(balancer, peer, node, confirmed),
                Some(ask) => balancer.state.borrow_mut().answer(ask),
                None => "ERROR\r\n".to_owned(),
            };
            if stream.write_all(answer.into_bytes()).await.0.is_err() {
                return;
            }
        }
        if input.len() >= LINE_BYTES_MAX {
            let _ = stream.write_all(b"CLIENT_ERROR line too long\r\n".to_vec()).await;
            return;
        }
        let used = input.len();
        input.reserve(LINE_BYTES_MAX);
        let Ok((read, slice)) = timeout(CLIENT_PATIENCE, stream.read(input.slice(used..))).await else { return };
        input = slice.into_inner();
        if !matches!(read, Ok(1..)) {
            return;
        }
    }
}
