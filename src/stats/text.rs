//! The texts of `stats`, with the names that monitoring agents read.
//!
//! Every line has exactly three words: exporters refuse a fourth.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Counter, Shared};
use crate::config::{Fsync, MEMCACHED_VERSION};
use crate::proto::reply;
use crate::time::{NANOS, Time};

/// memcached's general statistics that describe parts this server does not have; agents want to see them all the same.
const ZEROES_BEFORE: &[&str] = &[
    "response_obj_oom",
    "response_obj_count",
    "response_obj_bytes",
    "read_buf_count",
    "read_buf_bytes",
    "read_buf_bytes_free",
    "read_buf_oom",
];
const ZEROES_SLABS: &[&str] = &[
    "slab_reassign_rescues",
    "slab_reassign_chunk_rescues",
    "slab_reassign_inline_reclaim",
    "slab_reassign_busy_items",
    "slab_reassign_busy_deletes",
    "slab_reassign_busy_nomem",
    "slab_reassign_last_busy_status",
    "slab_reassign_running",
    "slabs_moved",
    "lru_crawler_running",
    "lru_crawler_starts",
    "lru_maintainer_juggles",
    "malloc_fails",
    "log_worker_dropped",
    "log_worker_written",
    "log_watcher_skipped",
    "log_watcher_sent",
    "log_watchers",
    "unexpected_napi_ids",
    "round_robin_fallback",
];
const ZEROES_AFTER: &[&str] = &[
    "crawler_reclaimed",
    "crawler_items_checked",
    "lrutail_reflocked",
    "moves_to_cold",
    "moves_to_warm",
    "moves_within_lru",
    "direct_reclaims",
    "lru_bumps_dropped",
];

struct Lines<'a> {
    out: &'a mut Vec<u8>,
    shared: &'a Shared,
    /// Names printed so far.
    shown: Vec<String>,
}

impl Lines<'_> {
    fn line(&mut self, name: &str, value: impl Display) {
        self.shown.push(name.to_owned());
        reply::stat(self.out, name, value);
    }

    fn gauge(&mut self, name: &str, gauge: &AtomicU64) {
        self.line(name, gauge.load(Relaxed));
    }

    fn counters(&mut self, counters: &[Counter]) {
        for &counter in counters {
            self.line(super::COUNTER_NAMES[counter as usize], self.shared.total(counter));
        }
    }

    fn zeroes(&mut self, names: &[&str]) {
        for name in names {
            self.line(name, 0);
        }
    }
}

