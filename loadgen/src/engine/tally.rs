//! What is counted, and the pieces that it is handed on in. Which answers count where is the session's to say.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::recording::{DIGITS_OF_RUN, histogram};

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Requests answered, well or badly.
    pub answered: u64,
    /// Keys that were read, counted, touched or deleted and were there.
    pub hits: u64,
    /// Keys that were not there.
    pub misses: u64,
    /// Values stored.
    pub stored: u64,
    /// Writes whose condition did not hold: another's cas came first.
    pub not_stored: u64,
    /// Refusals of the server: `ERROR`, `CLIENT_ERROR`, `SERVER_ERROR`.
    pub errors: u64,
    /// Answers that do not belong to the request, and values that nobody wrote there.
    pub mismatches: u64,
    /// Values older than one that was acknowledged before the read was sent.
    pub stale: u64,
    /// Requests whose connection ended, so that nobody knows what became of them.
    pub unknown: u64,
    /// Requests that were due in the run and had no answer when it was given up.
    pub unanswered: u64,
}

impl Tally {
    /// Adds what another counted.
    pub fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.hits += other.hits;
        self.misses += other.misses;
        self.stored += other.stored;
        self.not_stored += other.not_stored;
        self.errors += other.errors;
        self.mismatches += other.mismatches;
        self.stale += other.stale;
        self.unknown += other.unknown;
        self.unanswered += other.unanswered;
    }
}

/// What one thread counted in one interval.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The how manyth interval since the measured part began, from 0.
    pub index: u64,
    /// The counts.
    pub tally: Tally,
    /// Nanoseconds from when each request was due to its answer.
    pub latencies: Histogram<u64>,
}

impl Piece {
    /// An empty one.
    pub fn new(index: u64) -> Self {
        Self { index, tally: Tally::default(), latencies: histogram(DIGITS_OF_RUN) }
    }
}
