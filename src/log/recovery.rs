//! Judges what was read back from the files of a log: valid up to here, a torn tail to cut, or corruption (D1). Is fed
//! bytes and never sees a file.
//!
//! ```text
//!            begin_file          frame valid and continues the last
//!   (start) -----------> header ---> frames --.
//!                          |           |  ^---'
//!                          | bad       | bad: remember where
//!                          '-----------+-------> scan: a later frame whose watermark covers the bad place?
//!                                                  yes: corruption        no, to the end of the last file: torn tail
//! ```
//!
//! What a crash cannot make (a whole header that contradicts what came before it) is corruption at once.

use std::fmt;

use memchr::memmem;

use super::file::FileFault;
use super::layout::{file, frame};
use super::{EntryFault, Epoch, FileHeader, FrameFault, FrameHeader, FrameView, LogId, LogIndex, Position};
use crate::config;
use crate::time::Time;

/// What is wrong at a place of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No whole frame.
    Frame(FrameFault),
    /// No whole file header.
    File(FileFault),
    /// An entry that cannot be, in a frame whose checksum is right.
    Entry(EntryFault),
    /// The file belongs to another log.
    LogId {
        /// What the first file says.
        expected: LogId,
        /// What this one says.
        found: LogId,
    },
    /// A file or a frame does not begin where what is before it ends.
    Position {
        /// Where it had to begin.
        expected: Position,
        /// Where it says that it begins.
        found: Position,
    },
    /// Indices do not continue.
    Index {
        /// One more than the last entry's.
        expected: LogIndex,
        /// What stands there.
        found: LogIndex,
    },
    /// The epoch goes back.
    Epoch {
        /// The newest before it.
        before: Epoch,
        /// What stands there.
        found: Epoch,
    },
    /// The leader's time goes back.
    Time {
        /// The newest before it.
        before: Time,
        /// What stands there.
        found: Time,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(fault) => fault.fmt(f),
            Self::File(fault) => fault.fmt(f),
            Self::Entry(fault) => fault.fmt(f),
            Self::LogId { expected, found } => {
                write!(f, "the file belongs to log {found}, the others to log {expected}")
            }
            Self::Position { expected, found } => write!(f, "expected position {}, found {}", expected.0, found.0),
            Self::Index { expected, found } => write!(f, "expected entry {}, found entry {}", expected.0, found.0),
            Self::Epoch { before, found } => write!(f, "epoch {} follows epoch {}", found.0, before.0),
            Self::Time { before, found } => write!(f, "time goes back from {} to {}", before.0, found.0),
        }
    }
}

/// A place of the log that was valid once, or never can have been, and is wrong now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// The position in the name of the file.
    pub file: Position,
    /// Byte of the file.
    pub offset: u64,
    /// Position in the log.
    pub position: Position,
    /// What is wrong.
    pub fault: Fault,
    /// The watermark of a later frame that says that this place was durable, when that is the proof.
    pub durable_upto: Option<Position>,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {} (position {}): {}", self.offset, self.position.0, self.fault)?;
        match self.durable_upto {
            Some(upto) => write!(f, ", though everything below position {} had reached the disk", upto.0),
            None => Ok(()),
        }
    }
}

/// The torn tail: what a crash left behind the last whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The position in the name of the file that is cut; all later files go.
    pub file: Position,
    /// Bytes of that file that stay; 0 when it goes as a whole.
    pub keep_bytes: u64,
    /// Bytes that go, of all files.
    pub bytes: u64,
    /// Why the first of them is no frame.
    pub fault: Fault,
    /// All of them are zeros and no more than are made ahead: room for frames to come, as far as anybody can tell.
    pub is_room: bool,
}

