//! Which datagrams arrived and which are lost, and how fast the path is: loss detection of RFC 9002, sections 5 and 6, over
//! one sequence of numbers. Owns what is in flight; decides nothing about what is sent next.

use std::collections::VecDeque;

use super::outgoing::Piece;
use super::ranges::Ranges;
use crate::cluster::congestion::{Congestion, PERSISTENT_TIMEOUTS};
use crate::config;
use crate::time::{Duration, Time};

/// A datagram is lost when so many later ones have arrived (RFC 9002, 6.1.1).
const PACKET_THRESHOLD: u64 = 3;
/// Or when one that was sent so much later has, in eighths of a round trip (6.1.2).
const TIME_THRESHOLD_EIGHTHS: u64 = 9;
/// No timer is finer (6.1.2).
const GRANULARITY: Duration = Duration::from_millis(1);
/// A round trip before the first was measured: half of RFC 9002's third of a second is long for servers of one cluster.
const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(20);
/// The timeout doubles so often at most.
const BACKOFF_MAX: u32 = 6;

/// A datagram that the peer is to ack.
#[derive(Debug)]
struct Sent {
    at: Time,
    bytes: u32,
    pieces: Vec<Piece>,
}

/// See the module. Invariant: `sent` begins with a datagram that is in flight.
#[derive(Debug)]
pub struct Recovery {
    congestion: Congestion,
    /// By number, from `base` on; nothing for what is acked, lost, or not waited for.
    sent: VecDeque<Option<Sent>>,
    base: u64,
    in_flight: usize,
    largest_acked: u64,
    smoothed: Option<Duration>,
    variation: Duration,
    latest: Duration,
    /// When the earliest datagram counts as lost, if none of the later news comes first.
    loss_at: Option<Time>,
    /// When the newest datagram with pieces left.
    last_sent: Time,
    timeouts: u32,
    spare: Vec<Vec<Piece>>,
}

/// What became of pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Acked(Piece),
    Lost(Piece),
}

impl Recovery {
    pub fn new(datagram_bytes: usize) -> Self {
        Self {
            congestion: Congestion::new(datagram_bytes as u64),
            sent: VecDeque::new(),
            base: 1,
            in_flight: 0,
            largest_acked: 0,
            smoothed: None,
            variation: Duration(0),
            latest: Duration(0),
            loss_at: None,
            last_sent: Time(0),
            timeouts: 0,
            spare: Vec::new(),
        }
    }

    pub const fn has_room(&self) -> bool {
        self.congestion.has_room()
    }

    pub const fn round_trip(&self) -> Option<Duration> {
        self.smoothed
    }

    pub fn spare_pieces(&mut self) -> Vec<Piece> {
        self.spare.pop().unwrap_or_default()
    }

    fn keep_spare(&mut self, mut pieces: Vec<Piece>) {
        pieces.clear();
        if pieces.capacity() > 0 && self.spare.len() < config::ACK_RANGES_MAX {
            self.spare.push(pieces);
        }
    }

    /// Datagram `number` leaves; numbers grow.
    pub fn on_sent(&mut self, now: Time, number: u64, bytes: usize, pieces: Vec<Piece>) {
        if pieces.is_empty() {
            return self.keep_spare(pieces);
        }
        if self.in_flight == 0 {
            self.sent.clear();
            self.base = number;
        }
        let at = usize::try_from(number - self.base).expect("what is in flight is bounded");
        assert!(at >= self.sent.len(), "numbers grow");
        self.sent.resize_with(at, || None);
        self.sent.push_back(Some(Sent { at: now, bytes: bytes as u32, pieces }));
        self.in_flight += 1;
        self.last_sent = now;
        self.congestion.on_sent(bytes as u64);
    }

    fn take(&mut self, number: u64) -> Option<Sent> {
        let at = usize::try_from(number.checked_sub(self.base)?).ok()?;
        let sent = self.sent.get_mut(at)?.take()?;
        self.in_flight -= 1;
        while matches!(self.sent.front(), Some(None)) {
            self.sent.pop_front();
            self.base += 1;
        }
        Some(sent)
    }

    /// The peer says what has come; `upto` is the newest number that was sent. False when it acks what never was.
    pub fn on_ack(&mut self, now: Time, ranges: &Ranges, upto: u64, fates: &mut Vec<Fate>) -> bool {
        let Some(largest) = ranges.iter().next_back().map(|range| range.end - 1) else { return true };
        if largest > upto {
            return false;
        }
        for range in ranges.iter() {
            // most of what is acked has been acked before
            let end = range.end.min(self.base + self.sent.len() as u64);
            for number in range.start.max(self.base)..end {
                let Some(sent) = self.take(number) else { continue };
                if number == largest {
                    self.measure(now.since(sent.at));
                }
                let round_trip = self.smoothed.unwrap_or(INITIAL_ROUND_TRIP);
                self.congestion.on_acked(now, u64::from(sent.bytes), sent.at, round_trip);
                fates.extend(sent.pieces.iter().map(|&piece| Fate::Acked(piece)));
                self.timeouts = 0;
                self.keep_spare(sent.pieces);
            }
        }
        self.largest_acked = self.largest_acked.max(largest);
        self.find_lost(now, fates);
        true
    }

