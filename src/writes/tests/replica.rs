//! Replicas hold the same, whoever led, and answer as a server alone does.

use super::Rng;
use super::cluster::{Asked, NOW, Naive, Node, draw, items, note, origin, text, writes};
use crate::cluster::{Frame, Mark};
use crate::config::ServerConfig;
use crate::keystore::{Decoder, Piece, Step};
use crate::log::{Epoch, LogId, LogIndex, Position};
use crate::proto::StoreVerb;
use crate::stats::{Counters, Shared};
use crate::time::{Duration, Time};
use crate::writes::{LogStart, Placed, ReplicaFault, Write};

/// A leader and a follower, a no-op committed.
fn pair() -> (Node, Node) {
    let (mut leader, mut follower) = (Node::new(1), Node::new(2));
    leader.lead(1);
    follower.append(&leader.log[0], true);
    for node in [&mut leader, &mut follower] {
        node.commit(node.end(), &mut Asked::new());
    }
    (leader, follower)
}

fn set<'a>(key: &'a str, value: &'a [u8]) -> Write<'a> {
    Write::Store { verb: StoreVerb::Set, key: key.as_bytes(), flags: 0, exptime: 0, cas: 0, value }
}

#[test]
fn two_servers_answer_as_one_does() {
    let mut rng = Rng::seeded("answers", 61);
    for _ in 0..30 {
        let (mut leader, mut follower) = pair();
        let (mut alone, _reader) = writes(4, 9);
        let start = LogStart { epoch: Epoch(1), last_index: LogIndex(1), end: Position(0), last_time: NOW };
        alone.attach_log(start);
        let shared = Shared::new(ServerConfig::default(), 1, NOW);
        let (mut asked, mut expected, mut counters) = (Asked::new(), Asked::new(), Counters::default());
        let (mut op, mut now) = (0, NOW);
        for _ in 0..60 {
            now = now.after(Duration::from_millis(rng.below(20_000)));
            leader.writes.maintain_replica(now, true);
            alone.maintain(now);
            for _ in 0..rng.below(8) {
                let write = draw(&mut rng);
                op += 1;
                let reply = alone.submit(now, &write.as_write(), origin(op), &shared, &mut counters);
                expected.insert(op, reply);
                if rng.one_in(2) {
                    leader.ask_here(now, op, &write.as_write(), &mut asked);
                } else {
                    asked.insert(op, None);
                    let (number, request) = follower.forward(op, &write.as_write());
                    if let Some(reply) = leader.evaluate(now, 2, number, request) {
                        follower.answered(number, reply, &mut asked);
                    }
                }
            }
            let (from, mut frames, mut answers) = (leader.log.len(), Vec::new(), Vec::new());
            leader.end_turn();
            alone.end_turn(&mut frames);
            for frame in &leader.log[from..] {
                follower.append(frame, true);
            }
            if rng.one_in(2) && leader.end() != leader.writes.applied() {
                alone.on_persisted(Position(u64::MAX), &mut answers);
                note(&mut expected, &answers);
                let digests = [&mut leader, &mut follower].map(|node| node.commit(node.end(), &mut asked));
                assert!(digests[0].is_some() && digests[0] == digests[1], "{digests:?}");
                assert!(follower.writes.store().is_unlocked());
                assert_eq!(items(&leader.writes), items(&follower.writes));
                assert_eq!(items(&leader.writes), items(&alone));
            }
        }
        let mut answers = Vec::new();
        alone.on_persisted(Position(u64::MAX), &mut answers);
        note(&mut expected, &answers);
        for node in [&mut leader, &mut follower] {
            node.commit(node.end(), &mut asked);
        }
        let texts = |all: &Asked| all.values().map(|reply| reply.as_ref().map(text)).collect::<Vec<_>>();
        assert_eq!(texts(&asked), texts(&expected));
        leader.writes.store().check_invariants();
        follower.writes.store().check_invariants();
    }
}

