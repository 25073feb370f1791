//! Keys, their values and the seeded order in which they are asked for. The value of a key follows from the seed and
//! the key alone, so every connection can say what any reply must carry.

use crate::workload::keys::{KEY_BYTES_DEFAULT, Keys, Kind};

/// Every key has this length: `key:` and twelve digits.
pub const KEY_BYTES: usize = KEY_BYTES_DEFAULT;

/// Values are windows into one block of this many places.
const VALUE_OFFSETS: usize = 1 << 16;

/// The numbered keys and what is stored under them.
#[derive(Clone, Copy, Debug)]
pub struct KeySpace {
    /// Keys are numbered from 0 up to this.
    pub count: u32,
    /// Every value has this length.
    pub value_bytes: usize,
    block: &'static [u8],
}

impl KeySpace {
    /// The block of values is made once and lives as long as the process.
    pub fn new(count: u32, value_bytes: usize, seed: u64) -> Self {
        assert!(count > 0);
        let mut draws = Draws::new(seed ^ 0x5641_4c55_4553);
        let block = (0..VALUE_OFFSETS + value_bytes).map(|_| b'!' + (draws.below(90)) as u8).collect::<Vec<_>>();
        Self { count, value_bytes, block: block.leak() }
    }

    /// What is stored under key number `id`.
    pub fn value(&self, id: u32) -> &'static [u8] {
        let offset = id.wrapping_mul(0x9e37_79b1) as usize % VALUE_OFFSETS;
        &self.block[offset..offset + self.value_bytes]
    }
}

/// The text of the key with this number.
pub fn key(id: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(KEY_BYTES);
    Keys::of_sixteen_bytes().write(&mut key, Kind::Value, id);
    key
}

/// The number of a key, if it is one of ours.
pub fn key_id(key: &[u8]) -> Option<u32> {
    Some(key).filter(|key| key.len() == KEY_BYTES).and_then(|key| Keys::id(Kind::Value, key))
}

/// SplitMix64: the same seed gives the same numbers on every machine.
pub struct Draws(u64);

impl Draws {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`, close enough to uniform for bounds far below 2^32.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (((mixed >> 32) * u64::from(bound)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_sixteen_bytes_and_gives_its_number_back() {
        for id in [0, 1, 9, 10, 99_999, u32::MAX] {
            let key = key(id);
            assert_eq!((key.len(), key_id(&key)), (KEY_BYTES, Some(id)));
            assert_eq!(key_id(&key[..15]), None);
        }
    }

    #[test]
    fn values_follow_from_seed_and_key() {
        let (one, again, other) = (KeySpace::new(10, 100, 1), KeySpace::new(10, 100, 1), KeySpace::new(10, 100, 2));
        assert_eq!(one.value(7), again.value(7));
        assert_ne!(one.value(7), one.value(8));
        assert_ne!(one.value(7), other.value(7));
        assert_eq!(one.value(7).len(), 100);
    }

    #[test]
    fn draws_are_seeded_and_reach_every_key_about_equally_often() {
        let mut draws = Draws::new(5);
        let mut seen = [0_u32; 16];
        for _ in 0..16_000 {
            seen[draws.below(16) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
        let (mut a, mut b) = (Draws::new(9), Draws::new(9));
        assert!((0..100).all(|_| a.below(1000) == b.below(1000)));
    }
}
