//! `loadgen run` and `loadgen search` as a user starts them, against servers of which everything is known, and what `loadgen
//! compare` refuses. Bounds on times are wide: what is exact is tested in virtual time, beside the generator.

mod fake;

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use fake::{FakeBalancer, FakeServer, Habits};
use serde_json::Value;

fn loadgen(arguments: &str) -> Output {
    let words = arguments.split_whitespace();
    Command::new(env!("CARGO_BIN_EXE_loadgen")).args(words).output().expect("loadgen can be started")
}

/// Runs with `--json` and gives the status and the document.
fn run(arguments: &str) -> (i32, Value) {
    let output = loadgen(&format!("run --quiet --json {arguments}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let document = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    (output.status.code().expect("it ends by itself"), document)
}

/// Status and complaint of a run that cannot be made.
fn refused(arguments: &str) -> (i32, String) {
    let output = loadgen(arguments);
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    (output.status.code().expect("it ends by itself"), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Exit status 3 says that the machine was too busy for the figures to count, which here it may be.
fn is_done(status: i32) -> bool {
    status == 0 || status == 3
}

fn count(document: &Value, name: &str) -> u64 {
    document[name].as_u64().unwrap_or_else(|| panic!("{name} in {document}"))
}

fn server(habits: Habits) -> (FakeServer, SocketAddr) {
    let server = FakeServer::new(habits);
    let address = server.listen();
    (server, address)
}

#[test]
fn a_stall_of_the_server_shows_in_an_open_loop_and_hides_in_a_closed_one() {
    let (_server, address) = server(Habits { stall_ms: 100, ..Habits::default() });
    let latency = |document: &Value, name: &str| document["latency_us"][name].as_f64().expect("a latency") / 1e3;
    let common = format!("--server {address} --connections 1 --keys 100 --duration 4");
    let (_, open) = run(&format!("{common} --rate 500 --arrivals fixed"));
    let (_, closed) = run(&common);
    // a tenth of the time the server does nothing: of what is due 1 % waits for 90 ms or more
    assert!(latency(&open, "p99") > 70.0, "{open}");
    assert!(latency(&closed, "p95") < latency(&open, "p99"), "{closed}");
    assert!(latency(&closed, "max") > 50.0, "it was there all the same: {closed}");
    let due = count(&open, "answered") + count(&open, "unanswered");
    assert!(due.abs_diff(2000) <= 1, "nothing that was due is forgotten: {open}");
}

#[test]
fn every_operation_is_spoken_and_checked() {
    let (server, address) = server(Habits::default());
    let mix = "get=5,set=5,multiget:10=2,delete=1,incr=2,cas=2,touch=1";
    let sizes = "--keys 500 --key-size 10..60 --value-size 24..3000 --distribution zipf";
    let (status, found) = run(&format!(
        "--server {address} --mix {mix} {sizes} --fill --verify --ops 20000 --connections 7 --pipeline 5 --threads 2"
    ));
    assert!(is_done(status), "{found}");
    assert_eq!(count(&found, "answered"), 20_000);
    for wrong in ["errors", "mismatches", "stale", "unknown", "unanswered"] {
        assert_eq!(count(&found, wrong), 0, "{wrong}: {found}");
    }
    for right in ["hits", "misses", "stored"] {
        assert!(count(&found, right) > 100, "{right}: {found}");
    }
    assert!(server.items() > 800, "values and counters were filled in");
}

#[test]
fn a_fill_stores_every_key_once_and_then_none_is_missing() {
    let (server, address) = server(Habits::default());
    let (status, found) = run(&format!(
        "--server {address} --fill --keys 3001 --threads 3 --ops 3000 --distribution sequential --verify"
    ));
    assert!(is_done(status), "{found}");
    assert_eq!((server.items(), count(&found, "hits"), count(&found, "misses")), (3001, 3000, 0));
}

#[test]
fn what_is_larger_than_a_sockets_buffer_is_sent_and_received_whole() {
    let (_server, address) = server(Habits::default());
    let (status, found) = run(&format!(
        "--server {address} --mix get=1,set=1 --fill --keys 20 --value-size 400000..500000 --pipeline 8 --connections 3 --ops 120 --verify"
    ));
    assert!(is_done(status), "{found}");
    assert_eq!((count(&found, "hits") + count(&found, "stored"), count(&found, "mismatches")), (120, 0), "{found}");
}

#[test]
fn a_unix_socket_will_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    FakeServer::new(Habits::default()).listen_unix(&path);
    let (status, found) = run(&format!("--unix {} --fill --keys 100 --ops 1000 --rate 5000 --verify", path.display()));
    assert!(is_done(status), "{found}");
    assert_eq!(count(&found, "hits"), 1000);
}

#[test]
fn wrong_values_and_refusals_have_an_exit_status_of_their_own() {
    let (_server, address) = server(Habits { corrupts: true, ..Habits::default() });
    let (status, found) = run(&format!("--server {address} --fill --keys 100 --ops 100 --verify"));
    assert_eq!((status, count(&found, "mismatches")), (4, 100), "{found}");
    let (_server, address) = server(Habits { refuses: true, ..Habits::default() });
    let (status, found) = run(&format!("--server {address} --mix set --ops 100"));
    assert_eq!((status, count(&found, "errors")), (4, 100), "{found}");
    let (status, complaint) = refused(&format!("run --server {address} --fill --quiet"));
    assert_eq!(status, 1);
    assert!(complaint.contains("give the server more memory"), "{complaint}");
}

#[test]
fn an_objective_that_is_missed_has_one_too() {
    let (_server, address) = server(Habits::default());
    let common = format!("--server {address} --keys 10 --ops 1000");
    let (status, found) = run(&format!("{common} --fail-if rate<1 --fail-if p50>0us"));
    // a busy machine makes the run invalid, which is the graver verdict
    assert!(matches!(status, 2 | 3), "{status}");
    assert_eq!(found["missed"].as_array().map(Vec::len), Some(1), "{found}");
    let (status, found) = run(&format!("{common} --fail-if p99.9>100s --fail-if errors>0 --fail-if rate<1"));
    assert!(is_done(status), "{found}");
}

#[test]
fn what_cannot_be_run_is_said_in_a_sentence() {
    let (_server, address) = server(Habits::default());
    for (arguments, status, sentence) in [
        ("run".to_owned(), 64, "--server"),
        (format!("run --server {address} --lb {address}"), 64, "cannot be used with"),
        (format!("run --server {address} --fail-if p99>2"), 64, "p99>2ms"),
        (format!("run --server {address} --mix get=x"), 64, "no weight"),
        (format!("run --server {address} --verify --value-size 10"), 1, "raise --value-size"),
        (format!("run --server {address} --key-size 6"), 1, "100000 keys take 9 to 250 bytes"),
        ("run --server 127.0.0.1:1 --duration 1".to_owned(), 1, "start it, or name another server"),
        ("run --server nowhere".to_owned(), 1, "HOST:PORT"),
        (format!("search --server {address}"), 64, "--p50"),
    ] {
        let (found, complaint) = refused(&arguments);
        assert_eq!(found, status, "{arguments}: {complaint}");
        assert!(complaint.contains(sentence), "{arguments}: {complaint}");
    }
}

#[test]
fn a_server_that_closes_a_connection_ends_the_run() {
    let (_server, address) = server(Habits { closes_after: Some(10), ..Habits::default() });
    // its thread says so, and the other one stops as well: the test's patience is less than the duration
    let (_other, fine) = server(Habits::default());
    for servers in [address.to_string(), format!("{fine},{address}")] {
        let began = Instant::now();
        let (status, complaint) =
            refused(&format!("run --server {servers} --connections 2 --threads 2 --quiet --duration 600"));
        assert_eq!(status, 1);
        assert!(complaint.contains("closed a connection") && began.elapsed() < Duration::from_secs(300), "{complaint}");
    }
}

#[test]
fn a_server_that_is_not_there_keeps_the_load_from_beginning() {
    let (_server, fine) = server(Habits::default());
    let (status, complaint) = refused(&format!("run --server {fine},127.0.0.1:1 --connections 2 --threads 2"));
    assert_eq!(status, 1);
    assert!(complaint.contains("connecting to 127.0.0.1:1"), "{complaint}");
}

#[test]
fn through_a_load_balancer_a_failover_is_followed() {
    let first = FakeServer::new(Habits::default());
    let second = first.replica();
    let (at_first, at_second) = (first.listen(), second.listen());
    let balancer = FakeBalancer::new(at_first);
    let killer = {
        let balancer = balancer.clone();
        std::thread::spawn(move || {
            // the fill, and two seconds of the load
            while first.served() < 500 + 4000 {
                std::thread::sleep(Duration::from_millis(5));
            }
            first.kill();
            balancer.name(at_second);
        })
    };
    let address = balancer.listen();
    let (status, found) = run(&format!(
        "--lb {address} --mix get=1,set=1 --keys 500 --fill --verify --rate 2000 --connections 8 --duration 4"
    ));
    killer.join().expect("it found the load under way");
    assert!(is_done(status), "{found}");
    let due = count(&found, "answered") + count(&found, "unknown") + count(&found, "unanswered");
    assert!(due.abs_diff(8000) < 500, "{found}");
    assert_eq!((count(&found, "mismatches"), count(&found, "stale"), count(&found, "errors")), (0, 0, 0), "{found}");
    let marks = found["marks"].as_array().expect("a list");
    assert!(marks.iter().any(|mark| mark["label"] == format!("{at_second} leads")), "{found}");
    let intervals = found["intervals"].as_array().expect("a list");
    assert_eq!(intervals[0]["leader"], at_first.to_string());
    assert_eq!(intervals[3]["leader"], at_second.to_string());
    assert!(intervals[3]["requests"].as_u64() > Some(100), "it went on: {found}");
}

#[test]
fn a_line_a_second_and_a_table_are_printed() {
    let (_server, address) = server(Habits::default());
    let output = loadgen(&format!("run --server {address} --keys 10 --rate 1000 --duration 2"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(err.lines().filter(|line| line.trim_start().starts_with(['1', '2'])).count() >= 2, "{err}");
    assert!(out.contains("requests in") && out.contains("p99.9") && out.contains("sent after it was due"), "{out}");
    assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}'), "no colors where there is no terminal");
}

#[test]
fn a_search_finds_a_rate_that_is_kept_and_prints_each_step() {
    // one request in flight, and a server that stands still for 100 ms of each second: no rate keeps 20 ms
    let (_stalling, stalls) = server(Habits { stall_ms: 100, ..Habits::default() });
    let common = "--keys 10 --connections 1 --warm-up 0 --tries 1 --precision 50 --json";
    let output = loadgen(&format!("search --server {stalls} --p99 20ms --lowest 100 --from 200 --duration 2 {common}"));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["rate"], Value::Null, "{found}");
    assert!(matches!(output.status.code(), Some(2 | 3)), "{found}");
    // and all keep 5 s, until there is no more to be had from a single connection
    let (_quick, quick) = server(Habits::default());
    let output =
        loadgen(&format!("search --server {quick} --p50 5s --pipeline 1 --from 4000 --duration 300ms {common}"));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(found["rate"].as_f64() >= Some(100.0), "{found}");
    let steps = String::from_utf8_lossy(&output.stderr).lines().filter(|line| line.contains("kept")).count();
    assert!(steps >= 1 && found["steps"].as_array().map(Vec::len) > Some(1), "{found}");
}

#[test]
fn the_files_of_a_run_say_what_its_json_says() {
    let (_server, address) = server(Habits::default());
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let outputs = format!("--report {} --svg {} --hdr {}", path("a.html"), path("a.svg"), path("a"));
    let (status, document) = run(&format!("--server {address} --mix set --keys 10 --ops 1234 {outputs}"));
    assert!(is_done(status), "{document}");
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(count(&document, "answered"), 1234);
    assert!(read("a.html").contains("<dt>answered</dt><dd>1,234</dd>"));
    assert!(read("a.svg").contains(">of 1,234 answered requests<"));
    assert!(read("a.hgrm").contains("Total count    =         1234]"));
    assert!(read("a.hlog").lines().any(|line| !line.starts_with(['#', '"'])), "an interval");
    let (status, complaint) = refused(&format!("run --server {address} --svg {}", path("no/folder.svg")));
    assert!(status == 1 && complaint.contains("cannot be written"), "{complaint}");
}

#[test]
fn a_comparison_without_its_peers_names_their_packages_and_starts_nothing() {
    let none = "--memcached /no/memcached --redis /no/redis --etcd /no/etcd";
    let (status, complaint) = refused(&format!("compare {none}"));
    assert_eq!(status, 1, "{complaint}");
    for package in ["memcached", "redis-server", "etcd-server"] {
        assert!(complaint.contains(&format!("apt-get install {package}")), "{complaint}");
    }
    let (status, complaint) = refused(&format!("compare durable {none}"));
    assert!(status == 1 && complaint.contains("redis is not installed"), "{status}: {complaint}");
    let (status, complaint) = refused("compare requests --alone --store /no/store");
    assert!(status == 1 && complaint.contains("cargo build"), "{status}: {complaint}");
    assert_eq!(refused("durable").0, 64, "there is one way to ask for it");
}
