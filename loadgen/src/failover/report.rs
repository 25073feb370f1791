//! The distributions that were found, as Markdown or as JSON, each beside its goal.

use std::time::Duration;

use serde::Serialize;

use super::case::{Case, Finding};
use crate::failure::{Failure, While};
use crate::machine::Machine;

/// A time that is measured in each run, and what is to be reached.
#[derive(Clone, Debug)]
pub struct Figure {
    pub title: &'static str,
    pub goals: Vec<Goal>,
}

/// A quantile that is to be at most so many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Goal {
    pub quantile: f64,
    pub at_most_ms: f64,
}

/// Everything that was found.
#[derive(Serialize)]
pub struct Report {
    pub machine: Machine,
    pub runs: u32,
    /// Resident memory of the leader before the first run.
    pub resident_bytes: u64,
    /// Of the load balancer and of one server.
    pub commands: [String; 2],
    pub cases: Vec<CaseReport>,
}

/// One case.
#[derive(Serialize)]
pub struct CaseReport {
    case: &'static str,
    /// Sets that were refused at servers that nothing was done to, or ended there, in all runs together.
    failed: usize,
    figures: Vec<Distribution>,
}

/// Milliseconds over all runs.
#[derive(Debug, PartialEq, Serialize)]
struct Distribution {
    figure: &'static str,
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
    goals: Vec<Goal>,
    reached: bool,
}

impl CaseReport {
    /// Of the findings of all runs, at least one.
    pub fn new(case: Case, findings: &[Finding]) -> Self {
        let figures = case.figures().into_iter().enumerate().map(|(place, figure)| {
            let times = findings.iter().map(|finding| finding.times[place]).collect();
            Distribution::of(&figure, times)
        });
        let failed = findings.iter().map(|finding| finding.failed).sum();
        Self { case: case.name(), failed, figures: figures.collect() }
    }
}

impl Distribution {
    fn of(figure: &Figure, mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |quantile: f64| quantile_of(&times, quantile).as_secs_f64() * 1e3;
        let reached = figure.goals.iter().all(|goal| at(goal.quantile) <= goal.at_most_ms);
        let (p50, p90, p99, max) = (at(0.5), at(0.9), at(0.99), at(1.0));
        Self { figure: figure.title, p50, p90, p99, max, goals: figure.goals.clone(), reached }
    }
}

/// The smallest time that at least this share of all times does not exceed. They are sorted.
fn quantile_of(sorted: &[Duration], quantile: f64) -> Duration {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

impl Report {
    /// Prints it.
    pub fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            println!("{}", serde_json::to_string_pretty(self).during("writing JSON")?);
        } else {
            print!("{}", self.markdown());
        }
        Ok(())
    }

    fn markdown(&self) -> String {
        let machine = &self.machine;
        let mut out = format!(
            "Kernel {}, {}, {} cores, commit {}; {} runs of each case, {:.0} MiB resident in the leader.\n\n",
            machine.kernel,
            machine.cpu,
            machine.cores,
            machine.commit,
            self.runs,
            self.resident_bytes as f64 / f64::from(1 << 20)
        );
        for command in &self.commands {
            out += &format!("- `{command}`\n");
        }
        out +=
            "\n| case | time, ms | p50 | p90 | p99 | max | goal | failed sets |\n|---|---|--:|--:|--:|--:|---|--:|\n";
        for case in &self.cases {
            for (place, figure) in case.figures.iter().enumerate() {
                let (name, failed) =
                    if place == 0 { (case.case, case.failed.to_string()) } else { ("", String::new()) };
                out += &format!(
                    "| {name} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {} | {failed} |\n",
                    figure.figure,
                    figure.p50,
                    figure.p90,
                    figure.p99,
                    figure.max,
                    figure.goal()
                );
            }
        }
        out
    }
}

impl Distribution {
    fn goal(&self) -> String {
        let goals = self.goals.iter().map(|goal| format!("p{:.0} <= {:.0}", goal.quantile * 100.0, goal.at_most_ms));
        let goals = goals.collect::<Vec<_>>().join(", ");
        match (goals.is_empty(), self.reached) {
            (true, _) => goals,
            (false, true) => format!("{goals} reached"),
            (false, false) => format!("{goals} MISSED"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_time_that_was_measured() {
        let times = (1..=100).map(Duration::from_millis).collect::<Vec<_>>();
        let at = |quantile| quantile_of(&times, quantile).as_millis();
        assert_eq!((at(0.5), at(0.9), at(0.99), at(1.0), at(0.0)), (50, 90, 99, 100, 1));
        assert_eq!(quantile_of(&times[..1], 0.99), times[0]);
    }

    #[test]
    fn a_goal_is_reached_when_all_its_quantiles_are() {
        let goals = vec![Goal { quantile: 0.5, at_most_ms: 5.0 }, Goal { quantile: 0.99, at_most_ms: 40.0 }];
        let figure = Figure { title: "a", goals };
        let times = |last| (0..99).map(|_| Duration::from_millis(4)).chain([Duration::from_millis(last)]).collect();
        assert_eq!(
            Distribution::of(&figure, times(41)).goal(),
            "p50 <= 5, p99 <= 40 reached",
            "p99 is the 99th of 100"
        );
        let slow = vec![Duration::from_millis(6); 100];
        assert_eq!(Distribution::of(&figure, slow).goal(), "p50 <= 5, p99 <= 40 MISSED");
        assert_eq!(Distribution::of(&Figure { title: "b", goals: Vec::new() }, times(41)).goal(), "");
    }
}
