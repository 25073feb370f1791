//! A state's fingerprint. The machines keep their fields to themselves, so what is hashed is what `Debug` shows of them: every
//! field, in a fixed order, with instants replaced by their distance from now.

use std::fmt::{Debug, Write};

use ringstore::time::Time;
use xxhash_rust::xxh3::xxh3_64;

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
            let value = instant[..digits].iter().fold(0_u64, |value, byte| {
                value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'))
            });
            // an age or a distance ahead: the sign is the top bit
            let distance = now.0.wrapping_sub(value);
            let distance = if value <= now.0 { distance.min(oldest) } else { distance };
            self.relative.extend_from_slice(&distance.to_le_bytes());
            rest = &instant[digits..];
        }
        self.relative.extend_from_slice(rest);
        xxh3_64(&self.relative)
    }
}

/// Numbers in their order as one.
#[must_use]
pub fn mix(numbers: &[u64]) -> u64 {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    xxh3_64(&bytes)
}
