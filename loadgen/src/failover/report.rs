//! What many kills cost together: distributions beside their goals, as Markdown, as JSON, and around the kill as a close-up.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::Serialize;

use super::gap::{Fate, Finding, Kind, Loss, Outcome, ms};
use super::ledger::Verdicts;
use super::site::{Kill, Target};
use crate::failure::{Failure, While};
use crate::machine::Machine;
use crate::recording::{DIGITS_OF_INTERVAL, LATENCY_NS_MAX, histogram};
use crate::report::closeup::{Answered, Closeup, Part};
use crate::report::{Table, scale};

/// Bins of a close-up, of which a sixth is before the kill.
const BINS: usize = 120;
/// A close-up shows the median time until the first set so many times.
const GAPS_SHOWN: f64 = 8.0;
/// The shortest close-up.
const SHOWN_MIN: Duration = Duration::from_millis(30);
/// The longest one: as long as outcomes are remembered.
const SHOWN_MAX: Duration = Duration::from_millis(1_500);

/// A quantile that is to be at most so many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Goal {
    /// Between 0 and 1.
    pub quantile: f64,
    /// Milliseconds.
    pub at_most_ms: f64,
}

/// A time that is found at each kill, over all of them, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distribution {
    /// Which time.
    pub figure: &'static str,
    /// How many kills it was found at.
    pub count: usize,
    /// Half of the kills took no longer.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// What is to be reached.
    pub goals: Vec<Goal>,
    /// Whether it is.
    pub reached: bool,
}

/// One kill.
#[derive(Serialize)]
pub struct Told {
    /// Seconds since the run began.
    pub at_s: f64,
    /// What was lost.
    pub lost: String,
    /// What it cost.
    #[serde(flatten)]
    pub finding: Finding,
    /// What was seen besides.
    #[serde(skip)]
    pub loss: Loss,
    /// The requests around it.
    #[serde(skip)]
    pub outcomes: Vec<Outcome>,
}

/// What reading everything back found.
#[derive(Serialize)]
pub struct Audit {
    /// Sets that were acknowledged.
    pub acknowledged: u64,
    /// Keys that they went to.
    pub keys: usize,
    /// Of these, keys whose newest set is of unknown outcome.
    pub unknown_keys: usize,
    /// Servers that were read at the end, each key at each.
    pub servers: usize,
    /// Reads judged: of the load, behind each kill, and at the end.
    pub reads: u64,
    /// Acknowledged sets that were not there.
    pub lost: u64,
    /// Values older than what was acknowledged or seen before.
    pub stale: u64,
    /// Values that must not be there.
    pub foreign: u64,
    /// Some of what was wrong, in words.
    pub told: Vec<String>,
}

/// Everything that was found.
#[derive(Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// As it was typed.
    pub command: String,
    /// What was done.
    pub title: String,
    /// How.
    pub parameters: Vec<(String, String)>,
    /// Requests answered.
    pub answered: u64,
    /// Of these, refused.
    pub errors: u64,
    /// Requests of unknown outcome.
    pub unknown: u64,
    /// Over the kills.
    pub distributions: Vec<Distribution>,
    /// Each kill.
    pub kills: Vec<Told>,
    /// What reading back found.
    pub audit: Audit,
    /// Why the load generator was the limit; nothing when it was not.
    pub invalid: Vec<String>,
}

const FIRST_SET: &str = "first set through a survivor";

/// What is to be reached by which figure: the goals of this project for a cluster on loopback.
fn goals(kill: &Kill, target: Target, figure: &str) -> Vec<Goal> {
    let goal = |quantile, at_most_ms| Goal { quantile, at_most_ms };
    let Kill::Signal(signal) = *kill else { return Vec::new() };
    match (signal, target, figure) {
        (Signal::KILL, Target::Leader, FIRST_SET) => vec![goal(0.5, 5.0), goal(0.99, 40.0)],
        (Signal::KILL, Target::Leader, LAST_END) => vec![goal(0.5, 2.0)],
        (Signal::KILL, Target::Guardian, FIRST_SET) | (Signal::STOP, Target::Leader, FIRST_SET) => {
            vec![goal(0.99, 150.0)]
        }
        (Signal::TERM, Target::Leader, WRITE_GAP | OWN_GAP) => vec![goal(0.99, 10.0)],
        (Signal::KILL, Target::Follower, LONGEST_GAP) => vec![goal(0.99, 50.0)],
        _ => Vec::new(),
    }
}

