//! A server from its configuration to its end: opens the log, binds, starts the ring threads, waits for a signal, stops.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use super::accept::{self, Listener};
use super::clock;
use super::cluster::ClusterParts;
use super::cluster::start::{self as cluster, Joined};
use super::disk::OpenError;
use super::driver::{Driver, SetupError, Wait};
use super::log_disk::{self, LogDisk};
use super::mailbox::Mailboxes;
use super::memory;
use super::peer::PeerError;
use super::process::{self, Signal};
use super::thread::{Parts, RingThread};
use crate::config::{self, ClusterConfig, ServerConfig};
use crate::node::Gate;
use crate::shard::{Path, Shard};
use crate::stats::Shared;
use crate::store::{self, RegionError, StoreConfig};
use crate::writes::Writes;

/// Between two looks whether another server leads: clients of the one that stops wait for it.
const HAND_OVER_LOOK: std::time::Duration = std::time::Duration::from_micros(200);

/// Why a server could not start, or had to stop.
#[derive(Debug)]
#[allow(missing_docs, reason = "the variants tell of their fields")]
pub enum ServerError {
    /// An address could not be bound.
    Bind { address: String, error: io::Error },
    /// io_uring is refused.
    Ring(SetupError),
    /// The way to other servers.
    Peer(PeerError),
    /// The data directory or the log in it.
    Log(Box<OpenError>),
    /// A file that tells others about this server.
    PortFile { path: PathBuf, error: io::Error },
    /// No address space for the store.
    Memory(RegionError),
    /// The operating system gave no thread.
    Thread(io::Error),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, error } => {
                write!(f, "cannot listen on {address}: {error}; ")?;
                match error.kind() {
                    io::ErrorKind::AddrInUse => f.write_str(
                        "another server is there: stop it, or choose another port with -p (-p -1 takes a free one)",
                    ),
                    io::ErrorKind::PermissionDenied => {
                        f.write_str("choose a port above 1023 with -p, or a path that this user may write to")
                    }
                    io::ErrorKind::AddrNotAvailable => {
                        f.write_str("this machine has no such address: choose one of its own with -l")
                    }
                    _ => f.write_str("choose another address with -l and -p, or -s for a Unix socket"),
                }
            }
            Self::Ring(error) => error.fmt(f),
            Self::Peer(error) => error.fmt(f),
            Self::Log(error) => error.fmt(f),
            Self::PortFile { path, error } => {
                write!(f, "cannot write {}: {error}; check MEMCACHED_PORT_FILENAME", path.display())
            }
            Self::Memory(RegionError { errno, bytes }) => {
                let error = io::Error::from_raw_os_error(*errno);
                write!(f, "cannot map {bytes} bytes for the store: {error}; choose a smaller -m, or raise `ulimit -v`")
            }
            Self::Thread(error) => {
                write!(f, "cannot start a thread: {error}; raise `ulimit -u`, or choose a smaller -t")
            }
        }
    }
}

impl std::error::Error for ServerError {}

impl ServerError {
    /// The exit code of sysexits.h that says it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Bind { .. } => 69,
            Self::Ring(_) | Self::Memory(_) | Self::Thread(_) => 71,
            Self::Log(error) => error.exit_code(),
            Self::Peer(error) => error.exit_code(),
            Self::PortFile { .. } => 73,
        }
    }
}

/// Serves until SIGINT, SIGTERM or SIGUSR1, which the caller has blocked (`process::prepare`).
///
/// # Errors
/// When the server cannot start; each error is a sentence with its remedy.
pub fn run(config: ServerConfig) -> Result<(), ServerError> {
    let mut config = config;
    let listeners = bind(&mut config)?;
    let data = match (&config.cluster, &config.data_dir) {
        (Some(place), _) => Data::Cluster(Box::new(cluster::open(&config, place)?), place.clone()),
        (None, Some(dir)) => Data::Alone(Some(log_disk::open(dir, config.fsync).map_err(log_error)?)),
        (None, None) => Data::Alone(None),
    };
    let unix_socket = config.unix_socket.clone();
    let served = serve(config, listeners, data);
    if let Some(path) = unix_socket {
        // gone already if somebody tidied up before us
        let _ = std::fs::remove_file(path);
    }
    served
}

