//! The command line of the server: memcached's options under memcached's letters and names, and ours.
//!
//! Owns the way from argv to [`ServerConfig`]. Opens nothing, starts nothing: what it cannot take it refuses by name.

mod addresses;
pub mod cluster;
mod extended;
mod numbers;

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args};
use cluster::ClusterArgs;
use ringstore::config::{Fsync, MEMCACHED_VERSION, MEMORY_MEGABYTES_CEILING, ServerConfig};

/// Port that memcached and we listen on unless told otherwise.
const PORT_DEFAULT: u16 = 11211;
/// Item memory in megabytes under the name memcached, and under ours.
const MEMORY_MEGABYTES_MEMCACHED: u64 = 64;
const MEMORY_MEGABYTES_STORE: u64 = 1024;
/// Ring threads unless told otherwise: the usable cores, at most these.
const THREADS_DEFAULT_MAX: usize = 4;
/// Directory of the log, in the working directory, unless told otherwise.
const DATA_DIR_DEFAULT: &str = "ringstore.data";

/// Under which name the program was called; the defaults differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Personality {
    /// `store addsrv`: keeps a log.
    Store,
    /// `memcached`: a cache, unless a data directory is given.
    Memcached,
}

/// What surrounds a command line: passed in, so that a test decides it.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The name the program was called by.
    pub personality: Personality,
    /// Cores this process may run on.
    pub usable_cpus: usize,
    /// `MEMCACHED_PORT_FILENAME`.
    pub port_file: Option<PathBuf>,
}

/// A command line that cannot be taken: one sentence that says what to do instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn refuse<T>(sentence: impl Into<String>) -> Result<T, Usage> {
    Err(Usage(sentence.into()))
}

/// The options of a server.
#[derive(Args, Clone, Debug)]
#[command(args_override_self = true)]
pub struct ServerArgs {
    /// TCP port; -1 takes a free one, 0 switches TCP off [default: 11211]
    #[arg(short, long, value_name = "NUM", allow_negative_numbers = true, value_parser = numbers::port)]
    port: Option<i32>,

    /// Address to listen on: ADDR, ADDR:PORT or [V6]:PORT, several with commas or by repeating; 0.0.0.0 for all
    /// IPv4 interfaces [default: 127.0.0.1, this machine only, also under the name memcached]
    #[arg(short, long, value_name = "ADDR", action = ArgAction::Append)]
    listen: Vec<String>,

    /// Listen on this Unix socket, and on no network
    #[arg(short = 's', long, value_name = "FILE")]
    unix_socket: Option<PathBuf>,

    /// Permission bits of the Unix socket, in octal
    #[arg(short = 'a', long, value_name = "MASK", default_value = "700", value_parser = numbers::octal_mask)]
    unix_mask: u32,

    /// Ring threads, each pinned to a core [default: the usable cores, at most 4]
    #[arg(short, long, value_name = "NUM", value_parser = numbers::threads)]
    threads: Option<usize>,

    /// Memory for items, in megabytes [default: 1024; 64 under the name memcached]
    #[arg(short, long, value_name = "MB", value_parser = numbers::megabytes)]
    memory_limit: Option<u64>,

    /// When the memory is full, refuse writes instead of evicting items [default with a log]
    #[arg(short = 'M', long, conflicts_with = "evict")]
    disable_evictions: bool,

    /// When the memory is full, evict the items used least, also with a log [default without a log]
    #[arg(long)]
    evict: bool,

    /// Client connections at once
    #[arg(short, long, value_name = "NUM", default_value = "1024", value_parser = numbers::connections)]
    conn_limit: usize,

    /// Largest item, in bytes or with k or m (1k to 1024m)
    #[arg(short = 'I', long, value_name = "SIZE", default_value = "1m", value_parser = numbers::item_size)]
    max_item_size: usize,

    /// Directory of the log: every acknowledged write is in it and comes back after a restart [default: ringstore.data
    /// in the working directory, none under the name memcached; with --lb and another port than 11211
    /// ringstore-PORT.data]
    #[arg(long, value_name = "DIR", help_heading = "The log")]
    data_dir: Option<PathBuf>,

    /// When an acknowledged write is on the disk: always (before its reply), interval=MS, never [default: always]
    #[arg(long, value_name = "WHEN", value_parser = numbers::fsync, help_heading = "The log")]
    fsync: Option<Fsync>,