/// What a log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Which log it is; nothing when there is none.
    pub log_id: Option<LogId>,
    /// Index of the first entry that is kept in files; one more than `last_index` when there is none.
    pub first_index: LogIndex,
    /// The newest entry's index.
    pub last_index: LogIndex,
    /// The oldest epoch seen.
    pub first_epoch: Epoch,
    /// The newest epoch seen.
    pub epoch: Epoch,
    /// Where the next frame begins.
    pub end: Position,
    /// The newest leader's time.
    pub last_time: Time,
    /// The newest watermark seen.
    pub durable_upto: Position,
    /// The last file that stays, by the position in its name.
    pub last_file: Option<Position>,
    /// Files that stay.
    pub files: u64,
    /// Whole frames.
    pub frames: u64,
    /// Entries in them.
    pub entries: u64,
    /// Bytes of these frames.
    pub bytes: u64,
    /// What is to be cut off, if anything.
    pub cut: Option<Cut>,
}

/// What the bytes at hand are.
#[derive(Debug)]
pub enum Step<'a> {
    /// Not enough of them to say: at least so many are needed, from the same first byte on.
    Need {
        /// Never more than the file has left.
        bytes: usize,
    },
    /// A whole frame that continues the log.
    Frame {
        /// Checked, except for what its entries say.
        frame: FrameView<'a>,
        /// Bytes to go on by.
        consumed: usize,
    },
    /// Nothing of interest.
    Passed {
        /// Bytes to go on by.
        consumed: usize,
    },
    /// The file is done.
    FileEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    Frames,
    /// After a bad place: looks for a later watermark, finds nothing that counts.
    Scan,
}

/// The machine; one for each reading of a log.
#[derive(Debug)]
pub struct Recovery {
    /// What was whole so far.
    recovered: Recovered,
    /// Where it went wrong; invariant: there from the first scan on.
    bad: Option<(Cut, Position)>,
    stage: Stage,
    /// The position in the name of the file being read.
    file: Position,
    file_bytes: u64,
    /// The file's byte that the next step's bytes start with; invariant: at most `file_bytes`.
    offset: u64,
    magic: memmem::Finder<'static>,
}

impl Default for Recovery {
    fn default() -> Self {
        Self::new()
    }
}

impl Recovery {
    /// Before the first file.
    #[must_use]
    pub fn new() -> Self {
        Self {
            recovered: Recovered::default(),
            bad: None,
            stage: Stage::Header,
            file: Position(0),
            file_bytes: 0,
            offset: 0,
            magic: memmem::Finder::new(&frame::MAGIC_BYTES),
        }
    }

    /// Goes on with the next file, in the order of positions. Only its first `file_bytes` bytes are judged.
    pub fn begin_file(&mut self, name: Position, file_bytes: u64) {
        assert!(self.offset == self.file_bytes, "a file is read to its end");
        (self.file, self.file_bytes, self.offset) = (name, file_bytes, 0);
        self.stage = Stage::Header;
        if let Some((cut, _)) = &mut self.bad {
            cut.bytes += file_bytes;
            cut.is_room = false;
            self.stage = Stage::Scan;
        }
    }

