//! Server processes under test: starts them in every deployment shape, finds their port, ends them by process id.
//! It owns the child and its directory; no server outlives its `Server`, also when a test panics.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

use crate::client::{Address, Client};

/// How long a server may take to listen, replay of its log included, and to exit.
const START_MAX: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The command line of another server to test instead of ours, such as a genuine memcached.
fn foreign() -> Option<Vec<String>> {
    let line = std::env::var("RINGSTORE_SERVER").ok()?;
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    (!words.is_empty()).then_some(words)
}

/// Whether the server under test is ours; what only ours has is not asked of another.
pub fn is_ours() -> bool {
    foreign().is_none()
}

/// A way to deploy a server. All of them answer the conformance table alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A pure cache of one thread.
    NoLog,
    /// A pure cache of two threads.
    Threads,
    /// A log whose bytes reach the disk when the kernel likes.
    LogNever,
    /// A log that is durable before the answer, behind two threads.
    LogAlways,
    /// A log that is made durable now and then.
    LogInterval,
    /// A pure cache behind a Unix socket.
    UnixSocket,
    /// Our binary under the name memcached, with memcached's options alone.
    NamedMemcached,
}

impl Shape {
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::NoLog | Self::UnixSocket => &["--no-log", "-t", "1"],
            Self::Threads => &["--no-log", "-t", "2"],
            Self::LogNever => &["--fsync", "never", "-t", "1"],
            Self::LogAlways => &["--fsync", "always", "-t", "2"],
            Self::LogInterval => &["--fsync", "interval=20", "-t", "1"],
            Self::NamedMemcached => &[],
        }
    }

    /// Whether the server writes a log.
    pub const fn has_log(self) -> bool {
        matches!(self, Self::LogNever | Self::LogAlways | Self::LogInterval)
    }

    /// Whether the server that is tested can be deployed like this.
    pub fn is_possible(self) -> bool {
        is_ours() || !(self.has_log() || self == Self::NamedMemcached)
    }
}

/// How to start a server.
pub struct Launch {
    shape: Shape,
    options: Vec<OsString>,
    data: Option<PathBuf>,
    address: String,
    port: String,
}

impl Launch {
    pub fn new(shape: Shape) -> Self {
        Self { shape, options: Vec::new(), data: None, address: "127.0.0.1".to_owned(), port: "-1".to_owned() }
    }

    /// Further options, after those of the shape.
    pub fn options<S: Into<OsString>>(mut self, options: impl IntoIterator<Item = S>) -> Self {
        self.options.extend(options.into_iter().map(Into::into));
        self
    }

    /// Where the log lives, instead of a directory of the server's own.
    pub fn data(mut self, directory: &Path) -> Self {
        self.data = Some(directory.to_owned());
        self
    }

    /// This address instead of the loopback one.
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.address);
        self
    }

    /// This port instead of a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port.to_string();
        self
    }

    /// Starts the process; whether it comes to listen is not looked at.
    pub fn spawn(self) -> Server {
        let scratch = tempfile::Builder::new().prefix("wire").tempdir().expect("a directory for the server");
        let mut command = self.program(scratch.path());
        let address = if self.shape == Shape::UnixSocket {
            let path = scratch.path().join("socket");
            command.arg("-s").arg(&path);
            Some(Address::Unix(path))
        } else {
            command.args(["-l", &self.address, "-p", &self.port]);
            None
        };
        if self.shape.has_log() {
            command.arg("--data-dir").arg(self.data.clone().unwrap_or_else(|| scratch.path().join("data")));
        }
        command.args(&self.options);
        command.env("MEMCACHED_PORT_FILENAME", scratch.path().join("ports"));
        let stderr = File::create(scratch.path().join("stderr")).expect("a file for what the server says");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let child = command.spawn().unwrap_or_else(|e| panic!("starting {command:?}: {e}"));
        Server { child, scratch, address, told: format!("{command:?}") }
    }

    /// Starts the server and waits until it serves.
    #[track_caller]
    pub fn start(self) -> Server {
        let mut server = self.spawn();
        if let Err(exit) = server.wait_until_serving() {
            panic!("{} ended with {exit:?} before it served, saying:\n{}", server.told, server.said());
        }
        server
    }

    /// Runs a server that is expected to refuse; its exit code and what it said.
    #[track_caller]
    pub fn refused(self) -> (i32, String) {
        let mut server = self.spawn();
        match server.wait_until_serving() {
            Err(status) => (status.code().unwrap_or(-1), server.said()),
            Ok(()) => panic!("{} serves instead of refusing, saying:\n{}", server.told, server.said()),
        }
    }

    /// Runs a server that only says something, such as its version; its exit code and its standard output.
    pub fn output(self) -> (i32, String) {
        let scratch = tempfile::tempdir().expect("a directory for the server");
        let mut command = self.program(scratch.path());
        let output = command.args(&self.options).stdin(Stdio::null()).output().expect("the server can be started");
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn program(&self, scratch: &Path) -> Command {
        if let Some(words) = foreign() {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            // what is not memcached's in a shape's options is left out
            command.args(self.shape.options().iter().filter(|o| **o != "--no-log"));
            return command;
        }
        let store = Path::new(env!("CARGO_BIN_EXE_store"));
        if self.shape == Shape::NamedMemcached {
            let link = scratch.join("memcached");
            std::os::unix::fs::symlink(store, &link).expect("a link to our binary");
            return Command::new(link);
        }
        let mut command = Command::new(store);
        command.arg("addsrv").args(self.shape.options());
        command
    }
}

