//! The limits: key, line, value, and what -I makes of them.

use crate::script::{Row, row};

const BAD_LINE: &str = "CLIENT_ERROR bad command line format\r\n";
const TOO_LARGE: &str = "SERVER_ERROR object too large for cache\r\n";
/// Largest value under a key of one byte at the default -I.
const LARGEST: usize = 1_048_516;

fn store(verb: &str, key: &str, length: usize) -> String {
    format!("{verb} {key} 0 0 {length}\r\n{}\r\n", "v".repeat(length))
}

fn value(key: &str, length: usize) -> String {
    format!("VALUE {key} 0 {length}\r\n{}\r\nEND\r\n", "v".repeat(length))
}

pub fn rows() -> Vec<Row> {
    let mut rows = keys_and_lines();
    rows.extend(values());
    rows.extend(item_sizes());
    rows
}

fn keys_and_lines() -> Vec<Row> {
    let long = "k".repeat(251);
    vec![
        row("a key of 251 bytes is refused by every command")
            .ask(format!("set {long} 0 0 1\r\na\r\n"), BAD_LINE)
            .ask(format!("cas {long} 0 0 1 1\r\na\r\n"), BAD_LINE)
            .ask(format!("delete {long}\r\n"), BAD_LINE)
            .ask(format!("incr {long} 1\r\n"), BAD_LINE)
            .ask(format!("decr {long} 1\r\n"), BAD_LINE)
            .ask(format!("touch {long} 1\r\n"), BAD_LINE),
        row("a line of 2048 bytes may wait for its end").send("x".repeat(2048)).silent(30).ask("\r\n", "ERROR\r\n"),
        row("a line of 2049 bytes without its end closes").send("x".repeat(2049)).closes(),
        row("so does a set line").send(format!("set {}", "k".repeat(2100))).closes(),
        row("so does a gat line").send(format!("gat 0 {}", "k ".repeat(1100))).closes(),
        row("what was asked before such a line is answered")
            .ask("get k\r\n", "END\r\n")
            .send("x".repeat(3000))
            .closes(),
        row("a longer line that is there with its end is read: junk")
            .ask(format!("{}\r\n", "x".repeat(5000)), "ERROR\r\n"),
        row("a longer line that is there with its end is read: a set")
            .ask(format!("set {} 0 0 1\r\na\r\n", "k".repeat(3000)), BAD_LINE),
        row("a longer line that is there with its end is read: a gat of many keys")
            .ask("set k 0 0 1\r\na\r\n", "STORED\r\n")
            .ask(format!("gat 0 {}\r\n", "k ".repeat(2000)), format!("{}END\r\n", "VALUE k 0 1\r\na\r\n".repeat(2000))),
    ]
}

fn values() -> Vec<Row> {
    let set = |name: &str| row(name).ask("set k 0 0 3\r\nvvv\r\n", "STORED\r\n");
    let kept = |verb: &str| {
        set(&format!("{verb} of an object too large leaves the old value"))
            .ask(store(verb, "k", 1 << 20), TOO_LARGE)
            .ask("get k\r\n", value("k", 3))
    };
    vec![
        row("the largest value fits")
            .ask(store("set", "k", LARGEST), "STORED\r\n")
            .ask("get k\r\n", value("k", LARGEST)),
        set("one byte more does not fit, and the old value is gone")
            .ask(store("set", "k", LARGEST + 1), TOO_LARGE)
            .ask("get k\r\n", "END\r\n"),
        row("a longer key leaves less room")
            .ask(store("set", &"k".repeat(250), LARGEST - 249), "STORED\r\n")
            .ask(store("set", &"k".repeat(250), LARGEST - 248), TOO_LARGE),
        row("a value of 1 MiB is too large").ask(store("set", "k", 1 << 20), TOO_LARGE).ask("get k\r\n", "END\r\n"),
        kept("add"),
        kept("replace"),
        kept("append"),
        kept("prepend"),
        set("cas of an object too large leaves the old value")
            .ask(format!("cas k 0 0 {} 1\r\n{}\r\n", 1 << 20, "v".repeat(1 << 20)), TOO_LARGE)
            .ask("get k\r\n", value("k", 3)),
        row("the block of an object too large is swallowed whole, however large")
            .ask(store("set", "k", 20_000_000) + "get k\r\n", format!("{TOO_LARGE}END\r\n")),
        row("an append that would make the object too large is not stored")
            .ask(store("set", "k", 600_000), "STORED\r\n")
            .ask(store("append", "k", 600_000), "NOT_STORED\r\n")
            .ask(store("prepend", "k", 600_000), "NOT_STORED\r\n")
            .ask("get k\r\n", value("k", 600_000)),
    ]
}

fn item_sizes() -> Vec<Row> {
    vec![
        row("-I 2m takes values of up to 2 MiB")
            .options(&["-I", "2m"])
            .ask(store("set", "k", 2_097_092), "STORED\r\n")
            .ask("get k\r\n", value("k", 2_097_092))
            .ask(store("set", "k", 2_097_093), TOO_LARGE)
            .ask("get k\r\n", "END\r\n"),
        row("-I 4k refuses what is larger")
            .options(&["-I", "4k", "-o", "slab_chunk_max=2"])
            .ask(store("set", "k", 4096 - 60), "STORED\r\n")
            .ask("get k\r\n", value("k", 4096 - 60))
            .ask(store("set", "k", 4096 - 59), TOO_LARGE)
            .ask("get k\r\n", "END\r\n"),
        row("-I 1024 is in bytes")
            .options(&["-I", "1024", "-o", "slab_chunk_max=1"])
            .ask(store("set", "k", 964), "STORED\r\n")
            .ask(store("set", "k", 965), TOO_LARGE),
        row("-I 32m takes a value of 20 MB")
            .options(&["-I", "32m", "-m", "256"])
            .ask(store("set", "k", 20_000_000), "STORED\r\n")
            .ask("get k\r\n", value("k", 20_000_000)),
    ]
}
