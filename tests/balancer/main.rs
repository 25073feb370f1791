//! The load balancer as a process, seen by a client over TCP and by a server that stands for real ones: it speaks the
//! messages and keeps no data.

mod server;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use server::Server;

/// Longest wait for something that should happen soon.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running load balancer, killed when it is dropped.
struct Balancer {
    process: Child,
    address: SocketAddr,
}

fn command(directory: &Path, listen: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
    command.args(["addlb", "--listen", listen, "--data-dir"]).arg(directory).args(more);
    command
}

impl Balancer {
    fn start(directory: &Path, listen: &str, more: &[&str]) -> Self {
        let mut process = command(directory, listen, more).stderr(Stdio::piped()).spawn().expect("started");
        let mut lines = BufReader::new(process.stderr.take().expect("it is piped"));
        let mut said = String::new();
        let address = loop {
            assert!(lines.read_line(&mut said).expect("its words") > 0, "it ended before it listened: {said}");
            if let Some((_, rest)) = said.split_once("listening on ") {
                break rest.split(',').next().and_then(|address| address.parse().ok()).expect("an address");
            }
        };
        thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { process, address }
    }

    /// What it answers to one line.
    fn ask(&self, line: &str, end: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        stream.write_all(line.as_bytes()).expect("sent");
        let mut answer = String::new();
        let mut lines = BufReader::new(stream);
        while !answer.ends_with(end) {
            assert!(lines.read_line(&mut answer).expect("an answer") > 0, "{line:?}: it closed after {answer:?}");
        }
        answer
    }

    fn servers(&self) -> String {
        self.ask("get-servers\r\n", "end\r\n")
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn refused(directory: &Path, listen: &str, more: &[&str]) -> Output {
    command(directory, listen, more).output().expect("started")
}

#[test]
fn the_first_server_leads_and_the_record_survives_a_kill() {
    let directory = tempfile::tempdir().expect("a directory");
    // an address of its own, so that nobody takes the port while the load balancer is down
    let mut balancer = Balancer::start(directory.path(), "127.0.7.1:0", &[]);
    assert_eq!(balancer.servers(), "end\r\n", "nobody is there");
    let mut server = Server::start(7, 1, balancer.address, None);
    until("it is made the leader", || server.poll().is_some_and(|one| one.leader == server.node()));
    let first = server.poll().expect("it was announced");
    assert_eq!((first.epoch.0, first.members.len(), first.min_insync), (1, 1, 2));
    let expected = format!("{}\r\nend\r\n", server.contact().clients);
    assert_eq!(balancer.servers(), expected);
    let listed = balancer.ask("config get cluster\r\n", "END\r\n");
    let clients = server.contact().clients;
    assert!(listed.contains(&format!("\n1\n{0}|{0}|{1}\n", clients.ip(), clients.port())), "{listed}");
    until("heartbeats come", || {
        server.poll();
        server.heartbeats() > 2
    });

    balancer.kill();
    let listen = balancer.address.to_string();
    let balancer = Balancer::start(directory.path(), &listen, &["--min-insync", "3"]);
    assert_eq!(balancer.servers(), expected, "it knows at once");
    let status = balancer.ask("status\r\n", "\r\n");
    assert!(
        status.contains(&format!("\"cluster\":\"{:032x}\",\"epoch\":1,\"min_insync\":2", first.cluster.0)),
        "{status}"
    );
    let heard = server.heartbeats();
    until("heartbeats come again", || {
        server.poll();
        server.heartbeats() > heard
    });
}

#[test]
fn another_leader_is_chosen_when_the_lifeline_ends() {
    let directory = tempfile::tempdir().expect("a directory");
    let balancer = Balancer::start(directory.path(), "127.0.0.1:0", &[]);
    let mut leader = Server::start(7, 1, balancer.address, None);
    until("it leads", || leader.poll().is_some());
    let mut other = Server::start(9, 1, balancer.address, None);
    until("the leader hears of the other and asks for it", || {
        other.poll();
        leader.poll().is_some_and(|one| one.members.len() == 2)
    });
    until("the other knows", || other.poll().is_some_and(|one| one.epoch.0 == 2));
    until("a lifeline is open", || leader.has_lifeline());
    let begun = Instant::now();
    drop(leader);
    until("the other leads", || other.poll().is_some_and(|one| one.epoch.0 == 3 && one.leader == other.node()));
    println!("another leader {:?} after the end of the lifeline", begun.elapsed());
    let first = other.contact().clients.to_string();
    assert!(balancer.servers().starts_with(&first), "clients are told to use it");
}

#[test]
fn datagrams_without_the_key_change_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let key = directory.path().join("key");
    fs::write(&key, "ab".repeat(32)).expect("written");
    let more = ["--cluster-key-file", key.to_str().expect("a text")];
    let balancer = Balancer::start(&directory.path().join("lb"), "127.0.0.1:0", &more);
    let mut stranger = Server::start(7, 1, balancer.address, None);
    let mut other = Server::start(8, 1, balancer.address, Some(&[1; 32]));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.send_to(b"hello", balancer.address).expect("sent");
    until("they are counted", || {
        stranger.poll();
        other.poll();
        let status = balancer.ask("status\r\n", "\r\n");
        let counted =
            |name: &str| status.contains(&format!("\"{name}\":")) && !status.contains(&format!("\"{name}\":0"));
        counted("forged") && counted("foreign")
    });
    assert_eq!((stranger.received(), other.received()), (0, 0), "nobody was answered");
    assert_eq!(balancer.servers(), "end\r\n");
    let mut server = Server::start(9, 1, balancer.address, Some(&[0xAB; 32]));
    until("who has the key is let in", || server.poll().is_some());
}

#[test]
fn a_server_of_another_cluster_is_told_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let balancer = Balancer::start(directory.path(), "127.0.0.1:0", &[]);
    let mut first = Server::start(7, 1, balancer.address, None);
    until("it leads", || first.poll().is_some());
    let mut foreign = Server::start(8, 1, balancer.address, None);
    foreign.belongs_to(0x1234);
    until("it is refused", || {
        foreign.poll();
        foreign.is_refused()
    });
    assert!(!balancer.servers().contains(&foreign.contact().clients.to_string()));
}

