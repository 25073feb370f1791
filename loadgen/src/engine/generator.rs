//! One thread's load as data: which request goes out when and on which connection, and what comes of it. Time is an
//! argument (nanoseconds since the load began), bytes go in and out by the sessions; there is no socket and no clock here,
//! so that a test can drive it through any course of events.
//!
//! ```text
//! open loop     schedule --due--> a connection with room? --yes--> sent, and counted from when it was due
//!                                          '--no--> stays on the schedule, and its time runs
//! closed loop   a connection without requests in flight --> sends the next ones together, counted from now
//! ```

use std::collections::VecDeque;

use hdrhistogram::Histogram;
use ringstore::proto::{Answered, parse_answer};

use super::author::{Author, Shape};
use super::session::{Judge, Outcome, Request, Session};
use super::tally::{Piece, Tally};
use crate::recording::{DIGITS_OF_RUN, histogram};
use crate::workload::arrivals::{Arrivals, Spacing};

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// When the ones before were answered.
    Closed,
    /// By a schedule of so many requests a second, whatever comes of them.
    Open { rate: f64, spacing: Spacing },
}

/// When the load is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// So many nanoseconds after the warm-up.
    After(u64),
    /// When so many requests were sent after the warm-up.
    Requests(u64),
}

/// How one thread drives its part.
#[derive(Clone, Debug)]
pub struct Orders {
    /// What is asked for.
    pub shape: Shape,
    /// When.
    pub pace: Pace,
    /// Until when.
    pub end: End,
    /// Nanoseconds whose requests are not counted.
    pub warm_up: u64,
    /// Nanoseconds of an interval.
    pub interval: u64,
    /// Most requests in flight on a connection.
    pub pipeline: usize,
    /// Nanoseconds that what is under way at the end is waited for.
    pub drain: u64,
    /// Nanoseconds after which an unanswered request's connection is given up; nothing waits for ever.
    pub patience: Option<u64>,
    /// Whether values are checked.
    pub verify: bool,
    /// Decides everything that is drawn.
    pub seed: u64,
    /// Which thread of how many this is.
    pub thread: usize,
    pub threads: usize,
    /// Its connections.
    pub sessions: usize,
    /// Who it is in values.
    pub writer: u32,
}

impl Orders {
    /// This thread's part of a total, and what the threads before it have.
    fn share(&self, total: u64) -> (u64, u64) {
        let (threads, thread) = (self.threads as u64, self.thread as u64);
        (total / threads + u64::from(thread < total % threads), total / threads * thread + thread.min(total % threads))
    }
}

/// Bytes that no server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbled {
    /// They are no answer of memcached's.
    Malformed,
    /// An answer that nobody has asked for.
    Surplus,
}

/// What was done with received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// So many are done with.
    pub consumed: usize,
    /// The rest is of no use before there are so many.
    pub need: usize,
}

/// One thread's load.
pub struct Generator {
    orders: Orders,
    author: Author,
    sessions: Vec<Session>,
    schedule: Option<Arrivals>,
    /// Connected sessions with nothing in flight, the longest first.
    idle: VecDeque<usize>,
    /// Where the search for a session with room begins.
    cursor: usize,
    /// Requests that connected sessions have room for.
    room: usize,
    /// A request was due when there was no room; since there is again, the time of that.
    blocked: bool,
    room_since: u64,
    in_flight: usize,
    /// Requests still to be sent; nothing when time ends the load.
    budget: Option<u64>,
    piece: Piece,
    pieces: Vec<Piece>,
    /// How late requests were sent though there was room for them.
    lag: Histogram<u64>,
    /// Sessions whose output is to be sent.
    outgoing: Vec<usize>,
    /// The warm-up is over.
    warm: bool,
    /// When the last answer came or was given up.
    done_at: u64,
    finished: bool,
}

impl Generator {
    /// Nothing is connected yet.
    pub fn new(orders: Orders) -> Self {
        let keys = orders.shape.keys.count;
        let first = orders.share(u64::from(keys)).1 as u32;
        // threads draw differently, and schedule and keys too
        let seed = orders.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(orders.thread as u64);
        let author = Author::new(orders.shape.clone(), first, seed, orders.writer, orders.verify);
        let schedule = match orders.pace {
            Pace::Closed => None,
            Pace::Open { rate, spacing } => {
                Some(Arrivals::new(spacing, rate, orders.thread, orders.threads, seed ^ 0x4455_4521))
            }
        };
        let budget = if let End::Requests(total) = orders.end { Some(orders.share(total).0) } else { None };
        let sessions = (0..orders.sessions).map(|_| Session::default()).collect();
        Self {
            author,
            sessions,
            schedule,
            idle: VecDeque::new(),
            cursor: 0,
            room: 0,
            blocked: false,
            room_since: 0,
            in_flight: 0,
            budget,
            piece: Piece::new(0),
            pieces: Vec::new(),
            lag: histogram(DIGITS_OF_RUN),
            outgoing: Vec::new(),
            warm: false,
            done_at: 0,
            finished: false,
            orders,
        }
    }

