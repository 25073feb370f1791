//! A cluster's stories, each in a few steps.

use super::*;

#[test]
fn the_first_to_come_leads_and_the_others_join() {
    let mut world = World::new(Rules::ALL);
    world.start(3);
    world.run(200);
    assert_eq!((world.leader(), world.epoch(), world.members()), (3, 1, vec![3]));
    assert_eq!(world.write(3, "a=1"), Err(WriteRefusal::TooFewMembers), "R10: one is not enough");
    world.start(1);
    world.run(300);
    assert_eq!((world.leader(), world.epoch(), world.members()), (3, 2, vec![1, 3]));
    assert_eq!(world.write(3, "a=1"), Ok(WritePlace::Here));
    world.run(20);
    assert_eq!(world.stored("a"), ["1", "1"]);
    world.start(2);
    world.run(300);
    assert_eq!(world.members(), [1, 2, 3]);
    assert_eq!(world.stored("a"), ["1", "1", "1"], "the new one got what was there");
    assert!(world.hosts.keys().all(|&node| world.read(node, "a") == Some("1")), "all of them answer reads");
}

#[test]
fn a_key_with_a_prepared_entry_is_not_read_at_a_follower() {
    let mut world = World::of(3, Rules::ALL);
    world.write(1, "a=1").expect("it leads");
    world.run(20);
    assert_eq!(world.read(2, "a"), Some("1"));
    // 3 hears nothing, so the write is not committed; 2 has it and must not tell either value
    world.cut.insert((1, 3));
    world.write(1, "a=2").expect("it leads");
    world.run(20);
    assert_eq!((world.read(1, "a"), world.read(2, "a")), (Some("1"), None));
    assert_eq!(world.read(2, "b"), Some(""), "other keys are read");
    world.cut.clear();
    world.run(100);
    assert_eq!((world.read(1, "a"), world.read(2, "a"), world.read(3, "a")), (Some("2"), Some("2"), Some("2")));
}

#[test]
fn a_silent_follower_is_left_out_and_comes_back() {
    let mut world = World::of(3, Rules::ALL);
    world.cut_off(3, &[0, 1, 2]);
    world.write(1, "a=1").expect("it leads");
    world.run(300);
    assert_eq!(world.stored("a"), ["", "", ""], "R8: nothing is committed without it");
    assert_eq!(world.read(3, "a"), None, "its lease has run out");
    world.run(1000);
    assert_eq!(world.members(), [1, 2], "the coordinator has left it out");
    assert_eq!(world.stored("a"), ["1", "1", ""]);
    world.cut.clear();
    world.run(1000);
    assert_eq!(world.members(), [1, 2, 3]);
    assert_eq!(world.stored("a"), ["1", "1", "1"]);
    assert_eq!(world.read(3, "a"), Some("1"));
}

#[test]
fn a_leader_that_died_is_followed_within_a_few_round_trips() {
    let mut world = World::of(3, Rules::ALL);
    world.write(1, "a=1").expect("it leads");
    world.run(1000);
    world.kill(1, true);
    world.run(30);
    let leader = world.leader();
    assert_ne!(leader, 1);
    assert!(world.replica(leader).is_serving(), "R25: a proven death needs no waiting");
    world.write(leader, "a=2").expect("it leads");
    world.run(30);
    assert_eq!(world.stored("a"), ["2", "2"]);
    world.start(1);
    world.run(1000);
    assert_eq!(world.members(), [1, 2, 3]);
    assert_eq!(world.read(1, "a"), Some("2"));
}

#[test]
fn a_leader_cut_off_reads_no_more_before_another_takes_over() {
    let mut world = World::of(3, Rules::ALL);
    world.run(1000);
    world.cut_off(1, &[0, 2, 3]);
    world.write(1, "a=lost").expect("it does not know yet");
    let mut took_over = 0;
    while took_over == 0 {
        world.turn();
        let serving = world.hosts.values().filter(|host| {
            let replica = host.replica.as_ref().expect("all run");
            replica.is_serving() && replica.read_deadline().is_some_and(|deadline| world.now() < deadline)
        });
        assert!(serving.count() <= 1, "two leaders read at once");
        if world.replica(2).is_serving() || world.replica(3).is_serving() {
            took_over = world.now;
        }
    }
    let leader = world.leader();
    world.write(leader, "a=kept").expect("it leads");
    world.run(100);
    world.cut.clear();
    world.run(1500);
    assert_eq!(world.members(), [1, 2, 3]);
    assert_eq!(world.stored("a"), ["kept", "kept", "kept"], "what only the old leader had is cut off");
    assert_eq!(world.hosts[&1].lead, None);
}

