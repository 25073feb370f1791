//! The processes of a cluster on loopback: starts, signals and restarts them by id, at the same addresses and directories.
//! Owns the children and everything they write; nothing of it is left when it is dropped, also by a panic, which shows
//! what the processes said.
//!
//! Each machine has a loopback address of its own, so that nobody takes its ports while it is down.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::history::connection::Connection;
use crate::history::load::Load;
use crate::history::record::History;
use crate::history::standing::{self, Standing};
use crate::history::verdict;

/// Longest wait for what should happen soon, on a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(5);

/// `EX_UNAVAILABLE` and `EX_TEMPFAIL`: the address, or the directory, is still in use by a process that is being ended.
const IN_USE: [i32; 2] = [69, 75];

/// Lines of each process's log that a failure shows.
const SHOWN_LINES: usize = 25;

/// A place for a process, which may be empty.
struct Machine {
    name: String,
    /// Its ports stay the same.
    address: SocketAddr,
    arguments: Vec<String>,
    directory: PathBuf,
    log: PathBuf,
    process: Option<Child>,
    /// Starts that found the place still taken.
    again: usize,
}

/// A load balancer and its servers.
pub struct Cluster {
    balancer: Machine,
    servers: Vec<Machine>,
    scratch: TempDir,
}

/// How a cluster is made.
pub struct Shape {
    pub servers: usize,
    /// Further options of each server.
    pub options: &'static [&'static str],
}

impl Shape {
    pub const THREE: Self = Self { servers: 3, options: &["-t", "1"] };
}

/// A loopback network of this cluster's own.
fn network() -> impl Fn(u8) -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let (second, third) = (64 + (std::process::id() % 128) as u8, NEXT.fetch_add(1, Relaxed));
    move |machine| Ipv4Addr::new(127, second, third, machine)
}

/// A port that is free for TCP and UDP alike.
fn free_port(address: Ipv4Addr) -> u16 {
    loop {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let bound = listener.local_addr().expect("it is bound");
        if UdpSocket::bind(bound).is_ok() {
            return bound.port();
        }
    }
}

impl Machine {
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
        let log = OpenOptions::new().create(true).append(true).open(&self.log).expect("a file for what it says");
        command.args(&self.arguments).arg("--data-dir").arg(&self.directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command
    }

    /// Starts the process and waits until `is_up`.
    fn start(&mut self, is_up: impl Fn(SocketAddr) -> bool) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let deadline = Instant::now() + PATIENCE;
        let mut child = self.command().spawn().expect("the program can be started");
        while !is_up(self.address) {
            assert!(Instant::now() < deadline, "{} does not come up", self.name);
            if let Some(status) = child.try_wait().expect("it is our child") {
                assert!(status.code().is_some_and(|code| IN_USE.contains(&code)), "{} ended: {status}", self.name);
                self.again += 1;
                thread::sleep(LOOK);
                child = self.command().spawn().expect("the program can be started");
            }
            thread::sleep(LOOK);
        }
        self.process = Some(child);
    }

    fn signal(&self, signal: Signal) {
        let child = self.process.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name));
        kill_process(Pid::from_child(child), signal).expect("it is our child");
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            child.kill().expect("it is our child");
            child.wait().expect("it is our child");
        }
    }

    fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let mut child = self.process.take().expect("it was signalled");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait().expect("it is our child") {
                return status;
            }
            thread::sleep(LOOK);
        }
        // back, so that it is ended
        self.process = Some(child);
        panic!("{} does not end by SIGTERM", self.name);
    }

    /// The end of what it said.
    fn said(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].iter().map(|line| format!("  | {line}\n")).collect()
    }
}

impl Cluster {
    /// A place for everything; nothing runs.
    pub fn prepare(shape: &Shape) -> Self {
        let scratch = tempfile::Builder::new().prefix("cluster").tempdir().expect("a directory");
        let address = network();
        let machine = |name: String, number: u8, arguments: &dyn Fn(SocketAddr) -> Vec<String>| {
            let address = SocketAddr::from((address(number), free_port(address(number))));
            let (directory, log) = (scratch.path().join(&name), scratch.path().join(format!("{name}.log")));
            File::create(&log).expect("a file for what it says");
            Machine { arguments: arguments(address), name, address, directory, log, process: None, again: 0 }
        };
        let words = |words: &[&str]| -> Vec<String> { words.iter().map(|&word| word.to_owned()).collect() };
        let balancer = machine("balancer".into(), 250, &|address| words(&["addlb", "--listen", &address.to_string()]));
        let lb = balancer.address.to_string();
        let servers = (1..=shape.servers as u8)
            .map(|number| {
                machine(format!("server{number}"), number, &|listen| {
                    let SocketAddr::V4(v4) = listen else { unreachable!("they are of version 4") };
                    let (ip, port) = (v4.ip().to_string(), v4.port().to_string());
                    let peer_port = free_port(*v4.ip()).to_string();
                    let place = ["addsrv", "--lb", &lb, "-l", &ip, "-p", &port, "--peer-port", &peer_port];
                    [words(&place), words(shape.options)].concat()
                })
            })
            .collect();
        Self { balancer, servers, scratch }
    }

