//! A server's surroundings: its disk, its store (which writes of the one key are applied), its clients.

use std::collections::VecDeque;

use ringstore::cluster::{Boot, Doubt, Effect, EpochStart, Frame, Input, Mark, NodeRecord, Replica, Rules, Timing};
use ringstore::log::{Entry, Epoch, FrameBuilder, FrameStart, LogId, LogIndex, NodeId, Origin, Position};
use ringstore::time::{Expiry, Time};

/// The write that a frame holds, counted from 1, if it is not a no-op.
#[must_use]
pub fn write_of(frame: &Frame) -> Option<u8> {
    frame.view().entries().find_map(|entry| match entry.expect("it was made right").1 {
        Entry::Put { value, .. } => Some(value[0]),
        _ => None,
    })
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Node {
    pub name: u8,
    /// Nothing while it is down.
    pub replica: Option<Replica>,
    /// As it is on the disk.
    pub record: NodeRecord,
    /// Being written.
    pub records: VecDeque<NodeRecord>,
    pub log: Vec<Frame>,
    /// So many of its frames are on the disk.
    pub durable: usize,
    /// Ends of frames that are being written, and the `cut` of their `Append`.
    pub writing: VecDeque<(Position, u64)>,
    /// So many frames are in the store.
    pub applied: usize,
    /// Where frames begin whose keys are locked.
    pub locked: Vec<Position>,
    /// Where its write path goes on, while it leads.
    pub lead: Option<(Epoch, Mark)>,
    /// Writes of its own clients that wait: which, and where their frames end.
    pub mine: Vec<(u8, Position)>,
    /// Writes it sent on, by their numbers.
    pub sent_on: Vec<(u64, u8)>,
    /// The write that a client asked for last.
    pub asked: u8,
    pub ticked: bool,
}

impl Node {
    #[must_use]
    pub const fn new(name: u8) -> Self {
        Self {
            name,
            replica: None,
            record: NodeRecord::new(NodeId(name as u64)),
            records: VecDeque::new(),
            log: Vec::new(),
            durable: 0,
            writing: VecDeque::new(),
            applied: 0,
            locked: Vec::new(),
            lead: None,
            mine: Vec::new(),
            sent_on: Vec::new(),
            asked: 0,
            ticked: false,
        }
    }

    /// Starts it from what is on its disk.
    pub fn start(&mut self, now: Time, timing: Timing, rules: Rules) -> Vec<Effect> {
        assert!(self.replica.is_none() && self.durable == self.log.len(), "it was down");
        let mut history: Vec<EpochStart> = Vec::new();
        for frame in &self.log {
            let start = EpochStart::of(frame.header());
            if history.last().is_none_or(|last| last.epoch < start.epoch) {
                history.push(start);
            }
        }
        let boot = Boot {
            record: self.record.clone(),
            contact: String::new(),
            log_id: LogId(0),
            history,
            end: self.log.last().map_or(Mark::default(), Frame::mark),
            last_time: Time(0),
            applied: Mark::default(),
            consistent: Mark::default(),
            doubt: Doubt::None,
            timing,
            strict_reads: false,
            whole_bytes: usize::MAX,
            rules,
        };
        let mut effects = Vec::new();
        self.replica = Some(Replica::start(now, boot, &mut effects));
        effects
    }

    /// The process is gone. So many frames that were not synced are on the disk all the same, and the record or not.
    pub fn crash(&mut self, frames: usize, record: bool) {
        self.log.truncate(self.durable + frames);
        self.durable = self.log.len();
        if record {
            self.record = self.records.pop_front().expect("it was being written");
        }
        *self = Self {
            name: self.name,
            record: self.record.clone(),
            log: std::mem::take(&mut self.log),
            durable: self.durable,
            ..Self::new(self.name)
        };
    }

    /// Frames that are not on the disk yet.
    #[must_use]
    pub fn volatile(&self) -> usize {
        self.log.len() - self.durable
    }

    pub fn append(&mut self, frame: Frame, cut: u64) {
        assert!(self.log.last().map_or(Position(0), Frame::end) == frame.position(), "frames continue the log");
        self.writing.push_back((frame.end(), cut));
        self.log.push(frame);
    }

    pub fn truncate(&mut self, to: Mark, cut: u64) {
        self.log.retain(|frame| frame.end() <= to.position);
        assert!(self.applied <= self.log.len(), "an applied entry is cut off");
        self.locked.retain(|&position| position < to.position);
        self.durable = self.durable.min(self.log.len());
        self.writing.clear();
        if self.volatile() > 0 {
            self.writing.push_back((to.position, cut));
        }
    }

    /// The oldest write to the log is done.
    pub fn written(&mut self) -> Input {
        let (upto, cut) = self.writing.pop_front().expect("it is being written");
        self.durable = self.durable.max(self.log.partition_point(|frame| frame.end() <= upto));
        Input::Persisted { upto, cut }
    }

    /// The oldest record is on the disk.
    pub fn recorded(&mut self) -> Input {
        self.record = self.records.pop_front().expect("it is being written");
        Input::RecordPersisted { epoch: self.record.epoch() }
    }

    /// Frames that came into the store just now.
    pub fn apply(&mut self, upto: Mark) -> Vec<Frame> {
        let until = self.log.partition_point(|frame| frame.end() <= upto.position);
        assert!(until > self.applied, "a commit brings something");
        self.locked.retain(|&position| position >= upto.position);
        let from = std::mem::replace(&mut self.applied, until);
        self.log[from..until].to_vec()
    }

    /// The write path makes a frame of one entry.
    pub fn build(&mut self, write: u8, origin: Option<Origin>) -> Option<Input> {
        let (epoch, end) = self.lead?;
        let value = [write];
        let entry = Entry::Put { key: b"k", value: &value, flags: 0, expiry: Expiry::NEVER, cas: None, bits: 0 };
        let mut builder = FrameBuilder::new();
        builder.begin(FrameStart {
            epoch,
            first_index: LogIndex(end.index.0 + 1),
            position: end.position,
            durable_upto: Position(0),
            time: Time(0),
        });
        match origin {
            Some(origin) => builder.push_from(&origin, &entry),
            None => builder.push(&entry),
        };
        let bytes = builder.take();
        let mark = Frame::built(bytes.clone()).mark();
        self.lead = Some((epoch, mark));
        if origin.is_none() {
            self.mine.push((write, mark.position));
        }
        Some(Input::FrameBuilt { bytes })
    }

    /// Where the newest applied write of the key ends, 0 before the first.
    #[must_use]
    pub fn visible(&self) -> Position {
        let newest = self.log[..self.applied].iter().rev().find(|frame| write_of(frame).is_some());
        newest.map_or(Position(0), Frame::end)
    }

    /// Where the newest visible write ends if a read is answered now.
    #[must_use]
    pub fn read(&self, now: Time) -> Option<Position> {
        let deadline = self.replica.as_ref()?.read_deadline()?;
        (now < deadline && self.locked.is_empty()).then(|| self.visible())
    }

    /// Whether everything on its disk begins with `frames`.
    #[must_use]
    pub fn holds(&self, frames: &[Frame]) -> bool {
        self.log[..self.durable].starts_with(frames)
    }
}
