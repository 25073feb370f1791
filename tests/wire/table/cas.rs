//! cas: stored only if nothing changed since `gets`.

use crate::script::{Row, row};

const BAD_LINE: &str = "CLIENT_ERROR bad command line format\r\n";

/// A row that begins with `a` under `k` and its cas id as `<cas1>`.
fn known(name: &str) -> Row {
    row(name).ask("set k 5 0 1\r\na\r\n", "STORED\r\n").ask("gets k\r\n", "VALUE k 5 1 <cas1>\r\na\r\nEND\r\n")
}

/// What changes the cas id of an item.
fn changes(command: &str, answer: &str) -> Row {
    known(&format!("`{}` gives a new cas id", command.escape_default()))
        .ask(command, answer)
        .ask("cas k 0 0 1 <cas1>\r\nz\r\n", "EXISTS\r\n")
}

/// What leaves the cas id of an item as it is.
fn keeps(command: &str, answer: &str) -> Row {
    known(&format!("`{}` keeps the cas id", command.escape_default()))
        .ask(command, answer)
        .ask("cas k 0 0 1 <cas1>\r\nz\r\n", "STORED\r\n")
}

pub fn rows() -> Vec<Row> {
    vec![
        known("cas stores when the id is the item's, once")
            .ask("cas k 6 0 2 <cas1>\r\nbb\r\n", "STORED\r\n")
            .ask("cas k 7 0 2 <cas1>\r\ncc\r\n", "EXISTS\r\n")
            .ask("gets k\r\n", "VALUE k 6 2 <cas2>\r\nbb\r\nEND\r\n")
            .ask("cas k 8 0 1 <cas2>\r\nd\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 8 1\r\nd\r\nEND\r\n"),
        row("cas needs an item").ask("cas absent 0 0 1 1\r\na\r\n", "NOT_FOUND\r\n").ask("get absent\r\n", "END\r\n"),
        known("cas of a deleted item is not found")
            .ask("delete k\r\n", "DELETED\r\n")
            .ask("cas k 0 0 1 <cas1>\r\nb\r\n", "NOT_FOUND\r\n"),
        known("a deleted and set item has another cas id")
            .ask("delete k\r\nset k 0 0 1\r\na\r\n", "DELETED\r\nSTORED\r\n")
            .ask("cas k 0 0 1 <cas1>\r\nb\r\n", "EXISTS\r\n"),
        changes("set k 5 0 1\r\na\r\n", "STORED\r\n"),
        changes("replace k 5 0 1\r\na\r\n", "STORED\r\n"),
        changes("append k 5 0 1\r\nb\r\n", "STORED\r\n"),
        changes("prepend k 5 0 1\r\nb\r\n", "STORED\r\n"),
        keeps("touch k 100\r\n", "TOUCHED\r\n"),
        keeps("gat 100 k\r\n", "VALUE k 5 1\r\na\r\nEND\r\n"),
        keeps("add k 5 0 1\r\nb\r\n", "NOT_STORED\r\n"),
        keeps("get k\r\n", "VALUE k 5 1\r\na\r\nEND\r\n"),
        keeps("incr k 1\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"),
        row("cas ids of two items differ")
            .ask("set a 0 0 1\r\nx\r\nset b 0 0 1\r\ny\r\n", "STORED\r\nSTORED\r\n")
            .ask("gets a\r\n", "VALUE a 0 1 <casa>\r\nx\r\nEND\r\n")
            .ask("gets a b\r\n", "VALUE a 0 1 <casa>\r\nx\r\nVALUE b 0 1 <casb>\r\ny\r\nEND\r\n")
            .ask("cas b 0 0 1 <casa>\r\nz\r\n", "EXISTS\r\n")
            .ask("cas b 0 0 1 <casb>\r\nz\r\n", "STORED\r\n"),
        known("of two connections with the same id one wins")
            .on(1)
            .ask("cas k 0 0 1 <cas1>\r\nb\r\n", "STORED\r\n")
            .on(0)
            .ask("cas k 0 0 1 <cas1>\r\nc\r\n", "EXISTS\r\n")
            .ask("get k\r\n", "VALUE k 0 1\r\nb\r\nEND\r\n"),
        known("cas noreply stores and says nothing")
            .send("cas k 0 0 1 <cas1> noreply\r\nb\r\n")
            .ask("get k\r\n", "VALUE k 0 1\r\nb\r\nEND\r\n")
            .send("cas k 0 0 1 <cas1> noreply\r\nc\r\ncas absent 0 0 1 1 noreply\r\nc\r\n")
            .ask("get k\r\n", "VALUE k 0 1\r\nb\r\nEND\r\n"),
        row("cas takes ids of 64 bits").ask("cas absent 0 0 1 18446744073709551615\r\na\r\n", "NOT_FOUND\r\n"),
        row("cas without an id swallows its block").ask("cas k 0 0 1\r\na\r\n", BAD_LINE),
        row("cas with an id that is no number swallows its block").ask("cas k 0 0 1 x\r\na\r\n", BAD_LINE),
        known("a cas that expires at once is stored, and gone")
            .ask("cas k 0 -1 1 <cas1>\r\nb\r\n", "STORED\r\n")
            .ask("get k\r\n", "END\r\n"),
    ]
}
