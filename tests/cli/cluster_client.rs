//! The client program with `--lb`: a scripted load balancer and scripted servers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

const CLIENT: &str = env!("CARGO_BIN_EXE_client");

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// An address where nothing listens.
fn nobody() -> SocketAddr {
    listener().1
}

/// Answers every `get-servers` with these.
fn balancer(servers: &[SocketAddr]) -> String {
    let (listener, address) = listener();
    let text: String = servers.iter().map(|server| format!("{server}\r\n")).chain(["end\r\n".to_owned()]).collect();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("a line");
            assert_eq!(line, "get-servers\r\n");
            (&stream).write_all(text.as_bytes()).expect("the answer");
        }
    });
    address.to_string()
}

/// Takes connections one after the other, answers the first bytes of each with `answer`, and tells what they were: nothing
/// when the client closed without a word. An empty answer closes.
fn server(answer: &'static [u8]) -> (SocketAddr, Receiver<Vec<u8>>) {
    let (listener, address) = listener();
    let (told, heard) = channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = [0; 256];
            let read = stream.read(&mut buffer).unwrap_or(0);
            if read > 0 {
                stream.write_all(answer).expect("the answer");
            }
            if told.send(buffer[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    (address, heard)
}

fn client(lb: &str, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(CLIENT)
        .args(["--lb", lb, "--timeout", "2"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("started");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("a text");
    (status.code().expect("not killed"), text(stdout), text(stderr))
}

const SET: &[u8] = b"set k 0 0 1\r\nv\r\n";

#[test]
fn the_first_server_is_asked_and_the_next_when_it_is_not_there() {
    let (first, heard) = server(b"VALUE k 0 1\r\nx\r\nEND\r\n");
    let (other, _heard) = server(b"END\r\n");
    assert_eq!(client(&balancer(&[first, other]), &["get", "k"]), (0, "x".to_owned(), String::new()));
    assert_eq!(heard.recv().expect("asked"), b"get k\r\n");
    for request in [&["get", "k"][..], &["set", "k", "v"]] {
        let (there, heard) = server(if request[0] == "get" { b"VALUE k 0 1\r\nx\r\nEND\r\n" } else { b"STORED\r\n" });
        let (status, _, said) = client(&balancer(&[nobody(), there]), request);
        assert_eq!((status, said.as_str()), (0, ""), "{request:?}: not sent is not done");
        assert!(!heard.recv().expect("asked").is_empty());
    }
}

#[test]
fn a_read_is_asked_again_and_a_write_of_unknown_outcome_is_not() {
    let (dying, heard) = server(b"");
    let (there, other) = server(b"VALUE k 0 1\r\nx\r\nEND\r\n");
    assert_eq!(client(&balancer(&[dying, there]), &["get", "k"]).0, 0);
    assert_eq!(
        (heard.recv().expect("asked"), other.recv().expect("asked")),
        (b"get k\r\n".into(), b"get k\r\n".into())
    );

    for request in [&["set", "k", "v"][..], &["incr", "k"], &["delete", "k"]] {
        let (dying, heard) = server(b"");
        let (there, other) = server(b"STORED\r\n");
        let (status, _, said) = client(&balancer(&[dying, there]), request);
        assert_eq!(status, 75, "{said}");
        assert!(said.contains("unknown"), "{said}");
        assert!(!heard.recv().expect("asked").is_empty());
        assert!(other.recv().expect("a connection that was ready").is_empty(), "{request:?} is not sent twice");
    }
}

#[test]
fn a_set_that_may_take_place_twice_is_sent_again() {
    let (dying, heard) = server(b"");
    let (there, other) = server(b"STORED\r\n");
    let (status, out, said) = client(&balancer(&[dying, there]), &["set", "k", "v", "--resend"]);
    assert_eq!((status, out.as_str()), (0, "STORED\n"), "{said}");
    assert_eq!((heard.recv().expect("asked"), other.recv().expect("asked")), (SET.to_vec(), SET.to_vec()));
    // when nobody says more, it stays unknown: that nobody leads now is no word on what was sent before
    let (dying, _heard) = server(b"");
    let (headless, _other) = server(b"SERVER_ERROR no leader: try again, or ask another server\r\n");
    let (status, _, said) = client(&balancer(&[dying, headless]), &["set", "k", "v", "--resend"]);
    assert!(status == 75 && said.contains("unknown"), "{said}");
    for arguments in [&["incr", "k"][..], &["set", "k", "v", "--add"], &["delete", "k"]] {
        let (status, _, said) = client("127.0.0.1:1", &[arguments, &["--resend"]].concat());
        assert_eq!(status, 64, "{arguments:?}: {said}");
    }
}

#[test]
fn a_server_that_did_nothing_passes_a_write_on() {
    let (headless, heard) = server(b"SERVER_ERROR no leader: try again, or ask another server\r\n");
    let (there, _other) = server(b"8\r\n");
    assert_eq!(client(&balancer(&[headless, there]), &["incr", "k"]), (0, "8\n".to_owned(), String::new()));
    assert_eq!(heard.recv().expect("asked"), b"incr k 1\r\n");
    let (few, _heard) = server(b"SERVER_ERROR too few servers: no writes until one more is back\r\n");
    let (status, _, said) = client(&balancer(&[few, few]), &["set", "k", "v"]);
    assert!(status == 75 && said.contains("too few servers"), "the others know no better: {said}");
}

#[test]
fn a_cluster_that_is_not_there_is_named() {
    let lb = nobody().to_string();
    let (status, _, said) = client(&lb, &["get", "k"]);
    assert_eq!(status, 69);
    assert!(said.contains(&lb) && said.contains("store addlb") && said.lines().count() == 1, "{said}");
    let empty = balancer(&[]);
    let (status, _, said) = client(&empty, &["get", "k"]);
    assert!(status == 69 && said.contains("knows of no server"), "{said}");
    let (memcached, _heard) = server(b"ERROR\r\n");
    let (status, _, said) = client(&memcached.to_string(), &["get", "k"]);
    assert!(status == 76 && said.contains("not a load balancer"), "{said}");
    let (status, _, said) = client(&empty, &["get", "k", "--server", "127.0.0.1:1"]);
    assert_eq!(status, 64, "one or the other: {said}");
}