/// A server process.
pub struct Server {
    child: Child,
    scratch: TempDir,
    address: Option<Address>,
    told: String,
}

impl Server {
    pub fn start(shape: Shape) -> Self {
        Launch::new(shape).start()
    }

    pub fn try_connect(&self) -> io::Result<Client> {
        Client::connect(self.address())
    }

    #[track_caller]
    pub fn connect(&self) -> Client {
        self.try_connect().expect("a connection")
    }

    pub fn address(&self) -> &Address {
        self.address.as_ref().expect("the server serves")
    }

    pub fn port(&self) -> u16 {
        match &self.address {
            Some(Address::Tcp(address)) => address.port(),
            other => panic!("{other:?} has no port"),
        }
    }

    /// What the server wrote to its stderr.
    pub fn said(&self) -> String {
        fs::read_to_string(self.scratch.path().join("stderr")).unwrap_or_default()
    }

    /// Resident memory of the process in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel says it");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").trim().parse().expect("a number");
        kilobytes << 10
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal).expect("the server can be signalled");
    }

    /// Ends the process as a power cut would end it: at once, with nothing said.
    pub fn kill(&mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server was ours");
    }

    /// Limits the size of any file the process writes, as a full disk would; nothing lifts the limit.
    pub fn limit_file_bytes(&self, limit: Option<u64>) {
        let limit = Rlimit { current: limit, maximum: None };
        prlimit(Some(self.process()), Resource::Fsize, limit).expect("limits of a child may be changed");
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub fn exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + START_MAX;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("the server was ours") {
                return status;
            }
            thread::sleep(LOOK_AGAIN);
        }
        panic!("{} does not exit; it said:\n{}", self.told, self.said());
    }

    /// Ends the process by SIGTERM; it must exit with 0.
    #[track_caller]
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
        let status = self.exit();
        assert!(status.code() == Some(0), "{} ended by SIGTERM with {status:?}, saying:\n{}", self.told, self.said());
    }

    fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until the server takes connections, or ends.
    fn wait_until_serving(&mut self) -> Result<(), ExitStatus> {
        let deadline = Instant::now() + START_MAX;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("the server was ours") {
                return Err(status);
            }
            if self.address.is_none() {
                self.address = self.announced();
            }
            if self.address.as_ref().is_some_and(|address| Client::connect(address).is_ok()) {
                return Ok(());
            }
            thread::sleep(LOOK_AGAIN);
        }
        self.kill();
        Err(ExitStatus::from_raw(Signal::KILL.as_raw()))
    }

    /// The address from the port file.
    fn announced(&self) -> Option<Address> {
        let text = fs::read_to_string(self.scratch.path().join("ports")).ok()?;
        let port = text.lines().find_map(|line| line.strip_prefix("TCP INET: "))?;
        Some(Address::Tcp(([127, 0, 0, 1], port.trim().parse().ok()?).into()))
    }
}

/// The log of a data directory: the largest file in it.
pub fn log_file(directory: &Path) -> PathBuf {
    let files =
        fs::read_dir(directory).expect("the server made the directory").map(|entry| entry.expect("readable").path());
    let length = |path: &PathBuf| fs::metadata(path).map_or(0, |meta| meta.len());
    files.filter(|path| path.is_file()).max_by_key(length).expect("there is a log")
}

impl Drop for Server {
    fn drop(&mut self) {
        // it may have ended already; then there is nothing to end
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
