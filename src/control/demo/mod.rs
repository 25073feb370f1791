//! `store demo`: a load balancer and servers on loopback as child processes in a directory of their own, to try a cluster
//! out. A child that is killed is started again after a while. Nothing is left when it ends: the children are killed and
//! the directory is removed; should this process be killed, the kernel kills the children.
//!
//! Reading order: `child` (one process), `text` (what the user reads), here the course of it all.

mod child;
mod text;

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::roster::{BALANCER_PORT_DEFAULT, BalancerAt, Part};
use super::session::runtime;
use super::status::Verdict;
use super::survey::{Survey, survey};
use crate::ring::process::{Signal, block_signals, wait_for_signal};
use child::{Child, Ended, Kind};

/// Port of the first server, where it is free.
const PORT_FIRST: u16 = 11211;
/// Longest time until everything runs.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// After which time a child that ended is started again: long enough to look at the cluster without it.
const RESTART_PAUSE: Duration = Duration::from_secs(10);
/// How long an answer of the load balancer is waited for.
const ASK_PATIENCE: Duration = Duration::from_millis(500);
/// Between two looks at the children.
const PAUSE: Duration = Duration::from_millis(5);
/// Directories tried until one can be made.
const DIRECTORIES_TRIED: u32 = 100;
/// sysexits: it takes too long.
const EX_UNAVAILABLE: u8 = 69;
/// sysexits: the operating system refused.
const EX_OSERR: u8 = 71;
/// sysexits: a directory could not be made.
const EX_CANTCREAT: u8 = 73;

/// What a demo runs.
#[derive(Clone, Debug)]
pub struct DemoConfig {
    /// How many servers.
    pub servers: u8,
    /// The program to start.
    pub store: PathBuf,
    /// How the user calls that program, and the client.
    pub calls: Calls,
}

/// Programs as a user would type them.
#[derive(Clone, Debug)]
pub struct Calls {
    /// `store`.
    pub store: String,
    /// `client`.
    pub client: String,
}

/// Why there is no demo.
#[derive(Debug)]
pub enum DemoError {
    /// The directory.
    Directory(PathBuf, io::Error),
    /// A program that cannot be started.
    Spawn(PathBuf, io::Error),
    /// A child ended before everything ran.
    Child {
        /// Which.
        name: String,
        /// How it ended.
        ended: Ended,
        /// Its last words.
        words: String,
    },
    /// Everything was started, and it does not become a cluster.
    Late(String),
    /// The kernel refuses io_uring or signals.
    System(io::Error),
}

impl DemoError {
    /// The exit status: that of the child that failed, or of sysexits.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Directory(..) => EX_CANTCREAT,
            Self::Child { ended, .. } => ended.exit_code().unwrap_or(EX_OSERR),
            Self::Late(_) => EX_UNAVAILABLE,
            Self::Spawn(..) | Self::System(_) => EX_OSERR,
        }
    }
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path, error) => {
                write!(f, "{} cannot be made ({error}): name another place with TMPDIR.", path.display())
            }
            Self::Spawn(path, error) => write!(f, "{} cannot be started: {error}.", path.display()),
            Self::Child { name, ended, words } => write!(f, "{name} {ended} before it was ready: {words}"),
            Self::Late(why) => write!(f, "the cluster is not ready after {} s: {why}", START_PATIENCE.as_secs()),
            Self::System(error) => write!(f, "the system refuses: {error}"),
        }
    }
}

