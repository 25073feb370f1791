//! A bit flips in a server's memory, in a value that nobody writes or reads meanwhile. The server finds it when it checks what
//! rests in its store; it leaves, is given a snapshot, and comes back. A leader hands the lead on first.

use ringstore::cluster::Rules;
use ringstore::time::Duration;

use crate::dice::{replayed, seeds};
use crate::linear::{Op, Outcome};
use crate::network::Address;
use crate::plan::Plan;
use crate::world::World;

fn story(seed: u64, leads: bool) {
    let mut world = World::new(seed, Rules::ALL, Plan::script(3), replayed().is_some());
    world.recover();
    let leader = world.leader_place().expect("a whole cluster has a leader");
    let place: Address = if leads { leader } else { 1 + leader % 3 };
    let set = |value: &[u8]| Op::Set(value.to_vec());
    let first = world.ask_once(leader, 0, set(b"resting"));
    world.run_for(Duration::from_millis(200));
    assert_eq!(*world.outcome_of(first), Outcome::Stored);
    assert!(world.flip(place, 0, seed as usize % 56));
    // several rounds of the check, and nothing that would tell others
    world.run_for(Duration::from_millis(1500));
    // the next digest tells
    for round in 0..20 {
        let somewhere = 1 + (leader + round) % 3;
        world.ask_once(somewhere, 1, set(format!("{round}").as_bytes()));
        world.run_for(Duration::from_millis(200));
        if !world.is_rotten(place) {
            break;
        }
    }
    assert!(!world.is_rotten(place), "RINGSTORE_SEED={seed}: the flipped bit is still there");
    world.recover();
    world.end_script();
}

#[test]
fn a_flipped_bit_at_a_follower_is_found_and_made_good() {
    seeds(0..20).for_each(|seed| story(seed, false));
}

#[test]
fn a_flipped_bit_at_the_leader_is_found_and_made_good() {
    seeds(0..20).for_each(|seed| story(seed, true));
}
