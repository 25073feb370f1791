//! noreply: nothing is said, of success or of failure, and the next answer belongs to the next command.

use crate::script::{Row, row};

/// The commands are silent: the `get` behind them gets the first answer.
fn silent(name: &str, commands: impl AsRef<[u8]>, then: &str) -> Row {
    row(name).send([commands.as_ref(), b"get k\r\n"].concat()).expect(then)
}

const ABSENT: &str = "END\r\n";

pub fn rows() -> Vec<Row> {
    let long = "k".repeat(251);
    vec![
        silent("set noreply", "set k 1 0 1 noreply\r\na\r\n", "VALUE k 1 1\r\na\r\nEND\r\n"),
        silent(
            "add noreply, stored and not",
            "add k 1 0 1 noreply\r\na\r\nadd k 2 0 1 noreply\r\nb\r\n",
            "VALUE k 1 1\r\na\r\nEND\r\n",
        ),
        silent("replace noreply, not stored", "replace k 1 0 1 noreply\r\na\r\n", ABSENT),
        silent("append noreply, not stored", "append k 1 0 1 noreply\r\na\r\n", ABSENT),
        silent(
            "append and prepend noreply",
            "set k 1 0 1 noreply\r\nb\r\nappend k 0 0 1 noreply\r\nc\r\nprepend k 0 0 1 noreply\r\na\r\n",
            "VALUE k 1 3\r\nabc\r\nEND\r\n",
        ),
        silent("cas noreply of what is absent", "cas k 1 0 1 5 noreply\r\na\r\n", ABSENT),
        silent("delete noreply of what is absent", "delete k noreply\r\ndelete k 0 noreply\r\n", ABSENT),
        silent("incr noreply of what is absent", "incr k 1 noreply\r\ndecr k 1 noreply\r\n", ABSENT),
        silent(
            "incr noreply of what is no number",
            "set k 0 0 1 noreply\r\na\r\nincr k 1 noreply\r\n",
            "VALUE k 0 1\r\na\r\nEND\r\n",
        ),
        silent("incr noreply by what is no number", "incr k x noreply\r\n", ABSENT),
        silent("touch noreply of what is absent", "touch k 5 noreply\r\n", ABSENT),
        silent("touch noreply with a bad time", "touch k x noreply\r\n", ABSENT),
        silent("flush_all noreply with a bad delay", "flush_all x noreply\r\n", ABSENT),
        silent("verbosity noreply", "verbosity 0 noreply\r\nverbosity noreply\r\n", ABSENT),
        silent("cache_memlimit noreply, too small", "cache_memlimit 7 noreply\r\n", ABSENT),
        silent("set noreply with a key too long", format!("set {long} 0 0 1 noreply\r\na\r\n"), ABSENT),
        silent("append noreply with a key too long", format!("append {long} 0 0 1 noreply\r\na\r\n"), ABSENT),
        silent("set noreply with bad flags", "set k x 0 1 noreply\r\na\r\n", ABSENT),
        silent("set noreply with a bad exptime", "set k 0 x 1 noreply\r\na\r\n", ABSENT),
        silent("incr noreply with a key too long", format!("incr {long} 1 noreply\r\n"), ABSENT),
        silent("delete noreply with a key too long", format!("delete {long} noreply\r\n"), ABSENT),
        silent("touch noreply with a key too long", format!("touch {long} 1 noreply\r\n"), ABSENT),
        silent(
            "set noreply of an object too large removes the old value",
            format!("set k 0 0 1 noreply\r\na\r\nset k 0 0 1048576 noreply\r\n{}\r\n", "b".repeat(1 << 20)),
            ABSENT,
        ),
        silent(
            "add noreply of an object too large keeps the old value",
            format!("set k 0 0 1 noreply\r\na\r\nadd k 0 0 1048576 noreply\r\n{}\r\n", "b".repeat(1 << 20)),
            "VALUE k 0 1\r\na\r\nEND\r\n",
        ),
        row("a bad data chunk is silent with noreply, what is left of it is a command")
            .send("set k 0 0 1 noreply\r\nabc\r\n")
            .expect("CLIENT_ERROR bad command line format\r\n")
            .ask("get k\r\n", ABSENT),
        row("a set whose length is no number is an error even with noreply")
            .ask("set k 0 0 x noreply\r\n", "CLIENT_ERROR bad command line format\r\n")
            .ask("set k 0 0 -1 noreply\r\n", "CLIENT_ERROR bad command line format\r\n"),
        row("noreply must be the last word")
            .ask("set k 0 0 1\r\na\r\n", "STORED\r\n")
            .ask("incr k 1 noreply x\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"),
        row("noreply is a key like another where it is not the last word of a command that knows it")
            .ask("set noreply 0 0 1\r\na\r\n", "STORED\r\n")
            .ask("get noreply\r\n", "VALUE noreply 0 1\r\na\r\nEND\r\n"),
        row("thousands of silent sets, then one answer")
            .ask(
                (0..3000).map(|i| format!("set key:{i} 0 0 4 noreply\r\n{i:04}\r\n")).collect::<String>()
                    + "get key:2999\r\n",
                "VALUE key:2999 0 4\r\n2999\r\nEND\r\n",
            )
            .ask("get key:0 key:1500\r\n", "VALUE key:0 0 4\r\n0000\r\nVALUE key:1500 0 4\r\n1500\r\nEND\r\n"),
    ]
}
