//! What a run shows: a line a second while it lasts, a table at its end, or JSON.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::engine::{Busy, Piece, Tally};
use crate::failure::{Failure, While};
use crate::machine::Machine;
use crate::recording::{Recording, Verdict};

/// The percentiles of the final table and of JSON.
const QUANTILES: [(&str, f64); 7] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
    ("p99.999", 0.99999),
];

/// Everything a run found.
pub struct Found {
    /// What the report shows.
    pub recording: Recording,
    /// Counts of the whole.
    pub tally: Tally,
    /// From the end of the warm-up to the last answer.
    pub lasted: Duration,
    /// How late requests were sent though there was room for them, in nanoseconds.
    pub lag: Histogram<u64>,
    /// How busy each load thread was.
    pub busy: Vec<Busy>,
    /// Objectives that were missed, and what was found.
    pub missed: Vec<String>,
}

impl Found {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.tally.answered as f64 / self.lasted.as_secs_f64().max(1e-9)
    }
}

/// Lines on standard error while a load runs.
pub struct Live {
    quiet: bool,
    interval: Duration,
    lines: u64,
}

impl Live {
    /// Of intervals of this length; nothing is printed when `quiet`.
    pub const fn new(interval: Duration, quiet: bool) -> Self {
        Self { quiet, interval, lines: 0 }
    }

    /// Prints one interval. Errors of the terminal are nobody's concern.
    pub fn line(&mut self, piece: &Piece, leader: Option<&str>) {
        if self.quiet {
            return;
        }
        let mut err = std::io::stderr().lock();
        if self.lines.is_multiple_of(20) {
            let _ = writeln!(err, "{}", header(leader.is_some()));
        }
        self.lines += 1;
        let _ = writeln!(err, "{}", line(piece, self.interval, leader));
    }
}

fn header(with_leader: bool) -> String {
    let leads = if with_leader { "  leads" } else { "" };
    format!(
        "{:>8} {:>10} {:>8} {:>8} {:>10} {:>10} {:>10} {:>10}{leads}",
        "time", "rate", "errors", "unknown", "p50 ms", "p99 ms", "p99.9 ms", "max ms"
    )
}

fn line(piece: &Piece, interval: Duration, leader: Option<&str>) -> String {
    let latency = |quantile| piece.latencies.value_at_quantile(quantile) as f64 / 1e6;
    format!(
        "{:>7.0}s {:>10.0} {:>8} {:>8} {:>10.3} {:>10.3} {:>10.3} {:>10.3}{}{}",
        (piece.index + 1) as f64 * interval.as_secs_f64(),
        piece.tally.answered as f64 / interval.as_secs_f64(),
        piece.tally.errors,
        piece.tally.unknown,
        latency(0.5),
        latency(0.99),
        latency(0.999),
        piece.latencies.max() as f64 / 1e6,
        if leader.is_some() { "  " } else { "" },
        leader.unwrap_or_default(),
    )
}

/// The table at the end.
pub fn table(found: &Found) -> String {
    let (tally, recording) = (&found.tally, &found.recording);
    let mut out = format!(
        "{}\n{} requests in {:.2} s: {:.0} a second\n{} hits, {} misses, {} stored, {} not stored\n",
        recording.title,
        tally.answered,
        found.lasted.as_secs_f64(),
        found.rate(),
        tally.hits,
        tally.misses,
        tally.stored,
        tally.not_stored
    );
    out += &format!(
        "{} errors, {} of unknown outcome, {} unanswered, {} wrong, {} stale\n\nlatency, ms",
        tally.errors, tally.unknown, tally.unanswered, tally.mismatches, tally.stale
    );
    let latencies = &recording.latencies;
    for (name, quantile) in QUANTILES {
        out += &format!("  {name} {:.3}", latencies.value_at_quantile(quantile) as f64 / 1e6);
    }
    out += &format!("  max {:.3}\n", latencies.max() as f64 / 1e6);
    if !found.lag.is_empty() {
        let lag = |quantile| found.lag.value_at_quantile(quantile) as f64 / 1e6;
        out += &format!("sent after it was due, ms  p50 {:.3}  p99 {:.3}  max {:.3}\n", lag(0.5), lag(0.99), lag(1.0));
    }
    let busy = found.busy.iter().map(|busy| format!(" {:.0} %", busy.running * 100.0)).collect::<String>();
    let machine = &recording.machine;
    out += &format!(
        "load threads busy{busy}\nkernel {}, {}, {} cores, commit {}\n",
        machine.kernel, machine.cpu, machine.cores, machine.commit
    );
    for mark in &recording.marks {
        out += &format!("at {:.3} s {}\n", mark.at.as_secs_f64(), mark.label);
    }
    out += &match &recording.verdict {
        Verdict::Valid => "valid\n".to_owned(),
        Verdict::Invalid { reasons } => {
            reasons.iter().fold(String::new(), |text, reason| format!("{text}INVALID: {reason}\n"))
        }
    };
    for missed in &found.missed {
        out += &format!("MISSED: {missed}\n");
    }
    out
}

