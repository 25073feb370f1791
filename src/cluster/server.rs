//! What a server is whatever its role: its identity, its log, its promise, what it knows of others, and how it speaks.

use std::collections::BTreeMap;

use super::configuration::{COORDINATOR, Configuration, Epoch, Incarnation, LogId, NodeId, NodeRecord};
use super::effect::{Boot, Doubt, Effect};
use super::forwards::Forwards;
use super::journal::Journal;
use super::lease::{Promise, Timing};
use super::message::{Body, Digest, Header, Message};
use super::rules::{Rule, Rules};
use crate::config;
use crate::time::Time;

/// See the module.
#[derive(Debug)]
pub struct Server {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub contact: String,
    pub timing: Timing,
    pub rules: Rules,
    pub strict_reads: bool,
    /// The newest configuration that is durable here.
    pub configuration: Option<Configuration>,
    pub journal: Journal,
    pub forwards: Forwards,
    /// Not to take over from the leader (R16).
    pub promise: Promise,
    /// The coordinator was told that the promise has ended: no more of them in this epoch.
    pub withdrawn: bool,
    /// When the configuration was adopted.
    pub adopted: Time,
    /// The log may lack what was acked, and has not been compared with a leader's yet.
    pub doubtful: bool,
    /// The newest incarnation heard of each server (R6).
    pub incarnations: BTreeMap<NodeId, Incarnation>,
    /// Digests of the own store, newest last.
    pub digests: std::collections::VecDeque<Digest>,
}

impl Server {
    pub fn new(now: Time, boot: Boot) -> Self {
        let Boot { record, contact, history, end, last_time, applied, doubt, timing, strict_reads, rules } = boot;
        assert!(contact.len() <= config::CONTACT_BYTES_MAX, "the shell knows the bound");
        assert!(record.node != COORDINATOR, "0 is the coordinator's name");
        let doubtful = match doubt {
            Doubt::None => false,
            Doubt::Tail => true,
            // D1: what lies below a watermark had been acked, so a log that lacks it is compared before it leads
            Doubt::Corruption => rules.hold(Rule::D1),
        };
        let mut promise = Promise::default();
        // R22: promises are not durable, so a restarted server behaves as if it had made one when it stopped
        if record.configuration.is_some() && rules.hold(Rule::R22) {
            promise.make(now, timing.promise(rules));
        }
        Self {
            node: record.node,
            incarnation: Incarnation(record.incarnation.0 + 1),
            contact,
            timing,
            rules,
            strict_reads,
            configuration: record.configuration,
            journal: Journal::new(history, end, applied, last_time),
            forwards: Forwards::default(),
            promise,
            withdrawn: false,
            adopted: now,
            doubtful,
            incarnations: BTreeMap::new(),
            digests: std::collections::VecDeque::new(),
        }
    }

    pub fn record(&self) -> NodeRecord {
        NodeRecord { node: self.node, incarnation: self.incarnation, configuration: self.configuration.clone() }
    }

    pub fn epoch(&self) -> Epoch {
        self.configuration.as_ref().map_or(Epoch(0), |configuration| configuration.epoch)
    }

    pub fn cluster(&self) -> LogId {
        self.configuration.as_ref().map_or(LogId(0), |configuration| configuration.cluster)
    }

    /// The incarnation of `node` as far as it is known; 0 when it is not.
    pub fn incarnation_of(&self, node: NodeId) -> Incarnation {
        self.incarnations.get(&node).copied().unwrap_or_default()
    }

    pub fn send(&self, destination: NodeId, body: Body, effects: &mut Vec<Effect>) {
        let header = Header {
            cluster: self.cluster(),
            epoch: self.epoch(),
            source: self.node,
            source_incarnation: self.incarnation,
            destination,
            destination_incarnation: self.incarnation_of(destination),
        };
        effects.push(Effect::Send { message: Message { header, body } });
    }

    pub fn announce(&self, destination: NodeId, effects: &mut Vec<Effect>) {
        if let Some(configuration) = &self.configuration {
            self.send(destination, Body::Announce(configuration.clone()), effects);
        }
    }

    pub fn register(&self, effects: &mut Vec<Effect>) {
        let (contact, end, doubtful) = (self.contact.clone(), self.journal.end(), self.doubtful);
        self.send(COORDINATOR, Body::Register { contact, end, doubtful }, effects);
    }

    /// The leader of this epoch is proven dead or has resigned (R25): what was promised to it binds no more.
    pub const fn on_leader_gone(&mut self) {
        self.promise.release();
    }

    pub fn remember_digest(&mut self, digest: Digest) {
        if self.digests.len() >= config::DIGESTS_KEPT {
            self.digests.pop_front();
        }
        self.digests.push_back(digest);
    }

    /// Commits up to `upto` and tells the clients' writes of it.
    pub fn commit_to(&mut self, upto: super::configuration::Position, effects: &mut Vec<Effect>) -> bool {
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