/// One list of listeners per thread; the configuration's addresses get the ports that were bound.
fn bind(config: &mut ServerConfig) -> Result<Vec<Vec<Listener>>, ServerError> {
    let mut threads: Vec<Vec<Listener>> = (0..config.threads).map(|_| Vec::new()).collect();
    let mut spread = |listeners: Vec<Listener>| {
        for (thread, listener) in threads.iter_mut().zip(listeners) {
            thread.push(listener);
        }
    };
    for address in &mut config.listen {
        let (bound, listeners) = accept::tcp(*address, config.backlog, config.threads)
            .map_err(|error| ServerError::Bind { address: address.to_string(), error })?;
        *address = bound;
        spread(listeners);
    }
    if let Some(path) = &config.unix_socket {
        let listeners = accept::unix(path, config.unix_mask, config.backlog, config.threads)
            .map_err(|error| ServerError::Bind { address: path.display().to_string(), error })?;
        spread(listeners);
    }
    Ok(threads)
}

/// Where what is stored comes from and goes to.
enum Data {
    /// A log, or nothing.
    Alone(Option<log_disk::Opened>),
    /// The others too.
    Cluster(Box<cluster::Opened>, ClusterConfig),
}

/// What thread 0 is made of besides, and what all are.
struct Thread0 {
    path: Path,
    disk: Option<LogDisk>,
    cluster: Option<ClusterParts>,
    gate: Option<Arc<Gate>>,
}

impl Data {
    fn read(self, mut writes: Writes, threads: usize) -> Result<Thread0, ServerError> {
        match self {
            Self::Alone(opened) => {
                let disk = opened.map(|opened| opened.replay(clock::now(), &mut writes)).transpose();
                let disk = disk.map_err(log_error)?;
                Ok(Thread0 { path: Path::Alone(writes), disk, cluster: None, gate: None })
            }
            Self::Cluster(opened, place) => {
                let Joined { node, parts, gate } = opened.join(writes, &place, threads)?;
                let path = Path::Node(Box::new(node));
                Ok(Thread0 { path, disk: None, cluster: Some(parts), gate: Some(gate) })
            }
        }
    }
}

fn serve(config: ServerConfig, listeners: Vec<Vec<Listener>>, data: Data) -> Result<(), ServerError> {
    let threads = config.threads;
    let (writer, readers) = store::create(StoreConfig {
        memory_bytes: config.memory_bytes,
        address_bytes: config.memory_bytes.max(physical_bytes()).min(config::MEMORY_MEGABYTES_CEILING << 20),
        evict: config.evict,
        item_bytes_max: config.item_bytes_max,
        hash_seed: rand::random(),
        readers: threads,
        region: &mut memory::region,
    })
    .map_err(ServerError::Memory)?;
    let Thread0 { path, mut disk, mut cluster, gate } = data.read(Writes::new(writer, config.cas), threads)?;
    let shared = Arc::new(Shared::new(config, std::process::id(), clock::now()));
    let mailboxes = Arc::new(Mailboxes::new(threads));
    let cpus = process::usable_cpus();
    // servers of one machine would all be pinned to the same cores
    let pinned =
        threads <= cpus.len() && cluster.as_ref().is_none_or(|parts| !parts.contact.servers.ip().is_loopback());
    let (report, reports) = mpsc::channel();
    let mut path = Some(path);
    let mut handles = Vec::with_capacity(threads);
    for (id, (reader, listeners)) in readers.into_iter().zip(listeners).enumerate() {
        let mut shard = Shard::new(id as u16, reader, path.take().unwrap_or(Path::Thread0), Arc::clone(&shared));
        if let Some(gate) = &gate {
            shard.join(Arc::clone(gate), clock::now);
        }
        let parts = Parts {
            id,
            cpu: pinned.then(|| cpus[id]),
            listeners,
            shard,
            disk: disk.take(),
            cluster: cluster.take(),
            shared: Arc::clone(&shared),
            mailboxes: Arc::clone(&mailboxes),
        };
        handles.push(start(parts, report.clone())?);
    }
    drop(report);
    for _ in 0..threads {
        reports.recv().expect("every thread reports").map_err(ServerError::Ring)?;
    }
    announce(&shared)?;
    process::announce_ready();
    wait_and_stop(&mailboxes, handles, gate.is_some())
}

