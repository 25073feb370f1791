//! The log's files on thread 0: opens and replays at the start, appends a turn's frames, tells the shard what is durable.
//!
//! An error that is no full disk ends the process: what the kernel could not write or sync may be gone from its memory
//! too, so nothing can be promised any more, and a restart reads what there is.

use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::time::Instant;

use super::disk::{self, DataDir, Fatal, LogFiles, LogWriter, OpenError, SyncRequest};
use super::replica_disk;
use crate::config::Fsync;
use crate::log::{LogId, Position, Recovered};
use crate::time::Time;
use crate::writes::{Frame, LogStart, Writes};

/// What the disk has come to, for the shard.
#[derive(Debug)]
pub enum LogEvent {
    /// Frames up to here are as durable as was asked for.
    Persisted { upto: Position },
    /// Frames up to here are on the disk.
    Synced { upto: Position },
    /// The disk is full; nothing beyond this was written.
    Refused { written: Position },
    /// A frame's buffer, to be used again.
    FrameWritten { buffer: Vec<u8> },
}

/// A data directory that is locked and not yet read.
pub struct Opened {
    dir: DataDir,
    fsync: Fsync,
}

/// Opens and locks a data directory; makes it when it is not there.
///
/// # Errors
/// When it cannot be made, read or locked, or is a cluster server's: its log alone is not its data, and is not this server's to
/// go on with.
pub fn open(path: &Path, fsync: Fsync) -> Result<Opened, OpenError> {
    let dir = DataDir::open(path)?;
    if let Some(cluster) = replica_disk::cluster_of(path)? {
        return Err(OpenError::OfCluster { path: path.to_path_buf(), cluster });
    }
    Ok(Opened { dir, fsync })
}

impl Opened {
    /// Reads the log into the write path, cuts its torn tail and goes on at its end.
    ///
    /// # Errors
    /// When the log is corrupt, cannot be read, or holds more than the store takes.
    pub fn replay(self, now: Time, writes: &mut Writes) -> Result<LogDisk, OpenError> {
        let began = Instant::now();
        let (writer, recovered) =
            disk::recover(LogFiles::new(self.dir), self.fsync, LogId(rand::random()), &mut |_, index, entry| {
                writes.replay(now.seconds(), index, entry)
            })?;
        report(&recovered, began);
        writes.attach_log(LogStart {
            epoch: recovered.epoch,
            last_index: recovered.last_index,
            end: writer.written(),
            last_time: recovered.last_time,
        });
        Ok(LogDisk { writer, buffers: Vec::new(), full: false })
    }
}

fn report(recovered: &Recovered, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    tracing::info!("{} entries replayed in {seconds:.3} s", recovered.entries);
}

/// The log's files.
pub struct LogDisk {
    writer: LogWriter<LogFiles>,
    /// Frames of this turn, kept until the disk has spoken.
    buffers: Vec<Frame>,
    /// It was full at the last write; said once.
    full: bool,
}

impl LogDisk {
    /// Appends a turn's frames.
    pub fn append(&mut self, frames: &mut Vec<Frame>, mut tell: impl FnMut(LogEvent)) {
        self.buffers.append(frames);
        let appended = or_exit(self.writer.append(self.buffers.iter().map(|frame| frame.bytes.as_slice())));
        if let Some(upto) = appended.persisted {
            tell(LogEvent::Persisted { upto });
        }
        if let Some(written) = appended.refused {
            if !std::mem::replace(&mut self.full, true) {
                tracing::warn!("the disk is full: writes are refused until there is space");
            }
            tell(LogEvent::Refused { written });
        } else if std::mem::replace(&mut self.full, false) {
            tracing::warn!("there is space again: writes are taken");
        }
        for frame in self.buffers.drain(..) {
            tell(LogEvent::FrameWritten { buffer: frame.bytes });
        }
    }

    /// The descriptor to fdatasync now, if that is due.
    pub fn next_sync(&mut self, now: Time) -> Option<RawFd> {
        self.writer.next_sync(now).map(|SyncRequest { descriptor, .. }| descriptor)
    }

    /// When `next_sync` is to be asked although nothing happens; nothing when it need not be.
    pub fn sync_due(&self) -> Option<Time> {
        self.writer.sync_due()
    }

    /// The sync that was asked for has ended.
    pub fn on_synced(&mut self, now: Time, result: i32, mut tell: impl FnMut(LogEvent)) {
        let result = if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) };
        let synced = or_exit(self.writer.on_synced(now, result));
        tell(LogEvent::Synced { upto: synced.upto });
        if let Some(upto) = synced.persisted {
            tell(LogEvent::Persisted { upto });
        }
    }

    /// Syncs all that is written.
    pub fn finish(mut self) {
        or_exit(self.writer.finish());
    }
}

/// Ends the process when the disk has failed; replies that were not sent stay unsent.
fn or_exit<T>(result: Result<T, Fatal>) -> T {
    result.unwrap_or_else(|fatal| {
        tracing::error!("{fatal}");
        std::process::exit(fatal.exit_code().into());
    })
}
