//! `--fail-if`: what a run must not show.

use std::fmt;
use std::str::FromStr;

use hdrhistogram::Histogram;

use crate::engine::Tally;

/// What a condition looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    /// A latency that this share of the requests keeps, in nanoseconds.
    Percentile(f64),
    /// The largest latency, in nanoseconds.
    Max,
    /// Refusals, a number or a share of the answers.
    Errors,
    /// Requests of unknown outcome, a number or a share of all.
    Unknown,
    /// Answers a second.
    Rate,
}

/// How the figure is compared with the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// A condition under which a run has failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    text: String,
    metric: Metric,
    comparison: Comparison,
    /// In the metric's unit.
    bound: f64,
    /// The bound is a share.
    relative: bool,
}

/// Figures of a run.
pub struct Figures<'a> {
    /// Latencies in nanoseconds.
    pub latencies: &'a Histogram<u64>,
    /// The counts.
    pub tally: &'a Tally,
    /// Answers a second.
    pub rate: f64,
}

impl Objective {
    /// Whether the run has failed.
    pub fn is_missed(&self, figures: &Figures<'_>) -> bool {
        let figure = self.figure(figures);
        match self.comparison {
            Comparison::Above => figure > self.bound,
            Comparison::AtLeast => figure >= self.bound,
            Comparison::Below => figure < self.bound,
            Comparison::AtMost => figure <= self.bound,
        }
    }

    /// What was found, in words.
    pub fn found(&self, figures: &Figures<'_>) -> String {
        let figure = self.figure(figures);
        match self.metric {
            Metric::Percentile(_) | Metric::Max => format!("{:.3} ms", figure / 1e6),
            Metric::Errors | Metric::Unknown if self.relative => format!("{:.4} %", figure * 100.0),
            Metric::Errors | Metric::Unknown | Metric::Rate => format!("{figure:.0}"),
        }
    }

    fn figure(&self, figures: &Figures<'_>) -> f64 {
        let Tally { answered, errors, unknown, .. } = *figures.tally;
        let share = |count: u64, of: u64| if self.relative { count as f64 / of.max(1) as f64 } else { count as f64 };
        match self.metric {
            Metric::Percentile(quantile) => figures.latencies.value_at_quantile(quantile) as f64,
            Metric::Max => figures.latencies.max() as f64,
            Metric::Errors => share(errors, answered),
            Metric::Unknown => share(unknown, answered + unknown),
            Metric::Rate => figures.rate,
        }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "METRIC, then >, >=, < or <=, then a bound, as in p99>2ms, max>50ms, errors>0, errors>0.1%, rate<50000; metrics are \
             p50 to p99.999, max, errors, unknown, rate"
                .to_owned()
        };
        let at = text.find(['<', '>']).ok_or_else(wrong)?;
        let (comparison, length) = match &text[at..] {
            rest if rest.starts_with(">=") => (Comparison::AtLeast, 2),
            rest if rest.starts_with("<=") => (Comparison::AtMost, 2),
            rest if rest.starts_with('>') => (Comparison::Above, 1),
            _ => (Comparison::Below, 1),
        };
        let (name, bound) = (text[..at].trim(), text[at + length..].trim());
        let metric = match name {
            "max" => Metric::Max,
            "errors" => Metric::Errors,
            "unknown" => Metric::Unknown,
            "rate" => Metric::Rate,
            _ => Metric::Percentile(quantile(name).ok_or_else(wrong)?),
        };
        let percent = bound.strip_suffix('%').filter(|_| matches!(metric, Metric::Errors | Metric::Unknown));
        let bound = match (metric, percent) {
            (Metric::Percentile(_) | Metric::Max, _) => parse_latency(bound).map(|ns| ns as f64),
            (_, Some(percent)) => number(percent).map(|percent| percent / 100.0),
            (_, None) => number(bound),
        };
        let bound = bound.ok_or_else(wrong)?;
        Ok(Self { text: text.to_owned(), metric, comparison, bound, relative: percent.is_some() })
    }
}

/// `p99.9` as 0.999.
fn quantile(name: &str) -> Option<f64> {
    let percent = number(name.strip_prefix('p')?).filter(|percent| (0.0..=100.0).contains(percent))?;
    Some(percent / 100.0)
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
}

/// A time with its unit (`us`, `ms`, `s`), in nanoseconds.
pub fn parse_latency(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let scale = match unit {
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    number(digits).map(|number| (number * scale) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{DIGITS_OF_RUN, histogram};

    fn missed(text: &str) -> bool {
        let mut latencies = histogram(DIGITS_OF_RUN);
        latencies.record_n(1_000_000, 990).expect("in bounds");
        latencies.record_n(5_000_000, 10).expect("in bounds");
        let tally = Tally { answered: 1000, errors: 2, unknown: 1, ..Tally::default() };
        let figures = Figures { latencies: &latencies, tally: &tally, rate: 500.0 };
        text.parse::<Objective>().expect("an objective").is_missed(&figures)
    }

    #[test]
    fn conditions_hold_or_not() {
        for text in
            ["p50>0.9ms", "p99.9 > 4ms", "max>=4.9ms", "errors>0", "errors>0.1%", "rate<501", "unknown>=1", "p99<2ms"]
        {
            assert!(missed(text), "{text}");
        }
        for text in ["p50>1.1ms", "p99>2ms", "p99>2000us", "max>1s", "errors>2", "errors>0.3%", "rate<500", "rate>=501"]
        {
            assert!(!missed(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for wrong in [
            "",
            "p99",
            "p99>2",
            "p99>2m",
            "p101>1ms",
            "max>-1ms",
            "errors>x",
            "rate<5%",
            "latency>1ms",
            ">1",
            "p99=1ms",
        ] {
            assert!(wrong.parse::<Objective>().is_err(), "{wrong}");
        }
    }
}
