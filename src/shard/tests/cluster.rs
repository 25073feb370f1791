//! The same server as the only member of a cluster: its machine's surroundings, and reads that may not be answered.

use std::cell::Cell;
use std::ops::RangeInclusive;
use std::sync::Arc;

use rand::RngExt;

use super::{Effects, Happened, ITEM_BYTES_MAX, Input, Kind, START, World};
use crate::cluster::{Body, Boot, COORDINATOR, Configuration, Effect, Header, Member, Message, NodeRecord, Replica};
use crate::conn::ConnId;
use crate::log::{Epoch, Incarnation, LogId, NodeId};
use crate::node::{Gate, Node};
use crate::proto::reply;
use crate::shard::{ClusterEffects, thread_of};
use crate::time::{Duration, Time};
use crate::writes::Writes;

thread_local! {
    static CLOCK: Cell<Time> = const { Cell::new(START) };
}

/// The clock that shards look at behind a batch.
pub(super) fn clock() -> Time {
    CLOCK.get()
}

pub(super) fn set_clock(now: Time) {
    CLOCK.set(now);
}

const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);

pub(super) fn node(mut writes: Writes, gate: Arc<Gate>, strict_reads: bool) -> (Node, Vec<Effect>) {
    writes.join(ME, Incarnation(1));
    let boot = Boot { strict_reads, ..Boot::empty(NodeRecord::new(ME), "nowhere".into()) };
    let mut said = Vec::new();
    let machine = Replica::start(START, boot, &mut said);
    (Node::new(machine, writes, gate), said)
}

/// The load balancer makes it a cluster of one.
fn announce(min_insync: u8) -> Happened {
    announced(Epoch(1), ME, 1..=1, min_insync)
}

/// Later it has a second member, which leads.
fn announce_other_leader() -> Happened {
    announced(Epoch(2), OTHER, 1..=OTHER.0, 1)
}

/// And later this one is no member any more.
fn announce_without_me() -> Happened {
    announced(Epoch(3), OTHER, OTHER.0..=OTHER.0, 1)
}

fn announced(epoch: Epoch, leader: NodeId, members: RangeInclusive<u64>, min_insync: u8) -> Happened {
    let cluster = LogId(7);
    let members = members.map(|node| Member { node: NodeId(node), contact: "nowhere".into() });
    let configuration = Configuration {
        cluster,
        epoch,
        leader,
        leader_incarnation: Incarnation(1),
        members: members.collect(),
        min_insync,
        forced: Epoch(0),
    };
    let header = Header {
        cluster,
        epoch,
        source: COORDINATOR,
        source_incarnation: Incarnation(1),
        destination: ME,
        destination_incarnation: Incarnation(1),
    };
    Happened::Received { message: Message { header, body: Body::Announce(configuration) } }
}

impl World {
    /// The rest of a turn of thread 0: the disk in its time, the clock, and at some time a configuration.
    pub(super) fn cluster_turn(&mut self, effects: &mut Effects) {
        self.now = self.now.after(Duration(self.rng.random_range(0..2_000_000)));
        set_clock(self.now);
        if self.rng.random_bool(0.2) {
            self.shards[0].cluster_input(self.now, announce(1), effects);
        }
        if self.rng.random_bool(0.5) {
            for _ in 0..self.rng.random_range(0..=self.disk.len()) {
                let happened = self.disk.pop_front().expect("as many as there are");
                self.shards[0].cluster_input(self.now, happened, effects);
            }
        }
        if self.rng.random_bool(0.3) {
            self.shards[0].cluster_tick(self.now, effects);
        }
        self.finish_turn(effects);
    }

    fn finish_turn(&mut self, effects: &mut Effects) {
        loop {
            self.tell_disk(effects);
            self.shards[0].step_on(self.now, [].into_iter(), effects);
            if effects.cluster.effects.is_empty() {
                return;
            }
        }
    }

    /// The disk is told; it answers later.
    pub(super) fn tell_disk(&mut self, effects: &mut Effects) {
        for effect in effects.cluster.effects.drain(..) {
            match effect {
                Effect::Persist { record } => {
                    self.disk.push_back(Happened::RecordPersisted { epoch: record.epoch() });
                }
                Effect::Append { frame, cut } => {
                    self.disk.push_back(Happened::Persisted { upto: frame.end(), cut });
                }
                _ => {}
            }
        }
    }