fn seconds_of(micros: &AtomicU64) -> String {
    let us = micros.load(Relaxed);
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

/// `stats`.
pub fn general(out: &mut Vec<u8>, shared: &Shared, now: Time) {
    use Counter::*;
    let (config, gauges) = (&shared.config, &shared.gauges);
    let mut l = Lines { out, shared, shown: Vec::new() };
    l.line("pid", shared.pid);
    l.line("uptime", shared.uptime(now).0);
    l.line("time", now.seconds().0);
    l.line("version", MEMCACHED_VERSION);
    l.line("libevent", "none");
    l.line("ringstore_version", env!("CARGO_PKG_VERSION"));
    l.line("pointer_size", usize::BITS);
    l.line("rusage_user", seconds_of(&gauges.rusage_user_us));
    l.line("rusage_system", seconds_of(&gauges.rusage_system_us));
    l.line("max_connections", config.connections_max);
    l.gauge("curr_connections", &gauges.curr_connections);
    l.counters(&[TotalConnections, RejectedConnections]);
    l.gauge("connection_structures", &gauges.curr_connections);
    l.zeroes(ZEROES_BEFORE);
    l.line("reserved_fds", 20);
    l.counters(&[
        CmdGet,
        CmdSet,
        CmdFlush,
        CmdTouch,
        CmdMeta,
        GetHits,
        GetMisses,
        GetExpired,
        GetFlushed,
        DeleteMisses,
        DeleteHits,
        IncrMisses,
        IncrHits,
        DecrMisses,
        DecrHits,
        CasMisses,
        CasHits,
        CasBadval,
        TouchHits,
        TouchMisses,
        StoreTooLarge,
        StoreNoMemory,
        AuthCmds,
        AuthErrors,
    ]);
    if config.idle_timeout_seconds > 0 {
        l.counters(&[IdleKicks]);
    }
    l.counters(&[BytesRead, BytesWritten]);
    l.gauge("limit_maxbytes", &gauges.limit_maxbytes);
    l.gauge("accepting_conns", &gauges.accepting);
    l.counters(&[ListenDisabled]);
    l.line("time_in_listen_disabled_us", 0);
    l.line("threads", config.threads);
    l.counters(&[ConnYields]);
    l.gauge("hash_power_level", &gauges.hash_power);
    l.gauge("hash_bytes", &gauges.hash_bytes);
    l.gauge("hash_is_expanding", &gauges.hash_is_expanding);
    l.zeroes(ZEROES_SLABS);
    l.gauge("bytes", &gauges.bytes);
    l.gauge("curr_items", &gauges.curr_items);
    l.counters(&[TotalItems]);
    l.gauge("slab_global_page_pool", &gauges.segments_free);
    l.gauge("expired_unfetched", &gauges.expired_unfetched);
    l.gauge("evicted_unfetched", &gauges.evicted_unfetched);
    l.line("evicted_active", 0);
    l.gauge("evictions", &gauges.evictions);
    l.gauge("reclaimed", &gauges.reclaimed);
    l.zeroes(ZEROES_AFTER);
    if config.data_dir.is_some() {
        l.gauge("log_index", &gauges.log_index);
        l.gauge("log_position", &gauges.log_position);
        l.gauge("log_durable_position", &gauges.log_durable);
        l.gauge("log_refused_writes", &gauges.log_refused);
    }
    reply::end(l.out);
}

const fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// `stats settings`: memcached's names; what this server has no use for is shown as it was given, or as the default.
pub fn settings(out: &mut Vec<u8>, shared: &Shared) {
    let config = &shared.config;
    let given = |name: &str, default: &str| {
        config.accepted.iter().rev().find(|(n, _)| n == name).map_or_else(|| default.to_owned(), |(_, v)| v.clone())
    };
    let first = config.listen.first();
    let mut l = Lines { out, shared, shown: Vec::new() };
    l.gauge("maxbytes", &shared.gauges.limit_maxbytes);
    l.line("maxconns", config.connections_max);
    l.line("tcpport", first.map_or(0, |address: &_| address.port()));
    l.line("udpport", 0);
    l.line("inter", first.map_or_else(|| "NULL".to_owned(), |a| a.ip().to_string()));
    l.line("verbosity", shared.verbosity.load(Relaxed));
    l.line("oldest", 0);
    l.line("evictions", if config.evict { "on" } else { "off" });
    let path = |p: &Option<std::path::PathBuf>| {
        p.as_ref().map_or_else(|| "NULL".to_owned(), |p| p.display().to_string().replace(' ', "_"))
    };
    l.line("domain_socket", path(&config.unix_socket));
    l.line("umask", format_args!("{:o}", config.unix_mask));
    l.line("shutdown_command", yes_no(config.shutdown_command));
    for (name, default) in [("growth_factor", "1.25"), ("chunk_size", "48")] {
        l.line(name, given(name, default));
    }
    l.line("num_threads", config.threads);
    l.line("num_threads_per_udp", 0);
    l.line("stat_key_prefix", char::from(config.prefix_delimiter));
    l.line("detail_enabled", given("detail_enabled", "no"));
    l.line("reqs_per_event", config.requests_per_event);
    l.line("cas_enabled", yes_no(config.cas));
    l.line("tcp_backlog", config.backlog);
    l.line("binding_protocol", given("binding_protocol", "ascii"));
    l.line("auth_enabled_sasl", "no");
    l.line("auth_enabled_ascii", "no");
    l.line("item_size_max", config.item_bytes_max);
    l.line("maxconns_fast", yes_no(config.maxconns_fast));
    for (name, default) in [
        ("hashpower_init", "0"),
        ("slab_reassign", "yes"),
        ("slab_automove", "1"),
        ("slab_automove_ratio", "0.80"),
        ("slab_automove_window", "10"),
        ("slab_chunk_max", "524288"),
        ("lru_crawler", "yes"),
        ("lru_crawler_sleep", "100"),
        ("lru_crawler_tocrawl", "0"),
        ("tail_repair_time", "0"),
    ] {
        l.line(name, given(name, default));
    }
    l.line("flush_enabled", yes_no(config.flush_command));
    l.line("dump_enabled", yes_no(config.dump_command));
    l.line("hash_algorithm", "xxh3");
    for (name, default) in [
        ("lru_maintainer_thread", "yes"),
        ("lru_segmented", "yes"),
        ("hot_lru_pct", "20"),
        ("warm_lru_pct", "40"),
        ("hot_max_factor", "0.20"),
        ("warm_max_factor", "2.00"),
        ("temp_lru", "no"),
        ("temporary_ttl", "61"),
    ] {
        l.line(name, given(name, default));
    }
    l.line("idle_timeout", config.idle_timeout_seconds);
    for (name, default) in [
        ("watcher_logbuf_size", "262144"),
        ("worker_logbuf_size", "65536"),
        ("resp_obj_mem_limit", "0"),
        ("read_buf_mem_limit", "0"),
        ("slab_automove_freeratio", "0.010"),
        ("num_napi_ids", "0"),
        ("hash_expand", "yes"),
        ("memory_file", "(null)"),
        ("client_flags_size", "4"),
        ("track_sizes", "no"),
        ("inline_ascii_response", "no"),
    ] {
        l.line(name, given(name, default));
    }
    let shown = std::mem::take(&mut l.shown);
    for (name, value) in config.accepted.iter().filter(|(name, _)| !shown.contains(name)) {
        l.line(name, value);
    }
    l.line("log_enabled", yes_no(config.data_dir.is_some()));
    l.line("log_dir", path(&config.data_dir));
    let fsync = match config.fsync {
        Fsync::Always => "always".to_owned(),
        Fsync::Never => "never".to_owned(),
        Fsync::Interval(length) => format!("interval={}", length.0 / 1_000_000),
    };
    l.line("log_fsync", fsync);
    reply::end(l.out);
}

/// `stats items`: all items are of one class here, number 1.
pub fn items(out: &mut Vec<u8>, shared: &Shared) {
    let gauges = &shared.gauges;
    let mut l = Lines { out, shared, shown: Vec::new() };
    if gauges.curr_items.load(Relaxed) > 0 {
        l.gauge("items:1:number", &gauges.curr_items);
        l.line("items:1:number_hot", 0);
        l.line("items:1:number_warm", 0);
        l.gauge("items:1:number_cold", &gauges.curr_items);
        l.line("items:1:age_hot", 0);
        l.line("items:1:age_warm", 0);
        l.line("items:1:age", 0);
        l.gauge("items:1:mem_requested", &gauges.bytes);
        l.gauge("items:1:evicted", &gauges.evictions);
        for name in ["evicted_nonzero", "evicted_time", "outofmemory", "tailrepairs"] {
            l.line(&format!("items:1:{name}"), 0);
        }
        l.gauge("items:1:reclaimed", &gauges.reclaimed);
        l.gauge("items:1:expired_unfetched", &gauges.expired_unfetched);
        l.gauge("items:1:evicted_unfetched", &gauges.evicted_unfetched);
        for name in [
            "evicted_active",
            "crawler_reclaimed",
            "crawler_items_checked",
            "lrutail_reflocked",
            "moves_to_cold",
            "moves_to_warm",
            "moves_within_lru",
            "direct_reclaims",
            "hits_to_hot",
            "hits_to_warm",
        ] {
            l.line(&format!("items:1:{name}"), 0);
        }
        l.line("items:1:hits_to_cold", shared.total(Counter::GetHits));
        l.line("items:1:hits_to_temp", 0);
    }
    reply::end(l.out);
}

/// `stats slabs`: one class, whose pages are the store's segments.
pub fn slabs(out: &mut Vec<u8>, shared: &Shared) {
    use Counter::*;
    let gauges = &shared.gauges;
    let mut l = Lines { out, shared, shown: Vec::new() };
    let used = gauges.segments_used.load(Relaxed);
    if used > 0 {
        l.line("1:chunk_size", 8);
        l.line("1:chunks_per_page", crate::config::SEGMENT_BYTES / 8);
        l.line("1:total_pages", used);
        l.line("1:total_chunks", used * (crate::config::SEGMENT_BYTES as u64 / 8));
        l.line("1:used_chunks", gauges.bytes.load(Relaxed) / 8);
        l.line(
            "1:free_chunks",
            (used * crate::config::SEGMENT_BYTES as u64).saturating_sub(gauges.bytes.load(Relaxed)) / 8,
        );
        l.line("1:free_chunks_end", 0);
        for (name, counter) in [
            ("get_hits", GetHits),
            ("cmd_set", CmdSet),
            ("delete_hits", DeleteHits),
            ("incr_hits", IncrHits),
            ("decr_hits", DecrHits),
            ("cas_hits", CasHits),
            ("cas_badval", CasBadval),
            ("touch_hits", TouchHits),
        ] {
            l.line(&format!("1:{name}"), shared.total(counter));
        }
    }
    l.line("active_slabs", u32::from(used > 0));
    l.gauge("total_malloced", &gauges.memory_bytes);
    reply::end(l.out);
}

/// `stats conns`.
pub fn conns(out: &mut Vec<u8>, shared: &Shared, now: Time) {
    for record in shared.records().values() {
        let n = record.number;
        reply::stat(out, &format!("{n}:addr"), &record.peer);
        reply::stat(out, &format!("{n}:listen_addr"), &*record.listener);
        reply::stat(out, &format!("{n}:state"), "conn_read");
        reply::stat(out, &format!("{n}:secs_since_last_cmd"), now.since(record.last_heard()).0 / NANOS);
    }
    reply::end(out);
}