    /// Keep no log: a pure cache, empty after a restart [default under the name memcached]
    #[arg(long, conflicts_with = "data_dir", help_heading = "The log")]
    no_log: bool,

    #[command(flatten)]
    cluster: ClusterArgs,

    /// Run in the background; the call returns when the server is ready
    #[arg(short, long, help_heading = "The process")]
    daemon: bool,

    /// User to become, when started as root
    #[arg(short, long, value_name = "USER", help_heading = "The process")]
    user: Option<String>,

    /// Write the process id to this file
    #[arg(short = 'P', long, value_name = "FILE", help_heading = "The process")]
    pidfile: Option<PathBuf>,

    /// Raise the limit of the core file
    #[arg(short = 'r', long, help_heading = "The process")]
    enable_coredumps: bool,

    /// Lock all memory, so that none is swapped out
    #[arg(short = 'k', long, help_heading = "The process")]
    lock_memory: bool,

    /// Say more on standard error; twice and three times for still more
    #[arg(short, long, action = ArgAction::Count, help_heading = "The process")]
    verbose: u8,

    /// Let clients stop the server with the shutdown command
    #[arg(short = 'A', long, help_heading = "What clients may do")]
    enable_shutdown: bool,

    /// Refuse flush_all
    #[arg(short = 'F', long, help_heading = "What clients may do")]
    disable_flush_all: bool,

    /// Refuse stats cachedump, stats detail and lru_crawler metadump
    #[arg(short = 'X', long, help_heading = "What clients may do")]
    disable_dumping: bool,

    /// Refuse watch
    #[arg(short = 'W', long, help_heading = "What clients may do")]
    disable_watch: bool,

    /// Answer without cas ids
    #[arg(short = 'C', long, help_heading = "What clients may do")]
    disable_cas: bool,

    /// Delimiter of key prefixes for stats detail [default: :]
    #[arg(short = 'D', value_name = "CHAR", value_parser = numbers::delimiter, allow_hyphen_values = true,
          help_heading = "More of memcached's options")]
    prefix_delimiter: Option<u8>,

    /// Queue of connections the kernel holds until they are accepted
    #[arg(short = 'b', long, value_name = "NUM", default_value = "1024", value_parser = numbers::at_least_one,
          help_heading = "More of memcached's options")]
    listen_backlog: i32,

    /// Requests of one connection per event; reported in stats settings, a turn of our loop is bounded by itself
    #[arg(short = 'R', long, value_name = "NUM", default_value = "20", value_parser = numbers::at_least_one,
          help_heading = "More of memcached's options")]
    max_reqs_per_event: i32,

    /// Extended options, with commas: maxconns_fast, idle_timeout=SECONDS; memcached's others are accepted or refused
    /// by name
    #[arg(short = 'o', long, value_name = "LIST", action = ArgAction::Append,
          help_heading = "More of memcached's options")]
    extended: Vec<String>,

    /// Protocol: auto or ascii
    #[arg(short = 'B', long, value_name = "NAME", help_heading = "More of memcached's options")]
    protocol: Option<String>,

    /// Slab growth factor; accepted, no effect: this store has no slab classes
    #[arg(short = 'f', long, value_name = "NUM", value_parser = numbers::growth_factor,
          help_heading = "More of memcached's options")]
    slab_growth_factor: Option<f64>,

    /// Smallest slab item; accepted, no effect: this store has no slab classes
    #[arg(short = 'n', long, value_name = "BYTES", value_parser = numbers::at_least_one,
          help_heading = "More of memcached's options")]
    slab_min_size: Option<i32>,

    /// Large memory pages; accepted, no effect: they are used wherever the kernel gives them
    #[arg(short = 'L', long, help_heading = "More of memcached's options")]
    enable_largepages: bool,

    /// Number of NAPI ids; accepted, no effect
    #[arg(short = 'N', long, alias = "napi_ids", value_name = "NUM", help_heading = "More of memcached's options")]
    napi_ids: Option<u32>,

    /// UDP port; only 0 (off) is possible
    #[arg(short = 'U', long, value_name = "NUM", help_heading = "More of memcached's options")]
    udp_port: Option<String>,

    // refused: taken from the command line so that the refusal can name the reason
    #[arg(short = 'S', long, hide = true)]
    enable_sasl: bool,
    #[arg(short = 'Z', long, hide = true)]
    enable_ssl: bool,
    #[arg(short = 'Y', long, hide = true, value_name = "FILE")]
    auth_file: Option<PathBuf>,
    #[arg(short = 'e', long, hide = true, value_name = "FILE")]
    memory_file: Option<PathBuf>,
}

