//! `loadgen`: puts load on servers that speak memcached's language, checks every reply, and says what it cost them.
//!
//! - `run`: one load against running servers
//! - `search`: the highest rate that keeps a latency objective
//! - `compare`: our server beside memcached, Redis and etcd: throughput, latency, CPU time per operation, memory
//! - `failover`: what clients of a cluster notice when its leader, or another process, is lost; all sets are read back
//!
//! Nothing is drawn from the clock or the system: a seed decides keys, values and order.

mod cluster;
mod compare;
mod connection;
mod engine;
mod failover;
mod failure;
mod fill;
mod keys;
mod load;
mod machine;
mod recording;
mod reply;
mod report;
mod request;
mod run;
mod search;
mod server;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::{EXIT_USAGE, Failure};

/// Puts load on servers that speak memcached's language.
#[derive(Parser)]
#[command(name = "loadgen", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit status: 0 every reply was right, 1 the load could not be run, 2 an objective of --fail-if or search was missed, 3 the
load generator itself was the limit (compare says so in the row instead), 4 a reply was wrong, 64 a wrong command line.";

#[derive(Subcommand)]
enum Command {
    /// One load against a running server
    Run(run::RunArgs),
    /// The highest rate that keeps a latency objective
    Search(search::SearchArgs),
    /// Our server beside memcached, Redis and etcd: throughput, latency, CPU time per operation, memory
    Compare(compare::CompareArgs),
    /// What clients of a cluster notice when its leader is killed, and whether anything is lost
    Failover(failover::FailoverArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match dispatch(&cli.command) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("loadgen: {failure}");
            failure.exit_code()
        }
    }
}

fn dispatch(command: &Command) -> Result<ExitCode, Failure> {
    server::clean_up_on_signals()?;
    match command {
        Command::Run(args) => run::run(args),
        Command::Search(args) => search::run(args),
        Command::Compare(args) => compare::run(args).map(|()| ExitCode::SUCCESS),
        Command::Failover(args) => failover::run(args),
    }
}
