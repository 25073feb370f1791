//! The server as a process: what it refuses to start with and how it says so, how it ends, what it makes of a log that
//! was damaged.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use rustix::process::Signal;

use crate::server::{Launch, Server, Shape, is_ours, log_file};

// sysexits
const USAGE: i32 = 64;
const DATA: i32 = 65;
const UNAVAILABLE: i32 = 69;
const CANNOT_CREATE: i32 = 73;
const TRY_LATER: i32 = 75;

/// The server refuses with this code, and names these things.
#[track_caller]
fn refuses(launch: Launch, code: i32, names: &[&str]) {
    if !is_ours() {
        return;
    }
    let (status, said) = launch.refused();
    assert!(status == code, "exit code {status} instead of {code}; it said:\n{said}");
    for name in names {
        assert!(said.contains(name), "it does not name `{name}`:\n{said}");
    }
    assert!(!said.contains("panicked"), "a refusal is no panic:\n{said}");
}

#[test]
fn an_option_that_makes_no_sense() {
    for (options, name) in [
        (&["--no-such-option"][..], "--no-such-option"),
        (&["-I", "2000m"], "2000m"),
        (&["-I", "100"], "100"),
        (&["-t", "0"], "0"),
        (&["-c", "none"], "none"),
        (&["-o", "no_such_word"], "no_such_word"),
        (&["-m", "much"], "much"),
    ] {
        refuses(Launch::new(Shape::NoLog).options(options.iter().copied()), USAGE, &[name]);
    }
    refuses(Launch::new(Shape::NamedMemcached).options(["-o", "no_such_word"]), USAGE, &["no_such_word"]);
}

#[test]
fn a_port_that_another_program_has() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    refuses(Launch::new(Shape::NoLog).port(port), UNAVAILABLE, &[&port.to_string()]);
    refuses(Launch::new(Shape::LogAlways).port(port), UNAVAILABLE, &[&port.to_string()]);
}

#[test]
fn a_port_that_another_server_of_ours_has() {
    let first = Server::start(Shape::Threads);
    let port = first.port();
    refuses(Launch::new(Shape::Threads).port(port), UNAVAILABLE, &[&port.to_string()]);
    first.connect().ask("get k\r\n", "END\r\n");
}

/// The kernel ends the rings of a killed process some milliseconds after the process, and with them its listeners; whoever
/// starts a server again at once must not be told that the port is taken.
#[test]
fn a_port_is_free_again_at_once() {
    let mut first = Server::start(Shape::Threads);
    let port = first.port();
    let mut client = first.connect();
    client.ask("get k\r\n", "END\r\n");
    first.kill();
    let second = Launch::new(Shape::Threads).port(port).start();
    second.connect().ask("get k\r\n", "END\r\n");
}

#[test]
fn a_port_is_anybodys_after_an_orderly_stop() {
    let mut server = Server::start(Shape::Threads);
    let port = server.port();
    let mut client = server.connect();
    client.ask("get k\r\n", "END\r\n");
    server.signal(Signal::TERM);
    assert_eq!(server.exit().code(), Some(0));
    // by somebody who tries once
    TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
}

#[test]
fn an_address_that_this_machine_does_not_have() {
    // it is kept for documentation
    refuses(Launch::new(Shape::Threads).listen("192.0.2.1"), UNAVAILABLE, &["192.0.2.1"]);
}

#[test]
fn a_data_directory_that_cannot_be() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let below = file.path().join("below");
    let name = file.path().to_str().expect("a plain name").to_owned();
    refuses(Launch::new(Shape::LogAlways).data(&below), CANNOT_CREATE, &[&name]);
    refuses(Launch::new(Shape::LogAlways).data(file.path()), CANNOT_CREATE, &[&name]);
}

#[test]
fn a_data_directory_that_another_server_has() {
    if !is_ours() {
        return;
    }
    let data = tempfile::tempdir().expect("a directory");
    let mut first = Launch::new(Shape::LogAlways).data(data.path()).start();
    first.connect().ask("set k 0 0 1\r\na\r\n", "STORED\r\n");
    refuses(Launch::new(Shape::LogAlways).data(data.path()), TRY_LATER, &[data.path().to_str().expect("a plain name")]);
    first.connect().ask("set k 0 0 1\r\nb\r\n", "STORED\r\n");
    // the lock ends with its owner, however that ends
    first.kill();
    let second = Launch::new(Shape::LogAlways).data(data.path()).start();
    second.connect().ask("get k\r\n", "VALUE k 0 1\r\nb\r\nEND\r\n");
}

