//! What a malformed command is answered, and that the next command is understood.

use crate::script::{Row, row};

const ERROR: &str = "ERROR\r\n";
const BAD_LINE: &str = "CLIENT_ERROR bad command line format\r\n";
const BAD_CHUNK: &str = "CLIENT_ERROR bad data chunk\r\n";

/// One command and its answer; the row checks that the connection is in step afterwards.
fn answered(command: &str, answer: &str) -> Row {
    row(format!("`{}`", command.escape_default())).ask(command, answer)
}

pub fn rows() -> Vec<Row> {
    let mut rows = lines();
    rows.extend(storage_lines());
    rows.extend(chunks());
    rows.extend(closes());
    rows
}

fn lines() -> Vec<Row> {
    vec![
        answered("\r\n", BAD_LINE),
        answered("\n", BAD_LINE),
        answered("x\r\n", BAD_LINE),
        answered("bogus\r\n", ERROR),
        answered("bogus k 0 0 1\r\n", ERROR),
        answered("GET k\r\n", ERROR),
        answered("Get k\r\n", ERROR),
        answered("get\tk\r\n", ERROR),
        answered(" get k\r\n", ERROR),
        answered("getk\r\n", ERROR),
        answered("misbehave\r\n", ERROR),
        answered("debugtime p\r\n", ERROR),
        answered("get\r\n", BAD_LINE),
        answered("get \r\n", BAD_LINE),
        answered("gets\r\n", BAD_LINE),
        answered("verbosity\r\n", BAD_LINE),
        answered("verbosity x\r\n", BAD_LINE),
        answered("get k\0x\r\n", "END\r\n"),
        row("a get of a key too long is one error line")
            .ask(format!("get {}\r\nget k\r\n", "k".repeat(251)), format!("{BAD_LINE}END\r\n"))
            .ask(format!("gat 0 {}\r\nget k\r\n", "k".repeat(251)), format!("{BAD_LINE}END\r\n"))
            .ours("1.6.45 sends an empty line after the error, which a client takes for the next answer"),
        row("a get of which one key is too long is an error alone, whatever the others are")
            .ask("set k 0 0 1\r\na\r\n", "STORED\r\n")
            .ask(format!("get k {}\r\n", "k".repeat(251)), BAD_LINE)
            .ask(format!("get {} k\r\n", "k".repeat(251)), BAD_LINE)
            .ask(format!("get k {} k\r\nget k\r\n", "k".repeat(251)), format!("{BAD_LINE}VALUE k 0 1\r\na\r\nEND\r\n"))
            .ours("1.6.45 sends an empty line after the error, which a client takes for the next answer"),
        row("many errors in one write are answered one by one")
            .ask("bogus\r\nget\r\n".repeat(2000), format!("{ERROR}{BAD_LINE}").repeat(2000)),
    ]
}

fn storage_lines() -> Vec<Row> {
    let mut rows = vec![
        answered("set\r\n", BAD_LINE),
        answered("set k\r\n", BAD_LINE),
        answered("set k 0\r\n", BAD_LINE),
        answered("set k 0 0\r\n", BAD_LINE),
        answered("cas k 0 0\r\n", BAD_LINE),
        answered("set k 0 0 x\r\n", BAD_LINE),
        answered("set k 0 0 -1\r\n", BAD_LINE),
        answered("set k 0 0 99999999999\r\n", BAD_LINE),
        answered("set k 0 0 4294967296\r\n", BAD_LINE),
        answered("set k 0 0 2147483648\r\n", BAD_LINE),
        row("words too many behind a set are taken for nothing")
            .ask("set k 0 0 1 2\r\na\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 0 1\r\na\r\nEND\r\n"),
    ];
    // a line that is refused although its length is known takes its block with it
    for (what, line) in [
        ("flags no number", "k x 0 1"),
        ("flags negative", "k -1 0 1"),
        ("flags of 20 digits", "k 99999999999999999999 0 1"),
        ("an exptime no number", "k 0 x 1"),
    ] {
        for verb in ["set", "add", "replace", "append", "prepend"] {
            rows.push(
                row(format!("{verb} with {what} is one error, its block is swallowed"))
                    .ask("set k 7 0 3\r\nold\r\n", "STORED\r\n")
                    .ask(
                        format!("{verb} {line}\r\na\r\nget k\r\n"),
                        format!("{BAD_LINE}VALUE k 7 3\r\nold\r\nEND\r\n"),
                    ),
            );
        }
    }
    for verb in ["set", "add", "replace", "append", "prepend"] {
        rows.push(
            row(format!("{verb} with a key too long is one error, its block is swallowed"))
                .ask(format!("{verb} {} 0 0 5\r\nget k\r\nget k\r\n", "k".repeat(251)), format!("{BAD_LINE}END\r\n")),
        );
    }
    rows
}

