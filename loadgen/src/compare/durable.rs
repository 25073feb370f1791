//! `loadgen compare durable`: sets whose reply waits for the disk, beside Redis with `appendfsync always`.

use super::contest::{Event, hold};
use super::measure::Shape;
use super::programs::Peer;
use super::{Scenario, Setup, Sheet, measure};
use crate::failure::Failure;
use crate::request::{Dialect, Mix};
use crate::server::Recipe;

/// Connections of both loads.
const CONNECTIONS: usize = 64;

/// Runs the loads. Nothing when none is asked for.
///
/// # Errors
/// When a server does not start or answers wrongly.
pub fn run(setup: &Setup) -> Result<Option<Sheet>, Failure> {
    let recipes = recipes(setup)?;
    let event = |pipeline| Event {
        title: format!("durable set, {CONNECTIONS} connections, {pipeline} in flight"),
        shape: Shape { mix: Mix::Set, connections: CONNECTIONS, pipeline },
        entrants: (0..recipes.len()).collect(),
        goals: Vec::new(),
    };
    let events = [1, 16].map(event).into_iter().filter(|event| setup.args.contest.asks_for(&event.title));
    let events = events.collect::<Vec<_>>();
    if events.is_empty() {
        return Ok(None);
    }
    let (servers, results) = hold(&setup.args.contest, &recipes, &events)?;
    let about = format!("{} All servers share one disk. {}", setup.placement(), super::load_terms());
    Ok(Some(Sheet { scenario: Scenario::Durable, about, columns: &measure::COLUMNS, servers, results }))
}

fn recipes(setup: &Setup) -> Result<Vec<(Recipe, bool)>, Failure> {
    let programs = &setup.args.programs;
    let mut recipes = Vec::new();
    if setup.peers.contains(&Peer::Redis) {
        let redis = redis_command(&programs.peer(Peer::Redis), "always");
        recipes.push((Recipe::new(Peer::Redis.name(), redis, Dialect::Redis), true));
    }
    let store = format!(
        "{} addsrv -p {{port}} -l 127.0.0.1 -t 1 -m 1024 --data-dir {{dir}} --fsync always {}",
        programs.store()?,
        programs.options
    );
    recipes.push((Recipe::new("fsync always", store.trim_end(), Dialect::Memcached), false));
    Ok(recipes)
}

/// Redis with a log that is synced as `appendfsync` says, and that is never rewritten meanwhile.
pub fn redis_command(program: &str, appendfsync: &str) -> String {
    format!(
        "{program} --port {{port}} --bind 127.0.0.1 --dir {{dir}} --appendonly yes --appendfsync {appendfsync} --save \"\" \
         --auto-aof-rewrite-percentage 0 --daemonize no"
    )
}