    pub(super) fn carry_out_for_cluster(&mut self, cluster: ClusterEffects) {
        let forgets = !cluster.unknown.is_empty() && self.shards[0].stopping.is_none();
        assert!(cluster.fault.is_none() && !forgets, "one server forgets nothing");
        for &origin in &cluster.unknown {
            self.mail[usize::from(origin.shard)].push(Input::Unknown { origin });
        }
        let mut effects = Effects { cluster, ..Effects::default() };
        self.tell_disk(&mut effects);
        self.mail[0].extend(effects.cluster.asks.into_iter().map(|ticket| Input::ReadsAsked { ticket }));
        for (ticket, allowed) in effects.cluster.answers {
            self.mail[thread_of(ticket)].push(Input::ReadsAnswered { allowed });
        }
        for thread in effects.cluster.wakes {
            self.mail[thread].push(Input::Unlocked);
        }
    }

    /// A server in a cluster becomes its leader: before that it refuses reads.
    pub(super) fn found(&mut self) {
        while self.shards[0].node().is_some_and(|node| !node.machine().is_serving()) {
            let mut effects = Effects::default();
            self.cluster_turn(&mut effects);
            self.carry_out(0, effects);
        }
    }

    /// One client on one thread, whose bytes are here.
    fn asks(kind: Kind, input: &str) -> Self {
        let mut world = Self::new(1, 1, kind);
        world.connect(Vec::new());
        world.give(input.as_bytes());
        world
    }

    /// Another leads, to whom a client's write was sent on; nothing comes back, and the server stops.
    fn stops_with_a_write_sent_on() -> Self {
        let mut world = Self::asks(LEASE, "");
        world.settle(1);
        world.turn_at(world.now, vec![announce_other_leader()]);
        world.sync();
        world.give(b"set k 0 0 1\r\nv\r\n");
        assert_eq!(world.turn_at(world.now, vec![]), "");
        world.step(vec![Input::Stopping]);
        world
    }

    /// A turn at an instant, with some of what may happen.
    fn turn_at(&mut self, now: Time, happened: Vec<Happened>) -> String {
        self.now = now;
        set_clock(now);
        let (mut happened, mut again) = (happened, true);
        while again {
            let mut effects = Effects::default();
            let shard = &mut self.shards[0];
            happened.drain(..).for_each(|one| shard.cluster_input(now, one, &mut effects));
            shard.cluster_tick(now, &mut effects);
            let sent = self.clients[0].sending.take().map(|buffer| Input::Sent { conn: ConnId(0), buffer });
            self.shards[0].step(now, sent.into_iter(), &mut effects);
            self.finish_turn(&mut effects);
            again = effects.again;
            self.carry_out(0, effects);
        }
        String::from_utf8_lossy(&self.clients[0].output).into_owned()
    }

    /// Turns in which the disk does at once what it is told.
    fn settle(&mut self, min_insync: u8) -> String {
        self.turn_at(self.now, vec![]);
        self.sync();
        self.turn_at(self.now, vec![announce(min_insync)]);
        while !self.disk.is_empty() {
            self.sync();
        }
        self.turn_at(self.now, vec![])
    }

    fn sync(&mut self) -> String {
        let done = self.disk.drain(..).collect();
        self.turn_at(self.now, done)
    }
}

const LEASE: Kind = Kind::Cluster { strict_reads: false };

#[test]
fn reads_and_writes_wait_for_a_leader() {
    let mut world = World::asks(LEASE, "set k 0 0 1\r\nv\r\nget k\r\n");
    assert_eq!(world.turn_at(START, vec![]), "");
    assert_eq!(world.settle(1), "STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n");
}

#[test]
fn they_do_not_wait_for_ever() {
    let mut world = World::asks(LEASE, "set k 0 0 1\r\nv\r\n");
    assert_eq!(world.turn_at(START, vec![]), "");
    let later = START.after(Duration::from_millis(10_000));
    assert_eq!(world.turn_at(later, vec![]), format!("{}\r\n", reply::NO_LEADER));
    let mut world = World::asks(LEASE, "get a b\r\nversion\r\nget c\r\n");
    world.turn_at(START, vec![]);
    let (refused, output) = (reply::NO_LEASE, world.turn_at(START, vec![]));
    assert_eq!(output, format!("{refused}\r\nVERSION {}\r\n{refused}\r\n", crate::config::MEMCACHED_VERSION));
}