/// A run as JSON. Times are in seconds since the measured part began, latencies in microseconds.
#[derive(Serialize)]
struct Document<'a> {
    command: &'a str,
    machine: &'a Machine,
    parameters: serde_json::Map<String, serde_json::Value>,
    /// Seconds since 1970.
    began: f64,
    seconds: f64,
    rate: f64,
    #[serde(flatten)]
    tally: Tally,
    latency_us: serde_json::Map<String, serde_json::Value>,
    send_lag_us: serde_json::Map<String, serde_json::Value>,
    /// Share of the time that each load thread was running.
    threads_busy: Vec<f64>,
    valid: bool,
    invalid_reasons: &'a [String],
    missed: &'a [String],
    marks: Vec<Event<'a>>,
    intervals: Vec<Second<'a>>,
}

#[derive(Serialize)]
struct Event<'a> {
    at: f64,
    label: &'a str,
}

#[derive(Serialize)]
struct Second<'a> {
    start: f64,
    length: f64,
    requests: u64,
    errors: u64,
    unknown: u64,
    latency_us: serde_json::Map<String, serde_json::Value>,
    leader: Option<&'a str>,
}

/// The run as JSON.
///
/// # Errors
/// None that can happen.
pub fn json(found: &Found) -> Result<String, Failure> {
    let recording = &found.recording;
    let reasons: &[String] = match &recording.verdict {
        Verdict::Valid => &[],
        Verdict::Invalid { reasons } => reasons,
    };
    let document = Document {
        command: &recording.command,
        machine: &recording.machine,
        parameters: recording.parameters.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect(),
        began: recording.began.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        seconds: found.lasted.as_secs_f64(),
        rate: found.rate(),
        tally: found.tally,
        latency_us: percentiles(&recording.latencies),
        send_lag_us: percentiles(&found.lag),
        threads_busy: found.busy.iter().map(|busy| busy.running).collect(),
        valid: reasons.is_empty(),
        invalid_reasons: reasons,
        missed: &found.missed,
        marks: recording.marks.iter().map(|mark| Event { at: mark.at.as_secs_f64(), label: &mark.label }).collect(),
        intervals: recording.intervals.iter().map(Second::of).collect(),
    };
    serde_json::to_string_pretty(&document).during("writing JSON")
}

impl<'a> Second<'a> {
    fn of(interval: &'a crate::recording::Interval) -> Self {
        Self {
            start: interval.start.as_secs_f64(),
            length: interval.length.as_secs_f64(),
            requests: interval.requests,
            errors: interval.errors,
            unknown: interval.unknown,
            latency_us: percentiles(&interval.latencies),
            leader: interval.leader.as_deref(),
        }
    }
}

/// Nothing of an empty histogram.
fn percentiles(histogram: &Histogram<u64>) -> serde_json::Map<String, serde_json::Value> {
    if histogram.is_empty() {
        return serde_json::Map::new();
    }
    let us = |value: u64| serde_json::Value::from(value as f64 / 1e3);
    let all = QUANTILES.iter().map(|(name, quantile)| ((*name).to_owned(), us(histogram.value_at_quantile(*quantile))));
    all.chain([("max".to_owned(), us(histogram.max()))]).collect()
}
