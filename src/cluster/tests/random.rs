//! Random cuts, crashes and writes over seeds: nothing that was committed is ever different anywhere, and when all is well
//! again the cluster serves and holds everything that was acknowledged. A failure prints its seed; `RINGSTORE_SEED` runs it.

use rand::prelude::*;
use rand::rngs::StdRng;

use super::*;

/// Seeds of one test run.
const SEEDS: u64 = 60;

fn run(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World::of(3, Rules::ALL);
    for _ in 0..rng.random_range(5..40) {
        let node = rng.random_range(1..=3);
        match rng.random_range(0..10) {
            0 => {
                if world.hosts[&node].replica.is_some() {
                    world.kill(node, rng.random());
                }
            }
            1 | 2 => {
                if world.hosts[&node].replica.is_none() {
                    world.start(node);
                }
            }
            3 => {
                let other = rng.random_range(0..=3);
                world.cut.insert((node, other));
                if rng.random() {
                    world.cut.insert((other, node));
                }
            }
            4 | 5 => world.cut.clear(),
            6 => world.start_coordinator(),
            _ => {
                let request = *["a=1", "+n", "b=2", "?a"].choose(&mut rng).expect("not empty");
                let at_leader = world.hosts[&node].lead.is_some();
                if world.hosts[&node].replica.is_some() && (request != "?a" || !at_leader) {
                    // a refusal is an answer too
                    let _ = world.write(node, request);
                }
            }
        }
        world.run([0, 1, 3, 10, 60, 300][rng.random_range(0..6)]);
    }
    quiet(&mut world);
}

/// All faults end: the cluster is whole again within a bound.
fn quiet(world: &mut World) {
    world.cut.clear();
    for node in 1..=3 {
        if world.hosts[&node].replica.is_none() {
            world.start(node);
        }
    }
    world.run(8000);
    assert_eq!(world.members(), [1, 2, 3], "all are members again");
    let leader = world.leader();
    world.write(leader, "last=1").expect("it serves");
    world.run(100);
    assert_eq!(world.stored("last"), ["1", "1", "1"]);
    for key in ["a", "b", "n"] {
        let stored = world.stored(key);
        assert!(stored.iter().all(|value| *value == stored[0]), "{key}: {stored:?}");
        for node in 1..=3 {
            assert_eq!(world.read(node, key), Some(stored[0].as_str()), "server {node} reads");
        }
    }
    assert!(world.hosts.values().all(|host| host.locks.is_empty()), "all is unlocked");
}

#[test]
fn what_is_committed_stays() {
    let first: u64 = match std::env::var("RINGSTORE_SEED") {
        Ok(text) => return run(text.parse().expect("RINGSTORE_SEED is a number")),
        Err(_) => 0,
    };
    for seed in first..first + SEEDS {
        println!("RINGSTORE_SEED={seed}");
        run(seed);
    }
}
