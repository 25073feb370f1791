//! Several servers under the same loads, in interleaved rounds, so that what else the machine does hits all of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::failure::Failure;
use crate::fill::fill;
use crate::keys::KeySpace;
use crate::machine::{self, Machine};
use crate::measure::{Bench, Sample, Shape, Spread, Target, measure};
use crate::request::{Mix, Pool};
use crate::server::{Recipe, Server};

/// Keys of every comparison.
pub const KEYS: u32 = 100_000;
/// Bytes of their values.
pub const VALUE_BYTES: usize = 100;

/// What every comparison can be told.
#[derive(Args)]
pub struct ContestArgs {
    /// Rounds; in each one every server is measured once under every load
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Seconds per measurement
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
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
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A load, and who takes part in it.
pub struct Event {
    pub title: String,
    pub shape: Shape,
    /// Places of the servers in the list of recipes; the first one is the peer.
    pub entrants: Vec<usize>,
}

/// What came of it all.
#[derive(Serialize)]
pub struct Results {
    pub machine: Machine,
    pub rounds: u32,
    pub seconds: f64,
    pub seed: u64,
    pub servers: Vec<ServerDescription>,
    pub events: Vec<EventResult>,
}

#[derive(Serialize)]
pub struct ServerDescription {
    pub name: String,
    pub command: String,
    pub version: String,
}

#[derive(Serialize)]
pub struct EventResult {
    pub title: String,
    pub entrants: Vec<EntrantResult>,
}

#[derive(Serialize)]
pub struct EntrantResult {
    /// Place in the list of servers.
    pub server: usize,
    pub cpu_us: Spread,
    pub rate: Spread,
    pub busy: f64,
}

/// Starts every server, fills it, runs the rounds.
pub fn hold(args: &ContestArgs, recipes: &[Recipe], events: &[Event]) -> Result<Results, Failure> {
    let keys = KeySpace::new(KEYS, VALUE_BYTES, args.seed);
    machine::allow_open_files(8192)?;
    let mut servers = Vec::new();
    for recipe in recipes {
        let server = Server::start(recipe, args.server_cpu, &args.data_parent)?;
        fill(server.address, server.dialect, Mix::Set, keys, &[args.load_cpu])?;
        servers.push(server);
    }
    let targets = servers.iter().map(Server::target).collect::<Vec<_>>();
    let measured = rounds(args.rounds, &bench(args.seconds, Some(args.load_cpu))?, &targets, keys, args.seed, events)?;
    let described = recipes.iter().zip(&servers).map(|(recipe, server)| ServerDescription {
        name: recipe.name.clone(),
        command: recipe.command.clone(),
        version: server.version.clone(),
    });
    Ok(Results {
        machine: Machine::describe(),
        rounds: args.rounds,
        seconds: args.seconds,
        seed: args.seed,
        servers: described.collect(),
        events: measured,
    })
}

/// A measurement over so many seconds.
pub fn bench(seconds: f64, load_cpu: Option<usize>) -> Result<Bench, Failure> {
    let window = Duration::try_from_secs_f64(seconds).map_err(|error| Failure::new(error.to_string()))?;
    Ok(Bench { load_cpu, window })
}

/// Measures everyone under every load in each round.
pub fn rounds(
    rounds: u32,
    bench: &Bench,
    targets: &[Target],
    keys: KeySpace,
    seed: u64,
    events: &[Event],
) -> Result<Vec<EventResult>, Failure> {
    let pools = events.iter().map(|event| build_pools(event, targets, keys, seed)).collect::<Result<Vec<_>, _>>()?;
    let mut samples = events.iter().map(|event| vec![Vec::new(); event.entrants.len()]).collect::<Vec<_>>();
    for round in 1..=rounds {
        for ((event, pools), samples) in events.iter().zip(&pools).zip(&mut samples) {
            eprintln!("round {round} of {rounds}: {}", event.title);
            for ((entrant, pool), samples) in event.entrants.iter().zip(pools).zip(samples) {
                let target = &targets[*entrant];
                samples.push(measure(target, event.shape.for_dialect(target.dialect), pool, bench)?);
            }
        }
    }
    Ok(events.iter().zip(samples).map(|(event, samples)| summarize(event, &samples)).collect())
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

fn summarize(event: &Event, samples: &[Vec<Sample>]) -> EventResult {
    let entrants = event.entrants.iter().zip(samples).map(|(server, samples)| EntrantResult {
        server: *server,
        cpu_us: Spread::of(samples.iter().map(|sample| sample.cpu_us)),
        rate: Spread::of(samples.iter().map(|sample| sample.rate)),
        busy: Spread::of(samples.iter().map(|sample| sample.busy)).median,
    });
    EventResult { title: event.title.clone(), entrants: entrants.collect() }
}
