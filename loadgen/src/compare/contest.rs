//! Several servers under the same loads, in interleaved rounds, so that what else the machine does hits all of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::measure::{Bench, COLUMNS, Shape, Target, measure};
use super::sheet::{EntrantResult, EventResult, Goal, ServerDescription};
use crate::failure::Failure;
use crate::fill::fill;
use crate::keys::KeySpace;
use crate::machine;
use crate::request::{Mix, Pool};
use crate::run::options::parse_seconds;
use crate::server::{Recipe, Server};

/// Keys of every load.
pub const KEYS: u32 = 100_000;
/// Bytes of their values.
pub const VALUE_BYTES: usize = 100;
/// Open files: the connections to etcd above all.
const OPEN_FILES: u64 = 8192;
/// Rounds and seconds unless told otherwise.
const ROUNDS: u32 = 5;
const WINDOW: Duration = Duration::from_secs(2);
/// The same of `--quick`.
const QUICK_ROUNDS: u32 = 1;
const QUICK_WINDOW: Duration = Duration::from_millis(300);
/// Of fewer rounds and shorter measurements nothing is claimed.
const ROUNDS_MIN: u32 = 3;
const WINDOW_MIN: Duration = Duration::from_secs(1);

/// How a comparison is conducted.
#[derive(Args)]
pub struct ContestArgs {
    /// Rounds; in each one every server is measured once under every load [default: 5]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Seconds per measurement [default: 2]
    #[arg(long, value_parser = parse_seconds)]
    seconds: Option<Duration>,
    /// One short round with few items: shows that it runs, and claims nothing
    #[arg(long)]
    pub quick: bool,
    /// Core of the servers
    #[arg(long, default_value_t = 0)]
    pub server_cpu: usize,
    /// Core of the load
    #[arg(long, default_value_t = 1)]
    pub load_cpu: usize,
    /// Folder, on a disk, for the servers' data directories
    #[arg(long, default_value = "/var/tmp")]
    pub data_parent: PathBuf,
    /// Decides the order of keys and the content of values
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Only loads whose title contains this
    #[arg(long, default_value = "")]
    only: String,
}

impl ContestArgs {
    /// How many rounds.
    pub fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { QUICK_ROUNDS } else { ROUNDS })
    }

    /// How long each measurement is.
    pub fn window(&self) -> Duration {
        self.seconds.unwrap_or(if self.quick { QUICK_WINDOW } else { WINDOW })
    }

    /// Whether nothing may be claimed of rates measured so.
    fn is_short(&self) -> bool {
        self.rounds() < ROUNDS_MIN || self.window() < WINDOW_MIN
    }

    /// Whether a load of this title is asked for.
    pub fn asks_for(&self, title: &str) -> bool {
        title.contains(&self.only)
    }
}

/// A load, and who takes part in it.
pub struct Event {
    pub title: String,
    pub shape: Shape,
    /// Places of the servers in the list of all.
    pub entrants: Vec<usize>,
    pub goals: Vec<Goal>,
}

/// Servers that run, and the heading of what is found of them.
pub struct Field {
    pub targets: Vec<Target>,
    /// Of each target.
    pub servers: Vec<ServerDescription>,
    /// Core of the load; any, when there is none.
    pub load_cpu: Option<usize>,
}

/// Starts every server on its own, fills it, and runs the rounds. Each recipe comes with whether it is a peer's.
///
/// # Errors
/// When a server does not start or answers wrongly.
pub fn hold(
    args: &ContestArgs,
    recipes: &[(Recipe, bool)],
    events: &[Event],
) -> Result<(Vec<ServerDescription>, Vec<EventResult>), Failure> {
    machine::allow_open_files(OPEN_FILES)?;
    let keys = KeySpace::new(KEYS, VALUE_BYTES, args.seed);
    let mut running = Vec::new();
    for (recipe, _) in recipes {
        let server = Server::start(recipe, args.server_cpu, &args.data_parent)?;
        fill(server.address, server.dialect, Mix::Set, keys, &[args.load_cpu])?;
        running.push(server);
    }
    let servers = recipes.iter().zip(&running).map(|((recipe, peer), server)| describe(recipe, *peer, server));
    let targets = running.iter().map(Target::of).collect();
    let field = Field { targets, servers: servers.collect(), load_cpu: Some(args.load_cpu) };
    let results = rounds(args, &field, events)?;
    Ok((field.servers, results))
}

/// What a result says of a running server.
pub fn describe(recipe: &Recipe, peer: bool, server: &Server) -> ServerDescription {
    let (name, command, version) = (recipe.name.clone(), recipe.command.clone(), server.version.clone());
    ServerDescription { name, peer, command, version }
}

/// Measures everyone under every load in each round.
///
/// # Errors
/// When a load cannot be run or a reply is wrong.
pub fn rounds(args: &ContestArgs, field: &Field, events: &[Event]) -> Result<Vec<EventResult>, Failure> {
    machine::allow_open_files(OPEN_FILES)?;
    let (rounds, keys) = (args.rounds(), KeySpace::new(KEYS, VALUE_BYTES, args.seed));
    let bench = Bench { load_cpu: field.load_cpu, window: args.window() };
    let pools = events.iter().map(|event| build_pools(event, &field.targets, keys, args.seed));
    let pools = pools.collect::<Result<Vec<_>, _>>()?;
    let mut samples = events.iter().map(|event| vec![Vec::new(); event.entrants.len()]).collect::<Vec<_>>();
    for round in 1..=rounds {
        for ((event, pools), samples) in events.iter().zip(&pools).zip(&mut samples) {
            eprintln!("round {round} of {rounds}: {}", event.title);
            for ((entrant, pool), samples) in event.entrants.iter().zip(pools).zip(samples) {
                let target = &field.targets[*entrant];
                samples.push(measure(target, event.shape.for_dialect(target.dialect), pool, &bench)?);
            }
        }
    }
    let short = args.is_short();
    let summary = |(event, samples): (&Event, Vec<Vec<Vec<f64>>>)| {
        let entrants = event.entrants.iter().zip(&samples);
        let entrants = entrants
            .map(|(entrant, rounds)| EntrantResult::of(&COLUMNS, &field.servers[*entrant], rounds, short))
            .collect();
        EventResult::of(&COLUMNS, &event.title, entrants, &event.goals, short)
    };
    Ok(events.iter().zip(samples).map(summary).collect())
}

/// The requests of an event for each entrant; servers of one language get the same ones.
fn build_pools(event: &Event, targets: &[Target], keys: KeySpace, seed: u64) -> Result<Vec<Arc<Pool>>, Failure> {
    let mut pools: Vec<Arc<Pool>> = Vec::new();
    for entrant in &event.entrants {
        let dialect = targets[*entrant].dialect;
        let shape = event.shape.for_dialect(dialect);
        let pool = match pools.iter().find(|pool| pool.dialect == dialect) {
            Some(pool) => Arc::clone(pool),
            None => Arc::new(Pool::random(shape.mix, dialect, keys, shape.pipeline, seed)?),
        };
        pools.push(pool);
    }
    Ok(pools)
}
