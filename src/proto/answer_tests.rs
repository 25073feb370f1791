//! The client's side of the protocol: what the server's encoder says is understood, however it was cut, and what the
//! client's encoder says is what the server's parser reads. The oracle splits lines and words the slow way.

use proptest::prelude::*;

use super::answer::{Answer, Answered, Fault, MetaCode, parse_answer};
use super::{Command, Direction, Get, ParseLimits, Parsed, Store, StoreVerb, parse, reply, request};
use crate::config::{ITEM_BYTES_CEILING, LINE_BYTES_MAX};

const LIMITS: ParseLimits = ParseLimits { item_bytes_max: 1 << 20 };

fn whole(text: &[u8]) -> Answer<&[u8]> {
    match parse_answer(text) {
        Answered::Answer { answer, consumed } => {
            assert_eq!(consumed, text.len(), "{}", text.escape_ascii());
            answer
        }
        other => panic!("{}: {other:?}", text.escape_ascii()),
    }
}

/// Answers with their texts, one of each kind and the edges of numbers.
fn table() -> Vec<(&'static [u8], Answer<&'static [u8]>)> {
    let meta = |code, flags: &'static str, data| Answer::Meta { code, flags: flags.as_bytes(), data };
    vec![
        (b"VALUE k 0 5\r\nvalue\r\n", Answer::Value { key: b"k", flags: 0, cas: None, data: b"value" }),
        (b"VALUE k 4294967295 0 7\r\n\r\n", Answer::Value { key: b"k", flags: u32::MAX, cas: Some(7), data: b"" }),
        (b"VALUE k 1 4\r\n\r\nEN\r\n", Answer::Value { key: b"k", flags: 1, cas: None, data: b"\r\nEN" }),
        (b"END\r\n", Answer::End),
        (b"STORED\r\n", Answer::Stored),
        (b"NOT_STORED\r\n", Answer::NotStored),
        (b"EXISTS\r\n", Answer::Exists),
        (b"NOT_FOUND\r\n", Answer::NotFound),
        (b"DELETED\r\n", Answer::Deleted),
        (b"TOUCHED\r\n", Answer::Touched),
        (b"OK\r\n", Answer::Ok),
        (b"RESET\r\n", Answer::Reset),
        (b"18446744073709551615\r\n", Answer::Number(u64::MAX)),
        (b"0\r\n", Answer::Number(0)),
        (b"VERSION 1.6.45\r\n", Answer::Version(b"1.6.45")),
        (b"STAT pid 1\r\n", Answer::Stat { name: b"pid", value: b"1" }),
        (b"STAT empty\r\n", Answer::Stat { name: b"empty", value: b"" }),
        (b"STAT words a b\r\n", Answer::Stat { name: b"words", value: b"a b" }),
        (b"ERROR\r\n", Answer::Refused(Fault::Client, b"ERROR")),
        (b"CLIENT_ERROR bad\r\n", Answer::Refused(Fault::Client, b"CLIENT_ERROR bad")),
        (b"SERVER_ERROR no\r\n", Answer::Refused(Fault::Server, b"SERVER_ERROR no")),
        (b"SERVER_ERROR: none\n", Answer::Refused(Fault::Server, b"SERVER_ERROR: none")),
        (b"HD\r\n", meta(MetaCode::Done, "", None)),
        (b"HD Oabc t-1\r\n", meta(MetaCode::Done, "Oabc t-1", None)),
        (b"VA 2\r\nhi\r\n", meta(MetaCode::Value, "", Some(b"hi"))),
        (b"VA 2 c7 f0\r\n\r\n\r\n", meta(MetaCode::Value, "c7 f0", Some(b"\r\n"))),
        (b"EN\r\n", meta(MetaCode::Miss, "", None)),
        (b"NF\r\n", meta(MetaCode::NotFound, "", None)),
        (b"NS\r\n", meta(MetaCode::NotStored, "", None)),
        (b"EX\r\n", meta(MetaCode::Exists, "", None)),
        (b"MN\r\n", meta(MetaCode::NoOp, "", None)),
    ]
}

#[test]
fn every_answer_is_understood_whole_and_asks_for_more_when_cut_anywhere() {
    for (text, expected) in table() {
        assert_eq!(whole(text), expected, "{}", text.escape_ascii());
        for cut in 0..text.len() {
            match parse_answer(&text[..cut]) {
                Answered::Need { total } => {
                    assert!(total > cut && total <= text.len(), "{} at {cut}: {total}", text.escape_ascii());
                }
                other => panic!("{} at {cut}: {other:?}", text.escape_ascii()),
            }
        }
    }
}

#[test]
fn what_no_server_says_is_malformed() {
    let too_long = format!("VALUE k 0 {}\r\n", ITEM_BYTES_CEILING + 1);
    let endless = vec![b'x'; LINE_BYTES_MAX];
    let texts: [&[u8]; 21] = [
        b"\r\n",
        b"end\r\n",
        b"STORED \r\n",
        b"12x\r\n",
        b"18446744073709551616\r\n",
        b"VALUE\r\n",
        b"VALUE k\r\n",
        b"VALUE k 0\r\n",
        b"VALUE  0 5\r\n",
        b"VALUE k x 5\r\n",
        b"VALUE k 4294967296 5\r\n",
        b"VALUE k 0 -1\r\n",
        b"VALUE k 0 1 \r\n",
        b"VALUE k 0 1 2 3\r\n",
        b"VALUE k 0 1\r\nabc",
        b"STAT \r\n",
        b"VA\r\n",
        b"VA x\r\n",
        b"HDx\r\n",
        too_long.as_bytes(),
        &endless,
    ];
    for text in texts {
        assert_eq!(parse_answer(text), Answered::Malformed, "{}", text.escape_ascii());
    }
}

