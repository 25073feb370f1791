//! Reads a log from its files through the machine that judges them, in bounded memory; at a server's start also cuts the
//! torn tail and opens what is left for appending.

use std::io;
use std::ops::ControlFlow;

use super::error::OpenError;
use super::storage::LogStorage;
use super::writer::{LogWriter, create_file};
use crate::config::{self, Fsync};
use crate::log::layout::frame;
use crate::log::{
    Corruption, Cut, Entry, EntryFault, Epoch, FileHeader, FrameHeader, FrameView, LogId, LogIndex, Position,
    Recovered, Recovery, Step,
};
use crate::time::Time;

/// Whoever takes the entries: the frame an entry stands in, its index, itself. A text ends the reading.
pub trait TakeEntry: FnMut(&FrameHeader, LogIndex, &Entry<'_>) -> Result<(), String> {}
impl<F: FnMut(&FrameHeader, LogIndex, &Entry<'_>) -> Result<(), String>> TakeEntry for F {}

/// Reads the whole log and changes nothing; a tail that is not whole is reported, not an error. A server may be appending
/// meanwhile: how much of what it adds is seen is chance.
///
/// # Errors
/// When a file cannot be read, the log is corrupt, or `take` refuses.
pub fn read<S: LogStorage>(storage: &mut S, take: &mut impl TakeEntry) -> Result<Recovered, OpenError> {
    read_entries(storage, false, take)
}

/// Reads the log, cuts its torn tail and makes it ready for appending. Everything is synced before it is trusted: what an
/// earlier process wrote may be in the kernel's memory only. An empty directory gets the log `new_log`.
///
/// # Errors
/// As `read`, and when a file cannot be cut, made or synced.
pub fn recover<S: LogStorage>(
    mut storage: S,
    fsync: Fsync,
    new_log: LogId,
    take: &mut impl TakeEntry,
) -> Result<(LogWriter<S>, Recovered), OpenError> {
    let mut recovered = read_entries(&mut storage, true, take)?;
    if let Some(cut) = &recovered.cut {
        cut_tail(&mut storage, cut)?;
    }
    if recovered.log_id.is_none() {
        recovered.log_id = Some(new_log);
        (recovered.first_index, recovered.epoch, recovered.first_epoch) = (LogIndex(1), Epoch(1), Epoch(1));
    }
    let log_id = recovered.log_id.expect("just set");
    let name = recovered.last_file.unwrap_or(Position(0));
    let file = if recovered.last_file.is_some() {
        storage.open(name).map_err(io_error(&storage, "open", name))?.0
    } else {
        let (epoch, time) = (recovered.epoch, Time::default());
        let header = FileHeader { log_id, position: name, index: recovered.first_index, epoch, time };
        recovered.last_file = Some(name);
        recovered.files = 1;
        create_file(&mut storage, &header).map_err(|failed| io_error(&storage, "create", name)(failed.error))?
    };
    let names = list(&mut storage)?;
    Ok((LogWriter::new(storage, fsync, log_id, names, file, recovered.end), recovered))
}

pub(in crate::ring) fn io_error<S: LogStorage>(
    storage: &S,
    doing: &'static str,
    name: Position,
) -> impl FnOnce(io::Error) -> OpenError + use<S> {
    let path = storage.path(name);
    move |error| OpenError::Io { doing, path, error }
}

/// The log's files, by the positions in their names.
pub(in crate::ring) fn list<S: LogStorage>(storage: &mut S) -> Result<Vec<Position>, OpenError> {
    storage.list().map_err(|error| {
        let path = storage.path(Position(0)).parent().map(std::path::Path::to_path_buf).unwrap_or_default();
        OpenError::Open { path, error }
    })
}

/// Why whoever takes the frames takes no more.
pub(in crate::ring) enum Stop {
    /// An entry that cannot be.
    Entry(EntryFault),
    /// A sentence for the operator.
    Refused(String),
}

/// What a log's files hold: all of it that is whole, and what is wrong behind that if it was whole once.
pub(in crate::ring) struct Judged {
    pub recovered: Recovered,
    pub corruption: Option<Corruption>,
}

fn read_entries<S: LogStorage>(storage: &mut S, sync: bool, take: &mut impl TakeEntry) -> Result<Recovered, OpenError> {
    let names = list(storage)?;
    let judged = read_frames(storage, &names, sync, &mut |frame, _| {
        for entry in frame.entries() {
            let (index, entry) = entry.map_err(Stop::Entry)?;
            take(&frame.header, index, &entry).map_err(Stop::Refused)?;
        }
        Ok(())
    })?;
    match judged.corruption {
        None => Ok(judged.recovered),
        Some(corruption) => {
            Err(OpenError::Corrupt { path: storage.path(corruption.file), corruption: Box::new(corruption) })
        }
    }
}

/// Reads the files `names` frame by frame: each with its bytes. Syncs them first if `sync`.
pub(in crate::ring) fn read_frames<S: LogStorage>(
    storage: &mut S,
    names: &[Position],
    sync: bool,
    take: &mut impl FnMut(&FrameView<'_>, &[u8]) -> Result<(), Stop>,
) -> Result<Judged, OpenError> {
    let mut recovery = Recovery::new();
    let mut window = Window::default();
    for &name in names {
        let (file, bytes) = storage.open(name).map_err(|error| OpenError::Open { path: storage.path(name), error })?;
        if sync {
            storage.sync(&file).map_err(io_error(storage, "sync", name))?;
        }
        recovery.begin_file(name, bytes);
        window.clear();
        loop {
            let needed = match step(&mut recovery, &mut window, take) {
                Ok(ControlFlow::Continue(needed)) => needed,
                Ok(ControlFlow::Break(())) => break,
                Err(Halt::Corrupt(corruption)) => {
                    // only what a later frame says is wrong can be the moment's fault
                    let grew = !sync && corruption.durable_upto.is_some() && has_grown(storage, recovery.whole())?;
                    return Ok(Judged { recovered: *recovery.whole(), corruption: (!grew).then_some(corruption) });
                }
                Err(Halt::Refused(why)) => return Err(OpenError::Refused(why)),
            };
            let offset = recovery.offset();
            let missing = if sync { Missing::IsAnError } else { Missing::IsRoom };
            let filled = window.fill(storage, &file, bytes, offset, needed, missing);
            filled.map_err(io_error(storage, "read", name))?;
        }
    }
    let mut recovered = recovery.finish();
    if !sync && recovered.cut.is_some_and(|cut| !cut.is_room) && has_grown(storage, &recovered)? {
        recovered.cut = None;
    }
    Ok(Judged { recovered, corruption: None })
}

/// Whether a whole frame stands now where none did when that was read: a server writes over its room meanwhile, and what was read
/// behind the end is of another moment than the end.
fn has_grown<S: LogStorage>(storage: &mut S, whole: &Recovered) -> Result<bool, OpenError> {
    let Some(name) = whole.last_file else { return Ok(false) };
    let (file, bytes) = storage.open(name).map_err(io_error(storage, "open", name))?;
    let offset = whole.end.offset_in(name);
    let mut window = Window::default();
    let mut needed = frame::BYTES;
    while needed as u64 <= bytes.saturating_sub(offset) {
        let filled = window.fill(storage, &file, bytes, offset, needed, Missing::IsRoom);
        filled.map_err(io_error(storage, "read", name))?;
        let Ok(header) = FrameHeader::decode(window.bytes()) else { return Ok(false) };
        if window.bytes().len() >= header.frame_bytes() {
            let frame = FrameView::parse(&window.bytes()[..header.frame_bytes()]);
            return Ok(header.start.position == whole.end && frame.is_ok());
        }
        needed = header.frame_bytes();
    }
    Ok(false)
}

enum Halt {
    Corrupt(Corruption),
    Refused(String),
}

/// Judges what the window holds; how many bytes it must hold to go on.
fn step(
    recovery: &mut Recovery,
    window: &mut Window,
    take: &mut impl FnMut(&FrameView<'_>, &[u8]) -> Result<(), Stop>,
) -> Result<ControlFlow<(), usize>, Halt> {
    loop {
        let consumed = match recovery.step(window.bytes()).map_err(Halt::Corrupt)? {
            Step::Need { bytes } => return Ok(ControlFlow::Continue(bytes)),
            Step::FileEnd => return Ok(ControlFlow::Break(())),
            Step::Passed { consumed } => consumed,
            Step::Frame { frame, consumed } => {
                take(&frame, &window.bytes()[..consumed]).map_err(|stop| match stop {
                    Stop::Entry(fault) => Halt::Corrupt(recovery.entry_corruption(&frame.header, fault)),
                    Stop::Refused(why) => Halt::Refused(why),
                })?;
                consumed
            }
        };
        window.consume(consumed);
    }
}

/// Newest file first: whenever this is interrupted, what is left has the same torn tail or a shorter one.
pub(in crate::ring) fn cut_tail<S: LogStorage>(storage: &mut S, cut: &Cut) -> Result<(), OpenError> {
    if !cut.is_room {
        tracing::warn!("the log's torn tail was cut: {} bytes, {}", cut.bytes, cut.fault);
    }
    let names = storage.list().map_err(io_error(storage, "list", cut.file))?;
    for &name in names.iter().rev().take_while(|&&name| name > cut.file) {
        storage.remove(name).map_err(io_error(storage, "remove", name))?;
        storage.sync_dir().map_err(io_error(storage, "sync the directory of", name))?;
    }
    if cut.keep_bytes == 0 {
        storage.remove(cut.file).map_err(io_error(storage, "remove", cut.file))?;
        return storage.sync_dir().map_err(io_error(storage, "sync the directory of", cut.file));
    }
    let (file, _) = storage.open(cut.file).map_err(io_error(storage, "open", cut.file))?;
    storage.truncate(&file, cut.keep_bytes).map_err(io_error(storage, "truncate", cut.file))?;
    storage.sync(&file).map_err(io_error(storage, "sync", cut.file))
}

/// What it means when a file has become shorter than it was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    IsAnError,
    IsRoom,
}

/// The part of a file that is in memory: read by large chunks, as long as the longest frame at most.
#[derive(Default)]
struct Window {
    buffer: Vec<u8>,
    /// What is consumed of it.
    start: usize,
    /// What is read into it.
    end: usize,
}

impl Window {
    const fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        assert!(self.start <= self.end, "no more is consumed than was read");
    }

    /// Reads until `needed` bytes are there, or more. `offset`: the file's byte that the window starts with.
    fn fill<S: LogStorage>(
        &mut self,
        storage: &mut S,
        file: &S::File,
        file_bytes: u64,
        offset: u64,
        needed: usize,
        missing: Missing,
    ) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let left = usize::try_from(file_bytes - offset).unwrap_or(usize::MAX);
        let room = needed.max(config::LOG_READ_BYTES.min(left));
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        while self.end < needed {
            let at = offset + self.end as u64;
            match storage.read(file, at, &mut self.buffer[self.end..]) {
                // its server took it back, from where it was zeros
                Ok(0) if missing == Missing::IsRoom => {
                    self.buffer[self.end..needed].fill(0);
                    self.end = needed;
                }
                Ok(0) => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"));
                }
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
