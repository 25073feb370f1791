//! What a restart on the same directory keeps, for every way to sync and every way to end.

use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::client::Client;
use crate::server::{Launch, Server, Shape, is_ours};

/// How the server that wrote the data ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Terminated,
    Killed,
}

fn ended(mut server: Server, ending: Ending) {
    match ending {
        Ending::Terminated => server.terminate(),
        Ending::Killed => server.kill(),
    }
}

fn started(shape: Shape, data: &Path) -> Server {
    Launch::new(shape).data(data).start()
}

/// Runs a check in a directory of its own for every way to sync and to end.
fn everywhere(check: impl Fn(Shape, Ending, &Path)) {
    if !is_ours() {
        return;
    }
    for shape in [Shape::LogAlways, Shape::LogInterval, Shape::LogNever] {
        for ending in [Ending::Terminated, Ending::Killed] {
            println!("{shape:?}, {ending:?}");
            let data = tempfile::tempdir().expect("a directory");
            check(shape, ending, data.path());
        }
    }
}

/// What `gets` answers for a key, up to `END`.
fn gets(client: &mut Client, key: &str) -> Vec<u8> {
    client.send(format!("gets {key}\r\n"));
    let line = client.line();
    if line == "END" {
        return b"END".to_vec();
    }
    let length: usize = line.split(' ').nth(3).expect("the length").parse().expect("a number");
    let rest = client.try_take(length + 7).expect("the value and END");
    [line.as_bytes(), &rest].concat()
}

fn cas_of(answer: &[u8]) -> u64 {
    let line = String::from_utf8_lossy(answer);
    let line = line.split("\r\n").next().expect("a line");
    // the value follows the line at once, the id is the digits before it
    let id: String = line.split(' ').nth(4).expect("the cas id").chars().take_while(char::is_ascii_digit).collect();
    id.parse().expect("a number")
}

const KEYS: [&str; 11] = [
    "plain",
    "flags",
    "empty",
    "large",
    "appended",
    "counted",
    "swapped",
    "touched",
    "deleted",
    "again",
    "k\u{e9}y\u{1}\u{7f}",
];

/// One item of every history.
fn write_all(client: &mut Client) {
    let large = "x".repeat(1_000_000);
    client.ask(
        "set plain 0 0 5\r\nvalue\r\nset flags 4294967295 0 1\r\nf\r\nset empty 3 0 0\r\n\r\n",
        "STORED\r\n".repeat(3),
    );
    client.ask(format!("set large 1 0 1000000\r\n{large}\r\n"), "STORED\r\n");
    client.ask(
        "set appended 7 0 1\r\nb\r\nappend appended 0 0 1\r\nc\r\nprepend appended 0 0 1\r\na\r\n",
        "STORED\r\n".repeat(3),
    );
    client.ask("set counted 8 0 2\r\n10\r\nincr counted 5\r\ndecr counted 6\r\n", "STORED\r\n15\r\n9\r\n");
    client.ask("set swapped 0 0 1\r\na\r\n", "STORED\r\n");
    let cas = cas_of(&gets(client, "swapped"));
    client.ask(format!("cas swapped 9 0 1 {cas}\r\nb\r\n"), "STORED\r\n");
    client.ask("set touched 0 0 1\r\nt\r\ntouch touched 1000\r\n", "STORED\r\nTOUCHED\r\n");
    client.ask("set deleted 0 0 1\r\nd\r\ndelete deleted\r\n", "STORED\r\nDELETED\r\n");
    client.ask("set again 0 0 1\r\na\r\ndelete again\r\nadd again 2 0 1\r\nb\r\n", "STORED\r\nDELETED\r\nSTORED\r\n");
    client.ask("set k\u{e9}y\u{1}\u{7f} 5 0 4\r\n\r\n\r\n\r\n", "STORED\r\n");
}

#[test]
fn everything_acknowledged_is_there_again() {
    everywhere(|shape, ending, data| {
        let server = started(shape, data);
        let mut client = server.connect();
        client.ask("set flushed 0 0 1\r\nf\r\nflush_all\r\n", "STORED\r\nOK\r\n");
        write_all(&mut client);
        let before: Vec<Vec<u8>> = KEYS.iter().map(|key| gets(&mut client, key)).collect();
        assert_eq!(before[8], b"END");
        ended(server, ending);
        for _ in 0..2 {
            let server = started(shape, data);
            let mut client = server.connect();
            for (key, before) in KEYS.iter().zip(&before) {
                assert!(gets(&mut client, key) == *before, "{key} is another after the restart");
            }
            client.ask("get flushed deleted\r\n", "END\r\n");
            assert_eq!(client.stat("curr_items"), KEYS.len() as u64 - 1);
            ended(server, ending);
        }
    });
}

