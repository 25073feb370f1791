//! `loadgen durable`: sets whose reply waits for the disk, beside Redis with `appendfsync always`.

use clap::Args;

use crate::contest::{ContestArgs, Event, hold};
use crate::failure::Failure;
use crate::machine;
use crate::measure::Shape;
use crate::request::{Dialect, Mix};
use crate::server::Recipe;
use crate::table::{self, Goal};

/// Connections of both loads.
const CONNECTIONS: usize = 64;

#[derive(Args)]
pub struct DurableArgs {
    #[command(flatten)]
    contest: ContestArgs,
    /// The store program [default: beside this program, or in target/release]
    #[arg(long)]
    store: Option<String>,
    /// The Redis server
    #[arg(long, default_value = "redis-server")]
    redis: String,
}

/// Runs the comparison and prints its table.
pub fn run(args: &DurableArgs) -> Result<(), Failure> {
    let store = args.store.clone().unwrap_or_else(|| machine::program("store"));
    let redis = &args.redis;
    let redis = format!(
        "{redis} --port {{port}} --bind 127.0.0.1 --dir {{dir}} --appendonly yes --appendfsync always --save \"\" \
         --auto-aof-rewrite-percentage 0 --daemonize no"
    );
    let store = format!("{store} addsrv -p {{port}} -l 127.0.0.1 -t 1 -m 1024 --data-dir {{dir}} --fsync always");
    let recipes = [Recipe::new("redis", redis, Dialect::Redis), Recipe::new("fsync always", store, Dialect::Memcached)];
    let events = [1, 16].map(|pipeline| Event {
        title: format!("durable set, {CONNECTIONS} connections, {pipeline} in flight"),
        shape: Shape { mix: Mix::Set, connections: CONNECTIONS, pipeline },
        entrants: vec![0, 1],
    });
    let results = hold(&args.contest, &recipes, &events)?;
    table::print(&results, args.contest.json, |_, _| Goal::None)
}
