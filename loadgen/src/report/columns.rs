//! A recording as it is drawn and tabulated: its intervals, of which neighbours are taken together until no more are left
//! than a plot has room for. A maximum stays a maximum, a rate a mean.

use hdrhistogram::Histogram;

use crate::recording::{DIGITS_OF_INTERVAL, Interval, Recording, histogram};

/// The quantiles that are shown over time, and their names; the maximum comes beside them.
pub const QUANTILES: [(f64, &str); 3] = [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")];

/// Some of a run's time.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Seconds since the run began.
    pub start: f64,
    /// Seconds since the run began.
    pub end: f64,
    /// Requests answered.
    pub requests: u64,
    /// Of these, errors.
    pub errors: u64,
    /// Requests of unknown outcome.
    pub unknown: u64,
    /// Latencies of the answers in seconds; nothing when nothing was answered.
    pub latency: Option<Latency>,
    /// Who led at its end.
    pub leader: Option<String>,
}

/// Latencies in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// Of [`QUANTILES`].
    pub quantiles: [f64; QUANTILES.len()],
    /// The largest.
    pub max: f64,
}

impl Latency {
    /// Of a histogram of nanoseconds; nothing of an empty one.
    pub fn of(latencies: &Histogram<u64>) -> Option<Self> {
        let seconds = |ns: u64| ns as f64 / 1e9;
        let quantiles = QUANTILES.map(|(quantile, _)| seconds(latencies.value_at_quantile(quantile)));
        (!latencies.is_empty()).then(|| Self { quantiles, max: seconds(latencies.max()) })
    }
}

impl Column {
    /// Requests answered a second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / (self.end - self.start)
    }

    /// Errors and unknown outcomes a second.
    pub fn trouble(&self) -> f64 {
        (self.errors + self.unknown) as f64 / (self.end - self.start)
    }
}

/// At most about so many columns of equal length, or of whole intervals where these are longer.
pub fn columns(recording: &Recording, count_max: usize) -> Vec<Column> {
    let Some(last) = recording.intervals.last() else { return Vec::new() };
    let total = (last.start + last.length).as_secs_f64();
    let (least, mut columns, mut gathered) = (total / count_max as f64, Vec::new(), Vec::<&Interval>::new());
    for interval in recording.intervals.iter().filter(|interval| !interval.length.is_zero()) {
        let began = gathered.first().map_or(interval.start, |first| first.start).as_secs_f64();
        gathered.push(interval);
        // a hair less, so that ten intervals of a tenth are a whole in spite of rounding
        if (interval.start + interval.length).as_secs_f64() - began >= least * 0.999_999 {
            columns.push(together(&gathered));
            gathered.clear();
        }
    }
    if !gathered.is_empty() {
        columns.push(together(&gathered));
    }
    columns
}

fn together(intervals: &[&Interval]) -> Column {
    let (first, last) = (intervals[0], intervals[intervals.len() - 1]);
    let sum = |of: fn(&Interval) -> u64| intervals.iter().map(|interval| of(interval)).sum();
    let latency = match intervals {
        [one] => Latency::of(&one.latencies),
        _ => {
            let mut all = histogram(DIGITS_OF_INTERVAL);
            for interval in intervals {
                all.add(&interval.latencies).expect("what is longer than its bound was recorded as the bound");
            }
            Latency::of(&all)
        }
    };
    Column {
        start: first.start.as_secs_f64(),
        end: (last.start + last.length).as_secs_f64(),
        requests: sum(|interval| interval.requests),
        errors: sum(|interval| interval.errors),
        unknown: sum(|interval| interval.unknown),
        latency,
        leader: last.leader.clone(),
    }
}
