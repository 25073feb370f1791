//! What must hold for any bytes that come as a forwarded write; shared by the fuzz target and a bounded test.

use ringstore::writes::Write;

/// Whatever decodes has one form.
pub fn check_forward(data: &[u8]) {
    check(data);
    // most bytes fail at the version or the kind, so these are made right as well
    if let [first, second, ..] = data {
        let mut known = data.to_vec();
        known[..2].copy_from_slice(&[1, second % 14]);
        check(&known);
        known[1] = first % 14;
        check(&known);
    }
}

fn check(bytes: &[u8]) {
    if let Ok(write) = Write::decode(bytes) {
        assert!(!write.is_local());
        assert_eq!(write.key().is_empty(), matches!(write, Write::FlushAll { .. }));
        let mut again = Vec::new();
        write.encode(&mut again);
        assert_eq!(again, bytes, "a write has one form");
    }
}

/// Pieces of writes.
pub const DICTIONARY: &[&[u8]] =
    &[&[1, 1], &[1, 6], &[1, 7, 1], &[1, 12], &[1, 13], &[0; 4], &[0xFF; 4], &[0; 8], &[3], b"key", b"value", &[251]];
