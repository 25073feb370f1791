//! Which key is asked for: the distributions, and one thread's seeded choice.

use std::str::FromStr;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};

/// Exponent of a zipf distribution that names none, as in YCSB.
const ZIPF_EXPONENT_DEFAULT: f64 = 0.99;

/// How often each key is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Popularity {
    /// All alike.
    Uniform,
    /// Key number k, counted from 1, in proportion to 1 / k^exponent.
    Zipf { exponent: f64 },
    /// The first `keys` of all keys get `requests` of all requests, both as shares between 0 and 1.
    Hotspot { keys: f64, requests: f64 },
    /// One after another, again and again.
    Sequential,
}

impl FromStr for Popularity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, argument) = text.split_once('=').map_or((text, None), |(name, argument)| (name, Some(argument)));
        match (name, argument) {
            ("uniform", None) => Ok(Self::Uniform),
            ("sequential", None) => Ok(Self::Sequential),
            ("zipf", None) => Ok(Self::Zipf { exponent: ZIPF_EXPONENT_DEFAULT }),
            ("zipf", Some(exponent)) => match exponent.parse() {
                Ok(exponent) if (0.0..=10.0).contains(&exponent) => Ok(Self::Zipf { exponent }),
                _ => Err("zipf takes an exponent from 0 to 10, as in zipf=1.1".into()),
            },
            ("hotspot", argument) => {
                let shares = argument.unwrap_or("20:80").split_once(':').and_then(|(keys, requests)| {
                    Some((percent(keys)?, percent(requests)?)).filter(|(keys, _)| *keys > 0.0)
                });
                let wrong = "hotspot takes the percentage of keys and the one of requests, as in hotspot=20:80";
                shares.map(|(keys, requests)| Self::Hotspot { keys, requests }).ok_or_else(|| wrong.into())
            }
            _ => Err("one of uniform, zipf[=EXPONENT], hotspot[=KEYS%:REQUESTS%], sequential".into()),
        }
    }
}

fn percent(text: &str) -> Option<f64> {
    text.trim_end_matches('%').parse().ok().filter(|number| (0.0..=100.0).contains(number)).map(|number| number / 100.0)
}

/// One thread's choice of keys.
pub struct Choice {
    keys: u32,
    rng: Xoshiro256PlusPlus,
    form: Form,
}

enum Form {
    Uniform,
    Zipf(Zipf<f64>),
    Hotspot { hot: u32, requests: f64 },
    Sequential { next: u32 },
}

impl Choice {
    /// Of keys 0 to `keys` - 1, at least one. In a sequence the thread begins at `first`.
    pub fn new(popularity: Popularity, keys: u32, first: u32, seed: u64) -> Self {
        assert!(keys > 0);
        let form = match popularity {
            Popularity::Uniform => Form::Uniform,
            Popularity::Zipf { exponent } => {
                Form::Zipf(Zipf::new(f64::from(keys), exponent).expect("at least one key, an exponent from 0 up"))
            }
            Popularity::Hotspot { keys: share, requests } => {
                Form::Hotspot { hot: ((f64::from(keys) * share) as u32).clamp(1, keys), requests }
            }
            Popularity::Sequential => Form::Sequential { next: first % keys },
        };
        Self { keys, rng: Xoshiro256PlusPlus::seed_from_u64(seed), form }
    }

