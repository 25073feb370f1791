//! A leader and two followers over links that lose and reorder, in steps of 10 microseconds: everything is committed
//! everywhere, and the bytes that were sent are counted beside those that were needed.

use rand::prelude::*;
use rand::rngs::StdRng;

use super::*;
use crate::cluster::configuration::Incarnation;
use crate::cluster::message::Body;
use crate::config;
use crate::time::Duration;

/// Nanoseconds of a step.
const STEP: u64 = 10_000;

/// How bad a link is.
#[derive(Clone, Copy, Debug)]
struct Link {
    loss: f64,
    /// Share of the messages that take up to `late` steps more.
    reorder: f64,
    late: u64,
    /// Steps on the way otherwise.
    delay: u64,
}

const CLEAN: Link = Link { loss: 0.0, reorder: 0.0, late: 0, delay: 5 };

#[derive(Default)]
struct Count {
    appends: u64,
    /// Bytes of frames in them.
    bytes: u64,
    acks: u64,
}

struct Path {
    rng: StdRng,
    step: u64,
    link: Link,
    /// Steps that a sync takes.
    sync: u64,
    replicas: Vec<Replica>,
    network: BTreeMap<(u64, u64), Message>,
    disks: Vec<VecDeque<(u64, Position, u64)>>,
    lead: (Epoch, Mark),
    commits: Vec<Mark>,
    count: Count,
    sent: u64,
    /// The most that was in a follower's log or kept, and not on its disk.
    behind_max: u64,
}

impl Path {
    fn new(seed: u64, link: Link, sync: u64) -> Self {
        let member = |node| Member { node: NodeId(node), contact: String::new() };
        let configuration = Configuration {
            cluster: CLUSTER,
            epoch: Epoch(1),
            leader: NodeId(1),
            leader_incarnation: Incarnation(1),
            members: (1..=3).map(member).collect(),
            min_insync: 2,
            forced: Epoch(0),
        };
        let mut path = Self {
            rng: StdRng::seed_from_u64(seed),
            step: 100_000,
            link: CLEAN,
            sync: 0,
            replicas: Vec::new(),
            network: BTreeMap::new(),
            disks: vec![VecDeque::new(); 3],
            lead: (Epoch(0), Mark::default()),
            commits: vec![Mark::default(); 3],
            count: Count::default(),
            sent: 0,
            behind_max: 0,
        };
        for node in 1..=3 {
            let mut record = NodeRecord::new(NodeId(node));
            record.configuration = Some(configuration.clone());
            let boot = Boot::empty(record, String::new());
            path.replicas.push(Replica::start(path.now(), boot, &mut Vec::new()));
        }
        for at in (0..3).rev() {
            path.input(at, Input::RecordPersisted { epoch: Epoch(1) });
        }
        path.run(100);
        assert!(path.replicas[0].is_serving());
        (path.link, path.sync, path.count) = (link, sync, Count::default());
        path
    }

    fn now(&self) -> Time {
        Time(self.step * STEP)
    }

    fn run(&mut self, steps: u64) {
        (0..steps).for_each(|_| self.turn());
    }

    fn turn(&mut self) {
        self.step += 1;
        while let Some(entry) = self.network.first_entry().filter(|entry| entry.key().0 <= self.step) {
            let message = entry.remove();
            self.input(message.header.destination.0 as usize - 1, Input::Received { message });
        }
        for at in 0..3 {
            // a sync takes with it what was written before it began
            let mut done = None;
            while let Some((_, upto, cut)) = self.disks[at].pop_front_if(|(due, ..)| *due <= self.step) {
                done = Some((upto, cut));
            }
            if let Some((upto, cut)) = done {
                self.input(at, Input::Persisted { upto, cut });
            }
            if self.step.is_multiple_of(500) {
                self.input(at, Input::Ticked);
            }
        }
    }

    fn input(&mut self, at: usize, input: Input) {
        let mut effects = Vec::new();
        let now = self.now();
        self.replicas[at].step(now, input, &mut effects);
        self.replicas[at].check_invariants();
        for effect in effects {
            match effect {
                Effect::Send { message } if message.header.destination.0 > 0 => self.send(message),
                Effect::Append { frame, cut } => {
                    self.disks[at].push_back((self.step + self.sync, frame.end(), cut));
                    let waits = self.disks[at].front().map_or(frame.end(), |(_, upto, _)| *upto);
                    self.behind_max = self.behind_max.max(frame.end().0 - waits.0);
                }
                Effect::Commit { upto } => self.commits[at] = upto,
                Effect::BecameLeader { epoch, end, .. } => self.lead = (epoch, end),
                Effect::Truncate { .. } => panic!("nothing is cut here"),
                _ => {}
            }
        }
    }

