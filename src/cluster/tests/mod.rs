//! Short scenarios of a small cluster: one clock, a network of fixed delay whose links can be cut, disks that always work.
//! The large simulator with all faults is `tests/sim`.

mod catch_up;
mod doubt;
mod flow;
mod founding;
mod full;
mod operator;
mod random;
mod reads;
mod scenarios;
mod streams;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::configuration::{Epoch, Incarnation, LogId, LogIndex, NodeId, Position};
use super::*;
use streams::{Keystore, Stream};

use crate::log::{Entry, FrameBuilder, FrameStart, Origin};
use crate::time::{Expiry, Time};

const STEP: u64 = 1_000_000;
const CLUSTER: LogId = LogId(77);

/// What a server has besides its machine.
#[derive(Default)]
struct Host {
    replica: Option<Replica>,
    record: Option<NodeRecord>,
    /// What is on its disk; the last `volatile` are not yet.
    frames: Vec<Frame>,
    /// Frame ends that become durable at a time.
    writing: VecDeque<(u64, Position, u64)>,
    records: VecDeque<(u64, NodeRecord)>,
    durable: Position,
    applied: Mark,
    /// The data as it was when the log was shortened, or as a snapshot brought it.
    keystore: Option<Keystore>,
    /// What `TakeSnapshot` or `RefuseSnapshot` said to the newest offer.
    taken: Option<bool>,
    /// Where its log was cut.
    cuts: Vec<Mark>,
    /// Its disk is full.
    full: bool,
    data: BTreeMap<Vec<u8>, Vec<u8>>,
    locks: BTreeMap<Vec<u8>, u32>,
    /// The write path's view, while it leads.
    lead: Option<(Epoch, Mark)>,
    done: Vec<(u64, Outcome)>,
    allowed: Vec<u64>,
    refused: Vec<u64>,
    reports: Vec<Report>,
    /// Of a log that was written before it was in a cluster.
    log_id: Option<LogId>,
}

struct World {
    now: u64,
    rules: Rules,
    timing: Timing,
    strict_reads: bool,
    hosts: BTreeMap<u64, Host>,
    coordinator: Option<Coordinator>,
    coordinator_record: Option<Configuration>,
    coordinator_writing: VecDeque<(u64, Configuration)>,
    /// Under way: when it arrives, in what order it was sent, what.
    network: BTreeMap<(u64, u64), Message>,
    sent: u64,
    cut: BTreeSet<(u64, u64)>,
    streams: Vec<Stream>,
    force_refused: Vec<ForceRefusal>,
    /// Servers that were not let in: the cluster's id, and theirs.
    refused_servers: Vec<(NodeId, LogId, LogId)>,
    /// What a server said that is ahead of the coordinator.
    ahead: Option<Epoch>,
    /// Committed frames by position, as first seen.
    committed: BTreeMap<u64, Frame>,
}

impl World {
    fn new(rules: Rules) -> Self {
        Self::with(rules, Timing::default())
    }

    fn with(rules: Rules, timing: Timing) -> Self {
        let mut world = Self {
            now: 1_000_000_000,
            rules,
            timing,
            strict_reads: false,
            hosts: BTreeMap::new(),
            coordinator: None,
            coordinator_record: None,
            coordinator_writing: VecDeque::new(),
            network: BTreeMap::new(),
            sent: 0,
            cut: BTreeSet::new(),
            streams: Vec::new(),
            force_refused: Vec::new(),
            refused_servers: Vec::new(),
            ahead: None,
            committed: BTreeMap::new(),
        };
        world.start_coordinator();
        world
    }

    /// A cluster of servers 1 to `servers`, all of them members, the first leads.
    fn of(servers: u64, rules: Rules) -> Self {
        Self::new(rules).grown_to(servers)
    }

    fn grown_to(self, servers: u64) -> Self {
        let mut world = self;
        for node in 1..=servers {
            world.start(node);
            world.run(300);
        }
        world.run(1000);
        assert_eq!(world.members(), (1..=servers).collect::<Vec<_>>());
        world
    }

    fn now(&self) -> Time {
        Time(self.now)
    }

    fn start_coordinator(&mut self) {
        let record = self.coordinator_record.clone();
        let boot = CoordinatorBoot { record, fresh: CLUSTER, min_insync: 2, timing: self.timing, rules: self.rules };
        self.coordinator = Some(Coordinator::start(self.now(), boot));
    }

    fn start(&mut self, node: u64) {
        self.start_with(node, Doubt::None);
    }

