//! flush_all: everything stored before it is gone, nothing stored after it.

use crate::script::{Row, row};

const BAD_EXPTIME: &str = "CLIENT_ERROR invalid exptime argument\r\n";

pub fn rows() -> Vec<Row> {
    let set = |name: &str| row(name).ask("set k 5 0 1\r\na\r\nset l 0 0 1\r\nb\r\n", "STORED\r\nSTORED\r\n");
    vec![
        set("flush_all removes everything").ask("flush_all\r\n", "OK\r\n").ask("get k l\r\n", "END\r\n"),
        set("a set in the same second survives, and the items before never come back")
            .ask("flush_all\r\nset m 0 0 1\r\nc\r\nget k l m\r\n", "OK\r\nSTORED\r\nVALUE m 0 1\r\nc\r\nEND\r\n")
            .ask("flush_all\r\nset k 0 0 1\r\nd\r\nget k l m\r\n", "OK\r\nSTORED\r\nVALUE k 0 1\r\nd\r\nEND\r\n"),
        set("after flush_all nothing is there for any command")
            .ask("set n 0 0 1\r\n1\r\nflush_all\r\n", "STORED\r\nOK\r\n")
            .ask("delete k\r\ntouch l 0\r\nincr n 1\r\n", "NOT_FOUND\r\nNOT_FOUND\r\nNOT_FOUND\r\n")
            .ask(
                "append k 0 0 1\r\nx\r\nreplace l 0 0 1\r\nx\r\ncas k 0 0 1 1\r\nx\r\n",
                "NOT_STORED\r\nNOT_STORED\r\nNOT_FOUND\r\n",
            )
            .ask("add k 0 0 1\r\ny\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\ny\r\nEND\r\n"),
        set("flush_all 0 is at once").ask("flush_all 0\r\n", "OK\r\n").ask("get k l\r\n", "END\r\n"),
        row("flush_all with a negative delay is taken").ask("flush_all -1\r\n", "OK\r\n"),
        set("flush_all noreply says nothing").send("flush_all noreply\r\n").ask("get k l\r\n", "END\r\n"),
        set("flush_all 0 noreply says nothing").send("flush_all 0 noreply\r\n").ask("get k l\r\n", "END\r\n"),
        set("flush_all with a delay that is no number flushes nothing")
            .ask("flush_all x\r\n", BAD_EXPTIME)
            .ask("get k\r\n", "VALUE k 5 1\r\na\r\nEND\r\n"),
        set("flush_all with a delay beyond 32 bits flushes nothing")
            .ask("flush_all 99999999999\r\n", BAD_EXPTIME)
            .ask("get k\r\n", "VALUE k 5 1\r\na\r\nEND\r\n"),
        set("flush_all with a bad delay and noreply is silent").send("flush_all x noreply\r\n"),
        set("a flush on one connection is seen on another")
            .on(1)
            .ask("flush_all\r\n", "OK\r\n")
            .on(0)
            .ask("get k l\r\n", "END\r\n"),
        set("-F forbids flush_all")
            .options(&["-F"])
            .ask("flush_all\r\n", "CLIENT_ERROR flush_all not allowed\r\n")
            .ask("flush_all 5\r\n", "CLIENT_ERROR flush_all not allowed\r\n")
            .send("flush_all noreply\r\n")
            .ask("get k\r\n", "VALUE k 5 1\r\na\r\nEND\r\n"),
        row("flushes and sets in one write happen in order").ask(
            "set k 0 0 1\r\na\r\nget k\r\nflush_all\r\nget k\r\n".repeat(200),
            "STORED\r\nVALUE k 0 1\r\na\r\nEND\r\nOK\r\nEND\r\n".repeat(200),
        ),
    ]
}