#[test]
fn nothing_waits_for_a_leader_at_a_server_that_stops() {
    let mut world = World::asks(LEASE, "set k 0 0 1\r\nv\r\n");
    assert_eq!(world.turn_at(START, vec![]), "");
    world.step(vec![Input::Stopping]);
    assert_eq!(world.turn_at(START, vec![]), format!("{}\r\n", reply::NO_LEADER));
    world.turn_at(START, vec![]);
    assert!(world.clients[0].closed && world.shards[0].is_drained());
}

#[test]
fn what_a_server_that_stops_has_sent_on_ends_with_its_client_s_connection() {
    let mut world = World::stops_with_a_write_sent_on();
    world.turn_at(world.now, vec![]);
    assert!(!world.clients[0].closed, "it may come soon");
    let later = world.now.after(crate::config::STOP_FORWARDS_PATIENCE);
    assert_eq!(world.turn_at(later, vec![]), "");
    world.step(vec![]);
    assert!(world.clients[0].closed, "nobody can say any more what became of it");
}

#[test]
fn a_server_that_stops_and_is_no_member_any_more_waits_for_no_time_out() {
    let mut world = World::stops_with_a_write_sent_on();
    world.turn_at(world.now, vec![announce_without_me()]);
    world.sync();
    world.step(vec![]);
    assert!(world.clients[0].closed, "nobody will ever say here what became of it");
}

#[test]
fn too_few_servers_take_no_write_and_answer_reads() {
    let mut world = World::asks(LEASE, "set k 0 0 1\r\nv\r\nget k\r\nset k 0 0 1 noreply\r\nv\r\nincr k 1\r\n");
    assert_eq!(world.settle(2), format!("{0}\r\nEND\r\n{0}\r\n", reply::TOO_FEW_SERVERS));
}

#[test]
fn a_thread_that_was_stopped_behind_its_values_takes_them_back() {
    let mut world = World::asks(LEASE, "set k 0 0 1\r\nv\r\n");
    assert_eq!(world.settle(1), "STORED\r\n");
    let gate = Arc::new(Gate::new(1, false));
    gate.publish(Some(world.now.after(Duration(5))), world.now, true);
    world.shards[0].join(Arc::clone(&gate), clock);
    world.give(b"get k\r\n");
    world.turn_at(world.now, vec![]);
    assert_eq!(String::from_utf8_lossy(&world.clients[0].output), "STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n");
    gate.publish(Some(world.now.after(Duration(5))), world.now, true);
    // the clock that comes last is behind the deadline
    set_clock(world.now.after(Duration(5)));
    world.give(b"get k\r\nget l k\r\n");
    let before = "STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n";
    assert_eq!(String::from_utf8_lossy(&world.clients[0].output), before, "what may be old is not told");
    // the machine was asked and has a lease
    let now = world.now.after(Duration(5));
    gate.publish(Some(now.after(Duration(5))), now, true);
    let after = "VALUE k 0 1\r\nv\r\nEND\r\nVALUE k 0 1\r\nv\r\nEND\r\n";
    assert_eq!(world.turn_at(now, vec![]), format!("{before}{after}"));
    gate.publish(Some(now.after(Duration(5))), now, true);
    set_clock(now.after(Duration(5)));
    world.give(b"get k\r\nset k 0 0 1\r\nw\r\n");
    assert!(world.clients[0].closed, "what was done besides cannot be taken back");
    assert_eq!(world.clients[0].output.len(), before.len() + after.len());
}

#[test]
fn a_large_item_is_refused_in_its_place() {
    let size = ITEM_BYTES_MAX + 1;
    let input = format!("set a 0 0 1\r\n1\r\nset b 0 0 {size}\r\n{}\r\nincr a 1\r\n", "x".repeat(size));
    let mut world = World::asks(LEASE, &input);
    assert_eq!(world.settle(1), "STORED\r\nSERVER_ERROR object too large for cache\r\n2\r\n");
    assert_eq!(world.clients[0].conn, ConnId(0));
}
