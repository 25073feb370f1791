//! `loadgen compare`: CPU time per request beside memcached's, with the ratios the project has set itself.

use clap::Args;

use crate::contest::{ContestArgs, Event, hold};
use crate::failure::Failure;
use crate::machine;
use crate::measure::Shape;
use crate::request::{Dialect, Mix};
use crate::server::Recipe;
use crate::table::{self, Goal};

#[derive(Args)]
pub struct CompareArgs {
    #[command(flatten)]
    contest: ContestArgs,
    /// Compare these servers instead, the first one is the peer: NAME=COMMAND, with {port} and {dir} to be filled in
    #[arg(long, value_name = "NAME=COMMAND")]
    server: Vec<String>,
    /// Short for --server a=COMMAND
    #[arg(long, value_name = "COMMAND", requires = "b", conflicts_with = "server")]
    a: Option<String>,
    /// Short for --server b=COMMAND
    #[arg(long, value_name = "COMMAND", requires = "a", conflicts_with = "server")]
    b: Option<String>,
    /// The store program [default: beside this program, or in target/release]
    #[arg(long)]
    store: Option<String>,
    /// The memcached program [default: memcached-peer or memcached on PATH]
    #[arg(long)]
    memcached: Option<String>,
    /// Only loads whose title contains this
    #[arg(long, default_value = "")]
    only: String,
}

/// Names of the servers of the default comparison; goals are set for them by name.
const MEMCACHED: &str = "memcached";
const NO_LOG: &str = "no log";
const FSYNC_NEVER: &str = "fsync never";

/// A load of the table, and the ratios to memcached that are to be reached.
struct Line {
    title: &'static str,
    mix: Mix,
    connections: usize,
    pipeline: usize,
    no_log: f64,
    fsync_never: Option<f64>,
}

#[rustfmt::skip]
const LINES: [Line; 7] = [
    Line { title: "get, 32 connections, 1 in flight",     mix: Mix::Get,           connections: 32,  pipeline: 1,  no_log: 0.82, fsync_never: None },
    Line { title: "get, 200 connections, 1 in flight",    mix: Mix::Get,           connections: 200, pipeline: 1,  no_log: 0.82, fsync_never: None },
    Line { title: "get, 32 connections, 16 in flight",    mix: Mix::Get,           connections: 32,  pipeline: 16, no_log: 0.55, fsync_never: None },
    Line { title: "get, 32 connections, 64 in flight",    mix: Mix::Get,           connections: 32,  pipeline: 64, no_log: 0.30, fsync_never: None },
    Line { title: "get of 100 keys, 8 connections",       mix: Mix::MultiGet(100), connections: 8,   pipeline: 1,  no_log: 0.50, fsync_never: None },
    Line { title: "set, 32 connections, 1 in flight",     mix: Mix::Set,           connections: 32,  pipeline: 1,  no_log: 0.90, fsync_never: Some(1.0) },
    Line { title: "set, 32 connections, 16 in flight",    mix: Mix::Set,           connections: 32,  pipeline: 16, no_log: 0.50, fsync_never: Some(0.6) },
];

/// Runs the comparison and prints its table.
pub fn run(args: &CompareArgs) -> Result<(), Failure> {
    let own = args.own_recipes()?;
    let default = own.is_empty();
    let recipes = if default { args.default_recipes() } else { own };
    let lines = LINES.iter().filter(|line| line.title.contains(&args.only)).collect::<Vec<_>>();
    if lines.is_empty() {
        return Err(Failure::new(format!("no load has `{}` in its title", args.only)));
    }
    let events = lines.iter().map(|line| Event {
        title: line.title.to_owned(),
        shape: Shape { mix: line.mix, connections: line.connections, pipeline: line.pipeline },
        entrants: (0..recipes.len())
            .filter(|place| !default || line.goal(&recipes[*place].name).is_entrant())
            .collect(),
    });
    let results = hold(&args.contest, &recipes, &events.collect::<Vec<_>>())?;
    let goal =
        |event: usize, server: usize| if default { lines[event].goal(&recipes[server].name) } else { Goal::None };
    table::print(&results, args.contest.json, goal)
}

impl Line {
    fn goal(&self, server: &str) -> Goal {
        match server {
            NO_LOG => Goal::AtMost(self.no_log),
            FSYNC_NEVER => self.fsync_never.map_or(Goal::NotRun, Goal::AtMost),
            _ => Goal::None,
        }
    }
}

impl CompareArgs {
    fn own_recipes(&self) -> Result<Vec<Recipe>, Failure> {
        let short = [("a", &self.a), ("b", &self.b)].into_iter();
        let short =
            short.filter_map(|(name, command)| Some(Ok(Recipe::new(name, command.as_ref()?, Dialect::Memcached))));
        let named = self.server.iter().map(|text| Recipe::from_argument(text));
        let recipes = short.chain(named).collect::<Result<Vec<_>, _>>()?;
        if recipes.len() == 1 { Err(Failure::new("a comparison needs two servers")) } else { Ok(recipes) }
    }

    fn default_recipes(&self) -> Vec<Recipe> {
        let store = self.store.clone().unwrap_or_else(|| machine::program("store"));
        let memcached = self.memcached.clone().unwrap_or_else(machine::memcached);
        let store = format!("{store} addsrv -p {{port}} -l 127.0.0.1 -t 1 -m 1024 -c 4096");
        let memcached = format!("{memcached} -p {{port}} -l 127.0.0.1 -U 0 -t 1 -m 1024 -c 4096 -u root");
        vec![
            Recipe::new(MEMCACHED, memcached, Dialect::Memcached),
            Recipe::new(NO_LOG, format!("{store} --no-log"), Dialect::Memcached),
            Recipe::new(FSYNC_NEVER, format!("{store} --data-dir {{dir}} --fsync never"), Dialect::Memcached),
        ]
    }
}