impl ServerArgs {
    /// The configuration these options ask for.
    pub fn into_config(self, around: &Surroundings) -> Result<ServerConfig, Usage> {
        self.refuse_what_is_missing()?;
        self.refuse_what_no_cluster_takes()?;
        let memory_bytes = self.memory_bytes(around.personality)?;
        let data_dir = self.log_directory(around.personality)?;
        let extended = extended::read(&self.extended)?;
        let mut accepted = self.accepted()?;
        accepted.extend(extended.accepted);
        let absolute = |path: &Option<PathBuf>| match path {
            // the background process leaves the working directory
            Some(path) if self.daemon => absolute(path).map(Some),
            other => Ok(other.clone()),
        };
        let listen = self.addresses()?;
        let cluster = self.cluster.place(&listen)?;
        Ok(ServerConfig {
            listen,
            port_file: absolute(&around.port_file)?,
            unix_socket: absolute(&self.unix_socket)?,
            unix_mask: self.unix_mask,
            threads: self.threads.unwrap_or_else(|| around.usable_cpus.clamp(1, THREADS_DEFAULT_MAX)),
            memory_bytes,
            evict: if data_dir.is_some() { self.evict } else { !self.disable_evictions },
            connections_max: self.conn_limit,
            maxconns_fast: extended.maxconns_fast,
            item_bytes_max: self.max_item_size,
            backlog: self.listen_backlog,
            requests_per_event: self.max_reqs_per_event.unsigned_abs(),
            prefix_delimiter: self.prefix_delimiter.unwrap_or(b':'),
            verbosity: self.verbose,
            cas: !self.disable_cas,
            shutdown_command: self.enable_shutdown,
            flush_command: !self.disable_flush_all,
            dump_command: !self.disable_dumping,
            watch_command: !self.disable_watch,
            idle_timeout_seconds: extended.idle_timeout_seconds,
            data_dir: absolute(&data_dir)?,
            fsync: self.fsync.unwrap_or(Fsync::Always),
            pid_file: absolute(&self.pidfile)?,
            user: self.user.clone(),
            daemon: self.daemon,
            core_files: self.enable_coredumps,
            lock_memory: self.lock_memory,
            cluster,
            accepted,
        })
    }

    /// memcached's options that would change what a client or an operator may rely on, and that this server lacks.
    fn refuse_what_is_missing(&self) -> Result<(), Usage> {
        if self.enable_sasl {
            return refuse(
                "-S (SASL) is not possible: it needs the binary protocol, which this server does not speak. Remove -S \
                 and keep the port behind a firewall or on a Unix socket (-s).",
            );
        }
        if self.enable_ssl {
            return refuse("-Z (TLS) is not possible yet: remove -Z and put a TLS proxy in front of the server.");
        }
        if self.auth_file.is_some() {
            return refuse(
                "-Y (authentication file) is not possible yet: remove -Y and keep the port behind a firewall or on a \
                 Unix socket (-s).",
            );
        }
        if self.memory_file.is_some() {
            return refuse(
                "-e (memory file) is not needed: give --data-dir DIR instead, the items come back after any restart.",
            );
        }
        match self.udp_port.as_deref() {
            None | Some("0") => {}
            Some(port) => {
                return refuse(format!(
                    "-U {port} (UDP) is not possible: clients connect by TCP. Remove -U or give -U 0."
                ));
            }
        }
        match self.protocol.as_deref() {
            None | Some("auto" | "ascii") => Ok(()),
            Some("binary") => refuse(
                "-B binary is not possible: this server speaks the text protocol. Give -B ascii and set the clients to \
                 the text protocol.",
            ),
            Some(other) => refuse(format!("-B {other} is not a protocol: give auto or ascii.")),
        }
    }

    /// What a server alone may do and one of several may not.
    fn refuse_what_no_cluster_takes(&self) -> Result<(), Usage> {
        if self.cluster.lb.is_none() {
            return Ok(());
        }
        if self.no_log {
            return refuse(
                "--no-log is not possible with --lb: a server of a cluster answers for what is in its log. Remove --no-log.",
            );
        }
        if self.evict {
            return refuse(
                "--evict is not possible with --lb: a cluster keeps what it has acknowledged. Remove --evict and raise -m.",
            );
        }
        if self.unix_socket.is_some() {
            return refuse("-s is not possible with --lb: the others must reach a server of a cluster. Remove -s.");
        }
        Ok(())
    }

