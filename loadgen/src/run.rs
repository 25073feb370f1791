//! `loadgen run`: one load against a server that somebody else has started.

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::failure::{EXIT_WRONG_REPLIES, Failure, While};
use crate::fill::fill;
use crate::keys::KeySpace;
use crate::load::{Load, Outcome, Plan};
use crate::machine::{self, Machine};
use crate::reply::Tally;
use crate::request::{Dialect, Mix, Pool};

#[derive(Args)]
pub struct RunArgs {
    /// The server, HOST:PORT
    #[arg(long)]
    server: String,
    /// Connections
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// Requests in flight on each connection: sent together, all answered before the next ones
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pipeline: u32,
    /// What to ask: get, set, multiget=KEYS, incr
    #[arg(long, default_value = "get")]
    mix: Mix,
    /// Number of keys
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,
    /// Bytes of each value
    #[arg(long, default_value_t = 100)]
    value_size: usize,
    /// Seconds to run
    #[arg(long, default_value_t = 5.0, conflicts_with = "ops")]
    duration: f64,
    /// Requests to send in all, rounded up to whole batches, instead of a time
    #[arg(long)]
    ops: Option<u64>,
    /// Store every key first
    #[arg(long)]
    fill: bool,
    /// Compare the content of values; a missing key is an error too
    #[arg(long)]
    verify: bool,
    /// Load threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// Core to pin the load threads to, several for several threads
    #[arg(long, value_delimiter = ',')]
    cpu: Vec<usize>,
    /// Decides the order of keys and the content of values
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a run found.
#[derive(Serialize)]
struct Report {
    machine: Machine,
    seed: u64,
    seconds: f64,
    replies: u64,
    replies_per_second: f64,
    hits: u64,
    misses: u64,
    errors: u64,
    mismatches: u64,
    /// Of a batch, from its write to its last reply.
    latency_us_p50: f64,
    latency_us_p99: f64,
    latency_us_p999: f64,
    latency_us_max: f64,
}

/// Runs the load and prints what it found.
pub fn run(args: &RunArgs) -> Result<ExitCode, Failure> {
    let server = resolve(&args.server)?;
    let keys = KeySpace::new(args.keys, args.value_size, args.seed);
    machine::allow_open_files(u64::from(args.connections) + 100)?;
    if args.fill {
        fill(server, Dialect::Memcached, args.mix, keys, &args.cpu)?;
    }
    let pool = Pool::random(args.mix, Dialect::Memcached, keys, args.pipeline as usize, args.seed)?;
    let plan = Plan {
        server,
        connections: args.connections as usize,
        threads: args.threads.min(args.connections) as usize,
        cpus: args.cpu.clone(),
        budget: args.ops.map(|ops| ops.div_ceil(u64::from(args.pipeline))),
        verify: args.verify,
    };
    let began = Instant::now();
    let load = Load::start(&plan, Arc::new(pool))?;
    if args.ops.is_none() {
        let end =
            began + Duration::try_from_secs_f64(args.duration).map_err(|error| Failure::new(error.to_string()))?;
        while Instant::now() < end && !load.has_ended() {
            std::thread::sleep((end - Instant::now()).min(Duration::from_millis(50)));
        }
    }
    let outcome = if args.ops.is_some() { load.join()? } else { load.stop()? };
    let seconds = began.elapsed().as_secs_f64();
    print(&Report::new(args.seed, seconds, &outcome), args.json)?;
    Ok(exit_code(&outcome.tally, args.verify))
}

fn resolve(server: &str) -> Result<SocketAddr, Failure> {
    let mut addresses = server.to_socket_addrs().during(format_args!("looking up {server}"))?;
    addresses.next().ok_or_else(|| Failure::new(format!("{server} has no address")))
}

fn exit_code(tally: &Tally, verify: bool) -> ExitCode {
    if tally.is_clean() && !(verify && tally.misses > 0) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_WRONG_REPLIES)
    }
}

impl Report {
    fn new(seed: u64, seconds: f64, outcome: &Outcome) -> Self {
        let us = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        let (tally, latencies) = (&outcome.tally, &outcome.latencies);
        Self {
            machine: Machine::describe(),
            seed,
            seconds,
            replies: tally.replies,
            replies_per_second: tally.replies as f64 / seconds,
            hits: tally.hits,
            misses: tally.misses,
            errors: tally.errors,
            mismatches: tally.mismatches,
            latency_us_p50: us(latencies.value_at_quantile(0.5)),
            latency_us_p99: us(latencies.value_at_quantile(0.99)),
            latency_us_p999: us(latencies.value_at_quantile(0.999)),
            latency_us_max: us(latencies.max()),
        }
    }
}

fn print(report: &Report, json: bool) -> Result<(), Failure> {
    if json {
        println!("{}", serde_json::to_string_pretty(report).during("writing JSON")?);
        return Ok(());
    }
    let r = report;
    println!("{} replies in {:.2} s: {:.0} per second", r.replies, r.seconds, r.replies_per_second);
    println!("{} hits, {} misses, {} errors, {} mismatches", r.hits, r.misses, r.errors, r.mismatches);
    println!(
        "batch latency in us: p50 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0}",
        r.latency_us_p50, r.latency_us_p99, r.latency_us_p999, r.latency_us_max
    );
    println!("seed {}, kernel {}, {}, commit {}", r.seed, r.machine.kernel, r.machine.cpu, r.machine.commit);
    Ok(())
}
