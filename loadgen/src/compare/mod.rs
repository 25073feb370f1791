//! `loadgen compare`: our server beside memcached, Redis and etcd. Starts and pins all servers itself, measures them in
//! interleaved rounds, and tells figures, ratios and what may be claimed of them. Which loads there are is the scenarios'.
//!
//! ```text
//! requests, durable --Recipes--> contest::hold --Field--> contest::rounds --measure--> sheet (pure) --> table (pure)
//! replicated (clusters) -------------------------------------^                          ^
//! memory ------------------------------------------------------------------------------'
//! ```

mod contest;
mod durable;
mod measure;
mod memory;
mod peer_clusters;
mod programs;
mod replicated;
mod requests;
mod sheet;
mod table;

use clap::{Args, ValueEnum};
use serde::Serialize;

use self::contest::{ContestArgs, KEYS, VALUE_BYTES};
use self::memory::MemoryArgs;
use self::programs::{Peer, Programs};
use self::sheet::{Column, EventResult, ServerDescription};
use crate::failure::{Failure, While};
use crate::machine::Machine;
use crate::request::Dialect;
use crate::server::Recipe;

#[derive(Args)]
pub struct CompareArgs {
    /// What to compare [default: all whose peers are installed]
    #[arg(value_enum, value_name = "SCENARIO")]
    scenarios: Vec<Scenario>,
    #[command(flatten)]
    contest: ContestArgs,
    #[command(flatten)]
    programs: Programs,
    /// Only our own servers
    #[arg(long)]
    alone: bool,
    /// Compare these servers instead, the first one is the peer: NAME=COMMAND, with {port} and {dir} to be filled in; of the
    /// scenarios requests, which is the default then, and memory
    #[arg(long, value_name = "NAME=COMMAND", conflicts_with_all = ["alone", "options", "store"])]
    server: Vec<String>,
    /// Short for --server a=COMMAND
    #[arg(long, value_name = "COMMAND", requires = "b", conflicts_with_all = ["server", "alone", "options", "store"])]
    a: Option<String>,
    /// Short for --server b=COMMAND
    #[arg(long, value_name = "COMMAND", requires = "a")]
    b: Option<String>,
    #[command(flatten)]
    memory: MemoryArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// Gets and sets from memory, beside memcached
    Requests,
    /// Sets that wait for the disk, beside Redis
    Durable,
    /// Sets that three servers hold, beside etcd and Redis
    Replicated,
    /// Resident memory per item and per idle connection, beside memcached
    Memory,
}

impl Scenario {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Durable => "durable",
            Self::Replicated => "replicated",
            Self::Memory => "memory",
        }
    }

    fn peers(self) -> &'static [Peer] {
        match self {
            Self::Requests | Self::Memory => &[Peer::Memcached],
            Self::Durable => &[Peer::Redis],
            Self::Replicated => &[Peer::Etcd, Peer::Redis],
        }
    }

    fn run(self, setup: &Setup) -> Result<Option<Sheet>, Failure> {
        match self {
            Self::Requests => requests::run(setup),
            Self::Durable => durable::run(setup),
            Self::Replicated => replicated::run(setup),
            Self::Memory => memory::run(setup),
        }
    }
}

/// A scenario that is run, and the peers that take part.
type Entry = (Scenario, Vec<Peer>);

/// What a scenario is run with.
pub struct Setup<'a> {
    pub args: &'a CompareArgs,
    /// Those that take part.
    pub peers: Vec<Peer>,
}

/// What a scenario found.
#[derive(Serialize)]
pub struct Sheet {
    pub scenario: Scenario,
    /// Where servers and load ran and what the figures are, in sentences.
    pub about: String,
    #[serde(skip)]
    pub columns: &'static [Column],
    pub servers: Vec<ServerDescription>,
    pub results: Vec<EventResult>,
}

/// Everything that was found.
#[derive(Serialize)]
pub struct Report {
    pub machine: Machine,
    /// The command line as typed.
    pub command: String,
    pub rounds: u32,
    pub seconds: f64,
    pub seed: u64,
    /// What is left out, and why, in sentences.
    pub left_out: Vec<String>,
    pub scenarios: Vec<Sheet>,
}

/// Runs the scenarios and prints what was found.
///
/// # Errors
/// When nothing can be compared, a server does not start, or a reply is wrong.
pub fn run(args: &CompareArgs) -> Result<(), Failure> {
    let (entries, left_out) = args.entries(|peer| args.programs.has(peer))?;
    left_out.iter().for_each(|left_out| eprintln!("loadgen: {left_out}"));
    let ours = if args.own_recipes()?.is_empty() { Some(args.programs.store_version()?) } else { None };
    let mut scenarios = Vec::new();
    for (scenario, peers) in entries {
        scenarios.extend(scenario.run(&Setup { args, peers })?);
    }
    if scenarios.is_empty() {
        return Err(Failure::new("no load has the text of --only in its title: leave it out to see them all"));
    }
    if let Some(ours) = ours {
        let servers = scenarios.iter_mut().flat_map(|sheet: &mut Sheet| &mut sheet.servers);
        servers.filter(|server| !server.peer).for_each(|server| {
            server.version = format!("{ours}, to `version` it says {}", server.version);
        });
    }
    let report = Report {
        machine: Machine::describe(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        rounds: args.contest.rounds(),
        seconds: args.contest.window().as_secs_f64(),
        seed: args.contest.seed,
        left_out,
        scenarios,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).during("writing JSON")?);
    } else {
        print!("{}", table::markdown(&report));
    }
    Ok(())
}