/// Frames travel, leaders change, logs are cut; the committed log is the measure.
#[test]
fn replicas_hold_what_is_committed_whoever_led() {
    let mut rng = Rng::seeded("failovers", 62);
    let (mut cuts, mut taken_over) = (0u64, 0u64);
    for _ in 0..60 {
        let mut nodes: Vec<Node> = (1..=3).map(Node::new).collect();
        let (mut leader, mut epoch, mut naive) = (0, 1, Naive::default());
        let (mut committed, mut op, mut asked) = (0, 0, Asked::new());
        nodes[0].lead(1);
        for _ in 0..80 {
            let now = NOW.after(Duration::from_millis(u64::from(op) * 100));
            if nodes[leader].writes.applied()
                == nodes[leader].log[..committed].last().map_or(Mark::default(), Frame::mark)
            {
                nodes[leader].writes.maintain_replica(now, committed > 0);
            }
            for _ in 0..rng.below(4) {
                let write = draw(&mut rng);
                op += 1;
                nodes[leader].ask_here(now, op, &write.as_write(), &mut asked);
            }
            nodes[leader].end_turn();
            // each follower gets some of what it lacks
            for follower in (0..3).filter(|&follower| follower != leader) {
                let lacks = nodes[leader].log.len() - nodes[follower].log.len();
                for _ in 0..rng.below(lacks as u64 + 1) {
                    let frame = nodes[leader].log[nodes[follower].log.len()].clone();
                    nodes[follower].append(&frame, true);
                }
            }
            let least = nodes.iter().map(|node| node.log.len()).min().expect("three");
            for frame in &nodes[leader].log[committed..least.max(committed)] {
                naive.apply(frame);
                committed += 1;
            }
            let upto = nodes[leader].log[..committed].last().map_or_else(Mark::default, Frame::mark);
            for node in &mut nodes {
                if upto.position > node.writes.applied().position && rng.one_in(2) {
                    node.commit(upto, &mut asked);
                    assert_eq!(items(&node.writes), naive.items);
                }
            }
            if rng.one_in(6) {
                epoch += 1;
                let mut unknown = Vec::new();
                nodes[leader].writes.step_down(&mut unknown);
                leader = rng.below(3) as usize;
                taken_over += u64::from(nodes[leader].log.len() > committed);
                // the others' logs end where they part from the new leader's
                let log = nodes[leader].log.clone();
                for node in nodes.iter_mut().filter(|node| node.number != leader as u64 + 1) {
                    let same = node.log.iter().zip(&log).take_while(|(one, other)| one == other).count();
                    if same < node.log.len() {
                        cuts += 1;
                        node.log.truncate(same);
                        node.writes.truncate(node.end(), &mut unknown);
                    }
                }
                nodes[leader].lead(epoch);
            }
        }
        // everything arrives and is committed
        let log = nodes[leader].log.clone();
        log[committed..].iter().for_each(|frame| naive.apply(frame));
        let mut digests = Vec::new();
        for node in &mut nodes {
            for frame in &log[node.log.len()..] {
                node.append(frame, true);
            }
            let end = node.end();
            if end != node.writes.applied() {
                digests.push(node.commit(end, &mut asked).expect("all is applied"));
            }
            assert_eq!(items(&node.writes), naive.items);
            assert!(node.writes.store().is_unlocked(), "a lock is left");
            node.writes.store().check_invariants();
        }
        assert!(digests.windows(2).all(|two| two[0] == two[1]));
    }
    assert!(cuts > 50 && taken_over > 50, "{cuts} cuts, {taken_over} leaders with prepared entries of others");
}

