//! The process around the rings: limits, user, background, pid file, signals, cores.
//!
//! Owns what is set once for the whole process before the first thread starts. Touches no socket and no ring.
#![allow(unsafe_code, reason = "fork, setuid and sigwait have no safe form: they concern the whole process")]

mod background;
mod child;
mod pid_file;
mod signals;
mod user;

use std::fmt;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

pub use background::{announce_failure, announce_ready};
pub use child::die_with_parent;
pub use pid_file::PidFile;
pub use signals::{Signal, block_signals, ignore_file_size, wait_for_signal};
pub use user::{User, become_user, find_user};

use crate::config::ServerConfig;

/// File descriptors beside the clients': listeners, rings, log files, standard streams, and some room.
const FILES_BESIDE_CLIENTS: u64 = 64;
/// File descriptors of one ring thread: its ring, its wake-ups, its listeners.
const FILES_PER_THREAD: u64 = 8;

/// sysexits: no such user.
const EX_NOUSER: u8 = 67;
/// sysexits: the operating system refused.
const EX_OSERR: u8 = 71;
/// sysexits: a file could not be made.
const EX_CANTCREAT: u8 = 73;
/// sysexits: not permitted.
const EX_NOPERM: u8 = 77;

/// What the environment refused. The text says what to do about it.
#[derive(Debug)]
pub enum ProcessError {
    /// `-c` asks for more files than the process may open.
    OpenFiles {
        /// Descriptors that are needed.
        needed: u64,
        /// The hard limit.
        allowed: u64,
    },
    /// `-r`.
    CoreFiles(io::Error),
    /// `-k`.
    LockMemory(io::Error),
    /// `-u` names nobody.
    NoSuchUser(String),
    /// `-u`.
    BecomeUser(String, io::Error),
    /// `-d`.
    Background(io::Error),
    /// `-P`.
    PidFile(std::path::PathBuf, io::Error),
    /// Signals could not be blocked.
    Signals(io::Error),
}

impl ProcessError {
    /// The status of sysexits that the program ends with.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NoSuchUser(_) => EX_NOUSER,
            Self::BecomeUser(..) => EX_NOPERM,
            Self::PidFile(..) => EX_CANTCREAT,
            Self::OpenFiles { .. }
            | Self::CoreFiles(_)
            | Self::LockMemory(_)
            | Self::Background(_)
            | Self::Signals(_) => EX_OSERR,
        }
    }
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenFiles { needed, allowed } => write!(
                f,
                "the connections of -c need {needed} open files and this process may have {allowed}: lower -c, or raise \
                 the limit (ulimit -Hn, LimitNOFILE= of systemd)."
            ),
            Self::CoreFiles(error) => write!(
                f,
                "-r cannot raise the core file limit ({error}): remove -r, or raise the hard limit (ulimit -Hc)."
            ),
            Self::LockMemory(error) => write!(
                f,
                "-k cannot lock the memory ({error}): remove -k, or raise the limit (ulimit -l, LimitMEMLOCK= of systemd)."
            ),
            Self::NoSuchUser(name) => write!(f, "-u {name}: there is no such user. Give one that exists, or make it."),
            Self::BecomeUser(name, error) => write!(
                f,
                "-u {name}: the process cannot become that user ({error}). Start it as that user without -u, or allow \
                 CAP_SETUID and CAP_SETGID."
            ),
            Self::Background(error) => {
                write!(f, "-d cannot go into the background ({error}): start without -d, under a service manager.")
            }
            Self::PidFile(path, error) => write!(
                f,
                "-P cannot write {}: {error}. Give a file in a directory that the server's user may write to.",
                path.display()
            ),
            Self::Signals(error) => write!(f, "signals cannot be blocked: {error}."),
        }
    }
}

impl std::error::Error for ProcessError {}

/// What must stay until the server has ended; dropping it removes the pid file.
#[derive(Debug)]
pub struct Prepared {
    _pid_file: Option<PidFile>,
}

/// Sets the process up as the command line asks, before any thread is started.
///
/// The order matters. Limits first, while root may still raise them. Into the background next, because a child inherits
/// no memory lock. Then the lock, while root may still take it; then the user, and the pid file as that user, so that it
/// can be removed at the end. Signals are blocked last, and so in every thread that starts later.
///
/// # Errors
/// What the operating system refused, with the remedy.
pub fn prepare(config: &ServerConfig) -> Result<Prepared, ProcessError> {
    let threads = config.threads as u64;
    raise_open_files(config.connections_max as u64 + FILES_BESIDE_CLIENTS + threads * FILES_PER_THREAD)?;
    if config.core_files {
        raise_core_files().map_err(ProcessError::CoreFiles)?;
    }
    // memcached's rule: -u concerns root alone
    let user = match &config.user {
        Some(name) if rustix::process::geteuid().is_root() => Some(find_user(name)?),
        _ => None,
    };
    if config.daemon {
        background::enter(config.verbosity > 0).map_err(ProcessError::Background)?;
    }
    if config.lock_memory {
        lock_memory().map_err(ProcessError::LockMemory)?;
    }
    if let Some(user) = &user {
        become_user(user)?;
    }
    let pid_file = match &config.pid_file {
        Some(path) => Some(PidFile::create(path.clone()).map_err(|error| ProcessError::PidFile(path.clone(), error))?),
        None => None,
    };
    ignore_file_size();
    block_signals().map_err(ProcessError::Signals)?;
    Ok(Prepared { _pid_file: pid_file })
}

/// Raises the limit of open files to `needed`, the hard limit too where that is permitted.
fn raise_open_files(needed: u64) -> Result<(), ProcessError> {
    let limit = getrlimit(Resource::Nofile);
    // no value stands for no limit
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(needed));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }) {
        Ok(()) => Ok(()),
        Err(_) => Err(ProcessError::OpenFiles { needed, allowed: limit.maximum.unwrap_or(u64::MAX) }),
    }
}

/// Raises the core file limit as far as it goes; an error when it stays at nothing.
fn raise_core_files() -> io::Result<()> {
    if setrlimit(Resource::Core, Rlimit { current: None, maximum: None }).is_ok() {
        return Ok(());
    }
    let hard = getrlimit(Resource::Core).maximum;
    if hard == Some(0) {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    Ok(setrlimit(Resource::Core, Rlimit { current: hard, maximum: hard })?)
}

/// Locks present and future memory as it is touched: the store reserves address space for all of the machine's memory,
/// and without `MCL_ONFAULT` mapping it would fill it. The limit goes first: what is mapped after root has been given up
/// counts against it.
fn lock_memory() -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })?;
    }
    // rustix has no mlockall
    // SAFETY: mlockall takes no pointers; it changes where pages may live, not what they hold.
    match unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The cores this process may run on, in order. Never empty.
#[must_use]
pub fn usable_cpus() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect(),
        // more cores than the set holds: the count is right, the numbers are a guess that pinning may refuse
        Err(_) => (0..std::thread::available_parallelism().map_or(1, Into::into)).collect(),
    }
}

/// Binds the calling thread to one core.
///
/// # Errors
/// The kernel's: the core does not exist or this process may not use it.
pub fn pin_current_thread(cpu: usize) -> io::Result<()> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

#[cfg(test)]
mod tests;