    /// The number of the next key.
    #[inline]
    pub fn next_key(&mut self) -> u32 {
        match &mut self.form {
            Form::Uniform => self.rng.random_range(0..self.keys),
            Form::Zipf(zipf) => (zipf.sample(&mut self.rng) as u32).clamp(1, self.keys) - 1,
            Form::Hotspot { hot, requests } => {
                if *hot == self.keys || self.rng.random_bool(*requests) {
                    self.rng.random_range(0..*hot)
                } else {
                    self.rng.random_range(*hot..self.keys)
                }
            }
            Form::Sequential { next } => {
                let key = *next;
                *next = if key + 1 == self.keys { 0 } else { key + 1 };
                key
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(popularity: Popularity, keys: u32, draws: usize, seed: u64) -> Vec<f64> {
        let mut choice = Choice::new(popularity, keys, 0, seed);
        let mut counts = vec![0.0; keys as usize];
        for _ in 0..draws {
            counts[choice.next_key() as usize] += 1.0;
        }
        counts
    }

    /// Sum of squared distances from what was expected, in units of it.
    fn chi_square(seen: &[f64], shares: &[f64], draws: usize) -> f64 {
        assert_eq!(seen.len(), shares.len());
        seen.iter()
            .zip(shares)
            .map(|(seen, share)| (seen - share * draws as f64).powi(2) / (share * draws as f64))
            .sum()
    }

    /// The 1 % point with so many degrees of freedom, by Wilson and Hilferty.
    fn critical(degrees: usize) -> f64 {
        let k = degrees as f64;
        let spread = 2.0 / (9.0 * k);
        k * (1.0 - spread + 2.326 * spread.sqrt()).powi(3)
    }

    #[test]
    fn zipf_fits_its_law() {
        const DRAWS: usize = 200_000;
        for (seed, exponent) in [(1, 0.5), (2, 0.99), (3, 1.0), (4, 1.4)] {
            let weights: Vec<f64> = (1..=100).map(|rank| f64::from(rank).powf(-exponent)).collect();
            let total: f64 = weights.iter().sum();
            let shares: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
            let seen = counts(Popularity::Zipf { exponent }, 100, DRAWS, seed);
            let found = chi_square(&seen, &shares, DRAWS);
            assert!(found < critical(99), "exponent {exponent}: {found} of {}", critical(99));
            let other = chi_square(&counts(Popularity::Uniform, 100, DRAWS, seed), &shares, DRAWS);
            assert!(other > critical(99), "the test tells others apart: {other}");
        }
    }

    #[test]
    fn uniform_and_hotspot_fit_theirs() {
        const DRAWS: usize = 100_000;
        let seen = counts(Popularity::Uniform, 50, DRAWS, 5);
        assert!(chi_square(&seen, &[0.02; 50], DRAWS) < critical(49));
        let shares: Vec<f64> = (0..50).map(|key| if key < 10 { 0.8 / 10.0 } else { 0.2 / 40.0 }).collect();
        let seen = counts(Popularity::Hotspot { keys: 0.2, requests: 0.8 }, 50, DRAWS, 6);
        assert!(chi_square(&seen, &shares, DRAWS) < critical(49));
        assert_eq!(counts(Popularity::Hotspot { keys: 1.0, requests: 0.5 }, 3, 100, 1).iter().sum::<f64>(), 100.0);
    }

    #[test]
    fn a_sequence_comes_round() {
        let mut choice = Choice::new(Popularity::Sequential, 3, 2, 1);
        assert_eq!([0; 5].map(|_| choice.next_key()), [2, 0, 1, 2, 0]);
    }

    #[test]
    fn popularity_is_read_from_the_command_line() {
        assert_eq!("uniform".parse(), Ok(Popularity::Uniform));
        assert_eq!("zipf".parse(), Ok(Popularity::Zipf { exponent: 0.99 }));
        assert_eq!("zipf=1.2".parse(), Ok(Popularity::Zipf { exponent: 1.2 }));
        assert_eq!("hotspot=10%:90".parse(), Ok(Popularity::Hotspot { keys: 0.1, requests: 0.9 }));
        assert_eq!("hotspot".parse(), Ok(Popularity::Hotspot { keys: 0.2, requests: 0.8 }));
        for wrong in ["", "zipf=", "zipf=-1", "hotspot=0:80", "hotspot=20", "hotspot=20:101", "uniform=1", "pareto"] {
            assert!(wrong.parse::<Popularity>().is_err(), "{wrong}");
        }
    }
}
