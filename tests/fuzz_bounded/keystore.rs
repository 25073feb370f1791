//! What must hold for any bytes that come as a keystore; shared by the fuzz target and a bounded test.

use ringstore::keystore::layout::{chunk, header};
use ringstore::keystore::{Decoder, Piece, Step};
use ringstore::log::Entry;

/// Whatever decodes has marks and items that are such. Most bytes fail a checksum, so those are made right as well.
pub fn check_keystore(data: &[u8]) {
    check(data);
    let mut sealed = data.to_vec();
    if sealed.len() < header::BYTES + chunk::BYTES {
        return;
    }
    let (head, rest) = sealed.split_at_mut(header::BYTES);
    head[..8].copy_from_slice(&header::MAGIC_BYTES);
    head[header::VERSION.at..header::HEADER_BYTES.end()].copy_from_slice(&[1, 0, header::BYTES as u8, 0]);
    if head[header::FLUSH_AT.at] & 1 == 0 {
        // an empty log's, which more bytes fit
        head[header::EPOCH.at..header::TIME.at].fill(0);
        head[header::EPOCHS.at..header::EPOCHS.end()].fill(0);
    }
    let checksum = crc32c::crc32c(&head[header::CHECKSUM.end()..]);
    head[header::CHECKSUM.at..header::CHECKSUM.end()].copy_from_slice(&checksum.to_le_bytes());
    seal_chunk(rest);
    check(&sealed);
}

/// All that is there is one chunk.
fn seal_chunk(bytes: &mut [u8]) {
    bytes[..4].copy_from_slice(&chunk::MAGIC_BYTES);
    let kind = 1 + bytes[chunk::KIND.at] % 3;
    bytes[chunk::KIND.at..chunk::KIND.end()].copy_from_slice(&[kind, 0, 0, 0]);
    let body = (bytes.len() - chunk::BYTES) as u32;
    bytes[chunk::COUNT.at + 1..chunk::COUNT.end()].fill(0);
    bytes[chunk::BODY_BYTES.at..chunk::BODY_BYTES.end()].copy_from_slice(&body.to_le_bytes());
    bytes[chunk::NUMBER.at..].split_at_mut(8).0.fill(0);
    let body = crc32c::crc32c(&bytes[chunk::BYTES..]);
    bytes[chunk::BODY_CHECKSUM.at..chunk::BODY_CHECKSUM.end()].copy_from_slice(&body.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[chunk::CHECKSUM.end()..chunk::BYTES]);
    bytes[chunk::CHECKSUM.at..chunk::CHECKSUM.end()].copy_from_slice(&checksum.to_le_bytes());
}

fn check(bytes: &[u8]) {
    let mut decoder = Decoder::new();
    let mut at = 0;
    while !decoder.is_whole() {
        match decoder.step(&bytes[at..]) {
            Err(_) => return,
            Ok(Step::Need { bytes: needed }) => {
                assert!(needed > bytes.len() - at, "what is needed is there");
                return;
            }
            Ok(Step::Piece { piece, consumed }) => {
                assert!(consumed > 0 && consumed <= bytes.len() - at);
                if let Piece::Items(items) = piece {
                    let mut again = Vec::new();
                    for item in items {
                        let Ok(item) = item else { return };
                        let (flags, expiry, cas, bits) = (item.flags, item.expiry, Some(item.cas), item.bits.0);
                        let (key, value) = (item.key, item.value);
                        Entry::Put { key, value, flags, expiry, cas, bits }.encode(&mut again);
                    }
                    assert_eq!(again, bytes[at + chunk::BYTES..at + consumed], "an item has one form");
                }
                at += consumed;
            }
        }
    }
}

/// Pieces of keystores.
pub const DICTIONARY: &[&[u8]] = &[
    &[0; 32],
    &[1, 0, 0, 0, 0, 0, 0, 0],
    &[2, 0, 0, 0],
    &[1],
    &[0],
    &header::MAGIC_BYTES,
    &chunk::MAGIC_BYTES,
    &[0x41, 1, 1, 5, 0, 0, 0, 0, 0, 0, 0, b'k', b'v'],
    &[0x61, 3, 0, 9, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, b'k', b'e', b'y'],
];
