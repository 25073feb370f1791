//! Appends frames to the log's files and knows what of it is on the disk. Owns the files that are written or wait for
//! their sync; calls write(2) itself and leaves fdatasync to the shell, which asks for one at a time.
//!
//! ```text
//!  files:      [ old, complete ] [ old, complete ] [ current <- append ]
//!  position:   ........synced......in flight..................written
//! ```
//!
//! Files are synced in their order, so `synced` says something about everything below it, also across a rollover.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;

use rustix::io::Errno;

use super::cadence::Cadence;
use super::error::Fatal;
use super::room::Outcome;
use super::storage::LogStorage;
use crate::config::{self, Fsync};
use crate::log::layout::file::BYTES as FILE_HEADER_BYTES;
use crate::log::{FileHeader, FrameHeader, LogId, Position};
use crate::time::Time;

/// What became of a turn's frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// All frames that end here or before are as durable as was asked for: nothing with `Always`, whose frames wait for a
    /// sync.
    pub persisted: Option<Position>,
    /// The disk is full: what ends here or before is written, nothing behind it (D4).
    pub refused: Option<Position>,
}

/// An fdatasync that the shell shall make now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// Of this descriptor, which stays open until the answer.
    pub descriptor: RawFd,
    /// What is durable then.
    pub covers: Position,
}

/// What a finished sync says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synced {
    /// Everything below is on the disk.
    pub upto: Position,
    /// With `Always` the same: frames that may be acknowledged now.
    pub persisted: Option<Position>,
}

pub(super) struct OpenFile<F> {
    /// The position of its first frame.
    pub(super) name: Position,
    pub(super) file: F,
}

/// The sync that is under way.
pub(super) struct InFlight<F> {
    /// What it covers of the first file; invariant: above `synced`. Nothing when the log was cut or replaced meanwhile: then
    /// it says nothing of what is there now.
    pub(super) covers: Option<Position>,
    /// Its file, when it is no file of the log any more: the kernel has the descriptor until the sync has ended.
    pub(super) parked: Option<F>,
}

/// The log's end.
pub struct LogWriter<S: LogStorage> {
    pub(super) storage: S,
    pub(super) fsync: Fsync,
    pub(super) log_id: LogId,
    /// All files there are, in order, by the positions in their names. Invariant: at least one.
    pub(super) names: Vec<Position>,
    /// In order; the last is appended to, the others are complete and wait for their sync. Invariant: at least one.
    pub(super) files: VecDeque<OpenFile<S::File>>,
    pub(super) written: Position,
    /// The current file ends here, with zeros from `written` on; invariant: not below `written`. A tail that a crash has left
    /// is behind it until it is cut.
    pub(super) allotted: Position,
    /// It was cut since it was last synced: the next file follows only when that is on the disk.
    pub(super) is_cut: bool,
    /// Invariant: never above `written`, never below the name of the first file.
    pub(super) synced: Position,
    pub(super) in_flight: Option<InFlight<S::File>>,
    last_sync: Time,
    pub(super) cadence: Cadence,
    pub(super) file_bytes_max: u64,
}

impl<S: LogStorage> LogWriter<S> {
    /// Goes on at the end of a file that is synced.
    pub(in crate::ring) fn new(
        storage: S,
        fsync: Fsync,
        log_id: LogId,
        names: Vec<Position>,
        file: S::File,
        end: Position,
    ) -> Self {
        let name = *names.last().expect("the file is one of them");
        Self {
            storage,
            fsync,
            log_id,
            names,
            files: VecDeque::from([OpenFile { name, file }]),
            written: end,
            allotted: end,
            is_cut: false,
            synced: end,
            in_flight: None,
            last_sync: Time::default(),
            cadence: Cadence::default(),
            file_bytes_max: config::LOG_FILE_BYTES,
        }
    }

    /// The same with another size at which the next file begins; a frame that is larger has a file for itself.
    #[must_use]
    pub const fn with_file_bytes(mut self, bytes: u64) -> Self {
        self.limit_files(bytes);
        self
    }

    /// The next file begins at that size.
    pub const fn limit_files(&mut self, bytes: u64) {
        self.file_bytes_max = bytes;
    }

