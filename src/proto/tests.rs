//! Golden table: what each command, and each way to get it wrong, parses to. The facts are memcached 1.6.45's.

use super::*;
use crate::config::{GET_LINE_BYTES_MAX, KEY_BYTES_MAX, LINE_BYTES_MAX};

const LIMITS: ParseLimits = ParseLimits { item_bytes_max: 1 << 20 };

fn parsed(input: &[u8]) -> Parsed<'_> {
    parse(input, &LIMITS)
}

/// The command that `input` is, to its last byte.
#[track_caller]
fn command(input: &str) -> Command<'_> {
    match parsed(input.as_bytes()) {
        Parsed::Command { command, consumed } if consumed == input.len() => command,
        other => panic!("{input:?} parses to {other:?}"),
    }
}

fn invalid(text: &'static str, consumed: usize, swallow: u64) -> Parsed<'static> {
    Parsed::Invalid { reply: Some(text), consumed, swallow }
}

/// Each line is refused with `text`, and nothing but the line is dropped.
#[track_caller]
fn refuses(text: &'static str, lines: &[&str]) {
    for line in lines {
        assert_eq!(parsed(line.as_bytes()), invalid(text, line.len(), 0), "{line:?}");
    }
}

#[track_caller]
fn keys(input: &str) -> Vec<&str> {
    match command(input) {
        Command::Get(get) => get.keys.map(|key| str::from_utf8(key).expect("the test's keys are text")).collect(),
        other => panic!("{input:?} parses to {other:?}"),
    }
}

fn long_key(bytes: usize) -> String {
    "k".repeat(bytes)
}

#[test]
fn get_lists_its_keys() {
    assert_eq!(keys("get a\r\n"), ["a"]);
    assert_eq!(keys("get a\n"), ["a"]);
    assert_eq!(keys("get   a  bb   c  \r\n"), ["a", "bb", "c"]);
    assert_eq!(keys("get a noreply\r\n"), ["a", "noreply"]);
    assert_eq!(keys("gat 10 a b\r\n"), ["a", "b"]);
    assert_eq!(keys("get a\tb \u{1}\u{e9}\r\n"), ["a\tb", "\u{1}\u{e9}"]);
    assert_eq!(keys("get HTTP/1.1\r\n"), ["HTTP/1.1"]);
    for (input, with_cas, touch) in [
        ("get a\r\n", false, None),
        ("gets a\r\n", true, None),
        ("gat 10 a\r\n", false, Some(10)),
        ("gats -1 a\r\n", true, Some(-1)),
    ] {
        let Command::Get(get) = command(input) else { panic!("{input:?} is no get") };
        assert_eq!((get.with_cas, get.touch), (with_cas, touch), "{input:?}");
    }
}

#[test]
fn keys_have_1_to_250_bytes_wherever_they_stand() {
    let (longest, too_long) = (long_key(KEY_BYTES_MAX), long_key(KEY_BYTES_MAX + 1));
    for verb in ["get", "gets", "gat 0", "gats 0"] {
        for before in [0, 1, 30, 249, 250, 251, 500] {
            let before = "a ".repeat(before);
            let accepted = format!("{verb} {before}{longest} b\r\n");
            assert!(keys(&accepted).contains(&longest.as_str()));
            refuses(reply::BAD_FORMAT, &[&format!("{verb} {before}{too_long} b\r\n")]);
            refuses(reply::BAD_FORMAT, &[&format!("{verb} {before}{too_long}\r\n")]);
        }
    }
    for line in ["delete K\r\n", "incr K 1\r\n", "touch K 1\r\n"] {
        command(&line.replace('K', &longest));
        refuses(reply::BAD_FORMAT, &[&line.replace('K', &too_long)]);
    }
    assert_eq!(parsed(format!("set {longest} 0 0 1\r\n").as_bytes()), Parsed::Need { total: 265 });
    let line = format!("set {too_long} 0 0 1\r\n");
    assert_eq!(parsed(line.as_bytes()), invalid(reply::BAD_FORMAT, line.len(), 3));
}

#[test]
fn every_store_command_carries_its_block() {
    for (verb, name) in [
        (StoreVerb::Set, "set"),
        (StoreVerb::Add, "add"),
        (StoreVerb::Replace, "replace"),
        (StoreVerb::Append, "append"),
        (StoreVerb::Prepend, "prepend"),
        (StoreVerb::Cas, "cas"),
    ] {
        let (cas, word) = if verb == StoreVerb::Cas { (u64::MAX, " 18446744073709551615") } else { (0, "") };
        for (noreply, last) in [(false, ""), (true, " noreply")] {
            for end in ["\r\n", "\n"] {
                let input = format!("{name} key  4294967295 -1 4{word}{last}{end}a\r\nb\r\n");
                let store = Store { verb, key: b"key", flags: u32::MAX, exptime: -1, cas, value: b"a\r\nb", noreply };
                assert_eq!(command(&input), Command::Store(store), "{input:?}");
            }
        }
    }
    assert!(matches!(command("set k 0 0 0\r\n\r\n"), Command::Store(Store { value: b"", .. })));
    assert!(matches!(command("set k 0 0 1 what ever\r\nv\r\n"), Command::Store(Store { noreply: false, .. })));
}

#[test]
fn flags_and_exptime_keep_32_bits() {
    for (word, flags) in [("0", 0), ("4294967295", u32::MAX), ("4294967296", 0), ("4294967297", 1)] {
        let input = format!("set k {word} 0 1\r\nv\r\n");
        assert!(matches!(command(&input), Command::Store(store) if store.flags == flags), "{input:?}");
    }
    for (word, exptime) in [
        ("0", 0),
        ("2147483647", i32::MAX),
        ("2147483648", i32::MIN),
        ("4294967295", -1),
        ("4294967296", 0),
        ("-1", -1),
        ("-2147483648", i32::MIN),
    ] {
        let input = format!("set k 0 {word} 1\r\nv\r\n");
        assert!(matches!(command(&input), Command::Store(store) if store.exptime == exptime), "{input:?}");
    }
}

#[test]
fn a_store_command_waits_for_exactly_its_bytes() {
    assert_eq!(parsed(b"set k 0 0 3\r\n"), Parsed::Need { total: 18 });
    assert_eq!(parsed(b"set k 0 0 3\r\nabc\r"), Parsed::Need { total: 18 });
    assert_eq!(parsed(b"set k 0 0 3\nabc\r"), Parsed::Need { total: 17 });
    assert_eq!(parsed(b"set k 0 0 3"), Parsed::Need { total: 12 });
}

#[test]
fn a_block_must_end_where_its_length_says() {
    assert_eq!(parsed(b"set k 0 0 3\r\nabcdefg\r\n"), invalid(reply::BAD_CHUNK, 18, 0));
    assert_eq!(parsed(b"set k 0 0 3\r\nabc\n\nxx"), invalid(reply::BAD_CHUNK, 18, 0));
    let silent = Parsed::Invalid { reply: None, consumed: 26, swallow: 0 };
    assert_eq!(parsed(b"set k 0 0 3 noreply\r\nabcde"), silent);
}

#[test]
fn a_malformed_store_swallows_the_block_whose_length_it_tells() {
    for line in [
        "set k -1 0 3\r\n",
        "set k x 0 3\r\n",
        "set k 99999999999999999999 0 3\r\n",
        "set k 0 x 3\r\n",
        "add k 0 0x1 3\r\n",
        "cas k 0 0 3\r\n",
        "cas k 0 0 3 x\r\n",
        "cas k 0 0 3 -1\r\n",
        "cas k 0 0 3 18446744073709551616\r\n",
    ] {
        assert_eq!(parsed(line.as_bytes()), invalid(reply::BAD_FORMAT, line.len(), 5), "{line:?}");
    }
    for line in ["set k -1 0 3 noreply\r\n", "cas k 0 0 3 noreply\r\n"] {
        let silent = Parsed::Invalid { reply: None, consumed: line.len(), swallow: 5 };
        assert_eq!(parsed(line.as_bytes()), silent, "{line:?}");
    }
}

#[test]
fn a_store_whose_length_is_none_is_refused_aloud_and_swallows_nothing() {
    let lines = [
        "set\r\n",
        "set \r\n",
        "set k 0 0\r\n",
        "set k 0 0 noreply\r\n",
        "set k 0 0 -1\r\n",
        "set k 0 0 -1 noreply\r\n",
        "set k 0 0 x\r\n",
        "set k 0 0 2147483646\r\n",
        "set k 0 0 4294967296\r\n",
        "set k 0 0 99999999999999999999\r\n",
        "cas k 0 0\r\n",
    ];
    refuses(reply::BAD_FORMAT, &lines);
}

#[test]
fn a_large_item_is_refused_before_its_block_is_read() {
    assert_eq!(parsed(b"set k 0 0 1048516\r\n"), Parsed::Need { total: 19 + 1_048_518 });
    for (noreply, line) in [(false, "set k 0 0 1048517\r\nvvv"), (true, "set k 0 0 1048517 noreply\r\nvvv")] {
        let command = Command::StoreTooLarge { verb: StoreVerb::Set, key: b"k", noreply, swallow: 1_048_519 };
        let consumed = line.len() - "vvv".len();
        assert_eq!(parsed(line.as_bytes()), Parsed::Command { command, consumed }, "{line:?}");
    }
    let Parsed::Command { command: Command::StoreTooLarge { verb, swallow, .. }, .. } =
        parsed(b"cas key 1 2 2147483645 7\r\n")
    else {
        panic!("the longest block memcached can count is too large, not malformed")
    };
    assert_eq!((verb, swallow), (StoreVerb::Cas, 2_147_483_647));
}

#[test]
fn delete_takes_up_to_two_words_behind_the_key() {
    for (input, noreply) in [
        ("delete k\r\n", false),
        ("delete k noreply\r\n", true),
        ("delete k 0\r\n", false),
        ("delete k 10 noreply\r\n", true),
    ] {
        assert_eq!(command(input), Command::Delete { key: b"k", noreply }, "{input:?}");
    }
    assert_eq!(command("delete noreply\r\n"), Command::Delete { key: b"noreply", noreply: false });
    refuses(reply::BAD_FORMAT, &["delete\r\n", "delete  \r\n", "delete k 0 0 0\r\n", "delete a b c d e\r\n"]);
    let silent = Parsed::Invalid { reply: None, consumed: 24, swallow: 0 };
    assert_eq!(parsed(b"delete k 0 0 0 noreply\r\n"), silent);
}

#[test]
fn incr_and_decr() {
    for (name, direction) in [("incr", Direction::Increment), ("decr", Direction::Decrement)] {
        for (word, delta) in [("1", 1), ("00012", 12), ("18446744073709551615", u64::MAX)] {
            for (last, noreply) in [("", false), (" noreply", true)] {
                let input = format!("{name} k {word}{last}\r\n");
                assert_eq!(command(&input), Command::Arithmetic { direction, key: b"k", delta, noreply }, "{input:?}");
            }
        }
        refuses(reply::BAD_FORMAT, &[&format!("{name}\r\n"), &format!("{name} k\r\n")]);
        for word in ["-1", "x", "1x", "18446744073709551616", "100000000000000000000"] {
            refuses(reply::INVALID_DELTA, &[&format!("{name} k {word}\r\n")]);
        }
        for line in [format!("{name} k x noreply\r\n"), format!("{name} k noreply\r\n")] {
            let silent = Parsed::Invalid { reply: None, consumed: line.len(), swallow: 0 };
            assert_eq!(parsed(line.as_bytes()), silent, "{line:?}");
        }
    }
}

#[test]
fn touch_and_gat_refuse_a_time_that_is_none() {
    assert_eq!(command("touch k 5 noreply\r\n"), Command::Touch { key: b"k", exptime: 5, noreply: true });
    refuses(reply::BAD_FORMAT, &["touch\r\n", "touch k\r\n", "gat\r\n", "gat 10\r\n", "gat k \r\n", "gats 1\r\n"]);
    refuses(reply::INVALID_EXPTIME, &["touch k x\r\n", "touch k -\r\n", "gat x k\r\n", "gats 1x k\r\n"]);
    assert_eq!(parsed(b"touch k x noreply\r\n"), Parsed::Invalid { reply: None, consumed: 19, swallow: 0 });
}

#[test]
fn commands_without_a_key() {
    for (input, expected) in [
        ("flush_all\r\n", Command::FlushAll { delay: 0, noreply: false }),
        ("flush_all noreply\r\n", Command::FlushAll { delay: 0, noreply: true }),
        ("flush_all 10\r\n", Command::FlushAll { delay: 10, noreply: false }),
        ("flush_all -5 noreply\r\n", Command::FlushAll { delay: -5, noreply: true }),
        ("cache_memlimit 64\r\n", Command::CacheMemlimit { megabytes: 64, noreply: false }),
        ("cache_memlimit 7 noreply\r\n", Command::CacheMemlimit { megabytes: 7, noreply: true }),
        ("verbosity 1\r\n", Command::Verbosity { level: 1, noreply: false }),
        ("verbosity 4294967295 noreply\r\n", Command::Verbosity { level: u32::MAX, noreply: true }),
        ("version\r\n", Command::Version),
        ("quit\n", Command::Quit),
        ("shutdown\r\n", Command::Shutdown { graceful: false }),
        ("shutdown graceful\r\n", Command::Shutdown { graceful: true }),
        ("stats\r\n", Command::Stats { arguments: b"" }),
        ("stats  detail  on \r\n", Command::Stats { arguments: b"detail  on" }),
        ("lru_crawler metadump all\r\n", admin(AdminVerb::LruCrawler, "metadump all")),
        ("lru mode flat\r\n", admin(AdminVerb::Lru, "mode flat")),
        ("slabs automove 1\r\n", admin(AdminVerb::Slabs, "automove 1")),
        ("watch\r\n", admin(AdminVerb::Watch, "")),
        ("extstore item_age 1\r\n", admin(AdminVerb::Extstore, "item_age 1")),
        ("refresh_certs\r\n", admin(AdminVerb::RefreshCerts, "")),
    ] {
        assert_eq!(command(input), expected, "{input:?}");
    }
    refuses(reply::INVALID_EXPTIME, &["flush_all x\r\n", "flush_all 2147483648\r\n"]);
    refuses(reply::BAD_FORMAT, &["verbosity\r\n", "verbosity x\r\n", "verbosity -1\r\n", "verbosity 4294967296\r\n"]);
    refuses(reply::ERROR, &["cache_memlimit\r\n", "cache_memlimit x\r\n", "cache_memlimit 4294967296\r\n"]);
    refuses(reply::INVALID_SHUTDOWN_MODE, &["shutdown now\r\n", "shutdown graceful now\r\n"]);
}

fn admin(verb: AdminVerb, arguments: &str) -> Command<'_> {
    Command::Admin { verb, arguments: arguments.as_bytes() }
}

