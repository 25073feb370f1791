//! A server as the load balancer sees one: the cluster's real machine over a real socket, with a disk that is always ready.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ringstore::cluster::{Body, Message};
use ringstore::cluster::{Boot, COORDINATOR, Configuration, Effect, Input, NodeRecord, Replica, Report, codec};
use ringstore::config;
use ringstore::contact::Contact;
use ringstore::lifeline::Hello;
use ringstore::log::{Epoch, Incarnation, LogId, NodeId};
use ringstore::time::Time;
use ringstore::transport::{ClusterKey, Endpoint, Identity, Repair, Train};

/// See the module.
pub struct Server {
    machine: Replica,
    endpoint: Endpoint,
    socket: UdpSocket,
    balancer: SocketAddr,
    contact: Contact,
    /// Where servers are that are no members yet, as the load balancer says.
    known: BTreeMap<NodeId, SocketAddr>,
    lifelines: Arc<Mutex<Vec<TcpStream>>>,
    ticked: Instant,
    received: u64,
    heartbeats: u64,
    refused: bool,
}

fn now() -> Time {
    Time(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64)
}

impl Server {
    /// Starts a server of that name; `key` is the cluster's.
    pub fn start(node: u64, incarnation: u64, balancer: SocketAddr, key: Option<&[u8]>) -> Self {
        let (listener, socket) = bind();
        let servers = socket.local_addr().expect("it is bound");
        let clients = SocketAddr::from((Ipv4Addr::LOCALHOST, 10_000 + node as u16));
        let contact = Contact { clients, servers };
        let lifelines = Arc::default();
        let hello = Hello { node: NodeId(node), incarnation: Incarnation(incarnation) };
        keep_lifelines(listener, hello, &lifelines);
        let key = key.map(|bytes| ClusterKey::from_file(bytes).expect("a key"));
        let identity = Identity { node: NodeId(node), incarnation: Incarnation(incarnation), salt: node, key };
        let endpoint = Endpoint::new(identity, config::DATAGRAM_BYTES_LOOPBACK);
        let mut record = NodeRecord::new(NodeId(node));
        record.incarnation = Incarnation(incarnation - 1);
        let boot = Boot::empty(record, contact.to_string());
        let mut effects = Vec::new();
        let machine = Replica::start(now(), boot, &mut effects);
        let (ticked, received, heartbeats, refused) = (Instant::now(), 0, 0, false);
        let known = BTreeMap::new();
        let mut server = Self {
            machine,
            endpoint,
            socket,
            balancer,
            contact,
            known,
            lifelines,
            ticked,
            received,
            heartbeats,
            refused,
        };
        server.carry_out(effects);
        server
    }

    pub const fn node(&self) -> NodeId {
        self.machine.node()
    }

    pub const fn contact(&self) -> Contact {
        self.contact
    }

    /// Datagrams of the load balancer and of others.
    pub const fn received(&self) -> u64 {
        self.received
    }

    pub const fn heartbeats(&self) -> u64 {
        self.heartbeats
    }

    pub const fn is_refused(&self) -> bool {
        self.refused
    }

    pub fn has_lifeline(&self) -> bool {
        !self.lifelines.lock().expect("nobody panicked").is_empty()
    }

    /// As if it held data of that cluster.
    pub fn belongs_to(&mut self, cluster: u128) {
        let configuration = Configuration {
            cluster: LogId(cluster),
            epoch: Epoch(1),
            leader: NodeId(1),
            leader_incarnation: Incarnation(1),
            members: vec![ringstore::cluster::Member { node: NodeId(1), contact: String::new() }],
            min_insync: 1,
            forced: Epoch(0),
        };
        let header = ringstore::cluster::Header {
            cluster: configuration.cluster,
            epoch: configuration.epoch,
            source: NodeId(1),
            source_incarnation: Incarnation(1),
            destination: self.node(),
            destination_incarnation: Incarnation(0),
        };
        self.input(Input::Received { message: Message { header, body: Body::Announce(configuration) } });
    }

    /// Does what is to be done now; the newest configuration it has.
    pub fn poll(&mut self) -> Option<Configuration> {
        let mut buffer = vec![0; 65_536];
        while let Ok((bytes, _)) = self.socket.recv_from(&mut buffer) {
            let mut messages = Vec::new();
            let received = self.endpoint.receive(now(), &mut buffer[..bytes], &mut |message| {
                messages.push(codec::decode(message).expect("what the load balancer sends is right"));
            });
            self.received += u64::from(received.is_ok());
            for message in messages {
                if let Body::Heartbeat { registered, .. } = &message.body {
                    self.heartbeats += 1;
                    let contact = |text: &str| text.parse::<Contact>().expect("a server's contact").servers;
                    self.known.extend(registered.iter().map(|one| (one.member.node, contact(&one.member.contact))));
                }
                self.input(Input::Received { message });
            }
        }
        if self.ticked.elapsed().as_millis() >= 5 {
            self.ticked = Instant::now();
            self.endpoint.on_time(now());
            self.input(Input::Ticked);
        }
        self.machine.configuration().cloned()
    }

    fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.machine.step(now(), input, &mut effects);
        self.carry_out(effects);
    }

    /// Its disk is always ready; it has no data.
    fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut inputs = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist { record } => inputs.push(Input::RecordPersisted { epoch: record.epoch() }),
                Effect::Append { frame, cut } => inputs.push(Input::Persisted { upto: frame.end(), cut }),
                Effect::Send { message } => self.send(&message),
                Effect::Report(Report::RefusedByCoordinator) => self.refused = true,
                _ => {}
            }
        }
        for input in inputs {
            self.input(input);
        }
        self.flush();
    }

    fn send(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        codec::encode(message, &mut bytes);
        let _ = self.endpoint.send(now(), message.header.destination, bytes, Repair::Never);
    }

    fn flush(&mut self) {
        let due: Vec<NodeId> = self.endpoint.due().collect();
        for node in due {
            let member = self.machine.configuration().and_then(|one| one.member(node)).cloned();
            let contact = member.and_then(|member| member.contact.parse::<Contact>().ok());
            let told = contact.map(|one| one.servers).or_else(|| self.known.get(&node).copied());
            let address = if node == COORDINATOR { Some(self.balancer) } else { told };
            let mut train = Train::default();
            self.endpoint.transmit(now(), node, &mut train);
            for datagram in train.datagrams().filter(|_| address.is_some()) {
                self.socket.send_to(datagram, address.expect("it was looked at")).expect("loopback takes it");
            }
        }
    }
}

/// TCP and UDP at the same port: what is free for one may be taken for the other.
fn bind() -> (TcpListener, UdpSocket) {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("it is bound");
        if let Ok(socket) = UdpSocket::bind(address) {
            socket.set_nonblocking(true).expect("a socket");
            return (listener, socket);
        }
    }
}

/// Says hello to whoever watches, and keeps the connections until the server is dropped.
fn keep_lifelines(listener: TcpListener, hello: Hello, lifelines: &Arc<Mutex<Vec<TcpStream>>>) {
    use std::io::Write;
    let lifelines = Arc::downgrade(lifelines);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Some(lifelines) = lifelines.upgrade() else { return };
            let mut stream = stream;
            if stream.write_all(&hello.encode()).is_ok() {
                lifelines.lock().expect("nobody panicked").push(stream);
            }
        }
    });
}