    /// The file's byte with which the next step's window must start.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Judges the bytes from `offset` on.
    ///
    /// # Errors
    /// When the log is corrupt; nothing more is to be done with it.
    pub fn step<'a>(&mut self, window: &'a [u8]) -> Result<Step<'a>, Corruption> {
        let left = self.file_bytes - self.offset;
        let window = &window[..window.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        if self.stage == Stage::Header {
            return self.step_header(window, left);
        }
        if left == 0 {
            return Ok(Step::FileEnd);
        }
        match self.stage {
            Stage::Frames => self.step_frame(window, left),
            _ => self.step_scan(window, left),
        }
    }

    /// What was whole so far.
    #[must_use]
    pub const fn whole(&self) -> &Recovered {
        &self.recovered
    }

    /// What was found, after the last file.
    #[must_use]
    pub fn finish(mut self) -> Recovered {
        assert!(self.offset == self.file_bytes, "a file is read to its end");
        self.recovered.cut = self.bad.map(|(cut, _)| cut);
        self.recovered
    }

    /// The corruption that an impossible entry in a whole frame is.
    #[must_use]
    pub fn entry_corruption(&self, header: &FrameHeader, fault: EntryFault) -> Corruption {
        let offset = header.start.position.offset_in(self.file);
        let (position, fault) = (header.start.position, Fault::Entry(fault));
        Corruption { file: self.file, offset, position, fault, durable_upto: None }
    }

    fn pass<'a>(&mut self, consumed: usize) -> Step<'a> {
        self.offset += consumed as u64;
        Step::Passed { consumed }
    }

    fn corruption(&self, position: Position, fault: Fault) -> Corruption {
        Corruption { file: self.file, offset: self.offset, position, fault, durable_upto: None }
    }

    /// Remembers where the log stops being whole.
    fn on_bad(&mut self, keep_bytes: u64, fault: Fault) {
        assert!(self.bad.is_none(), "the first bad place counts");
        let cut = Cut { file: self.file, keep_bytes, bytes: self.file_bytes - keep_bytes, fault, is_room: false };
        self.bad = Some((cut, self.recovered.end));
        self.stage = Stage::Scan;
    }

    fn step_header<'a>(&mut self, window: &'a [u8], left: u64) -> Result<Step<'a>, Corruption> {
        if window.len() < file::BYTES && (window.len() as u64) < left {
            return Ok(Step::Need { bytes: (file::BYTES as u64).min(left) as usize });
        }
        match FileHeader::decode(window) {
            Ok(header) => self.on_header(&header)?,
            Err(fault) => self.on_bad_header(fault)?,
        }
        Ok(self.pass(window.len().min(file::BYTES)))
    }

    fn on_bad_header(&mut self, fault: FileFault) -> Result<(), Corruption> {
        // a file's header is durable before the first frame is written behind it
        let unfinished = self.file_bytes <= file::BYTES as u64 && !matches!(fault, FileFault::Version(_));
        let is_start = self.recovered.files > 0 || self.file == Position(0);
        if !unfinished || !is_start {
            return Err(self.corruption(self.file, Fault::File(fault)));
        }
        self.on_bad(0, Fault::File(fault));
        Ok(())
    }

    fn on_header(&mut self, header: &FileHeader) -> Result<(), Corruption> {
        let FileHeader { log_id, position, index, epoch, time } = *header;
        let so_far = &mut self.recovered;
        if position != self.file {
            let fault = Fault::Position { expected: self.file, found: position };
            return Err(self.corruption(self.file, fault));
        }
        let Some(expected) = so_far.log_id else {
            if index.0 == 0 {
                return Err(self.corruption(position, Fault::Index { expected: LogIndex(1), found: index }));
            }
            so_far.log_id = Some(log_id);
            (so_far.first_index, so_far.last_index) = (index, LogIndex(index.0 - 1));
            (so_far.first_epoch, so_far.epoch, so_far.end, so_far.last_time) = (epoch, epoch, position, time);
            self.enter_frames();
            return Ok(());
        };
        if log_id != expected {
            return Err(self.corruption(position, Fault::LogId { expected, found: log_id }));
        }
        if position > so_far.end {
            // the file before lost its end: torn, unless a later watermark says that it had been durable
            let fault = Fault::Position { expected: so_far.end, found: position };
            self.on_bad(0, fault);
            return Ok(());
        }
        if position < so_far.end {
            let fault = Fault::Position { expected: so_far.end, found: position };
            return Err(self.corruption(position, fault));
        }
        if let Some(fault) = self.discontinuity(index, epoch, time) {
            return Err(self.corruption(position, fault));
        }
        (self.recovered.epoch, self.recovered.last_time) = (epoch, time);
        self.enter_frames();
        Ok(())
    }

    const fn enter_frames(&mut self) {
        self.recovered.files += 1;
        self.recovered.last_file = Some(self.file);
        self.stage = Stage::Frames;
    }

    /// What does not follow from what was read before.
    fn discontinuity(&self, index: LogIndex, epoch: Epoch, time: Time) -> Option<Fault> {
        let Recovered { last_index, epoch: last_epoch, last_time, .. } = self.recovered;
        let expected = LogIndex(last_index.0 + 1);
        if index != expected {
            return Some(Fault::Index { expected, found: index });
        }
        if epoch < last_epoch {
            return Some(Fault::Epoch { before: last_epoch, found: epoch });
        }
        (time < last_time).then_some(Fault::Time { before: last_time, found: time })
    }

    fn step_frame<'a>(&mut self, window: &'a [u8], left: u64) -> Result<Step<'a>, Corruption> {
        if window.len() < frame::BYTES && (window.len() as u64) < left {
            return Ok(Step::Need { bytes: (frame::BYTES as u64).min(left) as usize });
        }
        let end = self.recovered.end;
        let header = match FrameHeader::decode(window) {
            Ok(header) => header,
            Err(fault @ (FrameFault::Version(_) | FrameFault::Header)) => {
                return Err(self.corruption(end, Fault::Frame(fault)));
            }
            Err(fault) => {
                self.on_bad(self.offset, Fault::Frame(fault));
                self.note_room(true, &window[..1]);
                return Ok(self.pass(1));
            }
        };
        let start = header.start;
        if start.position != end {
            let fault = Fault::Position { expected: end, found: start.position };
            return Err(self.corruption(end, fault));
        }
        if let Some(fault) = self.discontinuity(start.first_index, start.epoch, start.time) {
            return Err(self.corruption(end, fault));
        }
        let bytes = header.frame_bytes();
        if bytes as u64 > left {
            // its header is whole, so the rest of the file is this frame and no other
            self.on_bad(self.offset, Fault::Frame(FrameFault::Short));
            return Ok(self.pass(window.len()));
        }
        if window.len() < bytes {
            return Ok(Step::Need { bytes });
        }
        self.on_frame(&window[..bytes])
    }

    fn on_frame<'a>(&mut self, bytes: &'a [u8]) -> Result<Step<'a>, Corruption> {
        let consumed = bytes.len();
        let frame = match FrameView::parse(bytes) {
            Ok(frame) => frame,
            Err(fault) => {
                self.on_bad(self.offset, Fault::Frame(fault));
                return Ok(self.pass(consumed));
            }
        };
        let header = &frame.header;
        let so_far = &mut self.recovered;
        so_far.last_index = header.last_index();
        so_far.epoch = header.start.epoch;
        so_far.last_time = header.start.time;
        so_far.end = header.end();
        so_far.durable_upto = so_far.durable_upto.max(header.start.durable_upto);
        so_far.frames += 1;
        so_far.entries += u64::from(header.entries);
        so_far.bytes += consumed as u64;
        self.offset += consumed as u64;
        Ok(Step::Frame { frame, consumed })
    }

    fn step_scan<'a>(&mut self, window: &'a [u8], left: u64) -> Result<Step<'a>, Corruption> {
        let at_end = window.len() as u64 == left;
        if window.len() < frame::BYTES && !at_end {
            return Ok(Step::Need { bytes: (frame::BYTES as u64).min(left) as usize });
        }
        let (cut, bad) = self.bad.expect("a scan follows a bad place");
        for at in self.magic.find_iter(window) {
            let Ok(header) = FrameHeader::decode(&window[at..]) else { continue };
            // a frame that was stored in a value, or lies where it was not written, says nothing
            let behind_header = (self.offset + at as u64).checked_sub(file::BYTES as u64);
            let expected = behind_header.and_then(|behind| self.file.0.checked_add(behind));
            if Some(header.start.position.0) == expected && header.start.durable_upto > bad {
                let Cut { file, keep_bytes: offset, fault, .. } = cut;
                let durable_upto = Some(header.start.durable_upto);
                return Err(Corruption { file, offset, position: bad, fault, durable_upto });
            }
        }
        // a header that begins in the last bytes is looked at again with what follows
        let consumed = if at_end { window.len() } else { window.len() - (frame::BYTES - 1) };
        self.note_room(cut.is_room, &window[..consumed]);
        Ok(self.pass(consumed))
    }

    /// Behind a bad place: whether it is room still, if it was `so_far`.
    fn note_room(&mut self, so_far: bool, bytes: &[u8]) {
        let (cut, _) = self.bad.as_mut().expect("there is a bad place");
        let few = cut.bytes <= config::LOG_ROOM_BYTES + config::LOG_ROOM_BYTES_MIN;
        cut.is_room = so_far && few && bytes.iter().all(|&byte| byte == 0);
    }
}