    /// A server starts, with what its shell found at that.
    fn start_with(&mut self, node: u64, doubt: Doubt) {
        let host = self.hosts.entry(node).or_default();
        host.frames.retain(|frame| frame.end() <= host.durable);
        let keystore = host.keystore.clone().unwrap_or_default();
        let Snapshot { start, consistent, mut history, last_time } = keystore.snapshot;
        for frame in &host.frames {
            let start = EpochStart::of(frame.header());
            if history.last().is_none_or(|last: &EpochStart| last.epoch < start.epoch) {
                history.push(start);
            }
        }
        let boot = Boot {
            record: host.record.clone().unwrap_or(NodeRecord::new(NodeId(node))),
            contact: format!("10.0.0.{node}"),
            log_id: host.log_id.filter(|_| host.record.is_none()).unwrap_or(LogId(0)),
            history,
            end: host.frames.last().map_or(start, Frame::mark),
            last_time: host.frames.last().map_or(last_time, |frame| frame.header().start.time),
            applied: start,
            consistent,
            doubt,
            timing: self.timing,
            strict_reads: self.strict_reads,
            whole_bytes: usize::MAX,
            rules: self.rules,
        };
        *host = Host {
            record: host.record.take(),
            frames: std::mem::take(&mut host.frames),
            durable: host.durable,
            full: host.full,
            applied: start,
            keystore: host.keystore.take(),
            data: keystore.data,
            log_id: host.log_id,
            ..Host::default()
        };
        let mut effects = Vec::new();
        host.replica = Some(Replica::start(Time(self.now), boot, &mut effects));
        self.carry_out(node, effects);
    }

    /// The process is gone, whatever was not durable too. Those who hold a lifeline to it see its end.
    fn kill(&mut self, node: u64, seen: bool) {
        let host = self.hosts.get_mut(&node).expect("it was started");
        let replica = host.replica.take().expect("it runs");
        (host.writing, host.records) = (VecDeque::new(), VecDeque::new());
        if !seen {
            return;
        }
        let (name, incarnation) = (NodeId(node), replica.incarnation());
        let others: Vec<u64> = self.hosts.keys().copied().collect();
        for other in others {
            self.input(other, Input::LifelineEnded { node: name, incarnation });
        }
        self.tell_coordinator(CoordinatorInput::LifelineEnded { node: name, incarnation });
    }

    fn cut_off(&mut self, node: u64, from: &[u64]) {
        for &other in from {
            self.cut.insert((node, other));
            self.cut.insert((other, node));
        }
    }

    fn run(&mut self, millis: u64) {
        for _ in 0..millis {
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.now += STEP;
        while let Some(entry) = self.network.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let message = entry.remove();
            self.deliver(message);
        }
        self.move_streams();
        let nodes: Vec<u64> = self.hosts.keys().copied().collect();
        for node in nodes {
            self.disk(node);
            if self.now.is_multiple_of(5 * STEP) {
                self.input(node, Input::Ticked);
            }
        }
        if let Some((_, configuration)) = self.coordinator_writing.pop_front_if(|(at, _)| *at <= self.now) {
            let epoch = configuration.epoch;
            self.coordinator_record = Some(configuration);
            self.tell_coordinator(CoordinatorInput::Persisted { epoch });
        }
        if self.now.is_multiple_of(5 * STEP) {
            self.tell_coordinator(CoordinatorInput::Ticked);
        }
    }

    fn disk(&mut self, node: u64) {
        let now = self.now;
        let host = self.hosts.get_mut(&node).expect("it was started");
        // one sync for all that was written before it
        let mut written = None;
        while let Some((_, upto, cut)) = host.writing.pop_front_if(|(at, ..)| *at <= now) {
            written = Some((upto, cut));
        }
        if let Some((upto, cut)) = written {
            host.durable = host.durable.max(upto);
            self.input(node, Input::Persisted { upto, cut });
        }
        let host = self.hosts.get_mut(&node).expect("it was started");
        if let Some((_, record)) = host.records.pop_front_if(|(at, _)| *at <= now) {
            let epoch = record.epoch();
            host.record = Some(record);
            self.input(node, Input::RecordPersisted { epoch });
        }
    }

    fn deliver(&mut self, message: Message) {
        let (from, to) = (message.header.source.0, message.header.destination.0);
        if self.cut.contains(&(from, to)) {
        } else if to == 0 {
            self.tell_coordinator(CoordinatorInput::Received { message });
        } else {
            self.input(to, Input::Received { message });
        }
    }

    fn send(&mut self, message: Message) {
        let delay = 1 + (self.sent % 3) / 2;
        self.network.insert((self.now + delay * STEP, self.sent), message);
        self.sent += 1;
    }