    /// Appends a turn's frames, each one whole and where the last one ended. When the disk is full those that do not fit
    /// are refused and nothing of them remains.
    ///
    /// # Errors
    /// When the disk fails in another way; then nothing more is to be asked of it.
    pub fn append<'a>(&mut self, frames: impl IntoIterator<Item = &'a [u8]>) -> Result<Appended, Fatal> {
        let before = self.written;
        let mut appended = Appended::default();
        let mut largest = 0;
        for frame in frames {
            if !self.append_frame(frame)? {
                appended.refused = Some(self.written);
                break;
            }
            largest = frame.len().max(largest);
        }
        if self.written > before {
            self.make_room(largest)?;
        }
        if self.fsync != Fsync::Always && self.written > before {
            appended.persisted = Some(self.written);
        }
        Ok(appended)
    }

    /// Whether there was room.
    fn append_frame(&mut self, frame: &[u8]) -> Result<bool, Fatal> {
        let header = FrameHeader::decode(frame).expect("a frame is built before it is written");
        assert!(header.start.position == self.written, "a frame goes where the last one ended");
        assert!(header.frame_bytes() == frame.len(), "a frame is whole");
        if self.is_file_full(frame.len()) && !self.roll_over(&header)? {
            return Ok(false);
        }
        let mut outcome = self.write_frame(frame)?;
        if outcome == Outcome::FileFull && self.written > self.current().name {
            // this system's files end before ours do
            if !self.roll_over(&header)? {
                return Ok(false);
            }
            outcome = self.write_frame(frame)?;
        }
        if outcome == Outcome::Written {
            self.written = header.end();
            self.cadence.on_written(frame.len());
        }
        Ok(outcome == Outcome::Written)
    }

    pub(super) fn current(&self) -> &OpenFile<S::File> {
        self.files.back().expect("there is a current file")
    }

    fn is_file_full(&self, frame_bytes: usize) -> bool {
        let frames = self.written.0 - self.current().name.0;
        frames > 0 && FILE_HEADER_BYTES as u64 + frames + frame_bytes as u64 > self.file_bytes_max
    }

    /// Begins the next file with the frame that has `first` as its header; whether there was room.
    fn roll_over(&mut self, first: &FrameHeader) -> Result<bool, Fatal> {
        let header = FileHeader {
            log_id: self.log_id,
            position: self.written,
            index: first.start.first_index,
            epoch: first.start.epoch,
            time: first.start.time,
        };
        self.close_current()?;
        match create_file(&mut self.storage, &header) {
            Ok(file) => {
                if self.synced == self.written {
                    self.let_go_of_files();
                }
                self.files.push_back(OpenFile { name: self.written, file });
                self.names.push(self.written);
                (self.allotted, self.is_cut) = (self.written, false);
                Ok(true)
            }
            Err(CreateError { doing: Doing::Create | Doing::Write, error }) if is_full(&error) => Ok(false),
            Err(CreateError { doing, error }) => Err(self.fatal(doing.text(), self.written, error)),
        }
    }

    /// The fdatasync that is due, if one is; its result comes back by `on_synced` before the next is asked for. Whatever the
    /// policy, a complete file is synced, because what follows it must not outlive it, and so is much that is not on the
    /// disk, because a write waits for as long as the kernel looks for room for all of it.
    pub fn next_sync(&mut self, now: Time) -> Option<SyncRequest> {
        let is_due = match self.fsync {
            Fsync::Always => now >= self.cadence.earliest(),
            Fsync::Interval(interval) => now.since(self.last_sync) >= interval,
            Fsync::Never => false,
        };
        let is_much = self.written.0 - self.synced.0 >= config::LOG_UNSYNCED_BYTES;
        if self.files.len() > 1 || is_due || is_much { self.sync_now(now) } else { None }
    }

    /// When `next_sync` is to be asked although nothing happens; nothing when it need not be.
    pub fn sync_due(&self) -> Option<Time> {
        let waits = self.fsync == Fsync::Always && self.in_flight.is_none() && self.synced < self.written;
        waits.then(|| self.cadence.earliest())
    }

    /// The next fdatasync whether it is due or not, unless everything is on the disk or one is under way.
    pub fn sync_now(&mut self, now: Time) -> Option<SyncRequest> {
        if self.in_flight.is_some() || self.synced == self.written {
            return None;
        }
        let covers = self.files.get(1).map_or(self.written, |next| next.name);
        assert!(covers > self.synced, "what is synced is let go");
        self.in_flight = Some(InFlight { covers: Some(covers), parked: None });
        self.last_sync = now;
        self.cadence.on_begun(now);
        Some(SyncRequest { descriptor: self.storage.descriptor(&self.files[0].file), covers })
    }

    /// The sync that was asked for has ended.
    ///
    /// # Errors
    /// When it failed: the kernel may have dropped what it could not write, so it is not tried again.
    pub fn on_synced(&mut self, now: Time, result: io::Result<()>) -> Result<Synced, Fatal> {
        self.cadence.on_ended(now);
        let InFlight { covers, parked } = self.in_flight.take().expect("a sync ends once");
        drop(parked);
        result.map_err(|error| self.fatal("sync", self.files[0].name, error))?;
        let Some(covers) = covers else { return Ok(Synced { upto: self.synced, persisted: None }) };
        self.synced = covers;
        if self.files.get(1).is_some_and(|next| next.name == covers) {
            self.files.pop_front();
        }
        Ok(Synced { upto: covers, persisted: (self.fsync == Fsync::Always).then_some(covers) })
    }

    /// Syncs all that is written, and leaves nothing behind it: the end of an orderly stop.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn finish(&mut self) -> Result<Synced, Fatal> {
        self.in_flight = None;
        self.give_back_room()?;
        while self.synced < self.written {
            let covers = self.files.get(1).map_or(self.written, |next| next.name);
            let result = self.storage.sync(&self.files[0].file);
            self.in_flight = Some(InFlight { covers: Some(covers), parked: None });
            self.on_synced(self.last_sync, result)?;
        }
        Ok(Synced { upto: self.synced, persisted: Some(self.synced) })
    }

    /// Where the next frame begins.
    #[must_use]
    pub const fn written(&self) -> Position {
        self.written
    }

    /// Everything below is on the disk.
    #[must_use]
    pub const fn synced(&self) -> Position {
        self.synced
    }

    pub(super) fn fatal(&self, doing: &'static str, name: Position, error: io::Error) -> Fatal {
        Fatal { doing, path: self.storage.path(name), error }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Doing {
    Create,
    Write,
    Sync,
}

impl Doing {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Write => "write to",
            Self::Sync => "sync",
        }
    }
}

