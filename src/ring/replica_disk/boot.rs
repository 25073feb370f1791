//! Whether the server stopped in order, and otherwise whether the machine ran on since (D2): with `--fsync interval` and `never`
//! what was acknowledged may be in the machine's memory only.
//!
//! The file is a line of text, `stopped` or `running`, the machine's boot id, `always` or `weak`. It is as small as a sector, and a
//! line that is not whole says the worst.

use std::io;

use super::named::{open_error, overwrite, read_small};
use super::storage::{Name, ReplicaStorage};
use crate::config::Fsync;
use crate::ring::disk::OpenError;
use crate::ring::disk::writer::is_full;

/// What the file said, and what it is to say.
pub struct Running {
    fsync: Fsync,
    /// Of the machine's present start; empty when the system does not tell.
    boot_id: String,
    /// The file says what is true.
    written: bool,
    /// What was acknowledged may be gone.
    pub tail_is_doubted: bool,
}

/// The number that Linux draws when it starts.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

impl Running {
    /// What the server's last end says of its data.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read<S: ReplicaStorage>(storage: &mut S, fsync: Fsync, boot_id: String) -> Result<Self, OpenError> {
        let read = read_small(storage, Name::Running).map_err(open_error(storage, "read", Name::Running))?;
        let tail_is_doubted = match read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) {
            // a directory that no cluster has used
            None => false,
            Some(line) => match line.split_whitespace().collect::<Vec<_>>()[..] {
                // without a word it was being made when the server ended: nothing had been acknowledged
                [] | ["stopped"] | ["running", _, "always"] => false,
                ["running", of, "weak"] => boot_id.is_empty() || of != boot_id,
                _ => true,
            },
        };
        Ok(Self { fsync, boot_id, written: false, tail_is_doubted })
    }

    /// The server runs, and its record says what was found at the start: from now on another end is told by the file.
    pub fn on_record_persisted<S: ReplicaStorage>(&mut self, storage: &mut S) -> io::Result<()> {
        if self.written {
            return Ok(());
        }
        let strength = if self.fsync == Fsync::Always { "always" } else { "weak" };
        let boot_id = if self.boot_id.is_empty() { "unknown" } else { &self.boot_id };
        match write(storage, &format!("running {boot_id} {strength}\n")) {
            // what is acknowledged is on the disk whatever the file says
            Err(error) if is_full(&error) && self.fsync == Fsync::Always => {}
            done => done?,
        }
        self.written = true;
        Ok(())
    }

    /// The server has stopped, and everything is on the disk.
    pub fn stopped<S: ReplicaStorage>(&self, storage: &mut S) -> io::Result<()> {
        // one that never began to run leaves what the last one said
        if self.written { write(storage, "stopped\n") } else { Ok(()) }
    }
}

fn write<S: ReplicaStorage>(storage: &mut S, line: &str) -> io::Result<()> {
    let file = overwrite(storage, Name::Running, line.as_bytes())?;
    storage.sync(&file)?;
    storage.sync_dir()
}
