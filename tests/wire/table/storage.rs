//! set, add, replace, append, prepend: what is stored, what is kept, what is said.

use crate::script::{Row, row};

pub fn rows() -> Vec<Row> {
    let mut rows = verbs();
    rows.extend(keys_and_values());
    rows.extend(flags());
    rows
}

fn verbs() -> Vec<Row> {
    vec![
        row("set stores, and stores again over what is there")
            .ask("set k 0 0 3\r\none\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 0 3\r\none\r\nEND\r\n")
            .ask("set k 7 0 5\r\nother\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 7 5\r\nother\r\nEND\r\n"),
        row("add stores only what is absent")
            .ask("add k 1 0 1\r\na\r\n", "STORED\r\n")
            .ask("add k 2 0 1\r\nb\r\n", "NOT_STORED\r\n")
            .ask("get k\r\n", "VALUE k 1 1\r\na\r\nEND\r\n")
            .ask("delete k\r\n", "DELETED\r\n")
            .ask("add k 3 0 1\r\nc\r\n", "STORED\r\n"),
        row("replace stores only over what is there")
            .ask("replace k 1 0 1\r\na\r\n", "NOT_STORED\r\n")
            .ask("get k\r\n", "END\r\n")
            .ask("set k 1 0 1\r\na\r\n", "STORED\r\n")
            .ask("replace k 2 0 3\r\nbcd\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 2 3\r\nbcd\r\nEND\r\n"),
        row("append adds behind, keeps the flags, and needs an item")
            .ask("append k 0 0 3\r\nend\r\n", "NOT_STORED\r\n")
            .ask("set k 5 0 5\r\nbegin\r\n", "STORED\r\n")
            .ask("append k 9 0 4\r\n-end\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 5 9\r\nbegin-end\r\nEND\r\n"),
        row("prepend adds before, keeps the flags, and needs an item")
            .ask("prepend k 0 0 3\r\nend\r\n", "NOT_STORED\r\n")
            .ask("set k 5 0 3\r\nend\r\n", "STORED\r\n")
            .ask("prepend k 9 0 6\r\nbegin-\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 5 9\r\nbegin-end\r\nEND\r\n"),
        row("append and prepend of nothing change nothing")
            .ask("set k 5 0 3\r\nabc\r\n", "STORED\r\n")
            .ask("append k 0 0 0\r\n\r\n", "STORED\r\n")
            .ask("prepend k 0 0 0\r\n\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 5 3\r\nabc\r\nEND\r\n"),
        row("append ignores the exptime it is given, so that a past one removes nothing")
            .ask("set k 0 0 1\r\na\r\n", "STORED\r\n")
            .ask("append k 0 -1 1\r\nb\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 0 2\r\nab\r\nEND\r\n"),
        row("a value grows by many appends")
            .ask("set k 0 0 0\r\n\r\n", "STORED\r\n")
            .ask("append k 0 0 4\r\nwxyz\r\n".repeat(300), "STORED\r\n".repeat(300))
            .ask("get k\r\n", format!("VALUE k 0 1200\r\n{}\r\nEND\r\n", "wxyz".repeat(300))),
        row("a failed add and a failed replace leave other keys alone").ask("set k 0 0 1\r\na\r\n", "STORED\r\n").ask(
            "add k 0 0 1\r\nb\r\nreplace absent 0 0 1\r\nc\r\nget k absent\r\n",
            "NOT_STORED\r\nNOT_STORED\r\nVALUE k 0 1\r\na\r\nEND\r\n",
        ),
    ]
}