#[test]
fn a_write_through_a_follower_survives_the_leader() {
    let mut world = World::of(3, Rules::ALL);
    world.run(1000);
    assert_eq!(world.write(2, "+n"), Ok(WritePlace::Leader));
    world.run(30);
    assert!(matches!(world.hosts[&2].done[..], [(1, Outcome::Committed { .. })]));
    // the second is in the leader's log and at the others when the leader dies, the third is still on its way
    world.write(2, "+n").expect("it follows");
    world.run(4);
    world.write(2, "+n").expect("it follows");
    world.kill(1, true);
    world.run(500);
    assert_eq!(world.hosts[&2].done.len(), 3, "C1: all are answered, after a pause");
    assert_eq!(world.stored("n"), ["xxx", "xxx"], "each once");
}

#[test]
fn a_write_that_changes_nothing_is_answered_through_the_follower() {
    let mut world = World::of(2, Rules::ALL);
    world.write(1, "a=1").expect("it leads");
    world.run(20);
    world.write(2, "?a").expect("it follows");
    world.run(60);
    let reply = b"1".to_vec();
    assert_eq!(world.hosts[&2].done, [(1, Outcome::Answered { reply })]);
}

#[test]
fn a_leader_that_resigns_is_followed_at_once() {
    let mut world = World::of(3, Rules::ALL);
    world.run(1000);
    world.input(1, Input::Resign);
    world.run(30);
    let leader = world.leader();
    assert!(leader != 1 && world.replica(leader).is_serving());
    world.run(1500);
    assert_eq!(world.members(), [1, 2, 3], "it comes back as a follower");
    assert_eq!(world.replica(1).role(), "follower");
}

#[test]
fn gets_and_sets_go_on_without_the_coordinator() {
    let mut world = World::of(3, Rules::ALL);
    world.coordinator = None;
    world.run(3000);
    world.write(1, "a=1").expect("it leads");
    world.run(20);
    assert!([1, 2, 3].iter().all(|&node| world.read(node, "a") == Some("1")));
    // a short break of the network, longer than a lease
    world.cut_off(3, &[1, 2]);
    world.run(400);
    assert_eq!(world.read(1, "a"), None, "R17");
    world.cut.clear();
    world.run(200);
    assert!([1, 2, 3].iter().all(|&node| world.read(node, "a") == Some("1")), "R23 does not stop it for good");
    world.start_coordinator();
    world.kill(1, false);
    world.run(3000);
    assert!(world.replica(world.leader()).is_serving(), "and back again it finds another leader");
}

#[test]
fn after_a_full_restart_the_members_go_on() {
    let mut world = World::of(3, Rules::ALL);
    world.write(1, "a=1").expect("it leads");
    world.run(20);
    for node in [1, 2, 3] {
        world.kill(node, false);
    }
    world.start_coordinator();
    world.run(10);
    for node in [2, 3, 1] {
        world.start(node);
    }
    world.run(3000);
    assert_eq!(world.members(), [1, 2, 3]);
    assert_eq!(world.stored("a"), ["1", "1", "1"]);
    assert!([1, 2, 3].iter().all(|&node| world.read(node, "a") == Some("1")));
}

#[test]
fn a_coordinator_that_stops_in_the_middle_of_a_change_comes_back_to_it() {
    for durable in [false, true] {
        let mut world = World::of(2, Rules::ALL);
        world.start(3);
        // until the change that lets 3 in is being written
        while world.coordinator_writing.is_empty() {
            world.turn();
        }
        let (_, configuration) = world.coordinator_writing.pop_front().expect("it is being written");
        if durable {
            world.coordinator_record = Some(configuration);
        }
        world.start_coordinator();
        world.run(500);
        assert_eq!(world.members(), [1, 2, 3], "the leader asks until it sees the outcome");
    }
}

#[test]
fn a_read_that_waits_for_the_lease_is_allowed_or_refused() {
    let mut world = World::of(3, Rules::ALL);
    world.input(1, Input::ReadAsked { ticket: 7 });
    assert_eq!(world.hosts[&1].allowed, [7], "the lease is held");
    world.cut_off(1, &[2, 3]);
    world.run(250);
    world.input(1, Input::ReadAsked { ticket: 8 });
    assert_eq!(world.hosts[&1].allowed, [7]);
    world.cut.clear();
    world.run(100);
    assert_eq!(world.hosts[&1].allowed, [7, 8]);
    world.cut_off(1, &[0, 2, 3]);
    world.run(250);
    world.input(1, Input::ReadAsked { ticket: 9 });
    world.run(1500);
    world.cut.clear();
    world.run(100);
    assert_eq!(world.hosts[&1].refused, [9], "another leads");
}