/// Reads a keystore into a replica and lets the log follow.
fn restore(node: &mut Node, bytes: &[u8]) -> (Mark, Mark) {
    let (mut decoder, mut at, mut start) = (Decoder::new(), 0, Mark::default());
    loop {
        let Step::Piece { piece, consumed } = decoder.step(&bytes[at..]).expect("it was just taken") else {
            panic!("it is whole")
        };
        at += consumed;
        match piece {
            Piece::Header(header) => {
                start = header.start;
                node.writes.begin_restore(&header);
            }
            Piece::Epochs(_) => {}
            Piece::Items(items) => {
                for item in items {
                    assert_eq!(node.writes.restore(&item.expect("an item")), Ok(true));
                }
            }
            Piece::End(end) => {
                node.writes.end_restore(&end);
                return (start, end.consistent);
            }
        }
    }
}

#[test]
fn a_keystore_taken_under_load_and_the_log_behind_its_start_are_the_store() {
    let mut rng = Rng::seeded("snapshot", 63);
    let mut fuzzy = 0;
    for _ in 0..40 {
        let (mut leader, mut learner) = (Node::new(1), Node::new(3));
        let (mut asked, mut op, mut now) = (Asked::new(), 0, NOW);
        leader.lead(1);
        // what the learner holds is of no use, and must leave no trace
        let mut other = Node::new(2);
        other.lead(7);
        for _ in 0..20 {
            op += 1;
            other.ask_here(now, op, &draw(&mut rng).as_write(), &mut asked);
        }
        other.end_turn();
        other.log.iter().for_each(|frame| learner.append(frame, true));
        learner.commit(learner.log[0].mark(), &mut asked);
        let mut turn = |leader: &mut Node, rng: &mut Rng, writes: u64| {
            now = now.after(Duration::from_millis(rng.below(3000)));
            leader.writes.maintain_replica(now, true);
            for _ in 0..rng.below(writes) {
                op += 1;
                leader.ask_here(now, op, &draw(rng).as_write(), &mut asked);
                if rng.one_in(3) {
                    op += 1;
                    let key = format!("many-{}", rng.below(400));
                    leader.ask_here(now, op, &set(&key, op.to_string().as_bytes()), &mut asked);
                }
            }
            leader.end_turn();
            if rng.one_in(2) && leader.end() != leader.writes.applied() {
                leader.commit(leader.end(), &mut asked);
            }
        };
        for _ in 0..rng.below(60) {
            turn(&mut leader, &mut rng, 12);
        }
        let started = leader.writes.applied();
        let history = if started == Mark::default() {
            vec![]
        } else {
            vec![crate::cluster::EpochStart::of(leader.log[0].header())]
        };
        let mut bytes = Vec::new();
        let mut snapshot = leader.writes.begin_snapshot(LogId(5), &history, &mut bytes);
        while leader.writes.go_on_snapshot(&mut snapshot, 300, &mut bytes) {
            turn(&mut leader, &mut rng, 8);
        }
        turn(&mut leader, &mut rng, 8);
        let end = leader.writes.end_snapshot(snapshot, &mut bytes);
        fuzzy += u64::from(end.consistent != started);
        for _ in 0..rng.below(5) {
            turn(&mut leader, &mut rng, 5);
        }
        leader.commit(leader.end(), &mut asked);
        let (start, consistent) = restore(&mut learner, &bytes);
        assert_eq!((start, consistent), (started, end.consistent));
        assert!(learner.writes.store().is_unlocked());
        learner.log.clone_from(&leader.log);
        learner.log.retain(|frame| frame.end() <= start.position);
        for frame in leader.log.iter().filter(|frame| frame.position() >= start.position) {
            learner.append(frame, true);
            if rng.one_in(2) {
                let digest = learner.commit(frame.mark(), &mut Asked::new());
                assert_eq!(digest.is_some(), frame.end() >= consistent.position, "a digest of what nobody has");
            }
        }
        if learner.writes.applied() != learner.end() {
            learner.commit(learner.end(), &mut Asked::new());
        }
        assert_eq!(items(&learner.writes), items(&leader.writes));
        assert_eq!(learner.writes.store().digest_in_full(), leader.writes.store().digest_in_full());
        // a flush that is due is due at both
        let late = NOW.after(Duration::from_seconds(1_000_000));
        learner.writes.lead(Epoch(1), learner.end(), NOW);
        for node in [&mut leader, &mut learner] {
            node.writes.maintain_replica(late, true);
            node.end_turn();
            if node.end() != node.writes.applied() {
                node.commit(node.end(), &mut Asked::new());
            }
        }
        assert_eq!(items(&learner.writes), items(&leader.writes));
        learner.writes.store().check_invariants();
    }
    assert!(fuzzy > 20, "only {fuzzy} were taken under load");
}

