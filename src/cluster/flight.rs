//! What a leader has sent to one peer and does not know to be in its log: when each frame left, and by evidence alone whether
//! it is lost. Evidence is that something sent later has arrived (RFC 8985, RFC 9002 section 6): three later messages, or one
//! and more than a round trip. Owns the measured round trip. Never looks at a clock, and sends nothing.
//!
//! ```text
//! log of the peer |  arrived  |///|  arrived  |  under way ...       by position
//!                end           lost          top
//! ```

use std::collections::VecDeque;

use super::configuration::{Mark, Position};
use super::message::Missing;
use crate::time::{Duration, Time};

/// So many later messages must have arrived before one is lost (RFC 9002, 6.1.1), on a path that keeps their order.
const REORDERED: u64 = 3;

/// How often that is doubled on a path that does not.
const PATIENCE_MAX: u32 = 8;

/// After so many losses that were real ones patience shrinks again (RFC 8985, 6.2).
const REAL_LOSSES: u32 = 16;

/// Round trips are at least measured to be so long.
const GRANULARITY: Duration = Duration(1000);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    UnderWay,
    /// To be sent again.
    Lost,
    /// There, ahead of a gap.
    Arrived,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    /// Where the log stood before the frame.
    previous: Mark,
    end: Position,
    /// Number and time of the newest message with it.
    number: u64,
    at: Time,
    /// There was an older one.
    again: bool,
    /// It left in pieces, which the transport sends again and limits: it is nothing to this congestion control.
    pieces: bool,
    /// And the transport still sees to them: it is not lost before that has an end.
    held: bool,
    state: State,
}

impl Sent {
    const fn bytes(&self) -> u64 {
        self.end.0 - self.previous.position.0
    }

    /// What it counts for in congestion control.
    const fn weight(&self) -> u64 {
        if self.pieces { 0 } else { self.bytes() }
    }
}

/// What an ack says about the way there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Bytes that were under way and have arrived, and when the newest of them was sent.
    pub acked: u64,
    /// See above.
    pub acked_sent: Time,
    /// Bytes that were under way and are lost, and when the newest of them was sent.
    pub lost: u64,
    /// See above.
    pub lost_sent: Time,
    /// All that was sent over several probe timeouts is lost.
    pub persistent: bool,
}

/// See the module. Invariant: frames continue each other without gaps.
#[derive(Clone, Debug)]
pub struct Flight {
    sent: VecDeque<Sent>,
    /// How many of them are lost.
    lost: usize,
    /// The newest number that is known to have arrived, and when it left.
    newest: (u64, Time),
    /// The newest message without a frame: it measures the way too.
    beacon: (u64, Time),
    /// Smoothed, its variation, and the latest (RFC 9002, 5.3); nothing before the first.
    round_trip: Option<(Duration, Duration, Duration)>,
    patience: u32,
    real_losses: u32,
}