    /// Starts all of it and waits until all servers are members and serve.
    pub fn start(shape: &Shape) -> Self {
        let mut cluster = Self::prepare(shape);
        cluster.start_balancer();
        for place in 0..shape.servers {
            cluster.start_server(place);
        }
        cluster.until_whole();
        cluster
    }

    pub fn start_balancer(&mut self) {
        self.balancer.start(|address| std::net::TcpStream::connect(address).is_ok());
    }

    /// Starts a server; it answers clients, and may not be a member yet.
    pub fn start_server(&mut self, place: usize) {
        self.servers[place].start(|address| Standing::ask(address).is_ok());
    }

    pub fn kill_balancer(&mut self) {
        self.balancer.kill();
    }

    pub fn kill(&mut self, place: usize) {
        self.servers[place].kill();
    }

    /// SIGSTOP.
    pub fn pause(&self, place: usize) {
        self.servers[place].signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self, place: usize) {
        self.servers[place].signal(Signal::CONT);
    }

    pub fn terminate(&mut self, place: usize) -> ExitStatus {
        self.servers[place].terminate()
    }

    /// Removes what a killed server had on its disk.
    pub fn wipe(&mut self, place: usize) {
        assert!(self.servers[place].process.is_none(), "a running server's directory is its own");
        fs::remove_dir_all(&self.servers[place].directory).expect("it had one");
    }

    pub fn directory(&self, place: usize) -> &PathBuf {
        &self.servers[place].directory
    }

    /// Where clients reach each server, in order.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.address).collect()
    }

    pub fn address(&self, place: usize) -> SocketAddr {
        self.servers[place].address
    }

    pub fn others(&self, than: usize) -> Vec<usize> {
        (0..self.servers.len()).filter(|&place| place != than).collect()
    }

    /// A connection to a server.
    pub fn connect(&self, place: usize) -> Connection {
        Connection::open(self.address(place), PATIENCE).expect("the server takes connections")
    }

    /// Waits until all servers are members and serve; the leader's place.
    #[track_caller]
    pub fn until_whole(&self) -> usize {
        hold(standing::until_whole(&self.addresses(), PATIENCE))
    }

    /// Waits until these are the members and serve; the leader's place.
    #[track_caller]
    pub fn until_whole_of(&self, places: &[usize]) -> usize {
        let addresses: Vec<SocketAddr> = places.iter().map(|&place| self.address(place)).collect();
        places[hold(standing::until_whole(&addresses, PATIENCE))]
    }

    /// Waits until all servers are members, ends the load, and checks everything there is to check.
    #[track_caller]
    pub fn conclude(&self, scenario: &str, load: Load) {
        self.until_whole();
        hold(load.more_writes(30, PATIENCE));
        self.check(scenario, load.finish());
    }

    /// Reads everything everywhere, compares the servers and looks for an explanation of what the clients saw.
    #[track_caller]
    pub fn check(&self, scenario: &str, mut history: History) {
        hold(history.read_everywhere(&self.addresses(), PATIENCE));
        hold(standing::same_data(&self.addresses(), PATIENCE));
        hold(verdict::explained(&history));
        let again: usize = self.servers.iter().map(|server| server.again).sum();
        println!("{scenario}: {history}; {again} starts tried again");
    }
}

/// Fails with the text of an error as it is.
#[track_caller]
pub fn hold<T>(result: Result<T, String>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            for machine in self.servers.iter().chain([&self.balancer]) {
                println!(
                    "{} at {} in {}:\n{}",
                    machine.name,
                    machine.address,
                    self.scratch.path().display(),
                    machine.said()
                );
            }
        }
        for machine in self.servers.iter_mut().chain([&mut self.balancer]) {
            if let Some(mut child) = machine.process.take() {
                // it may have ended already; then there is nothing to end
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}
