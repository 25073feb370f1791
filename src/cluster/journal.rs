//! A server's own log as the roles see it: where it stands, what of it is durable, what is committed.
//!
//! ```text
//! 0 ........ commit ........ durable ........ end        positions
//!   applied         prepared: keys locked
//! ```

use super::configuration::{Mark, Position};
use super::effect::Effect;
use super::frame::Frame;
use super::history::{EpochStart, History};
use super::tail::Tail;
use crate::config;
use crate::time::Time;

/// See the module.
#[derive(Clone, Debug)]
pub struct Journal {
    history: History,
    tail: Tail,
    /// Everything below is on the disk. Invariant: at most the end.
    durable: Position,
    /// Everything below is committed and applied. Invariant: at most the end.
    commit: Mark,
    /// Where the log stood when the server started: which of its entries are committed it does not know. Commit goes
    /// from the snapshot to here in one step.
    recovered: Mark,
    /// The newest leader's time in the log.
    last_time: Time,
    /// How often it was truncated.
    cut: u64,
    /// The disk took nothing beyond this.
    refused: Option<Position>,
    /// Buffers of frames that nobody needs any more. Invariant: few.
    spare: Vec<Vec<u8>>,
}

impl Journal {
    /// Of a log that was read back and of whose entries those below `applied` are in the store.
    pub fn new(history: Vec<EpochStart>, end: Mark, applied: Mark, last_time: Time) -> Self {
        let history = History::new(history, end);
        assert!(applied.position <= end.position, "a snapshot is not ahead of its log");
        let (tail, durable) = (Tail::default(), end.position);
        Self {
            history,
            tail,
            durable,
            commit: applied,
            recovered: end,
            last_time,
            cut: 0,
            refused: None,
            spare: Vec::new(),
        }
    }

    /// Of a snapshot that takes the place of this log: it is empty and begins at `start`. What was being written says
    /// nothing any more.
    pub fn replaced(&self, history: Vec<EpochStart>, start: Mark, last_time: Time) -> Self {
        Self { cut: self.cut + 1, ..Self::new(history, start, start, last_time) }
    }

    pub const fn history(&self) -> &History {
        &self.history
    }

    pub const fn tail(&self) -> &Tail {
        &self.tail
    }

    pub const fn end(&self) -> Mark {
        self.history.end()
    }

    pub const fn durable(&self) -> Position {
        self.durable
    }

    pub const fn commit(&self) -> Mark {
        self.commit
    }

    pub const fn last_time(&self) -> Time {
        self.last_time
    }

    /// Whether everything that was there at the start is known to be committed, or cut.
    pub const fn is_settled(&self) -> bool {
        self.commit.position.0 >= self.recovered.position.0
    }

    pub const fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Bytes appended and not committed.
    pub const fn prepared_bytes(&self) -> u64 {
        self.end().position.0 - self.commit.position.0
    }

    /// Adds a frame at the end.
    pub fn append(&mut self, frame: Frame, effects: &mut Vec<Effect>) {
        let header = frame.header();
        self.last_time = self.last_time.max(header.start.time);
        self.history.push(EpochStart::of(header), frame.mark());
        self.history.trim(self.commit.position);
        self.tail.push(frame.clone());
        let spare = &mut self.spare;
        self.tail.trim(self.durable.min(self.commit.position), |frame| {
            if spare.len() < config::FRAME_BUFFERS_KEPT {
                spare.extend(frame.into_buffer());
            }
        });
        // while the disk is full, frames wait in the tail
        if self.refused.is_none() {
            effects.push(Effect::Append { frame, cut: self.cut });
        }
    }

    /// The buffer of a frame that nobody needs any more, for a coming one.
    pub fn spare_buffer(&mut self) -> Option<Vec<u8>> {
        self.spare.pop()
    }

    /// Cuts the log. Never below the commit: that would lose what a client was told.
    pub fn truncate(&mut self, to: Mark, effects: &mut Vec<Effect>) {
        assert!(to.position >= self.commit.position, "R13: a committed entry would be cut off");
        self.history.truncate(to);
        self.tail.truncate(to.position);
        self.durable = self.durable.min(to.position);
        if to.position < self.recovered.position {
            self.recovered = to;
        }
        self.refused = self.refused.filter(|written| *written < to.position);
        self.cut += 1;
        effects.push(Effect::Truncate { to, cut: self.cut });
    }

    /// Whether more is durable than before. What was written before the last truncation proves nothing about what was
    /// written after it.
    pub fn on_persisted(&mut self, upto: Position, cut: u64) -> bool {
        if cut != self.cut || upto <= self.durable {
            return false;
        }
        assert!(upto <= self.end().position, "more is durable than was written");
        self.durable = upto;
        true
    }

    /// The disk is full.
    pub fn on_refused(&mut self, written: Position, cut: u64) {
        if cut == self.cut {
            assert!(written >= self.durable, "what was durable is refused");
            self.refused = Some(written);
        }
    }

    /// Hands the disk again what it had no room for.
    pub fn retry(&mut self, effects: &mut Vec<Effect>) {
        if let Some(written) = self.refused.take() {
            let again = self.tail.from(written);
            effects.extend(again.map(|frame| Effect::Append { frame: frame.clone(), cut: self.cut }));
        }
    }

    /// Commits all frames that end at or below `upto`; whether that was news.
    pub fn commit_to(&mut self, upto: Position, effects: &mut Vec<Effect>) -> bool {
        let upto = upto.min(self.durable);
        if upto <= self.commit.position || upto < self.recovered.position {
            return false;
        }
        let mark = self.tail.mark_at_most(upto).unwrap_or(self.recovered);
        if mark.position <= self.commit.position {
            return false;
        }
        self.commit = mark;
        effects.push(Effect::Commit { upto: mark });
        true
    }

    pub fn check_invariants(&self) {
        self.history.check_invariants();
        self.tail.check_invariants(self.end().position);
        assert!(self.durable <= self.end().position, "durable and not there");
        assert!(self.commit.position <= self.end().position, "committed and not there");
    }
}
