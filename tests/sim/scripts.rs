//! Golden scripts: a cluster's story in, what happened out. `scripts/*.txt` are read as documentation; this is their
//! interpreter. A script starts with a whole cluster on a calm network whose leader is called L and whose followers are
//! called F1, F2 and so on; the coordinator is C.
//!
//! ```text
//! servers 3                          how many; the first line behind the story
//! L set k 1 -> Stored                asks a server and waits for the answer, or for `unknown`
//! ask a: F1 incr k 1                 asks and does not wait
//! a -> Number(2)                     what came of it
//! kill L, power F1, pause F2 800     ends a process in order, without power, stops it for so many ms
//! start L, resign L, wipe F1         starts it again, tells it to stop, gives it an empty disk
//! cut L F1, isolate L, heal          one direction, all directions, the end of that
//! run 700                            so many ms go by
//! leads F1, leads not L              who serves as leader
//! members 2                          of the coordinator's newest configuration
//! whole                              waits until all are members again
//! split L F1                         these on one side, all others and the coordinator on the other
//! full L, slow F1, room              no room on a disk, a slow disk, the end of both
//! flip F1                            a bit of its log, while it is down
//! replay F1                          what was sent to it arrives once more
//! rate F1 900                        its clock goes at so many thousandths of true time
//! load 30, idle                      so many writes of key d at random servers at once; waits until all have an answer
//! shorten, snapshots 1               logs are shortened; so many snapshots were installed at least, or none for 0
//! ```

use std::collections::BTreeMap;

use ringstore::cluster::Rules;
use ringstore::time::Duration;

use crate::host::{Arrival, OpId};
use crate::linear::{Op, Outcome};
use crate::network::Address;
use crate::plan::Plan;
use crate::world::World;

struct Script {
    world: World,
    names: BTreeMap<String, Address>,
    asked: BTreeMap<String, OpId>,
}

impl Script {
    fn new(seed: u64, words: &str, trace: bool) -> Self {
        let (servers, strict_reads) = match words.split_once(' ') {
            Some((servers, "strict")) => (servers, true),
            _ => (words, false),
        };
        let servers = servers.parse().expect("a number");
        let plan = Plan { strict_reads, ..Plan::script(servers) };
        let mut world = World::new(seed, Rules::ALL, plan, trace);
        world.recover();
        let leader = world.leader_place().expect("a whole cluster has a leader");
        let mut names = BTreeMap::from([("C".to_string(), 0), ("L".to_string(), leader)]);
        for (at, place) in (1..=servers).filter(|&place| place != leader).enumerate() {
            names.insert(format!("F{}", at + 1), place);
        }
        Self { world, names, asked: BTreeMap::new() }
    }

    fn place(&self, name: &str) -> Address {
        *self.names.get(name).unwrap_or_else(|| panic!("nobody is called {name}"))
    }