    fn tell_coordinator(&mut self, input: CoordinatorInput) {
        let now = self.now();
        let Some(coordinator) = &mut self.coordinator else { return };
        let mut effects = Vec::new();
        coordinator.step(now, input, &mut |_| 0, &mut effects);
        coordinator.check_invariants();
        for effect in effects {
            match effect {
                CoordinatorEffect::Persist { configuration } => {
                    self.coordinator_writing.push_back((self.now + 2 * STEP, configuration));
                }
                CoordinatorEffect::Send { message } => self.send(message),
                CoordinatorEffect::ForceRefused { why, .. } => self.force_refused.push(why),
                CoordinatorEffect::ServerAhead { epoch, .. } => self.ahead = Some(epoch),
                CoordinatorEffect::RefusedServer { node, ours, theirs } => {
                    self.refused_servers.push((node, ours, theirs));
                }
                CoordinatorEffect::Watch { .. } => {}
            }
        }
    }

    fn input(&mut self, node: u64, input: Input) {
        let now = self.now();
        let Some(replica) = self.hosts.get_mut(&node).and_then(|host| host.replica.as_mut()) else { return };
        let mut effects = Vec::new();
        replica.step(now, input, &mut effects);
        replica.check_invariants();
        self.carry_out(node, effects);
    }

    fn carry_out(&mut self, node: u64, effects: Vec<Effect>) {
        let mut refused = None;
        for effect in effects {
            let now = self.now;
            let host = self.hosts.get_mut(&node).expect("it was started");
            match effect {
                Effect::Persist { record } => host.records.push_back((now + STEP, record)),
                Effect::Send { message } => self.send(message),
                Effect::Append { cut, .. } if host.full => {
                    let written = host.frames.last().map_or(host.durable, Frame::end);
                    refused = Some(Input::Refused { written, cut });
                }
                Effect::Append { frame, cut } => {
                    host.writing.push_back((now + STEP, frame.end(), cut));
                    host.frames.push(frame);
                }
                Effect::Truncate { to, cut } => {
                    host.cuts.push(to);
                    for frame in host.frames.extract_if(.., |frame| frame.end() > to.position) {
                        unlock(&mut host.locks, &frame);
                    }
                    host.writing.clear();
                    host.durable = host.durable.min(to.position);
                    if let Some(end) = host.frames.last().map(Frame::end).filter(|end| *end > host.durable) {
                        // what was being written below the cut still is
                        host.writing.push_back((now + STEP, end, cut));
                    }
                }
                Effect::LockKeys { frame } => {
                    for key in keys(&frame) {
                        *host.locks.entry(key).or_default() += 1;
                    }
                }
                Effect::Commit { upto } => self.apply(node, upto),
                Effect::BecameLeader { epoch, end, .. } => host.lead = Some((epoch, end)),
                Effect::SteppedDown => host.lead = None,
                Effect::Forwarded { origin, request } => self.evaluate(node, Some(origin), &request),
                Effect::ForwardDone { number, outcome } => host.done.push((number, outcome)),
                Effect::ReadAllowed { ticket, .. } => host.allowed.push(ticket),
                Effect::ReadRefused { ticket, .. } => host.refused.push(ticket),
                Effect::ReadLog { node: to, from, .. } => {
                    let there = host.frames.iter().any(|frame| frame.position() == from.position);
                    let wanted = host.frames.iter().filter(|frame| there && frame.position() >= from.position);
                    let frames = wanted.take(4).cloned().collect();
                    self.input(node, Input::LogRead { node: to, from, frames });
                }
                Effect::SendSnapshot { offer } => {
                    let start = host.applied;
                    let history = host.replica.as_ref().expect("it runs").epochs_below(start.position);
                    self.streams.push(Stream::new(offer, start, history, self.now()));
                }
                Effect::TakeSnapshot => host.drop_all(),
                Effect::RefuseSnapshot => host.taken = Some(false),
                Effect::Report(report) => host.reports.push(report),
                Effect::ForwardTaken { .. } | Effect::Watch { .. } => {}
            }
        }
        if let Some(input) = refused {
            self.input(node, input);
        }
    }

    fn apply(&mut self, node: u64, upto: Mark) {
        let host = self.hosts.get_mut(&node).expect("it was started");
        let from = std::mem::replace(&mut host.applied, upto).position;
        for frame in host.frames.iter().filter(|frame| frame.position() >= from && frame.end() <= upto.position) {
            let first = self.committed.entry(frame.position().0).or_insert_with(|| frame.clone());
            assert!(first == frame, "server {node} commits {frame:?}, another committed {first:?}");
            unlock(&mut host.locks, frame);
            for entry in frame.view().entries() {
                if let (_, Entry::Put { key, value, .. }) = entry.expect("it was made right") {
                    host.data.insert(key.to_vec(), value.to_vec());
                }
            }
        }
        let mut digest = 0_u64;
        for (key, value) in &host.data {
            for &byte in key.iter().chain(value) {
                digest = digest.rotate_left(5) ^ u64::from(byte).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            }
        }
        self.input(node, Input::Applied { digest: Digest { position: upto.position, digest } });
    }

