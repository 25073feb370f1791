//! Expiry by the real clock. The clock has seconds, so an item of n seconds may be gone after n - 1.

use crate::script::{Row, row};

pub fn rows() -> Vec<Row> {
    let classes = |name: &str, verb: &str| {
        row(format!("{name} by {verb}"))
            .ask(format!("{verb} zero 0 0 1\r\na\r\n"), "STORED\r\n")
            .ask(format!("{verb} month 0 2592000 1\r\nb\r\n"), "STORED\r\n")
            .ask(format!("{verb} past 0 2592001 1\r\nc\r\n"), "STORED\r\n")
            .ask(format!("{verb} far 0 2147483647 1\r\nd\r\n"), "STORED\r\n")
            .ask(format!("{verb} sign 0 2147483648 1\r\ne\r\n"), "STORED\r\n")
            .ask(format!("{verb} last 0 4294967295 1\r\nf\r\n"), "STORED\r\n")
            .ask(format!("{verb} negative 0 -1 1\r\ng\r\n"), "STORED\r\n")
            .ask(
                "get zero month past far sign last negative\r\n",
                "VALUE zero 0 1\r\na\r\nVALUE month 0 1\r\nb\r\nVALUE far 0 1\r\nd\r\nEND\r\n",
            )
            .ask("add negative 0 0 1\r\nh\r\n", "STORED\r\n")
            .ask("get negative\r\n", "VALUE negative 0 1\r\nh\r\nEND\r\n")
    };
    vec![
        classes("never, relative, absolute, past, negative", "set"),
        classes("the same classes of exptime", "add"),
        seconds(),
        row("a delayed flush happens at its time, and takes what is set meanwhile")
            .fresh()
            .ask("set k 0 0 1\r\na\r\n", "STORED\r\n")
            .ask("flush_all 3\r\n", "OK\r\n")
            .ask("get k\r\n", "VALUE k 0 1\r\na\r\nEND\r\n")
            .ask("set l 0 0 1\r\nb\r\n", "STORED\r\n")
            .pause(4200)
            .ask("get k l\r\n", "END\r\n")
            .ask("set k 0 0 1\r\nc\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 0 1\r\nc\r\nEND\r\n"),
    ]
}

/// Everything that needs a few seconds to pass, in one wait.
fn seconds() -> Row {
    row("items live for their seconds, as the last command said")
        .ask("set short 0 2 1\r\na\r\nset long 0 100 1\r\nb\r\nset ever 0 0 1\r\nc\r\n", "STORED\r\nSTORED\r\nSTORED\r\n")
        .ask("set touched 0 2 1\r\nd\r\ntouch touched 100\r\n", "STORED\r\nTOUCHED\r\n")
        .ask("set shortened 0 100 1\r\ne\r\ntouch shortened 2\r\n", "STORED\r\nTOUCHED\r\n")
        .ask("set gat 0 2 1\r\nf\r\ngat 100 gat\r\n", "STORED\r\nVALUE gat 0 1\r\nf\r\nEND\r\n")
        .ask("set appended 0 2 1\r\ng\r\nappended\r\nappend appended 0 100 1\r\nh\r\n", "STORED\r\nERROR\r\nSTORED\r\n")
        .ask("set counted 0 2 1\r\n1\r\nincr counted 1\r\n", "STORED\r\n2\r\n")
        .ask("set again 0 2 1\r\nx\r\nset again 0 0 1\r\ny\r\n", "STORED\r\nSTORED\r\n")
        .ask("set saved 0 2 1\r\nx\r\ntouch saved 0\r\n", "STORED\r\nTOUCHED\r\n")
        .ask("get short shortened appended counted\r\n", "VALUE short 0 1\r\na\r\nVALUE shortened 0 1\r\ne\r\nVALUE appended 0 2\r\ngh\r\nVALUE counted 0 1\r\n2\r\nEND\r\n")
        .pause(3100)
        .ask("get short shortened appended counted\r\n", "END\r\n")
        .ask(
            "get long ever touched gat again saved\r\n",
            "VALUE long 0 1\r\nb\r\nVALUE ever 0 1\r\nc\r\nVALUE touched 0 1\r\nd\r\nVALUE gat 0 1\r\nf\r\nVALUE again 0 1\r\ny\r\nVALUE saved 0 1\r\nx\r\nEND\r\n",
        )
        .ask("delete short\r\nincr counted 1\r\ntouch shortened 0\r\n", "NOT_FOUND\r\nNOT_FOUND\r\nNOT_FOUND\r\n")
        .ask("append appended 0 0 1\r\nz\r\nreplace short 0 0 1\r\nz\r\n", "NOT_STORED\r\nNOT_STORED\r\n")
        .ask("add short 0 0 1\r\nz\r\nget short\r\n", "STORED\r\nVALUE short 0 1\r\nz\r\nEND\r\n")
}
