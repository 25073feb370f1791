//! Connections as such: how many, by which socket, how they end.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::client::{Address, Client};
use crate::server::{Launch, Server, Shape, is_ours};

#[test]
fn past_the_limit_a_connection_is_told_so_and_closed() {
    let server = Launch::new(Shape::Threads).options(["-c", "100"]).start();
    let mut kept = Vec::new();
    let refused = loop {
        let mut client = server.connect();
        client.send("version\r\n");
        match client.line().as_str() {
            "VERSION 1.6.45" => kept.push(client),
            "ERROR Too many open connections" => break client,
            other => panic!("{other}"),
        }
        assert!(kept.len() <= 100, "-c 100 keeps {}", kept.len());
    };
    assert!(kept.len() >= 50, "-c 100 keeps only {}", kept.len());
    { refused }.closed();
    for client in &mut kept {
        client.ask("get k\r\n", "END\r\n");
    }
    let mut one = kept.pop().expect("there are some");
    assert!(one.stat("rejected_connections") >= 1);
    // a place that becomes free is given again, as soon as the server has seen the close
    one.send("quit\r\n");
    one.closed();
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let mut client = server.connect();
        client.send("version\r\n");
        if client.line() == "VERSION 1.6.45" {
            break;
        }
        assert!(Instant::now() < deadline, "the place stays taken");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn hundreds_of_connections_are_served_at_once() {
    let server = Server::start(Shape::Threads);
    let mut clients: Vec<Client> = (0..400).map(|_| server.connect()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        client.send(format!("set key:{i} {i} 0 4\r\n{i:04}\r\nget key:{i}\r\n"));
    }
    for (i, client) in clients.iter_mut().enumerate() {
        client.expect(format!("STORED\r\nVALUE key:{i} {i} 4\r\n{i:04}\r\nEND\r\n"));
    }
    let open = clients[0].stat("curr_connections");
    assert!((400..450).contains(&open), "{open} connections");
}

#[test]
fn connections_that_come_and_go_leave_nothing() {
    let server = Server::start(Shape::Threads);
    let mut watcher = server.connect();
    let before = watcher.stat("curr_connections");
    for i in 0..1000 {
        let mut client = server.connect();
        match i % 4 {
            0 => client.ask("get k\r\n", "END\r\n"),
            1 => client.send("set k 0 0 100\r\nabc"),
            2 => client.send("get k\r\n".repeat(100)),
            _ => {}
        }
    }
    watcher.until_at_most("curr_connections", before);
    assert!(watcher.stat("total_connections") >= 1000);
}

#[test]
fn a_silent_connection_is_closed_after_the_idle_timeout() {
    let server = Launch::new(Shape::Threads).options(["-o", "idle_timeout=1"]).start();
    let mut silent = server.connect();
    silent.ask("get k\r\n", "END\r\n");
    let since = Instant::now();
    silent.closed();
    let waited = since.elapsed();
    assert!(waited < Duration::from_secs(8), "closed after {waited:?}");
}

#[test]
fn a_unix_socket_has_the_permissions_of_its_mask() {
    let server = Launch::new(Shape::UnixSocket).options(["-a", "755"]).start();
    let Address::Unix(path) = server.address() else { panic!("a shape with a path") };
    let mut client = server.connect();
    client.ask("set k 0 0 1\r\na\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\na\r\nEND\r\n");
    let mode = std::fs::metadata(path).expect("the socket is a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn shutdown_ends_the_process_with_0() {
    for (shape, mode) in
        [(Shape::Threads, "shutdown"), (Shape::NoLog, "shutdown graceful"), (Shape::LogAlways, "shutdown")]
    {
        if !shape.is_possible() {
            continue;
        }
        let mut server = Launch::new(shape).options(["-A"]).start();
        let mut client = server.connect();
        client.ask("set k 0 0 1\r\na\r\n", "STORED\r\n");
        client.send(format!("{mode}\r\n"));
        client.closed();
        let status = server.exit();
        assert!(status.code() == Some(0), "{mode}: {status:?}");
    }
}

#[test]
fn the_process_id_is_written_where_asked() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("pid");
    let server = Launch::new(Shape::NoLog).options(["-P", path.to_str().expect("a plain name")]).start();
    // memcached listens first and writes it then
    let deadline = Instant::now() + Duration::from_secs(5);
    let told: u64 = loop {
        if let Some(told) = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()) {
            break told;
        }
        assert!(Instant::now() < deadline, "no process id in the file");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(told, server.connect().stat("pid"));
    if is_ours() {
        let mut server = server;
        server.terminate();
        assert!(!path.exists(), "the file goes with the process");
    }
}

#[test]
fn a_connection_ends_as_soon_as_its_last_answer_has_left() {
    let server = Server::start(Shape::NoLog);
    let began = Instant::now();
    for _ in 0..50 {
        let mut client = server.connect();
        client.send("version\r\nquit\r\n");
        client.expect("VERSION 1.6.45\r\n");
        client.closed();
    }
    assert!(began.elapsed() < Duration::from_secs(2), "50 connections took {:?}", began.elapsed());
}
