//! Many commands in one write, one command in many writes.

use crate::script::{Row, row};

pub fn rows() -> Vec<Row> {
    let mut rows = joined();
    rows.extend(split());
    rows
}

fn joined() -> Vec<Row> {
    let pairs = 5000;
    let (mut send, mut expect) = (String::new(), String::new());
    for i in 0..pairs {
        send.push_str(&format!("set key:{} {i} 0 5\r\n{i:05}\r\nget key:{}\r\n", i % 97, i % 97));
        expect.push_str(&format!("STORED\r\nVALUE key:{} {i} 5\r\n{i:05}\r\nEND\r\n", i % 97));
    }
    let large = "v".repeat(100_000);
    vec![
        row("5,000 pairs of set and get in one write").ask(send, expect),
        row("20,000 gets in one write").ask("set k 0 0 1\r\na\r\n", "STORED\r\n").ask("get k\r\n".repeat(20_000), "VALUE k 0 1\r\na\r\nEND\r\n".repeat(20_000)),
        row("every command in one write")
            .ask(
                "set n 1 0 2\r\n10\r\nadd n 0 0 1\r\n1\r\nreplace n 2 0 2\r\n20\r\nincr n 5\r\ndecr n 1\r\nappend n 0 0 1\r\n0\r\nprepend n 0 0 1\r\n1\r\n\
                 get n absent\r\ntouch n 0\r\ngat 0 n\r\nbogus\r\ncas n 0 0 1 0\r\nx\r\nversion\r\nverbosity 0\r\nset k 0 0 1 noreply\r\nz\r\n\
                 delete n\r\ndelete n\r\nget k\r\nflush_all\r\nget k\r\n",
                "STORED\r\nNOT_STORED\r\nSTORED\r\n25\r\n24\r\nSTORED\r\nSTORED\r\n\
                 VALUE n 2 4\r\n1240\r\nEND\r\nTOUCHED\r\nVALUE n 2 4\r\n1240\r\nEND\r\nERROR\r\nEXISTS\r\nVERSION 1.6.45\r\nOK\r\n\
                 DELETED\r\nNOT_FOUND\r\nVALUE k 0 1\r\nz\r\nEND\r\nOK\r\nEND\r\n",
            ),
        row("large sets in one write").ask(format!("set k 0 0 100000\r\n{large}\r\n").repeat(50), "STORED\r\n".repeat(50)),
        row("large gets in one write").ask(format!("set k 0 0 100000\r\n{large}\r\n"), "STORED\r\n").ask(
            "get k\r\n".repeat(100),
            format!("VALUE k 0 100000\r\n{large}\r\nEND\r\n").repeat(100),
        ),
        row("gets of several large values in one command")
            .ask(format!("set a 0 0 100000\r\n{large}\r\nset b 0 0 100000\r\n{large}\r\n"), "STORED\r\nSTORED\r\n")
            .ask(
                format!("get {}\r\nversion\r\n", "a b ".repeat(40)),
                format!(
                    "{}END\r\nVERSION 1.6.45\r\n",
                    format!("VALUE a 0 100000\r\n{large}\r\nVALUE b 0 100000\r\n{large}\r\n").repeat(40)
                ),
            ),
    ]
}

