//! delete, in the forms that clients of all ages send.

use crate::script::{Row, row};

const BAD_LINE: &str = "CLIENT_ERROR bad command line format\r\n";

pub fn rows() -> Vec<Row> {
    let set = |name: &str| row(name).ask("set k 0 0 1\r\na\r\n", "STORED\r\n");
    vec![
        set("delete removes, once")
            .ask("delete k\r\n", "DELETED\r\n")
            .ask("get k\r\n", "END\r\n")
            .ask("delete k\r\n", "NOT_FOUND\r\n"),
        set("delete with a time of 0, as old PHP clients send it")
            .ask("delete k 0\r\n", "DELETED\r\n")
            .ask("get k\r\n", "END\r\n"),
        set("delete with another time").ask("delete k 10\r\n", "DELETED\r\n").ask("get k\r\n", "END\r\n"),
        set("delete noreply says nothing").send("delete k noreply\r\n").ask("get k\r\n", "END\r\n"),
        set("delete with a time and noreply says nothing").send("delete k 0 noreply\r\n").ask("get k\r\n", "END\r\n"),
        set("what was deleted can be added again")
            .ask("delete k\r\nadd k 1 0 1\r\nb\r\nget k\r\n", "DELETED\r\nSTORED\r\nVALUE k 1 1\r\nb\r\nEND\r\n"),
        set("delete with three or more words behind the key is refused")
            .ask("delete k 1 2 3\r\n", BAD_LINE)
            .ask("delete k a b c d e\r\n", BAD_LINE)
            .ask("get k\r\n", "VALUE k 0 1\r\na\r\nEND\r\n")
            .ours("1.6.45 takes any words behind the key, which libmemcached's memccapable calls a fault"),
        row("delete needs a key").ask("delete\r\n", BAD_LINE).ask("delete \r\n", BAD_LINE),
        row("delete of a key too long").ask(format!("delete {}\r\n", "k".repeat(251)), BAD_LINE),
        set("delete removes one key of two")
            .ask("set l 0 0 1\r\nb\r\n", "STORED\r\n")
            .ask("delete k\r\n", "DELETED\r\n")
            .ask("get k l\r\n", "VALUE l 0 1\r\nb\r\nEND\r\n"),
        row("deletes and sets of one key in one write happen in order")
            .ask("set k 0 0 1\r\na\r\ndelete k\r\n".repeat(500), "STORED\r\nDELETED\r\n".repeat(500))
            .ask("get k\r\n", "END\r\n"),
    ]
}
