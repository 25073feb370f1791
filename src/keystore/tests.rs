//! Keystores as bytes: what is written comes back in pieces of any size, and what was not written is refused.

use std::fmt::Write as _;

use super::layout::{self, chunk, header, kind};
use super::*;
use crate::cluster::EpochStart;
use crate::log::layout::{Field, put};
use crate::log::{Epoch, LogIndex, Position};
use crate::store::{Item, ItemBits};
use crate::time::Expiry;

fn mark(epoch: u64, index: u64, position: u64) -> Mark {
    Mark { epoch: Epoch(epoch), index: LogIndex(index), position: Position(position) }
}

fn history() -> Vec<EpochStart> {
    let start = |epoch, index, position| EpochStart {
        epoch: Epoch(epoch),
        first_index: LogIndex(index),
        position: Position(position),
    };
    vec![start(1, 1, 0), start(2, 5, 500), start(4, 9, 900)]
}

fn head() -> Header {
    let flush_at = Some(Seconds(1_800_000_000));
    Header { log_id: LogId(77), start: mark(4, 12, 1300), last_time: Time(1_700_000_000_000), flush_at, epochs: 3 }
}

/// Items of all shapes; their number is not small, so that there is more than one chunk.
fn items() -> Vec<(Vec<u8>, Vec<u8>, Item<'static>)> {
    (0..3000u64)
        .map(|n| {
            let (key, value) = (format!("key-{n}").into_bytes(), vec![n as u8; (n * 7 % 400) as usize]);
            let (flags, expiry) = (if n % 3 == 0 { n as u32 } else { 0 }, if n % 5 == 0 { 1000 + n as u32 } else { 0 });
            let bits = ItemBits(u8::from(n % 7 == 0));
            let item = Item { key: &[], value: &[], flags, expiry: Expiry::from_raw(expiry), cas: n << 20, bits };
            (key, value, item)
        })
        .collect()
}

fn keystore() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::begin(&head(), &history(), &mut bytes);
    for (key, value, item) in &items() {
        encoder.push(&Item { key, value, ..*item }, &mut bytes);
    }
    let end = encoder.end(mark(5, 20, 2000), &mut bytes);
    assert_eq!(end, End { consistent: mark(5, 20, 2000), items: 3000 });
    bytes
}

/// Header, epochs, items and end, as far as they are there.
type Parts = (Option<Header>, Vec<EpochStart>, Vec<String>, Option<End>);

/// Everything in a keystore whose bytes come `at_a_time`.
fn read(bytes: &[u8], at_a_time: usize) -> Result<Parts, KeystoreFault> {
    let mut decoder = Decoder::new();
    let (mut header, mut epochs, mut found, mut end) = (None, Vec::new(), Vec::new(), None);
    let (mut at, mut there) = (0, 0);
    while !decoder.is_whole() {
        match decoder.step(&bytes[at..there])? {
            Step::Need { bytes: needed } => {
                assert!(needed > there - at, "what is needed is there");
                if there == bytes.len() {
                    break;
                }
                there = bytes.len().min(there + at_a_time);
            }
            Step::Piece { piece, consumed } => {
                at += consumed;
                match piece {
                    Piece::Header(of) => header = Some(of),
                    Piece::Epochs(of) => epochs.extend(of),
                    Piece::Items(of) => {
                        for item in of {
                            found.push(format!("{:?}", item?));
                        }
                    }
                    Piece::End(of) => end = Some(of),
                }
            }
        }
    }
    assert!(end.is_none() || at == bytes.len());
    Ok((header, epochs, found, end))
}

#[test]
fn a_keystore_comes_back_in_pieces_of_any_size() {
    let bytes = keystore();
    let items: Vec<String> =
        items().iter().map(|(key, value, item)| format!("{:?}", Item { key, value, ..*item })).collect();
    let chunks = bytes.windows(4).filter(|four| *four == chunk::MAGIC_BYTES).count();
    assert!(chunks >= 4, "{chunks} chunks");
    for at_a_time in [1 << 20, 4096, 777] {
        let (header, epochs, found, end) = read(&bytes, at_a_time).expect("it was just made");
        assert_eq!((header, epochs), (Some(head()), history()));
        assert_eq!(end.map(|end| (end.consistent, end.items)), Some((mark(5, 20, 2000), 3000)));
        assert_eq!(found, items);
    }
}

