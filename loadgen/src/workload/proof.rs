//! Values that prove whose they are: each begins with its key's number, its writer and the writer's version, sealed with a
//! checksum, and goes on with bytes that follow from the checksum. So a value that was cut, mixed up or belongs to
//! another key is recognised, and an old one is told from a new one, by whoever reads it.
//!
//! ```text
//! 0      4        8           16          24
//! | key  | writer | version   | checksum  | a window of the block, chosen by the checksum ...
//!   u32    u32      u64         u64, of the three and the length, all little-endian
//! ```

use std::sync::LazyLock;

/// Bytes of a value that prove: it cannot be shorter.
pub const PROOF_BYTES: usize = 24;
/// Places at which a window may begin.
const WINDOWS: usize = 1 << 16;
/// Longest value.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// The bytes of all values, the same in every process, so that one can check what another wrote.
static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let words = (0..(WINDOWS + VALUE_BYTES_MAX) as u64 / 8 + 1).flat_map(|place| mixed(place).to_le_bytes());
    words.map(|byte| b'!' + byte % 90).collect()
});

/// What a value says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Number of the key that it was stored under.
    pub key: u32,
    /// Who wrote it.
    pub writer: u32,
    /// Of this writer's writes, the how manyth, from 1.
    pub version: u64,
}

impl Origin {
    fn checksum(self, length: usize) -> u64 {
        mixed(mixed((u64::from(self.key) << 32) | u64::from(self.writer)) ^ mixed(self.version) ^ length as u64)
    }

    /// Appends a value of this length. Below [`PROOF_BYTES`] there is no room for a proof, and none is in it.
    #[inline]
    pub fn write(self, out: &mut Vec<u8>, length: usize) {
        let checksum = self.checksum(length);
        let Some(rest) = length.checked_sub(PROOF_BYTES) else {
            return out.extend_from_slice(window(checksum, length));
        };
        let mut head = [0; PROOF_BYTES];
        head[..4].copy_from_slice(&self.key.to_le_bytes());
        head[4..8].copy_from_slice(&self.writer.to_le_bytes());
        head[8..16].copy_from_slice(&self.version.to_le_bytes());
        head[16..].copy_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(window(checksum, rest));
    }

    /// Reads the origin off a value; nothing when it is not, byte for byte, what [`write`](Self::write) makes.
    pub fn of(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_first_chunk::<PROOF_BYTES>()?;
        let four = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let eight = |at: usize| (u64::from(four(at + 4)) << 32) | u64::from(four(at));
        let origin = Self { key: four(0), writer: four(4), version: eight(8) };
        let checksum = origin.checksum(value.len());
        (value.len() <= VALUE_BYTES_MAX && eight(16) == checksum && window(checksum, rest.len()) == rest)
            .then_some(origin)
    }
}

fn window(checksum: u64, length: usize) -> &'static [u8] {
    let start = checksum as usize % WINDOWS;
    &BLOCK[start..start + length]
}

/// The finalizer of SplitMix64: every bit of the result depends on every bit of the number.
const fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { key: 7, writer: 0xABCD_0001, version: 1 << 40 };

    fn value(origin: Origin, length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        origin.write(&mut out, length);
        assert_eq!(out.len(), length);
        out
    }

    #[test]
    fn a_value_tells_its_origin() {
        for length in [PROOF_BYTES, PROOF_BYTES + 1, 100, 70_000, VALUE_BYTES_MAX] {
            assert_eq!(Origin::of(&value(ORIGIN, length)), Some(ORIGIN), "{length}");
        }
    }

    #[test]
    fn a_value_that_is_too_short_proves_nothing() {
        for length in [0, 1, PROOF_BYTES - 1] {
            assert_eq!(Origin::of(&value(ORIGIN, length)), None, "{length}");
        }
    }

    #[test]
    fn no_byte_can_change_and_none_can_be_missing() {
        let right = value(ORIGIN, 60);
        for place in 0..right.len() {
            let mut wrong = right.clone();
            wrong[place] ^= 1;
            assert_eq!(Origin::of(&wrong), None, "byte {place}");
            assert_eq!(Origin::of(&right[..place]), None, "cut at {place}");
        }
        assert_eq!(Origin::of(&[&right[..], b"!"].concat()), None);
    }
}