    fn memory_bytes(&self, personality: Personality) -> Result<u64, Usage> {
        let megabytes = self.memory_limit.unwrap_or(match personality {
            Personality::Store => MEMORY_MEGABYTES_STORE,
            Personality::Memcached => MEMORY_MEGABYTES_MEMCACHED,
        });
        if megabytes > MEMORY_MEGABYTES_CEILING {
            return refuse(format!(
                "-m {megabytes} is in megabytes, and at most {MEMORY_MEGABYTES_CEILING}: lower it."
            ));
        }
        let bytes = megabytes << 20;
        if self.max_item_size as u64 > bytes / 2 {
            return refuse(format!(
                "the largest item (-I, {} bytes) is more than half of the memory (-m, {megabytes} MB): lower -I or raise \
                 -m.",
                self.max_item_size
            ));
        }
        Ok(bytes)
    }

    fn log_directory(&self, personality: Personality) -> Result<Option<PathBuf>, Usage> {
        let directory = match (&self.data_dir, personality) {
            (Some(given), _) => Some(given.clone()),
            (None, _) if self.cluster.lb.is_some() => Some(self.directory_in_a_cluster()?),
            (None, Personality::Store) if !self.no_log => Some(PathBuf::from(DATA_DIR_DEFAULT)),
            (None, _) => None,
        };
        if directory.is_none() && self.fsync.is_some() {
            return refuse("--fsync says when the log is on the disk, and there is no log: add --data-dir DIR.");
        }
        Ok(directory)
    }

    /// Servers of a cluster are often tried out side by side: each port has a directory of its own. The usual port has the
    /// one of a server that stands alone, which joins with the data that it has.
    fn directory_in_a_cluster(&self) -> Result<PathBuf, Usage> {
        match self.port.unwrap_or(i32::from(PORT_DEFAULT)) {
            port if port == i32::from(PORT_DEFAULT) => Ok(PathBuf::from(DATA_DIR_DEFAULT)),
            port @ 1.. => Ok(PathBuf::from(format!("ringstore-{port}.data"))),
            _ => refuse("with --lb and a port that is not known before, say where the log is: add --data-dir DIR."),
        }
    }

    fn addresses(&self) -> Result<Vec<std::net::SocketAddr>, Usage> {
        if self.unix_socket.is_some() {
            return Ok(Vec::new());
        }
        match self.port.unwrap_or(i32::from(PORT_DEFAULT)) {
            0 => refuse("nothing to listen on: -p 0 switches TCP off. Give a port, or a Unix socket with -s FILE."),
            // the kernel's way to ask for a free port
            -1 => addresses::resolve(&self.listen, 0),
            port => addresses::resolve(&self.listen, u16::try_from(port).expect("numbers::port checked the range")),
        }
    }

    /// Options without an effect here, under the names that `stats settings` shows them by.
    fn accepted(&self) -> Result<Vec<(String, String)>, Usage> {
        let mut accepted = Vec::new();
        let mut keep = |name: &str, value: String| accepted.push((name.to_owned(), value));
        if let Some(factor) = self.slab_growth_factor {
            keep("growth_factor", format!("{factor:.2}"));
        }
        if let Some(bytes) = self.slab_min_size {
            keep("chunk_size", bytes.to_string());
        }
        match self.protocol.as_deref() {
            Some("auto") => keep("binding_protocol", "auto-negotiate".to_owned()),
            Some(name) => keep("binding_protocol", name.to_owned()),
            None => {}
        }
        if self.enable_largepages {
            keep("large_pages", "yes".to_owned());
        }
        if let Some(number) = self.napi_ids {
            keep("num_napi_ids", number.to_string());
        }
        if self.prefix_delimiter.is_some() {
            // memcached switches the counting on with the option
            keep("detail_enabled", "yes".to_owned());
        }
        Ok(accepted)
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Usage> {
    std::path::absolute(path).map_err(|error| {
        Usage(format!("the path {} cannot be made absolute ({error}): give it from the root.", path.display()))
    })
}

/// What `-V` prints under the name memcached; clients and test suites read it.
pub fn memcached_version() -> String {
    format!("memcached {MEMCACHED_VERSION}")
}

#[cfg(test)]
mod tests;