    /// Does a line, or says what is not as it should be.
    fn line(&mut self, line: &str) {
        if let Some((asked, expected)) = line.split_once("->") {
            return self.expect(asked.trim(), expected.trim());
        }
        if let Some((name, asked)) = line.strip_prefix("ask ").and_then(|rest| rest.split_once(':')) {
            let op = self.ask(asked.trim());
            self.asked.insert(name.to_string(), op);
            return;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let millis = |text: &str| Duration::from_millis(text.parse().expect("milliseconds"));
        match *words.as_slice() {
            ["run", time] => self.world.run_for(millis(time)),
            ["kill", "C"] => self.world.stop_coordinator(),
            ["start", "C"] => self.world.start_coordinator(),
            ["kill", who] => self.world.kill(self.place(who), true),
            ["power", who] => self.world.kill(self.place(who), false),
            ["start", who] => self.world.start(self.place(who)),
            ["pause", who, time] => self.world.pause_for(self.place(who), millis(time)),
            ["resign", who] => self.world.arrive(self.place(who), Arrival::Resign),
            ["wipe", who] => self.world.wipe(self.place(who)),
            ["cut", from, to] => self.world.cut(self.place(from), self.place(to)),
            ["isolate", who] => self.world.isolate(self.place(who)),
            ["split", ref side @ ..] => {
                let side: Vec<Address> = side.iter().map(|who| self.place(who)).collect();
                self.world.split(&side);
            }
            ["full", who] => self.world.fill_disk(self.place(who)),
            ["slow", who] => self.world.slow_disk(self.place(who)),
            ["flip", who] => self.world.flip_in_log(self.place(who)),
            ["replay", who] => self.world.replay(self.place(who)),
            ["rate", who, rate] => self.world.set_rate(self.place(who), rate.parse().expect("thousandths")),
            ["load", writes] => self.world.load(writes.parse().expect("a number")),
            ["idle"] => self.world.wait_for_clients(),
            ["shorten"] => self.world.shorten(),
            ["snapshots", "0"] => assert_eq!(self.world.snapshots(), 0, "snapshots"),
            ["snapshots", least] => {
                assert!(self.world.snapshots() >= least.parse().expect("a number"), "snapshots");
            }
            ["heal" | "room"] => self.world.mend(),
            ["whole"] => self.world.recover(),
            ["leads", "not", who] => assert!(!self.world.serves(self.place(who)), "{who} leads"),
            ["leads", who] => assert!(self.world.serves(self.place(who)), "{who} does not lead"),
            ["members", count] => assert_eq!(self.world.members().to_string(), count, "members"),
            _ => panic!("no such line"),
        }
    }

    /// Asks a server, or names what was asked before.
    fn ask(&mut self, asked: &str) -> OpId {
        if let Some(&op) = self.asked.get(asked) {
            return op;
        }
        let words: Vec<&str> = asked.split_whitespace().collect();
        let [who, verb, key, rest @ ..] = words.as_slice() else { panic!("who, verb, key, value") };
        let value = rest.last().map_or_else(Vec::new, |value| value.as_bytes().to_vec());
        let number = |at: usize| rest[at].parse().expect("a number");
        let op = match *verb {
            "get" => Op::Get,
            "set" => Op::Set(value),
            "add" => Op::Add(value),
            "append" => Op::Append(value),
            "incr" => Op::Incr(number(0)),
            "cas" => Op::Cas { id: number(0), value },
            "delete" => Op::Delete,
            _ => panic!("no such verb"),
        };
        let key = key.as_bytes()[0] - b'a';
        self.world.ask_once(self.place(who), key, op)
    }

    /// Waits for the answer as long as a client would, which asks again when it is refused.
    fn expect(&mut self, asked: &str, expected: &str) {
        let mut op = self.ask(asked);
        for _ in 0..200 {
            if *self.world.outcome_of(op) != Outcome::Unknown {
                break;
            }
            if self.world.is_refused(op) {
                if expected == "refused" || self.asked.contains_key(asked) {
                    break;
                }
                op = self.ask(asked);
            }
            self.world.run_for(Duration::from_millis(10));
        }
        let text = match self.world.outcome_of(op) {
            Outcome::Unknown if self.world.is_refused(op) => "refused".into(),
            Outcome::Unknown => "unknown".into(),
            Outcome::Value { value, .. } => String::from_utf8_lossy(value).into_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(text, expected);
    }
}

/// Runs a script on several seeds.
fn run(name: &str, text: &str) {
    let trace = crate::dice::replayed().is_some();
    for seed in crate::dice::seeds(0..10) {
        let mut script: Option<Script> = None;
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            if trace {
                println!(">>> {line}");
            }
            if let Some(servers) = line.strip_prefix("servers ") {
                script = Some(Script::new(seed, servers, trace));
                continue;
            }
            let script = script.as_mut().expect("a script begins with its servers");
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| script.line(line)));
            assert!(done.is_ok(), "scripts/{name}.txt:{}: `{line}`, RINGSTORE_SEED={seed}", number + 1);
        }
        script.expect("a script has lines").world.check_histories();
    }
}

macro_rules! scripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name), include_str!(concat!("scripts/", stringify!($name), ".txt")));
        })*
    };
}

scripts! {
    first_election
    lagging_follower
    partitioned_old_leader
    shrink_during_a_write
    silent_leader_is_replaced
    coordinator_dies
    coordinator_restarts_mid_change
    double_failover
    resign
    read_held_by_a_prepared_entry
    lease_runs_out_under_a_pause
    full_restart
    wiped_follower
    leader_heard_but_deaf
    leader_heard_by_all_but_deaf
    incr_through_a_survivor
    too_few_members
    cas_across_a_failover
    learner_joins_under_load
    learner_catches_up_from_its_log
    learner_catches_up_by_snapshot
    two_leaders_in_the_eyes_of_clients
    coordinator_unreachable
    full_restart_with_one_missing
    leader_restarts_within_its_lease
    follower_restarts_within_its_lease
    disk_full_at_a_follower
    disk_full_at_the_leader
    torn_tail
    corruption_below_the_watermark
    slow_follower_and_backpressure
    split_two_and_two
    old_packets_come_twice
    clocks_drift
    read_at_a_follower_during_a_shrink
    strict_read
    coordinator_pauses_through_an_election
}