#[test]
fn names_are_exact_and_only_the_space_separates() {
    let unknown = [
        "GET k\r\n",
        "getx k\r\n",
        "ge k\r\n",
        "get\tk\r\n",
        " get k\r\n",
        " set k 0 0 1\r\n",
        "flush\r\n",
        "ab\r\n",
        "abc\n",
        "    \r\n",
        "mn\r\n",
        "mg k v\r\n",
        "misbehave\r\n",
        "HTTP/1.1\r\n",
        "\u{0}\u{0}\u{0}\u{0}\r\n",
    ];
    refuses(reply::ERROR, &unknown);
    assert_eq!(parsed(b"frob k noreply\r\n"), Parsed::Invalid { reply: None, consumed: 16, swallow: 0 });
    refuses(reply::BAD_FORMAT, &["\r\n", "\n", "a\r\n", "ab\n", "get\r\n", "get  \r\n", "gets\r\n"]);
    assert_eq!(parsed(b"\n\r\n"), invalid(reply::BAD_FORMAT, 1, 0));
}

#[test]
fn what_is_no_client_is_left_without_an_answer() {
    let http = ["GET / HTTP/1.1\r\n", "POST /a HTTP/1.0\n", "DELETE HTTP/1.1\r\n", " put x HTTP/\r\n"];
    for input in http.iter().map(|text| text.as_bytes()).chain([&b"\x80\x00"[..], b"\x80\n", b"\x80 HTTP/1.1\r\n"]) {
        assert!(matches!(parsed(input), Parsed::Close { .. }), "{input:?}");
    }
    assert_eq!(parsed(b"GET / HTTP\r\n"), invalid(reply::ERROR, 12, 0));
}

