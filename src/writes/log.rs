//! The log's bookkeeping: which frame comes next, which are under way, what is durable. Bytes, no files.

use std::collections::VecDeque;

use crate::config;
use crate::log::{Entry, Epoch, FrameBuilder, FrameStart, LogIndex, Origin, Position};
use crate::time::Time;

/// Where a recovered log ends.
#[derive(Clone, Copy, Debug)]
pub struct LogStart {
    /// The epoch this server writes in.
    pub epoch: Epoch,
    /// The newest entry's index.
    pub last_index: LogIndex,
    /// Where the next frame begins.
    pub end: Position,
    /// The leader's time in the newest frame; the next is never earlier.
    pub last_time: Time,
}

/// A finished frame for the disk.
pub struct Frame {
    /// Its bytes, header and checksum included.
    pub bytes: Vec<u8>,
    /// Where it ends in the log.
    pub end: Position,
}

/// A frame handed to the disk and not yet committed.
struct UnderWay {
    end: Position,
    last_index: LogIndex,
}

/// The log as the write path sees it.
pub struct LogState {
    builder: FrameBuilder,
    finished: Vec<Frame>,
    under_way: VecDeque<UnderWay>,
    epoch: Epoch,
    /// Where the next frame begins.
    end: Position,
    /// Everything below is on the disk; invariant: never above `end`.
    durable: Position,
    committed: (Position, LogIndex),
    last_index: LogIndex,
    last_time: Time,
    /// Of the entry that comes next, if its write came through a server of the cluster.
    pub origin: Option<Origin>,
}

impl LogState {
    pub fn new(start: LogStart) -> Self {
        Self {
            builder: FrameBuilder::new(),
            finished: Vec::new(),
            under_way: VecDeque::new(),
            epoch: start.epoch,
            end: start.end,
            durable: start.end,
            committed: (start.end, start.last_index),
            last_index: start.last_index,
            last_time: start.last_time,
            origin: None,
        }
    }

    /// Where a leader's log goes on; not all of it is on the disk yet.
    pub fn leading(start: LogStart, durable: Position) -> Self {
        assert!(durable <= start.end, "more is durable than was written");
        Self { durable, ..Self::new(start) }
    }

    /// No frame is begun, and all that were finished have been handed over.
    pub const fn is_between_turns(&self) -> bool {
        self.builder.is_empty() && self.finished.is_empty()
    }

    /// The leader's time never goes back.
    pub fn at_least(&self, now: Time) -> Time {
        now.max(self.last_time)
    }

    /// Adds an entry to the turn's frame.
    pub fn push(&mut self, now: Time, index: LogIndex, entry: &Entry<'_>) {
        if self.builder.is_empty() {
            self.last_time = self.last_time.max(now);
            self.builder.begin(FrameStart {
                epoch: self.epoch,
                first_index: index,
                position: self.end,
                durable_upto: self.durable,
                time: self.last_time,
            });
        }
        let given = match self.origin {
            None => self.builder.push(entry),
            Some(origin) => self.builder.push_from(&origin, entry),
        };
        assert!(given == index, "the frame and the write path count alike");
        self.last_index = index;
        if self.builder.len() >= config::FRAME_BYTES_TARGET {
            self.finish_frame();
        }
    }

    fn finish_frame(&mut self) {
        if self.builder.is_empty() {
            return;
        }
        let bytes = self.builder.take();
        self.end.0 += bytes.len() as u64;
        self.under_way.push_back(UnderWay { end: self.end, last_index: self.last_index });
        self.finished.push(Frame { bytes, end: self.end });
    }

    pub fn finish_turn(&mut self, frames: &mut Vec<Frame>) {
        self.finish_frame();
        frames.append(&mut self.finished);
    }

    /// The index that is committed now that `upto` is persisted, if that is news.
    pub fn commit(&mut self, upto: Position) -> Option<LogIndex> {
        let mut news = None;
        while self.under_way.front().is_some_and(|frame| frame.end <= upto) {
            let frame = self.under_way.pop_front().expect("it was there");
            self.committed = (frame.end, frame.last_index);
            news = Some(frame.last_index);
        }
        news
    }

    pub const fn synced(&mut self, upto: Position) {
        assert!(upto.0 <= self.end.0, "more is durable than was written");
        if upto.0 > self.durable.0 {
            self.durable = upto;
        }
    }

    /// Nothing beyond `written` is in the log; the last index that is.
    pub fn refuse(&mut self, written: Position) -> LogIndex {
        assert!(self.is_between_turns(), "refused in the middle of a turn");
        while self.under_way.back().is_some_and(|frame| frame.end > written) {
            self.under_way.pop_back();
        }
        let (end, last) = self.under_way.back().map_or(self.committed, |frame| (frame.end, frame.last_index));
        assert!(end == written, "the disk keeps whole frames");
        (self.end, self.last_index) = (end, last);
        last
    }

    /// Bytes of frames that are finished and not yet committed.
    pub const fn bytes_under_way(&self) -> u64 {
        self.end.0 - self.committed.0.0
    }

    pub fn reuse(&mut self, buffer: Vec<u8>) {
        self.builder.reuse(buffer);
    }

    pub const fn end(&self) -> Position {
        self.end
    }

    pub const fn durable(&self) -> Position {
        self.durable
    }
}
