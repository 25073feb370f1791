//! A keystore that is being written, from the first byte to its name: synced by portions, so that no sync is long.

use std::io;
use std::os::fd::RawFd;

use super::named::append_all;
use super::storage::{Name, ReplicaStorage};
use crate::config;

/// The file and how much of it is on the disk.
pub struct Writing<F> {
    file: F,
    written: u64,
    /// Invariant: at most `written`.
    synced: u64,
    /// What the sync under way covers.
    in_flight: Option<u64>,
    /// Nothing more comes.
    ended: bool,
}

impl<F> Writing<F> {
    /// Begins with an empty file, in place of one that was not finished.
    pub fn begin<S: ReplicaStorage<File = F>>(storage: &mut S) -> io::Result<Self> {
        let file = storage.create_named(Name::KeystoreNew)?;
        Ok(Self { file, written: 0, synced: 0, in_flight: None, ended: false })
    }

    /// Adds bytes at the end.
    pub fn append<S: ReplicaStorage<File = F>>(&mut self, storage: &mut S, bytes: &[u8]) -> io::Result<()> {
        append_all(storage, &self.file, bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Nothing more comes.
    pub const fn end(&mut self) {
        self.ended = true;
    }

    /// Bytes so far.
    pub const fn bytes(&self) -> u64 {
        self.written
    }

    /// All of it is on the disk, and there will be no more.
    pub const fn is_durable(&self) -> bool {
        self.ended && self.synced == self.written
    }

    /// The descriptor that is to be synced now.
    pub fn next_sync<S: ReplicaStorage<File = F>>(&mut self, storage: &S) -> Option<RawFd> {
        let waiting = self.written - self.synced;
        let is_due = waiting >= config::KEYSTORE_SYNC_BYTES || (self.ended && waiting > 0);
        if self.in_flight.is_some() || !is_due {
            return None;
        }
        self.in_flight = Some(self.written);
        Some(storage.descriptor(&self.file))
    }

    /// The sync has ended well.
    pub const fn on_synced(&mut self) {
        self.synced = self.in_flight.take().expect("a sync ends once");
    }

    /// Gives it up; the file, if the kernel still syncs it.
    pub fn abandon<S: ReplicaStorage<File = F>>(self, storage: &mut S) -> io::Result<Option<F>> {
        storage.remove_named(Name::KeystoreNew)?;
        Ok(self.in_flight.map(|_| self.file))
    }

    /// Gives it its name; the old keystore is no more.
    pub fn publish<S: ReplicaStorage<File = F>>(self, storage: &mut S) -> io::Result<()> {
        assert!(self.is_durable(), "a keystore has its name when it is on the disk");
        storage.rename(Name::KeystoreNew, Name::Keystore)?;
        storage.sync_dir()
    }
}
