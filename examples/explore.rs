//! Looks at every course of events of a small cluster: `cargo run --release --example explore`, with `-- --list` for the
//! scopes, `--only N` for one of them and `--without R17` to see what a rule is for. An assertion of a machine ends a release
//! build at once; `cargo run --example explore -- --only N` tells the story that leads to it.

#![allow(dead_code, reason = "the tests use more of it than this does")]

#[path = "../tests/small_scope/main.rs"]
mod small_scope;

// the modules call each other by these names, as in the test binary
use small_scope::{engine, ghost, node, print, react, scope, scopes, search, start, step, story, world};

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use ringstore::cluster::Rule;
use search::{Order, Search};

#[derive(Parser)]
struct Options {
    /// Say which scopes there are.
    #[arg(long)]
    list: bool,
    /// Look at this one alone, as numbered by `--list`.
    #[arg(long)]
    only: Option<usize>,
    /// The bounded scopes of `cargo test`.
    #[arg(long)]
    bounded: bool,
    /// Switch a rule off, such as `R17`.
    #[arg(long, value_parser = rule)]
    without: Option<Rule>,
    /// Give a scope up at so many states.
    #[arg(long, default_value_t = 0)]
    states: u64,
    /// Nearest states first: shorter counterexamples, much more memory.
    #[arg(long)]
    breadth: bool,
}

fn rule(text: &str) -> Result<Rule, String> {
    Rule::ALL.into_iter().find(|rule| format!("{rule:?}") == text).ok_or_else(|| format!("no rule is called {text}"))
}

fn main() -> ExitCode {
    let options = Options::parse();
    let order = if options.breadth { Order::Breadth } else { Order::Depth };
    let (mut states, mut steps, started) = (0, 0, Instant::now());
    let all = if options.bounded { scopes::bounded() } else { scopes::full() };
    for (at, scope) in all.into_iter().enumerate().filter(|(at, _)| options.only.is_none_or(|only| only == *at)) {
        if options.list {
            println!("{at}: {scope}");
            continue;
        }
        let rules = options.without.map_or(scope.rules, |rule| scope.rules.without(rule));
        let scope = scope::Scope { rules, states: options.states, ..scope };
        let begun = Instant::now();
        match Search::new(scope, order).and_then(Search::run) {
            Ok(figures) => {
                println!("{at}: {scope}\n    {figures}, {:.1} s", begun.elapsed().as_secs_f64());
                states += figures.states;
                steps += figures.steps;
            }
            Err(found) => {
                println!("{at}: {scope}\n{}", story::tell(scope, &found));
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{states} states, {steps} steps, {:.0} s", started.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}
