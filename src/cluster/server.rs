//! What a server is whatever its role: its identity, its log, its promise, what it knows of others, and how it speaks.

use std::collections::{BTreeMap, VecDeque};

use super::configuration::{
    COORDINATOR, Configuration, Doubt, Epoch, Incarnation, LogId, NodeId, NodeRecord, Position,
};
use super::effect::{Boot, Effect, Report, Snapshot};
use super::forwards::Forwards;
use super::journal::Journal;
use super::lease::{Promise, Timing};
use super::message::{Body, Digest, Header, Message};
use super::reads::Reads;
use super::rules::{Rule, Rules};
use crate::config;
use crate::time::Time;

/// See the module.
#[derive(Clone, Debug)]
pub struct Server {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub contact: String,
    /// Of a log that was written outside of any cluster; 0 without one.
    log_id: LogId,
    pub timing: Timing,
    pub rules: Rules,
    pub strict_reads: bool,
    /// A larger frame leaves in pieces.
    pub whole_bytes: usize,
    /// The newest configuration that is durable here.
    pub configuration: Option<Configuration>,
    pub journal: Journal,
    pub forwards: Forwards,
    pub reads: Reads,
    /// Not to take over from the leader (R16).
    pub promise: Promise,
    /// The coordinator was told that the promise has ended: no more of them in this epoch.
    pub withdrawn: bool,
    /// When the configuration was adopted.
    pub adopted: Time,
    /// Why log or data may not be what was acked; not compared with a leader's yet.
    pub doubt: Doubt,
    /// The data is exact only when the log is applied up to here.
    pub consistent: Position,
    /// Data and log were dropped for a snapshot that is not installed yet.
    pub dropped: bool,
    /// What was found at the start is cut off on the disk when the record says why.
    cut_at_start: bool,
    /// When the disk was last given what it had no room for.
    retried: Time,
    /// Being made durable. Invariant: of a later epoch than `configuration`.
    pub adopting: Option<Configuration>,
    /// Records that are being made durable, oldest first.
    persisting: VecDeque<(Epoch, Doubt)>,
    /// What the record on the disk says.
    durable_doubt: Doubt,
    /// The leader's digest that is to be compared when the own store is there.
    expected: Option<Digest>,
    /// The newest incarnation heard of each server (R6).
    pub incarnations: BTreeMap<NodeId, Incarnation>,
    /// Digests of the own store, newest last.
    pub digests: VecDeque<Digest>,
}

impl Server {
    pub fn new(now: Time, boot: Boot) -> Self {
        let Boot { record, contact, log_id, history, end, last_time, applied, consistent, doubt, .. } = boot;
        let Boot { timing, strict_reads, whole_bytes, rules, .. } = boot;
        assert!(contact.len() <= config::CONTACT_BYTES_MAX, "the shell knows the bound");
        assert!(record.node != COORDINATOR, "0 is the coordinator's name");
        let cut_at_start = matches!(doubt, Doubt::Tail | Doubt::Corruption);
        let found = doubt.max(record.doubt);
        // D1: what lies below a watermark had been acked, so a log that lacks it is compared before it leads
        let doubt = if found == Doubt::Corruption && !rules.hold(Rule::D1) { Doubt::None } else { found };
        let mut promise = Promise::default();
        // R22: promises are not durable, so a restarted server behaves as if it had made one when it stopped
        if record.configuration.is_some() && rules.hold(Rule::R22) {
            promise.make(now, timing.promise(rules));
        }
        Self {
            node: record.node,
            incarnation: Incarnation(record.incarnation.0 + 1),
            contact,
            log_id,
            timing,
            rules,
            strict_reads,
            whole_bytes,
            configuration: record.configuration,
            journal: Journal::new(history, end, applied, last_time),
            forwards: Forwards::default(),
            reads: Reads::default(),
            promise,
            withdrawn: false,
            adopted: now,
            doubt,
            consistent: consistent.position,
            dropped: false,
            cut_at_start,
            retried: Time(0),
            adopting: None,
            persisting: VecDeque::new(),
            durable_doubt: record.doubt,
            expected: None,
            incarnations: BTreeMap::new(),
            digests: VecDeque::new(),
        }
    }

    /// Makes what the record says now durable: whatever it says, never an older configuration than one under way.
    pub fn persist(&mut self, effects: &mut Vec<Effect>) {
        let configuration = self.adopting.as_ref().or(self.configuration.as_ref()).cloned();
        let Self { node, incarnation, doubt, .. } = *self;
        let record = NodeRecord { node, incarnation, configuration, doubt };
        self.persisting.push_back((record.epoch(), doubt));
        effects.push(Effect::Persist { record });
    }

    /// The oldest of the records that were under way is durable.
    pub fn on_record_persisted(&mut self, epoch: Epoch, effects: &mut Vec<Effect>) {
        let (of, doubt) = self.persisting.pop_front().expect("a record was being made durable");
        assert!(of == epoch, "records are made durable in their order");
        self.durable_doubt = doubt;
        if std::mem::take(&mut self.cut_at_start) {
            self.journal.truncate(self.journal.end(), effects);
        }
    }

    /// From now on its log or data is doubted, whatever happens to it.
    pub fn suspect(&mut self, doubt: Doubt, effects: &mut Vec<Effect>) {
        if self.doubt < doubt {
            self.doubt = doubt;
            self.persist(effects);
            effects.push(Effect::Report(Report::Doubted { doubt }));
        }
    }

    /// It has all that is committed, exactly.
    pub fn trust(&mut self, effects: &mut Vec<Effect>) {
        if self.doubt != Doubt::None {
            self.doubt = Doubt::None;
            self.persist(effects);
            effects.push(Effect::Report(Report::Trusted));
        }
    }

