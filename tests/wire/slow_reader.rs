//! Clients that do not read what they ask for: the server's memory stays bounded, others are served, nothing is lost.

use std::thread;
use std::time::{Duration, Instant};

use crate::server::{Launch, Server, Shape};

/// What a server may keep for one client that does not read. The kernel's own socket buffers are not in it.
const GROWTH_MAX: u64 = 24 << 20;

fn server(shape: Shape) -> Server {
    Launch::new(shape).options(["-m", "64"]).start()
}

/// For a while others are served without delay, and memory stays where it was.
fn others_are_served(server: &Server, before: u64) {
    let mut other = server.connect();
    let until = Instant::now() + Duration::from_millis(300);
    let mut number = 0;
    while Instant::now() < until {
        number += 1;
        let since = Instant::now();
        other.ask(
            format!("set other 0 0 8\r\n{number:08}\r\nget other\r\n"),
            format!("STORED\r\nVALUE other 0 8\r\n{number:08}\r\nEND\r\n"),
        );
        assert!(since.elapsed() < Duration::from_secs(1), "another client waited {:?}", since.elapsed());
        let grown = server.resident_bytes().saturating_sub(before);
        assert!(grown <= GROWTH_MAX, "the server grew by {} MiB", grown >> 20);
    }
}

fn large_values(shape: Shape) {
    if !shape.is_possible() {
        return;
    }
    let server = server(shape);
    let length = 1_000_000;
    let value = "v".repeat(length);
    let answer = format!("VALUE large 0 {length}\r\n{value}\r\nEND\r\n");
    let mut slow = server.connect();
    slow.ask(format!("set large 0 0 {length}\r\n{value}\r\n"), "STORED\r\n");
    slow.ask("get large\r\n", &answer);
    let before = server.resident_bytes();
    let gets = 220;
    slow.send("get large\r\n".repeat(gets) + "version\r\n");
    others_are_served(&server, before);
    for _ in 0..gets {
        slow.expect(&answer);
    }
    slow.expect("VERSION ");
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown <= GROWTH_MAX, "the server grew by {} MiB", grown >> 20);
}

#[test]
fn gets_of_large_values_without_a_log() {
    large_values(Shape::NoLog);
}

#[test]
fn gets_of_large_values_with_a_log() {
    large_values(Shape::LogAlways);
}

#[test]
fn gets_of_large_values_by_a_unix_socket() {
    large_values(Shape::UnixSocket);
}

/// Small commands whose answers are not read: at some point the server must stop reading as well.
fn flood(shape: Shape, commands: &str, answers: &str, count: usize) {
    if !shape.is_possible() {
        return;
    }
    let server = server(shape);
    let mut slow = server.connect();
    let length = 1000;
    let value = "v".repeat(length);
    slow.ask(format!("set k 0 0 {length}\r\n{value}\r\n"), "STORED\r\n");
    let answers = answers.replace("<value>", &format!("VALUE k 0 {length}\r\n{value}\r\nEND\r\n"));
    let before = server.resident_bytes();
    let mut sender = slow.sender();
    let chunk = commands.repeat(100);
    thread::scope(|scope| {
        let sending = scope.spawn(move || (0..count).try_for_each(|_| sender.send(chunk.as_bytes())));
        others_are_served(&server, before);
        let expected = answers.repeat(100);
        for _ in 0..count {
            slow.expect(&expected);
        }
        sending.join().expect("no panic").expect("everything is taken in the end");
    });
}

#[test]
fn a_flood_of_gets() {
    flood(Shape::Threads, "get k\r\n", "<value>", 1000);
}

#[test]
fn a_flood_of_writes_without_a_log() {
    flood(Shape::Threads, "append absent 0 0 1\r\na\r\ntouch k 0\r\n", "NOT_STORED\r\nTOUCHED\r\n", 5000);
}

#[test]
fn a_flood_of_reads_and_writes_with_a_log() {
    flood(Shape::LogAlways, "get k\r\nset l 0 0 1\r\na\r\nbogus\r\n", "<value>STORED\r\nERROR\r\n", 400);
}

/// Clients come in waves and go away while the server still has much to tell them: what was kept for one wave is there for the
/// next, however many there are.
#[test]
fn a_client_that_never_reads_can_be_left_alone() {
    let server = server(Shape::Threads);
    let mut others = server.connect();
    let value = "v".repeat(100_000);
    others.ask(format!("set k 0 0 100000\r\n{value}\r\n"), "STORED\r\n");
    let (before, open) = (server.resident_bytes(), others.stat("curr_connections"));
    for _ in 0..20 {
        for _ in 0..8 {
            let mut gone = server.connect();
            gone.send("get k\r\n".repeat(500));
        }
        others.until_at_most("curr_connections", open);
    }
    others.ask("get k\r\n", format!("VALUE k 0 100000\r\n{value}\r\nEND\r\n"));
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown <= GROWTH_MAX, "the server grew by {} MiB", grown >> 20);
}