#[test]
fn what_finds_no_room_is_applied_later_and_locked_until_then() {
    let (mut leader, mut follower) = pair();
    let (mut asked, value) = (Asked::new(), vec![b'v'; 400 << 10]);
    // so much is rewritten that memory must come back in between, which the follower's reader holds
    let hash = follower.reader.hash(b"key-0");
    let mut later = 0;
    for op in 0..200u32 {
        let key = format!("key-{}", op % 3);
        leader.reader.quiesce();
        leader.writes.maintain_replica(NOW, true);
        leader.ask_here(NOW, op, &set(&key, &value), &mut asked);
        leader.end_turn();
        let frame = leader.log.last().expect("a frame").clone();
        follower.append(&frame, true);
        assert!(leader.commit(leader.end(), &mut asked).is_some());
        let _ = follower.reader.get(hash, b"key-0", NOW.seconds());
        let digest = follower.commit(frame.mark(), &mut Asked::new());
        if digest.is_none() {
            later += 1;
            let locked = follower.reader.hash(key.as_bytes());
            assert!(follower.reader.is_locked(locked), "committed, not applied and not locked");
            assert!(follower.writes.applied().position < frame.mark().position);
            follower.reader.quiesce();
            let digest = follower.writes.apply_committed(&mut Vec::new()).expect("room");
            assert!(digest.is_some(), "the reader has let go of memory");
            assert!(!follower.reader.is_locked(locked));
        }
        follower.writes.maintain_replica(NOW, false);
    }
    assert!(later > 5, "{later} entries had to wait");
    assert!(asked.values().all(Option::is_some));
    assert_eq!(items(&follower.writes), items(&leader.writes));
}

#[test]
fn a_follower_without_memory_says_so() {
    let mut leader = Node::new(1);
    (leader.writes, leader.reader) = writes(16, 1);
    leader.writes.join(crate::log::NodeId(1), crate::log::Incarnation(1));
    let mut follower = Node::new(2);
    leader.lead(1);
    let (mut asked, value) = (Asked::new(), vec![b'v'; 500 << 10]);
    for op in 0..20 {
        let key = format!("key-{op}");
        leader.ask_here(NOW, op, &set(&key, &value), &mut asked);
        leader.end_turn();
    }
    leader.commit(leader.end(), &mut asked);
    leader.log.clone().iter().for_each(|frame| follower.append(frame, true));
    let fault = follower.writes.commit(follower.end(), &mut Vec::new()).expect_err("it has a quarter of the memory");
    assert!(matches!(fault, ReplicaFault::OutOfMemory { index } if index.0 > 2));
    assert!(fault.to_string().contains("-m"), "{fault}");
}

