//! A disk that takes no more (D4): writes are refused, reads go on, nothing acknowledged is lost, and with space again
//! everything works again. The full disk is a limit of no bytes on the size of the process's files, as a larger one would
//! leave room in another file of the log. It holds for the file that standard error goes to as well.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::server::{Launch, Shape, is_ours};

const REFUSED: &str = "SERVER_ERROR out of memory storing object";
const LENGTH: usize = 3000;

/// What the server has acknowledged, by key.
type Acknowledged = BTreeMap<usize, usize>;

fn value(key: usize, version: usize) -> String {
    format!("{key} {version} {}", "v".repeat(LENGTH - format!("{key} {version} ").len()))
}

fn set(key: usize, version: usize) -> String {
    format!("set key:{key} {version} 0 {LENGTH}\r\n{}\r\n", value(key, version))
}

/// Sets in one write; how many of them were refused.
fn sets(client: &mut Client, keys: std::ops::Range<usize>, version: usize, acknowledged: &mut Acknowledged) -> usize {
    client.send(keys.clone().map(|key| set(key, version)).collect::<String>());
    let mut refused = 0;
    for key in keys {
        match client.line().as_str() {
            "STORED" => {
                acknowledged.insert(key, version);
            }
            REFUSED => refused += 1,
            other => panic!("a set is answered `{other}`"),
        }
    }
    refused
}

fn all_there(client: &mut Client, acknowledged: &Acknowledged, keys: usize) {
    for key in 0..keys {
        let expect = match acknowledged.get(&key) {
            Some(&version) => format!("VALUE key:{key} {version} {LENGTH}\r\n{}\r\nEND\r\n", value(key, version)),
            None => "END\r\n".to_owned(),
        };
        client.ask(format!("get key:{key}\r\n"), expect);
    }
}

fn full(shape: Shape) {
    if !is_ours() {
        return;
    }
    let data = tempfile::tempdir().expect("a directory");
    let mut server = Launch::new(shape).data(data.path()).start();
    let mut client = server.connect();
    let mut acknowledged = Acknowledged::new();
    assert_eq!(sets(&mut client, 0..20, 1, &mut acknowledged), 0);
    client.ask("set count 0 0 1\r\n5\r\n", "STORED\r\n");
    for round in 0..3 {
        let mut refused = 0;
        for batch in 0..20 {
            // from some moment in the middle of this batch on
            let half = (batch == 5).then(|| client.send(set(0, 7)));
            if batch >= 5 {
                server.limit_file_bytes(Some(0));
            }
            if half.is_some() {
                match client.line().as_str() {
                    "STORED" => drop(acknowledged.insert(0, 7)),
                    line => assert_eq!(line, REFUSED),
                }
            }
            refused += sets(&mut client, 0..60, 100 * round + batch + 10, &mut acknowledged);
        }
        assert_eq!(refused, 900, "there is no room for one of them");
        all_there(&mut client, &acknowledged, 60);
        for command in ["delete key:0\r\n", "incr count 1\r\n", "append key:0 0 0 1\r\nx\r\n", "flush_all\r\n"] {
            client.send(command);
            let line = client.line();
            assert!(line.starts_with("SERVER_ERROR "), "`{}` is answered `{line}`", command.trim_end());
        }
        all_there(&mut client, &acknowledged, 60);
        client.ask("get count\r\n", "VALUE count 0 1\r\n5\r\nEND\r\n");
        server.limit_file_bytes(None);
        let refused = sets(&mut client, 0..5, 100 * round + 90, &mut acknowledged);
        assert_eq!(refused, 0, "with space again sets are refused");
        if round == 1 {
            server.kill();
            server = Launch::new(shape).data(data.path()).start();
            client = server.connect();
            all_there(&mut client, &acknowledged, 60);
        }
    }
    server.limit_file_bytes(Some(0));
    assert_eq!(sets(&mut client, 0..60, 999, &mut acknowledged), 60);
    // ended while the disk is full
    server.kill();
    let server = Launch::new(shape).data(data.path()).start();
    all_there(&mut server.connect(), &acknowledged, 60);
}

#[test]
fn a_full_disk_with_fsync_always() {
    full(Shape::LogAlways);
}

#[test]
fn a_full_disk_with_fsync_never() {
    full(Shape::LogNever);
}

/// A full cache makes room by evictions, which are entries of the log: on a full disk they cannot be made, and sets waited
/// for them without an answer.
#[test]
fn a_full_disk_under_a_full_cache() {
    if !is_ours() {
        return;
    }
    let server = Launch::new(Shape::LogNever).options(["-m", "16", "--evict"]).start();
    let mut client = server.connect();
    let value = "v".repeat(10_000);
    let set = |client: &mut Client, key: usize| {
        client.send(format!("set {key} 0 0 10000\r\n{value}\r\n"));
        client.line()
    };
    for key in 0..3000 {
        assert_eq!(set(&mut client, key), "STORED");
    }
    server.limit_file_bytes(Some(0));
    for key in 0..300 {
        assert_eq!(set(&mut client, key), REFUSED);
    }
    server.limit_file_bytes(None);
    let deadline = Instant::now() + Duration::from_secs(5);
    while set(&mut client, 1) != "STORED" {
        assert!(Instant::now() < deadline, "with space again sets are refused");
        thread::sleep(Duration::from_millis(10));
    }
    for key in 0..3000 {
        assert_eq!(set(&mut client, key), "STORED");
    }
}
