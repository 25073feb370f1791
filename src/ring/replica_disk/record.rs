//! The server's record: written whole beside the old one, synced, given its name, the directory synced. The old one's file becomes
//! the room for the next, so that on a full disk a server still adopts the configuration that leaves it out.

use std::collections::VecDeque;
use std::io;

use super::named::{open_error, overwrite, read_small};
use super::storage::{Name, ReplicaStorage};
use crate::cluster::NodeRecord;
use crate::cluster::codec;
use crate::log::LogId;
use crate::ring::disk::OpenError;
use crate::ring::disk::writer::is_full;

/// Records that are to be made durable, oldest first: those for which there was no room.
#[derive(Default)]
pub struct RecordFile {
    waiting: VecDeque<NodeRecord>,
}

/// The record that is on the disk, if there is one.
///
/// # Errors
/// When it cannot be read, or is not what this version wrote.
pub fn read<S: ReplicaStorage>(storage: &mut S) -> Result<Option<NodeRecord>, OpenError> {
    let read = read_small(storage, Name::Record).map_err(open_error(storage, "read", Name::Record))?;
    let decoded = read.map(|bytes| codec::decode_node(&bytes)).transpose();
    decoded.map_err(|fault| OpenError::Record { path: storage.path_named(Name::Record), fault })
}

impl RecordFile {
    /// Takes a record that is to be made durable after those before it.
    pub fn push(&mut self, record: NodeRecord) {
        self.waiting.push_back(record);
    }

    /// Makes the oldest durable; nothing when none is left, or the disk has no room for it now.
    pub fn persist_next<S: ReplicaStorage>(&mut self, storage: &mut S) -> io::Result<Option<NodeRecord>> {
        let Some(record) = self.waiting.front() else { return Ok(None) };
        match write(storage, record) {
            Ok(()) => Ok(self.waiting.pop_front()),
            Err(error) if is_full(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The cluster that the oldest of those that wait names, if it names one.
    pub fn waiting_cluster(&self) -> Option<LogId> {
        self.waiting.front().and_then(|record| record.configuration.as_ref()).map(|configuration| configuration.cluster)
    }
}

fn write<S: ReplicaStorage>(storage: &mut S, record: &NodeRecord) -> io::Result<()> {
    let file = overwrite(storage, Name::RecordSpare, &codec::encode_node(record))?;
    storage.sync(&file)?;
    storage.exchange(Name::RecordSpare, Name::Record)?;
    storage.sync_dir()?;
    // the first record, and each on a file system that cannot exchange names, leaves no room behind
    if storage.open_named(Name::RecordSpare)?.is_none() {
        match overwrite(storage, Name::RecordSpare, &codec::encode_node(record)) {
            Err(error) if !is_full(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