#[test]
fn an_endless_line_closes_the_connection_and_an_endless_get_does_later() {
    let line = |start: &str, bytes: usize| format!("{start}{}", "x".repeat(bytes - start.len())).into_bytes();
    for start in ["", "set ", "gat ", "get", "incr k 1", "mg "] {
        let longest = line(start, LINE_BYTES_MAX);
        assert_eq!(parsed(&longest), Parsed::Need { total: LINE_BYTES_MAX + 1 }, "{start:?}");
        assert!(matches!(parsed(&line(start, LINE_BYTES_MAX + 1)), Parsed::Close { .. }), "{start:?}");
    }
    for start in ["get ".to_string(), "gets ".to_string(), format!("{}get ", " ".repeat(100))] {
        let longest = line(&start, GET_LINE_BYTES_MAX);
        assert_eq!(parsed(&longest), Parsed::Need { total: GET_LINE_BYTES_MAX + 1 }, "{start:?}");
        assert!(matches!(parsed(&line(&start, GET_LINE_BYTES_MAX + 1)), Parsed::Close { .. }), "{start:?}");
    }
    assert!(matches!(parsed(&line(&format!("{}get ", " ".repeat(101)), 2049)), Parsed::Close { .. }));
    // with its end at hand a line may be of any length
    refuses(reply::ERROR, &[&format!("{}\r\n", "x".repeat(5000))]);
    refuses(reply::BAD_FORMAT, &[&format!("delete {}\r\n", "x".repeat(3000))]);
    assert_eq!(keys(&format!("get {}\r\n", "key ".repeat(20_000))).len(), 20_000);
}

