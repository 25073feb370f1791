//! get and gets: hits, misses, many keys, order.

use std::fmt::Write as _;

use crate::script::{Row, row};

pub fn rows() -> Vec<Row> {
    vec![
        row("a miss is END alone").ask("get absent\r\n", "END\r\n").ask("gets absent\r\n", "END\r\n"),
        row("a get of several keys answers the hits in the order asked")
            .ask("set a 1 0 1\r\nA\r\nset b 2 0 2\r\nBB\r\nset c 3 0 3\r\nCCC\r\n", "STORED\r\nSTORED\r\nSTORED\r\n")
            .ask("get c absent a b\r\n", "VALUE c 3 3\r\nCCC\r\nVALUE a 1 1\r\nA\r\nVALUE b 2 2\r\nBB\r\nEND\r\n"),
        row("a key asked twice is answered twice")
            .ask("set a 0 0 1\r\nA\r\n", "STORED\r\n")
            .ask("get a a\r\n", "VALUE a 0 1\r\nA\r\nVALUE a 0 1\r\nA\r\nEND\r\n"),
        row("gets adds the cas id, the same as long as nothing changes")
            .ask("set a 4 0 1\r\nA\r\n", "STORED\r\n")
            .ask("gets a\r\n", "VALUE a 4 1 <cas>\r\nA\r\nEND\r\n")
            .ask("gets absent a\r\n", "VALUE a 4 1 <cas>\r\nA\r\nEND\r\n")
            .ask("get a\r\n", "VALUE a 4 1\r\nA\r\nEND\r\n"),
        many("a get of 100 keys is one answer", 100, "get"),
        many("a get of 10,000 keys is one answer", 10_000, "get"),
        every_other("a get of 3,000 keys of which every other is there", 3_000),
        row("a get line may be longer than a command line, also when its end is not there yet")
            .ask("set k 0 0 1\r\na\r\n", "STORED\r\n")
            .send(format!("get {}", "k ".repeat(4000)))
            .silent(20)
            .ask("k\r\n", format!("{}END\r\n", "VALUE k 0 1\r\na\r\n".repeat(4001))),
        row("a get line may have a megabyte")
            .ask("set k 0 0 1\r\na\r\n", "STORED\r\n")
            .send(format!("get {}", "absent ".repeat(150_000)))
            .ask("k\r\n", "VALUE k 0 1\r\na\r\nEND\r\n"),
        row("a gets line may be longer than a command line, too")
            .send(format!("gets {}", "absent ".repeat(2000)))
            .silent(20)
            .ask("\r\n", "END\r\n"),
    ]
}

fn stored(keys: impl Iterator<Item = usize>) -> (String, String) {
    let (mut send, mut expect) = (String::new(), String::new());
    for i in keys {
        let value = format!("value of {i}");
        write!(send, "set key:{i} {i} 0 {}\r\n{value}\r\n", value.len()).expect("a string");
        expect.push_str("STORED\r\n");
    }
    (send, expect)
}

fn values(keys: impl Iterator<Item = usize>) -> String {
    let mut expect = String::new();
    for i in keys {
        let value = format!("value of {i}");
        write!(expect, "VALUE key:{i} {i} {}\r\n{value}\r\n", value.len()).expect("a string");
    }
    expect + "END\r\n"
}

fn asked(verb: &str, count: usize) -> String {
    let mut line = verb.to_owned();
    for i in 0..count {
        write!(line, " key:{i}").expect("a string");
    }
    line + "\r\n"
}

fn many(name: &str, count: usize, verb: &str) -> Row {
    let (send, expect) = stored(0..count);
    row(name).ask(send, expect).ask(asked(verb, count), values(0..count))
}

fn every_other(name: &str, count: usize) -> Row {
    let (send, expect) = stored((0..count).step_by(2));
    row(name).ask(send, expect).ask(asked("get", count), values((0..count).step_by(2)))
}
