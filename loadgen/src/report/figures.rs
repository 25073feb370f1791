//! The plots of a run: throughput and latency over time, and latency by percentile.

use hdrhistogram::Histogram;

use super::columns::{Column, QUANTILES};
use super::plot::{Axis, Line, Moment, Plot, Point};
use super::scale::{self, Scale};
use crate::recording::{LATENCY_NS_MIN, Mark};

/// Latencies below this stand at the foot of a logarithmic axis, in seconds.
pub const LATENCY_MIN: f64 = LATENCY_NS_MIN as f64 / 1e9;
/// Steps of the percentile curve for each halving of the distance to 100 %.
const CURVE_STEPS: u32 = 12;
/// Classes of the lines of [`QUANTILES`].
pub const QUANTILE_CLASSES: [&str; QUANTILES.len()] = ["p50", "p99", "p999"];
/// The quantiles that are named on the percentile curve.
const NAMED: [(f64, &str); 4] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9")];

/// Requests answered a second over time.
pub fn throughput(columns: &[Column], marks: &[Mark]) -> Plot {
    let max = columns.iter().map(Column::rate).fold(0.0, f64::max);
    let troubled = columns.iter().any(|column| column.trouble() > 0.0);
    let mut lines = vec![Line {
        name: "answers".to_owned(),
        class: "answered",
        pieces: steps(columns, |column| Some(column.rate())),
        filled: true,
    }];
    if troubled {
        let pieces = steps(columns, |column| Some(column.trouble()));
        lines.push(Line { name: "errors".to_owned(), class: "trouble", pieces, filled: true });
    }
    let note =
        if troubled { "errors: refused, or of unknown outcome" } else { "none was refused or of unknown outcome" };
    Plot {
        id: "throughput".to_owned(),
        title: "Throughput".to_owned(),
        notes: vec![("plain", note.to_owned())],
        description: format!("Requests answered a second over time, at most {} a second.", scale::count(max)),
        height: 170.0,
        x: time_axis(columns),
        y: Axis {
            scale: Scale::linear_from_zero(max, 5),
            steps: 5,
            write: scale::count,
            name: "per second".to_owned(),
        },
        lines,
        points: Vec::new(),
        spans: Vec::new(),
        moments: moments(marks),
        tips: tips(columns),
    }
}

/// Latencies over time.
pub fn latency(columns: &[Column], marks: &[Mark]) -> Plot {
    let all = columns.iter().filter_map(|column| column.latency.as_ref());
    let max = all.clone().map(|one| one.max).fold(LATENCY_MIN, f64::max);
    let min = all.map(|one| one.quantiles[0]).fold(max, f64::min).max(LATENCY_MIN);
    let maximum =
        Line { name: "max".to_owned(), class: "max", pieces: steps(columns, |c| Some(c.latency?.max)), filled: false };
    let quantiles = QUANTILES.iter().zip(QUANTILE_CLASSES).enumerate().rev().map(|(place, ((_, name), class))| Line {
        name: (*name).to_owned(),
        class,
        pieces: steps(columns, |column| Some(column.latency?.quantiles[place])),
        filled: false,
    });
    Plot {
        id: "latency".to_owned(),
        title: "Latency".to_owned(),
        notes: vec![("plain", "from when a request was due until its answer; drawn when that came".to_owned())],
        description: format!("Latency quantiles over time on a logarithmic axis, at most {}.", scale::time(max)),
        height: 230.0,
        x: time_axis(columns),
        y: latency_axis(min, max),
        lines: [maximum].into_iter().chain(quantiles).collect(),
        points: Vec::new(),
        spans: Vec::new(),
        moments: moments(marks),
        tips: tips(columns),
    }
}