#[test]
fn it_says_its_version_as_memcached_does() {
    let (code, said) = Launch::new(Shape::NamedMemcached).options(["-V"]).output();
    assert!(code == 0 && said.starts_with("memcached 1.6.45"), "{code}: {said}");
    let (code, said) = Launch::new(Shape::NamedMemcached).options(["-h"]).output();
    assert!(code == 0 && said.starts_with("memcached 1.6.45\n"), "{code}: {said}");
}

#[test]
fn signals_to_stop_end_it_with_0() {
    for shape in
        [Shape::NoLog, Shape::Threads, Shape::LogAlways, Shape::UnixSocket].into_iter().filter(|s| s.is_possible())
    {
        for signal in [Signal::TERM, Signal::INT, Signal::USR1] {
            let mut server = Server::start(shape);
            let mut client = server.connect();
            client.ask("set k 0 0 1\r\na\r\n", "STORED\r\n");
            server.signal(signal);
            let status = server.exit();
            assert!(status.code() == Some(0), "{signal:?} of {shape:?}: {status:?}\n{}", server.said());
            client.closed();
        }
    }
}

/// Everything the server has received when SIGTERM comes is answered: the first answer shows that the rest, sent with
/// it and smaller than one receive buffer, is there.
#[test]
fn sigterm_answers_what_was_received() {
    if !is_ours() {
        return;
    }
    for shape in [Shape::NoLog, Shape::Threads, Shape::LogAlways, Shape::LogNever] {
        for _ in 0..5 {
            let data = tempfile::tempdir().expect("a directory");
            let mut server = Launch::new(shape).data(data.path()).start();
            let mut client = server.connect();
            client.send((0..400).map(|i| format!("set {i} 0 0 4\r\n{i:04}\r\n")).collect::<String>());
            client.expect("STORED\r\n");
            server.terminate();
            client.expect("STORED\r\n".repeat(399));
            client.closed();
        }
    }
}

/// Under load the answers are a beginning of what was asked, ended between two of them, and all of it is kept.
#[test]
fn sigterm_under_load_loses_nothing_acknowledged() {
    if !is_ours() {
        return;
    }
    for shape in [Shape::LogAlways, Shape::LogNever, Shape::LogInterval] {
        let data = tempfile::tempdir().expect("a directory");
        let mut server = Launch::new(shape).data(data.path()).start();
        // the load has begun when every connection has had an answer
        let begun = &Barrier::new(5);
        let answered: Vec<usize> = std::thread::scope(|scope| {
            let loading: Vec<_> = (0..4)
                .map(|number| {
                    let mut client = server.connect();
                    scope.spawn(move || {
                        let mut sender = client.sender();
                        let sending = std::thread::spawn(move || {
                            // ends by an error, when the server has gone
                            (0..200_000).try_for_each(|i| {
                                sender.send(format!("set {number}:{i} 0 0 6\r\n{i:06}\r\n").as_bytes())
                            })
                        });
                        let mut answered = 0;
                        while let Ok(Some(line)) = client.try_line() {
                            assert_eq!(line, b"STORED");
                            answered += 1;
                            if answered == 1 {
                                begun.wait();
                            }
                        }
                        let _ = sending.join().expect("no panic");
                        answered
                    })
                })
                .collect();
            begun.wait();
            std::thread::sleep(Duration::from_millis(100));
            server.terminate();
            loading.into_iter().map(|load| load.join().expect("no panic")).collect()
        });
        let server = Launch::new(shape).data(data.path()).start();
        let mut client = server.connect();
        for (number, count) in answered.into_iter().enumerate() {
            for first in (0..count).step_by(500) {
                let asked = first..count.min(first + 500);
                let keys: String = asked.clone().map(|i| format!(" {number}:{i}")).collect();
                let values: String = asked.map(|i| format!("VALUE {number}:{i} 0 6\r\n{i:06}\r\n")).collect();
                client.ask(format!("get{keys}\r\n"), format!("{values}END\r\n"));
            }
        }
    }
}