impl Flight {
    /// Nothing under way.
    pub const fn new() -> Self {
        Self {
            sent: VecDeque::new(),
            lost: 0,
            newest: (0, Time(0)),
            beacon: (0, Time(0)),
            round_trip: None,
            patience: 0,
            real_losses: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Where the first of it begins.
    pub fn begins(&self) -> Option<Position> {
        self.sent.front().map(|sent| sent.previous.position)
    }

    pub fn frames(&self) -> usize {
        self.sent.len()
    }

    /// How long a round trip takes.
    pub fn round_trip(&self) -> Duration {
        self.round_trip.map_or(Duration(0), |(smoothed, ..)| smoothed)
    }

    /// After so long without an answer something should be asked (RFC 9002, 6.2.1); nothing before a round trip was measured.
    pub fn probe_timeout(&self) -> Option<Duration> {
        self.round_trip.map(|(smoothed, variation, _)| Duration(smoothed.0 + (4 * variation.0).max(GRANULARITY.0)))
    }

    /// Whether an answer to something is outstanding.
    pub fn awaits(&self) -> bool {
        self.sent.iter().any(|sent| sent.state == State::UnderWay)
    }

    /// A frame left for the first time, whole or in pieces.
    pub fn on_sent(&mut self, now: Time, number: u64, previous: Mark, end: Position, pieces: bool) {
        assert!(self.sent.back().is_none_or(|last| last.end == previous.position), "frames continue each other");
        let (again, held, state) = (false, pieces, State::UnderWay);
        self.sent.push_back(Sent { previous, end, number, at: now, again, pieces, held, state });
    }

    /// The transport has brought all pieces there, or has given up: from now on what is sent later tells whether a frame came,
    /// as of any other. `number` is that of the newest message.
    pub fn on_pieces_settled(&mut self, now: Time, number: u64) {
        for sent in self.sent.iter_mut().filter(|sent| sent.held) {
            (sent.held, sent.number, sent.at) = (false, number, now);
        }
    }

    /// A message without a frame left.
    pub const fn on_beacon(&mut self, now: Time, number: u64) {
        self.beacon = (number, now);
    }

    /// The first frame that is lost: the mark before it.
    pub fn first_lost(&self) -> Option<Mark> {
        if self.lost == 0 {
            return None;
        }
        self.sent.iter().find(|sent| sent.state == State::Lost).map(|sent| sent.previous)
    }

    fn at(&self, position: Position) -> Option<usize> {
        let at = self.sent.partition_point(|sent| sent.previous.position < position);
        self.sent.get(at).filter(|sent| sent.previous.position == position).map(|_| at)
    }

    /// The mark before the frame at `position`, if it is lost.
    pub fn lost_at(&self, position: Position) -> Option<Mark> {
        let sent = self.sent[self.at(position)?];
        (sent.state == State::Lost).then_some(sent.previous)
    }

    /// A lost frame left once more.
    pub fn on_sent_again(&mut self, now: Time, number: u64, position: Position) {
        let at = self.at(position).expect("it was sent before");
        let sent = &mut self.sent[at];
        assert!(sent.state == State::Lost, "nothing is sent again that may be there");
        (sent.number, sent.at, sent.again, sent.held, sent.state) = (number, now, true, sent.pieces, State::UnderWay);
        self.lost -= 1;
    }

    /// The peer's log reaches up to `end`; of what is between there and `top` it has all but `missing`; the newest message
    /// that came has number `newest`.
    pub fn on_ack(&mut self, now: Time, end: Position, missing: &[Missing], top: Position, newest: u64) -> Seen {
        let (mut seen, known) = (Seen::default(), self.newest);
        while self.sent.front().is_some_and(|sent| sent.end <= end) {
            self.arrived(0, newest, &mut seen);
            self.sent.pop_front();
        }
        if newest < known.0 {
            // overtaken: what it lacks may have come since
            return seen;
        }
        self.mark(missing, top, newest, &mut seen);
        if newest > known.0 {
            if self.beacon.0 == newest {
                self.newest = self.beacon;
            }
            self.newest.0 = newest;
            if self.newest.1 > known.1 {
                self.measure(now.since(self.newest.1));
            }
        }
        self.find_lost(now, known.1, &mut seen);
        seen
    }

    /// Marks what is there ahead of a gap.
    fn mark(&mut self, missing: &[Missing], top: Position, newest: u64, seen: &mut Seen) {
        let mut holes = missing.iter().peekable();
        for at in 0..self.sent.len() {
            let sent = self.sent[at];
            if sent.end > top {
                break;
            }
            while holes.peek().is_some_and(|hole| hole.to <= sent.previous.position) {
                holes.next();
            }
            if holes.peek().is_none_or(|hole| hole.from >= sent.end) && sent.state != State::Arrived {
                self.arrived(at, newest, seen);
            }
        }
    }

    fn arrived(&mut self, at: usize, newest: u64, seen: &mut Seen) {
        let sent = self.sent[at];
        self.sent[at].state = State::Arrived;
        // how long pieces took says how long they waited for each other
        if sent.number == newest && newest >= self.newest.0 && !sent.pieces {
            self.newest.1 = sent.at;
        }
        match sent.state {
            State::Arrived => return,
            State::UnderWay if sent.pieces => {}
            State::UnderWay => {
                seen.acked += sent.weight();
                seen.acked_sent = seen.acked_sent.max(sent.at);
            }
            State::Lost => self.lost -= 1,
        }
        if sent.pieces {
            return;
        }
        // the one that is there is an older one: it was late and not lost
        if sent.state == State::Lost || (sent.again && sent.number > newest) {
            self.patience = (self.patience + 1).min(PATIENCE_MAX);
            self.real_losses = 0;
        } else if sent.again {
            self.real_losses += 1;
            if self.real_losses >= REAL_LOSSES {
                (self.real_losses, self.patience) = (0, self.patience.saturating_sub(1));
            }
        }
    }

    fn measure(&mut self, latest: Duration) {
        let latest = latest.max(GRANULARITY);
        let (smoothed, variation) = match self.round_trip {
            None => (latest, Duration(latest.0 / 2)),
            Some((smoothed, variation, _)) => {
                let apart = smoothed.0.abs_diff(latest.0);
                (Duration((7 * smoothed.0 + latest.0) / 8), Duration((3 * variation.0 + apart) / 4))
            }
        };
        self.round_trip = Some((smoothed, variation, latest));
    }

    /// Time has passed: what was overtaken a round trip ago is lost now.
    pub fn on_ticked(&mut self, now: Time) -> Seen {
        let mut seen = Seen::default();
        self.find_lost(now, self.newest.1, &mut seen);
        seen
    }

    fn find_lost(&mut self, now: Time, delivered: Time, seen: &mut Seen) {
        let (smoothed, _, latest) = self.round_trip.unwrap_or_default();
        let longest = smoothed.max(latest);
        let late = longest.0 + (longest.0 / 8 * (1 << self.patience)).min(2 * longest.0);
        let (newest, reordered) = (self.newest.0, REORDERED << self.patience);
        let mut oldest = now;
        for sent in &mut self.sent {
            if sent.number >= newest {
                if sent.again || sent.pieces {
                    continue;
                }
                // first sendings are in order: nothing behind this one is older
                break;
            }
            let overtaken = newest - sent.number >= reordered || now.since(sent.at).0 >= late;
            if sent.state == State::UnderWay && overtaken && !sent.held {
                sent.state = State::Lost;
                self.lost += 1;
                if sent.pieces {
                    continue;
                }
                seen.lost += sent.weight();
                seen.lost_sent = seen.lost_sent.max(sent.at);
                if sent.at > delivered {
                    oldest = oldest.min(sent.at);
                }
            }
        }
        let timeouts = super::congestion::PERSISTENT_TIMEOUTS;
        let span = seen.lost_sent.since(oldest);
        seen.persistent = self.probe_timeout().is_some_and(|timeout| span.0 > timeouts * timeout.0);
    }

    /// All of it is forgotten: so many bytes were under way. What is known of the path stays.
    pub fn clear(&mut self) -> u64 {
        self.lost = 0;
        self.sent.drain(..).filter(|sent| sent.state == State::UnderWay).map(|sent| sent.weight()).sum()
    }

    pub fn check_invariants(&self, in_flight: u64) {
        let follow = self.sent.iter().is_sorted_by(|a, b| a.end == b.previous.position);
        assert!(follow, "frames continue each other");
        assert!(self.lost == self.sent.iter().filter(|sent| sent.state == State::Lost).count());
        let under_way = self.sent.iter().filter(|sent| sent.state == State::UnderWay);
        assert!(in_flight == under_way.map(Sent::weight).sum::<u64>(), "what is under way is in flight");
    }
}

#[cfg(test)]
mod tests;