#[test]
fn what_cannot_be_started_says_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let cases: [(&str, &str, &[&str], i32, &str); 5] = [
        ("a", &address, &[], 69, "--listen"),
        ("b", "0.0.0.0:0", &[], 64, "--cluster-key-file"),
        ("c", "127.0.0.1:0", &["--cluster-key-file", "/dev/null"], 64, "32 bytes"),
        ("d", "nowhere", &[], 64, "127.0.0.1:11200"),
        ("e", "127.0.0.1:0", &["--min-insync", "0"], 64, "min-insync"),
    ];
    for (name, listen, more, status, word) in cases {
        let output = refused(&path.join(name), listen, more);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains(word), "{said}");
    }
    let _running = Balancer::start(&path.join("used"), "127.0.0.1:0", &[]);
    let output = refused(&path.join("used"), "127.0.0.1:0", &[]);
    assert_eq!(output.status.code(), Some(75), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A server's `stats`, each time with so many gets more.
fn answer_stats(address: SocketAddr, gets: u64) -> TcpListener {
    let listener = TcpListener::bind(address).expect("the port is free");
    let clients = listener.try_clone().expect("a socket");
    thread::spawn(move || {
        for (times, stream) in clients.incoming().flatten().enumerate() {
            let mut stream = stream;
            let _ = stream.read(&mut [0; 64]);
            let text = format!("STAT pid 1\r\nSTAT cmd_get {}\r\nSTAT cmd_set 5\r\nEND\r\n", gets * times as u64);
            let _ = stream.write_all(text.as_bytes());
        }
    });
    listener
}

#[test]
fn clients_are_sent_to_the_server_with_the_fewest_requests() {
    let directory = tempfile::tempdir().expect("a directory");
    let balancer = Balancer::start(directory.path(), "127.0.0.1:0", &["--route", "least-requests"]);
    let mut busy = Server::start(21, 1, balancer.address, None);
    until("it leads", || busy.poll().is_some());
    let mut idle = Server::start(22, 1, balancer.address, None);
    let _busy = answer_stats(busy.contact().clients, 100_000);
    let _idle = answer_stats(idle.contact().clients, 10);
    until("both are members", || {
        idle.poll();
        busy.poll().is_some_and(|one| one.members.len() == 2)
    });
    let first = idle.contact().clients.to_string();
    until("the idle one comes first, and again", || {
        busy.poll();
        idle.poll();
        (0..20).all(|_| balancer.servers().starts_with(&first))
    });
}

#[test]
fn a_client_that_talks_nonsense_is_let_go() {
    let directory = tempfile::tempdir().expect("a directory");
    let balancer = Balancer::start(directory.path(), "127.0.0.1:0", &[]);
    assert_eq!(balancer.ask("get-server\r\n", "\r\n"), "ERROR\r\n");
    assert_eq!(balancer.ask("get-servers\nget-servers\r\n", "end\r\nend\r\n"), "end\r\nend\r\n", "in one go");
    let mut stream = TcpStream::connect(balancer.address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    stream.write_all(&[b'x'; 4096]).expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.starts_with(b"CLIENT_ERROR"), "{answer:?}");
}

fn tool(arguments: &[&str], lb: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
    let output = command.args(arguments).args(["--lb", lb]).output().expect("started");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("a text");
    (output.status.code().expect("not killed"), text(output.stdout), text(output.stderr))
}

#[test]
fn a_cluster_without_servers_and_one_that_is_not_there_are_told_apart() {
    let directory = tempfile::tempdir().expect("a directory");
    let balancer = Balancer::start(directory.path(), "127.0.0.1:0", &[]);
    let lb = balancer.address.to_string();
    let (status, out, _) = tool(&["status"], &lb);
    assert_eq!((status, out.contains("no server has joined yet")), (1, true), "{out}");
    let (status, out, _) = tool(&["status", "--json"], &lb);
    assert!(status == 1 && out.contains("\"writable\":false"), "{out}");
    let (status, _, said) = tool(&["verify", "--timeout", "0"], &lb);
    assert_eq!((status, said.contains("no members")), (75, true), "{said}");
    drop(balancer);
    for command in ["status", "verify"] {
        let (status, _, said) = tool(&[command], &lb);
        assert_eq!((status, said.lines().count()), (69, 1), "{said}");
        assert!(said.contains(&lb) && said.contains("store addlb"), "{said}");
    }
}

#[test]
fn a_server_that_does_not_answer_is_shown_as_unreachable() {
    let directory = tempfile::tempdir().expect("a directory");
    let balancer = Balancer::start(directory.path(), "127.0.0.1:0", &[]);
    let mut server = Server::start(7, 1, balancer.address, None);
    until("it leads", || server.poll().is_some());
    // nobody listens for its clients
    let (status, out, _) = tool(&["status"], &balancer.address.to_string());
    let row = format!("{}  unreachable", server.contact().clients);
    assert!(status == 1 && out.contains(&row) && out.contains("no leader"), "{out}");
    let (status, _, said) = tool(&["verify", "--timeout", "0"], &balancer.address.to_string());
    assert!(status == 75 && said.contains("does not answer"), "{said}");
}
