//! What the server counts, and how it tells.
//!
//! Each ring thread counts in plain integers of its own (`Counters`) and copies them once a turn to where every thread
//! may read them (`Shared`). Nothing here reads a clock or asks the kernel: the shell stores what only it can know.

mod cluster;
mod detail;
mod text;

pub use cluster::{ClusterStats, cluster};
pub use detail::{Counted, Detail};
pub use text::{conns, general, items, settings, slabs};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::ServerConfig;
use crate::time::{Seconds, Time};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Something that is counted; the text is memcached's name where it has one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $($(#[$doc])* #[allow(missing_docs, reason = "the stat's own name says it")] $name,)* }
        /// All counters' names, in the order of the enum.
        pub const COUNTER_NAMES: &[&str] = &[$($text,)*];
    };
}

counters! {
    CmdGet = "cmd_get", CmdSet = "cmd_set", CmdFlush = "cmd_flush", CmdTouch = "cmd_touch", CmdMeta = "cmd_meta",
    GetHits = "get_hits", GetMisses = "get_misses", GetExpired = "get_expired", GetFlushed = "get_flushed",
    DeleteMisses = "delete_misses", DeleteHits = "delete_hits",
    IncrMisses = "incr_misses", IncrHits = "incr_hits", DecrMisses = "decr_misses", DecrHits = "decr_hits",
    CasMisses = "cas_misses", CasHits = "cas_hits", CasBadval = "cas_badval",
    TouchHits = "touch_hits", TouchMisses = "touch_misses",
    StoreTooLarge = "store_too_large", StoreNoMemory = "store_no_memory",
    AuthCmds = "auth_cmds", AuthErrors = "auth_errors", IdleKicks = "idle_kicks",
    BytesRead = "bytes_read", BytesWritten = "bytes_written", TotalItems = "total_items",
    TotalConnections = "total_connections", RejectedConnections = "rejected_connections",
    ListenDisabled = "listen_disabled_num", ConnYields = "conn_yields",
}

/// How many counters there are.
pub const COUNTERS: usize = COUNTER_NAMES.len();

/// One thread's counts.
#[derive(Clone)]
pub struct Counters([u64; COUNTERS]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; COUNTERS])
    }
}

impl Counters {
    /// Counts one.
    #[inline]
    pub fn count(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts `n`.
    #[inline]
    pub fn add(&mut self, counter: Counter, n: u64) {
        self.0[counter as usize] += n;
    }

    /// Counts everything that another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (own, more) in self.0.iter_mut().zip(other.0) {
            *own += more;
        }
    }
}

/// Numbers that thread 0 and the shell keep up to date for everybody.
#[derive(Default)]
#[allow(missing_docs, reason = "each is the stat of its name")]
pub struct Gauges {
    pub curr_items: AtomicU64,
    pub bytes: AtomicU64,
    pub limit_maxbytes: AtomicU64,
    pub memory_bytes: AtomicU64,
    pub hash_bytes: AtomicU64,
    pub hash_power: AtomicU64,
    pub hash_is_expanding: AtomicU64,
    pub evictions: AtomicU64,
    pub expired_unfetched: AtomicU64,
    pub evicted_unfetched: AtomicU64,
    pub reclaimed: AtomicU64,
    pub segments_used: AtomicU64,
    pub segments_free: AtomicU64,
    pub log_index: AtomicU64,
    pub log_position: AtomicU64,
    pub log_durable: AtomicU64,
    pub log_refused: AtomicU64,
    pub rusage_user_us: AtomicU64,
    pub rusage_system_us: AtomicU64,
    pub curr_connections: AtomicU64,
    pub accepting: AtomicU64,
}

/// What `stats conns` shows of a connection.
pub struct ConnRecord {
    /// Peer, as memcached writes it: `tcp:127.0.0.1:4711`.
    pub peer: String,
    /// The listener it came by.
    pub listener: Arc<str>,
    /// A number to know it by; memcached shows the file descriptor.
    pub number: u64,
    heard: AtomicU64,
}