#[test]
fn a_server_of_another_cluster_is_not_let_in() {
    let mut world = World::of(2, Rules::ALL);
    let mut record = NodeRecord::new(NodeId(9));
    let mut other = world.coordinator_record.clone().expect("it was founded");
    other.cluster = LogId(78);
    record.configuration = Some(other);
    world.hosts.entry(9).or_default().record = Some(record);
    world.start(9);
    world.run(300);
    assert!(world.hosts[&9].reports.contains(&Report::RefusedByCoordinator), "R1");
    assert_eq!(world.members(), [1, 2]);
}

/// A cluster that leaves out who is silent long before leases end, and cut so that 3 hears and is heard by nobody.
fn shrunk(rules: Rules) -> World {
    let mut world = World::with(rules, Timing::impatient()).grown_to(3);
    world.write(1, "a=old").expect("it leads");
    world.run(1500);
    assert!([1, 2, 3].iter().all(|&node| world.read(node, "a") == Some("old")));
    world.cut_off(3, &[0, 1, 2]);
    world
}

/// Writes at the leader and looks whether anybody reads the old value after the new one was committed.
fn reads_stale(world: &mut World) -> bool {
    world.write(1, "a=new").expect("it leads");
    for _ in 0..2000 {
        world.turn();
        if world.stored("a").contains(&"new".to_owned()) && world.read(3, "a") == Some("old") {
            return true;
        }
    }
    assert_eq!(world.stored("a"), ["new", "new", "old"]);
    false
}

#[test]
fn after_a_shrink_the_lease_of_who_was_left_out_is_waited_out() {
    assert!(!reads_stale(&mut shrunk(Rules::ALL)));
    for rule in [Rule::R18, Rule::R20Waits] {
        assert!(reads_stale(&mut shrunk(Rules::ALL.without(rule))), "without {rule:?} a stale value is read");
    }
}

/// The coordinator does not hear the leader, everybody else does; whether old and new leader read different values.
fn two_leaders_read(rules: Rules) -> bool {
    let mut world = World::with(rules, Timing::impatient()).grown_to(3);
    world.write(1, "a=old").expect("it leads");
    world.run(1500);
    world.cut_off(1, &[0]);
    for turn in 0..1500 {
        // the others hear it for a while longer
        if turn == 200 {
            world.cut_off(1, &[2, 3]);
        }
        world.turn();
        let leader = world.leader();
        if leader != 1 && world.replica(leader).is_serving() {
            if world.read(leader, "a") == Some("old") {
                world.write(leader, "a=new").expect("it leads");
            }
            if world.read(leader, "a") == Some("new") && world.read(1, "a") == Some("old") {
                return true;
            }
        }
    }
    assert_eq!(world.read(world.leader(), "a"), Some("new"));
    false
}

#[test]
fn a_leader_reads_only_while_nobody_can_have_taken_over() {
    assert!(!two_leaders_read(Rules::ALL));
    for rule in [Rule::R16, Rule::R17] {
        assert!(two_leaders_read(Rules::ALL.without(rule)), "without {rule:?} two leaders read");
    }
}

/// A split of two and two with the coordinator on one side; whether a server of the other side reads what was replaced.
fn split_reads_stale(rules: Rules) -> bool {
    let mut world = World::with(rules, Timing::impatient()).grown_to(4);
    world.write(1, "a=old").expect("it leads");
    world.run(1500);
    world.cut_off(1, &[0, 2, 4]);
    world.cut_off(3, &[0, 2, 4]);
    for _ in 0..2000 {
        world.turn();
        let leader = world.leader();
        if leader != 1 && world.read(leader, "a") == Some("old") && world.members().len() == 2 {
            world.write(leader, "a=new").expect("it leads");
        }
        let new = world.hosts.values().any(|host| host.data.get(&b"a"[..]).is_some_and(|value| value == b"new"));
        if new && (world.read(1, "a") == Some("old") || world.read(3, "a") == Some("old")) {
            return true;
        }
    }
    assert_eq!((world.leader() == 1, world.members().len()), (false, 2));
    assert_eq!(world.read(world.leader(), "a"), Some("new"));
    false
}

#[test]
fn on_the_other_side_of_a_split_nobody_reads_what_was_replaced() {
    assert!(!split_reads_stale(Rules::ALL));
    assert!(split_reads_stale(Rules::ALL.without(Rule::R17)), "without R17 a stale value is read");
}

