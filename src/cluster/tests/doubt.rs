//! A server that may lack what it acked: it says so in its record before anything else, and leads only when it was compared.

use super::*;

/// Writes, and then 3 loses its newest frames on the disk, as corruption that is cut off does.
fn damaged(rules: Rules) -> World {
    let mut world = World::of(3, rules);
    for value in 0..5 {
        world.write(1, &format!("a={value}")).expect("it leads");
        world.run(10);
    }
    world.run(1000);
    world.kill(3, false);
    let host = world.hosts.get_mut(&3).expect("it ran");
    let keep = host.frames.len() - 3;
    host.frames.truncate(keep);
    host.durable = host.frames.last().expect("more than three").end();
    world
}

#[test]
fn what_is_cut_off_is_cut_off_behind_the_record_that_says_so() {
    let mut world = damaged(Rules::ALL);
    world.start_with(3, Doubt::Corruption);
    assert!(world.hosts[&3].cuts.is_empty(), "the disk is as it was");
    // it stops before its record is there, and finds the same again
    world.kill(3, false);
    assert_eq!(world.hosts[&3].record.as_ref().map(|record| record.doubt), Some(Doubt::None));
    world.start_with(3, Doubt::Corruption);
    world.run(2);
    assert_eq!(world.hosts[&3].record.as_ref().map(|record| record.doubt), Some(Doubt::Corruption));
    assert_eq!(world.hosts[&3].cuts, [world.hosts[&3].frames.last().expect("some").mark()]);
    world.run(1000);
    assert_eq!(world.hosts[&3].record.as_ref().map(|record| record.doubt), Some(Doubt::None), "it has caught up");
    assert_eq!(world.stored("a"), ["4", "4", "4"]);
}

/// The server that cut its log stops and starts again, with nothing wrong to be found, and is then asked to lead with only
/// the coordinator in reach; whether it does.
fn leads_with_a_short_log(rules: Rules, found: Doubt) -> bool {
    let mut world = damaged(rules);
    world.cut_off(3, &[0, 1, 2]);
    world.start_with(3, found);
    world.run(10);
    world.kill(3, false);
    world.kill(1, true);
    world.kill(2, true);
    world.cut.clear();
    world.start(3);
    world.run(4000);
    if world.replica(3).is_serving() {
        return true;
    }
    // with one that has everything the cluster goes on
    world.start(2);
    world.run(4000);
    assert!(world.replica(2).is_serving());
    assert_eq!(world.stored("a"), ["4", "4"]);
    false
}

#[test]
fn who_cut_its_log_is_not_elected_after_another_restart_either() {
    assert!(!leads_with_a_short_log(Rules::ALL, Doubt::Corruption), "D1");
    assert!(!leads_with_a_short_log(Rules::ALL, Doubt::Tail), "D2");
    let without = || leads_with_a_short_log(Rules::ALL.without(Rule::D1), Doubt::Corruption);
    assert!(std::panic::catch_unwind(without).is_err(), "other entries are committed where some were");
}

#[test]
fn when_all_were_compared_the_best_of_the_doubtful_leads() {
    let mut world = damaged(Rules::ALL);
    world.kill(1, false);
    world.kill(2, false);
    world.start_coordinator();
    for node in [1, 2] {
        world.start_with(node, Doubt::Tail);
    }
    world.start_with(3, Doubt::Corruption);
    world.run(4000);
    assert_ne!(world.leader(), 3, "its log is shorter");
    assert_eq!(world.members(), [1, 2, 3]);
    assert_eq!(world.stored("a"), ["4", "4", "4"]);
    let doubts = world.hosts.values().map(|host| host.record.as_ref().expect("all run").doubt);
    assert!(doubts.eq([Doubt::None; 3]), "nothing is left of it");
}
