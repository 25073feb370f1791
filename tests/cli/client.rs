//! The client program against a scripted server.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const CLIENT: &str = env!("CARGO_BIN_EXE_client");

/// A server for one connection, and the thread that plays it.
struct Scripted<T> {
    address: String,
    played: JoinHandle<T>,
}

fn scripted<T: Send + 'static>(play: impl FnOnce(TcpStream) -> T + Send + 'static) -> Scripted<T> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let played = thread::spawn(move || play(listener.accept().expect("a client").0));
    Scripted { address, played }
}

/// Expects exactly these bytes and answers, one byte at a time when `trickle` is set.
fn answering(request: &'static [u8], answer: &'static [u8], trickle: bool) -> Scripted<()> {
    scripted(move |mut stream| {
        let mut got = vec![0; request.len()];
        stream.read_exact(&mut got).expect("the request");
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(request));
        for part in answer.chunks(if trickle { 1 } else { answer.len() }) {
            stream.write_all(part).expect("the answer");
        }
        assert_eq!(stream.read(&mut [0]).expect("the end"), 0, "the client sends no more");
    })
}

fn client(server: &str, arguments: &[&str]) -> Output {
    Command::new(CLIENT).args(["--server", server]).args(arguments).stdin(Stdio::null()).output().expect("started")
}