#[test]
fn counters_are_decimal_and_may_be_padded() {
    for (value, counter) in [
        ("0", Some(0)),
        ("9 ", Some(9)),
        (" 10", Some(10)),
        ("99  ", Some(99)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("000000000000000000001", None),
        ("", None),
        ("  ", None),
        ("-1", None),
        ("1x", None),
        ("1 2", None),
    ] {
        assert_eq!(parse_counter(value.as_bytes()), counter, "{value:?}");
    }
}

#[test]
fn answers_are_memcacheds_bytes() {
    for (reply, text) in [
        (Reply::Stored, "STORED\r\n"),
        (Reply::NotStored, "NOT_STORED\r\n"),
        (Reply::Exists, "EXISTS\r\n"),
        (Reply::NotFound, "NOT_FOUND\r\n"),
        (Reply::Deleted, "DELETED\r\n"),
        (Reply::Touched, "TOUCHED\r\n"),
        (Reply::Ok, "OK\r\n"),
        (Reply::Number(0), "0\r\n"),
        (Reply::Number(u64::MAX), "18446744073709551615\r\n"),
        (Reply::Line(reply::TOO_LARGE), "SERVER_ERROR object too large for cache\r\n"),
        (Reply::Bytes(b"END\r\n".to_vec()), "END\r\n"),
    ] {
        let mut out = b"before".to_vec();
        reply.encode(&mut out);
        assert_eq!(out, [b"before", text.as_bytes()].concat(), "{reply:?}");
    }
}

#[test]
fn values_statistics_and_ends() {
    let mut out = Vec::new();
    reply::value(&mut out, b"k", 0, b"", None);
    reply::value(&mut out, b"key", u32::MAX, b"a\r\nb", Some(u64::MAX));
    reply::end(&mut out);
    reply::stat(&mut out, "threads", 4);
    reply::line(&mut out, reply::OK);
    let text =
        "VALUE k 0 0\r\n\r\nVALUE key 4294967295 4 18446744073709551615\r\na\r\nb\r\nEND\r\nSTAT threads 4\r\nOK\r\n";
    assert_eq!(String::from_utf8(out).expect("text"), text);
}
