//! The log as it is found at a start: its frames go to the write path, and what is wrong with it is judged.

use super::start::mixed;
use super::storage::ReplicaStorage;
use crate::cluster::{EpochStart, Frame, Mark, Snapshot};
use crate::log::layout::file;
use crate::log::{
    Corruption, Cut, Fault, FileFault, FileHeader, FrameFault, FrameHeader, FrameView, LogId, LogIndex, Position,
};
use crate::ring::disk::OpenError;
use crate::ring::disk::recover::{Stop, io_error, read_frames};
use crate::time::Time;
use crate::writes::{ReplicaFault, Writes};

/// What is known of a log before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Its server stood alone: all of it counts.
    All,
    /// The cluster had committed it up to here, at least.
    UpTo(Mark),
}

/// What a log's files are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There are none.
    Nothing,
    /// They go on behind the keystore up to the end, but for a torn tail.
    Whole,
    /// They do, and what follows was whole once.
    Damaged(Box<Corruption>),
    /// They do not go on where the keystore ends: with what is wrong with them, if anything is.
    Elsewhere(Option<Box<Corruption>>),
}

impl Standing {
    /// A server without a cluster loses what is not there, and is not started.
    pub fn refuse_if_alone<S: ReplicaStorage>(&self, storage: &S, start: Mark) -> Result<(), OpenError> {
        match self {
            Self::Nothing if start == Mark::default() => Ok(()),
            Self::Whole => Ok(()),
            Self::Damaged(corruption) | Self::Elsewhere(Some(corruption)) => {
                Err(OpenError::Corrupt { path: storage.path(corruption.file), corruption: corruption.clone() })
            }
            Self::Nothing | Self::Elsewhere(None) => {
                Err(mixed(storage, "the log does not go on where the keystore ends"))
            }
        }
    }
}

/// What was found.
pub struct FoundLog {
    pub standing: Standing,
    pub log_id: Option<LogId>,
    /// Whether there is a whole frame in it, needed or not.
    pub has_frames: bool,
    /// The torn tail.
    pub cut: Option<Cut>,
    pub history: Vec<EpochStart>,
    /// Where keystore and log together end.
    pub end: Mark,
    pub last_time: Time,
}

/// Reads the log's files `names` and hands their frames behind the keystore to the write path. All is synced before it is trusted.
pub fn read_log<S: ReplicaStorage>(
    storage: &mut S,
    names: &[Position],
    keystore: &Snapshot,
    known: Known,
    writes: &mut Writes,
) -> Result<FoundLog, OpenError> {
    let Snapshot { start, history, last_time, .. } = keystore.clone();
    let mut reading = Reading { writes, start, known, whole: None, history, end: start, last_time, mixed: None };
    let nothing = |standing, reading: Reading<'_>| {
        let Reading { history, end, last_time, .. } = reading;
        Ok(FoundLog { standing, log_id: None, has_frames: false, cut: None, history, end, last_time })
    };
    let Some(&first) = names.first() else { return nothing(Standing::Nothing, reading) };
    if first > start.position {
        return nothing(Standing::Elsewhere(None), reading);
    }
    if first == start.position {
        check_first_header(storage, first, start)?;
    }
    let read = read_frames(storage, names, true, &mut |frame, bytes| reading.take(frame, bytes));
    if let Some(what) = reading.mixed {
        return Err(mixed(storage, what));
    }
    let judged = read?;
    refuse_newer_version(storage, judged.corruption.as_ref())?;
    let corruption = judged.corruption.map(Box::new);
    let reaches = reading.whole.unwrap_or(first) >= start.position;
    let standing = match corruption {
        corruption if !reaches => Standing::Elsewhere(corruption),
        Some(corruption) => Standing::Damaged(corruption),
        None if judged.recovered.log_id.is_none() => Standing::Nothing,
        None => Standing::Whole,
    };
    let has_frames = reading.whole.is_some();
    let Reading { history, end, last_time, .. } = reading;
    let (log_id, cut) = (judged.recovered.log_id, judged.recovered.cut);
    Ok(FoundLog { standing, log_id, has_frames, cut, history, end, last_time })
}

