//! How long keys and values are.

use std::fmt;
use std::str::FromStr;

use rand::{Rng, RngExt};
use rand_distr::{Distribution, LogNormal};

/// A length in bytes, or a distribution of lengths.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    /// Always the same.
    Fixed(usize),
    /// Each length from `min` to `max` alike.
    Uniform { min: usize, max: usize },
    /// Half of them below `median`, and few that are very long: the logarithm is normally distributed with standard
    /// deviation `sigma`. Between 1 and `max`.
    LogNormal { median: usize, sigma: f64, max: usize },
}

impl Size {
    /// One length.
    #[inline]
    pub fn draw(self, rng: &mut impl Rng) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Uniform { min, max } => rng.random_range(min..=max),
            Self::LogNormal { median, sigma, max } => {
                let lengths = LogNormal::new((median as f64).ln(), sigma).expect("sigma is finite and not negative");
                (lengths.sample(rng) as usize).clamp(1, max)
            }
        }
    }

    /// The shortest that can be drawn.
    pub const fn min(self) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Uniform { min, .. } => min,
            Self::LogNormal { .. } => 1,
        }
    }

    /// The longest that can be drawn.
    pub const fn max(self) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Uniform { max, .. } | Self::LogNormal { max, .. } => max,
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(bytes) => write!(f, "{bytes}"),
            Self::Uniform { min, max } => write!(f, "{min}..{max}"),
            Self::LogNormal { median, sigma, max } => write!(f, "lognormal={median},{sigma},{max}"),
        }
    }
}

/// Longest length that can be asked for: a mebibyte, memcached's default for an item.
const BYTES_MAX: usize = 1 << 20;

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "BYTES, MIN..MAX or lognormal=MEDIAN,SIGMA[,MAX], each at most {BYTES_MAX}, as in 100, 10..1000, lognormal=100,1"
            )
        };
        let bytes = |text: &str| text.parse::<usize>().ok().filter(|bytes| *bytes <= BYTES_MAX);
        if let Some(shape) = text.strip_prefix("lognormal=") {
            let mut words = shape.split(',');
            let median = words.next().and_then(bytes).filter(|median| *median > 0).ok_or_else(wrong)?;
            let sigma = words.next().and_then(|word| word.parse::<f64>().ok()).filter(|s| (0.0..=10.0).contains(s));
            let max = words.next().map_or(Some(BYTES_MAX), bytes).filter(|max| *max >= median).ok_or_else(wrong)?;
            return match (sigma, words.next()) {
                (Some(sigma), None) => Ok(Self::LogNormal { median, sigma, max }),
                _ => Err(wrong()),
            };
        }
        match text.split_once("..") {
            None => bytes(text).map(Self::Fixed).ok_or_else(wrong),
            Some((min, max)) => match (bytes(min), bytes(max)) {
                (Some(min), Some(max)) if min <= max => Ok(Self::Uniform { min, max }),
                _ => Err(wrong()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::Xoshiro256PlusPlus;

    use super::*;

    #[test]
    fn sizes_are_read_from_the_command_line_and_told_again() {
        for text in ["100", "0", "10..1000", "5..5", "lognormal=100,1.5,5000"] {
            assert_eq!(text.parse::<Size>().expect("a size").to_string(), text);
        }
        assert_eq!("lognormal=9,0".parse(), Ok(Size::LogNormal { median: 9, sigma: 0.0, max: BYTES_MAX }));
        for wrong in ["", "-1", "9..1", "1..", "1048577", "lognormal=0,1", "lognormal=5", "lognormal=5,1,4", "zipf"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn draws_stay_in_their_bounds_and_lie_as_they_should() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut draws = |size: Size| {
            let mut draws: Vec<usize> = (0..20_001).map(|_| size.draw(&mut rng)).collect();
            draws.sort_unstable();
            assert!(draws[0] >= size.min() && draws[20_000] <= size.max(), "{size}");
            draws
        };
        assert_eq!(draws(Size::Fixed(7))[10_000], 7);
        let uniform = draws(Size::Uniform { min: 10, max: 19 });
        assert_eq!((uniform[0], uniform[20_000]), (10, 19));
        assert!(uniform.iter().filter(|length| **length < 15).count().abs_diff(10_000) < 300);
        let skewed = draws(Size::LogNormal { median: 1000, sigma: 1.0, max: 100_000 });
        assert!(skewed[10_000].abs_diff(1000) < 40, "{}", skewed[10_000]);
        // one standard deviation above the median is a factor of e
        assert!(skewed[16_827].abs_diff(2718) < 120, "{}", skewed[16_827]);
    }
}
