//! What must hold for any bytes that come as a message; shared by the fuzz target and a bounded test.

use ringstore::cluster::codec::{decode, encode, header};

/// Whatever decodes has one form and nothing wrong with it. Most bytes fail the checksum, so it is made right as well.
pub fn check_message(data: &[u8]) {
    check(data);
    let mut sealed = data.to_vec();
    if sealed.len() >= header::BYTES {
        sealed[..4].copy_from_slice(&header::MAGIC_BYTES);
        sealed[header::VERSION.at..header::VERSION.end()].copy_from_slice(&1_u16.to_le_bytes());
        let body_bytes = (sealed.len() - header::BYTES) as u32;
        sealed[header::BODY_BYTES.at..header::BODY_BYTES.end()].copy_from_slice(&body_bytes.to_le_bytes());
        let kind = sealed[header::KIND.at] % 22;
        sealed[header::KIND.at..header::KIND.end()].copy_from_slice(&[kind, 0]);
        let checksum = crc32c::crc32c(&sealed[header::CHECKSUM.end()..]);
        sealed[header::CHECKSUM.at..header::CHECKSUM.end()].copy_from_slice(&checksum.to_le_bytes());
        check(&sealed);
    }
}

fn check(bytes: &[u8]) {
    if let Ok(message) = decode(bytes) {
        assert_eq!(message.fault(), None);
        let mut again = Vec::new();
        encode(&message, &mut again);
        assert_eq!(again, bytes, "a message has one form");
    }
}

/// Pieces of messages.
pub const DICTIONARY: &[&[u8]] = &[
    &[0; 8],
    &[1, 0, 0, 0, 0, 0, 0, 0],
    &[2, 0, 0, 0, 0, 0, 0, 0],
    &[0],
    &[1],
    &[0; 16],
    &[0xFF; 8],
    &[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
    &header::MAGIC_BYTES,
];