impl ConnRecord {
    /// A record of a connection that has just come.
    #[must_use]
    pub fn new(number: u64, peer: String, listener: Arc<str>, now: Time) -> Self {
        Self { peer, listener, number, heard: AtomicU64::new(now.0) }
    }

    /// Notes that the peer spoke.
    pub fn heard(&self, now: Time) {
        self.heard.store(now.0, Relaxed);
    }

    /// When the peer spoke last.
    #[must_use]
    pub fn last_heard(&self) -> Time {
        Time(self.heard.load(Relaxed))
    }
}

/// What all threads of a server share.
pub struct Shared {
    /// How the server was started.
    pub config: ServerConfig,
    /// Process id, for `stats`.
    pub pid: u32,
    /// When it started.
    pub started: Time,
    /// Current numbers.
    pub gauges: Gauges,
    /// `stats detail`.
    pub detail: Detail,
    /// `-v`, or what `verbosity` set.
    pub verbosity: AtomicU32,
    counters: Vec<[AtomicU64; COUNTERS]>,
    baseline: Mutex<Counters>,
    records: Mutex<BTreeMap<u64, Arc<ConnRecord>>>,
    /// Thread 0's last word on its part in a cluster.
    cluster: Mutex<Option<ClusterStats>>,
}

impl Shared {
    /// The shared state of a server that starts at `now`.
    #[must_use]
    pub fn new(config: ServerConfig, pid: u32, now: Time) -> Self {
        let counters = (0..config.threads).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect();
        let shared = Self {
            verbosity: AtomicU32::new(u32::from(config.verbosity)),
            detail: Detail::new(config.accepted.iter().any(|(name, _)| name == "detail_enabled")),
            pid,
            started: now,
            gauges: Gauges::default(),
            counters,
            baseline: Mutex::new(Counters::default()),
            records: Mutex::new(BTreeMap::new()),
            cluster: Mutex::new(None),
            config,
        };
        shared.gauges.limit_maxbytes.store(shared.config.memory_bytes, Relaxed);
        shared.gauges.accepting.store(1, Relaxed);
        shared
    }

    /// Lets everybody see what thread `shard` has counted.
    pub fn publish(&self, shard: usize, counters: &Counters) {
        for (shared, own) in self.counters[shard].iter().zip(&counters.0) {
            if shared.load(Relaxed) != *own {
                shared.store(*own, Relaxed);
            }
        }
    }

    /// The sum over all threads since the last reset.
    #[must_use]
    pub fn total(&self, counter: Counter) -> u64 {
        let sum: u64 = self.counters.iter().map(|thread| thread[counter as usize].load(Relaxed)).sum();
        sum - locked(&self.baseline).0[counter as usize]
    }

    /// `stats reset`: counts start again at zero. Connections stay counted, as memcached's do not.
    pub fn reset(&self) {
        let mut baseline = locked(&self.baseline);
        for (i, base) in baseline.0.iter_mut().enumerate() {
            *base = self.counters.iter().map(|thread| thread[i].load(Relaxed)).sum();
        }
    }

    /// Thread 0 of a server in a cluster says how it stands: at its ticks, and before it answers `stats cluster` itself.
    pub fn set_cluster(&self, stats: ClusterStats) {
        *locked(&self.cluster) = Some(stats);
    }

    fn cluster(&self) -> MutexGuard<'_, Option<ClusterStats>> {
        locked(&self.cluster)
    }

    /// A connection came.
    pub fn register(&self, record: Arc<ConnRecord>) {
        let twice = locked(&self.records).insert(record.number, record);
        assert!(twice.is_none(), "connection numbers are unique");
    }

    /// A connection went.
    pub fn unregister(&self, record: &ConnRecord) {
        locked(&self.records).remove(&record.number);
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<ConnRecord>>> {
        locked(&self.records)
    }

    /// Whole seconds since the start.
    #[must_use]
    pub const fn uptime(&self, now: Time) -> Seconds {
        Seconds((now.since(self.started).0 / crate::time::NANOS) as u32)
    }
}

/// The data behind a mutex that no holder leaves half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
