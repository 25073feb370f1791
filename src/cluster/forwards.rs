//! A follower's side of its clients' writes (C1): numbered, sent to the leader in order, decided when this server's own log
//! says so. A write that is not in the log when a new leader's no-op is committed never will be: it is sent again.

use std::collections::{BTreeMap, VecDeque};

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
    /// Those that were found, in the order of the log, and where the frame ends that holds each.
    found: VecDeque<(Position, u64)>,
    /// Before this instant nothing that was sent in this epoch is late: it need not be looked for.
    late_from: Time,
    /// Something up to the newest number sent may have to be sent in this epoch.
    behind: bool,
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
            let Some(number) = own.map(|origin| origin.number) else { continue };
            if let Some(pending) = self.pending.get_mut(&number) {
                pending.found = Some((index, frame.end()));
                self.found.push_back((frame.end(), number));
            }
        }
    }

    /// The log was cut.
    pub fn on_truncated(&mut self, to: Position) {
        while let Some((_, number)) = self.found.pop_back_if(|(end, _)| *end > to) {
            if let Some(pending) = self.pending.get_mut(&number) {
                pending.found = None;
                (self.behind, self.late_from) = (true, Time(0));
            }
        }
    }

    /// The log is committed up to `commit`.
    pub fn on_committed(&mut self, commit: Mark, effects: &mut Vec<Effect>) {
        while let Some((end, number)) = self.found.pop_front_if(|(end, _)| *end <= commit.position) {
            let found = self.pending.get(&number).and_then(|pending| pending.found);
            if let Some((index, _)) = found.filter(|&(_, newest)| newest == end) {
                self.pending.remove(&number);
                effects.push(Effect::ForwardDone { number, outcome: Outcome::Committed { index } });
            }
        }
    }

    /// The log is dropped for a snapshot, or the server ends: what was sent may be done, and nothing here will ever say so (C2).
    pub fn on_dropped(&mut self, effects: &mut Vec<Effect>) {
        self.found.clear();
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
            self.behind = true;
        }
        let late = now >= self.late_from && self.is_late(now, epoch, resend);
        let undecided = *self.pending.first_key_value().expect("not empty").0;
        // thousands may be under way: those that were sent are looked at only when there is something to do for them
        let all = std::mem::take(&mut self.behind) || late;
        let first = if all { 0 } else { self.chain.1 + 1 };
        for (&number, pending) in self.pending.range_mut(first..) {
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

    /// Whether for one that was sent in this epoch nothing came back for long.
    fn is_late(&mut self, now: Time, epoch: Epoch, resend: Duration) -> bool {
        let unfound = self.pending.values().filter(|pending| pending.found.is_none());
        let sent = unfound.filter_map(|pending| pending.sent.filter(|&(of, ..)| of == epoch).map(|(.., at)| at));
        self.late_from = sent.min().unwrap_or(now).after(resend);
        now >= self.late_from
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

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch(2);
    const RESEND: Duration = Duration::from_millis(60);

    fn at(milliseconds: u64) -> Time {
        Time(milliseconds * 1_000_000)
    }

    /// The numbers of those that are sent at this instant.
    fn sent(forwards: &mut Forwards, now: Time, epoch: Epoch) -> Vec<(u64, u64)> {
        let commit = Mark { epoch, index: LogIndex(1), position: Position(1) };
        let mut sent = Vec::new();
        forwards.due(now, epoch, commit, RESEND, Rules::ALL, |forward| sent.push((forward.number, forward.previous)));
        sent
    }

    #[test]
    fn each_is_sent_once_and_all_again_when_one_is_late() {
        let (mut forwards, mut effects) = (Forwards::default(), Vec::new());
        for _ in 0..2 {
            forwards.push(vec![1], &mut effects);
        }
        assert_eq!(sent(&mut forwards, at(100), EPOCH), [(1, 0), (2, 1)]);
        assert_eq!(sent(&mut forwards, at(110), EPOCH), []);
        forwards.push(vec![1], &mut effects);
        assert_eq!(sent(&mut forwards, at(150), EPOCH), [(3, 2)]);
        assert_eq!(sent(&mut forwards, at(159), EPOCH), []);
        assert_eq!(sent(&mut forwards, at(160), EPOCH), [(1, 0), (2, 1), (3, 2)], "the first is late");
        assert_eq!(sent(&mut forwards, at(219), EPOCH), []);
        assert_eq!(sent(&mut forwards, at(220), EPOCH), [(1, 0), (2, 1), (3, 2)]);
        assert_eq!(sent(&mut forwards, at(221), Epoch(3)), [(1, 0), (2, 1), (3, 2)], "another leader knows of none");
        assert_eq!(sent(&mut forwards, at(222), Epoch(3)), []);
    }

    #[test]
    fn what_was_cut_from_the_log_is_sent_again() {
        let (mut forwards, mut effects) = (Forwards::default(), Vec::new());
        for _ in 0..2 {
            forwards.push(vec![1], &mut effects);
        }
        assert_eq!(sent(&mut forwards, at(100), EPOCH), [(1, 0), (2, 1)]);
        for (number, end) in [(1, 10), (2, 20)] {
            forwards.pending.get_mut(&number).expect("it waits").found = Some((LogIndex(number), Position(end)));
            forwards.found.push_back((Position(end), number));
        }
        forwards.on_truncated(Position(10));
        assert_eq!(sent(&mut forwards, at(159), EPOCH), []);
        assert_eq!(sent(&mut forwards, at(161), EPOCH), [(2, 1)], "the other is in the log");
        effects.clear();
        forwards.on_committed(Mark { epoch: EPOCH, index: LogIndex(2), position: Position(20) }, &mut effects);
        assert!(
            matches!(
                &effects[..],
                [Effect::ForwardDone { number: 1, outcome: Outcome::Committed { index: LogIndex(1) } }]
            ),
            "{effects:?}"
        );
    }
}