    /// RFC 9002, 5.3.
    fn measure(&mut self, sample: Duration) {
        self.latest = sample;
        match self.smoothed {
            None => {
                self.smoothed = Some(sample);
                self.variation = Duration(sample.0 / 2);
            }
            Some(smoothed) => {
                self.variation = Duration((3 * self.variation.0 + smoothed.0.abs_diff(sample.0)) / 4);
                self.smoothed = Some(Duration((7 * smoothed.0 + sample.0) / 8));
            }
        }
    }

    fn find_lost(&mut self, now: Time, fates: &mut Vec<Fate>) {
        let longest = self.smoothed.unwrap_or(INITIAL_ROUND_TRIP).max(self.latest);
        let patience = Duration((longest.0 * TIME_THRESHOLD_EIGHTHS / 8).max(GRANULARITY.0));
        self.loss_at = None;
        let mut lost: Option<(Time, Time)> = None;
        for number in self.base..self.largest_acked.min(self.base + self.sent.len() as u64) {
            let Some(sent) = &self.sent[(number - self.base) as usize] else { continue };
            let late = sent.at.after(patience);
            if self.largest_acked - number < PACKET_THRESHOLD && now < late {
                self.loss_at = Some(late);
                break;
            }
            let at = sent.at;
            lost = Some((lost.map_or(at, |(first, _)| first), at));
        }
        let Some((first, last)) = lost else { return };
        self.give_up(now, last, fates);
        let span = Duration(self.timeout().0 * PERSISTENT_TIMEOUTS);
        if self.smoothed.is_some() && last.since(first) > span {
            self.congestion.on_persistent();
        }
    }

    /// All that was sent at `last` or before and could have been acked is lost.
    fn give_up(&mut self, now: Time, last: Time, fates: &mut Vec<Fate>) {
        let mut number = self.base;
        while number < self.largest_acked && number < self.base + self.sent.len() as u64 {
            let is_lost = self.sent[(number - self.base) as usize].as_ref().is_some_and(|sent| sent.at <= last);
            // `take` moves the base
            if is_lost && let Some(sent) = self.take(number) {
                self.congestion.on_lost(now, u64::from(sent.bytes), sent.at);
                fates.extend(sent.pieces.iter().map(|&piece| Fate::Lost(piece)));
                self.keep_spare(sent.pieces);
            }
            number = (number + 1).max(self.base);
        }
    }

    /// Without news for so long the newest datagrams may be lost, of which no ack can tell (RFC 9002, 6.2.1).
    fn timeout(&self) -> Duration {
        let round_trip = self.smoothed.unwrap_or(INITIAL_ROUND_TRIP);
        let variation = if self.smoothed.is_some() { self.variation } else { Duration(INITIAL_ROUND_TRIP.0 / 2) };
        Duration(round_trip.0 + (4 * variation.0).max(GRANULARITY.0))
    }

    /// When `on_time` is due.
    pub fn deadline(&self) -> Option<Time> {
        let probe = Duration(self.timeout().0 << self.timeouts.min(BACKOFF_MAX));
        let probe_at = (self.in_flight > 0).then(|| self.last_sent.after(probe));
        self.loss_at.into_iter().chain(probe_at).min()
    }

    /// Time has passed: finds what is lost, or what to send again as a probe; whether that is a probe, for which the
    /// congestion window is no bound (RFC 9002, 7.5).
    pub fn on_time(&mut self, now: Time, fates: &mut Vec<Fate>) -> bool {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return false;
        }
        if self.loss_at.is_some_and(|at| at <= now) {
            self.find_lost(now, fates);
            return false;
        }
        self.timeouts = (self.timeouts + 1).min(BACKOFF_MAX);
        self.last_sent = now;
        let oldest = self.sent.front().and_then(Option::as_ref).expect("something is in flight");
        fates.extend(oldest.pieces.iter().map(|&piece| Fate::Lost(piece)));
        true
    }

    pub fn check_invariants(&self) {
        self.congestion.check_invariants();
        assert!(!matches!(self.sent.front(), Some(None)), "the front is in flight");
        let (mut count, mut bytes) = (0, 0);
        for sent in self.sent.iter().flatten() {
            count += 1;
            bytes += u64::from(sent.bytes);
        }
        assert!(count == self.in_flight && bytes == self.congestion.in_flight(), "what is in flight is counted");
    }
}
