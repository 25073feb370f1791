//! `loadgen run`: one load against servers that somebody else has started.

pub mod fill;
pub mod leader;
pub mod objective;
pub mod options;
mod show;
pub mod verdict;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use self::leader::LeaderWatch;
use self::objective::{Figures, Objective};
use self::options::{LoadArgs, parse_seconds};
use self::show::{Found, Live};
use crate::engine::{End, Outcome, Pace, Plan, Tally, drive};
use crate::failure::{EXIT_INVALID, EXIT_MISSED, EXIT_WRONG_REPLIES, Failure};
use crate::machine::Machine;
use crate::recording::{DIGITS_OF_INTERVAL, Interval, Recording, Verdict, histogram};
use crate::report::Outputs;
use crate::workload::arrivals::Spacing;
use crate::workload::mix::Operation;

/// A last interval that is shorter than this part of the others belongs to the one before it.
const SHORT_INTERVAL: f64 = 0.1;

#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// Requests a second by a schedule (open loop): latency counts from when each one was due. Without it each connection
    /// sends when it was answered (closed loop)
    #[arg(long, value_name = "PER-SECOND", value_parser = parse_rate)]
    rate: Option<f64>,
    /// How the schedule lies, with --rate: poisson, fixed
    #[arg(long, value_name = "SPACING", default_value = "poisson")]
    arrivals: Spacing,
    /// Seconds to run
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds, conflicts_with = "ops")]
    duration: Duration,
    /// Requests to send in all, instead of a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    ops: Option<u64>,
    /// Seconds before that which do not count
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = parse_seconds)]
    warm_up: Duration,
    /// Exit status 2 when this holds at the end, as in 'p99>2ms', 'errors>0.1%', 'rate<50000'; may be given several times
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<Objective>,
    /// No line a second
    #[arg(long)]
    quiet: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    outputs: Outputs,
}

/// `50000`, `50k` or `1.5M`, greater than 0.
///
/// # Errors
/// When it is none of them.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let (number, scale) = match (text.strip_suffix('k'), text.strip_suffix('M')) {
        (Some(number), _) => (number, 1e3),
        (_, Some(number)) => (number, 1e6),
        _ => (text, 1.0),
    };
    let rate = number.parse::<f64>().ok().map(|number| number * scale).filter(|rate| *rate > 0.0 && *rate <= 1e9);
    rate.ok_or_else(|| "requests a second, as in 50000 or 50k".to_owned())
}

/// Runs the load and prints what it found.
pub fn run(args: &RunArgs) -> Result<ExitCode, Failure> {
    args.outputs.check()?;
    let pace = args.rate.map_or(Pace::Closed, |rate| Pace::Open { rate, spacing: args.arrivals });
    let end = args.ops.map_or(End::After(args.duration.as_nanos() as u64), End::Requests);
    let plan = args.load.plan(pace, end, args.warm_up)?;
    if args.load.fill {
        fill::fill(&plan)?;
    }
    let found = record(args, &plan)?;
    if args.json {
        println!("{}", show::json(&found)?);
    } else {
        print!("{}", show::table(&found));
    }
    args.outputs.write(&found.recording)?;
    Ok(exit_code(&found, &args.load))
}

fn record(args: &RunArgs, plan: &Plan) -> Result<Found, Failure> {
    let watch = args.load.target.lb.clone().map(LeaderWatch::start);
    let mut live = Live::new(plan.interval, args.quiet);
    let mut leaders = Vec::new();
    let outcome = drive(plan, &mut |piece| {
        let leader = watch.as_ref().and_then(LeaderWatch::leader);
        // what comes after the end makes no interval of its own
        if !matches!(plan.end, End::After(time) if u128::from(piece.index) * plan.interval.as_nanos() >= u128::from(time))
        {
            live.line(piece, leader.as_deref());
        }
        leaders.push(leader);
    })?;
    let (tally, latencies) = (outcome.tally(), outcome.latencies());
    let recording = Recording {
        title: format!("{} at {}", args.load.mix, args.load.target.describe()),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        machine: Machine::describe(),
        parameters: args.load.parameters(plan),
        began: outcome.began,
        intervals: intervals(&outcome, plan.interval, leaders),
        marks: watch.map(|watch| watch.marks(outcome.measured_from)).unwrap_or_default(),
        verdict: verdict::judge(&outcome, plan.pace),
        latencies,
    };
    let Outcome { lag, busy, lasted, .. } = outcome;
    let mut found = Found { recording, tally, lasted, lag, busy, missed: Vec::new() };
    let figures = Figures { latencies: &found.recording.latencies, tally: &found.tally, rate: found.rate() };
    let missed = args.fail_if.iter().filter(|objective| objective.is_missed(&figures));
    found.missed = missed.map(|objective| format!("{objective}, it was {}", objective.found(&figures))).collect();
    Ok(found)
}

/// The pieces as intervals without gaps; the last one ends with the last answer.
fn intervals(outcome: &Outcome, length: Duration, leaders: Vec<Option<String>>) -> Vec<Interval> {
    let mut intervals: Vec<Interval> = Vec::new();
    for (piece, leader) in outcome.pieces.iter().zip(leaders.into_iter().chain(std::iter::repeat(None))) {
        let start = length * piece.index as u32;
        let length = outcome.lasted.saturating_sub(start).min(length);
        let mut latencies = histogram(DIGITS_OF_INTERVAL);
        latencies.add(&piece.latencies).expect("the bounds are the same");
        let Tally { answered: requests, errors, unknown, .. } = piece.tally;
        let interval = Interval { start, length, requests, errors, unknown, latencies, leader };
        match intervals.last_mut() {
            Some(last) if length.as_secs_f64() < last.length.as_secs_f64() * SHORT_INTERVAL => last.absorb(&interval),
            _ => intervals.push(interval),
        }
    }
    intervals
}

impl Interval {
    fn absorb(&mut self, next: &Self) {
        self.length += next.length;
        self.requests += next.requests;
        self.errors += next.errors;
        self.unknown += next.unknown;
        self.latencies.add(&next.latencies).expect("the bounds are the same");
    }
}

/// The gravest of what is to be told.
fn exit_code(found: &Found, load: &LoadArgs) -> ExitCode {
    let deletes = load.mix.operations().any(|one| matches!(one, Operation::Delete | Operation::MetaDelete));
    let lost = load.verify && !deletes && found.tally.misses > 0;
    // a refusal is an answer that a failover explains, and nothing else does
    let refused = load.target.lb.is_none() && found.tally.errors > 0;
    if found.tally.mismatches > 0 || found.tally.stale > 0 || lost || refused {
        ExitCode::from(EXIT_WRONG_REPLIES)
    } else if found.recording.verdict != Verdict::Valid {
        ExitCode::from(EXIT_INVALID)
    } else if !found.missed.is_empty() {
        ExitCode::from(EXIT_MISSED)
    } else {
        ExitCode::SUCCESS
    }
}