    /// D4: whether there is space now is seen by trying, now and then.
    pub fn retry_disk(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.journal.is_refused() && now.since(self.retried) >= self.timing.beacon {
            self.retried = now;
            self.journal.retry(effects);
        }
    }

    /// Its leader calls `commit` committed, its log is the leader's up to `agreed`: whether that ends a doubt (D1, D2). What
    /// was acked before this epoch is below the epoch's no-op, what was acked in it is below what its leader commits.
    pub fn compare_log(&mut self, commit: Position, agreed: bool, effects: &mut Vec<Effect>) {
        let own = self.journal.commit();
        let complete = agreed && self.journal.durable() >= commit && own.epoch == self.epoch() && self.is_exact();
        if complete && self.doubt != Doubt::Data {
            self.trust(effects);
        }
    }

    /// Whether the store holds what the log says up to its commit, and nothing else.
    pub const fn is_exact(&self) -> bool {
        self.journal.commit().position.0 >= self.consistent.0
    }

    /// Whether nothing of it counts and only a snapshot helps. A member has acked what it has, and keeps it until the others
    /// have left it out.
    pub fn is_lost(&self) -> bool {
        let member = self.configuration.as_ref().is_none_or(|configuration| configuration.has(self.node));
        self.dropped || (self.doubt == Doubt::Data && self.durable_doubt == Doubt::Data && !member)
    }

    /// A snapshot is on the disk in place of everything before it.
    pub fn install(&mut self, snapshot: Snapshot, effects: &mut Vec<Effect>) {
        let Snapshot { start, consistent, history, last_time } = snapshot;
        self.journal = self.journal.replaced(history, start, last_time);
        (self.consistent, self.dropped, self.expected) = (consistent.position, false, None);
        self.digests.clear();
        self.doubt = Doubt::Snapshot;
        self.persist(effects);
    }

    /// D1, D2: it may lack what it once acked, and leads only when it was compared with all others.
    pub fn is_doubtful(&self) -> bool {
        self.doubt != Doubt::None
    }

    pub fn epoch(&self) -> Epoch {
        self.configuration.as_ref().map_or(Epoch(0), |configuration| configuration.epoch)
    }

    /// The cluster it belongs to, or, before it belongs to one, the log that it holds.
    pub fn cluster(&self) -> LogId {
        self.configuration.as_ref().map_or(self.log_id, |configuration| configuration.cluster)
    }

    /// The incarnation of `node` as far as it is known; 0 when it is not.
    pub fn incarnation_of(&self, node: NodeId) -> Incarnation {
        self.incarnations.get(&node).copied().unwrap_or_default()
    }

    pub fn send(&self, destination: NodeId, body: Body, effects: &mut Vec<Effect>) {
        // a leader that was started again follows what it was before, which is gone, until another configuration comes
        if destination != self.node {
            effects.push(Effect::Send { message: self.message(destination, body) });
        }
    }

    pub fn message(&self, destination: NodeId, body: Body) -> Message {
        let header = Header {
            cluster: self.cluster(),
            epoch: self.epoch(),
            source: self.node,
            source_incarnation: self.incarnation,
            destination,
            destination_incarnation: self.incarnation_of(destination),
        };
        Message { header, body }
    }

    pub fn announce(&self, destination: NodeId, effects: &mut Vec<Effect>) {
        if let Some(configuration) = &self.configuration {
            self.send(destination, Body::Announce(configuration.clone()), effects);
        }
    }

    pub fn register(&self, effects: &mut Vec<Effect>) {
        let (contact, end, doubtful) = (self.contact.clone(), self.journal.end(), self.is_doubtful());
        self.send(COORDINATOR, Body::Register { contact, end, doubtful }, effects);
    }

    /// The leader of this epoch is proven dead or has resigned (R25): what was promised to it binds no more.
    pub const fn on_leader_gone(&mut self) {
        self.promise.release();
    }

    /// What the leader's data was like.
    pub fn expect_digest(&mut self, digest: Digest, effects: &mut Vec<Effect>) {
        self.expected = Some(digest);
        self.compare_data(effects);
    }

    /// Replicas hold the same at the same position, or one of them is wrong.
    fn compare_data(&mut self, effects: &mut Vec<Effect>) {
        let Some(expected) = self.expected else { return };
        let Some(own) = self.digests.iter().find(|own| own.position == expected.position) else { return };
        self.expected = None;
        if own.digest != expected.digest && self.doubt != Doubt::Data {
            effects.push(Effect::Report(Report::DigestDiffers { position: own.position }));
            self.suspect(Doubt::Data, effects);
        }
    }

    /// The own store is like this.
    pub fn on_applied(&mut self, digest: Digest, effects: &mut Vec<Effect>) {
        if !self.is_exact() {
            return;
        }
        if self.digests.len() >= config::DIGESTS_KEPT {
            self.digests.pop_front();
        }
        self.digests.push_back(digest);
        self.compare_data(effects);
    }

    /// Commits up to `upto` and tells the clients' writes of it.
    pub fn commit_to(&mut self, upto: Position, effects: &mut Vec<Effect>) -> bool {
        let news = self.journal.commit_to(upto, effects);
        if news && !self.forwards.is_empty() {
            self.forwards.on_committed(self.journal.commit(), effects);
        }
        news
    }

    pub fn append(&mut self, frame: super::frame::Frame, effects: &mut Vec<Effect>) {
        self.forwards.on_appended(self.node, self.incarnation, &frame);
        self.journal.append(frame, effects);
    }
}