/// A log that begins where the keystore ends says with which entry.
fn check_first_header<S: ReplicaStorage>(storage: &mut S, name: Position, start: Mark) -> Result<(), OpenError> {
    let read = |storage: &mut S| {
        let (file, _) = storage.open(name)?;
        let mut header = [0; file::BYTES];
        let done = super::named::read_at(storage, &file, 0, &mut header)?;
        Ok(FileHeader::decode(&header[..done]))
    };
    match read(storage).map_err(io_error(storage, "read", name))? {
        Ok(header) if header.index != LogIndex(start.index.0 + 1) => {
            Err(mixed(storage, "the log goes on with another entry than the next behind the keystore"))
        }
        // a wrong header is judged with the rest
        _ => Ok(()),
    }
}

/// What a newer program wrote is not damaged, and is not to be cut.
fn refuse_newer_version<S: ReplicaStorage>(storage: &S, corruption: Option<&Corruption>) -> Result<(), OpenError> {
    match corruption {
        Some(corruption)
            if matches!(
                corruption.fault,
                Fault::Frame(FrameFault::Version(_)) | Fault::File(FileFault::Version(_)) | Fault::LogId { .. }
            ) =>
        {
            Err(OpenError::Corrupt { path: storage.path(corruption.file), corruption: Box::new(*corruption) })
        }
        _ => Ok(()),
    }
}

struct Reading<'a> {
    writes: &'a mut Writes,
    /// The keystore's.
    start: Mark,
    known: Known,
    /// Where the last whole frame ends, if there was one.
    whole: Option<Position>,
    history: Vec<EpochStart>,
    end: Mark,
    last_time: Time,
    /// What does not belong together.
    mixed: Option<&'static str>,
}

impl Reading<'_> {
    fn take(&mut self, frame: &FrameView<'_>, bytes: &[u8]) -> Result<(), Stop> {
        for entry in frame.entries() {
            entry.map_err(Stop::Entry)?;
        }
        let header = &frame.header;
        let mark = Mark { epoch: header.start.epoch, index: header.last_index(), position: header.end() };
        let fits = ends_at(header, mark, self.start);
        if !fits {
            self.mixed = Some("the log goes on with other entries than those behind the keystore");
        }
        if let Known::UpTo(committed) = self.known
            && !ends_at(header, mark, committed)
        {
            self.mixed = Some("`committed` is of another log; if that file alone was changed, remove it");
        }
        if self.mixed.is_some() {
            return Err(Stop::Refused(String::new()));
        }
        self.whole = Some(mark.position);
        if header.start.position < self.start.position {
            return Ok(());
        }
        (self.end, self.last_time) = (mark, header.start.time);
        if self.history.last().is_none_or(|last| last.epoch < mark.epoch) {
            self.history.push(EpochStart::of(header));
        }
        let frame = Frame::built(bytes.to_vec());
        self.writes.on_append(&frame);
        let committed = match self.known {
            Known::All => true,
            Known::UpTo(committed) => mark.position <= committed.position,
        };
        if committed { self.apply(mark).map_err(|fault| Stop::Refused(fault.to_string())) } else { Ok(()) }
    }

    /// Nobody reads the store yet, so that room that is to be made is there after some housekeeping.
    fn apply(&mut self, mark: Mark) -> Result<(), ReplicaFault> {
        let mut nobody = Vec::new();
        self.writes.commit(mark, &mut nobody)?;
        while self.writes.applied() != mark {
            self.writes.apply_committed(&mut nobody)?;
        }
        assert!(nobody.is_empty(), "no client waits before the server runs");
        Ok(())
    }
}

/// Whether the log may stand at `of`, as far as this frame of it says: none goes across, and one that ends there ends so.
fn ends_at(header: &FrameHeader, mark: Mark, of: Mark) -> bool {
    let across = header.start.position < of.position && mark.position > of.position;
    !across && (mark.position != of.position || mark == of)
}