impl CompareArgs {
    /// The scenarios that are run, with the peers of each, and sentences on what is left out because it is not installed.
    ///
    /// # Errors
    /// When a scenario that was named has none of its peers, or nothing is left.
    fn entries(&self, has: impl Fn(Peer) -> bool) -> Result<(Vec<Entry>, Vec<String>), Failure> {
        let own = !self.own_recipes()?.is_empty();
        let (mut entries, mut left_out) = (Vec::new(), Vec::new());
        for scenario in self.chosen(own) {
            if own && !matches!(scenario, Scenario::Requests | Scenario::Memory) {
                return Err(Failure::new("--server, --a and --b go with the scenarios requests and memory only"));
            }
            if own || self.alone {
                entries.push((scenario, Vec::new()));
                continue;
            }
            let (here, missing): (Vec<_>, Vec<_>) = scenario.peers().iter().copied().partition(|peer| has(*peer));
            let sentences = missing.iter().map(|peer| format!("{}: {}", scenario.name(), peer.missing()));
            let sentences = sentences.collect::<Vec<_>>();
            if here.is_empty() && self.scenarios.contains(&scenario) {
                let sentences = sentences.join("; ");
                return Err(Failure::new(format!("{sentences}; or --alone for our own servers only")));
            }
            left_out.extend(sentences);
            if !here.is_empty() {
                entries.push((scenario, here));
            }
        }
        if entries.is_empty() {
            let left_out = left_out.join("; ");
            return Err(Failure::new(format!("{left_out}; or --alone for our own servers only")));
        }
        Ok((entries, left_out))
    }

    fn chosen(&self, own: bool) -> Vec<Scenario> {
        if !self.scenarios.is_empty() {
            let all = Scenario::value_variants().iter().copied();
            return all.filter(|scenario| self.scenarios.contains(scenario)).collect();
        }
        if own { vec![Scenario::Requests] } else { Scenario::value_variants().to_vec() }
    }

    /// The servers that were named; none when ours are compared.
    fn own_recipes(&self) -> Result<Vec<Recipe>, Failure> {
        let short = [("a", &self.a), ("b", &self.b)].into_iter();
        let short =
            short.filter_map(|(name, command)| Some(Ok(Recipe::new(name, command.as_ref()?, Dialect::Memcached))));
        let named = self.server.iter().map(|text| Recipe::from_argument(text));
        let recipes = short.chain(named).collect::<Result<Vec<_>, _>>()?;
        if recipes.len() == 1 { Err(Failure::new("a comparison needs two servers")) } else { Ok(recipes) }
    }
}

impl Setup<'_> {
    /// Where servers that stand alone and their load run.
    fn placement(&self) -> String {
        let contest = &self.args.contest;
        format!("Each server on core {} alone, the load on core {}.", contest.server_cpu, contest.load_cpu)
    }
}

/// What the figures of a load are.
fn load_terms() -> String {
    format!(
        "{KEYS} keys, values of {VALUE_BYTES} bytes, closed loop; latency is from the sending of what a connection has in flight to \
         its last reply."
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CompareArgs,
    }

    fn entries(line: &str, here: &[Peer]) -> Result<(Vec<Entry>, Vec<String>), String> {
        let words = std::iter::once("compare").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.args.entries(|peer| here.contains(&peer)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn without_a_name_all_run_that_can_and_the_missing_peers_are_told_with_their_packages() {
        let (run, left_out) = entries("", &[Peer::Memcached, Peer::Redis]).expect("runs");
        let expected = [
            (Scenario::Requests, vec![Peer::Memcached]),
            (Scenario::Durable, vec![Peer::Redis]),
            (Scenario::Replicated, vec![Peer::Redis]),
            (Scenario::Memory, vec![Peer::Memcached]),
        ];
        assert_eq!(run, expected);
        assert!(left_out[0].contains("etcd is not installed: apt-get install etcd-server"), "{left_out:?}");
        let (run, left_out) = entries("", &[Peer::Etcd]).expect("runs");
        assert_eq!(run, [(Scenario::Replicated, vec![Peer::Etcd])]);
        assert_eq!(left_out.len(), 4, "{left_out:?}");
        let refused = entries("", &[]).expect_err("nothing is left");
        for package in ["memcached", "redis-server", "etcd-server"] {
            assert!(refused.contains(&format!("apt-get install {package}")), "{refused}");
        }
    }

    #[test]
    fn a_scenario_that_was_named_needs_a_peer() {
        let refused = entries("durable", &[Peer::Memcached]).expect_err("no peer");
        assert!(refused.contains("redis is not installed") && refused.contains("--alone"), "{refused}");
        let (run, left_out) = entries("durable --alone", &[]).expect("runs");
        assert_eq!((run, left_out.len()), (vec![(Scenario::Durable, Vec::new())], 0));
        let (run, _) = entries("memory requests", &[Peer::Memcached]).expect("runs");
        assert_eq!(
            run.iter().map(|(scenario, _)| *scenario).collect::<Vec<_>>(),
            [Scenario::Requests, Scenario::Memory]
        );
        assert!(entries("nonsense", &[]).is_err());
    }

    #[test]
    fn servers_that_were_named_need_no_peer() {
        let (run, left_out) = entries("--server x=y --server z=y", &[]).expect("runs");
        assert_eq!((run, left_out.len()), (vec![(Scenario::Requests, Vec::new())], 0));
        assert!(entries("durable --server x=y --server z=y", &[]).is_err());
        assert!(entries("--server x=y", &[]).is_err(), "one server is no comparison");
        assert!(entries("--a x", &[]).is_err());
    }
}