    fn send(&mut self, message: Message) {
        match &message.body {
            Body::Append(append) => {
                self.count.appends += 1;
                self.count.bytes += append.frame.as_ref().map_or(0, |frame| frame.bytes().len() as u64);
            }
            Body::Ack(_) => self.count.acks += 1,
            _ => {}
        }
        if self.rng.random_bool(self.link.loss) {
            return;
        }
        let late = if self.rng.random_bool(self.link.reorder) { self.rng.random_range(0..=self.link.late) } else { 0 };
        self.sent += 1;
        self.network.insert((self.step + self.link.delay + late, self.sent), message);
    }

    fn write(&mut self, value: &[u8]) {
        let (epoch, end) = self.lead;
        let mut builder = FrameBuilder::new();
        builder.begin(FrameStart {
            epoch,
            first_index: LogIndex(end.index.0 + 1),
            position: end.position,
            durable_upto: Position(0),
            time: self.now(),
        });
        builder.push(&Entry::Put { key: b"key", value, flags: 0, expiry: Expiry::NEVER, cas: None, bits: 0 });
        let bytes = builder.take();
        self.lead.1 = Frame::built(bytes.clone()).mark();
        self.input(0, Input::FrameBuilt { bytes });
    }

    /// Writes so many frames, as fast as `WritePlace` allows, and waits until all have all of them; bytes sent for each
    /// byte needed.
    fn amplification(&mut self, frames: u64, every: u64) -> f64 {
        let from = self.lead.1.position.0;
        let mut written = 0;
        let begin = self.step;
        while written < frames || self.commits.iter().any(|commit| commit.position < self.lead.1.position) {
            if written < frames && self.step.is_multiple_of(every) && self.replicas[0].write_place().is_ok() {
                self.write(&[b'v'; 400]);
                written += 1;
            }
            self.turn();
            assert!(self.step - begin < 3_000_000, "it comes to an end: {:?} of {:?}", self.commits, self.lead);
        }
        let needed = 2 * (self.lead.1.position.0 - from);
        self.count.bytes as f64 / needed as f64
    }
}

/// Bad links, what they are called, and what they may cost beside what is lost.
const LINKS: [(&str, Link, f64); 6] = [
    ("nothing wrong", CLEAN, 1.0),
    ("reordered a little", Link { reorder: 0.1, late: 3, ..CLEAN }, 1.05),
    ("reordered much", Link { reorder: 0.5, late: 100, ..CLEAN }, 1.6),
    ("1 % lost", Link { loss: 0.01, ..CLEAN }, 1.05),
    ("10 % lost", Link { loss: 0.1, ..CLEAN }, 1.25),
    ("10 % lost, reordered", Link { loss: 0.1, reorder: 0.3, late: 20, ..CLEAN }, 1.5),
];

#[test]
fn only_what_is_missing_is_sent_again() {
    for (name, link, bound) in LINKS {
        for seed in 0..3 {
            let mut path = Path::new(seed, link, 20);
            let amplification = path.amplification(2000, 1);
            let Count { appends, acks, .. } = path.count;
            println!(
                "{name}, seed {seed}: {amplification:.3} bytes sent for each needed, {appends} appends, {acks} acks"
            );
            assert!(amplification <= bound, "{name}, seed {seed}: {amplification}");
            assert!(amplification >= 1.0, "all of it is sent");
        }
    }
}

#[test]
fn a_last_frame_that_is_lost_is_found_by_asking() {
    let mut path = Path::new(1, CLEAN, 20);
    path.amplification(100, 10);
    path.link.loss = 1.0;
    path.write(b"lost");
    path.run(1);
    path.link.loss = 0.0;
    let begin = path.step;
    while path.commits.iter().any(|commit| commit.position < path.lead.1.position) {
        path.turn();
    }
    let took = Duration((path.step - begin) * STEP);
    assert!(took < Timing::default().beacon, "a probe comes with the next tick: {took:?}");
}

#[test]
fn a_slow_disk_closes_the_window() {
    // a sync takes a second, and 400 MB/s are written meanwhile
    let mut path = Path::new(1, CLEAN, 100_000);
    for _ in 0..5_000 {
        if path.replicas[0].write_place().is_ok() {
            path.write(&[b'v'; 4000]);
        }
        path.turn();
    }
    let bound = config::RECEIVE_BYTES + 5000;
    // the leader's own log is not bounded by this
    assert!(path.lead.1.position.0 > 2 * bound, "{:?}", path.lead);
    for at in 1..3 {
        let end = path.replicas[at].end().position.0;
        assert!(end <= bound && end + 5000 > config::RECEIVE_BYTES, "{end}");
    }
}

#[test]
fn silence_sends_nothing_again() {
    let mut path = Path::new(1, CLEAN, 20);
    path.amplification(100, 10);
    path.link.loss = 1.0;
    (0..20).for_each(|_| path.write(&[b'v'; 400]));
    path.count = Count::default();
    path.run(30_000);
    assert_eq!(path.count.bytes, 0, "for 300 ms nobody answers");
    assert!(path.count.appends < 50, "{} questions", path.count.appends);
}