fn chunks() -> Vec<Row> {
    let set = |name: &str| row(name).ask("set k 7 0 3\r\nold\r\n", "STORED\r\n");
    let old = "VALUE k 7 3\r\nold\r\nEND\r\n";
    vec![
        set(
            "a block longer than announced: two bytes behind its end are taken for the line end, the rest is a command",
        )
        .ask("set k 0 0 1\r\nabc\r\n", format!("{BAD_CHUNK}{BAD_LINE}"))
        .ask("get k\r\n", old)
        .ask("set k 0 0 5\r\nabcdefghijk\r\n", format!("{BAD_CHUNK}{ERROR}"))
        .ask("get k\r\n", old),
        set("a block shorter than announced takes from the next line")
            .ask("set k 0 0 3\r\na\r\nget k\r\n", format!("{BAD_CHUNK}{ERROR}"))
            .ask("get k\r\n", old),
        set("a block must end in both bytes of the line end")
            .ask("set k 0 0 1\r\na\n\n", BAD_CHUNK)
            .ask("set k 0 0 1\r\na\r\r", BAD_CHUNK)
            .ask("set k 0 0 1\r\nabc", BAD_CHUNK)
            .ask("get k\r\n", old),
        set("an empty block with something in it")
            .ask("set k 0 0 0\r\nabc\r\n", format!("{BAD_CHUNK}{BAD_LINE}"))
            .ask("get k\r\n", old),
        set("a bad block of another verb changes nothing")
            .ask("append k 0 0 1\r\nabc\r\n", format!("{BAD_CHUNK}{BAD_LINE}"))
            .ask("replace k 0 0 1\r\nabc\r\n", format!("{BAD_CHUNK}{BAD_LINE}"))
            .ask("add other 0 0 1\r\nabc\r\n", format!("{BAD_CHUNK}{BAD_LINE}"))
            .ask("get k other\r\n", old),
    ]
}

fn closes() -> Vec<Row> {
    vec![
        row("quit closes without a word").send("quit\r\n").closes(),
        row("quit noreply closes, too").send("quit noreply\r\n").closes(),
        row("what was asked before quit is answered")
            .ask("set k 0 0 1\r\na\r\nget k\r\nquit\r\n", "STORED\r\nVALUE k 0 1\r\na\r\nEND\r\n")
            .closes(),
        row("what is asked after quit is not")
            .ask("get k\r\nquit\r\nget k\r\nset k 0 0 1\r\na\r\n", "END\r\n")
            .closes()
            .on(1)
            .ask("get k\r\n", "END\r\n"),
        row("a client that sends no more gets all its answers, then the close")
            .send("set k 0 0 1\r\na\r\nget k\r\n".repeat(300))
            .finish()
            .expect("STORED\r\nVALUE k 0 1\r\na\r\nEND\r\n".repeat(300))
            .closes(),
        row("a client that sends no more in the middle of a command gets the answers before it")
            .send("set k 0 0 1\r\na\r\nset k 0 0 1\r\n")
            .finish()
            .expect("STORED\r\n")
            .closes()
            .on(1)
            .ask("get k\r\n", "VALUE k 0 1\r\na\r\nEND\r\n")
            .ours("1.6.45 drops answers that are not sent yet when it sees the end"),
        row("a web browser is sent away").send("GET / HTTP/1.1\r\nHost: here\r\n\r\n").closes(),
        row("a form is sent away").send("POST /form HTTP/1.0\r\n\r\n").closes(),
        row("a key that looks like a web version is a key")
            .ask("set HTTP/1.1 0 0 1\r\na\r\n", "STORED\r\n")
            .ask("get HTTP/1.1\r\n", "VALUE HTTP/1.1 0 1\r\na\r\nEND\r\n"),
        row("the binary protocol is refused by a close")
            .send(b"\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00k")
            .closes()
            .ours("we do not speak the deprecated binary protocol"),
        row("a first byte of 0x80 is enough for the close")
            .send(b"\x80")
            .closes()
            .ours("we do not speak the deprecated binary protocol"),
        row("a connection that ends in the middle of a command changes nothing")
            .send("set k 0 0 10\r\nabc")
            .on(1)
            .ask("get k\r\n", "END\r\n"),
    ]
}