#[test]
fn a_leader_prepares_no_flush_before_what_others_made_is_applied() {
    let (mut leader, mut follower) = pair();
    let mut asked = Asked::new();
    leader.ask_here(NOW, 1, &set("key", b"old"), &mut asked);
    leader.ask_here(NOW, 2, &Write::FlushAll { delay: 0 }, &mut asked);
    leader.ask_here(NOW, 3, &set("key", b"new"), &mut asked);
    leader.end_turn();
    follower.append(&leader.log[1].clone(), true);
    follower.lead(2);
    let (number, request) = follower.forward(4, &Write::FlushAll { delay: 0 });
    asked.insert(4, None);
    assert_eq!(follower.evaluate(NOW, 2, number, request), None);
    let (number, request) = follower.forward(5, &set("other", b"value"));
    asked.insert(5, None);
    assert_eq!(follower.evaluate(NOW, 2, number, request), None);
    follower.end_turn();
    assert_eq!(follower.log.len(), 3, "both wait for what the other leader's frame flushes");
    follower.commit(follower.end(), &mut asked);
    assert_eq!(items(&follower.writes).keys().collect::<Vec<_>>(), [b"key"]);
    assert!(follower.evaluate_held(NOW).is_empty());
    follower.end_turn();
    follower.commit(follower.end(), &mut asked);
    assert_eq!(items(&follower.writes).keys().collect::<Vec<_>>(), [b"other"]);
    assert_eq!([4, 5].map(|op| asked[&op].as_ref().map(text)), [Some("OK\r\n".into()), Some("STORED\r\n".into())]);
}

#[test]
fn a_frame_says_what_was_durable_and_time_never_goes_back() {
    let (mut leader, mut follower) = pair();
    let mut asked = Asked::new();
    leader.writes.on_durable(leader.log[0].end());
    leader.ask_here(NOW.after(Duration::from_seconds(9)), 1, &set("key", b"value"), &mut asked);
    leader.end_turn();
    let frame = leader.log[1].clone();
    assert_eq!(frame.header().start.durable_upto, leader.log[0].end());
    follower.append(&frame, true);
    let later = NOW.after(Duration::from_seconds(9));
    assert_eq!(follower.writes.leader_time(Time(0)), later, "a follower goes by its leader's time");
    follower.lead(2);
    assert_eq!(follower.writes.leader_time(NOW), later, "and leads from there on");
    follower.ask_here(NOW, 2, &set("key", b"value"), &mut asked);
    follower.end_turn();
    assert_eq!(follower.log[3].header().start.time, later);
    assert_eq!(follower.log[3].header().start.durable_upto, Position(0), "its own disk has nothing yet");
}

#[test]
fn what_no_server_sends_is_answered_and_local_commands_stay() {
    let (mut leader, mut follower) = pair();
    let reply = leader.evaluate(NOW, 2, 1, vec![9, 9]).expect("no entry");
    assert!(reply.starts_with(b"SERVER_ERROR"));
    let shared = Shared::new(ServerConfig::default(), 1, NOW);
    let limit = Write::MemoryLimit { megabytes: 16 };
    let placed = leader.writes.place(NOW, &limit, origin(1), &shared, &mut Counters::default());
    assert_eq!(placed, Placed::Answered(crate::proto::Reply::Ok));
    let _ = follower.forward(7, &set("key", b"value"));
    assert_eq!(follower.writes.clients().map(|origin| origin.conn.0).collect::<Vec<_>>(), [7]);
}

#[test]
fn what_is_cut_in_two_steps_leaves_no_lock_behind() {
    let (mut leader, mut follower) = pair();
    for (op, key) in (1..).zip(["a", "b", "c"]) {
        leader.ask_here(NOW, op, &set(key, b"value"), &mut Asked::new());
        leader.end_turn();
    }
    for frame in &leader.log[1..] {
        follower.append(frame, true);
    }
    let is_locked = |follower: &Node, key: &[u8]| follower.reader.is_locked(follower.reader.hash(key));
    follower.writes.truncate(leader.log[2].mark(), &mut Vec::new());
    assert!([&b"a"[..], b"b", b"c"].iter().all(|key| is_locked(&follower, key)), "what is below may be about c too");
    follower.writes.truncate(leader.log[0].mark(), &mut Vec::new());
    assert!(![&b"a"[..], b"b", b"c"].iter().any(|key| is_locked(&follower, key)));
}
