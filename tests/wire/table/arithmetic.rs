//! incr and decr: 64-bit numbers kept as text.

use crate::script::{Row, row};

const NON_NUMERIC: &str = "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";
const BAD_DELTA: &str = "CLIENT_ERROR invalid numeric delta argument\r\n";
const BAD_LINE: &str = "CLIENT_ERROR bad command line format\r\n";

/// A row that begins with this value under `k`, with flags 5.
fn with(name: &str, value: &str) -> Row {
    row(name).ask(format!("set k 5 0 {}\r\n{value}\r\n", value.len()), "STORED\r\n")
}

pub fn rows() -> Vec<Row> {
    let mut rows = numbers();
    rows.extend(what_is_a_number());
    rows
}

fn numbers() -> Vec<Row> {
    vec![
        with("incr and decr answer the new number", "10")
            .ask("incr k 5\r\n", "15\r\n")
            .ask("decr k 1\r\n", "14\r\n")
            .ask("incr k 0\r\n", "14\r\n")
            .ask("get k\r\n", "VALUE k 5 2\r\n14\r\nEND\r\n"),
        row("incr and decr need an item").ask("incr k 1\r\n", "NOT_FOUND\r\n").ask("decr k 1\r\n", "NOT_FOUND\r\n"),
        with("a number that grows takes more bytes", "99")
            .ask("incr k 1\r\n", "100\r\n")
            .ask("get k\r\n", "VALUE k 5 3\r\n100\r\nEND\r\n"),
        with("a number that gets shorter keeps its length, filled with spaces", "10")
            .ask("decr k 1\r\n", "9\r\n")
            .ask("get k\r\n", "VALUE k 5 2\r\n9 \r\nEND\r\n")
            .ask("incr k 1\r\n", "10\r\n")
            .ask("get k\r\n", "VALUE k 5 2\r\n10\r\nEND\r\n"),
        with("a long number that drops to nothing keeps its length", "12345678")
            .ask("decr k 12345678\r\n", "0\r\n")
            .ask("get k\r\n", "VALUE k 5 8\r\n0       \r\nEND\r\n"),
        with("decr stops at 0", "5").ask("decr k 6\r\n", "0\r\n").ask("decr k 1\r\n", "0\r\n"),
        with("incr wraps at 2^64", "18446744073709551615")
            .ask("incr k 1\r\n", "0\r\n")
            .ask("get k\r\n", "VALUE k 5 20\r\n0                   \r\nEND\r\n"),
        with("incr wraps past 2^64", "18446744073709551610").ask("incr k 10\r\n", "4\r\n"),
        with("the delta may be 2^64 - 1", "1")
            .ask("incr k 18446744073709551615\r\n", "0\r\n")
            .ask("incr k 18446744073709551615\r\n", "18446744073709551615\r\n")
            .ask("decr k 18446744073709551615\r\n", "0\r\n"),
        with("incr changes the cas id", "1")
            .ask("gets k\r\n", "VALUE k 5 1 <cas1>\r\n1\r\nEND\r\n")
            .ask("incr k 1\r\n", "2\r\n")
            .ask("cas k 5 0 1 <cas1>\r\n9\r\n", "EXISTS\r\n")
            .ask("gets k\r\n", "VALUE k 5 1 <cas2>\r\n2\r\nEND\r\n")
            .ask("cas k 5 0 1 <cas2>\r\n9\r\n", "STORED\r\n"),
        with("pipelined incrs all count", "0")
            .ask("incr k 1\r\n".repeat(100), (1..=100).map(|n| format!("{n}\r\n")).collect::<String>()),
        with("incr noreply counts and says nothing", "1")
            .send("incr k 2 noreply\r\ndecr k 1 noreply\r\n")
            .ask("get k\r\n", "VALUE k 5 1\r\n2\r\nEND\r\n"),
    ]
}

fn what_is_a_number() -> Vec<Row> {
    let not_numeric = |value: &str| {
        with(&format!("`{value}` is no number to incr"), value)
            .ask("incr k 1\r\n", NON_NUMERIC)
            .ask("decr k 1\r\n", NON_NUMERIC)
            .ask("get k\r\n", format!("VALUE k 5 {}\r\n{value}\r\nEND\r\n", value.len()))
    };
    let numeric = |value: &str, next: &str| {
        with(&format!("`{value}` is a number to incr"), value).ask("incr k 1\r\n", format!("{next}\r\n"))
    };
    let delta =
        |delta: &str, answer: &str| with(&format!("incr by `{delta}`"), "1").ask(format!("incr k {delta}\r\n"), answer);
    vec![
        not_numeric("abc"),
        not_numeric(""),
        not_numeric("-1"),
        not_numeric("1x"),
        not_numeric("184467440737095516161"),
        not_numeric("18446744073709551616"),
        not_numeric("1.5"),
        numeric("007", "8"),
        numeric("9 ", "10"),
        numeric(" 9", "10"),
        numeric("0", "1"),
        delta("abc", BAD_DELTA),
        delta("-1", BAD_DELTA),
        delta("1x", BAD_DELTA),
        delta("18446744073709551616", BAD_DELTA),
        delta("007", "8\r\n"),
        row("incr needs a key and a delta")
            .ask("incr\r\n", BAD_LINE)
            .ask("incr k\r\n", BAD_LINE)
            .ask("decr k\r\n", BAD_LINE),
        row("incr of a key too long").ask(format!("incr {} 1\r\n", "k".repeat(251)), BAD_LINE),
        row("a bad delta is an error before a missing item is").ask("incr absent x\r\n", BAD_DELTA),
    ]
}