/// A directory with 60 sets in frames of their own, and how its server ended.
fn written(data: &Path, killed: bool) {
    let mut server = Launch::new(Shape::LogAlways).data(data).start();
    let mut client = server.connect();
    for i in 0..60 {
        client.ask(format!("set key:{i} 0 0 100\r\n{i:0100}\r\n"), "STORED\r\n");
    }
    if killed {
        server.kill();
    } else {
        server.terminate();
    }
}

#[track_caller]
fn has_the_first(data: &Path, count: usize) {
    let server = Launch::new(Shape::LogAlways).data(data).start();
    let mut client = server.connect();
    for i in 0..count {
        client.ask(format!("get key:{i}\r\n"), format!("VALUE key:{i} 0 100\r\n{i:0100}\r\nEND\r\n"));
    }
    for i in count..60 {
        client.ask(format!("get key:{i}\r\n"), "END\r\n");
    }
}

#[test]
fn a_torn_tail_is_cut() {
    if !is_ours() {
        return;
    }
    for tail in [&[0; 4096][..], &[0xff; 37], b"x", &[0; 1]] {
        for killed in [false, true] {
            let data = tempfile::tempdir().expect("a directory");
            written(data.path(), killed);
            let mut log = OpenOptions::new().append(true).open(log_file(data.path())).expect("the log");
            log.write_all(tail).expect("space");
            has_the_first(data.path(), 60);
            let server = Launch::new(Shape::LogAlways).data(data.path()).start();
            server.connect().ask("set more 0 0 1\r\na\r\n", "STORED\r\n");
            drop(server);
            let server = Launch::new(Shape::LogAlways).data(data.path()).start();
            server.connect().ask("get more\r\n", "VALUE more 0 1\r\na\r\nEND\r\n");
        }
    }
}

#[test]
fn a_frame_that_was_half_written_when_the_server_died_is_cut() {
    if !is_ours() {
        return;
    }
    for (missing, room) in [1, 3, 50].into_iter().flat_map(|missing| [(missing, false), (missing, true)]) {
        let data = tempfile::tempdir().expect("a directory");
        written(data.path(), true);
        let path = log_file(data.path());
        let mut bytes = fs::read(&path).expect("the log");
        let end = end_of_frames(&bytes);
        bytes[end - missing..].fill(0);
        if !room {
            bytes.truncate(end - missing);
        }
        fs::write(&path, &bytes).expect("space");
        has_the_first(data.path(), 59);
    }
}

/// Behind it there is room at most; the frames here end with text.
fn end_of_frames(log: &[u8]) -> usize {
    log.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
}

/// A bad checksum below the durable watermark is corruption (D1): the server says where, and does not start.
#[test]
fn a_flipped_bit_in_the_middle_is_refused() {
    if !is_ours() {
        return;
    }
    for (part, killed) in [(2, false), (2, true), (3, true)] {
        let data = tempfile::tempdir().expect("a directory");
        written(data.path(), killed);
        let path = log_file(data.path());
        let mut bytes = fs::read(&path).expect("the log");
        let at = end_of_frames(&bytes) / part;
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).expect("space");
        let (code, said) = Launch::new(Shape::LogAlways).data(data.path()).refused();
        assert!(code == DATA, "exit code {code}; it said:\n{said}");
        let name = path.file_name().expect("a name").to_str().expect("a plain name");
        assert!(said.contains(name), "it does not name {name}:\n{said}");
        // where the bad frame begins; a frame here is less than 400 bytes
        let numbers = said.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse::<usize>().ok());
        assert!(numbers.into_iter().any(|n| n <= at && n + 400 > at), "it does not name an offset near {at}:\n{said}");
        assert!(fs::read(&path).expect("the log") == bytes, "a refused log is left as it is");
    }
}

#[test]
fn locked_memory_is_what_was_touched_and_not_what_is_reserved() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock);
    if !is_ours() || limit.current.is_some() {
        println!("memcached locks what it likes, and we may lock no more than {limit:?}");
        return;
    }
    let server = Launch::new(Shape::NoLog).options(["-k"]).start();
    server.connect().ask("set k 0 0 1\r\n1\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\n1\r\nEND\r\n");
    assert!(server.resident_bytes() < 200 << 20, "{} MiB are resident", server.resident_bytes() >> 20);
}
