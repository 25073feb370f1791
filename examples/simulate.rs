//! Runs the simulator of `tests/sim` for long: `cargo run --release --example simulate -- --seeds 0..200000 [--minutes 30]`.
//! For a seed that breaks a promise it prints the one command that replays it with its trace.

#![allow(dead_code, reason = "the tests of the simulator use more of it than this does")]

#[path = "../tests/sim/main.rs"]
mod sim;

// the simulator's modules call each other by these names, as in the test binary
use sim::{checks, data, dice, disk, host, linear, network, recovery, request, runs, time, trace, wire, world};

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use ringstore::cluster::Rules;
use world::{Figures, Plan};

#[derive(Parser)]
struct Options {
    /// The seeds to run, `from..to`.
    #[arg(long, default_value = "0..10000", value_parser = range)]
    seeds: std::ops::Range<u64>,
    /// End after so many minutes, whatever seeds are left.
    #[arg(long)]
    minutes: Option<u64>,
    /// Seeds at the same time, one on each thread.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn range(text: &str) -> Result<std::ops::Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("two numbers with `..` between them")?;
    let number = |text: &str| text.parse::<u64>().map_err(|fault| format!("{text}: {fault}"));
    Ok(number(from)?..number(to)?)
}

fn main() -> ExitCode {
    let options = Options::parse();
    let started = Instant::now();
    let end = options.minutes.map(|minutes| started + Duration::from_secs(60 * minutes));
    let next = AtomicU64::new(options.seeds.start);
    let figures = Mutex::new((Figures::default(), 0_u64, 0_u64));
    std::panic::set_hook(Box::new(|_| ()));
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= options.seeds.end || end.is_some_and(|end| Instant::now() >= end) {
                        return;
                    }
                    let outcome = runs::run(seed, Rules::ALL, Plan::draw(seed), false);
                    let mut figures = figures.lock().expect("no thread ends in the middle");
                    figures.1 += 1;
                    match outcome {
                        Ok(of) => figures.0 += of,
                        Err(violation) => {
                            figures.2 += 1;
                            println!("seed {seed}: {violation}");
                            println!("replay: RINGSTORE_SEED={seed} cargo test --test sim every_seed -- --nocapture");
                        }
                    }
                }
            });
        }
    });
    let (figures, seeds, violations) = figures.into_inner().expect("all threads have ended");
    println!("{seeds} seeds, {violations} violations, {} s: {figures:?}", started.elapsed().as_secs());
    if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
