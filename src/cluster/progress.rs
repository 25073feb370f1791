//! What a leader knows of one follower or learner, in the current epoch: where its log stands, what is under way to it and
//! how much may be.

use super::configuration::{Incarnation, Mark, Member, Position};
use super::congestion::Congestion;
use super::flight::{Flight, Seen};
use super::frame::Frame;
use super::journal::Journal;
use super::lease::Promise;
use super::message::{Append, Digest, Missing};
use crate::config;
use crate::time::{Duration, Time};

/// What an append asks its receiver for: a promise that a lease of this length from now on is to rely on.
#[derive(Clone, Copy, Debug)]
pub struct Asks {
    pub now: Time,
    pub lease: Duration,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Progress {
    pub member: Member,
    /// The incarnation whose acks count (R6); 0 when none was heard.
    pub incarnation: Incarnation,
    /// Where the next append continues: the end of what was sent.
    pub next: Mark,
    /// Its log agrees up to here.
    pub end: Position,
    /// Durable there, acked in this epoch by this incarnation.
    pub durable: Option<Position>,
    /// When something of it last came.
    pub heard: Time,
    /// When something was last sent to it.
    pub sent: Time,
    /// The number of the newest append. Invariant: grows in an epoch, even when a peer is forgotten and comes again.
    pub number: u64,
    /// The first append after `next` was last set back: what is said of older ones is said of what was sent before.
    rewound: u64,
    /// Where its log agrees is being looked for: one frame at a time.
    searching: bool,
    /// What of the frames below `next` is not known to be in its log. Invariant: ends at `next`.
    pub flight: Flight,
    /// How much the network takes. Invariant: what is under way in `flight` is in flight.
    congestion: Congestion,
    /// How much it takes itself: frames below here.
    limit: Position,
    /// Its acks are not needed: it has a window of its own, so that catching up leaves room for others.
    pub learns: bool,
    /// Frames for it are being read from the disk, from here on.
    pub reading: Option<Mark>,
    /// Asked without an answer since it was last heard.
    probes: u32,
    /// Its newest send time for which the leader promised to wait (R18), to go back with what is sent next.
    pub echo: Option<Time>,
    /// It spoke in this epoch: leases of older ones are over.
    pub acked: bool,
    /// What was promised to it (R18), by this leader or maybe by the one before.
    pub granted: Promise,
    /// Its acks carry no promise, though it is in this epoch: it told the coordinator that it could lead.
    pub withdrawn: bool,
    /// It is proven dead (R25).
    pub dead: bool,
    /// It asked to be left out.
    pub leaving: bool,
}

impl Progress {
    pub fn new(member: Member, incarnation: Incarnation, next: Mark, number: u64, now: Time) -> Self {
        Self {
            member,
            incarnation,
            next,
            end: Position(0),
            durable: None,
            heard: now,
            sent: Time(0),
            number,
            rewound: 0,
            searching: false,
            flight: Flight::new(),
            congestion: Congestion::new(config::DATAGRAM_BYTES as u64),
            limit: Position(u64::MAX),
            learns: false,
            reading: None,
            probes: 0,
            echo: None,
            acked: false,
            granted: Promise::default(),
            withdrawn: false,
            dead: false,
            leaving: false,
        }
    }

    /// In the next epoch, under the same leader: acks of this one count no more (R8), the rest is still true.
    pub fn in_next_epoch(mut self) -> Self {
        self.congestion.on_forgotten(self.flight.clear());
        (self.end, self.durable, self.echo) = (Position(0), None, None);
        (self.acked, self.withdrawn, self.reading) = (false, false, None);
        (self.limit, self.searching) = (Position(u64::MAX), false);
        self
    }

    /// Another incarnation speaks: nothing of the old one counts (R6).
    pub fn reincarnate(&mut self, incarnation: Incarnation, now: Time) {
        let learns = self.learns;
        *self = Self { learns, ..Self::new(self.member.clone(), incarnation, self.next, self.number, now) };
    }

    /// It has no log any more. The next beacon is about `next`, the own end, which it will not have: so it says what it has.
    pub fn forget(&mut self, next: Mark) {
        self.congestion.on_forgotten(self.flight.clear());
        (self.next, self.end, self.durable) = (next, Position(0), None);
        (self.reading, self.limit, self.searching) = (None, Position(u64::MAX), false);
    }

    /// Its log may agree up to `to`, says an answer to the append of this number.
    pub fn rewind(&mut self, to: Mark, newest: u64) {
        if newest < self.rewound || newest > self.number {
            return;
        }
        self.congestion.on_forgotten(self.flight.clear());
        (self.next, self.reading, self.searching) = (to, None, true);
        self.rewound = self.number + 1;
    }