fn keys_and_values() -> Vec<Row> {
    let long_key = "k".repeat(250);
    let every_byte: Vec<u8> = (0..=255).collect();
    // any byte but space and the two of the line end
    let binary_key: Vec<u8> = (1..=255).filter(|b| !b" \r\n".contains(b)).take(250).collect();
    let other_keys: Vec<u8> = (200..=255).filter(|b| !b" \r\n".contains(b)).collect();
    let line = |verb: &str, key: &[u8], rest: &str| [verb.as_bytes(), b" ", key, rest.as_bytes()].concat();
    let big: Vec<u8> = (0..1_000_000u32).map(|i| (i * 31 % 251) as u8).collect();
    vec![
        row("an empty value is a value")
            .ask("set k 3 0 0\r\n\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 3 0\r\n\r\nEND\r\n"),
        row("a value may hold every byte")
            .ask([b"set k 0 0 256\r\n", every_byte.as_slice(), b"\r\n"].concat(), "STORED\r\n")
            .ask("get k\r\n", [b"VALUE k 0 256\r\n", every_byte.as_slice(), b"\r\nEND\r\n"].concat()),
        row("a value may hold line ends and commands")
            .ask("set k 0 0 24\r\n\r\nget k\r\nset k 0 0 1\r\n\r\n\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 0 24\r\n\r\nget k\r\nset k 0 0 1\r\n\r\n\r\nEND\r\n"),
        row("a key may have 250 bytes")
            .ask(format!("set {long_key} 0 0 1\r\na\r\n"), "STORED\r\n")
            .ask(format!("get {long_key}\r\n"), format!("VALUE {long_key} 0 1\r\na\r\nEND\r\n"))
            .ask(format!("delete {long_key}\r\n"), "DELETED\r\n"),
        row("a key may hold every byte but space and line end")
            .ask(line("set", &binary_key, " 0 0 1\r\na\r\n"), "STORED\r\n")
            .ask(line("get", &binary_key, "\r\n"), line("VALUE", &binary_key, " 0 1\r\na\r\nEND\r\n"))
            .ask(line("set", &other_keys, " 0 0 1\r\nb\r\n"), "STORED\r\n")
            .ask(line("get", &other_keys, "\r\n"), line("VALUE", &other_keys, " 0 1\r\nb\r\nEND\r\n"))
            .ask(line("delete", &binary_key, "\r\n"), "DELETED\r\n"),
        row("keys are case sensitive, and a key is not the beginning of another")
            .ask(
                "set key 0 0 1\r\na\r\nset KEY 0 0 1\r\nb\r\nset keys 0 0 1\r\nc\r\n",
                "STORED\r\nSTORED\r\nSTORED\r\n",
            )
            .ask(
                "get key KEY keys ke\r\n",
                "VALUE key 0 1\r\na\r\nVALUE KEY 0 1\r\nb\r\nVALUE keys 0 1\r\nc\r\nEND\r\n",
            ),
        row("a megabyte comes back as it went in")
            .ask([b"set k 0 0 1000000\r\n", big.as_slice(), b"\r\n"].concat(), "STORED\r\n")
            .ask("get k\r\n", [b"VALUE k 0 1000000\r\n", big.as_slice(), b"\r\nEND\r\n"].concat()),
        row("a value grows and shrinks").ask(sizes().0, sizes().1),
    ]
}

/// Sets of many sizes of one key, each read back.
fn sizes() -> (Vec<u8>, Vec<u8>) {
    let (mut send, mut expect) = (Vec::new(), Vec::new());
    for length in [1, 63, 64, 65, 4095, 2, 16384, 16385, 100_000, 0, 7] {
        let value = vec![b'a' + (length % 26) as u8; length];
        send.extend_from_slice(format!("set k 0 0 {length}\r\n").as_bytes());
        send.extend_from_slice(&value);
        send.extend_from_slice(b"\r\nget k\r\n");
        expect.extend_from_slice(format!("STORED\r\nVALUE k 0 {length}\r\n").as_bytes());
        expect.extend_from_slice(&value);
        expect.extend_from_slice(b"\r\nEND\r\n");
    }
    (send, expect)
}

fn flags() -> Vec<Row> {
    vec![
        row("flags are 32 bits")
            .ask("set k 4294967295 0 1\r\na\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 4294967295 1\r\na\r\nEND\r\n")
            .ask("set k 65536 0 1\r\na\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 65536 1\r\na\r\nEND\r\n"),
        row("flags of 2^32 wrap to 0, silently")
            .ask("set k 4294967296 0 1\r\na\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 0 1\r\na\r\nEND\r\n")
            .ask("set k 4294967299 0 1\r\na\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 3 1\r\na\r\nEND\r\n"),
        row("flags with leading zeros are decimal")
            .ask("set k 0010 0 1\r\na\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 10 1\r\na\r\nEND\r\n"),
        row("the length may have leading zeros")
            .ask("set k 0 0 003\r\nabc\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 0 3\r\nabc\r\nEND\r\n"),
        row("runs of spaces separate like one")
            .ask("set  k   1  0    1  \r\na\r\n", "STORED\r\n")
            .ask("get    k  \r\n", "VALUE k 1 1\r\na\r\nEND\r\n"),
        row("a command line may end in a bare line feed")
            .ask("set k 1 0 1\na\r\n", "STORED\r\n")
            .ask("get k\n", "VALUE k 1 1\r\na\r\nEND\r\n"),
    ]
}
