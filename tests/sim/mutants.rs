//! For each rule the plan under which its absence shows, and within how many seeds. A plan is drawn like any other, with what
//! the rule is about made frequent: a rule for leases needs pauses and partitions, one for damaged logs damaged logs. All that
//! happens here happens in plain seeds too, only less often.

use ringstore::cluster::{Rule, Rules, Timing};
use ringstore::time::Duration;

use crate::plan::{Plan, Standing, long_leases};
use crate::world::Fault::{self, *};

/// The seeds of mutations begin here, so that they are other runs than those that must pass.
pub const FIRST: u64 = 1_000_000;

/// A rule that is switched off, and how that is noticed.
#[derive(Clone, Copy)]
pub struct Mutant {
    pub rule: Rule,
    /// Within so many seeds.
    pub seeds: u64,
    faults: &'static [Fault],
    more: fn(&mut Plan),
}

impl Mutant {
    /// What holds without the rule.
    pub const fn rules(&self) -> Rules {
        match self.rule {
            // R22: who was just started waits out everybody's leases before it commits (R20), so it is that which is in the way
            Rule::R22 => Rules::ALL.without(Rule::R22).without(Rule::R20Waits),
            rule => Rules::ALL.without(rule),
        }
    }

    /// The plan of a seed.
    pub fn plan(&self, seed: u64) -> Plan {
        let mut plan = Plan::draw(seed);
        plan.faults = self.faults.to_vec();
        plan.strict_reads = false;
        plan.extreme_clocks = false;
        plan.standing = None;
        plan.restarts = (1, 3000);
        plan.between = Duration::from_millis(500);
        (self.more)(&mut plan);
        plan
    }
}

/// How the absence of `rule` is noticed.
pub fn mutant(rule: Rule) -> Mutant {
    let (seeds, faults, more): (u64, &'static [Fault], fn(&mut Plan)) = match rule {
        Rule::R2 => (40, &[Isolate, Split, CoordinatorCut, SplitAtShrink], three),
        Rule::R3 => (10, &[Kill, Isolate, PowerLoss, Split], three),
        Rule::R7 => (40, &[ReplayBurst, ReplayBurst, Kill, Isolate], replayed),
        Rule::R8All => (20, &[SplitAtShrink, Split], hasty),
        Rule::R8Confirmed => (20, &[SplitAtShrink], hasty),
        Rule::R9Acks => (40, &[SplitAtJoin, Kill, PowerLoss], joins),
        Rule::R9Lease => (100, &[SplitAtJoin, Kill], joins),
        Rule::R12Keeps => (20, &[Kill, Isolate, Resign], three),
        Rule::R12Waits => (20, &[Kill, Isolate, Resign], three),
        Rule::R13 => (40, &[LoseLeaderAtChange, Kill, Isolate], hasty),
        Rule::R15CaughtUp => (40, &[SplitAtJoin, Kill, PowerLoss], joins),
        Rule::R15Reads => (60, &[RestartWhileSlow, Kill], restarts),
        Rule::R16 => (20, &[Isolate], leader_reads),
        Rule::R17 => (20, &[Isolate], leader_reads),
        Rule::R18 => (20, &[Isolate, OneWay, Split], leases),
        Rule::R19 => (60, &[ReplayBurst, ReplayBurst, ReplayBurst, Isolate], follower_reads),
        Rule::R20Renews => (400, &[Mute], renewals),
        Rule::R20Waits => (20, &[Isolate, Split, OneWay], leases),
        Rule::R21 => (40, &[Isolate, LeaderFades], clocks),
        Rule::R22 => (40, &[RestartUnderLease], leader_reads),
        Rule::R23 => (5, &[Pause], deaf),
        Rule::R24Locks => (60, &[Kill, Isolate], crowded),
        Rule::R24Order => (60, &[Pause], stalls),
        Rule::R25 => (10, &[LifelineReset, Isolate, Pause], three),
        Rule::D1 => (80, &[Flip, Kill, PowerLoss, Isolate], as_drawn),
        Rule::C1 => (40, &[Kill, Isolate, Resign], three),
    };
    Mutant { rule, seeds, faults, more }
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

/// Whoever is silent is left out soon, and much is written meanwhile.
fn hasty(plan: &mut Plan) {
    plan.servers = 3;
    plan.clients = 6;
    plan.readers = 3;
    plan.keys = 1;
    plan.timing = Timing::impatient();
    plan.think = Duration::from_millis(15);
    plan.faulty = Duration::from_millis(4000);
    plan.between = Duration::from_millis(900);
    plan.lasts = (Duration::from_millis(300), Duration::from_millis(1500));
}

/// Writes that come through followers, and old ones of them that come again.
fn replayed(plan: &mut Plan) {
    hasty(plan);
    plan.clients = 9;
    plan.restarts = (1, 200);
    plan.between = Duration::from_millis(250);
}

/// Servers come back soon and are let in.
fn joins(plan: &mut Plan) {
    hasty(plan);
    plan.faulty = Duration::from_millis(6000);
    plan.restarts = (1, 300);
    plan.readers = 6;
}

/// Followers that come back at once are read from at once.
fn restarts(plan: &mut Plan) {
    hasty(plan);
    plan.readers = 9;
    plan.timing = long_leases();
    plan.restarts = (1, 20);
    plan.think = Duration::from_millis(5);
    plan.between = Duration::from_millis(600);
}

/// The leader is cut off when all has been quiet for some leases, with clients that read from it.
fn leader_reads(plan: &mut Plan) {
    hasty(plan);
    plan.calm = true;
    plan.readers = 9;
    plan.faulty = Duration::from_millis(9000);
    plan.between = Duration::from_millis(4000);
    plan.lasts = (Duration::from_millis(600), Duration::from_millis(1800));
}

/// Followers that are cut off and hear old beacons.
fn follower_reads(plan: &mut Plan) {
    hasty(plan);
    plan.readers = 9;
    plan.between = Duration::from_millis(250);
    plan.lasts = (Duration::from_millis(500), Duration::from_millis(2500));
}

/// Two servers on each side, and patience that is longer than what a promise has left of it.
fn renewals(plan: &mut Plan) {
    hasty(plan);
    plan.servers = 4;
    plan.min_insync = 1;
    plan.readers = 12;
    plan.calm = true;
    plan.timing = Timing::default();
    plan.faulty = Duration::from_millis(8000);
    plan.between = Duration::from_millis(3000);
}

/// The fastest and the slowest clocks.
fn clocks(plan: &mut Plan) {
    leases(plan);
    plan.servers = 3;
    plan.clients = 6;
    plan.readers = 12;
    plan.extreme_clocks = true;
    plan.think = Duration::from_millis(15);
    plan.faulty = Duration::from_millis(9000);
    plan.lasts = (Duration::from_millis(1500), Duration::from_millis(2500));
}

/// A leader that is heard and hears nobody.
fn deaf(plan: &mut Plan) {
    three(plan);
    plan.faulty = Duration::from_millis(500);
    plan.standing = Some(Standing::DeafLeader);
}

/// Threads that are stopped in the middle of a read.
fn stalls(plan: &mut Plan) {
    hasty(plan);
    plan.readers = 12;
    plan.read_stall = 0.3;
    plan.faulty = Duration::from_millis(6000);
}
