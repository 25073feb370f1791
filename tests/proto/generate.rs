//! Input for the parser: commands right and nearly right, streams of them, and streams with bytes changed. Lines stay
//! well below the length at which where the input was cut begins to matter.

use proptest::prelude::*;

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => "[a-z:0-9]{1,24}".prop_map(String::into_bytes),
        1 => (245_usize..256).prop_map(|bytes| vec![b'k'; bytes]),
        1 => Just(b"noreply".to_vec()),
        1 => Just(b"HTTP/1.1".to_vec()),
        1 => prop::collection::vec(any::<u8>().prop_filter("a separator", |byte| !b" \r\n".contains(byte)), 1..8),
    ]
}

fn number() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0_u32..3000).prop_map(|n| n.to_string()),
        2 => any::<i32>().prop_map(|n| n.to_string()),
        1 => any::<u64>().prop_map(|n| n.to_string()),
        1 => prop::sample::select(vec![
            "", "-", "+1", "x", "1x", "0x1", "noreply", "-0", "00", "2147483645", "2147483646", "2147483647", "2147483648",
            "4294967295", "4294967296", "-2147483648", "-2147483649", "9223372036854775807", "9223372036854775808",
            "9999999999999999999", "18446744073709551615", "18446744073709551616", "10000000000000000000",
            "00000000000000000001", "000000000000000000001",
        ]).prop_map(str::to_string),
    ]
    .prop_map(String::into_bytes)
}

fn spaces() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![12 => Just(1_usize), 1 => 0_usize..4].prop_map(|count| vec![b' '; count])
}

fn line_end() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n", "\r\r\n", " \r\n"]).prop_map(|end| end.as_bytes().to_vec())
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![
        "get",
        "gets",
        "gat",
        "gats",
        "set",
        "add",
        "replace",
        "append",
        "prepend",
        "cas",
        "delete",
        "incr",
        "decr",
        "touch",
        "flush_all",
        "version",
        "verbosity",
        "quit",
        "shutdown",
        "cache_memlimit",
        "stats",
        "lru_crawler",
        "lru",
        "slabs",
        "watch",
        "extstore",
        "refresh_certs",
        "mg",
        "mn",
        "GET",
        "",
        "g",
        "sett",
        "se",
        " get",
        "\u{1}",
    ])
    .prop_map(|name| name.as_bytes().to_vec())
}

/// Any name before any words: mostly wrong.
fn jumble() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![key(), number(), Just(b"graceful".to_vec())];
    (name(), prop::collection::vec((spaces(), word), 0..7), line_end()).prop_map(|(name, words, end)| {
        let mut line = name;
        for (spaces, word) in words {
            line.extend(spaces);
            line.extend(word);
        }
        line.extend(end);
        line
    })
}

fn noreply() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", " noreply"])
}

/// A store command that is right, but for what chance makes of its numbers and its block's end.
fn store() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec!["set", "add", "replace", "append", "prepend", "cas"]);
    let block = prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(prop::sample::select(b"get a\r\n".to_vec()), 0..40),
        1 => (940_usize..1000).prop_map(|bytes| vec![b'v'; bytes]),
    ];
    let block_end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "x\r\n", ""]);
    let wrong_length = prop::option::weighted(0.1, number());
    (name, key(), number(), number(), wrong_length, block, noreply(), line_end(), block_end).prop_map(
        |(name, key, flags, exptime, wrong_length, block, noreply, end, block_end)| {
            let cas = if name == "cas" { " 17" } else { "" };
            let length = wrong_length.unwrap_or_else(|| block.len().to_string().into_bytes());
            let rest = format!("{cas}{noreply}");
            [
                name.as_bytes(),
                b" ",
                &key,
                b" ",
                &flags,
                b" ",
                &exptime,
                b" ",
                &length,
                rest.as_bytes(),
                &end,
                &block,
                block_end.as_bytes(),
            ]
            .concat()
        },
    )
}

fn get() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec!["get", "gets", "gat 10", "gats -1"]);
    (name, prop::collection::vec((spaces(), key()), 1..20), line_end()).prop_map(|(name, keys, end)| {
        let mut line = name.as_bytes().to_vec();
        for (spaces, key) in keys {
            if line.len() + key.len() < 1500 {
                line.extend(spaces);
                line.extend(key);
            }
        }
        line.extend(end);
        line
    })
}

fn keyed() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec!["delete", "incr", "decr", "touch"]);
    (name, key(), number(), noreply(), line_end()).prop_map(|(name, key, number, noreply, end)| {
        [name.as_bytes(), b" ", &key, b" ", &number, noreply.as_bytes(), &end].concat()
    })
}

/// One command.
pub fn command() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => store(), 3 => get(), 2 => keyed(), 3 => jumble()]
}

/// Commands one behind another.
pub fn stream() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(command(), 1..8).prop_map(|commands| commands.concat())
}

/// A short stream with some bytes changed, removed or doubled.
pub fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<usize>(), 0_u8..3, prop_oneof![prop::sample::select(b" \r\n0-9a\x80".to_vec()), any::<u8>()]);
    let bytes = prop::collection::vec(command(), 1..3).prop_map(|commands| commands.concat());
    (bytes, prop::collection::vec(change, 1..5)).prop_map(|(mut bytes, changes)| {
        for (at, kind, byte) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = at % bytes.len();
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}