#[test]
fn cas_ids_go_on_growing() {
    everywhere(|shape, ending, data| {
        let mut last = 0;
        for round in 0..3 {
            let server = started(shape, data);
            let mut client = server.connect();
            if round > 0 {
                client.ask(format!("cas k 0 0 1 {last}\r\nb\r\n"), "STORED\r\n");
            }
            client.ask(
                "set k 0 0 1\r\na\r\nset gone 0 0 1\r\na\r\ndelete gone\r\nset k 0 0 1\r\nc\r\n",
                "STORED\r\nSTORED\r\nDELETED\r\nSTORED\r\n",
            );
            let cas = cas_of(&gets(&mut client, "k"));
            assert!(cas > last, "cas id {cas} after {last}");
            last = cas;
            ended(server, ending);
        }
    });
}

#[test]
fn a_flush_stays_a_flush() {
    everywhere(|shape, ending, data| {
        let server = started(shape, data);
        let mut client = server.connect();
        client.ask(
            "set a 0 0 1\r\na\r\nset b 0 0 1\r\nb\r\nflush_all\r\nset b 0 0 1\r\nc\r\n",
            "STORED\r\nSTORED\r\nOK\r\nSTORED\r\n",
        );
        ended(server, ending);
        let server = started(shape, data);
        server.connect().ask("get a b\r\n", "VALUE b 0 1\r\nc\r\nEND\r\n");
        server.connect().ask("flush_all\r\n", "OK\r\n");
        ended(server, ending);
        started(shape, data).connect().ask("get a b\r\n", "END\r\n");
    });
}

#[test]
fn expiry_is_absolute_across_a_restart() {
    if !is_ours() {
        return;
    }
    let data = tempfile::tempdir().expect("a directory");
    let server = started(Shape::LogAlways, data.path());
    let mut client = server.connect();
    client.ask("set short 0 2 1\r\na\r\nset long 0 100 1\r\nb\r\nset past 0 -1 1\r\nc\r\n", "STORED\r\n".repeat(3));
    client.ask("set touched 0 2 1\r\nd\r\ntouch touched 100\r\n", "STORED\r\nTOUCHED\r\n");
    client.ask(
        "set shortened 0 100 1\r\ne\r\ntouch shortened 2\r\nset gat 0 100 1\r\nf\r\n",
        "STORED\r\nTOUCHED\r\nSTORED\r\n",
    );
    client.ask("gat 2 gat\r\n", "VALUE gat 0 1\r\nf\r\nEND\r\n");
    client.ask("set flushed 0 0 1\r\ng\r\n", "STORED\r\n");
    ended(server, Ending::Killed);
    let server = started(Shape::LogAlways, data.path());
    thread::sleep(Duration::from_millis(3100));
    let answer = "VALUE long 0 1\r\nb\r\nVALUE touched 0 1\r\nd\r\nVALUE flushed 0 1\r\ng\r\nEND\r\n";
    server.connect().ask("get short past shortened gat long touched flushed\r\n", answer);
    // expired while nobody runs, and a delayed flush that comes due meanwhile
    server.connect().ask("set short 0 2 1\r\na\r\nflush_all 3\r\n", "STORED\r\nOK\r\n");
    ended(server, Ending::Killed);
    thread::sleep(Duration::from_millis(4200));
    let server = started(Shape::LogAlways, data.path());
    thread::sleep(Duration::from_millis(50));
    server.connect().ask("get short long touched flushed\r\n", "END\r\n");
}

#[test]
fn memcacheds_cache_forgets_at_a_restart() {
    let server = Server::start(Shape::NoLog);
    server.connect().ask("set k 0 0 1\r\na\r\n", "STORED\r\n");
    ended(server, Ending::Terminated);
    Server::start(Shape::NoLog).connect().ask("get k\r\n", "END\r\n");
}

#[test]
fn a_long_log_is_replayed_whole() {
    everywhere(|shape, ending, data| {
        let server = started(shape, data);
        let mut client = server.connect();
        for round in 0..5 {
            let sets: String = (0..2000).map(|i| format!("set key:{i} {round} 0 8\r\n{round}{i:07}\r\n")).collect();
            client.ask(sets, "STORED\r\n".repeat(2000));
        }
        client.ask(
            (0..1000).map(|i| format!("delete key:{}\r\n", i * 2)).collect::<String>(),
            "DELETED\r\n".repeat(1000),
        );
        ended(server, ending);
        let server = started(shape, data);
        let keys: String = (0..2000).map(|i| format!(" key:{i}")).collect();
        let values: String = (0..1000).map(|i| format!("VALUE key:{0} 4 8\r\n4{0:07}\r\n", i * 2 + 1)).collect();
        server.connect().ask(format!("get{keys}\r\n"), format!("{values}END\r\n"));
    });
}