fn log_error(error: OpenError) -> ServerError {
    ServerError::Log(Box::new(error))
}

/// The machine's memory: how far `cache_memlimit` may raise the limit.
fn physical_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram as u64 * u64::from(info.mem_unit.max(1))
}

type Handle = JoinHandle<Option<LogDisk>>;

fn start(parts: Parts, report: mpsc::Sender<Result<(), SetupError>>) -> Result<Handle, ServerError> {
    let body = move || {
        // a thread that panics would leave the others serving half a server
        let _guard = AbortOnPanic;
        match RingThread::new(parts) {
            Ok(thread) => {
                // the receiver waits for all reports
                let _ = report.send(Ok(()));
                thread.run()
            }
            Err(error) => {
                let _ = report.send(Err(error));
                None
            }
        }
    };
    let builder = thread::Builder::new().name("ring".to_owned());
    builder.spawn(body).map_err(ServerError::Thread)
}

struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

/// Says where the server listens, to whoever started it.
fn announce(shared: &Shared) -> Result<(), ServerError> {
    let config = &shared.config;
    if let Some(path) = &config.port_file {
        write_port_file(path, &config.listen).map_err(|error| ServerError::PortFile { path: path.clone(), error })?;
    }
    for address in &config.listen {
        tracing::info!("listening on {address}");
    }
    if let Some(path) = &config.unix_socket {
        tracing::info!("listening on {}", path.display());
    }
    Ok(())
}

/// As memcached writes it; complete when it appears.
fn write_port_file(path: &std::path::Path, listen: &[SocketAddr]) -> io::Result<()> {
    use std::fmt::Write as _;
    let mut text = String::new();
    for address in listen {
        let family = if address.is_ipv4() { "INET" } else { "INET6" };
        // a string takes everything
        let _ = writeln!(text, "TCP {family}: {}", address.port());
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".lck");
    std::fs::write(&temporary, text)?;
    std::fs::rename(&temporary, path)
}

/// Another server leads before this one stops to serve.
fn hand_over(mailboxes: &Mailboxes, caller: &mut Driver) {
    mailboxes.resign();
    call(mailboxes, caller, 0..1);
    let until = clock::now().after(config::CLUSTER_HAND_OVER_PATIENCE);
    while !mailboxes.has_resigned() && clock::now() < until {
        thread::sleep(HAND_OVER_LOOK);
    }
}

/// Has these threads look at what was left for them.
fn call(mailboxes: &Mailboxes, caller: &mut Driver, threads: Range<usize>) {
    for thread in threads {
        if let Some(ring) = mailboxes.to_call(thread) {
            caller.call(ring, thread as u32);
        }
    }
    caller.enter(Wait::No, &mut Vec::new());
}

fn wait_and_stop(mailboxes: &Mailboxes, handles: Vec<Handle>, in_cluster: bool) -> Result<(), ServerError> {
    let mut caller = Driver::small().map_err(ServerError::Ring)?;
    while process::wait_for_signal() == Signal::HangUp {
        tracing::info!("SIGHUP: there is nothing to read again");
    }
    tracing::info!("stopping");
    if in_cluster {
        hand_over(mailboxes, &mut caller);
    }
    mailboxes.stop();
    call(mailboxes, &mut caller, 0..handles.len());
    for handle in handles {
        if let Some(disk) = handle.join().expect("a ring thread aborts the process rather than panic") {
            disk.finish();
        }
    }
    Ok(())
}
