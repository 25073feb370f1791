//! What a run recorded, as plain data: the load makes it, the table, the JSON and the report read it. Knows neither how
//! a request is sent nor how a figure is drawn.

use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;

use crate::machine::Machine;

/// Smallest difference that histograms of latencies tell, in nanoseconds.
pub const LATENCY_NS_MIN: u64 = 100;
/// Largest latency of histograms: a minute, in nanoseconds. What takes longer counts as this.
pub const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Significant decimal digits of the latencies of a whole run.
pub const DIGITS_OF_RUN: u8 = 3;
/// Significant decimal digits of the latencies of an interval: enough for a plot, and a tenth of the memory.
pub const DIGITS_OF_INTERVAL: u8 = 2;

/// What a run recorded: enough for the table, JSON, HdrHistogram files and the report. All times are since the measured
/// part began.
pub struct Recording {
    /// What was run, in a few words.
    pub title: String,
    /// The command line as typed.
    pub command: String,
    /// Where the load ran.
    pub machine: Machine,
    /// Names and values of what decides the load, in the order of the command's help.
    pub parameters: Vec<(String, String)>,
    /// When the measured part began.
    pub began: SystemTime,
    /// The run in pieces, in order and without gaps; the last one may be shorter.
    pub intervals: Vec<Interval>,
    /// What happened to the servers meanwhile, in order of time.
    pub marks: Vec<Mark>,
    /// Latencies of all answered requests in nanoseconds, from when each request was due.
    pub latencies: Histogram<u64>,
    /// Whether the figures are the server's or the load generator's own.
    pub verdict: Verdict,
}

/// A piece of a run, usually a second.
pub struct Interval {
    /// When it began.
    pub start: Duration,
    /// How long it was.
    pub length: Duration,
    /// Requests answered in it.
    pub requests: u64,
    /// Of the answers, those that were errors.
    pub errors: u64,
    /// Requests whose connection ended in it, so that nobody knows what became of them.
    pub unknown: u64,
    /// Latencies of the answers that came in it, in nanoseconds, from when each request was due.
    pub latencies: Histogram<u64>,
    /// Which server led at its end; nothing without a load balancer.
    pub leader: Option<String>,
}

/// Something that happened at one moment of a run.
pub struct Mark {
    /// When.
    pub at: Duration,
    /// What, in a few words.
    pub label: String,
}

/// Whether the figures of a run are the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The load was sent as it was asked for.
    Valid,
    /// The load generator itself was the limit.
    Invalid {
        /// What was seen and what to change, one sentence each.
        reasons: Vec<String>,
    },
}

/// An empty histogram of latencies in nanoseconds with so many significant digits.
///
/// # Panics
/// When `digits` is above 5.
pub fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, digits).expect("the bounds are in order")
}
