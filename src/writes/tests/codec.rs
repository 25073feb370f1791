//! Forwarded writes as bytes.

use std::fmt::Write as _;

use super::super::codec::{ForwardFault, KINDS};
use super::super::{OwnedWrite, Write};
use super::cluster::origin;
use crate::proto::{Direction, StoreVerb};

const VERBS: [StoreVerb; 6] =
    [StoreVerb::Set, StoreVerb::Add, StoreVerb::Replace, StoreVerb::Append, StoreVerb::Prepend, StoreVerb::Cas];

/// One of each kind, with fields at their bounds.
fn all() -> Vec<Write<'static>> {
    let (key, long): (&[u8], &[u8]) = (b"key", &[b'k'; 250]);
    let mut all = vec![
        Write::Delete { key: long },
        Write::Arithmetic { direction: Direction::Increment, key, delta: u64::MAX },
        Write::Arithmetic { direction: Direction::Decrement, key: b"k", delta: 0 },
        Write::Touch { key, exptime: -1 },
        Write::FlushAll { delay: i32::MIN },
        Write::FlushAll { delay: 0 },
    ];
    for verb in VERBS {
        let cas = if verb == StoreVerb::Cas { u64::MAX } else { 0 };
        all.push(Write::Store { verb, key, flags: u32::MAX, exptime: i32::MAX, cas, value: b"some value" });
        all.push(Write::Store { verb, key: long, flags: 0, exptime: 0, cas: 0, value: b"" });
        all.push(Write::TooLarge { verb, key });
    }
    for (with_cas, last) in [(false, false), (false, true), (true, false), (true, true)] {
        all.push(Write::GetAndTouch { key, exptime: 100, with_cas, last });
    }
    all
}

fn bytes(write: &Write<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write.encode(&mut bytes);
    bytes
}

#[test]
fn a_write_comes_back_as_it_went() {
    for write in all() {
        let bytes = bytes(&write);
        assert_eq!(format!("{:?}", Write::decode(&bytes)), format!("{:?}", Ok::<_, ForwardFault>(write)));
        assert_eq!(format!("{:?}", OwnedWrite::new(origin(0), &write).as_write()), format!("{write:?}"));
    }
}

#[test]
fn what_is_cut_or_longer_is_refused_or_is_another_value() {
    for write in all() {
        let whole = bytes(&write);
        for length in 0..whole.len() {
            if let Ok(shorter) = Write::decode(&whole[..length]) {
                assert_eq!(bytes(&shorter), whole[..length]);
                assert!(!matches!(write, Write::FlushAll { .. } | Write::Store { .. }) || length > 2, "{write:?}");
            }
        }
    }
    let longer = [bytes(&Write::FlushAll { delay: 1 }), vec![0]].concat();
    assert_eq!(Write::decode(&longer).err(), Some(ForwardFault::Surplus(1)));
}

#[test]
fn every_field_is_checked() {
    let cases: [(&[u8], ForwardFault); 10] = [
        (&[], ForwardFault::Short),
        (&[2, 8, b'k'], ForwardFault::Version(2)),
        (&[1], ForwardFault::Short),
        (&[1, 14, b'k'], ForwardFault::Kind(14)),
        (&[1, 7, 8, b'k'], ForwardFault::Kind(8)),
        (&[1, 8], ForwardFault::KeyLength(0)),
        (&[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 251], ForwardFault::KeyLength(251)),
        (&[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, b'k'], ForwardFault::Short),
        (&[1, 12, 0, 0, 0, 0, 4, b'k'], ForwardFault::Bits(4)),
        (&[1, 13, 0, 0, 0], ForwardFault::Short),
    ];
    for (bytes, fault) in cases {
        assert_eq!(Write::decode(bytes).err(), Some(fault), "{bytes:?}");
        assert!(!fault.to_string().is_empty());
    }
    assert_eq!(Write::decode(&[&[1, 8][..], &[b'k'; 251]].concat()).err(), Some(ForwardFault::KeyLength(251)));
}

#[test]
fn format_md_has_the_table_of_the_code() {
    let mut table = String::from("| kind | write | then |\n|---|---|---|\n");
    for (kind, write, then) in KINDS {
        writeln!(table, "| {kind} | {write} | {then} |").expect("a string");
    }
    assert!(include_str!("../../../FORMAT.md").contains(&table), "FORMAT.md's table is not the code's:\n\n{table}");
}
