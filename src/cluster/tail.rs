//! The newest frames in memory: what followers lack is sent again from here, and marks between commit and end are found here.

use std::collections::VecDeque;

use super::configuration::{Mark, Position};
use super::frame::Frame;
use crate::config;

/// Invariant: frames continue each other without gaps.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Tail {
    /// Adds the log's newest frame.
    pub fn push(&mut self, frame: Frame) {
        if let Some(last) = self.frames.back() {
            assert!(last.end() == frame.position(), "frames continue each other");
        }
        self.bytes += frame.bytes().len();
        self.frames.push_back(frame);
    }

    /// Drops what is at `position` and behind it.
    pub fn truncate(&mut self, position: Position) {
        while self.frames.back().is_some_and(|frame| frame.end() > position) {
            let frame = self.frames.pop_back().expect("it was there");
            assert!(frame.position() >= position, "a log is cut between frames");
            self.bytes -= frame.bytes().len();
        }
    }

    /// Forgets old frames past the bound, none of those behind `keep`; they are handed to `spare`.
    pub fn trim(&mut self, keep: Position, mut spare: impl FnMut(Frame)) {
        let full = |tail: &Self| tail.bytes > config::TAIL_BYTES || tail.frames.len() > config::TAIL_FRAMES;
        while full(self) && self.frames.front().is_some_and(|frame| frame.end() <= keep) {
            let frame = self.frames.pop_front().expect("it was there");
            self.bytes -= frame.bytes().len();
            spare(frame);
        }
    }

    /// The frame that begins at `position`.
    #[must_use]
    pub fn at(&self, position: Position) -> Option<&Frame> {
        // mostly it is the newest that is looked for
        if let Some(last) = self.frames.back().filter(|last| last.position() == position) {
            return Some(last);
        }
        let at = self.frames.partition_point(|frame| frame.position() < position);
        self.frames.get(at).filter(|frame| frame.position() == position)
    }

    /// All frames that begin at `position` or behind it.
    pub fn from(&self, position: Position) -> impl Iterator<Item = &Frame> {
        self.frames.range(self.frames.partition_point(|frame| frame.position() < position)..)
    }

    /// The mark of the last frame that ends at or below `position`.
    #[must_use]
    pub fn mark_at_most(&self, position: Position) -> Option<Mark> {
        if let Some(last) = self.frames.back().filter(|last| last.end() <= position) {
            return Some(last.mark());
        }
        let later = self.frames.partition_point(|frame| frame.end() <= position);
        later.checked_sub(1).map(|last| self.frames[last].mark())
    }

    /// What must hold; `end` is the log's.
    pub fn check_invariants(&self, end: Position) {
        assert!(self.frames.back().is_none_or(|frame| frame.end() == end), "the newest frame ends where the log does");
        assert!(self.bytes == self.frames.iter().map(|frame| frame.bytes().len()).sum::<usize>());
    }
}
