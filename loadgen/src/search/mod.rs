//! `loadgen search`: the highest rate at which a latency objective is kept, by bisection. Each step is an open loop of its
//! own; a rate is kept when the objective holds, everything was answered, and nothing was refused.

mod bisection;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use self::bisection::Bisection;
use crate::engine::{End, Pace, Plan, drive};
use crate::failure::{EXIT_INVALID, EXIT_MISSED, Failure, While};
use crate::machine::Machine;
use crate::recording::Verdict;
use crate::run::fill::fill;
use crate::run::objective::parse_latency;
use crate::run::options::{LoadArgs, parse_seconds};
use crate::run::{parse_rate, verdict};
use crate::workload::arrivals::Spacing;

/// A rate whose answers come in at less than this part of it was not kept, whatever their latency.
const DELIVERED_SHARE: f64 = 0.99;

#[derive(Args)]
pub struct SearchArgs {
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    objective: ObjectiveArgs,
    /// How the schedule lies: poisson, fixed
    #[arg(long, value_name = "SPACING", default_value = "poisson")]
    arrivals: Spacing,
    /// The rate to begin with
    #[arg(long, value_name = "PER-SECOND", default_value = "1000", value_parser = parse_rate)]
    from: f64,
    /// The lowest rate to try
    #[arg(long, value_name = "PER-SECOND", default_value = "100", value_parser = parse_rate)]
    lowest: f64,
    /// Percent between the rate that is found and one that was missed
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    precision: f64,
    /// Seconds of each step that count
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = parse_seconds)]
    duration: Duration,
    /// Seconds of each step before that which do not
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = parse_seconds)]
    warm_up: Duration,
    /// Times that a rate may be tried: it is missed when all of them miss it, so that one hiccup of the machine does not
    /// decide
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    tries: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Latencies that must be kept, at least one.
#[derive(Args, Clone, Copy, Debug)]
#[group(required = true, multiple = true)]
struct ObjectiveArgs {
    /// Highest latency of half of the requests, as in 200us, 1ms, 1.5s
    #[arg(long, value_name = "TIME", value_parser = latency)]
    p50: Option<u64>,
    /// Highest latency of 90 % of the requests
    #[arg(long, value_name = "TIME", value_parser = latency)]
    p90: Option<u64>,
    /// Highest latency of 99 % of the requests
    #[arg(long, value_name = "TIME", value_parser = latency)]
    p99: Option<u64>,
    /// Highest latency of 99.9 % of the requests
    #[arg(long, value_name = "TIME", value_parser = latency)]
    p999: Option<u64>,
    /// Highest latency of all
    #[arg(long, value_name = "TIME", value_parser = latency)]
    max: Option<u64>,
}

fn latency(text: &str) -> Result<u64, String> {
    parse_latency(text).ok_or_else(|| "a time with its unit, as in 200us, 1ms or 1.5s".to_owned())
}

/// One try of one rate.
#[derive(Serialize)]
struct Step {
    rate: f64,
    /// Answers a second.
    answered: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    errors: u64,
    kept: bool,
    /// Why the load generator was the limit; then it says nothing of the server.
    invalid: Vec<String>,
}

/// What the search found.
#[derive(Serialize)]
struct Report<'a> {
    machine: Machine,
    /// The highest rate that was kept.
    rate: Option<f64>,
    steps: &'a [Step],
}

/// Searches and prints each step and what was found.
pub fn run(args: &SearchArgs) -> Result<ExitCode, Failure> {
    if args.from < args.lowest || !(0.1..=100.0).contains(&args.precision) {
        return Err(Failure::new("--from must not be below --lowest, and --precision must be 0.1 to 100"));
    }
    let plan = args.plan(args.from)?;
    if args.load.fill {
        fill(&plan)?;
    }
    let (mut bisection, mut steps) = (Bisection::new(args.lowest, args.from, args.precision / 100.0), Vec::new());
    eprintln!(
        "{:>10} {:>10} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "rate", "answered", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "errors"
    );
    while let Some(rate) = bisection.next_rate() {
        let kept = try_rate(args, rate, &mut steps)?;
        bisection.tell(kept);
    }
    // what bounds the result from above says whether it is the server's
    let lowest_missed = steps.iter().filter(|step| !step.kept).min_by(|a, b| a.rate.total_cmp(&b.rate));
    let limit = lowest_missed.filter(|step| !step.invalid.is_empty());
    if args.json {
        let report = Report { machine: Machine::describe(), rate: bisection.kept(), steps: &steps };
        println!("{}", serde_json::to_string_pretty(&report).during("writing JSON")?);
    } else {
        println!("{}", sentence(bisection.kept(), args));
    }
    Ok(match (bisection.kept(), limit) {
        (_, Some(step)) => {
            eprintln!(
                "INVALID: the load generator was the limit at {:.0} a second: {}",
                step.rate,
                step.invalid.join(" ")
            );
            ExitCode::from(EXIT_INVALID)
        }
        (None, _) => ExitCode::from(EXIT_MISSED),
        (Some(_), None) => ExitCode::SUCCESS,
    })
}

