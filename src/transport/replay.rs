//! Which datagrams of a sender have come: each counts once. A window of bits behind the newest number (RFC 4303, 3.4.3).

use crate::config;

const WORDS: usize = config::REPLAY_WINDOW_DATAGRAMS / 64;

/// See the module. Bit `number % window` stands for a number in the window.
#[derive(Debug)]
pub struct ReplayWindow {
    newest: u64,
    bits: [u64; WORDS],
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self { newest: 0, bits: [0; WORDS] }
    }
}

impl ReplayWindow {
    const fn place(number: u64) -> (usize, u64) {
        let bit = number % config::REPLAY_WINDOW_DATAGRAMS as u64;
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    /// Whether `number` has come or is too old for that to be known.
    pub const fn has(&self, number: u64) -> bool {
        if number > self.newest {
            return false;
        }
        let (word, bit) = Self::place(number);
        self.newest - number >= config::REPLAY_WINDOW_DATAGRAMS as u64 || self.bits[word] & bit != 0
    }

    /// `number` has come and was genuine.
    pub fn note(&mut self, number: u64) {
        assert!(!self.has(number), "it would count twice");
        if number > self.newest {
            let skipped = (number - self.newest).min(config::REPLAY_WINDOW_DATAGRAMS as u64);
            for gone in number - skipped + 1..=number {
                let (word, bit) = Self::place(gone);
                self.bits[word] &= !bit;
            }
            self.newest = number;
        }
        let (word, bit) = Self::place(number);
        self.bits[word] |= bit;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_knows_what_a_set_knows(jumps in proptest::collection::vec(-600i64..700, 1..400)) {
            let (mut window, mut oracle, mut at) = (ReplayWindow::default(), BTreeSet::new(), 1i64);
            for jump in jumps {
                at = (at + jump).max(1);
                let number = at as u64;
                let newest = oracle.last().copied().unwrap_or(0);
                let old = number + config::REPLAY_WINDOW_DATAGRAMS as u64 <= newest;
                prop_assert_eq!(window.has(number), old || oracle.contains(&number));
                if !window.has(number) {
                    window.note(number);
                    oracle.insert(number);
                }
            }
        }
    }
}