#[test]
fn the_keystore_of_an_empty_log_is_one() {
    let mut bytes = Vec::new();
    let empty = Header { start: Mark::default(), flush_at: None, epochs: 0, ..head() };
    Encoder::begin(&empty, &[], &mut bytes).end(Mark::default(), &mut bytes);
    let (header, epochs, found, end) = read(&bytes, 100).expect("it was just made");
    assert_eq!((header, epochs.len(), found.len()), (Some(empty), 0, 0));
    assert_eq!(end, Some(End { consistent: Mark::default(), items: 0 }));
}

#[test]
fn an_item_larger_than_a_chunk_has_one_for_itself() {
    let (mut bytes, value) = (Vec::new(), vec![b'v'; 3 << 20]);
    let mut encoder = Encoder::begin(&head(), &history(), &mut bytes);
    let (flags, expiry, cas, bits) = (0, Expiry::NEVER, 9, ItemBits(0));
    encoder.push(&Item { key: b"k", value: &value, flags, expiry, cas, bits }, &mut bytes);
    encoder.push(&Item { key: b"l", value: b"", flags, expiry, cas, bits }, &mut bytes);
    encoder.end(mark(4, 12, 1300), &mut bytes);
    assert_eq!(read(&bytes, 1 << 16).expect("it was just made").2.len(), 2);
}

#[test]
fn any_byte_that_is_another_is_noticed() {
    let bytes = keystore();
    let long: usize = bytes.len();
    // all of the headers and some of the bodies
    for at in (0..250).chain((250..long).step_by(19_937)).chain(long - 100..long) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(read(&damaged, 1 << 20).is_err(), "byte {at}");
    }
}

#[test]
fn a_keystore_that_is_cut_has_no_end() {
    let bytes = keystore();
    for length in [0, 1, 71, 72, 103, 104, 5000, bytes.len() - 65, bytes.len() - 1] {
        let (.., end) = read(&bytes[..length], 1 << 20).expect("what is there is right");
        assert_eq!(end, None, "{length} bytes");
    }
}

/// Where the chunks begin.
fn chunks(bytes: &[u8]) -> Vec<usize> {
    let mut all = vec![header::BYTES];
    while let Some(&last) = all.last().filter(|&&last| last < bytes.len()) {
        let body = u32::from_le_bytes(bytes[last + chunk::BODY_BYTES.at..][..4].try_into().expect("four bytes"));
        all.push(last + chunk::BYTES + body as usize);
    }
    all
}

fn seal_header(bytes: &mut [u8]) {
    let checksum = crc32c::crc32c(&bytes[header::CHECKSUM.end()..header::BYTES]);
    put(bytes, header::CHECKSUM, checksum.to_le_bytes());
}

/// Makes the checksums of a chunk right again.
fn seal(chunk_bytes: &mut [u8]) {
    let body = u32::from_le_bytes(chunk_bytes[chunk::BODY_BYTES.at..][..4].try_into().expect("four bytes"));
    let body = crc32c::crc32c(&chunk_bytes[chunk::BYTES..][..body as usize]);
    put(chunk_bytes, chunk::BODY_CHECKSUM, body.to_le_bytes());
    let checksum = crc32c::crc32c(&chunk_bytes[chunk::CHECKSUM.end()..chunk::BYTES]);
    put(chunk_bytes, chunk::CHECKSUM, checksum.to_le_bytes());
}

/// What is said to a keystore with one field changed and all checksums right.
fn with(change: impl FnOnce(&mut Vec<u8>, &[usize])) -> KeystoreFault {
    let mut bytes = keystore();
    let at = chunks(&bytes);
    change(&mut bytes, &at);
    read(&bytes, 1 << 20).expect_err("it was changed")
}

#[test]
fn every_field_of_the_header_is_checked() {
    let field = |field: Field, byte: u8| {
        with(|bytes, _| {
            bytes[field.at] = byte;
            seal_header(bytes);
        })
    };
    assert_eq!(field(header::MAGIC, b'x'), KeystoreFault::Magic);
    assert_eq!(field(header::VERSION, 2), KeystoreFault::Version(2));
    assert_eq!(field(header::HEADER_BYTES, 71), KeystoreFault::Version(1));
    assert!(matches!(field(header::EPOCH, 0), KeystoreFault::Header(_)));
    assert!(matches!(field(header::INDEX, 0), KeystoreFault::Header(_)));
    assert!(matches!(field(header::EPOCHS, 0), KeystoreFault::Header(_)));
    assert!(matches!(field(header::EPOCHS, 9), KeystoreFault::Header(_)));
    assert_eq!(field(header::EPOCH, 5), KeystoreFault::Epochs);
    assert_eq!(field(header::INDEX, 8), KeystoreFault::Epochs);
    // one epoch less, or more, than there are: the chunk of epochs or what follows does not fit
    assert!(matches!(field(header::EPOCHS, 2), KeystoreFault::Chunk(_)));
    assert!(matches!(field(header::EPOCHS, 4), KeystoreFault::Chunk(_)));
}

