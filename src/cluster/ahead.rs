//! Frames that came ahead of a gap: kept until what is before them has come, so that only what is missing is sent again.
//! Owns a bounded number of them and knows the holes between them. Never gives one up before its turn: the leader relies on
//! what it was told is here.

use std::collections::VecDeque;

use super::configuration::{Mark, Position};
use super::frame::Frame;
use super::message::Missing;
use crate::config;

/// Invariant: in the order of their positions, none overlaps another, within the bounds of config.
#[derive(Clone, Debug, Default)]
pub struct Ahead {
    /// Each with the mark that it was made behind.
    frames: VecDeque<(Mark, Frame)>,
    bytes: usize,
}

impl Ahead {
    /// Keeps a frame that begins below `limit`; whether it is here now.
    pub fn keep(&mut self, previous: Mark, frame: &Frame, limit: Position) -> bool {
        let at = self.frames.partition_point(|(_, other)| other.position() < frame.position());
        if self.frames.get(at).is_some_and(|(_, other)| other.position() < frame.end()) {
            return self.frames[at].1.mark() == frame.mark();
        }
        let overlaps = at > 0 && self.frames[at - 1].1.end() > frame.position();
        let full = self.frames.len() >= config::FLIGHT_FRAMES_MAX || frame.position() >= limit;
        if overlaps || full {
            return false;
        }
        self.bytes += frame.bytes().len();
        self.frames.insert(at, (previous, frame.clone()));
        true
    }

    /// The frame that begins at `position`; older ones are not needed any more.
    pub fn take(&mut self, position: Position) -> Option<(Mark, Frame)> {
        while self.frames.front().is_some_and(|(_, frame)| frame.position() < position) {
            self.pop();
        }
        if self.frames.front()?.1.position() > position {
            return None;
        }
        self.pop()
    }

    fn pop(&mut self) -> Option<(Mark, Frame)> {
        let first = self.frames.pop_front()?;
        self.bytes -= first.1.bytes().len();
        Some(first)
    }

    /// What is missing between `end` and the frames here, as far as a message says it, and where that knowledge ends.
    pub fn missing(&self, end: Position) -> (Vec<Missing>, Position) {
        // an empty one takes no memory, and mostly it is empty
        let (mut holes, mut top) = (Vec::new(), end);
        for (_, frame) in self.frames.iter().skip_while(|(_, frame)| frame.end() <= end) {
            if frame.position() > top {
                if holes.len() == config::MISSING_RANGES_MAX {
                    break;
                }
                holes.push(Missing { from: top, to: frame.position() });
            }
            top = frame.end();
        }
        (holes, top)
    }

    pub fn check_invariants(&self) {
        let apart = self.frames.iter().is_sorted_by(|(_, a), (_, b)| a.end() <= b.position());
        assert!(apart, "frames ahead are apart");
        assert!(self.frames.len() <= config::FLIGHT_FRAMES_MAX, "frames ahead are bounded");
        assert!(self.bytes == self.frames.iter().map(|(_, frame)| frame.bytes().len()).sum::<usize>());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::prelude::*;
    use rand::rngs::StdRng;

    use super::*;
    use crate::cluster::configuration::{Epoch, LogIndex};
    use crate::log::{Entry, FrameBuilder, FrameStart};
    use crate::time::{Expiry, Time};

    /// A log of so many frames, each with the mark before it.
    fn log(frames: usize, rng: &mut StdRng) -> Vec<(Mark, Frame)> {
        let (mut builder, mut previous) = (FrameBuilder::new(), Mark::default());
        let mut make = || {
            builder.begin(FrameStart {
                epoch: Epoch(1),
                first_index: LogIndex(previous.index.0 + 1),
                position: previous.position,
                durable_upto: Position(0),
                time: Time(5),
            });
            for _ in 0..rng.random_range(1..9) {
                builder.push(&Entry::Touch { key: b"key", expiry: Expiry::NEVER });
            }
            let frame = Frame::built(builder.take());
            (std::mem::replace(&mut previous, frame.mark()), frame)
        };
        (0..frames).map(|_| make()).collect()
    }

    /// The same, byte by byte: what is here is a set of bytes.
    fn naive(kept: &BTreeMap<u64, u64>, end: u64) -> Vec<(u64, u64)> {
        let last = kept.values().copied().max().unwrap_or(end);
        let here = |byte: u64| kept.iter().any(|(&from, &to)| (from..to).contains(&byte));
        let mut holes = Vec::new();
        let mut byte = end;
        while byte < last {
            let from = byte;
            while byte < last && !here(byte) {
                byte += 1;
            }
            if byte > from {
                holes.push((from, byte));
            }
            while byte < last && here(byte) {
                byte += 1;
            }
        }
        holes
    }

    #[test]
    fn holes_are_what_a_naive_set_of_bytes_lacks() {
        for seed in 0..200 {
            println!("seed {seed}");
            let mut rng = StdRng::seed_from_u64(seed);
            let frames = log(24, &mut rng);
            let (mut ahead, mut kept, mut end) = (Ahead::default(), BTreeMap::new(), 0);
            let mut order: Vec<usize> = (0..frames.len()).chain(0..4).collect();
            order.shuffle(&mut rng);
            for at in order {
                let (previous, frame) = &frames[at];
                if frame.position().0 >= end {
                    assert!(ahead.keep(*previous, frame, Position(u64::MAX)));
                    kept.insert(frame.position().0, frame.end().0);
                }
                while let Some((mark, next)) = ahead.take(Position(end)) {
                    assert_eq!((mark.position.0, kept.remove(&end)), (end, Some(next.end().0)));
                    end = next.end().0;
                }
                ahead.check_invariants();
                let (holes, top) = ahead.missing(Position(end));
                let holes: Vec<_> = holes.iter().map(|hole| (hole.from.0, hole.to.0)).collect();
                assert_eq!(holes, naive(&kept, end));
                assert_eq!(top.0, kept.values().copied().max().unwrap_or(end));
            }
            assert_eq!(end, frames.last().expect("some").1.end().0, "all came, so all is in order");
        }
    }

    #[test]
    fn what_begins_beyond_the_window_is_not_kept() {
        let frames = log(4, &mut StdRng::seed_from_u64(1));
        let mut ahead = Ahead::default();
        let limit = frames[2].1.position();
        assert!(!ahead.keep(frames[2].0, &frames[2].1, limit));
        assert!(ahead.keep(frames[1].0, &frames[1].1, limit));
        assert!(ahead.keep(frames[1].0, &frames[1].1, limit), "twice is once");
        assert_eq!(ahead.take(Position(0)), None);
        assert_eq!(ahead.missing(Position(0)).0.len(), 1);
    }
}
