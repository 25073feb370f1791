//! Explores.
#![allow(dead_code, reason = "the tests use more of it than this does")]

#[path = "../tests/small_scope/main.rs"]
mod small_scope;

use small_scope::{engine, ghost, node, print, react, scope, scopes, search, start, step, story, world};

fn main() {
    let mut scope = scope::Scope::new(scope::Start::Three, scope::Fault::None);
    for argument in std::env::args().skip(1) {
        let (name, value) = argument.split_once('=').expect("name=value");
        let n: u64 = value.parse().unwrap_or(0);
        match name {
            "time" => scope.time = n as u8,
            "writes" => scope.writes = n as u8,
            "changes" => scope.changes = n as u8,
            "queue" => scope.queue = n as u8,
            "lost" => scope.lost = n as u8,
            "doubled" => scope.doubled = n as u8,
            "lease" => scope.lease = n as u8,
            "prompt" => scope.prompt = n == 1,
            "phases" => scope.phases = n == 1,
            "slow" => {
                scope.slow_logs = n & 1 == 1;
                scope.slow_records = n & 2 == 2;
            }
            "states" => scope.states = n,
            "isolate" => scope.fault = scope::Fault::Isolate(n as u8),
            "crash" => scope.fault = scope::Fault::Crash(n as u8),
            "death" => scope.fault = scope::Fault::Death(n as u8),
            "start" => {
                scope.start = match value {
                    "registered" => scope::Start::Registered,
                    "caughtup" => scope::Start::CaughtUp,
                    _ => scope::Start::Three,
                }
            }
            "fault" => {
                let mut words = value.split('-');
                let kind = words.next().expect("a name");
                let mut number = || words.next().expect("a number").parse::<u8>().expect("a number");
                scope.fault = match kind {
                    "isolate" => scope::Fault::Isolate(number()),
                    "servers" => scope::Fault::FromServers(number()),
                    "mute" => scope::Fault::Mute(number()),
                    "deaf" => scope::Fault::Deaf(number()),
                    "apart" => scope::Fault::Apart(number(), number()),
                    "oneway" => scope::Fault::OneWay(number(), number()),
                    "split" => scope::Fault::Split(number(), number()),
                    "crash" => scope::Fault::Crash(number()),
                    "death" => scope::Fault::Death(number()),
                    "coordinator" => scope::Fault::CoordinatorCrash,
                    _ => panic!("{value}"),
                };
            }
            "heals" => scope.heals = n == 1,
            "forwards" => scope.forwards = n == 1,
            "resigns" => scope.resigns = n == 1,
            "off" => {
                let rule = ringstore::cluster::Rule::ALL.into_iter().find(|rule| format!("{rule:?}") == value);
                scope.rules = scope.rules.without(rule.expect("a rule"));
            }
            "all" => {}
            _ => panic!("{name}"),
        }
    }
    if std::env::args().any(|one| one == "all=1") {
        std::panic::set_hook(Box::new(|_| ()));
        let mut total = 0;
        for one in scopes::full() {
            let started = std::time::Instant::now();
            let one = scope::Scope { states: scope.states, ..one };
            match search::Search::new(one, search::Order::Depth).run() {
                Ok(figures) => {
                    total += figures.states;
                    println!("{one:?}\n    {figures:?} {:?}", started.elapsed())
                }
                Err(found) => println!("{one:?}\n{}", story::tell(one, &found)),
            }
        }
        println!("{total}");
        return;
    }
    let started = std::time::Instant::now();
    std::panic::set_hook(Box::new(|_| ()));
    match search::Search::new(scope, search::Order::Breadth).run() {
        Ok(figures) => println!("{figures:?}"),
        Err(found) => println!("{}", story::tell(scope, &found)),
    }
    println!("{:?}", started.elapsed());
}
