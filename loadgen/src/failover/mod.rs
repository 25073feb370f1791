//! `loadgen failover`: what clients of a cluster notice when one of its processes is killed, stopped or ended, over many
//! runs. Everything that was ended is started again after each run, and the next one waits until all servers are members.

mod case;
mod clients;
mod report;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use crate::cluster::{Cluster, Shape, fill};
use crate::failure::Failure;
use crate::machine::{self, Machine};
use case::Case;
use report::{CaseReport, Report};

/// Servers of the cluster.
const SERVERS: usize = 3;
/// Megabytes of `-m` beyond what is filled in.
const SPARE_MEGABYTES: u64 = 512;

#[derive(Args)]
pub struct FailoverArgs {
    /// Runs of each case
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// Only these cases [default: all]
    #[arg(long = "case", value_enum, num_args = 1..)]
    cases: Vec<Case>,
    /// Resident memory that each server is filled up to, with M or G
    #[arg(long, default_value = "16M", value_parser = parse_bytes)]
    resident: u64,
    /// --fsync of the servers
    #[arg(long, default_value = "always")]
    fsync: String,
    /// The store program [default: beside this program, or in target/release]
    #[arg(long)]
    store: Option<String>,
    /// Further options of each server, separated by spaces
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    options: String,
    /// Folder, on a disk, for the cluster's directories
    #[arg(long, default_value = "/var/tmp")]
    data_parent: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the cases and prints what was found.
pub fn run(args: &FailoverArgs) -> Result<(), Failure> {
    let store = args.store.clone().unwrap_or_else(|| machine::program("store"));
    let megabytes = (args.resident >> 20) + SPARE_MEGABYTES;
    let options = format!("-m {megabytes} --fsync {} {}", args.fsync, args.options);
    let shape = Shape { store: &store, servers: SERVERS, options: &options, data_parent: &args.data_parent };
    let mut cluster = Cluster::start(&shape)?;
    fill::until_resident(&cluster, args.resident)?;
    let leader = cluster.until_whole()?;
    let (machine, resident) = (Machine::describe(), cluster.servers[leader].resident_bytes()?);
    let commands = [&cluster.balancer, &cluster.servers[leader]].map(|machine| machine.command.clone());
    let all = Case::all();
    let cases = if args.cases.is_empty() { all.as_slice() } else { args.cases.as_slice() };
    let results = cases.iter().map(|case| repeat(*case, args.runs, &mut cluster)).collect::<Result<Vec<_>, _>>()?;
    let report = Report { machine, runs: args.runs, resident_bytes: resident, commands, cases: results };
    report.print(args.json)
}

fn repeat(case: Case, runs: u32, cluster: &mut Cluster) -> Result<CaseReport, Failure> {
    let (began, mut findings) = (Instant::now(), Vec::new());
    for _ in 0..runs {
        findings.push(case.run(cluster)?);
    }
    eprintln!("{}: {runs} runs in {:.0} s", case.name(), began.elapsed().as_secs_f64());
    Ok(CaseReport::new(case, &findings))
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, shift) = match text.strip_suffix(['M', 'G']) {
        Some(number) => (number, if text.ends_with('G') { 30 } else { 20 }),
        None => return Err("a number with M or G".into()),
    };
    number.parse::<u64>().ok().filter(|number| *number < 1 << 20).map(|number| number << shift).ok_or("a number".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(parse_bytes("16M"), Ok(16 << 20));
        assert_eq!(parse_bytes("4G"), Ok(4 << 30));
        for wrong in ["", "16", "M", "4T", "-1G"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
