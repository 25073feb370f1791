//! When requests are due in an open loop: a schedule that nothing that happens to the requests can change.

use std::str::FromStr;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Distribution, Exp1};

/// Nanoseconds of a second.
const SECOND_NS: f64 = 1e9;

/// How the moments lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// As from many clients that know nothing of each other: exponentially distributed gaps.
    Poisson,
    /// All gaps are alike.
    Fixed,
}

impl FromStr for Spacing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "poisson" => Ok(Self::Poisson),
            "fixed" => Ok(Self::Fixed),
            _ => Err("one of poisson, fixed".into()),
        }
    }
}

/// The moments at which one thread's requests are due, one after another, in nanoseconds since the load began.
#[derive(Clone, Debug)]
pub struct Arrivals {
    spacing: Spacing,
    gap_ns: f64,
    next_ns: f64,
    rng: Xoshiro256PlusPlus,
}

impl Arrivals {
    /// The part of thread `thread` of `threads` in `rate` requests a second, greater than 0. Fixed moments of different
    /// threads interleave; superposed Poisson processes are one again.
    pub fn new(spacing: Spacing, rate: f64, thread: usize, threads: usize, seed: u64) -> Self {
        assert!(rate > 0.0 && thread < threads);
        let gap_ns = SECOND_NS * threads as f64 / rate;
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut arrivals = Self { spacing, gap_ns, next_ns: gap_ns * thread as f64 / threads as f64, rng };
        if spacing == Spacing::Poisson {
            arrivals.next_ns = 0.0;
            arrivals.pass();
        }
        arrivals
    }

    /// When the next request is due.
    #[inline]
    pub fn next_due(&self) -> u64 {
        self.next_ns as u64
    }

    /// Goes on to the one after it.
    #[inline]
    pub fn pass(&mut self) {
        self.next_ns += match self.spacing {
            Spacing::Fixed => self.gap_ns,
            Spacing::Poisson => {
                let gap: f64 = Exp1.sample(&mut self.rng);
                self.gap_ns * gap
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(mut arrivals: Arrivals, count: usize) -> Vec<u64> {
        let mut moments = Vec::new();
        for _ in 0..count {
            moments.push(arrivals.next_due());
            arrivals.pass();
        }
        moments
    }

    #[test]
    fn fixed_moments_are_equally_far_apart_and_threads_interleave() {
        let of = |thread| moments(Arrivals::new(Spacing::Fixed, 1e6, thread, 2, 1), 4);
        assert_eq!((of(0), of(1)), (vec![0, 2000, 4000, 6000], vec![1000, 3000, 5000, 7000]));
        let long = moments(Arrivals::new(Spacing::Fixed, 3.0, 0, 1, 1), 3001);
        assert_eq!(long[3000], 1000 * 1_000_000_000, "no rounding adds up");
    }

    /// Kolmogorov and Smirnov: the largest distance between the gaps' distribution and the exponential one.
    #[test]
    fn poisson_gaps_are_exponential() {
        const COUNT: usize = 20_000;
        for seed in 1..=5 {
            let moments = moments(Arrivals::new(Spacing::Poisson, 1000.0, 0, 1, seed), COUNT + 1);
            let mut gaps: Vec<f64> = moments.windows(2).map(|two| (two[1] - two[0]) as f64 / 1e6).collect();
            gaps.sort_by(f64::total_cmp);
            let distance = gaps.iter().enumerate().map(|(place, gap)| {
                let expected = 1.0 - (-gap).exp();
                let (below, above) = (place as f64 / COUNT as f64, (place + 1) as f64 / COUNT as f64);
                (expected - below).abs().max((above - expected).abs())
            });
            let distance = distance.fold(0.0, f64::max);
            // the 1 % point of the Kolmogorov distribution
            assert!(distance < 1.628 / (COUNT as f64).sqrt(), "seed {seed}: {distance}");
        }
    }

    /// Chi-square over the number of moments in each millisecond.
    #[test]
    fn poisson_counts_have_the_distribution_of_poisson() {
        let moments = moments(Arrivals::new(Spacing::Poisson, 4_000.0, 1, 2, 7), 40_000);
        let windows = (moments.last().expect("some") / 1_000_000) as usize;
        let mut counts = vec![0_usize; windows];
        for moment in &moments {
            // the last window is not whole
            if let Some(count) = counts.get_mut((moment / 1_000_000) as usize) {
                *count += 1;
            }
        }
        // classes 0 to 6 and everything above, with 2 expected in a window
        let mut probability = (-2.0_f64).exp();
        let (mut chi_square, mut rest) = (0.0, 1.0);
        for class in 0..=7 {
            let share = if class == 7 { rest } else { probability };
            let seen = counts.iter().filter(|count| if class == 7 { **count >= 7 } else { **count == class }).count();
            let expected = share * windows as f64;
            chi_square += (seen as f64 - expected).powi(2) / expected;
            rest -= probability;
            probability *= 2.0 / (class + 1) as f64;
        }
        assert!(chi_square < 18.475, "7 degrees of freedom, 1 %: {chi_square}");
    }

    #[test]
    fn a_seed_gives_the_same_moments_again() {
        let of = |seed| moments(Arrivals::new(Spacing::Poisson, 100.0, 0, 1, seed), 100);
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
    }
}
