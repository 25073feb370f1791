//! `stats`: the names memcached has, in its form, and counters that count what memcached counts.

use std::collections::BTreeMap;

use crate::client::Client;
use crate::server::{Launch, Server, Shape, is_ours};

/// Every name of a default memcached 1.6.45; what comes in braces shares the beginning before it.
const GENERAL: &str = "pid uptime time version libevent pointer_size rusage_user rusage_system max_connections \
    curr_connections total_connections rejected_connections connection_structures response_obj_{oom,count,bytes} \
    read_buf_{count,bytes,bytes_free,oom} reserved_fds cmd_get cmd_set cmd_flush cmd_touch cmd_meta get_hits get_misses \
    get_expired get_flushed delete_{misses,hits} incr_{misses,hits} decr_{misses,hits} cas_{misses,hits,badval} \
    touch_{hits,misses} store_too_large store_no_memory auth_cmds auth_errors bytes_read bytes_written limit_maxbytes \
    accepting_conns listen_disabled_num time_in_listen_disabled_us threads conn_yields hash_power_level hash_bytes \
    hash_is_expanding slab_reassign_{rescues,chunk_rescues,inline_reclaim,busy_items,busy_deletes,busy_nomem,\
    last_busy_status,running} slabs_moved lru_crawler_{running,starts} lru_maintainer_juggles malloc_fails \
    log_worker_{dropped,written} log_watcher_{skipped,sent} log_watchers unexpected_napi_ids round_robin_fallback bytes \
    curr_items total_items slab_global_page_pool expired_unfetched evicted_unfetched evicted_active evictions reclaimed \
    crawler_reclaimed crawler_items_checked lrutail_reflocked moves_{to_cold,to_warm,within_lru} direct_reclaims \
    lru_bumps_dropped";

/// Every setting of memcached 1.6.45 but those of its external storage.
const SETTINGS: &str = "auth_enabled_ascii auth_enabled_sasl binding_protocol cas_enabled chunk_size client_flags_size detail_enabled \
    domain_socket dump_enabled evictions flush_enabled growth_factor hash_algorithm hashpower_init hot_lru_pct \
    hot_max_factor idle_timeout inline_ascii_response inter item_size_max lru_crawler lru_crawler_sleep \
    lru_crawler_tocrawl lru_maintainer_thread lru_segmented maxbytes maxconns maxconns_fast memory_file \
    num_napi_ids num_threads num_threads_per_udp oldest read_buf_mem_limit reqs_per_event shutdown_command \
    slab_automove slab_automove_freeratio slab_automove_ratio slab_automove_window slab_chunk_max slab_reassign \
    stat_key_prefix tail_repair_time tcp_backlog tcpport temp_lru temporary_ttl track_sizes udpport umask \
    verbosity warm_lru_pct warm_max_factor watcher_logbuf_size worker_logbuf_size";

fn general_names() -> Vec<String> {
    let mut names = Vec::new();
    for word in GENERAL.split_whitespace() {
        match word.split_once('{') {
            Some((prefix, rest)) => {
                names.extend(rest.trim_end_matches('}').split(',').map(|name| format!("{prefix}{name}")));
            }
            None => names.push(word.to_owned()),
        }
    }
    names
}

fn numbers(client: &mut Client) -> BTreeMap<String, u64> {
    client.stats("").into_iter().filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect()
}

#[test]
fn every_name_of_memcached_is_there_three_words_to_a_line() {
    let server = Server::start(Shape::Threads);
    let stats = server.connect().stats("");
    let missing: Vec<String> =
        general_names().into_iter().filter(|n| !stats.iter().any(|(name, _)| name == n)).collect();
    assert!(missing.is_empty(), "`stats` lacks {missing:?}");
    let mut seen = std::collections::BTreeSet::new();
    for (name, _) in &stats {
        assert!(seen.insert(name), "`stats` names {name} twice");
    }
    assert!(stats.contains(&("version".to_owned(), "1.6.45".to_owned())));
}

#[test]
fn counters_count_what_happened() {
    let server = Server::start(Shape::NoLog);
    let mut client = server.connect();
    let before = numbers(&mut client);
    client.ask("set k 0 0 1\r\n1\r\nset l 0 0 1\r\nx\r\nadd k 0 0 1\r\n1\r\n", "STORED\r\nSTORED\r\nNOT_STORED\r\n");
    client.ask("get k absent l\r\n", "VALUE k 0 1\r\n1\r\nVALUE l 0 1\r\nx\r\nEND\r\n");
    client.ask("incr k 1\r\nincr absent 1\r\ndecr k 1\r\ndecr absent 1\r\n", "2\r\nNOT_FOUND\r\n1\r\nNOT_FOUND\r\n");
    client.ask("touch k 0\r\ntouch absent 0\r\n", "TOUCHED\r\nNOT_FOUND\r\n");
    client.ask("cas k 0 0 1 0\r\n1\r\ncas absent 0 0 1 0\r\n1\r\n", "EXISTS\r\nNOT_FOUND\r\n");
    client.ask("delete l\r\ndelete l\r\n", "DELETED\r\nNOT_FOUND\r\n");
    let after = numbers(&mut client);
    let grown = |name: &str| after[name] - before[name];
    for (name, count) in [
        ("cmd_get", 3),
        ("get_hits", 2),
        ("get_misses", 1),
        ("cmd_set", 5),
        ("incr_hits", 1),
        ("incr_misses", 1),
        ("decr_hits", 1),
        ("decr_misses", 1),
        ("touch_hits", 1),
        ("touch_misses", 1),
        ("cmd_touch", 2),
        ("cas_badval", 1),
        ("cas_misses", 1),
        ("delete_hits", 1),
        ("delete_misses", 1),
        ("curr_items", 1),
    ] {
        assert_eq!(grown(name), count, "{name}");
    }
    assert!(grown("bytes_read") > 200 && grown("bytes_written") > 100);
    client.ask("flush_all\r\n", "OK\r\n");
    assert_eq!(client.stat("cmd_flush"), before["cmd_flush"] + 1);
    client.ask("stats reset\r\n", "RESET\r\n");
    assert_eq!(client.stat("get_hits"), 0);
}

