//! Runs the simulator of `tests/sim` for long: `cargo run --release --example simulate -- --seeds 0..200000 [--minutes 30]`.
//! For a seed that breaks a promise it prints the one command that replays it with its trace.

#![allow(dead_code, reason = "the tests of the simulator use more of it than this does")]

#[path = "../tests/sim/main.rs"]
mod sim;

// the simulator's modules call each other by these names, as in the test binary
use sim::{
    checks, data, dice, disk, figures, host, linear, mutants, network, plan, recovery, request, time, trace, wire,
    world,
};

use std::cell::Cell;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Parser;
use figures::Figures;
use plan::Plan;
use ringstore::cluster::{Rule, Rules};

#[derive(Clone, Parser)]
struct Options {
    /// The seeds to run, `from..to`.
    #[arg(long, default_value = "0..10000", value_parser = range)]
    seeds: std::ops::Range<u64>,
    /// End after so many minutes, whatever seeds are left.
    #[arg(long)]
    minutes: Option<u64>,
    /// Seeds at the same time, one on each thread.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Print what happens, line by line; for one seed.
    #[arg(long)]
    trace: bool,
    /// Switch this rule off and run its plans: R2, R8All and so on, as `Rule` has them.
    #[arg(long, value_parser = rule)]
    without: Option<Rule>,
    /// With `--without`: the same plans, and the rule holds all the same.
    #[arg(long, requires = "without")]
    rule_holds: bool,
    /// End at the first violation.
    #[arg(long)]
    first: bool,
}

fn range(text: &str) -> Result<std::ops::Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("two numbers with `..` between them")?;
    let number = |text: &str| text.parse::<u64>().map_err(|fault| format!("{text}: {fault}"));
    Ok(number(from)?..number(to)?)
}

fn rule(text: &str) -> Result<Rule, String> {
    Rule::ALL.into_iter().find(|rule| format!("{rule:?}") == text).ok_or_else(|| "no such rule".into())
}

/// What all threads share.
struct Work {
    options: Options,
    next: AtomicU64,
    /// Threads that have not ended.
    running: AtomicU64,
    end: Option<Instant>,
    sum: Mutex<(Figures, Vec<u64>)>,
}

thread_local! {
    static SEED: Cell<u64> = const { Cell::new(0) };
}

impl Work {
    fn run(&self) {
        let Options { seeds, trace, without, .. } = &self.options;
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || self.end.is_some_and(|end| Instant::now() >= end) {
                break;
            }
            SEED.set(seed);
            let (rules, plan) = match without.map(mutants::mutant) {
                Some(mutant) if self.options.rule_holds => (Rules::ALL, mutant.plan(seed)),
                Some(mutant) => (mutant.rules(), mutant.plan(seed)),
                None => (Rules::ALL, Plan::draw(seed)),
            };
            let figures = world::World::run(seed, rules, plan, *trace);
            self.sum.lock().expect("no thread ends in the middle").0 += figures;
        }
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    fn violated(&self, what: &str) {
        let seed = SEED.get();
        let mut without = self.options.without.map(|rule| format!(" --without {rule:?}")).unwrap_or_default();
        if self.options.rule_holds {
            without.push_str(" --rule-holds");
        }
        println!("seed {seed}: {what}");
        println!("replay: cargo run --release --example simulate -- --seeds {seed}..{} --trace{without}\n", seed + 1);
        self.sum.lock().expect("no thread ends in the middle").1.push(seed);
        if self.options.first {
            self.next.store(u64::MAX / 2, Ordering::Relaxed);
        }
    }
}

/// A release build aborts on a panic. So the hook does not come back: it reports the seed, begins another thread in place of
/// this one, and sleeps.
fn set_hook(work: Arc<Work>) {
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or("a panic");
        let place = panic.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
        work.violated(&format!("{text}{place}"));
        let work = Arc::clone(&work);
        std::thread::spawn(move || work.run());
        loop {
            std::thread::park();
        }
    }));
}

fn main() -> ExitCode {
    let options = Options::parse();
    let started = Instant::now();
    let work = Arc::new(Work {
        next: AtomicU64::new(options.seeds.start),
        running: AtomicU64::new(options.threads.max(1)),
        end: options.minutes.map(|minutes| started + Duration::from_secs(60 * minutes)),
        options,
        sum: Mutex::default(),
    });
    set_hook(Arc::clone(&work));
    for _ in 0..work.options.threads.max(1) {
        let work = Arc::clone(&work);
        std::thread::spawn(move || work.run());
    }
    while work.running.load(Ordering::Relaxed) > 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let sum = work.sum.lock().expect("all threads have ended");
    let (figures, violations) = &*sum;
    println!("{figures}");
    println!("{} violations, {} s: {violations:?}", violations.len(), started.elapsed().as_secs());
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
