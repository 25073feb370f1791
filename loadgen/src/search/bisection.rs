//! The search for the highest rate that is kept, as arithmetic: doubles until a rate is missed, then halves the interval.

/// A search under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Bisection {
    /// The highest rate that was kept.
    kept: Option<f64>,
    /// The lowest rate that was missed, or what is not to be passed.
    missed: Option<f64>,
    next: f64,
    lowest: f64,
    /// The search ends when what was missed is no more than this part above what was kept.
    precision: f64,
}

impl Bisection {
    /// From `first` requests a second on, at least `lowest`, to this precision, a share of the rate.
    pub fn new(lowest: f64, first: f64, precision: f64) -> Self {
        assert!(lowest > 0.0 && first >= lowest && precision > 0.0);
        Self { kept: None, missed: None, next: first, lowest, precision }
    }

    /// The rate to try next; nothing when the search is over.
    pub fn next_rate(&self) -> Option<f64> {
        match (self.kept, self.missed) {
            (Some(kept), Some(missed)) if missed <= kept * (1.0 + self.precision) => None,
            (None, Some(missed)) if missed <= self.lowest => None,
            _ => Some(self.next),
        }
    }

    /// Takes in what came of the rate that was to be tried.
    pub fn tell(&mut self, was_kept: bool) {
        if was_kept {
            self.kept = Some(self.next);
        } else {
            self.missed = Some(self.next);
        }
        self.next = match (self.kept, self.missed) {
            (Some(kept), None) => kept * 2.0,
            (None, Some(missed)) => (missed / 2.0).max(self.lowest),
            (Some(kept), Some(missed)) => f64::midpoint(kept, missed),
            (None, None) => unreachable!("a rate was tried"),
        };
    }

    /// The highest rate that was kept.
    pub const fn kept(&self) -> Option<f64> {
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a search finds at a server that keeps every rate up to `limit`, and in how many steps.
    fn search(limit: f64, lowest: f64, first: f64, precision: f64) -> (Option<f64>, usize) {
        let (mut bisection, mut steps) = (Bisection::new(lowest, first, precision), 0);
        while let Some(rate) = bisection.next_rate() {
            assert!(rate >= lowest);
            bisection.tell(rate <= limit);
            steps += 1;
            assert!(steps < 100);
        }
        (bisection.kept(), steps)
    }

    #[test]
    fn the_highest_rate_that_is_kept_is_found_to_the_precision() {
        for limit in [100.0, 999.0, 1000.0, 1001.0, 123_456.0, 9e6] {
            let (found, steps) = search(limit, 10.0, 1000.0, 0.02);
            let found = found.expect("a rate is kept");
            assert!(found <= limit && found * 1.02 >= limit * 0.999, "{limit}: {found}");
            assert!(steps < 30, "{limit}: {steps} steps");
        }
    }

    #[test]
    fn when_not_even_the_lowest_is_kept_nothing_is_found() {
        let (found, steps) = search(9.0, 10.0, 1000.0, 0.05);
        assert_eq!(found, None);
        assert!(steps <= 8, "{steps}");
    }
}
