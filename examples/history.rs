//! Clients at servers that run elsewhere, and the check of what they were told, from a shell:
//!
//! ```text
//! cargo run --example history -- --servers 10.0.0.1:11211,10.0.0.2:11211 run --seconds 20
//! cargo run --example history -- --servers ... whole     waits until all are members and serve, says who leads
//! cargo run --example history -- --servers ... leader    waits until one leads, says which
//! ```
//!
//! `run` works for that long, then waits until all servers are members of one epoch, reads every key at every server, compares
//! their digests and looks for an explanation of the history: tests/history says how. Whatever happens to the servers meanwhile
//! is up to whoever started it. Exit status: 0 when everything has an explanation, 1 with the story when it has none.

#![allow(dead_code, reason = "the tests use more of it than this does")]

#[path = "../tests/history/mod.rs"]
mod history;
#[path = "../tests/sim"]
#[allow(unused_imports, reason = "the simulator uses more of it than this does")]
mod sim {
    pub(crate) mod dice;
    pub(crate) mod linear;
}

// the simulator's modules call each other by these names, as in its own test binary
use sim::{dice, linear};

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use history::load::{Load, Plan};
use history::{standing, verdict};

#[derive(Parser)]
struct Options {
    /// Where clients reach the servers.
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',', required = true)]
    servers: Vec<SocketAddr>,
    /// Longest wait for the servers to come to what is waited for, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    within: u64,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Work, then check.
    Run(Work),
    /// Wait until all servers, and nobody else, are the members of one epoch and serve.
    Whole,
    /// Wait until one of the servers leads.
    Leader,
}

#[derive(clap::Args)]
struct Work {
    /// How long the clients work.
    #[arg(long, default_value = "10")]
    seconds: u64,
    /// Clients at each server that stay with it.
    #[arg(long, default_value = "1")]
    pinned: usize,
    /// Clients that go to any server.
    #[arg(long, default_value = "3")]
    roaming: usize,
    /// Longest pause of a client between two operations, in milliseconds.
    #[arg(long, default_value = "4")]
    think: u64,
    /// How long a client waits for an answer, in milliseconds.
    #[arg(long, default_value = "2500")]
    patience: u64,
    /// Operations that a client sends before it reads their answers, at most.
    #[arg(long, default_value = "1")]
    pipelined: usize,
    /// Length to which values are filled up.
    #[arg(long, default_value = "0")]
    value_bytes: usize,
    /// What is drawn.
    #[arg(long, default_value = "1")]
    seed: u64,
    /// Acknowledged writes that there must be, so that a run in which nothing was done is no success.
    #[arg(long, default_value = "100")]
    at_least: u64,
    /// No operation may fail: none is refused, none of unknown outcome.
    #[arg(long)]
    unbroken: bool,
    /// The server stands alone: it is no member of anything and has no digest to compare.
    #[arg(long)]
    alone: bool,
}

impl Work {
    fn plan(&self, servers: &[SocketAddr]) -> Plan {
        Plan {
            pinned: self.pinned,
            roaming: self.roaming,
            think: Duration::from_millis(self.think),
            patience: Duration::from_millis(self.patience),
            pipelined: self.pipelined,
            value_bytes: self.value_bytes,
            seed: self.seed,
            ..Plan::new(servers)
        }
    }
}

fn work(work: &Work, servers: &[SocketAddr], within: Duration) -> Result<String, String> {
    let load = Load::start(work.plan(servers));
    std::thread::sleep(Duration::from_secs(work.seconds));
    let acknowledged = load.acknowledged();
    let mut history = load.finish();
    if work.unbroken && !history.failed().is_empty() {
        return Err(format!("{history}; first failed: {:?}", history.failed()[0]));
    }
    if !work.alone {
        standing::until_whole(servers, within)?;
    }
    history.read_everywhere(servers, within)?;
    if !work.alone {
        standing::same_data(servers, within)?;
    }
    verdict::explained(&history)?;
    if acknowledged < work.at_least {
        return Err(format!("only {acknowledged} writes were acknowledged: {history}"));
    }
    Ok(history.to_string())
}

fn main() -> ExitCode {
    let Options { what, servers, within } = Options::parse();
    let within = Duration::from_secs(within);
    let result = match &what {
        What::Run(options) => work(options, &servers, within),
        What::Whole => standing::until_whole(&servers, within).map(|place| servers[place].to_string()),
        What::Leader => standing::until_led(&servers, within).map(|place| servers[place].to_string()),
    };
    match result {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("FAILED: {why}");
            ExitCode::FAILURE
        }
    }
}
