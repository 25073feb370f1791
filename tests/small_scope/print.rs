//! A state's fingerprint. The machines keep their fields to themselves, so what is hashed is what `Debug` shows of them: every
//! field, in a fixed order, with instants replaced by their distance from now.

use std::fmt::{Debug, Write};
use std::hash::{BuildHasherDefault, Hasher};

use ringstore::time::Time;

/// Reused memory.
#[derive(Default)]
pub struct Printer {
    text: String,
    relative: Vec<u8>,
}

impl Printer {
    /// The fingerprint of what `Debug` shows at `now`. Instants further back than `oldest` are alike: no wait is longer.
    pub fn of(&mut self, now: Time, oldest: u64, what: &impl Debug) -> u64 {
        self.text.clear();
        write!(self.text, "{what:?}").expect("a string takes everything");
        self.relative.clear();
        let mut rest = self.text.as_bytes();
        while let Some(at) = memchr::memmem::find(rest, b"Time(") {
            let (before, instant) = rest.split_at(at + 5);
            self.relative.extend_from_slice(before);
            let digits = instant.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let value = instant[..digits]
                .iter()
                .fold(0_u64, |value, byte| value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')));
            // an age or a distance ahead: the sign is the top bit
            let distance = now.0.wrapping_sub(value);
            let distance = if value <= now.0 { distance.min(oldest) } else { distance };
            self.relative.extend_from_slice(&distance.to_le_bytes());
            rest = &instant[digits..];
        }
        self.relative.extend_from_slice(rest);
        let (words, rest) = self.relative.as_chunks::<8>();
        let sum = words.iter().fold(self.relative.len() as u64, |sum, word| fold(sum, u64::from_le_bytes(*word)));
        rest.iter().fold(sum, |sum, &byte| fold(sum, u64::from(byte)))
    }
}

/// Numbers in their order as one.
#[must_use]
pub fn mix(numbers: &[u64]) -> u64 {
    numbers.iter().fold(numbers.len() as u64, |sum, &number| fold(sum, number))
}

/// Both halves of a product: every bit of both numbers counts.
const fn fold(sum: u64, number: u64) -> u64 {
    let product = (sum ^ 0x9E37_79B9_7F4A_7C15) as u128 * (number ^ 0xD6E8_FEB8_6659_FD93) as u128;
    (product as u64) ^ ((product >> 64) as u64).rotate_left(32) ^ sum.rotate_left(23) ^ number
}

/// A fingerprint is its own hash.
#[derive(Default)]
pub struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("fingerprints are u64");
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = fold(self.0, value);
    }
}

/// How tables of fingerprints are made.
pub type Plain = BuildHasherDefault<Same>;
