//! A follower's side of its clients' writes (C1): numbered, sent to the leader in order, decided when this server's own log
//! says so. A write that is not in the log when a new leader's no-op is committed never will be: it is sent again.

use std::collections::BTreeMap;

use super::configuration::{Epoch, Incarnation, LogIndex, Mark, NodeId, Position};
use super::effect::{Effect, Outcome};
use super::frame::Frame;
use super::message::Forward;
use super::rules::{Rule, Rules};
use crate::config;
use crate::time::{Duration, Time};

#[derive(Clone, Debug)]
struct Pending {
    request: Vec<u8>,
    /// Its entry in the log, and where the frame ends that holds it.
    found: Option<(LogIndex, Position)>,
    /// The epoch it was last sent in, the number before it there, and when.
    sent: Option<(Epoch, u64, Time)>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Forwards {
    /// The number given last.
    last: u64,
    /// In the order of their numbers.
    pending: BTreeMap<u64, Pending>,
    /// The epoch of the newest sending and the newest number sent in it.
    chain: (Epoch, u64),
}

impl Forwards {
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.pending.len() >= config::FORWARDS_MAX
    }

    /// Takes a client's write.
    pub fn push(&mut self, request: Vec<u8>, effects: &mut Vec<Effect>) {
        assert!(!self.is_full(), "whoever asks looks for room first");
        assert!(request.len() <= config::FORWARD_BYTES_MAX, "the protocol lets no such write in");
        self.last += 1;
        self.pending.insert(self.last, Pending { request, found: None, sent: None });
        effects.push(Effect::ForwardTaken { number: self.last });
    }

    /// Looks for own writes in a frame that was appended.
    pub fn on_appended(&mut self, me: NodeId, incarnation: Incarnation, frame: &Frame) {
        if self.pending.is_empty() {
            return;
        }
        let view = frame.view();
        let mut entries = view.entries();
        while let Some(Ok((index, _))) = entries.next() {
            let own = entries.origin().filter(|origin| origin.node == me && origin.incarnation == incarnation);
            if let Some(pending) = own.and_then(|origin| self.pending.get_mut(&origin.number)) {
                pending.found = Some((index, frame.end()));
            }
        }
    }

    /// The log was cut.
    pub fn on_truncated(&mut self, to: Position) {
        for pending in self.pending.values_mut() {
            pending.found = pending.found.filter(|(_, end)| *end <= to);
        }
    }

    /// The log is committed up to `commit`.
    pub fn on_committed(&mut self, commit: Mark, effects: &mut Vec<Effect>) {
        self.pending.retain(|&number, pending| match pending.found {
            Some((index, end)) if end <= commit.position => {
                effects.push(Effect::ForwardDone { number, outcome: Outcome::Committed { index } });
                false
            }
            _ => true,
        });
    }

    /// The log is dropped for a snapshot: what was sent may be in that, and nothing here will ever say so (C2).
    pub fn on_dropped(&mut self, effects: &mut Vec<Effect>) {
        let unknown = std::mem::take(&mut self.pending).into_keys();
        effects.extend(unknown.map(|number| Effect::ForwardDone { number, outcome: Outcome::Unknown }));
    }

    /// The leader says that a write changed nothing.
    pub fn on_answered(&mut self, number: u64, reply: Vec<u8>, effects: &mut Vec<Effect>) {
        if self.pending.remove(&number).is_some() {
            effects.push(Effect::ForwardDone { number, outcome: Outcome::Answered { reply } });
        }
    }

    /// What is to be sent now, in order: everything not yet sent in this epoch, and all of it again when nothing came
    /// back for long. `commit` is where this server knows the log to be committed.
    pub fn due(
        &mut self,
        now: Time,
        epoch: Epoch,
        commit: Mark,
        resend: Duration,
        rules: Rules,
        mut send: impl FnMut(Forward),
    ) {
        if self.pending.is_empty() {
            return;
        }
        // C1: at the new leader's no-op the log says which of the old epochs' writes were taken; before, nobody knows
        let known = commit.epoch == epoch;
        if !known && rules.hold(Rule::C1) {
            return;
        }
        if self.chain.0 != epoch {
            self.chain = (epoch, 0);
        }
        let late = self.pending.values().any(|pending| {
            pending.found.is_none() && pending.sent.is_some_and(|(of, _, at)| of == epoch && now.since(at) >= resend)
        });
        let undecided = *self.pending.first_key_value().expect("not empty").0;
        for (&number, pending) in &mut self.pending {
            let sent = pending.sent.filter(|&(of, ..)| of == epoch);
            if pending.found.is_some() && rules.hold(Rule::C1) {
                continue;
            }
            let previous = match sent {
                Some((_, previous, _)) if late => previous,
                Some(_) => continue,
                None => std::mem::replace(&mut self.chain.1, number),
            };
            pending.sent = Some((epoch, previous, now));
            send(Forward { number, previous, undecided, request: pending.request.clone() });
        }
    }

    /// This server leads now and its no-op is committed: what is not in the log is for its own write path.
    pub fn take_over(&mut self, epoch: Epoch, now: Time, mut evaluate: impl FnMut(u64, Vec<u8>)) {
        for (&number, pending) in &mut self.pending {
            if pending.found.is_none() && pending.sent.is_none_or(|(of, ..)| of != epoch) {
                pending.sent = Some((epoch, 0, now));
                evaluate(number, pending.request.clone());
            }
        }
    }
}
