//! The place of one process: what to start there, and the process while there is one.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{Failure, While};
use crate::server;

/// A process that does not listen after this time has failed to start: it may have gigabytes of log to read.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Between two looks at a process that starts.
const LOOK: Duration = Duration::from_millis(5);
/// `EX_UNAVAILABLE` and `EX_TEMPFAIL`: the address or the directory is still in use by a process that is being ended.
const IN_USE: [i32; 2] = [69, 75];
/// Lines of its log that a failure shows.
const SHOWN_LINES: usize = 12;
/// What the process calls itself that tells others of a server's death.
const GUARDIAN: &str = "guardian";

/// A place for a process, which may be empty.
pub struct Machine {
    pub name: String,
    pub address: SocketAddr,
    pub command: String,
    log: PathBuf,
    cpu: usize,
    child: Option<Child>,
}

impl Machine {
    /// Nothing runs yet. `place` decides the core: neighbours have different ones.
    pub fn new(name: &str, address: SocketAddr, words: &str, directory: &Path, place: usize) -> Self {
        let command = format!("{words} --data-dir {}", directory.join(name).display());
        let cpu = place % std::thread::available_parallelism().map_or(1, usize::from);
        let log = directory.join(format!("{name}.log"));
        Self { name: name.to_owned(), address, command, log, cpu, child: None }
    }

    /// Starts the process and waits until it listens.
    pub fn start(&mut self) -> Result<(), Failure> {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let began = Instant::now();
        let mut child = self.spawn()?;
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = child.try_wait().during("waiting for a server")? {
                if !status.code().is_some_and(|code| IN_USE.contains(&code)) {
                    return Err(Failure::new(format!("`{}` ended: {status}\n{}", self.command, self.said())));
                }
                child = self.spawn()?;
            }
            if began.elapsed() > START_TIMEOUT {
                let _ = child.kill(); // it is ours, and at worst it has ended
                return Err(Failure::new(format!("`{}` does not listen\n{}", self.command, self.said())));
            }
            std::thread::sleep(LOOK);
        }
        self.child = Some(child);
        Ok(())
    }

    fn spawn(&self) -> Result<Child, Failure> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log).during("opening a server's log")?;
        server::tied_to_us(&self.cpu.to_string())
            .args(self.command.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .during(format_args!("starting {}", self.command))
    }

    /// The id of its process.
    pub fn process(&self) -> Option<Pid> {
        self.child.as_ref().map(Pid::from_child)
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let process = self.process().ok_or_else(|| Failure::new(format!("{} does not run", self.name)))?;
        kill_process(process, signal).during(format_args!("sending a signal to {}", self.name))
    }

    /// Waits until the process has ended, as it was told to.
    pub fn wait(&mut self) -> Result<(), Failure> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.wait().during(format_args!("waiting for the end of {}", self.name)).map(|_| ())
    }

    /// Whether the process ends by itself in this time.
    pub fn ends_within(&mut self, time: Duration) -> Result<bool, Failure> {
        let until = Instant::now() + time;
        let Some(child) = &mut self.child else { return Ok(true) };
        while child.try_wait().during("looking at a server")?.is_none() {
            if Instant::now() >= until {
                return Ok(false);
            }
            std::thread::sleep(LOOK);
        }
        Ok(true)
    }

    /// The process that tells others of this one's death.
    pub fn guardian(&self) -> Result<Pid, Failure> {
        let process = self.process().ok_or_else(|| Failure::new(format!("{} does not run", self.name)))?;
        let folders = fs::read_dir("/proc").during("reading /proc")?.filter_map(Result::ok);
        let mut stats = folders.filter_map(|folder| fs::read_to_string(folder.path().join("stat")).ok());
        let found = stats.find_map(|stat| guardian_of(&stat, process));
        found.ok_or_else(|| Failure::new(format!("{} has no guardian", self.name)))
    }

    /// Memory of the process that is resident now.
    pub fn resident_bytes(&self) -> Result<u64, Failure> {
        let process = self.process().ok_or_else(|| Failure::new(format!("{} does not run", self.name)))?;
        server::resident_bytes(process)
    }

    /// The end of what it said.
    pub fn said(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().collect::<Vec<_>>();
        let last = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
        last.iter().map(|line| format!("  {} | {line}\n", self.name)).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // both fail only when it has ended already
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The id in a stat line, if it is that of the server's guardian.
fn guardian_of(stat: &str, server: Pid) -> Option<Pid> {
    let (id, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let parent = rest.split(' ').nth(1)?.parse().ok().and_then(Pid::from_raw)?;
    (name == GUARDIAN && parent == server).then(|| id.parse().ok().and_then(Pid::from_raw)).flatten()
}

/// An address whose port is free for TCP and UDP alike.
pub fn free_address(ip: Ipv4Addr) -> Result<SocketAddr, Failure> {
    let find = || -> io::Result<SocketAddr> {
        loop {
            let listener = TcpListener::bind((ip, 0))?;
            let address = listener.local_addr()?;
            if UdpSocket::bind(address).is_ok() {
                return Ok(address);
            }
        }
    };
    find().during(format_args!("looking for a free port of {ip}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guardian_is_known_by_name_and_parent() {
        let server = Pid::from_raw(42).expect("positive");
        let other = Pid::from_raw(43).expect("positive");
        let stat = "77 (guardian) S 42 77 77 0 -1 4194560";
        assert_eq!(guardian_of(stat, server), Pid::from_raw(77));
        assert_eq!(guardian_of(stat, other), None);
        assert_eq!(guardian_of("77 (guardian) x) S 42 77", server), None);
    }
}
