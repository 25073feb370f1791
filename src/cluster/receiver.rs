//! What follower and learner have in common: frames of the leader are taken where they fit and kept when they came ahead of
//! a gap, a promise is made on each of its messages, what is durable is acked, and what is missing said.

use super::ahead::Ahead;
use super::configuration::{Mark, NodeId, Position};
use super::effect::Effect;
use super::frame::Frame;
use super::lease::promise_for;
use super::message::{Ack, Append, Body, Standing};
use super::rules::Rule;
use super::server::Server;
use crate::config;
use crate::time::Time;

/// Invariant: the log up to `agreed` is the leader's.
#[derive(Clone, Debug)]
pub struct Receiver {
    pub leader: NodeId,
    /// In this epoch something of the leader's has fitted, up to here.
    agreed: Option<Mark>,
    /// While nothing has: what may fit instead of what came last.
    may_fit: Option<Mark>,
    /// Frames of this epoch's leader that begin above `agreed`.
    ahead: Ahead,
    /// The largest number that came (of this leader, in this epoch).
    newest: u64,
    /// The newest send time of the leader's for which a promise was made (R16).
    promised: Option<Time>,
    /// When the leader was last heard in this epoch.
    pub heard: Option<Time>,
    acked: Time,
}

impl Receiver {
    pub fn new(leader: NodeId) -> Self {
        Self {
            leader,
            agreed: None,
            may_fit: None,
            ahead: Ahead::default(),
            newest: 0,
            promised: None,
            heard: None,
            acked: Time(0),
        }
    }

    /// Takes what the leader sent; the frame, if it fits, is acked when it is durable.
    pub fn on_append(&mut self, now: Time, append: &Append, server: &mut Server, effects: &mut Vec<Effect>) {
        self.heard = Some(now);
        self.newest = self.newest.max(append.number);
        // R16: not to take over for G; but what was told the coordinator stays true
        if !server.withdrawn {
            server.promise.make(now, promise_for(append.lease, server.rules));
            self.promised = self.promised.max(Some(append.sent));
        }
        if server.is_lost() {
            return self.ack_standing(now, server, effects);
        }
        let previous = append.previous;
        let fits = self.agreed.is_some_and(|agreed| previous.position <= agreed.position);
        if !fits && !Self::has(previous, server) {
            self.keep(append, server);
            return self.ack_standing(now, server, effects);
        }
        self.agree(previous);
        let mut appended = false;
        if let Some(frame) = &append.frame {
            appended = self.take_frame(previous, frame, server, effects);
        }
        // what had come too early may have its turn now
        while let Some((previous, frame)) = self.agreed.and_then(|agreed| self.ahead.take(agreed.position)) {
            appended |= self.take_frame(previous, &frame, server, effects);
        }
        self.commit(append.commit, server, effects);
        if !appended {
            self.ack_standing(now, server, effects);
        }
    }

    /// Whether the leader's mark is in this log: what is so old that its epoch is forgotten here was committed here.
    fn has(mark: Mark, server: &Server) -> bool {
        let history = server.journal.history();
        history.contains(mark) || history.forgot(mark.position)
    }

    /// Something came that fits nowhere yet.
    fn keep(&mut self, append: &Append, server: &Server) {
        if self.agreed.is_none() {
            self.may_fit = Some(server.journal.history().agree(append.previous));
        }
        if let Some(frame) = &append.frame
            && frame.epoch() <= server.epoch()
        {
            self.ahead.keep(append.previous, frame, self.limit(server));
        }
    }

    /// Whether the log got longer.
    fn take_frame(&mut self, previous: Mark, frame: &Frame, server: &mut Server, effects: &mut Vec<Effect>) -> bool {
        let start = &frame.header().start;
        let continues = frame.position() == previous.position && start.first_index.0 == previous.index.0 + 1;
        if !continues || frame.epoch() < previous.epoch || frame.epoch() > server.epoch() {
            return false;
        }
        if Self::has(frame.mark(), server) {
            self.agree(frame.mark());
            return false;
        }
        if server.journal.end().position > frame.position() {
            // R13: the leader's log differs from here on, so what is here was never committed
            assert!(
                self.agreed.is_none_or(|agreed| agreed.position <= frame.position()),
                "a leader contradicts itself"
            );
            server.journal.truncate(previous, effects);
            server.forwards.on_truncated(previous.position);
        }
        if server.journal.end() != previous {
            return false;
        }
        server.append(frame.clone(), effects);
        // R24: before its ack can leave
        if server.rules.hold(Rule::R24Locks) {
            effects.push(Effect::LockKeys { frame: frame.clone() });
        }
        self.agreed = Some(frame.mark());
        true
    }

    fn agree(&mut self, mark: Mark) {
        if self.agreed.is_none_or(|agreed| agreed.position < mark.position) {
            self.agreed = Some(mark);
        }
    }

    /// R14: what all have, and what agrees with the leader's log, and nothing else.
    fn commit(&self, upto: Position, server: &mut Server, effects: &mut Vec<Effect>) {
        if let Some(agreed) = self.agreed {
            server.commit_to(upto.min(agreed.position), effects);
        }
    }

    /// R11: frames that begin here or later find no room, before more is on the disk.
    fn limit(&self, server: &Server) -> Position {
        let durable = server.journal.durable();
        Position(self.agreed.map_or(durable, |agreed| durable.min(agreed.position)).0 + config::RECEIVE_BYTES)
    }

    pub fn standing(&self, server: &Server) -> Standing {
        match self.agreed {
            _ if server.is_lost() => Standing::Lost,
            None => Standing::Unknown { last: self.may_fit.unwrap_or(server.journal.end()) },
            Some(end) => {
                let (missing, top) = self.ahead.missing(end.position);
                let durable = server.journal.durable().min(end.position);
                Standing::Matched { durable, end, missing, top, limit: self.limit(server) }
            }
        }
    }

    pub fn ack_standing(&mut self, now: Time, server: &Server, effects: &mut Vec<Effect>) {
        self.acked = now;
        // a promise that was taken back is not shown: the echo would be counted again
        let echo = self.promised.filter(|_| !server.withdrawn);
        let (newest, standing, full) = (self.newest, self.standing(server), server.journal.is_refused());
        let ack = Ack { sent: now, newest, echo, withdrawn: server.withdrawn, full, standing };
        server.send(self.leader, Body::Ack(ack), effects);
    }

    pub fn on_ticked(&mut self, now: Time, server: &Server, effects: &mut Vec<Effect>) {
        if now.since(self.acked) >= server.timing.beacon {
            self.ack_standing(now, server, effects);
        }
    }

    /// Whether the leader was silent for so long that the coordinator should be asked.
    pub fn is_lost(&self, now: Time, server: &Server) -> bool {
        self.heard.is_none_or(|heard| now.since(heard) >= server.timing.silence)
    }

    pub fn check_invariants(&self, server: &Server) {
        self.ahead.check_invariants();
        assert!(
            self.agreed.is_none_or(|agreed| agreed.position <= server.journal.end().position),
            "agreed and not there"
        );
    }

    /// Whether more of the log is the leader's than up to there.
    pub fn agrees_beyond(&self, position: Position) -> bool {
        self.agreed.is_some_and(|agreed| agreed.position > position)
    }

    /// Whether the log is the leader's up to there.
    pub fn agrees_up_to(&self, position: Position) -> bool {
        self.agreed.is_some_and(|agreed| agreed.position >= position)
    }
}