    /// `key=value` is stored; `+key` appends one to what is committed or nothing; `?key` changes nothing.
    fn evaluate(&mut self, node: u64, origin: Option<Origin>, request: &[u8]) {
        let now = self.now();
        let host = self.hosts.get_mut(&node).expect("it was started");
        let Some((epoch, end)) = host.lead else { return };
        let text = String::from_utf8(request.to_vec()).expect("a text");
        if let Some(key) = text.strip_prefix('?') {
            let reply = host.data.get(key.as_bytes()).cloned().unwrap_or_default();
            let origin = origin.expect("only forwarded ones");
            return self.input(node, Input::ForwardAnswered { origin, reply });
        }
        let (key, value) = match text.strip_prefix('+') {
            Some(key) => {
                let frames = host.frames.iter().filter(|frame| frame.position() >= host.applied.position);
                let prepared = frames.flat_map(keys).filter(|prepared| prepared == key.as_bytes()).count();
                let stored = host.data.get(key.as_bytes()).map_or(0, Vec::len);
                (key.to_owned(), "x".repeat(stored + prepared + 1))
            }
            None => text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).expect("key=value"),
        };
        let entry = Entry::Put {
            key: key.as_bytes(),
            value: value.as_bytes(),
            flags: 0,
            expiry: Expiry::NEVER,
            cas: None,
            bits: 0,
        };
        let mut builder = FrameBuilder::new();
        builder.begin(FrameStart {
            epoch,
            first_index: LogIndex(end.index.0 + 1),
            position: end.position,
            durable_upto: Position(0),
            time: now,
        });
        match origin {
            Some(origin) => builder.push_from(&origin, &entry),
            None => builder.push(&entry),
        };
        let bytes = builder.take();
        host.lead = Some((epoch, Frame::built(bytes.clone()).mark()));
        self.input(node, Input::FrameBuilt { bytes });
    }

    /// A client's write at `node`, at the leader or through a follower.
    fn write(&mut self, node: u64, request: &str) -> Result<WritePlace, WriteRefusal> {
        let place = self.replica(node).write_place()?;
        match place {
            WritePlace::Here => self.evaluate(node, None, request.as_bytes()),
            WritePlace::Leader => self.input(node, Input::ForwardAsked { request: request.as_bytes().to_vec() }),
        }
        Ok(place)
    }

    /// A client's read at `node`: the value, or nothing when it may not be read now.
    fn read(&self, node: u64, key: &str) -> Option<&str> {
        let host = &self.hosts[&node];
        let deadline = self.replica(node).read_deadline()?;
        let locked = host.locks.contains_key(key.as_bytes());
        let value = host.data.get(key.as_bytes()).map_or("", |value| std::str::from_utf8(value).expect("a text"));
        (self.now() < deadline && !locked).then_some(value)
    }

    fn replica(&self, node: u64) -> &Replica {
        self.hosts[&node].replica.as_ref().expect("it runs")
    }

    fn members(&self) -> Vec<u64> {
        let record = self.coordinator_record.as_ref().expect("a cluster was founded");
        record.nodes().map(|node| node.0).collect()
    }

    fn leader(&self) -> u64 {
        self.coordinator_record.as_ref().expect("a cluster was founded").leader.0
    }

    fn epoch(&self) -> u64 {
        self.coordinator_record.as_ref().expect("a cluster was founded").epoch.0
    }

    /// What each running server has under `key`, without asking whether it may be read.
    fn stored(&self, key: &str) -> Vec<String> {
        let running = self.hosts.values().filter(|host| host.replica.is_some());
        let value = |host: &Host| host.data.get(key.as_bytes()).cloned().unwrap_or_default();
        running.map(|host| String::from_utf8(value(host)).expect("a text")).collect()
    }
}

fn keys(frame: &Frame) -> Vec<Vec<u8>> {
    let entries = frame.view().entries();
    entries
        .filter_map(|entry| match entry.expect("it was made right").1 {
            Entry::Put { key, .. } => Some(key.to_vec()),
            _ => None,
        })
        .collect()
}

fn unlock(locks: &mut BTreeMap<Vec<u8>, u32>, frame: &Frame) {
    for key in keys(frame) {
        if let Some(count) = locks.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                locks.remove(&key);
            }
        }
    }
}
