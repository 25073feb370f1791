//! What keystore and log of a directory come to, for tools: read without its lock, so that a server may be using it meanwhile.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::found::{Failure, KeystoreReading};
use super::named::open_error;
use super::start::mixed;
use super::storage::{Name, ReplicaStorage};
use crate::config;
use crate::keystore::Piece;
use crate::log::{Entry, LogIndex, Position};
use crate::ring::disk::recover::{Stop, list, read_frames};
use crate::ring::disk::{LogFiles, OpenError};
use crate::time::{Expiry, Time};

/// An item without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What the client stored.
    pub value: Vec<u8>,
    /// The client's flags.
    pub flags: u32,
    /// When it is gone.
    pub expiry: Expiry,
    /// Its cas id.
    pub cas: u64,
    /// Its item bits.
    pub bits: u8,
}

/// Everything that a directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// In the order of their keys; those that had expired by `last_time` are left out.
    pub items: BTreeMap<Vec<u8>, Kept>,
    /// The newest entry's index.
    pub last_index: LogIndex,
    /// The newest leader's time.
    pub last_time: Time,
}

/// Reads the keystore in a directory, if there is one, and the log behind it to its end, committed or not. All of it is in memory
/// then. A server may be using the directory: when it replaces a file that is being read, that begins again, a few times.
///
/// # Errors
/// When there is nothing, or it cannot be read, or is damaged.
pub fn read_contents(path: &Path) -> Result<Contents, OpenError> {
    let mut attempts = config::CONTENTS_ATTEMPTS;
    loop {
        attempts -= 1;
        match read_once(path) {
            Err(error) if attempts > 0 && was_changed(&error) => {}
            done => return done,
        }
    }
}

/// Whether a server that uses the directory may have done that meanwhile.
fn was_changed(error: &OpenError) -> bool {
    match error {
        OpenError::Open { error, .. } | OpenError::Io { error, .. } => {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
        }
        OpenError::Mixed { .. } => true,
        _ => false,
    }
}

fn read_once(path: &Path) -> Result<Contents, OpenError> {
    let mut files = LogFiles::read_only(path);
    let mut contents = Contents::default();
    // before the log: what the server removes of that afterwards is in a newer keystore
    let keystore_ends = read_keystore(&mut files, &mut contents)?;
    let start = keystore_ends.unwrap_or_default();
    let mut names = list(&mut files)?;
    names.drain(..names.partition_point(|&name| name <= start).saturating_sub(1));
    match names.first() {
        None if keystore_ends.is_none() => return Err(OpenError::NoLog { path: path.to_path_buf() }),
        Some(&first) if first > start => return Err(mixed(&files, "the log does not go on where the keystore ends")),
        _ => {}
    }
    let judged = read_frames(&mut files, &names, false, &mut |frame, _| {
        for entry in frame.entries() {
            let (index, entry) = entry.map_err(Stop::Entry)?;
            if frame.header.end() > start {
                contents.apply(index, &entry);
            }
        }
        contents.last_time = contents.last_time.max(frame.header.start.time);
        Ok(())
    })?;
    if let Some(corruption) = judged.corruption {
        return Err(OpenError::Corrupt { path: path.to_path_buf(), corruption: Box::new(corruption) });
    }
    let now = contents.last_time.seconds();
    contents.items.retain(|_, kept| !kept.expiry.expired(now));
    Ok(contents)
}

/// Where the log goes on behind the keystore, if there is one.
fn read_keystore(files: &mut LogFiles, contents: &mut Contents) -> Result<Option<Position>, OpenError> {
    let read_error = open_error(files, "read", Name::Keystore);
    let opened = match files.open_named(Name::Keystore) {
        Ok(opened) => opened,
        Err(error) => return Err(read_error(error)),
    };
    let Some((file, _)) = opened else { return Ok(None) };
    let mut reading = KeystoreReading::default();
    let read = reading.read(files, &file, &mut |piece| {
        if let Piece::Items(items) = piece {
            for item in items {
                let item = item.map_err(Failure::Fault)?;
                let (value, bits) = (item.value.to_vec(), item.bits.0);
                let kept = Kept { value, flags: item.flags, expiry: item.expiry, cas: item.cas, bits };
                contents.items.insert(item.key.to_vec(), kept);
            }
        }
        Ok(())
    });
    match read {
        Ok(()) => {}
        Err(Failure::Io(error)) => return Err(read_error(error)),
        Err(Failure::Fault(fault)) => {
            return Err(OpenError::Keystore { path: files.path_named(Name::Keystore), fault });
        }
        Err(Failure::Store(fault)) => return Err(OpenError::Refused(fault.to_string())),
    }
    contents.last_index = reading.snapshot.start.index;
    contents.last_time = reading.snapshot.last_time;
    Ok(Some(reading.snapshot.start.position))
}

impl Contents {
    fn apply(&mut self, index: LogIndex, entry: &Entry<'_>) {
        self.last_index = index;
        match *entry {
            Entry::Put { key, value, flags, expiry, cas, bits } => {
                let kept = Kept { value: value.to_vec(), flags, expiry, cas: cas.unwrap_or(index.0), bits };
                self.items.insert(key.to_vec(), kept);
            }
            Entry::Delete { key, .. } => drop(self.items.remove(key)),
            Entry::Touch { key, expiry } => {
                if let Some(kept) = self.items.get_mut(key) {
                    kept.expiry = expiry;
                }
            }
            Entry::Flush => self.items.clear(),
            // when it is due, the leader logs a flush
            Entry::FlushAt { .. } | Entry::NoOp => {}
        }
    }
}
