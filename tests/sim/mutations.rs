//! Each rule is switched off in turn, and the simulator must notice within a stated number of seeds. The plan of a rule is
//! drawn like any other, with what the rule is about made frequent: a rule for leases needs pauses and partitions, one for
//! damaged logs needs damaged logs. The rules that are not here are not noticed yet.

use ringstore::cluster::{Rule, Rules, Timing};
use ringstore::time::Duration;

use crate::runs::run;
use crate::world::{Fault, Plan, long_leases};

/// The seeds of mutations begin here, so that they are other runs than those that must pass.
const FIRST: u64 = 1_000_000;

fn plan(seed: u64, faults: &[Fault], more: impl Fn(&mut Plan)) -> Plan {
    let mut plan = Plan::draw(seed);
    plan.faults = faults.to_vec();
    plan.strict_reads = false;
    plan.between = Duration::from_millis(500);
    more(&mut plan);
    plan
}

/// The first seed of `seeds` that notices that `rule` is off, counted from 1, and what it noticed.
fn caught(rule: Rule, seeds: u64, faults: &[Fault], more: impl Fn(&mut Plan)) -> Option<(u64, String)> {
    (0..seeds).find_map(|at| {
        let seed = FIRST + at;
        let violation = run(seed, Rules::ALL.without(rule), plan(seed, faults, &more), false).err()?;
        Some((at + 1, violation))
    })
}

fn must_be_caught(rule: Rule, seeds: u64, faults: &[Fault], more: impl Fn(&mut Plan)) {
    match caught(rule, seeds, faults, more) {
        Some((at, violation)) => {
            println!("without {rule:?}: seed {at}: {}", violation.lines().next().unwrap_or_default());
        }
        None => panic!("{rule:?} can be left out and {seeds} seeds notice nothing"),
    }
}

/// `rule` is noticed within `seeds` under these faults.
macro_rules! mutation {
    ($name:ident, $rule:ident, $seeds:literal, [$($fault:ident),*], $more:expr) => {
        #[test]
        fn $name() {
            must_be_caught(Rule::$rule, $seeds, &[$(Fault::$fault),*], $more);
        }
    };
}

/// Nothing more than the faults.
const fn as_drawn(_: &mut Plan) {}

/// More servers, so that there are others to elect.
fn three(plan: &mut Plan) {
    plan.servers = 3;
    plan.clients = 6;
    plan.timing = Timing::default();
}

/// Many clients at one key, for what shows only when they meet.
fn crowded(plan: &mut Plan) {
    three(plan);
    plan.clients = 9;
    plan.keys = 1;
    plan.think = Duration::from_millis(8);
    plan.faulty = Duration::from_millis(2000);
}

/// Long leases, long partitions, and many reads of one key.
fn leases(plan: &mut Plan) {
    plan.servers = 4;
    plan.clients = 12;
    plan.keys = 1;
    plan.calm = true;
    plan.timing = long_leases();
    plan.think = Duration::from_millis(40);
    plan.faulty = Duration::from_millis(6000);
    plan.lasts = (Duration::from_millis(600), Duration::from_millis(3000));
    plan.between = Duration::from_millis(2500);
}

mutation!(r3_is_needed, R3, 10, [Kill, Isolate, PowerLoss, Split], three);
mutation!(r12_the_new_leader_keeps_its_log, R12Keeps, 20, [Kill, Isolate, Resign], three);
mutation!(r12_the_new_leader_waits, R12Waits, 20, [Kill, Isolate, Resign], three);
mutation!(r18_is_needed, R18, 20, [Isolate, OneWay, Split], leases);
mutation!(r20_leases_are_waited_out, R20Waits, 20, [Isolate, Split, OneWay], leases);
mutation!(r24_keys_are_locked, R24Locks, 60, [Kill, Isolate], crowded);
mutation!(r25_is_needed, R25, 10, [LifelineReset, Isolate, Pause], three);
mutation!(d1_is_needed, D1, 80, [Flip, Kill, PowerLoss, Isolate], as_drawn);
mutation!(c1_is_needed, C1, 40, [Kill, Isolate, Resign], three);
