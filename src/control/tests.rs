//! The client's side of the protocol against itself and against what memcached sends.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::json;
use super::output::{Format, Outcome, show};
use super::reply::{Fault, Reply, take};
use super::request::{Key, Request, RequestError, StoreMode, exptime};
use crate::time::Seconds;

const TEXT: Format = Format::Text { terminal: false };

/// A runner whose seed is printed, and taken from `RINGSTORE_SEED` to replay a failure.
fn runner() -> TestRunner {
    let seed = match std::env::var("RINGSTORE_SEED") {
        Ok(given) => given.parse().expect("RINGSTORE_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("RINGSTORE_SEED={seed}");
    TestRunner::new(Config { rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() })
}

fn key(text: &str) -> Key {
    Key::new(text.to_owned()).expect("a good key")
}

/// All replies in the bytes; every byte must be used.
fn all(bytes: &[u8]) -> Vec<Reply> {
    let mut input = BytesMut::from(bytes);
    let mut replies = Vec::new();
    while let Some(reply) = take(&mut input).expect("well formed") {
        replies.push(reply);
    }
    assert!(input.is_empty(), "left over: {input:?}");
    replies
}

fn encode(reply: &Reply) -> Vec<u8> {
    let line = match reply {
        Reply::Value { key, flags, cas, data } => {
            let cas = cas.map_or_else(String::new, |cas| format!(" {cas}"));
            let length = data.len();
            return [b"VALUE ", &key[..], format!(" {flags} {length}{cas}\r\n").as_bytes(), data, b"\r\n"].concat();
        }
        Reply::Stat { name, value } => [b"STAT ", &name[..], b" ", &value[..]].concat(),
        Reply::End => b"END".to_vec(),
        Reply::Reset => b"RESET".to_vec(),
        Reply::Stored => b"STORED".to_vec(),
        Reply::NotStored => b"NOT_STORED".to_vec(),
        Reply::Exists => b"EXISTS".to_vec(),
        Reply::NotFound => b"NOT_FOUND".to_vec(),
        Reply::Deleted => b"DELETED".to_vec(),
        Reply::Touched => b"TOUCHED".to_vec(),
        Reply::Ok => b"OK".to_vec(),
        Reply::Number(number) => number.to_string().into_bytes(),
        Reply::Version(version) => [b"VERSION ", &version[..]].concat(),
        Reply::Refused(_, text) => text.to_vec(),
        Reply::Meta { .. } => unreachable!("no client command has such an answer"),
    };
    [&line[..], b"\r\n"].concat()
}

fn word() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(0x21u8..0x7f, 1..20).prop_map(Bytes::from)
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let value = (word(), any::<u32>(), any::<Option<u64>>(), prop::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(key, flags, cas, data)| Reply::Value { key, flags, cas, data: data.into() });
    prop_oneof![
        4 => value,
        2 => (word(), word()).prop_map(|(name, value)| Reply::Stat { name, value }),
        1 => any::<u64>().prop_map(Reply::Number),
        1 => word().prop_map(Reply::Version),
        1 => Just(Reply::Refused(Fault::Server, Bytes::from_static(b"SERVER_ERROR out of memory storing object"))),
        1 => Just(Reply::Refused(Fault::Client, Bytes::from_static(b"ERROR"))),
        4 => prop::sample::select(vec![
            Reply::End, Reply::Reset, Reply::Stored, Reply::NotStored, Reply::Exists, Reply::NotFound, Reply::Deleted,
            Reply::Touched, Reply::Ok,
        ]),
    ]
}

#[test]
fn replies_are_the_same_however_the_stream_is_cut() {
    let stream = (prop::collection::vec(any_reply(), 1..12), prop::collection::vec(1usize..200, 1..40));
    runner()
        .run(&stream, |(replies, cuts)| {
            let bytes: Vec<u8> = replies.iter().flat_map(encode).collect();
            let (mut input, mut seen, mut sent) = (BytesMut::new(), Vec::new(), 0);
            for cut in cuts.iter().cycle() {
                let end = bytes.len().min(sent + cut);
                input.extend_from_slice(&bytes[sent..end]);
                sent = end;
                while let Some(reply) = take(&mut input).expect("well formed") {
                    seen.push(reply);
                }
                if sent == bytes.len() {
                    break;
                }
            }
            prop_assert_eq!(seen, replies);
            prop_assert!(input.is_empty());
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn no_bytes_make_the_reply_parser_panic_or_take_without_a_reply() {
    runner()
        .run(&prop::collection::vec(any::<u8>(), 0..3000), |bytes| {
            for start in [&b""[..], b"VALUE k 1 ", b"STAT ", b"12"] {
                let mut input = BytesMut::from(&[start, &bytes[..]].concat()[..]);
                let before = input.len();
                match take(&mut input) {
                    Ok(None) => prop_assert_eq!(input.len(), before),
                    Ok(Some(_)) => prop_assert!(input.len() < before),
                    Err(_) => {}
                }
            }
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn every_cut_of_a_value_waits_for_the_rest() {
    let bytes = b"VALUE k 7 4 99\r\n\r\nEN\r\nEND\r\n";
    for cut in 0..bytes.len() - 5 {
        let mut input = BytesMut::from(&bytes[..cut]);
        assert_eq!(take(&mut input), Ok(None), "cut at {cut}");
        assert_eq!(input, bytes[..cut]);
    }
    let data = Bytes::from_static(b"\r\nEN");
    assert_eq!(all(bytes), [Reply::Value { key: "k".into(), flags: 7, cas: Some(99), data }, Reply::End]);
}

#[test]
fn what_is_not_the_protocol_is_refused() {
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n"[..],
        b"VALUE k 0\r\n",
        b"VALUE k 0 -1\r\n",
        b"VALUE k 0 99999999999\r\n",
        b"VALUE k 4294967296 1\r\na\r\n",
        b"VALUE k 0 1 2 3\r\na\r\n",
        b"VALUE k 0 1\r\nab\r\n",
        b"12x\r\n",
        b"\r\n",
        b"STAT \r\n",
        &[b'x'; 2048],
    ] {
        assert!(take(&mut BytesMut::from(bytes)).is_err(), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn texts_of_servers_are_kept() {
    assert_eq!(
        all(b"STAT a b c\r\nSTAT d \r\nSTAT e\r\n"),
        [
            Reply::Stat { name: "a".into(), value: "b c".into() },
            Reply::Stat { name: "d".into(), value: "".into() },
            Reply::Stat { name: "e".into(), value: "".into() },
        ]
    );
    assert_eq!(
        all(b"SERVER_ERROR: shutdown not enabled\n"),
        [Reply::Refused(Fault::Server, "SERVER_ERROR: shutdown not enabled".into())]
    );
    assert_eq!(
        all(b"ERROR Too many open connections\r\n"),
        [Reply::Refused(Fault::Client, "ERROR Too many open connections".into())]
    );
}

#[test]
fn keys_are_checked_before_they_are_sent() {
    assert!(Key::new("a".repeat(250)).is_ok());
    assert!(Key::new("k\u{e9}y").is_ok());
    assert_eq!(Key::new("").err(), Some(RequestError::KeyEmpty));
    assert_eq!(Key::new("a".repeat(251)).err(), Some(RequestError::KeyTooLong(251)));
    for (bad, place) in [("a b", 2), ("a\r\n", 2), ("\tb", 1), ("ab\x7f", 3), ("\0", 1)] {
        assert_eq!(Key::new(bad).err(), Some(RequestError::KeyByte(place)), "{bad:?}");
    }
    assert_eq!(Request::stats(vec!["a\r\nquit".into()]).err(), Some(RequestError::StatsArgument));
    let many = (0..40_000).map(|number| key(&format!("{number:0250}"))).collect();
    assert_eq!(Request::get(many, false).err(), Some(RequestError::TooManyKeys));
}

#[test]
fn requests_are_memcacheds() {
    let store = |mode, value: &'static [u8]| {
        Request::Store { mode, key: key("k"), flags: 5, exptime: 60, value: Bytes::from_static(value) }.encode()
    };
    assert_eq!(store(StoreMode::Set, b"a\r\n\0")[..], *b"set k 5 60 4\r\na\r\n\0\r\n");
    assert_eq!(store(StoreMode::Cas(u64::MAX), b"")[..], *b"cas k 5 60 0 18446744073709551615\r\n\r\n");
    assert_eq!(store(StoreMode::Add, b"v")[..], *b"add k 5 60 1\r\nv\r\n");
    assert_eq!(store(StoreMode::Replace, b"v")[..], *b"replace k 5 60 1\r\nv\r\n");
    assert_eq!(store(StoreMode::Append, b"v")[..], *b"append k 5 60 1\r\nv\r\n");
    assert_eq!(store(StoreMode::Prepend, b"v")[..], *b"prepend k 5 60 1\r\nv\r\n");
    let get = |with_cas| Request::get(vec![key("b"), key("a"), key("b")], with_cas).expect("short").encode();
    assert_eq!(get(false)[..], *b"get b a\r\n", "each key once");
    assert_eq!(get(true)[..], *b"gets b a\r\n");
    assert_eq!(Request::Delete(key("k")).encode()[..], *b"delete k\r\n");
    assert_eq!(Request::Increment(key("k"), 3).encode()[..], *b"incr k 3\r\n");
    assert_eq!(Request::Decrement(key("k"), 3).encode()[..], *b"decr k 3\r\n");
    assert_eq!(Request::Touch(key("k"), 9).encode()[..], *b"touch k 9\r\n");
    assert_eq!(Request::stats(vec!["items".into()]).expect("a word").encode()[..], *b"stats items\r\n");
    assert_eq!(Request::Version.encode()[..], *b"version\r\n");
}

#[test]
fn a_long_ttl_is_sent_as_the_second_it_ends() {
    let now = Seconds(1_800_000_000);
    assert_eq!(exptime(0, now), Ok(0));
    assert_eq!(exptime(2_592_000, now), Ok(2_592_000));
    assert_eq!(exptime(2_592_001, now), Ok(1_802_592_001));
    assert_eq!(exptime(1_000_000_000, now), Err(RequestError::TtlTooLong(1_000_000_000)));
    assert_eq!(exptime(u64::MAX, now), Err(RequestError::TtlTooLong(u64::MAX)));
}

fn shown(request: &Request, bytes: &[u8], format: Format) -> Outcome {
    show(request, &all(bytes), format)
}

fn text_of(outcome: &Outcome) -> &str {
    std::str::from_utf8(&outcome.stdout).expect("text")
}

#[test]
fn a_single_value_is_shown_byte_for_byte() {
    let get = Request::get(vec![key("k")], false).expect("short");
    let outcome = shown(&get, b"VALUE k 0 3\r\n\x00\xff\n\r\nEND\r\n", TEXT);
    assert_eq!(outcome, Outcome { stdout: b"\x00\xff\n".to_vec(), complaint: None, status: 0 });
    let outcome = shown(&get, b"VALUE k 0 1\r\na\r\nEND\r\n", Format::Text { terminal: true });
    assert_eq!(outcome.stdout, b"a\n");
    let outcome = shown(&get, b"END\r\n", Format::Text { terminal: true });
    assert_eq!((outcome.stdout.len(), outcome.status), (0, 1));
    assert_eq!(outcome.complaint.as_deref(), Some("not found: k"));
}

#[test]
fn several_values_are_lines_and_a_missing_one_is_named() {
    let get = Request::get(vec![key("a"), key("b"), key("c")], false).expect("short");
    let outcome = shown(&get, b"VALUE a 0 1\r\n1\r\nVALUE c 0 2\r\n33\r\nEND\r\n", TEXT);
    assert_eq!((text_of(&outcome), outcome.status), ("a 1\nc 33\n", 1));
    assert_eq!(outcome.complaint.as_deref(), Some("not found: b"));
}

#[test]
fn json_has_everything() {
    let get = Request::get(vec![key("a"), key("b"), key("c")], true).expect("short");
    let outcome = shown(&get, b"VALUE a 5 3 9\r\n\"\n\x01\r\nVALUE b 0 2 8\r\n\xff\xfe\r\nEND\r\n", Format::Json);
    let expected = concat!(
        r#"{"items":[{"key":"a","value":"\"\n\u0001","flags":5,"cas":9},"#,
        r#"{"key":"b","value_base64":"//4=","flags":0,"cas":8}],"missing":[{"key":"c"}]}"#,
        "\n"
    );
    assert_eq!((text_of(&outcome), outcome.status), (expected, 1));
    let stats = Request::stats(Vec::new()).expect("none");
    let outcome = shown(&stats, b"STAT pid 7\r\nSTAT v a\"b\r\nEND\r\n", Format::Json);
    assert_eq!(text_of(&outcome), "{\"stats\":{\"pid\":\"7\",\"v\":\"a\\\"b\"}}\n");
    let outcome = shown(&Request::Increment(key("n"), 1), b"18446744073709551615\r\n", Format::Json);
    assert_eq!(text_of(&outcome), "{\"key\":\"n\",\"value\":18446744073709551615}\n");
    let outcome = shown(&Request::Delete(key("n")), b"NOT_FOUND\r\n", Format::Json);
    assert_eq!((text_of(&outcome), outcome.status), ("{\"key\":\"n\",\"result\":\"NOT_FOUND\"}\n", 1));
}

#[test]
fn base64_is_that_of_the_rfc() {
    // RFC 4648, section 10
    let vectors =
        [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
    for (plain, coded) in vectors {
        let mut out = String::new();
        json::base64(&mut out, plain.as_bytes());
        assert_eq!(out, coded);
    }
}

#[test]
fn each_result_has_its_status() {
    let store = |mode| Request::Store { mode, key: key("k"), flags: 0, exptime: 0, value: Bytes::new() };
    for (request, reply, status, stdout) in [
        (store(StoreMode::Set), "STORED", 0, "STORED\n"),
        (store(StoreMode::Add), "NOT_STORED", 1, ""),
        (store(StoreMode::Cas(1)), "EXISTS", 1, ""),
        (store(StoreMode::Cas(1)), "NOT_FOUND", 1, ""),
        (store(StoreMode::Set), "SERVER_ERROR out of memory storing object", 75, ""),
        (Request::Increment(key("k"), 1), "CLIENT_ERROR cannot increment or decrement non-numeric value", 65, ""),
        (Request::Increment(key("k"), 1), "2", 0, "2\n"),
        (Request::Delete(key("k")), "DELETED", 0, "DELETED\n"),
        (Request::Touch(key("k"), 1), "TOUCHED", 0, "TOUCHED\n"),
        (Request::Touch(key("k"), 1), "NOT_FOUND", 1, ""),
        (Request::Delete(key("k")), "STORED", 76, ""),
        (Request::Version, "VERSION 1.6.45", 0, "1.6.45\n"),
        (Request::Version, "OK", 76, ""),
        (Request::Stats(Vec::new()), "RESET", 0, ""),
        (Request::Stats(Vec::new()), "STORED", 76, ""),
    ] {
        let outcome = shown(&request, format!("{reply}\r\n").as_bytes(), TEXT);
        assert_eq!((outcome.status, text_of(&outcome)), (status, stdout), "{request:?} answered {reply}");
        assert_eq!(outcome.complaint.is_some(), status != 0);
    }
    let get = Request::get(vec![key("k")], false).expect("short");
    assert_eq!(shown(&get, b"VALUE other 0 1\r\na\r\nEND\r\n", TEXT).status, 76, "an item nobody asked for");
}
