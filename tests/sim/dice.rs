//! Everything that is drawn in a run comes from here, and so from one number. Also the seeds of a test run: those it
//! was written for, or the one in `RINGSTORE_SEED`.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// The run's chance.
pub struct Dice(SmallRng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    /// Another one for a part of the run, so that a change elsewhere leaves that part as it was.
    pub fn split(&mut self) -> Self {
        Self::new(self.number())
    }

    pub fn number(&mut self) -> u64 {
        self.0.random()
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.random_range(low..=high)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    /// True in `share` of all cases.
    pub fn chance(&mut self, share: f64) -> bool {
        self.0.random_bool(share)
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A length of time from `low` to `high` that is short most of the time: half of all are in the lowest eighth.
    pub fn skewed(&mut self, low: u64, high: u64) -> u64 {
        if self.chance(0.5) { self.between(low, low + (high - low) / 8) } else { self.between(low, high) }
    }
}

/// The seed to replay, if one is asked for.
pub fn replayed() -> Option<u64> {
    std::env::var("RINGSTORE_SEED").ok().map(|text| text.parse().expect("RINGSTORE_SEED is a number"))
}

/// The seeds of a test: its own, or the one to replay.
pub fn seeds(own: std::ops::Range<u64>) -> std::ops::Range<u64> {
    match replayed() {
        Some(seed) => seed..seed + 1,
        None => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_run_has_its_own_course() {
        let (mut one, mut other) = (Dice::new(4), Dice::new(4));
        let (mut part, mut same) = (one.split(), other.split());
        part.number();
        assert_eq!(one.number(), other.number(), "what a part draws changes nothing elsewhere");
        same.number();
        assert_eq!(part.number(), same.number());
        assert_ne!(part.number(), one.number());
    }

    #[test]
    fn skewed_lengths_are_mostly_short() {
        let mut dice = Dice::new(1);
        let short = (0..1000).filter(|_| dice.skewed(0, 8000) < 1000).count();
        assert!((500..650).contains(&short), "{short}");
    }
}
