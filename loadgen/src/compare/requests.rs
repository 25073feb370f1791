//! `loadgen compare requests`: gets and sets from memory beside memcached's, one server thread each, with the ratios of
//! CPU time that the project has set itself.

use super::contest::{Event, hold};
use super::measure::{CPU_US, Shape};
use super::programs::Peer;
use super::sheet::{Bound, Goal};
use super::{Scenario, Setup, Sheet, measure};
use crate::failure::Failure;
use crate::request::{Dialect, Mix};
use crate::server::Recipe;

/// Names of ours; goals are set for them by name.
pub const NO_LOG: &str = "no log";
pub const FSYNC_NEVER: &str = "fsync never";

/// A load of the table, and the ratios to memcached that are to be reached.
struct Line {
    title: &'static str,
    mix: Mix,
    connections: usize,
    pipeline: usize,
    no_log: f64,
    /// Nothing when a server with a log does not take part: it does no more work than the one without.
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

impl Line {
    fn goals(&self) -> Vec<Goal> {
        let bounds = [(NO_LOG, Some(self.no_log)), (FSYNC_NEVER, self.fsync_never)];
        let goals = bounds.into_iter().filter_map(|(ours, bound)| {
            let (ours, peer) = (ours.to_owned(), Peer::Memcached.name().to_owned());
            Some(Goal { ours, peer, figure: CPU_US, bound: Bound::AtMost(bound?) })
        });
        goals.collect()
    }

    fn takes(&self, recipe: &Recipe) -> bool {
        recipe.name != FSYNC_NEVER || self.fsync_never.is_some()
    }
}

/// Runs the loads. Nothing when none is asked for.
///
/// # Errors
/// When a server does not start or answers wrongly.
pub fn run(setup: &Setup) -> Result<Option<Sheet>, Failure> {
    let lines = LINES.iter().filter(|line| setup.args.contest.asks_for(line.title)).collect::<Vec<_>>();
    if lines.is_empty() {
        return Ok(None);
    }
    let recipes = setup.recipes("-p {port} -l 127.0.0.1 -t 1 -m 1024 -c 4096")?;
    let event = |line: &&Line| Event {
        title: line.title.to_owned(),
        shape: Shape { mix: line.mix, connections: line.connections, pipeline: line.pipeline },
        entrants: (0..recipes.len()).filter(|place| line.takes(&recipes[*place].0)).collect(),
        goals: line.goals(),
    };
    let events = lines.iter().map(event).collect::<Vec<_>>();
    let (servers, results) = hold(&setup.args.contest, &recipes, &events)?;
    let about = format!("{} {}", setup.placement(), super::load_terms());
    Ok(Some(Sheet { scenario: Scenario::Requests, about, columns: &measure::COLUMNS, servers, results }))
}

impl Setup<'_> {
    /// memcached and ours without and with a log, or the servers that were named; each with whether it is a peer.
    pub fn recipes(&self, options: &str) -> Result<Vec<(Recipe, bool)>, Failure> {
        let own = self.args.own_recipes()?;
        if !own.is_empty() {
            return Ok(own.into_iter().enumerate().map(|(place, recipe)| (recipe, place == 0)).collect());
        }
        let programs = &self.args.programs;
        let store = format!("{} addsrv {options} {}", programs.store()?, programs.options);
        let store = store.trim_end();
        let mut recipes = Vec::new();
        if self.peers.contains(&Peer::Memcached) {
            let memcached = format!("{} {options} -U 0 -u root", programs.peer(Peer::Memcached));
            recipes.push((Recipe::new(Peer::Memcached.name(), memcached, Dialect::Memcached), true));
        }
        let ours = [(NO_LOG, "--no-log"), (FSYNC_NEVER, "--data-dir {dir} --fsync never")];
        recipes
            .extend(ours.map(|(name, log)| (Recipe::new(name, format!("{store} {log}"), Dialect::Memcached), false)));
        Ok(recipes)
    }
}
