//! How a server whose log or data is of no use any more gets a snapshot: which is read while writes go on, may break off
//! anywhere, and counts only from where it is exact.

use super::*;

/// Keys k10 to k49, then a full restart with shortened logs, so that whoever comes later finds no log to read.
fn shortened() -> World {
    let mut world = World::of(2, Rules::ALL);
    for key in 10..50 {
        world.write(1, &format!("k{key}=old")).expect("it leads");
    }
    world.run(100);
    for node in [1, 2] {
        world.shorten(node);
        world.kill(node, true);
    }
    for node in [1, 2] {
        world.start(node);
    }
    world.run(2000);
    assert_eq!(world.members(), [1, 2]);
    world
}

/// So many turns with a write in each.
fn busy(world: &mut World, turns: u64) {
    for turn in 0..turns {
        let leader = world.leader();
        // who is refused comes again
        let _ = world.write(leader, &format!("k{}=new{turn}", 10 + turn * 7 % 40));
        world.turn();
    }
}

fn reported(world: &World, node: u64, report: &Report) -> usize {
    world.hosts[&node].reports.iter().filter(|one| *one == report).count()
}

fn all_hold_the_same(world: &World, servers: usize) {
    for key in 10..50 {
        let key = format!("k{key}");
        let stored = world.stored(&key);
        assert_eq!(stored.len(), servers);
        assert!(!stored[0].is_empty() && stored.iter().all(|value| *value == stored[0]), "{key}: {stored:?}");
        for &node in world.hosts.keys() {
            assert_eq!(world.read(node, &key), Some(stored[0].as_str()), "server {node} reads {key}");
        }
    }
}

#[test]
fn a_newcomer_gets_a_snapshot_while_writes_go_on() {
    let mut world = shortened();
    world.start(3);
    let mut exact = true;
    for _ in 0..200 {
        busy(&mut world, 1);
        if let Some(keystore) = &world.hosts[&3].keystore {
            let Snapshot { start, consistent, .. } = keystore.snapshot;
            assert!(start.position < consistent.position, "the data was read while it changed");
            exact &= world.hosts[&3].applied.position >= consistent.position;
            if world.replica(3).role() == "follower" {
                assert!(world.hosts[&3].applied.position >= consistent.position, "no member before it is exact");
            }
        }
    }
    assert!(!exact, "it was not exact at once");
    world.run(300);
    assert_eq!(world.members(), [1, 2, 3]);
    all_hold_the_same(&world, 3);
    assert_eq!(
        reported(&world, world.leader(), &Report::NeedsSnapshot { node: NodeId(3) }),
        1,
        "one stream was enough"
    );
    assert_eq!(reported(&world, 3, &Report::Trusted), 1);
    assert_eq!(world.hosts[&3].record.as_ref().map(|record| record.doubt), Some(Doubt::None));
}

#[test]
fn writes_wait_for_members_and_never_for_a_learner() {
    let mut world = shortened();
    world.start(3);
    let (mut streams, mut waits) = (0, 0);
    for turn in 0..300 {
        let leader = world.leader();
        let before = world.replica(leader).commit();
        world.write(leader, &format!("k10=new{turn}")).expect("it leads");
        world.run(8);
        if !world.streams.is_empty() {
            streams += 1;
            waits += u32::from(world.replica(leader).commit() == before);
        }
        if world.members().len() == 3 {
            break;
        }
    }
    assert_eq!(world.members(), [1, 2, 3]);
    assert!(streams > 3);
    assert_eq!(waits, 0, "each write is committed within a few turns while a snapshot is sent");
}

/// Until the stream to 3 has got so many items.
fn until_half_way(world: &mut World) {
    for _ in 0..2000 {
        if world.streams.iter().any(|stream| stream.items() >= 20) {
            return;
        }
        busy(world, 1);
    }
    panic!("no stream gets that far");
}

#[test]
fn a_stream_that_breaks_is_begun_again() {
    let mut world = shortened();
    world.start(3);
    until_half_way(&mut world);
    world.cut_off(3, &[1, 2]);
    busy(&mut world, 5);
    assert!(world.streams.is_empty());
    world.cut.clear();
    busy(&mut world, 30);
    assert!(world.streams.is_empty(), "not at once: what broke may break again");
    busy(&mut world, 1500);
    world.run(100);
    assert_eq!(world.members(), [1, 2, 3]);
    all_hold_the_same(&world, 3);
}

#[test]
fn a_newcomer_that_stops_in_the_middle_of_a_snapshot_begins_again() {
    let mut world = shortened();
    world.start(3);
    until_half_way(&mut world);
    world.kill(3, true);
    busy(&mut world, 5);
    world.start(3);
    let record = world.hosts[&3].record.clone().expect("it has run");
    assert_eq!(record.doubt, Doubt::Data, "what is there now is of no use, and that is remembered");
    busy(&mut world, 1500);
    world.run(100);
    assert_eq!(world.members(), [1, 2, 3]);
    all_hold_the_same(&world, 3);
}

