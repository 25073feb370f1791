//! What a cluster server's directory holds besides its log, behind a trait so that tests can make each operation fail or be the last
//! before a crash; and the real thing.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::ring::disk::{LogFile, LogFiles, LogStorage, forget, remove};

/// A file that is no file of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// The server's record.
    Record,
    /// The record before, whose room the next one takes: on a full disk there is no other.
    RecordSpare,
    /// The keystore.
    Keystore,
    /// A keystore that is not whole yet.
    KeystoreNew,
    /// Up to where the log is known to be committed.
    Committed,
    /// Whether the server stopped in order, and on which start of the machine it ran.
    Running,
}

impl Name {
    /// The name in the directory.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::RecordSpare => "record.spare",
            Self::Keystore => "keystore",
            Self::KeystoreNew => "keystore.new",
            Self::Committed => "committed",
            Self::Running => "running",
        }
    }
}

/// What a replica asks of a disk besides what its log does.
pub trait ReplicaStorage: LogStorage {
    /// Opens a file, if there is one; also its size.
    fn open_named(&mut self, name: Name) -> io::Result<Option<(Self::File, u64)>>;
    /// Makes an empty file, in place of one that is there.
    fn create_named(&mut self, name: Name) -> io::Result<Self::File>;
    /// Writes over the start of a file and drops what is behind: in the room it has, as far as that reaches.
    fn overwrite(&mut self, file: &Self::File, bytes: &[u8]) -> io::Result<()>;
    /// Gives a file another name; a file that had it is gone.
    fn rename(&mut self, from: Name, to: Name) -> io::Result<()>;
    /// Gives each of two files the other's name; where the system cannot do that, the second file is gone.
    fn exchange(&mut self, one: Name, other: Name) -> io::Result<()>;
    /// Removes a file; whether there was one.
    fn remove_named(&mut self, name: Name) -> io::Result<bool>;
    /// The name for people.
    fn path_named(&self, name: Name) -> PathBuf;
}

impl ReplicaStorage for LogFiles {
    fn open_named(&mut self, name: Name) -> io::Result<Option<(LogFile, u64)>> {
        let writable = self.is_writable();
        match OpenOptions::new().read(true).write(writable).open(self.path_named(name)) {
            Ok(file) => {
                let bytes = file.metadata()?.len();
                Ok(Some((LogFile::plain(file), bytes)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create_named(&mut self, name: Name) -> io::Result<LogFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        options.open(self.path_named(name)).map(LogFile::plain)
    }

    fn overwrite(&mut self, file: &LogFile, bytes: &[u8]) -> io::Result<()> {
        file.file().write_all_at(bytes, 0)?;
        file.file().set_len(bytes.len() as u64)
    }

    fn rename(&mut self, from: Name, to: Name) -> io::Result<()> {
        let to = self.path_named(to);
        let before = File::open(&to).ok(); // if there is one, and else nothing has to be forgotten
        std::fs::rename(self.path_named(from), to)?;
        before.into_iter().for_each(forget);
        Ok(())
    }

    fn exchange(&mut self, one: Name, other: Name) -> io::Result<()> {
        let (from, to) = (self.path_named(one), self.path_named(other));
        match renameat_with(CWD, &from, CWD, &to, RenameFlags::EXCHANGE) {
            // not on this file system, or the other is not there yet
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOENT) => std::fs::rename(from, to),
            done => done.map_err(io::Error::from),
        }
    }

    fn remove_named(&mut self, name: Name) -> io::Result<bool> {
        match remove(&self.path_named(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn path_named(&self, name: Name) -> PathBuf {
        self.directory().join(name.text())
    }
}
