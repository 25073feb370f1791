//! A close-up of what a failover costs: the time around a kill, of several kills laid over each other so that all of them stand
//! at zero.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::figures::{LATENCY_MIN, latency_axis};
use super::plot::{Axis, Line, Moment, Plot, Span};
use super::scale::{self, Scale};

/// The quantiles of a bin that are drawn, their names, and their classes of the style sheet.
const QUANTILES: [(f64, &str, &str); 2] = [(0.5, "p50", "p50"), (0.9, "p90", "p99")];
/// Kills from which on a bin has enough sets for the rarer quantile.
const KILLS_FOR_P90: usize = 20;

/// Latencies of the sets that were due in a bin, in seconds.
struct OfBin {
    quantiles: [f64; QUANTILES.len()],
    max: f64,
}

fn of_bin(latencies: &Histogram<u64>) -> Option<OfBin> {
    let seconds = |ns: u64| ns as f64 / 1e9;
    let quantiles = QUANTILES.map(|(quantile, ..)| seconds(latencies.value_at_quantile(quantile)));
    (!latencies.is_empty()).then(|| OfBin { quantiles, max: seconds(latencies.max()) })
}

/// The time around kills in bins of equal length.
pub struct Closeup {
    /// What was done, in a few words.
    pub kill: String,
    /// Kills laid over each other, at least one.
    pub kills: usize,
    /// Length of a bin.
    pub bin: Duration,
    /// Bins before the kill.
    pub bins_before: usize,
    /// What was answered, one line each.
    pub answered: Vec<Answered>,
    /// For each bin latencies in nanoseconds of the sets that were due in it.
    pub latencies: Vec<Histogram<u64>>,
    /// The parts of the gap, in order of time, in seconds since the kill.
    pub parts: Vec<Part>,
}

/// Answers of one kind.
pub struct Answered {
    /// Which.
    pub name: &'static str,
    /// Its class of the style sheet.
    pub class: &'static str,
    /// How many came in each bin, of all kills together.
    pub counts: Vec<u64>,
}

/// A part of the gap.
pub struct Part {
    /// What ends it.
    pub name: String,
    /// Its class of the style sheet.
    pub class: &'static str,
    /// Its beginning, in seconds since the kill.
    pub from: f64,
    /// Its end, in seconds since the kill.
    pub to: f64,
}

impl Closeup {
    /// Answers a second, and the latency of sets, around the kill.
    pub fn plots(&self) -> [Plot; 2] {
        [self.throughput(), self.latency()]
    }

    fn throughput(&self) -> Plot {
        let per_bin = self.bin.as_secs_f64() * self.kills as f64;
        let lines = self.answered.iter().map(|one| {
            let rates = one.counts.iter().map(|count| Some(*count as f64 / per_bin));
            Line { name: one.name.to_owned(), class: one.class, pieces: self.steps(rates), filled: true }
        });
        let most = self.answered.iter().flat_map(|one| &one.counts).max().copied().unwrap_or(0) as f64 / per_bin;
        let words = |part: &Part| format!("{} after {}", part.name, scale::time(part.to));
        let notes = self.parts.iter().map(|part| (part.class, format!("\u{25a0} {}", words(part)))).collect();
        let parts = self.parts.iter().map(words).collect::<Vec<_>>().join(", ");
        Plot {
            id: "closeup-throughput".to_owned(),
            title: if self.kills == 1 { "Around the kill".to_owned() } else { format!("Around {} kills", self.kills) },
            notes,
            description: format!("Answers a second around {}: {parts}.", self.kill),
            height: 170.0,
            x: self.x_axis(),
            y: Axis {
                scale: Scale::linear_from_zero(most, 5),
                steps: 5,
                write: scale::count,
                name: "per second".to_owned(),
            },
            lines: lines.collect(),
            points: Vec::new(),
            spans: self.spans(),
            moments: self.moment(&self.kill),
            tips: Vec::new(),
        }
    }

    fn latency(&self) -> Plot {
        let latencies = self.latencies.iter().map(of_bin).collect::<Vec<_>>();
        let known = latencies.iter().flatten();
        let max = known.clone().map(|one| one.max).fold(LATENCY_MIN, f64::max);
        let min = known.map(|one| one.quantiles[0]).fold(max, f64::min);
        let line = |name: &str, class, value: &dyn Fn(&OfBin) -> f64| Line {
            name: name.to_owned(),
            class,
            pieces: self.steps(latencies.iter().map(|one| one.as_ref().map(value))),
            filled: false,
        };
        // of few kills a bin has too few sets for more than their median
        let quantiles = if self.kills < KILLS_FOR_P90 { &QUANTILES[..1] } else { &QUANTILES[..] };
        let mut lines = vec![line("max", "max", &|one| one.max)];
        for (place, (_, name, class)) in quantiles.iter().enumerate().rev() {
            lines.push(line(name, class, &move |one| one.quantiles[place]));
        }
        Plot {
            id: "closeup-latency".to_owned(),
            title: "Latency of sets".to_owned(),
            notes: vec![(
                "plain",
                "drawn when a set was due: who asks in the gap waits for what is left of it".to_owned(),
            )],
            description: format!("Latencies of sets around {}, at most {}.", self.kill, scale::time(max)),
            height: 190.0,
            x: self.x_axis(),
            y: latency_axis(min, max),
            lines,
            points: Vec::new(),
            spans: self.spans(),
            moments: self.moment(""),
            tips: Vec::new(),
        }
    }

    fn x_axis(&self) -> Axis {
        let (from, to) = (self.start_of(0), self.start_of(self.latencies.len()));
        Axis {
            scale: Scale::Linear { from, to },
            steps: 10,
            write: scale::time,
            name: "time since the kill".to_owned(),
        }
    }

    fn start_of(&self, bin: usize) -> f64 {
        (bin as f64 - self.bins_before as f64) * self.bin.as_secs_f64()
    }

    fn steps(&self, values: impl Iterator<Item = Option<f64>>) -> Vec<Vec<(f64, f64)>> {
        let mut pieces = vec![Vec::new()];
        for (bin, value) in values.enumerate() {
            match value {
                Some(value) => {
                    let level = [(self.start_of(bin), value), (self.start_of(bin + 1), value)];
                    pieces.last_mut().expect("there is one").extend(level);
                }
                None => pieces.push(Vec::new()),
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    fn spans(&self) -> Vec<Span> {
        let span = |part: &Part| Span {
            from: part.from,
            to: part.to,
            class: part.class,
            name: format!("{}: {} to {}", part.name, scale::time(part.from), scale::time(part.to)),
        };
        self.parts.iter().map(span).collect()
    }

    fn moment(&self, name: &str) -> Vec<Moment> {
        vec![Moment { at: 0.0, name: name.to_owned() }]
    }
}
