//! Everything that is neither data nor an error of form: version, statistics by their sub-commands, switches.

use crate::script::{Row, row};

const ERROR: &str = "ERROR\r\n";
const BAD_LINE: &str = "CLIENT_ERROR bad command line format\r\n";

/// One command and its answer.
fn answered(command: &str, answer: &str) -> Row {
    row(format!("`{}`", command.trim_end())).ask(command, answer)
}

pub fn rows() -> Vec<Row> {
    let mut rows = plain();
    rows.extend(statistics());
    rows.extend(switches());
    rows
}

fn plain() -> Vec<Row> {
    vec![
        answered("version\r\n", "VERSION 1.6.45\r\n"),
        answered("version x\r\n", "VERSION 1.6.45\r\n"),
        answered("verbosity 0\r\n", "OK\r\n"),
        answered("verbosity 0 x\r\n", "OK\r\n"),
        answered("cache_memlimit\r\n", ERROR),
        answered("cache_memlimit x\r\n", ERROR),
        answered("cache_memlimit 7\r\n", "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\r\n"),
        answered("cache_memlimit 0\r\n", "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\r\n"),
        row("cache_memlimit sets the limit")
            .fresh()
            .ask("cache_memlimit 100\r\n", "OK\r\n")
            .send("cache_memlimit 101 noreply\r\n"),
        answered("lru_crawler\r\n", ERROR),
        answered("lru_crawler bogus\r\n", ERROR),
        answered("lru_crawler crawl all\r\n", "OK\r\n"),
        answered("lru_crawler sleep 100\r\n", "OK\r\n"),
        answered("lru_crawler tocrawl 1\r\n", "OK\r\n"),
        answered("lru\r\n", ERROR),
        answered("lru bogus 1\r\n", ERROR),
        answered("lru mode segmented\r\n", "OK\r\n"),
        answered("lru temp_ttl 10\r\n", "OK\r\n"),
        answered("lru tune 10 25 0.1 2.0\r\n", "OK\r\n"),
        answered("slabs\r\n", ERROR),
        answered("slabs bogus 1\r\n", ERROR),
        answered("slabs automove 1\r\n", "OK\r\n"),
        answered("slabs reassign 1 2\r\n", "OK\r\n").ours("there are no slab classes to move pages between"),
        answered("watch bogus\r\n", ERROR),
    ]
}

fn statistics() -> Vec<Row> {
    vec![
        answered("stats bogus\r\n", ERROR),
        answered("stats cluster\r\n", "STAT role alone\r\nEND\r\n").ours("memcached knows of no cluster"),
        answered("stats reset\r\n", "RESET\r\n"),
        answered("stats sizes\r\n", "STAT sizes_status disabled\r\nEND\r\n"),
        answered("stats detail\r\n", "CLIENT_ERROR usage: stats detail on|off|dump\r\n"),
        answered("stats detail bogus\r\n", "CLIENT_ERROR usage: stats detail on|off|dump\r\n"),
        row("stats detail on, dump, off")
            .fresh()
            .ask("stats detail on\r\n", "OK\r\n")
            .ask("stats detail dump\r\n", "END\r\n")
            .ask("stats detail off\r\n", "OK\r\n"),
        by_prefix("stats detail counts by the part of the key before the colon", ':').options(&["-D", ":"]),
        by_prefix("-D names another character than the colon", '/').options(&["-D", "/"]),
        row("stats detail off stops the counting, and keeps the counts")
            .fresh()
            .ask("stats detail on\r\nset a:b 0 0 1\r\nx\r\n", "OK\r\nSTORED\r\n")
            .ask("stats detail off\r\nset a:b 0 0 1\r\nx\r\n", "OK\r\nSTORED\r\n")
            .ask("stats detail dump\r\n", "PREFIX a get 0 hit 0 set 1 del 0\r\nEND\r\n"),
        answered("stats cachedump\r\n", "CLIENT_ERROR bad command line\r\n"),
        answered("stats cachedump 1\r\n", "CLIENT_ERROR bad command line\r\n"),
        answered("stats cachedump x 0\r\n", BAD_LINE),
        answered("stats cachedump 99 0\r\n", "CLIENT_ERROR Illegal slab id\r\n"),
        answered("stats cachedump 2 0\r\n", "END\r\n"),
    ]
}

/// -D switches the counting on.
fn by_prefix(name: &str, delimiter: char) -> Row {
    row(name)
        .ask(format!("set a{delimiter}b 0 0 1\r\nx\r\nset plain 0 0 1\r\nx\r\n"), "STORED\r\nSTORED\r\n")
        .ask(format!("get a{delimiter}b a{delimiter}c\r\n"), format!("VALUE a{delimiter}b 0 1\r\nx\r\nEND\r\n"))
        .ask(format!("delete a{delimiter}b\r\n"), "DELETED\r\n")
        .ask("stats detail dump\r\n", "PREFIX a get 2 hit 1 set 1 del 1\r\nEND\r\n")
}

fn switches() -> Vec<Row> {
    vec![
        row("shutdown needs -A")
            .ask("shutdown\r\n", "SERVER_ERROR: shutdown not enabled\r\n")
            .ask("shutdown graceful\r\n", "SERVER_ERROR: shutdown not enabled\r\n"),
        row("shutdown with -A knows its modes")
            .options(&["-A"])
            .ask("shutdown bogus\r\n", "CLIENT_ERROR invalid shutdown mode\r\n"),
        row("shutdown with -A closes").options(&["-A"]).ask("get k\r\n", "END\r\n").send("shutdown\r\n").closes(),
        row("shutdown graceful with -A closes")
            .options(&["-A"])
            .ask("get k\r\n", "END\r\n")
            .send("shutdown graceful\r\n")
            .closes(),
        row("-X forbids the dumps")
            .options(&["-X"])
            .ask("stats detail on\r\n", "CLIENT_ERROR stats detail not allowed\r\n")
            .ask("stats cachedump 1 0\r\n", "CLIENT_ERROR stats cachedump not allowed\r\n")
            .ask("set k 0 0 1\r\na\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\na\r\nEND\r\n"),
        row("-W forbids to watch")
            .options(&["-W"])
            .ask("watch fetchers\r\n", "CLIENT_ERROR watch commands not allowed\r\n"),
        row("-C has no cas ids")
            .options(&["-C"])
            .ask("set k 5 0 1\r\na\r\n", "STORED\r\n")
            .ask("gets k\r\n", "VALUE k 5 1 0\r\na\r\nEND\r\n")
            .ask("get k\r\n", "VALUE k 5 1\r\na\r\nEND\r\n")
            .ask("cas absent 0 0 1 1\r\na\r\n", "NOT_FOUND\r\n"),
        row("-M refuses to evict")
            .options(&["-M", "-m", "64"])
            .ask("set k 0 0 1\r\na\r\n", "STORED\r\n")
            .ask("get k\r\n", "VALUE k 0 1\r\na\r\nEND\r\n"),
        row("memcached's usual options are taken")
            .options(&[
                "-m", "64", "-c", "1000", "-b", "512", "-R", "20", "-f", "1.25", "-n", "48", "-o", "modern", "-v",
            ])
            .ask("set k 0 0 1\r\na\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\na\r\nEND\r\n"),
    ]
}