const LAST_END: &str = "its own clients see the end, the last one";
const WRITE_GAP: &str = "write gap: the longest without a set at a survivor, until all is over";
const LONGEST_GAP: &str = "the longest without a set at a survivor, from the kill to 0.7 s behind it";
const OWN_GAP: &str = "the same for its own clients, which go elsewhere";

/// The distributions of these kills, at least one. What no kill has is left out.
pub fn distributions(kills: &[Told], kill: &Kill, target: Target) -> Vec<Distribution> {
    type Figure = fn(&Finding) -> Option<Duration>;
    let figures: [(&'static str, Figure); 10] = [
        (FIRST_SET, |one| Some(one.first_set)),
        ("first set through each survivor, the last one", |one| Some(one.every_first_set)),
        ("part 1, detection: its own clients see the end, the first one", Finding::detected),
        (LAST_END, |one| one.last_end),
        ("part 2, election: from there until a new epoch is announced", |one| {
            Some(one.announced?.saturating_sub(one.detected().unwrap_or_default()))
        }),
        ("part 3, first success: from there until the first set", |one| {
            Some(one.first_set.saturating_sub(one.announced?))
        }),
        (WRITE_GAP, |one| Some(one.write_gap)),
        (OWN_GAP, |one| one.own_gap),
        (LONGEST_GAP, |one| Some(one.longest_gap)),
        ("read gap: the longest without a get at a survivor, until all is over", |one| one.read_gap),
    ];
    let of = |(figure, value): (&'static str, Figure)| {
        let times = kills.iter().filter_map(|told| value(&told.finding)).collect::<Vec<_>>();
        (!times.is_empty()).then(|| Distribution::of(figure, times, goals(kill, target, figure)))
    };
    figures.into_iter().filter_map(of).collect()
}

impl Distribution {
    fn of(figure: &'static str, mut times: Vec<Duration>, goals: Vec<Goal>) -> Self {
        times.sort();
        let at = |quantile: f64| ms(quantile_of(&times, quantile));
        let reached = goals.iter().all(|goal| at(goal.quantile) <= goal.at_most_ms);
        let (p50, p90, p99, max) = (at(0.5), at(0.9), at(0.99), at(1.0));
        Self { figure, count: times.len(), p50, p90, p99, max, goals, reached }
    }

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

/// How often, in words.
fn times(count: usize) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// The smallest time that at least this share of all times does not exceed. They are sorted.
fn quantile_of(sorted: &[Duration], quantile: f64) -> Duration {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

impl Report {
    /// Prints it.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which would be a fault of ours.
    pub fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            println!("{}", serde_json::to_string_pretty(self).during("writing JSON")?);
        } else {
            print!("{}", self.markdown());
        }
        Ok(())
    }

    /// The tables of the page.
    pub fn tables(&self) -> Vec<Table> {
        let head = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let kills = self.kills.iter().enumerate().map(|(number, told)| {
            let finding = &told.finding;
            let figure = |time: Option<Duration>| time.map_or("–".to_owned(), |time| format!("{:.1}", ms(time)));
            let times = [finding.first_end, finding.announced, Some(finding.first_set)].map(figure);
            let gaps = [ms(finding.write_gap), ms(finding.longest_gap), finding.longest_gap_from_ms]
                .map(|figure| format!("{figure:.1}"));
            let counts = [finding.due, finding.in_time, finding.late, finding.failed, finding.unknown];
            let name = format!("{}: {} at {:.1} s", number + 1, told.lost, told.at_s);
            let times = times.into_iter().chain(gaps).chain([figure(finding.read_gap)]);
            [name].into_iter().chain(times).chain(counts.map(|count| count.to_string())).collect()
        });
        vec![
            Table {
                caption: format!("Killed {}: milliseconds", times(self.kills.len())),
                head: head(&["time", "p50", "p90", "p99", "max", "goal"]),
                rows: self.distributions.iter().map(Distribution::row).collect(),
                words: false,
            },
            Table {
                caption: "Each kill: times in milliseconds from it, gaps as lengths, and what became of requests due in the write gap"
                    .to_owned(),
                head: head(&[
                    "kill", "end seen", "new epoch", "first set", "write gap", "longest gap", "from", "read gap", "due", "in time", "late", "failed",
                    "unknown",
                ]),
                rows: kills.collect(),
                words: false,
            },
            Table {
                caption: "Audit: every key read back".to_owned(),
                head: head(&["sets acknowledged", "keys", "servers", "reads", "lost", "stale", "must not be there"]),
                rows: vec![self.audit.row()],
                words: false,
            },
        ]
    }

    fn markdown(&self) -> String {
        let machine = &self.machine;
        let mut out = format!(
            "{}, {}. Kernel {}, {}, {} cores, commit {}.\n\n",
            self.title,
            times(self.kills.len()),
            machine.kernel,
            machine.cpu,
            machine.cores,
            machine.commit,
        );
        for (name, value) in &self.parameters {
            out += &format!("- {name}: {value}\n");
        }
        out += "\n| time, ms | p50 | p90 | p99 | max | goal |\n|---|--:|--:|--:|--:|---|\n";
        for one in &self.distributions {
            out += &format!("| {} |\n", one.row().join(" | "));
        }
        out += &format!("\n{}\n{}\n", self.requests(), self.audit.sentence());
        for words in self.audit.told.iter().chain(&self.invalid) {
            out += &format!("- {words}\n");
        }
        if !self.invalid.is_empty() {
            out += "INVALID: the load generator was the limit.\n";
        }
        out
    }

    fn requests(&self) -> String {
        let sum = |of: fn(&Finding) -> u64| self.kills.iter().map(|told| of(&told.finding)).sum::<u64>();
        format!(
            "{} requests answered, {} of them refused, {} of unknown outcome. Due in the write gaps: {}, of which {} were answered \
             in time, {} late, {} failed, {} are unknown.",
            scale::exact(self.answered),
            scale::exact(self.errors),
            scale::exact(self.unknown),
            scale::exact(sum(|one| one.due)),
            scale::exact(sum(|one| one.in_time)),
            scale::exact(sum(|one| one.late)),
            scale::exact(sum(|one| one.failed)),
            scale::exact(sum(|one| one.unknown)),
        )
    }
}

impl Distribution {
    fn row(&self) -> Vec<String> {
        let times = [self.p50, self.p90, self.p99, self.max].map(|time| format!("{time:.1}"));
        [self.figure.to_owned()].into_iter().chain(times).chain([self.goal()]).collect()
    }
}

impl Audit {
    /// Of what was read, at so many servers at the end.
    pub fn new(verdicts: Verdicts, acknowledged: u64, keys: (usize, usize), servers: usize, told: Vec<String>) -> Self {
        let Verdicts { reads, lost, stale, foreign } = verdicts;
        Self { acknowledged, keys: keys.0, unknown_keys: keys.1, servers, reads, lost, stale, foreign, told }
    }

    /// Whether the cluster owes nobody anything, and said nothing that cannot be understood.
    pub fn is_clean(&self) -> bool {
        self.lost + self.stale + self.foreign == 0 && self.told.is_empty()
    }

    /// In a sentence.
    pub fn sentence(&self) -> String {
        format!(
            "Audit of {} acknowledged sets of {} keys at {} servers, {} reads: {} lost, {} stale, {} that must not be there.",
            scale::exact(self.acknowledged),
            scale::exact(self.keys as u64),
            self.servers,
            scale::exact(self.reads),
            self.lost,
            self.stale,
            self.foreign
        )
    }

    fn row(&self) -> Vec<String> {
        let counts =
            [self.acknowledged, self.keys as u64, self.servers as u64, self.reads, self.lost, self.stale, self.foreign];
        counts.map(scale::exact).to_vec()
    }
}

/// The time around the kills, all of them laid over each other; at least one.
pub fn closeup(kills: &[Told], name: &str) -> Closeup {
    let median = |of: &dyn Fn(&Finding) -> Option<Duration>| {
        let mut times = kills.iter().filter_map(|told| of(&told.finding)).collect::<Vec<_>>();
        times.sort();
        (!times.is_empty()).then(|| quantile_of(&times, 0.5))
    };
    let gap = median(&|one| Some(one.first_set)).unwrap_or_default();
    let shown = gap.mul_f64(GAPS_SHOWN).clamp(SHOWN_MIN, SHOWN_MAX);
    // a whole number of tenths of a millisecond, so that the axis has round bins
    let bin = Duration::from_micros((shown.as_micros() as u64 / BINS as u64).div_ceil(100) * 100);
    let bins_before = BINS / 6;
    let mut sets = vec![0; BINS];
    let mut gets = vec![0; BINS];
    let mut latencies = (0..BINS).map(|_| histogram(DIGITS_OF_INTERVAL)).collect::<Vec<_>>();
    for told in kills {
        let began = told.loss.at - bin * bins_before as u32;
        let bin_of = |instant: Instant| {
            let since = instant.checked_duration_since(began)?;
            Some((since.as_nanos() / bin.as_nanos()) as usize).filter(|bin| *bin < BINS)
        };
        for outcome in told.outcomes.iter().filter(|outcome| outcome.fate == Fate::Answered) {
            let counts = if outcome.kind == Kind::Set { &mut sets } else { &mut gets };
            bin_of(outcome.over).into_iter().for_each(|bin| counts[bin] += 1);
            if let Some(bin) = bin_of(outcome.due).filter(|_| outcome.kind == Kind::Set) {
                let ns = (outcome.over - outcome.due).as_nanos().min(u128::from(LATENCY_NS_MAX)) as u64;
                latencies[bin].record(ns).expect("it was cut to the bound");
            }
        }
    }
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    let ends = [
        ("connections end", "detection", seconds(median(&Finding::detected))),
        ("new epoch", "election", seconds(median(&|one| one.announced))),
        ("first set", "first", seconds(median(&|one| Some(one.first_set)))),
    ];
    let mut from = 0.0;
    let mut parts = Vec::new();
    for (name, class, to) in ends {
        if let Some(to) = to {
            parts.push(Part { name: name.to_owned(), class, from, to: f64::max(from, to) });
            from = f64::max(from, to);
        }
    }
    let answered = [("gets", "gets", gets), ("sets", "answered", sets)];
    let answered = answered.into_iter().filter(|(_, _, counts)| counts.iter().any(|count| *count > 0));
    let answered = answered.map(|(name, class, counts)| Answered { name, class, counts }).collect();
    Closeup { kill: name.to_owned(), kills: kills.len(), bin, bins_before, answered, latencies, parts }
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
        let times = |last| (0..99).map(|_| Duration::from_millis(4)).chain([Duration::from_millis(last)]).collect();
        assert_eq!(
            Distribution::of("a", times(41), goals.clone()).goal(),
            "p50 <= 5, p99 <= 40 reached",
            "p99 is the 99th of 100"
        );
        let slow = vec![Duration::from_millis(6); 100];
        assert_eq!(Distribution::of("a", slow, goals).goal(), "p50 <= 5, p99 <= 40 MISSED");
        assert_eq!(Distribution::of("b", times(41), Vec::new()).goal(), "");
    }

    #[test]
    fn a_closeup_counts_each_answer_in_its_bin() {
        let (zero, ms) = (Instant::now(), Duration::from_millis);
        let one = |due, over, kind| {
            let (due, over) = (zero + ms(due), zero + ms(over));
            Outcome { due, over, kind, fate: Fate::Answered, home: 1, server: 1 }
        };
        let outcomes =
            vec![one(99, 99, Kind::Set), one(100, 106, Kind::Set), one(102, 103, Kind::Get), one(9, 10, Kind::Set)];
        let loss = Loss { at: zero + ms(100), victim: Some(0), ends: vec![zero + ms(101)], announced: None };
        let finding = Finding {
            write_gap: ms(7),
            longest_gap: ms(8),
            longest_gap_from_ms: 12.0,
            read_gap: Some(ms(1)),
            own_gap: None,
            first_end: Some(ms(1)),
            last_end: Some(ms(1)),
            announced: None,
            first_set: ms(6),
            every_first_set: ms(6),
            due: 2,
            in_time: 1,
            late: 1,
            failed: 0,
            unknown: 0,
        };
        let told = Told { at_s: 0.1, lost: "server1".to_owned(), finding, loss, outcomes };
        let closeup = closeup(&[told], "kill -9 of the leader");
        assert_eq!(closeup.bin, Duration::from_micros(400));
        let place = |bin: usize| bin + closeup.bins_before;
        let [gets, sets] = &closeup.answered[..] else { panic!("gets and sets") };
        assert_eq!((gets.counts.iter().sum::<u64>(), gets.counts[place(7)]), (1, 1));
        assert_eq!((sets.counts.iter().sum::<u64>(), sets.counts[place(15)]), (2, 1));
        assert_eq!(closeup.latencies[place(0)].max() / 1_000_000, 6, "drawn when it was due");
        let parts = closeup.parts.iter().map(|part| (part.from, part.to)).collect::<Vec<_>>();
        assert_eq!(parts, [(0.0, 0.001), (0.001, 0.006)]);
    }
}