    /// A connection stands.
    pub fn connected(&mut self, session: usize, now: u64) {
        assert!(!self.sessions[session].connected && self.sessions[session].in_flight() == 0);
        self.sessions[session].connected = true;
        self.idle.push_back(session);
        self.make_room(self.orders.pipeline, now);
    }

    /// A connection has ended: nobody knows what became of what was in flight.
    pub fn ended(&mut self, session: usize, now: u64) {
        self.tick(now);
        if !self.sessions[session].connected {
            return;
        }
        let lost = self.sessions[session].end();
        self.idle.retain(|idle| *idle != session);
        self.room -= self.orders.pipeline - lost.len();
        self.in_flight -= lost.len();
        self.piece.tally.unknown += lost.iter().filter(|request| self.counts(request.due)).count() as u64;
    }

    /// Sends all that is due: what was written waits in the outputs of the sessions that
    /// [`take_outgoing`](Self::take_outgoing) names.
    #[inline]
    pub fn issue(&mut self, now: u64) {
        if self.schedule.is_some() {
            self.issue_scheduled(now);
        } else {
            self.issue_batches(now);
        }
    }

    fn issue_scheduled(&mut self, now: u64) {
        while let Some(due) = self.next_due().filter(|due| *due <= now) {
            let Some(session) = self.roomy() else {
                self.blocked = true;
                return;
            };
            if let Some(schedule) = &mut self.schedule {
                schedule.pass();
            }
            if self.counts(due) {
                self.lag.saturating_record(now - due.max(self.room_since).min(now));
            }
            self.send(session, due, now);
        }
    }

    fn issue_batches(&mut self, now: u64) {
        while !self.is_over(now) {
            let Some(session) = self.idle.pop_front() else { return };
            for _ in 0..self.orders.pipeline {
                if self.is_over(now) {
                    break;
                }
                self.send(session, now, now);
            }
        }
    }

    /// When the next request is due, if one is.
    fn next_due(&self) -> Option<u64> {
        let due = self.schedule.as_ref()?.next_due();
        (!self.finished && !self.is_over(due)).then_some(due)
    }

    /// Whether a request that is due at this time belongs to the load no more.
    fn is_over(&self, due: u64) -> bool {
        match self.orders.end {
            End::After(time) => due >= self.orders.warm_up + time,
            End::Requests(_) => self.budget == Some(0),
        }
    }

    /// Whether a request is counted: one of the warm-up's is not.
    fn counts(&self, due: u64) -> bool {
        due >= self.orders.warm_up
    }

    /// A connected session that may have another request in flight, an idle one first, else the next one in turn.
    fn roomy(&mut self) -> Option<usize> {
        if self.room == 0 {
            return None;
        }
        if let Some(idle) = self.idle.pop_front() {
            return Some(idle);
        }
        loop {
            let at = self.cursor;
            self.cursor = if at + 1 == self.sessions.len() { 0 } else { at + 1 };
            let session = &self.sessions[at];
            if session.connected && session.in_flight() < self.orders.pipeline {
                return Some(at);
            }
        }
    }

    fn send(&mut self, session: usize, due: u64, now: u64) {
        if self.counts(due)
            && let Some(budget) = &mut self.budget
        {
            *budget -= 1;
        }
        self.note_outgoing(session);
        self.author.next(&mut self.sessions[session], due, now);
        self.in_flight += 1;
        self.room -= 1;
    }

    fn note_outgoing(&mut self, session: usize) {
        if self.sessions[session].output.is_empty() {
            self.outgoing.push(session);
        }
    }

    /// The next session whose output has something new.
    #[inline]
    pub fn take_outgoing(&mut self) -> Option<usize> {
        self.outgoing.pop()
    }

    /// What a session is to send; who sends it clears it.
    #[inline]
    pub fn output(&mut self, session: usize) -> &mut Vec<u8> {
        &mut self.sessions[session].output
    }

