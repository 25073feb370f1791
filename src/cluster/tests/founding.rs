//! A server that stood alone brings its log into a cluster: it founds one, or is not let in.

use super::*;

const ALONE: LogId = LogId(500);

impl World {
    /// A server has a log that it wrote while it stood alone, in that epoch, and no record.
    fn stood_alone(&mut self, node: u64, log_id: LogId, epoch: u64, values: &[&str]) {
        let host = self.hosts.entry(node).or_default();
        let mut builder = FrameBuilder::new();
        for value in values {
            let end = host.frames.last().map_or(Mark::default(), Frame::mark);
            builder.begin(FrameStart {
                epoch: Epoch(epoch),
                first_index: LogIndex(end.index.0 + 1),
                position: end.position,
                durable_upto: end.position,
                time: Time(7),
            });
            let (key, value) = (b"k", value.as_bytes());
            builder.push(&Entry::Put { key, value, flags: 0, expiry: Expiry::NEVER, cas: None, bits: 0 });
            host.frames.push(Frame::built(builder.take()));
        }
        host.durable = host.frames.last().expect("it wrote").end();
        host.log_id = Some(log_id);
    }
}

#[test]
fn the_first_to_come_founds_a_cluster_with_its_data_in_a_later_epoch() {
    for epoch in [1, 4] {
        let mut world = World::new(Rules::ALL);
        world.stood_alone(1, ALONE, epoch, &["old", "older", "newest"]);
        world.start(1);
        world.run(300);
        let configuration = world.replica(1).configuration().cloned().expect("it founded one");
        assert_eq!((configuration.cluster, configuration.epoch.0), (ALONE, epoch + 1), "no frame is of an epoch twice");
        assert!(world.replica(1).is_serving());
        world.start(2);
        world.start(3);
        world.run(1500);
        assert_eq!(world.members(), [1, 2, 3]);
        assert_eq!(world.stored("k"), ["newest"; 3]);
        world.write(1, "k=changed").expect("it leads");
        world.run(50);
        assert_eq!(world.stored("k"), ["changed"; 3]);
        // what it was before is nothing once it has a record
        world.kill(1, true);
        world.run(500);
        world.start(1);
        world.run(1500);
        assert_eq!(world.members(), [1, 2, 3]);
        assert_eq!(world.refused_servers, []);
    }
}

#[test]
fn a_server_with_data_of_its_own_is_not_let_into_a_cluster() {
    let mut world = World::of(2, Rules::ALL);
    world.write(1, "k=ours").expect("it leads");
    world.stood_alone(3, ALONE, 1, &["theirs"]);
    world.start(3);
    world.run(1500);
    assert_eq!(world.members(), [1, 2]);
    assert_eq!(world.refused_servers[0], (NodeId(3), CLUSTER, ALONE), "both are named");
    assert!(world.hosts[&3].reports.contains(&Report::RefusedByCoordinator));
    assert_eq!(world.hosts[&3].frames.len(), 1, "its data is as it was");
    assert!(world.hosts[&3].cuts.is_empty() && world.replica(3).configuration().is_none());
    assert_eq!(world.stored("k")[..2], ["ours"; 2]);
}

#[test]
fn of_two_that_come_with_data_the_first_founds_and_the_second_is_refused() {
    let mut world = World::new(Rules::ALL);
    world.stood_alone(1, ALONE, 1, &["one"]);
    world.stood_alone(2, LogId(501), 6, &["two"]);
    world.start(1);
    world.start(2);
    world.run(1500);
    assert_eq!(world.members().len(), 1);
    let first = world.members()[0];
    let (other, ours, theirs) = if first == 1 { (2, ALONE, LogId(501)) } else { (1, LogId(501), ALONE) };
    assert_eq!(world.replica(first).configuration().expect("it founded one").cluster, ours);
    assert!(world.refused_servers.contains(&(NodeId(other), ours, theirs)));
    assert!(world.replica(other).configuration().is_none());
}

#[test]
fn a_coordinator_that_lost_its_record_founds_nothing_for_a_server_of_a_cluster() {
    let mut world = World::of(3, Rules::ALL);
    // R1: an epoch is no log's that stood alone
    world.coordinator_record = None;
    let boot =
        CoordinatorBoot { record: None, fresh: LogId(900), min_insync: 2, timing: world.timing, rules: world.rules };
    world.coordinator = Some(Coordinator::start(world.now(), boot));
    world.kill(1, false);
    world.run(100);
    world.start(1);
    world.run(1500);
    assert!(world.coordinator.as_ref().expect("it runs").configuration().is_none());
    assert!(world.refused_servers.contains(&(NodeId(1), LogId(900), CLUSTER)));
}