/// Latency by percentile: each step to the right is a tenth of the requests of the one before. Nothing without a request.
pub fn percentiles(latencies: &Histogram<u64>) -> Option<Plot> {
    if latencies.is_empty() {
        return None;
    }
    let seconds = |ns: u64| (ns as f64 / 1e9).max(LATENCY_MIN);
    let count = latencies.len() as f64;
    let rarest = count.max(10.0);
    let mut curve = Vec::new();
    for step in latencies.iter_quantiles(CURVE_STEPS) {
        let rarity = (1.0 / (1.0 - step.quantile_iterated_to()).max(1.0 / rarest)).min(rarest);
        curve.push((rarity, seconds(step.value_iterated_to())));
    }
    let named = NAMED.iter().filter(|(quantile, _)| 1.0 / (1.0 - quantile) < rarest / 2.0);
    let points = named.map(|(quantile, name)| {
        let value = seconds(latencies.value_at_quantile(*quantile));
        Point { at: (1.0 / (1.0 - quantile), value), name: format!("{name} {}", scale::time(value)) }
    });
    let max = seconds(latencies.max());
    let last = Point { at: (rarest, max), name: format!("max {}", scale::time(max)) };
    let points = points.chain([last]).collect();
    let min = seconds(latencies.min());
    Some(Plot {
        id: "percentiles".to_owned(),
        title: "Latency by percentile".to_owned(),
        notes: vec![("plain", format!("of {} answered requests", scale::exact(latencies.len())))],
        description: format!("Latency at each percentile, from {} to {}.", scale::time(min), scale::time(max)),
        height: 230.0,
        x: Axis {
            scale: Scale::Log { from: 1.0, to: 10f64.powf(rarest.log10().ceil()) },
            steps: 7,
            write: percent,
            name: "percentile".to_owned(),
        },
        y: latency_axis(min, max),
        lines: vec![Line { name: String::new(), class: "answered", pieces: vec![curve], filled: true }],
        points,
        spans: Vec::new(),
        moments: Vec::new(),
        tips: Vec::new(),
    })
}

/// A logarithmic axis of seconds.
pub fn latency_axis(min: f64, max: f64) -> Axis {
    let scale = Scale::log_around(min.max(LATENCY_MIN), max.max(LATENCY_MIN));
    Axis { scale, steps: 10, write: scale::time, name: "latency".to_owned() }
}

/// A line of level pieces, interrupted where there is no value.
fn steps(columns: &[Column], value: impl Fn(&Column) -> Option<f64>) -> Vec<Vec<(f64, f64)>> {
    let mut pieces = vec![Vec::new()];
    for column in columns {
        match value(column) {
            Some(value) => {
                pieces.last_mut().expect("there is one").extend([(column.start, value), (column.end, value)]);
            }
            None => pieces.push(Vec::new()),
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

fn time_axis(columns: &[Column]) -> Axis {
    let to = columns.last().map_or(1.0, |column| column.end);
    Axis {
        scale: Scale::Linear { from: 0.0, to },
        steps: 10,
        write: scale::time,
        name: "time since the start".to_owned(),
    }
}

fn moments(marks: &[Mark]) -> Vec<Moment> {
    marks.iter().map(|mark| Moment { at: mark.at.as_secs_f64(), name: mark.label.clone() }).collect()
}

fn tips(columns: &[Column]) -> Vec<(f64, f64, String)> {
    columns.iter().map(|column| (column.start, column.end, tip(column))).collect()
}

fn tip(column: &Column) -> String {
    let mut words =
        format!("{} to {}\n{}/s", scale::time(column.start), scale::time(column.end), scale::count(column.rate()));
    if column.errors + column.unknown > 0 {
        words += &format!(", {} errors, {} unknown", column.errors, column.unknown);
    }
    if let Some(latency) = &column.latency {
        for ((_, name), value) in QUANTILES.iter().zip(latency.quantiles) {
            words += &format!("\n{name} {}", scale::time(value));
        }
        words += &format!("\nmax {}", scale::time(latency.max));
    }
    column.leader.iter().for_each(|leader| words += &format!("\nleader {leader}"));
    words
}

/// The percentile that one request in `rarity` exceeds.
fn percent(rarity: f64) -> String {
    let decimals = (rarity.log10() - 2.0 + 1e-9).floor().max(0.0) as usize;
    format!("{:.*} %", decimals, (1.0 - 1.0 / rarity) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_have_as_many_nines_as_they_need() {
        assert_eq!(
            [1.0, 2.0, 10.0, 100.0, 1_000.0, 100_000.0].map(percent),
            ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.999 %"]
        );
    }
}