#[test]
fn the_length_of_a_data_block_says_what_is_needed() {
    assert_eq!(parse_answer(b"VALUE k 0 100\r\nab"), Answered::Need { total: 15 + 102 });
    assert_eq!(parse_answer(b"VA 100 t1\r\n"), Answered::Need { total: 11 + 102 });
}

/// Answers one after another, with the tail kept, as a connection does.
fn fed(pieces: &[&[u8]]) -> Vec<String> {
    let (mut pending, mut seen) = (Vec::new(), Vec::new());
    for piece in pieces {
        pending.extend_from_slice(piece);
        let mut at = 0;
        loop {
            match parse_answer(&pending[at..]) {
                Answered::Answer { answer, consumed } => {
                    seen.push(format!("{answer:?}"));
                    at += consumed;
                }
                Answered::Need { .. } => break,
                Answered::Malformed => panic!("{}", pending[at..].escape_ascii()),
            }
        }
        pending.drain(..at);
    }
    assert!(pending.is_empty());
    seen
}

/// The same, by a reader that looks at nothing but lines and words.
fn oracle(mut text: &[u8]) -> usize {
    let mut answers = 0;
    while !text.is_empty() {
        let line = text.iter().position(|byte| *byte == b'\n').expect("a line");
        let words: Vec<&[u8]> = text[..line].trim_ascii_end().split(|byte| *byte == b' ').collect();
        let length = match words[0] {
            b"VALUE" => words.get(3),
            b"VA" => words.get(1),
            _ => None,
        };
        let block = length.map_or(0, |word| String::from_utf8_lossy(word).parse::<usize>().expect("a length") + 2);
        text = &text[line + 1 + block..];
        answers += 1;
    }
    answers
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(b'!'..=b'~', 1..=250)
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_of_answers_is_the_same_in_any_split(
        picks in proptest::collection::vec(0..table().len(), 1..20),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let table = table();
        let text: Vec<u8> = picks.iter().flat_map(|pick| table[*pick].0).copied().collect();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).chain([0, text.len()]).collect();
        ends.sort_unstable();
        let pieces: Vec<&[u8]> = ends.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect();
        let expected: Vec<String> = picks.iter().map(|pick| format!("{:?}", table[*pick].1)).collect();
        prop_assert_eq!(fed(&pieces), expected);
        prop_assert_eq!(oracle(&text), picks.len());
    }

    #[test]
    fn what_the_server_encodes_the_client_reads(key in key(), data in bytes(), flags: u32, cas: Option<u64>) {
        let mut out = Vec::new();
        reply::value(&mut out, &key, flags, &data, cas);
        prop_assert_eq!(whole(&out), Answer::Value { key: &key[..], flags, cas, data: &data[..] });
    }

    #[test]
    fn what_the_client_encodes_the_server_reads(key in key(), value in bytes(), flags: u32, exptime: i32, cas: u64, noreply: bool) {
        for verb in [StoreVerb::Set, StoreVerb::Add, StoreVerb::Replace, StoreVerb::Append, StoreVerb::Prepend, StoreVerb::Cas] {
            let cas = if verb == StoreVerb::Cas { cas } else { 0 };
            let store = Store { verb, key: &key, flags, exptime, cas, value: &value, noreply };
            prop_assert_eq!(read(|out| request::store(out, &store), |command| command == Command::Store(store)), Ok(()));
        }
        for direction in [Direction::Increment, Direction::Decrement] {
            let expected = Command::Arithmetic { direction, key: &key, delta: cas, noreply: false };
            prop_assert_eq!(read(|out| request::arithmetic(out, direction, &key, cas), |command| command == expected), Ok(()));
        }
        let expected = Command::Touch { key: &key, exptime, noreply: false };
        prop_assert_eq!(read(|out| request::touch(out, &key, exptime), |command| command == expected), Ok(()));
        let expected = Command::Delete { key: &key, noreply: false };
        prop_assert_eq!(read(|out| request::delete(out, &key), |command| command == expected), Ok(()));
    }

    #[test]
    fn a_get_of_many_keys_is_read_as_it_was_written(keys in proptest::collection::vec(key(), 1..20), with_cas: bool) {
        let is_it = |command: Command<'_>| match command {
            Command::Get(Get { keys: read, with_cas: cas, touch: None }) => cas == with_cas && read.eq(keys.iter().map(Vec::as_slice)),
            _ => false,
        };
        prop_assert_eq!(read(|out| request::get(out, keys.iter().map(Vec::as_slice), with_cas), is_it), Ok(()));
    }
}

/// Whether the server reads exactly one command, and the right one.
fn read(write: impl FnOnce(&mut Vec<u8>), is_right: impl FnOnce(Command<'_>) -> bool) -> Result<(), String> {
    let mut out = Vec::new();
    write(&mut out);
    match parse(&out, &LIMITS) {
        Parsed::Command { command, consumed } if consumed == out.len() && is_right(command.clone()) => Ok(()),
        other => Err(format!("{}: {other:?}", out.escape_ascii())),
    }
}

#[test]
fn meta_commands_are_written_as_the_protocol_has_them() {
    let mut out = Vec::new();
    request::meta_get(&mut out, b"k", "v");
    request::meta_get(&mut out, b"k", "");
    request::meta_set(&mut out, b"k", b"hi", "");
    request::meta_set(&mut out, b"k", b"", "T0 c");
    request::meta_delete(&mut out, b"k", "");
    request::meta_arithmetic(&mut out, b"k", "v");
    let expected = "mg k v\r\nmg k\r\nms k 2\r\nhi\r\nms k 0 T0 c\r\n\r\nmd k\r\nma k v\r\n";
    assert_eq!(String::from_utf8_lossy(&out), expected);
}