    /// Takes what a connection has received: all of it that was not taken before.
    ///
    /// # Errors
    /// When it cannot be understood; nothing after it can.
    pub fn received(&mut self, session: usize, bytes: &[u8], now: u64) -> Result<Taken, Garbled> {
        self.tick(now);
        let (mut at, mut freed) = (0, 0);
        let need = loop {
            if at == bytes.len() {
                break 0;
            }
            match parse_answer(&bytes[at..]) {
                Answered::Need { total } => break total,
                Answered::Malformed => return Err(Garbled::Malformed),
                Answered::Answer { answer, consumed } => {
                    at += consumed;
                    let mut judge = Judge {
                        tally: &mut self.piece.tally,
                        freshness: &mut self.author.freshness,
                        writer: self.author.writer,
                        verify: self.orders.verify,
                    };
                    match self.sessions[session].answer(&answer, &mut judge).ok_or(Garbled::Surplus)? {
                        Outcome::Open => {}
                        Outcome::Finished(request) => {
                            freed += 1;
                            self.finish(&request, now);
                        }
                        Outcome::Found { request, key, unique } => {
                            self.note_outgoing(session);
                            self.author.swap(&mut self.sessions[session], request, key, unique, now);
                        }
                    }
                }
            }
        };
        if freed > 0 {
            self.done_at = now;
            self.in_flight -= freed;
            self.make_room(freed, now);
            if self.sessions[session].in_flight() == 0 {
                self.idle.push_back(session);
            }
        }
        Ok(Taken { consumed: at, need })
    }

    #[inline]
    fn finish(&mut self, request: &Request, now: u64) {
        if self.counts(request.due) {
            self.piece.tally.answered += 1;
            self.piece.latencies.saturating_record(now - request.due);
        }
    }

    fn make_room(&mut self, requests: usize, now: u64) {
        self.room += requests;
        if std::mem::take(&mut self.blocked) {
            self.room_since = now;
        }
    }

    /// Closes the intervals that are over. Of the warm-up nothing stays but what should never be.
    #[inline]
    pub fn tick(&mut self, now: u64) {
        if !self.warm && self.counts(now) {
            self.warm = true;
            let Tally { mismatches, stale, .. } = self.piece.tally;
            self.piece.tally = Tally { mismatches, stale, ..Tally::default() };
        }
        while now >= self.interval_end() && !self.finished {
            let next = Piece::new(self.piece.index + 1);
            self.pieces.push(std::mem::replace(&mut self.piece, next));
        }
    }

    fn interval_end(&self) -> u64 {
        self.orders.warm_up + (self.piece.index + 1) * self.orders.interval
    }

    /// Sessions whose oldest request has waited for too long.
    pub fn overdue(&self, now: u64) -> Vec<usize> {
        let Some(patience) = self.orders.patience else { return Vec::new() };
        let waits = |session: &Session| session.oldest_sent().is_some_and(|sent| sent + patience < now);
        self.sessions.iter().enumerate().filter(|(_, session)| waits(session)).map(|(id, _)| id).collect()
    }

    /// When to look again if nothing is received, which is later than the last look: at the next request that can be sent,
    /// or at the end of the interval or of the wait for the last answers.
    pub fn wake_at(&self) -> u64 {
        let due = self.next_due().filter(|_| self.room > 0).unwrap_or(u64::MAX);
        due.min(self.interval_end()).min(self.deadline())
    }

    /// When the load is over by the clock.
    fn over_at(&self) -> u64 {
        if let End::After(time) = self.orders.end { self.orders.warm_up + time } else { u64::MAX }
    }

    fn deadline(&self) -> u64 {
        self.over_at().saturating_add(self.orders.drain)
    }

    /// Whether all is answered, or given up.
    pub fn is_done(&self, now: u64) -> bool {
        let sent = match self.orders.pace {
            Pace::Closed => self.is_over(now),
            // what was due before the end is sent after it, if it must be
            Pace::Open { .. } => self.is_over(now) && self.next_due().is_none(),
        };
        self.finished || (sent && self.in_flight == 0) || now >= self.deadline()
    }

    /// When the last answer came or was given up.
    pub const fn done_at(&self) -> u64 {
        self.done_at
    }

    /// Closes the books: what has no answer now has waited at least until now.
    pub fn finish_at(&mut self, now: u64) {
        self.tick(now);
        let mut due = Vec::new();
        for session in &mut self.sessions {
            due.extend(session.end().iter().map(|request| request.due));
        }
        while let Some(next) = self.next_due().filter(|due| *due <= now) {
            due.push(next);
            if let Some(schedule) = &mut self.schedule {
                schedule.pass();
            }
            self.budget = self.budget.map(|budget| budget - 1);
        }
        for due in due.into_iter().filter(|due| *due >= self.orders.warm_up) {
            self.done_at = now;
            self.piece.tally.unanswered += 1;
            self.piece.latencies.saturating_record(now - due);
        }
        let last = Piece::new(self.piece.index + 1);
        self.pieces.push(std::mem::replace(&mut self.piece, last));
        self.finished = true;
    }

    /// Counts of the intervals that are over and were not taken yet.
    pub fn take_pieces(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.pieces)
    }

    /// How late requests were sent though there was room for them, in nanoseconds; empty in a closed loop.
    pub const fn lag(&self) -> &Histogram<u64> {
        &self.lag
    }
}

#[cfg(test)]
#[path = "generator_tests.rs"]
mod tests;