fn sentence(kept: Option<f64>, args: &SearchArgs) -> String {
    match kept {
        Some(rate) => format!("{rate:.0} requests a second keep {}", args.objective),
        None => format!("not even {:.0} requests a second keep {}", args.lowest, args.objective),
    }
}

/// Whether one of the tries keeps this rate.
fn try_rate(args: &SearchArgs, rate: f64, steps: &mut Vec<Step>) -> Result<bool, Failure> {
    for _ in 0..args.tries {
        let step = args.step(rate)?;
        eprintln!("{}", line(&step));
        let kept = step.kept;
        steps.push(step);
        if kept {
            return Ok(true);
        }
    }
    Ok(false)
}

fn line(step: &Step) -> String {
    let word = match (step.kept, step.invalid.is_empty()) {
        (true, _) => "kept",
        (false, true) => "missed",
        (false, false) => "missed, by the load generator",
    };
    format!(
        "{:>10.0} {:>10.0} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>7}  {word}",
        step.rate,
        step.answered,
        step.p50_us / 1e3,
        step.p99_us / 1e3,
        step.p999_us / 1e3,
        step.max_us / 1e3,
        step.errors
    )
}

impl SearchArgs {
    fn plan(&self, rate: f64) -> Result<Plan, Failure> {
        let pace = Pace::Open { rate, spacing: self.arrivals };
        self.load.plan(pace, End::After(self.duration.as_nanos() as u64), self.warm_up)
    }

    fn step(&self, rate: f64) -> Result<Step, Failure> {
        let plan = self.plan(rate)?;
        let outcome = drive(&plan, &mut |_| ())?;
        let (tally, latencies) = (outcome.tally(), outcome.latencies());
        if tally.mismatches > 0 || tally.stale > 0 {
            return Err(Failure::wrong_reply(format!("at {rate:.0} requests a second replies were wrong: {tally:?}")));
        }
        let answered = tally.answered as f64 / outcome.lasted.as_secs_f64().max(1e-9);
        let due = (tally.answered + tally.unanswered + tally.unknown) as f64;
        let delivered = due > 0.0 && tally.answered as f64 >= due * DELIVERED_SHARE && tally.errors == 0;
        let us = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
        let invalid = match verdict::judge(&outcome, plan.pace) {
            Verdict::Valid => Vec::new(),
            Verdict::Invalid { reasons } => reasons,
        };
        Ok(Step {
            rate,
            answered,
            p50_us: us(0.5),
            p99_us: us(0.99),
            p999_us: us(0.999),
            max_us: latencies.max() as f64 / 1e3,
            errors: tally.errors,
            kept: delivered && self.objective.is_kept(&|quantile| latencies.value_at_quantile(quantile)),
            invalid,
        })
    }
}

impl ObjectiveArgs {
    fn bounds(&self) -> [(&'static str, f64, Option<u64>); 5] {
        [
            ("p50", 0.5, self.p50),
            ("p90", 0.9, self.p90),
            ("p99", 0.99, self.p99),
            ("p99.9", 0.999, self.p999),
            ("max", 1.0, self.max),
        ]
    }

    fn is_kept(&self, at_quantile: &dyn Fn(f64) -> u64) -> bool {
        self.bounds().iter().all(|(_, quantile, bound)| bound.is_none_or(|bound| at_quantile(*quantile) <= bound))
    }
}

impl std::fmt::Display for ObjectiveArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set = self.bounds().into_iter().filter_map(|(name, _, bound)| Some((name, bound?)));
        for (place, (name, bound)) in set.enumerate() {
            let comma = if place == 0 { "" } else { " and " };
            write!(f, "{comma}{name} within {} ms", bound as f64 / 1e6)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objective_is_kept_when_all_of_it_is() {
        let objective = ObjectiveArgs { p50: Some(100), p90: None, p99: Some(1_000_000), p999: None, max: None };
        let with = |half: u64, most: u64| objective.is_kept(&|quantile| if quantile < 0.6 { half } else { most });
        assert!(with(100, 1_000_000));
        assert!(!with(101, 1_000_000) && !with(100, 1_000_001));
        assert_eq!(objective.to_string(), "p50 within 0.0001 ms and p99 within 1 ms");
    }
}
