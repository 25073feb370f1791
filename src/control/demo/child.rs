//! One process of a demo: how it is started, where it listens, how it ended. Killed when it is dropped.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{DemoConfig, DemoError};
use crate::ring::process::die_with_parent;

/// Item memory of a server, in megabytes: enough to try things out.
const MEMORY_MEGABYTES: &str = "64";
/// Between two looks at a child that is waited for.
const PAUSE: Duration = Duration::from_millis(2);
/// sysexits: the address is in use.
const EX_UNAVAILABLE: i32 = 69;

/// What a child does.
#[derive(Clone, Debug)]
pub enum Kind {
    /// The load balancer.
    Balancer {
        /// Members that writes need.
        min_insync: u8,
    },
    /// A server.
    Server {
        /// From 1 on.
        number: u8,
        /// Where the load balancer is.
        lb: String,
    },
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended(ExitStatus);

impl Ended {
    /// Its exit status, unless it was killed.
    pub fn exit_code(self) -> Option<u8> {
        self.0.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code > 0)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.signal(), self.0.code()) {
            (Some(signal), _) => write!(f, "was killed by signal {signal}"),
            (None, Some(0)) => f.write_str("ended in order"),
            (None, code) => write!(f, "ended with status {}", code.unwrap_or(-1)),
        }
    }
}

/// See the module.
pub struct Child {
    kind: Kind,
    store: PathBuf,
    /// Its data, and its log beside it.
    directory: PathBuf,
    port: u16,
    process: Option<process::Child>,
    pid: u32,
    due: Option<Instant>,
}

impl Child {
    /// A child that does not run yet.
    pub fn new(config: &DemoConfig, directory: &Path, kind: Kind) -> Self {
        let name = match &kind {
            Kind::Balancer { .. } => "balancer".to_owned(),
            Kind::Server { number, .. } => format!("server-{number}"),
        };
        let (store, directory) = (config.store.clone(), directory.join(name));
        Self { kind, store, directory, port: 0, process: None, pid: 0, due: None }
    }

    /// Starts it on that port, on any that is free for 0.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(&mut self, port: u16) -> Result<(), DemoError> {
        self.port = port;
        let spawn = |error| DemoError::Spawn(self.store.clone(), error);
        let log = fs::File::options().create(true).append(true).open(self.log()).map_err(spawn)?;
        let mut command = Command::new(&self.store);
        match &self.kind {
            Kind::Balancer { min_insync } => {
                command.args(["addlb", "--listen"]).arg(format!("127.0.0.1:{port}"));
                command.arg("--min-insync").arg(min_insync.to_string());
            }
            Kind::Server { lb, .. } => {
                let port = if port == 0 { -1 } else { i32::from(port) };
                command.args(["addsrv", "--lb", lb, "-t", "1", "-m", MEMORY_MEGABYTES]);
                command.arg(format!("--port={port}"));
            }
        }
        command.arg("--data-dir").arg(&self.directory);
        // a Ctrl-C in the terminal is for the demo alone, which ends its children
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.env_remove("MEMCACHED_PORT_FILENAME");
        die_with_parent(&mut command);
        let process = command.spawn().map_err(spawn)?;
        self.pid = process.id();
        self.process = Some(process);
        Ok(())
    }

    /// How it ended, told once.
    pub fn ended(&mut self) -> Option<Ended> {
        let status = self.process.as_mut()?.try_wait().ok()??;
        self.process = None;
        Some(Ended(status))
    }

    /// Whether it ended because its port was taken by somebody else meanwhile; it is started on another then.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn moves(&mut self, ended: Ended) -> Result<bool, DemoError> {
        let taken = ended.0.code() == Some(EX_UNAVAILABLE) && self.port != 0;
        if taken {
            self.start(0)?;
        }
        Ok(taken)
    }

    /// Where the load balancer listens, as it says itself. Waits until then.
    ///
    /// # Errors
    /// When it ends instead.
    pub fn address(&mut self, end: Instant) -> Result<String, DemoError> {
        loop {
            if let Some(ended) = self.ended() {
                // what it said of the port that it did not get is of no use
                let words = self.last_words();
                let _ = fs::remove_file(self.log());
                if !self.moves(ended)? {
                    return Err(DemoError::Child { name: self.name(), ended, words });
                }
            }
            let said = fs::read_to_string(self.log()).unwrap_or_default();
            let address = said.split_once("listening on ").and_then(|(_, rest)| rest.split_once(','));
            if let Some(address) = address.and_then(|(address, _)| address.parse().ok()) {
                self.listens_at(address);
                return Ok(address.to_string());
            }
            if Instant::now() >= end {
                return Err(DemoError::Late("the load balancer does not listen".to_owned()));
            }
            thread::sleep(PAUSE);
        }
    }

    /// It listens there, and does so again when it is started again.
    pub const fn listens_at(&mut self, address: SocketAddr) {
        self.port = address.port();
    }

    /// Is to be started again so much later, unless it ended by itself with an error.
    pub fn restart_after(&mut self, pause: Duration, ended: Ended) {
        self.due = ended.exit_code().is_none().then(|| Instant::now() + pause);
    }

    /// Starts it again when its time has come.
    pub fn start_when_due(&mut self) -> Option<Result<(), DemoError>> {
        self.due.filter(|due| Instant::now() >= *due)?;
        self.due = None;
        Some(self.start(self.port))
    }

    /// Whether it is a server.
    pub const fn is_server(&self) -> bool {
        matches!(self.kind, Kind::Server { .. })
    }

    /// Its process, or the last it had.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// What it is.
    pub fn name(&self) -> String {
        match self.kind {
            Kind::Balancer { .. } => "the load balancer".to_owned(),
            Kind::Server { number, .. } => format!("server {number}"),
        }
    }

    /// What and where it is.
    pub fn describe(&self) -> String {
        format!("{} (127.0.0.1:{}, pid {})", self.name(), self.port, self.pid)
    }

    /// The last line of its log.
    pub fn last_words(&self) -> String {
        let said = fs::read_to_string(self.log()).unwrap_or_default();
        said.lines().last().unwrap_or("it said nothing").trim_start_matches("store: ").to_owned()
    }

    /// What it writes to standard error.
    fn log(&self) -> PathBuf {
        self.directory.with_extension("log")
    }

    /// Kills it: what it would still write is removed anyway.
    fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        if let Some(process) = &mut self.process {
            let _ = process.wait();
        }
    }
}

/// Kills all of them before the first is waited for.
pub fn kill(children: &mut [Child]) {
    children.iter_mut().for_each(Child::kill);
}