#[test]
fn a_newcomer_that_stops_before_it_is_exact_goes_on_from_its_snapshot() {
    let mut world = shortened();
    world.start(3);
    while world.hosts[&3].record.as_ref().is_none_or(|record| record.doubt != Doubt::Snapshot) {
        busy(&mut world, 1);
    }
    let start = world.hosts[&3].keystore.as_ref().expect("it is installed").snapshot.start;
    world.kill(3, true);
    busy(&mut world, 50);
    world.start(3);
    assert_eq!(world.replica(3).commit(), start);
    busy(&mut world, 50);
    world.run(1000);
    world.run(100);
    assert_eq!(world.members(), [1, 2, 3]);
    all_hold_the_same(&world, 3);
    let needs = Report::NeedsSnapshot { node: NodeId(3) };
    assert_eq!(reported(&world, 1, &needs) + reported(&world, 2, &needs), 1, "no second stream");
}

#[test]
fn the_leader_dies_while_it_sends_a_snapshot() {
    let mut world = shortened();
    let sender = world.leader();
    world.start(3);
    until_half_way(&mut world);
    world.kill(sender, true);
    world.run(1000);
    world.start(sender);
    world.run(4000);
    assert_eq!(world.members(), [1, 2, 3]);
    busy(&mut world, 50);
    world.run(100);
    all_hold_the_same(&world, 3);
}

#[test]
fn a_follower_whose_data_differs_leaves_and_comes_back_with_the_leaders() {
    let mut world = World::of(3, Rules::ALL);
    for key in 10..50 {
        world.write(1, &format!("k{key}=old")).expect("it leads");
    }
    world.run(100);
    let host = world.hosts.get_mut(&3).expect("it runs");
    host.data.insert(b"k20".to_vec(), b"olt".to_vec());
    world.write(1, "k30=new").expect("it leads");
    while world.members().len() == 3 {
        world.turn();
        let differs = world.hosts[&3].reports.iter().any(|report| matches!(report, Report::DigestDiffers { .. }));
        assert!(!differs || world.read(3, "k20").is_none(), "what is known to be wrong is not read");
    }
    assert_eq!(world.members(), [1, 2], "it has left by itself");
    world.run(2000);
    assert_eq!(world.members(), [1, 2, 3]);
    all_hold_the_same(&world, 3);
    assert_eq!(reported(&world, 1, &Report::NeedsSnapshot { node: NodeId(3) }), 1, "a log would not mend it");
}

#[test]
fn who_holds_wrong_data_remembers_it() {
    let mut world = World::of(3, Rules::ALL);
    world.write(1, "a=1").expect("it leads");
    world.run(100);
    world.hosts.get_mut(&3).expect("it runs").data.insert(b"ghost".to_vec(), b"1".to_vec());
    // the coordinator is away, so that it stays a member
    world.coordinator = None;
    world.write(1, "a=2").expect("it leads");
    world.run(200);
    assert_eq!(world.hosts[&3].record.as_ref().map(|record| record.doubt), Some(Doubt::Data));
    world.kill(1, false);
    world.kill(2, false);
    world.kill(3, false);
    world.start_coordinator();
    world.start(3);
    world.run(3000);
    assert!(!world.replica(3).is_serving(), "it never leads");
    world.start(2);
    world.run(3000);
    assert_eq!(world.leader(), 2);
    assert_eq!(world.stored("a"), ["2", "2"]);
    assert_eq!(world.stored("ghost"), ["", ""], "it has the leader's data");
    assert_eq!(world.members(), [2, 3]);
}

#[test]
fn an_old_word_about_a_log_that_is_too_short_is_not_heeded() {
    let mut world = World::of(2, Rules::ALL);
    world.start(3);
    while world.hosts[&3].frames.is_empty() {
        world.turn();
    }
    assert_eq!(world.replica(3).role(), "learner");
    let own = world.replica(3).end();
    let replica = world.replica(1);
    let configuration = replica.configuration().expect("it leads").clone();
    let header = Header {
        cluster: configuration.cluster,
        epoch: configuration.epoch,
        source: NodeId(1),
        source_incarnation: replica.incarnation(),
        destination: NodeId(3),
        destination_incarnation: world.replica(3).incarnation(),
    };
    let needed = |from| Input::Received { message: Message { header, body: Body::SnapshotNeeded { from } } };
    world.input(3, needed(Mark::default()));
    assert_eq!(world.hosts[&3].reports, [Report::Adopted { epoch: configuration.epoch, leader: NodeId(1) }]);
    world.input(3, needed(own));
    assert!(world.hosts[&3].reports.contains(&Report::Doubted { doubt: Doubt::Data }));
    let offer = Message { header, body: Body::SnapshotOffer };
    world.input(3, Input::SnapshotOffered { message: offer });
    assert_eq!(world.hosts[&3].taken, Some(false), "nothing is dropped before the record says so");
    world.run(1500);
    assert_eq!(world.members(), [1, 2, 3]);
}