#[test]
fn settings_say_how_the_server_was_started() {
    let server =
        Launch::new(Shape::Threads).options(["-c", "777", "-m", "99", "-A", "-F", "-M", "-C", "-I", "2m"]).start();
    let settings: BTreeMap<String, String> = server.connect().stats("settings").into_iter().collect();
    for (name, value) in [
        ("maxbytes", "103809024"),
        ("maxconns", "777"),
        ("num_threads", "2"),
        ("item_size_max", "2097152"),
        ("shutdown_command", "yes"),
        ("flush_enabled", "no"),
        ("evictions", "off"),
        ("cas_enabled", "no"),
        ("maxconns_fast", "yes"),
        ("stat_key_prefix", ":"),
    ] {
        assert_eq!(settings.get(name).map(String::as_str), Some(value), "{name}");
    }
    let missing: Vec<&str> = SETTINGS.split_whitespace().filter(|name| !settings.contains_key(*name)).collect();
    assert!(missing.is_empty(), "`stats settings` lacks {missing:?}");
}

#[test]
fn items_slabs_and_conns_have_memcacheds_form() {
    let server = Server::start(Shape::NoLog);
    let mut client = server.connect();
    client.ask("set k 0 0 1\r\na\r\n", "STORED\r\n");
    let items = client.stats("items");
    let number = items.iter().find(|(name, _)| name.starts_with("items:") && name.ends_with(":number"));
    assert_eq!(number.map(|(_, value)| value.as_str()), Some("1"));
    let slabs = client.stats("slabs");
    assert!(slabs.iter().any(|(name, value)| name == "active_slabs" && value != "0"), "{slabs:?}");
    assert!(slabs.iter().any(|(name, _)| name == "total_malloced"));
    assert!(slabs.iter().any(|(name, _)| name.ends_with(":chunk_size")));
    let conns = client.stats("conns");
    for ending in [":addr", ":state", ":secs_since_last_cmd"] {
        assert!(conns.iter().any(|(name, _)| name.ends_with(ending)), "a connection has {ending}: {conns:?}");
    }
}

#[test]
fn a_full_cache_evicts_and_says_so() {
    let server = Launch::new(Shape::NoLog).options(["-m", "64"]).start();
    let mut client = server.connect();
    let value = "v".repeat(50_000);
    for i in 0..3000 {
        client.ask(format!("set key:{i} 0 0 50000\r\n{value}\r\n"), "STORED\r\n");
    }
    client.ask("get key:2999\r\n", format!("VALUE key:2999 0 50000\r\n{value}\r\nEND\r\n"));
    let evictions = client.stat("evictions");
    assert!(evictions > 1000, "{evictions} evictions of 150 MB into 64");
    assert!(client.stat("bytes") <= 64 << 20);
    assert!(client.stat("curr_items") < 2000);
}

#[test]
fn a_full_store_refuses_and_keeps_what_it_has() {
    for shape in [Shape::NoLog, Shape::LogNever] {
        if !shape.is_possible() {
            continue;
        }
        let server = Launch::new(shape).options(["-m", "64", "-M"]).start();
        let mut client = server.connect();
        let value = "v".repeat(50_000);
        let mut stored = 0;
        loop {
            client.send(format!("set key:{stored} 0 0 50000\r\n{value}\r\n"));
            match client.line().as_str() {
                "STORED" => stored += 1,
                "SERVER_ERROR out of memory storing object" => break,
                other => panic!("{other}"),
            }
            assert!(stored < 2000, "100 MB do not fit into 64");
        }
        assert!(stored > 700, "64 MB hold more than {stored} values of 50 kB");
        for i in 0..stored {
            client.ask(format!("get key:{i}\r\n"), format!("VALUE key:{i} 0 50000\r\n{value}\r\nEND\r\n"));
        }
        assert_eq!(client.stat("evictions"), 0);
        if is_ours() {
            client.ask("flush_all\r\nset k 0 0 1\r\na\r\nget k\r\n", "OK\r\nSTORED\r\nVALUE k 0 1\r\na\r\nEND\r\n");
        }
    }
}
