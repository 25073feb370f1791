//! Servers of the test's own, of which everything is known: what they keep, when they stand still, when they die. And a
//! load balancer that says what it is told to.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ringstore::proto::{Command, ParseLimits, Parsed, parse, reply};

/// What a server does that is not in the protocol.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habits {
    /// In the first so many milliseconds of each second it does nothing.
    pub stall_ms: u64,
    /// One byte of each value changes on its way out.
    pub corrupts: bool,
    /// It closes each connection after so many requests.
    pub closes_after: Option<usize>,
    /// It refuses sets.
    pub refuses: bool,
}

type Items = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;

/// A server that keeps items.
#[derive(Clone)]
pub struct FakeServer {
    habits: Habits,
    items: Items,
    began: Instant,
    served: Arc<AtomicU64>,
    /// Ends of its connections, to kill them; nothing once it is dead.
    connections: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl FakeServer {
    pub fn new(habits: Habits) -> Self {
        Self {
            habits,
            items: Items::default(),
            began: Instant::now(),
            served: Arc::default(),
            connections: Arc::new(Mutex::new(Some(Vec::new()))),
        }
    }

    /// Another server with the same items, as in a cluster.
    pub fn replica(&self) -> Self {
        Self { items: Arc::clone(&self.items), ..Self::new(self.habits) }
    }

    /// Listens on a port found free.
    pub fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let server = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                stream.set_nodelay(true).expect("a socket");
                let mut connections = server.connections.lock().expect("nobody panics");
                let Some(connections) = &mut *connections else { return };
                connections.push(stream.try_clone().expect("a descriptor"));
                let server = server.clone();
                let output = stream.try_clone().expect("a descriptor");
                thread::spawn(move || {
                    server.serve(&stream, &output);
                    // the end that is kept to kill it would keep it open
                    let _ = output.shutdown(std::net::Shutdown::Both);
                });
            }
        });
        address
    }

    /// Listens on a unix socket.
    pub fn listen_unix(&self, path: &Path) {
        let listener = UnixListener::bind(path).expect("a socket");
        let server = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = server.clone();
                let output = stream.try_clone().expect("a descriptor");
                thread::spawn(move || server.serve(stream, output));
            }
        });
    }

    /// Ends all connections and takes no new ones.
    pub fn kill(&self) {
        for connection in self.connections.lock().expect("nobody panics").take().into_iter().flatten() {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
    }

    /// How many requests it has answered.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// How many items it keeps.
    pub fn items(&self) -> usize {
        self.items.lock().expect("nobody panics").len()
    }

    /// Until the other side or a habit ends the connection.
    fn serve(&self, mut input: impl Read, mut output: impl Write) {
        let (mut pending, mut buffer, mut served) = (Vec::new(), vec![0; 1 << 16], 0);
        while let Ok(length @ 1..) = input.read(&mut buffer) {
            pending.extend_from_slice(&buffer[..length]);
            let mut at = 0;
            while at < pending.len() {
                let limits = ParseLimits { item_bytes_max: 1 << 20 };
                let (answer, consumed) = match parse(&pending[at..], &limits) {
                    Parsed::Command { command, consumed } => (self.execute(&command), consumed),
                    Parsed::Need { .. } => break,
                    other => panic!("loadgen sends what is no command: {other:?}"),
                };
                at += consumed;
                self.stand_still();
                served += 1;
                self.served.fetch_add(1, Ordering::Relaxed);
                if output.write_all(&answer).is_err() || self.habits.closes_after == Some(served) {
                    return;
                }
            }
            pending.drain(..at);
        }
    }

    fn stand_still(&self) {
        let into_second = self.began.elapsed().as_millis() as u64 % 1000;
        if into_second < self.habits.stall_ms {
            thread::sleep(Duration::from_millis(self.habits.stall_ms - into_second));
        }
    }

    fn execute(&self, command: &Command<'_>) -> Vec<u8> {
        let (mut out, mut items) = (Vec::new(), self.items.lock().expect("nobody panics"));
        match command {
            Command::Get(get) => {
                for key in get.keys {
                    if let Some(value) = items.get(key) {
                        let mut value = value.clone();
                        value[0] ^= u8::from(self.habits.corrupts);
                        reply::value(&mut out, key, 0, &value, get.with_cas.then_some(1));
                    }
                }
                reply::end(&mut out);
            }
            Command::Store(_) if self.habits.refuses => reply::line(&mut out, reply::OUT_OF_MEMORY_STORING),
            Command::Store(store) => {
                items.insert(store.key.to_vec(), store.value.to_vec());
                reply::line(&mut out, "STORED");
            }
            Command::Delete { key, .. } => {
                reply::line(&mut out, if items.remove(*key).is_some() { "DELETED" } else { "NOT_FOUND" });
            }
            Command::Arithmetic { key, delta, .. } => match items.get_mut(*key) {
                None => reply::line(&mut out, "NOT_FOUND"),
                Some(value) => {
                    let number: u64 = String::from_utf8_lossy(value).parse().expect("counters are filled in");
                    *value = (number + delta).to_string().into_bytes();
                    reply::line(&mut out, &(number + delta).to_string());
                }
            },
            Command::Touch { key, .. } => {
                reply::line(&mut out, if items.contains_key(*key) { "TOUCHED" } else { "NOT_FOUND" });
            }
            other => panic!("no mix has {other:?}"),
        }
        out
    }
}

/// A load balancer that names one server, which leads.
#[derive(Clone)]
pub struct FakeBalancer {
    leader: Arc<Mutex<SocketAddr>>,
}

impl FakeBalancer {
    pub fn new(leader: SocketAddr) -> Self {
        Self { leader: Arc::new(Mutex::new(leader)) }
    }

    pub fn name(&self, leader: SocketAddr) {
        *self.leader.lock().expect("nobody panics") = leader;
    }

    pub fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let balancer = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let balancer = balancer.clone();
                thread::spawn(move || balancer.serve(&stream));
            }
        });
        address
    }

    fn serve(&self, mut stream: &TcpStream) {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let leader = *self.leader.lock().expect("nobody panics");
            let answer = match line.as_str() {
                "get-servers" => format!("{leader}\r\nend\r\n"),
                "status" => format!(
                    "{{\"cluster\":\"00\",\"epoch\":1,\"members\":[{{\"node\":\"01\",\"role\":\"leader\",\"contact\":\"{leader} \
                     127.0.0.1:1\"}}],\"registered\":[]}}\n"
                ),
                other => panic!("a load balancer is not asked {other}"),
            };
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}
