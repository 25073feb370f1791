//! What an operator does when a cluster has lost more than it may.

use super::*;

fn records(world: &World, nodes: &[u64]) -> Vec<NodeRecord> {
    nodes.iter().map(|node| world.hosts[node].record.clone().expect("it has run")).collect()
}

#[test]
fn a_lost_record_is_made_again_from_the_servers() {
    let mut world = World::of(3, Rules::ALL);
    let epoch = world.epoch();
    world.coordinator_record = Coordinator::recover(&records(&world, &[1, 2, 3])).ok();
    assert_eq!(world.epoch(), epoch + 1);
    world.start_coordinator();
    world.run(500);
    assert_eq!(world.members(), [1, 2, 3]);
    world.write(1, "a=1").expect("it still leads");
    world.run(20);
    assert_eq!(world.stored("a"), ["1", "1", "1"]);
}

#[test]
fn a_record_is_not_made_from_records_that_do_not_say_what_was_last() {
    let world = World::of(3, Rules::ALL);
    assert_eq!(Coordinator::recover(&[]), Err(RecoverFault::Nothing));
    assert_eq!(Coordinator::recover(&[NodeRecord::new(NodeId(1))]), Err(RecoverFault::Nothing));
    assert_eq!(Coordinator::recover(&records(&world, &[1, 3])), Err(RecoverFault::Missing(NodeId(2))));
    let mut disagreeing = records(&world, &[1, 2, 3]);
    disagreeing[1].configuration.as_mut().expect("a member's").cluster = LogId(78);
    let fault = Coordinator::recover(&disagreeing);
    assert!(matches!(fault, Err(RecoverFault::OtherCluster { .. })), "{fault:?}");
}

#[test]
fn the_record_of_who_is_ahead_decides() {
    let mut world = World::of(3, Rules::ALL);
    // the newest configuration reached the leader alone before everything stopped
    world.cut_off(3, &[0, 1, 2]);
    let before = records(&world, &[2, 3]);
    let epoch = world.epoch();
    while world.epoch() == epoch || world.replica(1).configuration().is_none_or(|c| c.epoch.0 == epoch) {
        world.turn();
    }
    let mut known = records(&world, &[1]);
    known.extend(before);
    let recovered = Coordinator::recover(&known).expect("all records are there");
    assert_eq!(recovered.epoch.0, epoch + 2);
    assert_eq!(recovered.nodes().collect::<Vec<_>>(), [NodeId(1), NodeId(2)]);
}

#[test]
fn a_coordinator_with_an_old_record_decides_nothing_and_says_so() {
    let mut world = World::of(3, Rules::ALL);
    let old = world.coordinator_record.clone();
    world.cut_off(3, &[0, 1, 2]);
    world.run(1500);
    let epoch = world.epoch();
    assert_eq!(world.members(), [1, 2]);
    world.cut.clear();
    world.coordinator_record = old;
    world.start_coordinator();
    world.kill(3, false);
    world.run(3000);
    assert_eq!(world.ahead, Some(Epoch(epoch)));
    assert_eq!(world.replica(1).configuration().map(|c| c.epoch.0), Some(epoch), "nobody was told of anything else");
    world.write(1, "a=1").expect("the servers go on");
    world.run(20);
    assert_eq!(world.stored("a"), ["1", "1"]);
}

fn force(world: &mut World, node: u64, confirmed: bool) -> Option<ForceRefusal> {
    world.force_refused.clear();
    world.tell_coordinator(CoordinatorInput::UnsafeRecover { node: NodeId(node), confirmed });
    world.force_refused.pop()
}

#[test]
fn a_server_that_was_left_out_leads_when_an_operator_says_so() {
    let mut world = World::of(3, Rules::ALL);
    world.write(1, "a=1").expect("it leads");
    world.run(100);
    world.kill(3, true);
    world.run(1000);
    assert_eq!(world.members(), [1, 2]);
    world.write(1, "a=2").expect("it leads");
    world.run(100);
    world.start(3);
    world.cut_off(3, &[1, 2]);
    world.run(300);
    assert_eq!(force(&mut world, 3, true), Some(ForceRefusal::LeaderLives));
    world.kill(1, true);
    world.kill(2, true);
    world.run(3000);
    assert!(!world.replica(3).is_serving(), "D3: nobody but a member");
    assert_eq!(force(&mut world, 9, true), Some(ForceRefusal::Unknown));
    assert_eq!(force(&mut world, 3, false), Some(ForceRefusal::NotConfirmed));
    // what only the others have is no part of the cluster's history from here on
    world.committed.clear();
    assert_eq!(force(&mut world, 3, true), None);
    assert_eq!(force(&mut world, 3, true), Some(ForceRefusal::Busy));
    world.run(1000);
    assert_eq!((world.leader(), world.members()), (3, vec![3]));
    assert!(world.replica(3).is_serving());
    let forced = world.coordinator_record.as_ref().expect("a cluster").forced;
    assert_eq!(forced.0, world.epoch(), "it is on record");
    // what the others have committed is not so any more; they cannot cut it off, so they begin anew
    world.cut.clear();
    world.start(1);
    world.start(2);
    world.run(3000);
    assert_eq!(world.members(), [1, 2, 3]);
    assert_eq!(world.coordinator_record.as_ref().expect("a cluster").forced, forced, "and stays there");
    world.write(3, "b=1").expect("it leads");
    world.run(100);
    assert_eq!(world.stored("a"), ["1", "1", "1"]);
    assert_eq!(world.stored("b"), ["1", "1", "1"]);
    assert!(world.hosts[&1].reports.contains(&Report::Trusted));
}

#[test]
fn nobody_is_forced_to_lead_with_nothing() {
    let mut world = World::of(2, Rules::ALL);
    world.kill(1, true);
    world.kill(2, true);
    assert!(force(&mut world, 3, true).is_some());
    world.start(3);
    world.run(300);
    assert_eq!(force(&mut world, 3, true), Some(ForceRefusal::Empty));
}
