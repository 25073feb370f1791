//! Command lines as people write them, and what becomes of them.

use std::path::Path;

use ringstore::time::Duration;

use super::*;
use crate::memcached::{self, Call};

fn around(personality: Personality) -> Surroundings {
    Surroundings { personality, usable_cpus: 16, port_file: None }
}

/// A memcached command line, without the program's name.
fn memcached(line: &str) -> Result<ServerConfig, String> {
    let arguments = std::iter::once("memcached").chain(line.split_whitespace()).map(Into::into).collect();
    match memcached::read(arguments).map_err(|error| error.to_string())? {
        Call::Serve(options) => options.into_config(&around(Personality::Memcached)).map_err(|usage| usage.0),
        Call::Print(text) => panic!("{line} printed {text}"),
    }
}

/// The same for `store addsrv`.
fn addsrv(line: &str) -> Result<ServerConfig, String> {
    let arguments = ["store", "addsrv"].into_iter().chain(line.split_whitespace());
    let cli = <crate::Cli as clap::Parser>::try_parse_from(arguments).map_err(|error| error.to_string())?;
    let crate::Command::Addsrv(options) = cli.command else { panic!("no addsrv") };
    options.into_config(&around(Personality::Store)).map_err(|usage| usage.0)
}

fn taken(line: &str) -> ServerConfig {
    memcached(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[track_caller]
fn refused(line: &str, reason: &str) {
    for read in [memcached, addsrv] {
        match read(line) {
            Ok(config) => panic!("{line} was taken: {config:?}"),
            Err(sentence) => assert!(sentence.contains(reason), "{line}: {sentence}"),
        }
    }
}

fn printed(line: &str) -> String {
    let arguments = std::iter::once("memcached").chain(line.split_whitespace()).map(Into::into).collect();
    match memcached::read(arguments) {
        Ok(Call::Print(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

fn listening(line: &str) -> Vec<String> {
    taken(line).listen.iter().map(ToString::to_string).collect()
}

fn shown<'a>(config: &'a ServerConfig, setting: &str) -> Option<&'a str> {
    config.accepted.iter().rev().find(|(name, _)| name == setting).map(|(_, value)| value.as_str())
}

#[test]
fn the_command_is_well_formed() {
    <crate::Cli as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn the_defaults_are_memcacheds_under_its_name() {
    let config = taken("");
    assert_eq!(listening(""), ["127.0.0.1:11211"]);
    assert_eq!((config.memory_bytes, config.item_bytes_max), (64 << 20, 1 << 20));
    assert_eq!((config.connections_max, config.backlog, config.requests_per_event), (1024, 1024, 20));
    assert_eq!((config.threads, config.unix_mask, config.prefix_delimiter, config.verbosity), (4, 0o700, b':', 0));
    assert_eq!((config.data_dir, config.evict, config.maxconns_fast, config.cas), (None, true, true, true));
    assert!(config.flush_command && config.dump_command && config.watch_command && !config.shutdown_command);
    assert!(!config.daemon && !config.core_files && !config.lock_memory);
    assert_eq!((config.user, config.pid_file, config.unix_socket), (None, None, None));
    assert!(config.accepted.is_empty());
}

#[test]
fn a_store_keeps_a_log_and_its_items() {
    let config = addsrv("").expect("the defaults");
    assert_eq!(config.data_dir.as_deref(), Some(Path::new("ringstore.data")));
    assert_eq!((config.evict, config.memory_bytes, config.fsync), (false, 1 << 30, Fsync::Always));
    assert!(addsrv("--evict").expect("asked for").evict);
    let cache = addsrv("--no-log").expect("a cache");
    assert_eq!((cache.data_dir, cache.evict), (None, true));
    assert!(!addsrv("--no-log -M").expect("a cache that refuses").evict);
}

#[test]
fn a_data_directory_turns_the_log_on_under_memcacheds_name() {
    let config = taken("--data-dir /srv/data --fsync interval=250");
    assert_eq!(config.data_dir.as_deref(), Some(Path::new("/srv/data")));
    assert!(!config.evict);
    assert_eq!(config.fsync, Fsync::Interval(Duration::from_millis(250)));
    assert_eq!(taken("--data-dir d --fsync=never").fsync, Fsync::Never);
    assert!(taken("--data-dir d --evict").evict);
    assert!(!taken("-M").evict);
    let sentence = memcached("--fsync always").expect_err("no log");
    assert!(sentence.contains("--data-dir"), "{sentence}");
    refused("--data-dir d --fsync sometimes", "interval=MILLISECONDS");
    refused("--data-dir d --fsync interval=0", "milliseconds");
    refused("--data-dir d --no-log", "cannot be used with");
    refused("--data-dir d -M --evict", "cannot be used with");
}

#[test]
fn short_options_may_be_clustered_and_touch_their_values() {
    let config = taken("-vvAMm128 -p11212 -t2 -c 99 -kr");
    assert_eq!((config.verbosity, config.shutdown_command, config.evict), (2, true, false));
    assert_eq!((config.memory_bytes, config.threads, config.connections_max), (128 << 20, 2, 99));
    assert_eq!(config.listen[0].port(), 11212);
    assert!(config.lock_memory && config.core_files);
    assert_eq!(taken("-v -v -v").verbosity, 3);
    assert_eq!(taken("-vvv").verbosity, 3);
}

#[test]
fn long_names_are_memcacheds_and_may_be_shortened() {
    let config = taken(
        "--port=11213 --memory-limit 100 --conn-limit=7 --threads 3 --max-item-size=2m --listen-backlog 5 \
         --disable-evictions --enable-shutdown --disable-flush-all --disable-dumping --disable-watch --disable-cas \
         --max-reqs-per-event=9 --unix-mask=755 --pidfile=p --user=root --verbose --lock-memory --enable-coredumps",
    );
    assert_eq!((config.listen[0].port(), config.memory_bytes, config.connections_max), (11213, 100 << 20, 7));
    assert_eq!((config.threads, config.item_bytes_max, config.backlog), (3, 2 << 20, 5));
    assert_eq!((config.requests_per_event, config.unix_mask, config.verbosity), (9, 0o755, 1));
    assert!(!config.evict && config.shutdown_command && !config.flush_command && !config.dump_command);
    assert!(!config.watch_command && !config.cas && config.lock_memory && config.core_files);
    assert_eq!((config.pid_file.as_deref(), config.user.as_deref()), (Some(Path::new("p")), Some("root")));
    assert_eq!(taken("--memory-l=99").memory_bytes, 99 << 20);
}

#[test]
fn the_last_of_a_repeated_option_counts() {
    let config = taken("-m 64 -A -p 1 -m 70 -A -p 2");
    assert_eq!((config.memory_bytes, config.listen[0].port()), (70 << 20, 2));
}

#[test]
fn the_command_lines_of_distributions_are_taken() {
    let debian = taken("-m 64 -p 11211 -u memcache -l 127.0.0.1 -P /run/memcached/memcached.pid");
    assert_eq!(debian.user.as_deref(), Some("memcache"));
    taken("-p 11211 -u memcached -m 64 -c 1024 -l 127.0.0.1,::1");
    taken("-d -m 64 -t 4 -I 4m -vv -o modern -U 0 -R 20 -B ascii");
    taken("-u root -A -M -o no_modern,slab_reassign");
}

#[test]
fn ports_may_be_free_or_off() {
    assert_eq!(taken("-p -1").listen[0].port(), 0);
    assert_eq!(taken("-p-1").listen[0].port(), 0);
    assert_eq!(taken("--port=-1").listen[0].port(), 0);
    assert_eq!(listening("-p 0 -s sock"), [""; 0]);
    refused("-p 0", "-s FILE");
    refused("-p 65536", "1 to 65535");
    refused("-p -2", "1 to 65535");
    refused("-p http", "not a whole number");
    let around = Surroundings { port_file: Some("ports".into()), ..around(Personality::Memcached) };
    let Ok(Call::Serve(options)) = memcached::read(vec!["memcached".into()]) else { panic!("the defaults") };
    assert_eq!(options.into_config(&around).expect("taken").port_file.as_deref(), Some(Path::new("ports")));
}

#[test]
fn addresses_come_in_lists_repeated_and_with_ports() {
    assert_eq!(listening("-l 0.0.0.0"), ["0.0.0.0:11211"]);
    assert_eq!(
        listening("-l 127.0.0.1:1,127.0.0.2 -l [::1]:3 -l ::1 -p 9"),
        ["127.0.0.1:1", "127.0.0.2:9", "[::1]:3", "[::1]:9"]
    );
    assert_eq!(listening("-l notls:127.0.0.1:5"), ["127.0.0.1:5"]);
    assert_eq!(listening("-l tag[a]:proto[ascii]:127.0.0.1:5"), ["127.0.0.1:5"]);
    assert_eq!(listening("-l [::]"), ["[::]:11211"]);
    assert_eq!(listening("-l *:8"), ["0.0.0.0:8"]);
    assert_eq!(listening("-l 127.0.0.1,127.0.0.1"), ["127.0.0.1:11211"]);
    assert!(listening("-l localhost:7").contains(&"127.0.0.1:7".to_owned()));
    refused("-l 127.0.0.1:0", "not a port");
    refused("-l 127.0.0.1:99999", "not a port");
    refused("-l [::1", "is not an address");
    refused("-l [::1]x", "is not an address");
    refused("-l :11", "is not an address");
    refused("-l mtls:127.0.0.1", "TLS");
    refused("-l proto[binary]:127.0.0.1", "text protocol");
    refused("-l no-such-host.invalid", "cannot be resolved");
}

#[test]
fn a_unix_socket_takes_the_place_of_the_network() {
    let config = taken("-s /run/m.sock -a 0770 -l 0.0.0.0");
    assert_eq!((config.unix_socket.as_deref(), config.unix_mask), (Some(Path::new("/run/m.sock")), 0o770));
    assert!(config.listen.is_empty());
    refused("-s f -a 8", "octal");
    refused("-s f -a 7777", "octal");
}

#[test]
fn item_sizes_have_units_and_bounds() {
    for (size, bytes) in [("1024", 1024), ("1k", 1024), ("512K", 512 << 10), ("16m", 16 << 20), ("1024M", 1 << 30)] {
        assert_eq!(taken(&format!("-m 4096 -I {size}")).item_bytes_max, bytes);
    }
    for size in ["1023", "0", "1025m", "2000000k", "99999999999999999999m"] {
        let sentence = memcached(&format!("-m 4096 -I {size}")).expect_err(size);
        assert!(sentence.contains("1k to 1024m") || sentence.contains("512k or 2m"), "{sentence}");
    }
    refused("-I big", "512k or 2m");
    refused("-I m", "512k or 2m");
    refused("-m 1", "half of the memory");
    assert_eq!(taken("-m 1 -I 512k").memory_bytes, 1 << 20);
}

#[test]
fn numbers_out_of_range_are_refused() {
    refused("-t 0", "1 to 256 threads");
    refused("-c 0", "connections");
    refused("-m 0", "give megabytes");
    refused("-m 1048577", "at most 1048576");
    refused("-m 64MB", "not a whole number");
    refused("-b 0", "greater than 0");
    refused("-R 0", "greater than 0");
    refused("-f 1", "greater than 1");
    refused("-n 0", "greater than 0");
    refused("-f nan", "greater than 1");
}

#[test]
fn threads_follow_the_cores_up_to_four() {
    let with = |usable_cpus| {
        let Ok(Call::Serve(options)) = memcached::read(vec!["memcached".into()]) else { panic!("the defaults") };
        options.into_config(&Surroundings { usable_cpus, ..around(Personality::Memcached) }).expect("taken").threads
    };
    assert_eq!([with(1), with(2), with(4), with(64)], [1, 2, 4, 4]);
    assert_eq!(taken("-t 12").threads, 12);
}

#[test]
fn harmless_options_are_kept_for_stats_settings() {
    let config = taken("-f 1.5 -n 96 -L -N 2 -B auto -D - -U 0");
    assert_eq!(shown(&config, "growth_factor"), Some("1.50"));
    assert_eq!(shown(&config, "chunk_size"), Some("96"));
    assert_eq!(shown(&config, "large_pages"), Some("yes"));
    assert_eq!(shown(&config, "num_napi_ids"), Some("2"));
    assert_eq!(shown(&config, "binding_protocol"), Some("auto-negotiate"));
    assert_eq!((config.prefix_delimiter, shown(&config, "detail_enabled")), (b'-', Some("yes")));
}

#[test]
fn what_is_missing_is_refused_by_name() {
    refused("-S", "-S (SASL)");
    refused("-Z", "-Z (TLS)");
    refused("-Y file", "-Y (authentication file)");
    refused("-e file", "--data-dir");
    refused("-U 11211", "-U 11211 (UDP)");
    refused("-B binary", "text protocol");
    refused("-B telnet", "auto or ascii");
    refused("--no-such-option", "no-such-option");
    refused("stray", "stray");
}

#[test]
fn extended_options_have_an_effect_or_are_shown() {
    let config = taken("-o no_maxconns_fast,idle_timeout=30 -o hashpower=20,slab_automove,lru_crawler_sleep=5");
    assert_eq!((config.maxconns_fast, config.idle_timeout_seconds), (false, 30));
    assert_eq!(shown(&config, "hashpower_init"), Some("20"));
    assert_eq!(shown(&config, "slab_automove"), Some("1"));
    assert_eq!(shown(&config, "lru_crawler_sleep"), Some("5"));
    let config =
        taken("-o lru_maintainer,no_lru_maintainer,slab_automove=2,watcher_logbuf_size=128,hot_max_factor=0.3,");
    assert_eq!(shown(&config, "lru_maintainer_thread"), Some("no"));
    assert_eq!(shown(&config, "slab_automove"), Some("2"));
    assert_eq!(shown(&config, "watcher_logbuf_size"), Some("131072"));
    assert_eq!(shown(&config, "hot_max_factor"), Some("0.30"));
}

#[test]
fn every_extended_option_of_memcached_is_taken() {
    let value_of = |name: &str| match name {
        "hash_algorithm" => "=murmur3",
        "slab_sizes" => "=96-480-2048",
        "slab_automove_ratio" | "slab_automove_freeratio" | "hot_max_factor" | "warm_max_factor" => "=0.5",
        "idle_timeout" | "hashpower" | "slab_automove_window" | "slab_chunk_max" | "tail_repair_time" => "=12",
        "lru_crawler_sleep" | "lru_crawler_tocrawl" | "hot_lru_pct" | "warm_lru_pct" | "temporary_ttl" => "=12",
        "watcher_logbuf_size" | "worker_logbuf_size" | "read_buf_mem_limit" | "resp_obj_mem_limit" => "=12",
        "sock_cookie_id" => "=12",
        _ => "",
    };
    let options: Vec<String> = extended::names().map(|name| format!("{name}{}", value_of(name))).collect();
    assert!(options.len() > 40);
    taken(&format!("-o {}", options.join(",")));
    for option in &options {
        taken(&format!("-o {option}"));
        let (name, wrong) = match option.split_once('=') {
            Some((name, _)) => (name, format!("{name}=wrong")),
            None if option == "slab_automove" => ("slab_automove", "slab_automove=wrong".to_owned()),
            None => (option.as_str(), format!("{option}=1")),
        };
        refused(&format!("-o {wrong}"), name);
    }
}

#[test]
fn extended_options_that_cannot_be_taken_are_refused_by_name() {
    refused("-o bogus", "-o bogus is not an option");
    refused("-o ext_path=/tmp/e:1G", "external storage");
    refused("-o no_ext_drop_unread", "external storage");
    refused("-o proxy_config=p.lua", "proxy");
    refused("-o ssl_chain_cert=c.pem", "TLS");
    refused("-o idle_timeout", "idle_timeout=VALUE");
    refused("-o hashpower=33", "12 to 32");
    refused("-o tail_repair_time=9", "from 10");
    refused("-o hot_lru_pct=50,warm_lru_pct=50", "80 together");
    refused("-o slab_sizes=1-x", "96-480-2048");
    refused("-o hash_algorithm=md5", "murmur3");
    refused("-o modern,,no_such", "no_such");
}

#[test]
fn paths_are_absolute_in_the_background() {
    let config = taken("-d -P server.pid --data-dir data -s sock");
    assert!(config.daemon);
    for path in [&config.pid_file, &config.data_dir, &config.unix_socket] {
        assert!(path.as_ref().is_some_and(|path| path.is_absolute()), "{path:?}");
    }
}

#[test]
fn memcacheds_texts_begin_as_its_clients_expect() {
    for line in ["-h", "--help", "-vh", "-p 1 -h"] {
        assert_eq!(printed(line).lines().next(), Some("memcached 1.6.45"));
    }
    let help = printed("-h");
    for option in ["-p, --port", "-m, --memory-limit", "-o, --extended", "--data-dir", "127.0.0.1"] {
        assert!(help.contains(option), "{option}");
    }
    for name in extended::names() {
        assert!(help.contains(name.strip_prefix("no_").unwrap_or(name)), "{name} is not in the help");
    }
    assert_eq!(printed("-V"), "memcached 1.6.45\n");
    assert_eq!(printed("--version"), "memcached 1.6.45\n");
    assert!(printed("-i").contains("Apache License"));
}

fn in_a_cluster(line: &str) -> ServerConfig {
    let config = addsrv(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(config.cluster.is_some(), "{line}");
    config
}

fn place(line: &str) -> ringstore::config::ClusterConfig {
    in_a_cluster(line).cluster.expect("it was looked at")
}

#[test]
fn a_server_of_a_cluster_keeps_a_log_and_all_it_has() {
    let config = in_a_cluster("--lb 127.0.0.1:11200");
    assert_eq!((config.evict, config.fsync, config.memory_bytes), (false, Fsync::Always, 1 << 30));
    let place = config.cluster.expect("a place");
    assert_eq!((place.balancer.to_string().as_str(), place.peer_port), ("127.0.0.1:11200", 0));
    assert!(place.advertise.is_none() && place.key.is_none() && !place.strict_reads);
    assert!(addsrv("").expect("alone").cluster.is_none());
    in_a_cluster("--lb 127.0.0.1 -M --fsync never");
    for (line, reason) in [("--no-log", "Remove --no-log"), ("--evict", "Remove --evict"), ("-s sock", "Remove -s")] {
        refused(&format!("--lb 127.0.0.1 {line}"), reason);
    }
}

#[test]
fn servers_of_a_cluster_side_by_side_have_directories_of_their_own() {
    let directory = |line: &str| in_a_cluster(line).data_dir.expect("a log");
    // the usual port joins with the data of a server that stood alone
    assert_eq!(directory("--lb 127.0.0.1"), addsrv("").expect("alone").data_dir.expect("a log"));
    assert_eq!(directory("--lb 127.0.0.1 -p 11212"), Path::new("ringstore-11212.data"));
    assert_eq!(directory("--lb 127.0.0.1 -p 11212 --data-dir d"), Path::new("d"));
    assert_eq!(directory("--lb 127.0.0.1 -p -1 --data-dir d"), Path::new("d"));
    refused("--lb 127.0.0.1 -p -1", "add --data-dir DIR");
    assert_eq!(addsrv("-p 11212").expect("alone").data_dir.as_deref(), Some(Path::new("ringstore.data")));
    let Call::Serve(options) = memcached::read(vec!["memcached".into(), "--lb=127.0.0.1".into()]).expect("taken")
    else {
        panic!("it is no text")
    };
    let config = options.into_config(&around(Personality::Memcached)).expect("a cluster under the other name");
    assert!(config.data_dir.is_some() && !config.evict, "it keeps a log there too");
}

#[test]
fn a_place_in_a_cluster_says_where_it_is_reached() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "5c".repeat(32)).expect("written");
    let key = format!("--cluster-key-file {}", file.path().display());
    let found = place(&format!("--lb 10.0.0.1:7 -l 10.0.0.2 --peer-port 99 --reads strict {key}"));
    assert_eq!((found.balancer.to_string().as_str(), found.peer_port, found.strict_reads), ("10.0.0.1:7", 99, true));
    assert!(found.key.is_some());
    let found = place(&format!("--lb 10.0.0.1 -l 0.0.0.0 --advertise 10.0.0.2 {key}"));
    assert_eq!(found.advertise.map(|ip| ip.to_string()).as_deref(), Some("10.0.0.2"));
    assert_eq!(place("--lb [::1]:8 -l ::1").balancer.to_string(), "[::1]:8");
    assert_eq!(place("--lb ::1 -l ::1").balancer.to_string(), "[::1]:11200");
    // the name may stand for an IPv6 address too, to which a socket at 127.0.0.1 cannot speak
    assert_eq!(place("--lb localhost").balancer.to_string(), "127.0.0.1:11200");

    refused("--lb 10.0.0.1", "add -l");
    refused(&format!("--lb 10.0.0.1 -l 0.0.0.0 {key}"), "add --advertise HOST");
    refused(&format!("--lb 10.0.0.1 -l 0.0.0.0 --advertise 0.0.0.0 {key}"), "give one of this machine's");
    refused("--lb 10.0.0.1 -l ::1", "both IPv6");
    refused("--lb no-such-host.invalid", "--lb no-such-host.invalid");
    refused("--lb 127.0.0.1:port", "--lb 127.0.0.1:port");
    refused("--lb 127.0.0.1 --reads fast", "strict");
    refused("--lb 127.0.0.1 --peer-port 70000", "70000");
    refused("--peer-port 5", "--lb");
    refused("--advertise 10.0.0.1", "--lb");
}

#[test]
fn off_loopback_a_cluster_has_a_key() {
    for line in [
        "--lb 10.0.0.1 -l 10.0.0.2",
        "--lb 127.0.0.1 -l 10.0.0.2",
        "--lb 127.0.0.1 -l 0.0.0.0 --advertise 127.0.0.1",
        "--lb 127.0.0.1 --advertise 10.0.0.2",
    ] {
        refused(line, "head -c 32 /dev/urandom > KEY");
    }
    refused("--lb 127.0.0.1 --cluster-key-file /dev/null", "32 bytes");
    refused("--lb 127.0.0.1 --cluster-key-file /no/such", "head -c 32 /dev/urandom > /no/such");
}