/// A follower is started again while its leader still reads on what it had promised before.
fn restarted_takes_over_early(rules: Rules) -> bool {
    let mut world = World::with(rules, Timing::impatient()).grown_to(2);
    world.write(1, "a=old").expect("it leads");
    world.run(1500);
    world.cut_off(1, &[0]);
    world.kill(2, false);
    world.start(2);
    world.cut_off(1, &[0, 2]);
    for _ in 0..1000 {
        world.turn();
        if world.replica(2).is_serving() && world.read(1, "a").is_some() {
            return true;
        }
    }
    assert!(world.replica(2).is_serving());
    false
}

#[test]
fn a_restarted_follower_keeps_the_promise_that_it_does_not_remember() {
    assert!(!restarted_takes_over_early(Rules::ALL));
}

#[test]
fn two_that_adopt_the_same_do_not_tell_each_other_for_ever() {
    let boot = Boot::empty(NodeRecord::new(NodeId(1)), "10.0.0.1".into());
    let mut effects = Vec::new();
    let mut replica = Replica::start(Time(STEP), boot, &mut effects);
    let mut answers = |input: Input| {
        effects.clear();
        replica.step(Time(STEP), input, &mut effects);
        let told = effects.iter().filter_map(|effect| match effect {
            Effect::Send { message } if message.header.destination == NodeId(2) => match &message.body {
                Body::Announce(configuration) => Some(configuration.epoch.0),
                _ => None,
            },
            _ => None,
        });
        told.collect::<Vec<u64>>()
    };
    let announced = |epoch: u64| {
        let member = |node: u64| Member { node: NodeId(node), contact: format!("10.0.0.{node}") };
        let configuration = Configuration {
            cluster: CLUSTER,
            epoch: Epoch(epoch),
            leader: NodeId(2),
            leader_incarnation: Incarnation(1),
            members: [1, 2].map(member).to_vec(),
            min_insync: 1,
            forced: Epoch(0),
        };
        let header = Header {
            cluster: CLUSTER,
            epoch: Epoch(epoch),
            source: NodeId(2),
            source_incarnation: Incarnation(1),
            destination: NodeId(1),
            destination_incarnation: Incarnation(0),
        };
        Input::Received { message: Message { header, body: Body::Announce(configuration) } }
    };
    answers(Input::RecordPersisted { epoch: Epoch(0) });
    answers(announced(3));
    answers(Input::RecordPersisted { epoch: Epoch(3) });
    answers(announced(4));
    assert_eq!(answers(announced(3)), [], "as new as what is durable here: the other is adopting the next one too");
    assert_eq!(answers(announced(2)), [3]);
    answers(Input::RecordPersisted { epoch: Epoch(4) });
    assert_eq!(answers(announced(3)), [4]);
}

/// A coordinator that starts anew may hear an old message of its leader's before anything else.
#[test]
fn a_coordinator_that_starts_anew_finds_its_leader_whatever_it_hears_first() {
    let mut world = World::of(1, Rules::ALL);
    let old = world.replica(1).incarnation();
    world.kill(1, true);
    world.start(1);
    world.run(1000);
    assert_eq!((world.leader(), world.epoch()), (1, 2), "it leads again, as a later incarnation");
    let header = Header {
        cluster: CLUSTER,
        epoch: Epoch(1),
        source: NodeId(1),
        source_incarnation: old,
        destination: COORDINATOR,
        destination_incarnation: Incarnation(0),
    };
    let (contact, end) = ("10.0.0.1".into(), Mark::default());
    let body = Body::Register { contact, end, doubtful: false };
    world.start_coordinator();
    world.tell_coordinator(CoordinatorInput::Received { message: Message { header, body } });
    world.start(2);
    world.run(1500);
    assert_eq!(world.members(), [1, 2], "the leader has heard of the newcomer");
}

/// The coordinator decided and died; meanwhile its candidate started anew and follows the leader before.
#[test]
fn a_coordinator_whose_candidate_has_started_anew_is_told_so() {
    let mut world = World::of(2, Rules::ALL);
    assert_eq!(world.leader(), 1);
    let mut decided = world.coordinator_record.clone().expect("a cluster was founded");
    (decided.leader, decided.leader_incarnation) = (NodeId(2), world.replica(2).incarnation());
    decided.epoch.0 += 1;
    decided.members.retain(|member| member.node == NodeId(2));
    world.coordinator = None;
    world.kill(2, false);
    world.start(2);
    world.run(300);
    assert_eq!(world.replica(2).role(), "follower", "in peace, of the leader that the coordinator has left out");
    world.coordinator_record = Some(decided);
    world.start_coordinator();
    world.run(4000);
    assert_eq!((world.leader(), world.members()), (2, vec![1, 2]));
    assert!(world.replica(2).is_serving());
}
