//! Reads: strictly at any member, held where a lease is about to come, and in an order of steps that a stopped thread does not
//! break.

use super::*;

fn ask(world: &mut World, node: u64, ticket: u64) {
    world.input(node, Input::ReadAsked { ticket });
}

fn strict(servers: u64) -> World {
    let mut world = World::with(Rules::ALL, Timing::default());
    world.strict_reads = true;
    world.grown_to(servers)
}

#[test]
fn a_strict_read_at_a_follower_waits_for_what_was_committed_before_it() {
    let mut world = strict(3);
    world.write(1, "a=1").expect("it leads");
    world.run(50);
    assert_eq!(world.replica(3).read_deadline(), None, "no lease allows it");
    ask(&mut world, 3, 1);
    assert!(world.hosts[&3].allowed.is_empty(), "the leader is asked first");
    world.run(20);
    assert_eq!(world.hosts[&3].allowed, [1]);
    // 3 lags: it has the entry and does not know yet that it is committed
    while world.stored("a")[0] != "2" {
        if world.replica(1).end() == world.replica(1).commit() {
            world.write(1, "a=2").expect("it leads");
        }
        world.turn();
    }
    assert_eq!(world.stored("a")[2], "1");
    ask(&mut world, 3, 2);
    while world.hosts[&3].allowed.len() < 2 {
        world.turn();
    }
    assert_eq!(world.stored("a")[2], "2");
}

#[test]
fn a_strict_read_is_not_answered_on_the_word_of_a_leader_that_was_replaced() {
    let mut world = strict(3);
    world.write(1, "a=old").expect("it leads");
    world.run(50);
    // 1 hears only 3, which does not hear of the new epoch
    world.cut_off(1, &[0, 2]);
    world.cut_off(3, &[0, 2]);
    world.run(1000);
    ask(&mut world, 3, 1);
    ask(&mut world, 1, 2);
    world.run(500);
    assert!(world.hosts[&3].allowed.is_empty() && world.hosts[&1].allowed.is_empty(), "2 does not say so");
    world.run(1500);
    assert_eq!((&world.hosts[&3].refused[..], &world.hosts[&1].refused[..]), (&[1][..], &[2][..]), "not for ever");
    world.cut.clear();
    world.run(1500);
    ask(&mut world, 3, 3);
    world.run(50);
    assert_eq!(world.hosts[&3].allowed, [3]);
}

#[test]
fn a_strict_read_survives_the_leader() {
    let mut world = strict(3);
    world.write(1, "a=1").expect("it leads");
    world.run(50);
    ask(&mut world, 3, 1);
    world.kill(1, true);
    world.run(100);
    assert_eq!(world.hosts[&3].allowed, [1], "the next leader is asked");
}

#[test]
fn a_read_at_a_follower_waits_for_the_lease_of_a_new_epoch() {
    let mut world = World::of(3, Rules::ALL);
    world.run(500);
    world.kill(2, true);
    let (mut asked, mut without) = (0, 0);
    for _ in 0..200 {
        world.turn();
        without += u32::from(world.replica(3).read_deadline().is_none());
        asked += 1;
        ask(&mut world, 3, asked);
    }
    assert!(without > 0, "there was a gap between two leases");
    assert_eq!(world.hosts[&3].refused, [], "and nobody was refused in it");
    world.run(50);
    assert_eq!(world.hosts[&3].allowed.len() as u64, asked);
}

#[test]
fn who_learns_refuses_at_once_and_says_who_leads() {
    let mut world = World::of(2, Rules::ALL);
    world.start(3);
    while world.replica(3).role() != "learner" {
        world.turn();
    }
    ask(&mut world, 3, 1);
    assert_eq!(world.hosts[&3].refused, [1]);
}

/// A thread at server 3 reads in this order. Behind `Value` it is stopped for so long that its server is left out, misses a
/// write, and is a member with a lease again. What it answers at last, if anything.
fn stopped_in_a_read(order: [ReadStep; 3]) -> Option<String> {
    let mut world = World::with(Rules::ALL, Timing::impatient()).grown_to(3);
    world.write(1, "a=old").expect("it leads");
    world.run(1500);
    let (mut value, mut deadline, mut clock) = (String::new(), Time(0), Time(u64::MAX));
    for step in order {
        match step {
            ReadStep::Value => {
                value = world.stored("a")[2].clone();
                world.cut_off(3, &[0, 1, 2]);
                world.run(1000);
                world.write(1, "a=new").expect("it leads without 3");
                world.run(100);
                assert_eq!(world.stored("a"), ["new", "new", "old"]);
                world.cut.clear();
                world.run(1500);
                assert_eq!(world.read(3, "a"), Some("new"), "it is back");
            }
            ReadStep::Deadline => deadline = world.replica(3).read_deadline().expect("it has a lease"),
            ReadStep::Clock => clock = world.now(),
        }
    }
    (clock < deadline).then_some(value)
}

#[test]
fn a_thread_that_is_stopped_in_a_read_answers_nothing_old() {
    use ReadStep::{Clock, Deadline, Value};
    assert_eq!(read_order(Rules::ALL), [Deadline, Value, Clock]);
    assert_eq!(stopped_in_a_read([Deadline, Value, Clock]), None, "it reads once more");
    let stale = Some("old".to_owned());
    assert_eq!(stopped_in_a_read([Value, Deadline, Clock]), stale, "the deadline is of a later lease than the value");
}