#[test]
fn every_field_of_a_chunk_is_checked() {
    let field = |number: usize, field: Field, byte: u8| {
        with(|bytes, at| {
            bytes[at[number] + field.at] = byte;
            // a body that is said to be longer than what is there cannot be sealed
            if field.name != chunk::BODY_BYTES.name {
                seal(&mut bytes[at[number]..]);
            }
        })
    };
    assert!(matches!(field(1, chunk::MAGIC, 0), KeystoreFault::Chunk(_)));
    assert_eq!(field(1, chunk::BODY_BYTES, 1), KeystoreFault::Checksum);
    assert!(matches!(field(1, chunk::KIND, 7), KeystoreFault::Chunk(_)));
    assert!(matches!(field(1, chunk::KIND, kind::END as u8), KeystoreFault::Chunk(_)));
    assert!(matches!(field(0, chunk::KIND, kind::ITEMS as u8), KeystoreFault::Chunk(_)));
    assert!(matches!(field(0, chunk::COUNT, 2), KeystoreFault::Chunk(_)));
    assert!(matches!(field(1, chunk::NUMBER, 2), KeystoreFault::Chunk(_)));
    let fewer = with(|bytes, at| {
        put(&mut bytes[at[1]..], chunk::COUNT, 1u32.to_le_bytes());
        seal(&mut bytes[at[1]..]);
    });
    assert!(matches!(fewer, KeystoreFault::Item(_)), "{fewer:?}");
    assert!(matches!(
        with(|bytes, at| {
            bytes[at[1] + chunk::BYTES] = 0x01;
            seal(&mut bytes[at[1]..]);
        }),
        KeystoreFault::NoItem
    ));
    assert!(matches!(
        with(|bytes, at| {
            bytes.drain(at[1]..at[2]);
        }),
        KeystoreFault::Chunk(_)
    ));
}

#[test]
fn epochs_and_end_must_fit_the_start() {
    let body = |back: usize, at_byte: usize, byte: u8| {
        with(|bytes, at| {
            let chunk_at = at[at.len() - 2 - back];
            bytes[chunk_at + chunk::BYTES + at_byte] = byte;
            seal(&mut bytes[chunk_at..]);
        })
    };
    for (at_byte, byte) in [(0, 0), (24, 1), (32, 1), (40, 0)] {
        let fault = with(|bytes, at| {
            bytes[at[0] + chunk::BYTES + at_byte] = byte;
            bytes[at[0] + chunk::BYTES + at_byte + 1] = 0;
            seal(&mut bytes[at[0]..]);
        });
        assert_eq!(fault, KeystoreFault::Epochs, "byte {at_byte}");
    }
    // epoch, index, number of items
    for (at_byte, byte) in [(0, 3), (8, 11), (8, 12), (24, 0)] {
        assert!(matches!(body(0, at_byte, byte), KeystoreFault::End(_)), "byte {at_byte}");
    }
    for fault in [KeystoreFault::Epochs, KeystoreFault::NoItem, KeystoreFault::End("x"), KeystoreFault::Chunk("y")] {
        assert!(fault.to_string().contains("keystore"));
    }
}

fn table(fields: &[Field]) -> String {
    let mut text = String::from("| byte | bytes | field | holds |\n|---|---|---|---|\n");
    let mut at = 0;
    for field in fields {
        assert_eq!(field.at, at, "{} follows its neighbour", field.name);
        writeln!(text, "| {} | {} | `{}` | {} |", field.at, field.bytes, field.name, field.meaning).expect("a string");
        at = field.end();
    }
    text
}

#[test]
fn format_md_has_the_tables_of_the_code() {
    let page = include_str!("../../FORMAT.md");
    let mut kinds = String::from("| kind | chunk | body |\n|---|---|---|\n");
    for (kind, name, body) in layout::KINDS {
        writeln!(kinds, "| {kind} | {name} | {body} |").expect("a string");
    }
    for table in [table(&header::FIELDS), table(&chunk::FIELDS), kinds] {
        assert!(page.contains(&table), "FORMAT.md's table of the keystore is not the code's, which is:\n\n{table}");
    }
}