/// The demo's directory; removed when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> Result<Self, DemoError> {
        let base = std::env::temp_dir();
        let mut last = (base.clone(), io::Error::from(io::ErrorKind::AlreadyExists));
        for attempt in 0..DIRECTORIES_TRIED {
            let path = base.join(format!("ringstore-demo-{}-{attempt}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) => last = (path, error),
            }
        }
        Err(DemoError::Directory(last.0, last.1))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // what is left is in the system's directory for such things
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a demo until a signal ends it.
///
/// # Errors
/// When the cluster does not come about.
pub fn run(config: &DemoConfig, out: &mut dyn Write) -> Result<(), DemoError> {
    block_signals().map_err(DemoError::System)?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    std::thread::spawn(move || {
        while wait_for_signal() == Signal::HangUp {}
        stopped.store(true, Relaxed);
    });
    let scratch = Scratch::make()?;
    let runtime = runtime().map_err(DemoError::System)?;
    let ended = runtime.block_on(async {
        let begun = Instant::now();
        let mut demo = Demo::start(config, &scratch.0)?;
        let Some(found) = demo.until_ready(&stop).await? else { return Ok(()) };
        demo.note_pids(&found);
        say(out, &text::ready(&found, &demo.lb, demo.pid_of_balancer(), &scratch.0, begun.elapsed(), &config.calls));
        while !stop.load(Relaxed) {
            demo.look(out).await;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
        // the children end here, when the demo is dropped
    });
    drop(scratch);
    if ended.is_ok() {
        say(out, "All processes are ended, and what they had written is removed.\n");
    }
    ended
}

/// A reader that has gone is no reason to end.
fn say(out: &mut dyn Write, text: &str) {
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Everything that runs.
struct Demo {
    /// The load balancer first, then the servers.
    children: Vec<Child>,
    /// Where the load balancer is.
    lb: String,
    servers: usize,
    /// Since when a server has been dead that may be a member still.
    changed: Option<Instant>,
}

impl Demo {
    fn start(config: &DemoConfig, directory: &Path) -> Result<Self, DemoError> {
        let mut balancer = Child::new(config, directory, Kind::Balancer { min_insync: config.servers.min(2) });
        balancer.start(free_or_any(BALANCER_PORT_DEFAULT))?;
        let lb = balancer.address(Instant::now() + START_PATIENCE)?;
        let mut children = vec![balancer];
        for number in 1..=config.servers {
            let mut server = Child::new(config, directory, Kind::Server { number, lb: lb.clone() });
            server.start(free_or_any(PORT_FIRST + u16::from(number) - 1))?;
            children.push(server);
        }
        Ok(Self { children, lb, servers: usize::from(config.servers), changed: None })
    }

    async fn survey(&self) -> Option<Survey> {
        let balancer = BalancerAt { name: self.lb.clone(), timeout: ASK_PATIENCE };
        Some(survey(balancer.roster().await.ok()?).await)
    }

    /// Waits until all servers are members and serve; nothing when a signal came first.
    async fn until_ready(&mut self, stop: &AtomicBool) -> Result<Option<Survey>, DemoError> {
        let end = Instant::now() + START_PATIENCE;
        while !stop.load(Relaxed) {
            for child in &mut self.children {
                let Some(ended) = child.ended() else { continue };
                if !child.moves(ended)? {
                    return Err(DemoError::Child { name: child.name(), ended, words: child.last_words() });
                }
            }
            let found = self.survey().await.unwrap_or_default();
            if found.roster.members().count() == self.servers && Verdict::of(&found).is_writable() {
                return Ok(Some(found));
            }
            if Instant::now() >= end {
                return Err(DemoError::Late(Verdict::of(&found).to_string()));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(None)
    }

    /// Learns which child listens where, so that it comes back at the same place.
    fn note_pids(&mut self, found: &Survey) {
        for one in &found.servers {
            let pid = one.said.as_ref().map_or(0, |said| said.count("pid"));
            if let Some(child) = self.children.iter_mut().find(|child| u64::from(child.pid()) == pid) {
                child.listens_at(one.listed.contact.clients);
            }
        }
    }

    fn pid_of_balancer(&self) -> u32 {
        self.children[0].pid()
    }

    /// Tells of children that ended and of who leads instead, and starts children again.
    async fn look(&mut self, out: &mut dyn Write) {
        for child in &mut self.children {
            if let Some(how) = child.ended() {
                say(out, &text::ended(&child.describe(), how, RESTART_PAUSE, &child.last_words()));
                child.restart_after(RESTART_PAUSE, how);
                if child.is_server() {
                    self.changed.get_or_insert_with(Instant::now);
                }
            }
            match child.start_when_due() {
                Some(Ok(())) => say(out, &format!("{} runs again.\n", child.describe())),
                Some(Err(error)) => say(out, &format!("{error}\n")),
                None => {}
            }
        }
        let Some(since) = self.changed else { return };
        let Some(found) = self.survey().await else { return };
        let whole = found.servers.iter().all(|one| one.listed.part == Part::Outside || one.said.is_ok());
        if whole && Verdict::of(&found).is_writable() {
            self.changed = None;
            say(out, &text::leads(&found, since.elapsed()));
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        child::kill(&mut self.children);
    }
}

/// A port that is free now, or 0 for any.
fn free_or_any(port: u16) -> u16 {
    let free = std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()
        && std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok();
    if free { port } else { 0 }
}