fn status(output: &Output) -> i32 {
    output.status.code().expect("not killed")
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn exchange(arguments: &[&str], request: &'static [u8], answer: &'static [u8], expected: (i32, &[u8])) -> Output {
    for trickle in [false, true] {
        let server = answering(request, answer, trickle);
        let output = client(&server.address, arguments);
        server.played.join().expect("the script");
        assert_eq!((status(&output), &output.stdout[..]), expected, "{}", complaint(&output));
        assert_eq!(output.stderr.is_empty(), expected.0 == 0);
        if trickle {
            return output;
        }
    }
    unreachable!("the loop returns")
}

#[test]
fn values_come_and_go_byte_for_byte() {
    exchange(&["get", "k"], b"get k\r\n", b"VALUE k 0 6\r\n\x00\xff\r\n\n\x80\r\nEND\r\n", (0, b"\x00\xff\r\n\n\x80"));
    let server = answering(b"set k 3 60 5\r\n\x00\r\n\xffz\r\n", b"STORED\r\n", false);
    let mut program = Command::new(CLIENT)
        .args(["set", "k", "-", "--flags", "3", "--ttl", "60", "--server", &server.address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    program.stdin.take().expect("piped").write_all(b"\x00\r\n\xffz").expect("the value");
    let output = program.wait_with_output().expect("ended");
    assert_eq!((status(&output), &output.stdout[..]), (0, &b"STORED\n"[..]));
    server.played.join().expect("the script");
}

#[test]
fn commands_are_sent_and_their_answers_shown() {
    exchange(&["set", "k", "-5"], b"set k 0 0 2\r\n-5\r\n", b"STORED\r\n", (0, b"STORED\n"));
    exchange(&["set", "k", "v", "--add"], b"add k 0 0 1\r\nv\r\n", b"NOT_STORED\r\n", (1, b""));
    exchange(&["set", "k", "v", "--replace"], b"replace k 0 0 1\r\nv\r\n", b"STORED\r\n", (0, b"STORED\n"));
    exchange(&["set", "k", "v", "--cas", "12"], b"cas k 0 0 1 12\r\nv\r\n", b"EXISTS\r\n", (1, b""));
    exchange(&["delete", "k"], b"delete k\r\n", b"DELETED\r\n", (0, b"DELETED\n"));
    exchange(&["incr", "k"], b"incr k 1\r\n", b"8\r\n", (0, b"8\n"));
    exchange(&["decr", "k", "3"], b"decr k 3\r\n", b"5\r\n", (0, b"5\n"));
    exchange(&["touch", "k", "9"], b"touch k 9\r\n", b"TOUCHED\r\n", (0, b"TOUCHED\n"));
    exchange(&["stats", "items"], b"stats items\r\n", b"STAT a 1\r\nSTAT b x y\r\nEND\r\n", (0, b"a 1\nb x y\n"));
    exchange(&["version"], b"version\r\n", b"VERSION 1.6.45\r\n", (0, b"1.6.45\n"));
    exchange(
        &["-o", "json", "get", "a", "b"],
        b"gets a b\r\n",
        b"VALUE a 1 1 7\r\nx\r\nEND\r\n",
        (1, b"{\"items\":[{\"key\":\"a\",\"value\":\"x\",\"flags\":1,\"cas\":7}],\"missing\":[{\"key\":\"b\"}]}\n"),
    );
}

#[test]
fn a_miss_and_a_refusal_have_their_statuses() {
    let output = exchange(&["get", "k"], b"get k\r\n", b"END\r\n", (1, b""));
    assert_eq!(complaint(&output), "client: not found: k\n");
    exchange(&["delete", "k"], b"delete k\r\n", b"NOT_FOUND\r\n", (1, b""));
    exchange(&["incr", "k"], b"incr k 1\r\n", b"CLIENT_ERROR cannot increment\r\n", (65, b""));
    exchange(&["set", "k", "v"], b"set k 0 0 1\r\nv\r\n", b"SERVER_ERROR out of memory\r\n", (75, b""));
}

#[test]
fn a_large_value_passes_both_ways() {
    let value: Vec<u8> = (0..3_000_000u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let sent = value.clone();
    let server = scripted(move |mut stream| {
        let mut got = vec![0; b"set k 0 0 3000000\r\n".len() + sent.len() + 2];
        stream.read_exact(&mut got).expect("the request");
        assert!(got.starts_with(b"set k 0 0 3000000\r\n") && got.ends_with(b"\r\n"));
        stream.write_all(b"STORED\r\n").expect("the answer");
        assert!(got[b"set k 0 0 3000000\r\n".len()..][..sent.len()] == sent[..], "the value as it was");
    });
    let mut program = Command::new(CLIENT)
        .args(["set", "k", "-", "--server", &server.address])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    program.stdin.take().expect("piped").write_all(&value).expect("the value");
    assert_eq!(program.wait().expect("ended").code(), Some(0));
    server.played.join().expect("the script");

    let sent = value.clone();
    let server = scripted(move |mut stream| {
        stream.read_exact(&mut [0; 7]).expect("the request");
        stream.write_all(b"VALUE k 0 3000000\r\n").expect("sent");
        stream.write_all(&sent).expect("sent");
        stream.write_all(b"\r\nEND\r\n").expect("sent");
    });
    let output = client(&server.address, &["get", "k"]);
    assert_eq!(status(&output), 0);
    assert!(output.stdout == value, "the value as it was");
    server.played.join().expect("the script");
}

#[test]
fn a_name_is_resolved_and_its_addresses_tried_in_turn() {
    // the server is on the IPv4 address alone; where the name stands for an IPv6 one too, that one refuses
    let server = answering(b"version\r\n", b"VERSION 1.6.45\r\n", false);
    let (_, port) = server.address.rsplit_once(':').expect("a port");
    let output = client(&format!("localhost:{port}"), &["version"]);
    assert_eq!((status(&output), &output.stdout[..]), (0, &b"1.6.45\n"[..]), "{}", complaint(&output));
    server.played.join().expect("the script");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_complaint() {
    let server = scripted(|mut stream| {
        stream.read_exact(&mut [0; 7]).expect("the request");
        let value = vec![b'x'; 1 << 20];
        stream.write_all(b"VALUE k 0 1048576\r\n").expect("sent");
        stream.write_all(&value).expect("sent");
        stream.write_all(b"\r\nEND\r\n").expect("sent");
    });
    let mut program = Command::new(CLIENT)
        .args(["--server", &server.address, "get", "k"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    drop(program.stdout.take());
    let output = program.wait_with_output().expect("ended");
    assert_eq!((status(&output), complaint(&output).as_str()), (74, ""));
    server.played.join().expect("the script");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let output = client(&address, &["get", "k"]);
    assert_eq!(status(&output), 69);
    let said = complaint(&output);
    assert!(said.contains(&address) && said.contains("store addsrv") && said.lines().count() == 1, "{said}");
    let output = client("no-such-host.invalid:1", &["get", "k"]);
    assert_eq!(status(&output), 69);
    assert!(complaint(&output).contains("no-such-host.invalid:1"));
}

#[test]
fn a_silent_server_is_given_up() {
    for (arguments, words) in [
        (&["--timeout", "0.2", "get", "k"][..], "try again"),
        (&["--timeout", "0.2", "set", "k", "v"], "whether the write took place is unknown"),
    ] {
        let server = scripted(|mut stream| {
            // reads all, says a beginning, and then nothing
            stream.write_all(b"ST").expect("a beginning");
            while stream.read(&mut [0; 64]).is_ok_and(|received| received > 0) {}
        });
        let begun = Instant::now();
        let output = client(&server.address, arguments);
        assert!(begun.elapsed() < Duration::from_secs(4), "the time-out holds");
        assert_eq!(status(&output), 75);
        let said = complaint(&output);
        assert!(said.contains("within 0.2 s") && said.contains(words), "{said}");
        server.played.join().expect("the script");
    }
}

#[test]
fn a_connection_that_ends_early_leaves_a_write_unknown() {
    let server = scripted(|mut stream| stream.read_exact(&mut [0; 16]).expect("the request"));
    let output = client(&server.address, &["set", "k", "v"]);
    assert_eq!(status(&output), 75);
    assert!(complaint(&output).contains("unknown"), "{}", complaint(&output));
    server.played.join().expect("the script");
}

#[test]
fn another_protocol_is_recognised() {
    let output = exchange(&["get", "k"], b"get k\r\n", b"HTTP/1.1 400 Bad Request\r\n", (76, b""));
    assert!(complaint(&output).contains("not the memcached protocol"));
}

#[test]
fn a_wrong_command_line_is_64_and_nothing_is_sent() {
    // nothing listens there: an attempt to connect would be 69
    let nobody = "127.0.0.1:1";
    for arguments in [
        &["get"][..],
        &["get", "a b"],
        &["get", ""],
        &["get", &"k".repeat(251)],
        &["set", "k"],
        &["set", "k", "v", "--add", "--replace"],
        &["set", "k", "v", "--ttl", "-1"],
        &["set", "k", "v", "--ttl", "9999999999"],
        &["incr", "k", "-1"],
        &["touch", "k"],
        &["stats", "a b"],
        &["--timeout", "0", "version"],
        &["no-such-command"],
        &[],
    ] {
        let output = client(nobody, arguments);
        assert_eq!(status(&output), 64, "{arguments:?}: {}", complaint(&output));
        assert!(!output.stderr.is_empty());
    }
    assert_eq!(status(&client(nobody, &["--help"])), 0);
}

#[test]
fn a_kernel_that_refuses_a_ring_is_said_so() {
    // one descriptor beside the standard streams: the libraries are loaded through it, a ring needs more
    let script = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; ulimit -n 4; exec \"$0\" --server 127.0.0.1:1 version";
    let output = Command::new("sh").args(["-c", script, CLIENT]).output().expect("a shell");
    let said = complaint(&output);
    assert_eq!(status(&output), 71, "{said}");
    assert!(said.contains("io_uring") && said.contains("ulimit -n"), "{said}");
}