pub(in crate::ring) struct CreateError {
    pub(super) doing: Doing,
    pub(in crate::ring) error: io::Error,
}

/// Makes a file with its header, durable before it returns: a frame never stands behind a header that may get lost. Leaves
/// nothing behind when that fails.
pub(in crate::ring) fn create_file<S: LogStorage>(
    storage: &mut S,
    header: &FileHeader,
) -> Result<S::File, CreateError> {
    let name = header.position;
    let file = storage.create(name).map_err(|error| CreateError { doing: Doing::Create, error })?;
    match write_header(storage, &file, header) {
        Ok(()) => Ok(file),
        Err(failed) => {
            // if this fails too the next attempt finds the file in its way and says so; the next start removes it
            let _ = storage.remove(name);
            Err(failed)
        }
    }
}

fn write_header<S: LogStorage>(storage: &mut S, file: &S::File, header: &FileHeader) -> Result<(), CreateError> {
    let bytes = header.encode();
    let mut done = 0;
    while done < bytes.len() {
        done +=
            append_some(storage, file, &bytes[done..]).map_err(|error| CreateError { doing: Doing::Write, error })?;
    }
    storage.sync(file).and_then(|()| storage.sync_dir()).map_err(|error| CreateError { doing: Doing::Sync, error })
}

/// One write behind the end that was not interrupted and took at least a byte.
pub(in crate::ring) fn append_some<S: LogStorage>(storage: &mut S, file: &S::File, bytes: &[u8]) -> io::Result<usize> {
    some(|| storage.append(file, bytes))
}

/// The same for any write.
pub(super) fn some(mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match write() {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Whether an error means that there is no room at the moment, for this user or in this file.
pub(in crate::ring) fn is_full(error: &io::Error) -> bool {
    matches!(errno(error), Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG))
}

pub(super) fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}