    /// Its log agrees up to `end` and is durable up to `durable`.
    pub fn on_matched(&mut self, durable: Position, end: Mark, limit: Position, journal: &Journal) {
        self.durable = self.durable.max(Some(durable));
        self.end = self.end.max(end.position);
        self.limit = if self.limit.0 == u64::MAX { limit } else { self.limit.max(limit) };
        self.searching = false;
        // it lacks what was taken to be there, or had more than was sent
        let begins = self.flight.begins().unwrap_or(self.next.position);
        let elsewhere = begins > self.end || self.next.position < self.end;
        if elsewhere && end.position == self.end && journal.history().contains(end) {
            self.congestion.on_forgotten(self.flight.clear());
            (self.next, self.reading) = (end, None);
        }
    }

    /// What its ack says about what is under way.
    pub fn on_seen(&mut self, now: Time, missing: &[Missing], top: Position, newest: u64) {
        self.probes = 0;
        // what was never sent cannot have come
        if newest <= self.number {
            let seen = self.flight.on_ack(now, self.end, missing, top, newest);
            self.account(now, seen);
        }
    }

    fn account(&mut self, now: Time, seen: Seen) {
        if seen.acked > 0 {
            self.congestion.on_acked(now, seen.acked, seen.acked_sent, self.flight.round_trip());
        }
        if seen.lost > 0 {
            self.congestion.on_lost(now, seen.lost, seen.lost_sent);
        }
        if seen.persistent {
            self.congestion.on_persistent();
        }
    }

    /// Time has passed; whether it should be asked what came. Nothing is sent again by a timer.
    pub fn on_ticked(&mut self, now: Time) -> bool {
        let seen = self.flight.on_ticked(now);
        self.account(now, seen);
        let Some(timeout) = self.flight.probe_timeout().filter(|_| self.flight.awaits()) else { return false };
        let due = now.since(self.sent).0 >= timeout.0 << self.probes.min(config::PROBE_DOUBLINGS_MAX);
        self.probes += u32::from(due);
        due
    }

    /// Where the frame to be sent now begins: a lost one, or the next. Nothing while there is no room for it.
    pub fn to_send(&self) -> Option<Mark> {
        if self.searching {
            return self.flight.is_empty().then_some(self.next);
        }
        let room = self.congestion.has_room();
        if let Some(lost) = self.flight.first_lost() {
            return room.then_some(lost);
        }
        let own = !self.learns || self.next.position.0.saturating_sub(self.end.0) < config::LEARNER_FLIGHT_BYTES;
        let fits = self.next.position < self.limit && self.flight.frames() < config::FLIGHT_FRAMES_MAX;
        (room && own && fits).then_some(self.next)
    }

    /// The append with a frame that is lost or comes next.
    /// One of more than `whole_bytes` leaves in pieces.
    pub fn append_frame(&mut self, asks: Asks, frame: &Frame, commit: Position, whole_bytes: usize) -> Append {
        let Asks { now, lease } = asks;
        self.number += 1;
        let pieces = frame.bytes().len() > whole_bytes;
        if !pieces {
            self.congestion.on_sent(frame.bytes().len() as u64);
        }
        let previous = if frame.position() == self.next.position {
            self.flight.on_sent(now, self.number, self.next, frame.end(), pieces);
            std::mem::replace(&mut self.next, frame.mark())
        } else {
            let previous = self.flight.lost_at(frame.position()).expect("frames are sent in order, or again");
            self.flight.on_sent_again(now, self.number, frame.position());
            previous
        };
        self.sent = now;
        let (number, echo) = (self.number, self.echo);
        Append { sent: now, lease, number, echo, previous, frame: Some(frame.clone()), commit, digest: None }
    }

    /// The transport has done what it can for what left in pieces.
    pub fn on_pieces_settled(&mut self, now: Time) {
        self.flight.on_pieces_settled(now, self.number);
    }

    /// The append without a frame: it says where the log stands, and its answer what of it has come.
    pub fn beacon(&mut self, asks: Asks, commit: Position, digest: Option<Digest>) -> Append {
        let Asks { now, lease } = asks;
        self.number += 1;
        self.flight.on_beacon(now, self.number);
        self.sent = now;
        let (number, echo, previous) = (self.number, self.echo, self.next);
        Append { sent: now, lease, number, echo, previous, frame: None, commit, digest }
    }

    pub fn check_invariants(&self) {
        self.flight.check_invariants(self.congestion.in_flight());
        self.congestion.check_invariants();
    }
}