/// Conversations that are sent cut in two at every byte, with what they are answered. They leave nothing behind.
const CONVERSATIONS: [(&str, &str); 10] = [
    ("set k 5 0 3\r\nabc\r\nget k\r\ndelete k\r\n", "STORED\r\nVALUE k 5 3\r\nabc\r\nEND\r\nDELETED\r\n"),
    (
        "add n 0 0 2\r\n10\r\nincr n 5\r\ndecr n 1 noreply\r\nget n\r\ndelete n\r\n",
        "STORED\r\n15\r\nVALUE n 0 2\r\n14\r\nEND\r\nDELETED\r\n",
    ),
    (
        "set k 0 0 0\r\n\r\nappend k 0 0 2\r\n\r\n\r\nget k\r\ndelete k noreply\r\n",
        "STORED\r\nSTORED\r\nVALUE k 0 2\r\n\r\n\r\nEND\r\n",
    ),
    ("cas absent 0 0 1 12345\r\na\r\nreplace absent 0 0 1 noreply\r\nb\r\ngets absent\r\n", "NOT_FOUND\r\nEND\r\n"),
    (
        "prepend absent 0 0 1\r\na\r\nstats bogus\r\nstats detail x\r\ncache_memlimit x\r\nlru bogus\r\nshutdown\r\n",
        "NOT_STORED\r\nERROR\r\nCLIENT_ERROR usage: stats detail on|off|dump\r\nERROR\r\nERROR\r\nSERVER_ERROR: shutdown not enabled\r\n",
    ),
    ("touch absent 100\r\ngat 100 absent\r\ngats 0 a b c\r\n", "NOT_FOUND\r\nEND\r\nEND\r\n"),
    (
        "bogus\r\n\r\nget\r\nset k 0 0 x\r\n",
        "ERROR\r\nCLIENT_ERROR bad command line format\r\nCLIENT_ERROR bad command line format\r\nCLIENT_ERROR bad command line format\r\n",
    ),
    (
        "set k x 0 3\r\nabc\r\nset k x 0 3 noreply\r\nabc\r\nget k\r\n",
        "CLIENT_ERROR bad command line format\r\nEND\r\n",
    ),
    ("set k 0 0 3\r\nabcdefgh\r\nversion\r\n", "CLIENT_ERROR bad data chunk\r\nERROR\r\nVERSION 1.6.45\r\n"),
    ("version\r\nverbosity 0\r\nflush_all 0\r\nget k\n", "VERSION 1.6.45\r\nOK\r\nOK\r\nEND\r\n"),
];

fn split() -> Vec<Row> {
    let mut rows = Vec::new();
    for (number, (send, expect)) in CONVERSATIONS.iter().enumerate() {
        let bytes = send.as_bytes();
        let mut cut = row(format!("conversation {number} cut in two at every byte"));
        for at in 1..bytes.len() {
            cut = cut.pieces(vec![bytes[..at].to_vec(), bytes[at..].to_vec()]).expect(expect);
        }
        rows.push(cut);
        rows.push(
            row(format!("conversation {number} byte by byte"))
                .pieces(bytes.chunks(1).map(<[u8]>::to_vec).collect())
                .expect(expect),
        );
        rows.push(
            row(format!("conversation {number} in threes"))
                .pieces(bytes.chunks(3).map(<[u8]>::to_vec).collect())
                .expect(expect),
        );
    }
    let value: Vec<u8> = (0..1_000_003u32).map(|i| (i % 251) as u8).collect();
    let set = [b"set k 9 0 1000003\r\n", value.as_slice(), b"\r\nget k\r\n"].concat();
    let answer = [b"STORED\r\nVALUE k 9 1000003\r\n", value.as_slice(), b"\r\nEND\r\n"].concat();
    for length in [8191, 16_384, 65_537, 333_333] {
        let pieces = set.chunks(length).map(<[u8]>::to_vec).collect();
        rows.push(row(format!("a megabyte in pieces of {length} bytes")).pieces(pieces).expect(&answer));
    }
    rows.push(
        row("a megabyte whose line end comes byte by byte")
            .pieces(vec![set[..1_000_022].to_vec(), set[1_000_022..1_000_023].to_vec(), set[1_000_023..].to_vec()])
            .expect(&answer),
    );
    let large = format!("set k 0 0 1048576\r\n{}\r\nget k\r\n", "v".repeat(1 << 20));
    rows.push(
        row("an object too large in pieces")
            .pieces(large.as_bytes().chunks(50_001).map(<[u8]>::to_vec).collect())
            .expect("SERVER_ERROR object too large for cache\r\nEND\r\n"),
    );
    let many_keys = format!("get {}\r\n", (0..3000).map(|i| format!("absent:{i} ")).collect::<String>());
    rows.push(
        row("a long get line in pieces")
            .pieces(many_keys.as_bytes().chunks(777).map(<[u8]>::to_vec).collect())
            .expect("END\r\n"),
    );
    rows
}
