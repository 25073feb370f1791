//! Everything a cluster server keeps on its disk, as thread 0 uses it: record, log, keystore. Owns the order in which they become
//! durable and what is made of them at a start; decides nothing that the cluster's machine has to decide.
//!
//! ```text
//! open (lock, record) -> Opened::start (keystore, log -> Writes, Boot) -> ReplicaDisk
//!   persist append truncate read_log      do what the effect of that name says, at once
//!   next_sync on_synced                   the fdatasync of the log that is due, one at a time
//!   next_keystore_sync on_keystore_synced the same of a keystore that is being written
//!   take_event                            what the machine is to be told of it
//!   begin_install install                 a snapshot takes the place of everything
//!   advance                               a keystore of what is applied, so that the log can be shortened
//! ```
//!
//! Durable before it is trusted, and in this order: a keystore before it has its name, its name before the log that it
//! replaces goes, the end of the old keystore before the log that belongs to it.

mod boot;
mod checkpoint;
mod committed;
mod contents;
mod found;
mod install;
mod log;
mod named;
mod reading;
mod record;
mod start;
mod storage;
#[cfg(test)]
mod tests;
mod writing;

use std::collections::VecDeque;
use std::path::Path;

pub use checkpoint::Surroundings;
pub use contents::{Contents, Kept, read_contents};
pub use install::{InstallFault, Installing};
pub use start::{Opened, open};
pub use storage::{Name, ReplicaStorage};

/// The cluster that the server of a directory belongs to, if it does.
///
/// # Errors
/// When its record cannot be read, or is damaged.
pub fn cluster_of(path: &Path) -> Result<Option<LogId>, OpenError> {
    let record = record::read(&mut LogFiles::read_only(path))?;
    Ok(record.and_then(|record| record.configuration).map(|configuration| configuration.cluster))
}

use self::boot::Running;
use self::checkpoint::Checkpoint;
use self::committed::Committed;
use self::install::Install;
use self::record::RecordFile;
use crate::cluster::{Mark, Snapshot};
use crate::config::Fsync;
use crate::log::{Epoch, FileHeader, LogId, LogIndex, Position};
use crate::ring::disk::{LogFiles, LogWriter, OpenError};
use crate::time::Time;

/// What the disk has come to: each is an input of the cluster's machine, or what the write path is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskEvent {
    /// `Input::RecordPersisted`.
    RecordPersisted {
        /// The record's.
        epoch: Epoch,
    },
    /// `Input::Persisted`: as durable as was asked for.
    Persisted {
        /// The end of a frame.
        upto: Position,
        /// Of the appends.
        cut: u64,
    },
    /// `Input::Refused`: the disk is full.
    Refused {
        /// The end of the last frame that is there.
        written: Position,
        /// Of the appends.
        cut: u64,
    },
    /// For `Writes::on_durable`: everything below is on the disk.
    Durable {
        /// The end of a frame.
        upto: Position,
    },
    /// `Input::SnapshotInstalled`: the snapshot is on the disk, and in the store.
    Installed {
        /// What it is.
        snapshot: Snapshot,
    },
}

/// Where the data on the disk stands without the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Keystore {
    /// The log goes on from here; 0 without a keystore.
    start: Mark,
    /// Bytes of the file.
    bytes: u64,
}

impl Keystore {
    /// The header of an empty log that goes on behind it.
    fn log_header(&self, log_id: LogId) -> FileHeader {
        let Mark { epoch, index, position } = self.start;
        let (index, epoch) = (LogIndex(index.0 + 1), Epoch(epoch.0.max(1)));
        FileHeader { log_id, position, index, epoch, time: Time(0) }
    }
}

/// What the log's files have to do with what was found of them at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    /// They are what the machine knows.
    Whole,
    /// Something is wrong behind the end that the machine knows: it is cut off when the record says why.
    Damaged,
    /// Nothing of them counts: the log is begun anew when the record says why.
    Useless,
}

/// See the module. An error of it ends the process: what the kernel could not write may be gone from its memory too.
pub struct ReplicaDisk<S: ReplicaStorage = LogFiles> {
    writer: LogWriter<S>,
    fsync: Fsync,
    keystore: Keystore,
    tail: Tail,
    /// Of the newest append or truncation.
    cut: u64,
    events: VecDeque<DiskEvent>,
    record: RecordFile,
    running: Running,
    committed: Committed,
    install: Option<Install<S::File>>,
    checkpoint: Checkpoint<S::File>,
    /// Bytes of the log above the keystore at which another is taken, at least.
    checkpoint_log_bytes: u64,
    /// A keystore that was given up while the kernel was syncing it.
    orphan: Option<S::File>,
    /// When a record was last tried for which there was no room.
    record_tried: Time,
    /// It was full at the last write; said once.
    full: bool,
}
