//! The keystore as it is found at a start: read into the store, and what it says besides its items.

use std::io;

use super::named::{open_error, read_at};
use super::storage::{Name, ReplicaStorage};
use crate::cluster::{Mark, Snapshot};
use crate::config;
use crate::keystore::{Decoder, End, Header, KeystoreFault, Piece, Step};
use crate::log::LogId;
use crate::ring::disk::OpenError;
use crate::time::Time;
use crate::writes::{ReplicaFault, Writes};

/// What was found.
pub struct Found {
    /// All 0 when there is none.
    pub snapshot: Snapshot,
    /// The log whose entries it holds.
    pub log_id: Option<LogId>,
    /// Bytes of the file.
    pub bytes: u64,
    /// There is one, and it is not what was written.
    pub damaged: bool,
}

/// A snapshot of nothing.
pub const fn nothing() -> Snapshot {
    let none = Mark { epoch: crate::log::Epoch(0), index: crate::log::LogIndex(0), position: crate::log::Position(0) };
    Snapshot { start: none, consistent: none, history: Vec::new(), last_time: Time(0) }
}

/// Why a keystore is not read to its end.
pub enum Failure {
    Io(io::Error),
    Fault(KeystoreFault),
    Store(ReplicaFault),
}

/// Reads the keystore into the store. A damaged one is as good as none for a server whose cluster has the data.
///
/// # Errors
/// When it cannot be read, does not fit into the store, or is damaged and nobody else has its data (`alone`).
pub fn read_keystore<S: ReplicaStorage>(storage: &mut S, writes: &mut Writes, alone: bool) -> Result<Found, OpenError> {
    let read_error = |storage: &S| open_error(storage, "read", Name::Keystore);
    let opened = storage.open_named(Name::Keystore).map_err(read_error(storage))?;
    let Some((file, bytes)) = opened else {
        return Ok(Found { snapshot: nothing(), log_id: None, bytes: 0, damaged: false });
    };
    let mut reading = KeystoreReading::default();
    match reading.read(storage, &file, &mut |piece| restore(writes, piece)) {
        Ok(()) => Ok(Found { snapshot: reading.snapshot, log_id: reading.log_id, bytes, damaged: false }),
        Err(Failure::Io(error)) => Err(read_error(storage)(error)),
        Err(Failure::Store(fault)) => Err(OpenError::Refused(fault.to_string())),
        Err(Failure::Fault(fault)) if alone => {
            Err(OpenError::Keystore { path: storage.path_named(Name::Keystore), fault })
        }
        Err(Failure::Fault(fault)) => {
            tracing::error!("{} is damaged: {fault}", storage.path_named(Name::Keystore).display());
            clear(writes);
            Ok(Found { snapshot: nothing(), log_id: None, bytes, damaged: true })
        }
    }
}

/// Empties the store.
pub fn clear(writes: &mut Writes) {
    let start = Mark::default();
    writes.begin_restore(&Header { log_id: LogId(0), start, last_time: Time(0), flush_at: None, epochs: 0 });
    writes.end_restore(&End { consistent: start, items: 0 });
}

/// Removes the keystore, durably.
pub fn remove_keystore<S: ReplicaStorage>(storage: &mut S) -> io::Result<()> {
    if storage.remove_named(Name::Keystore)? { storage.sync_dir() } else { Ok(()) }
}

/// What a keystore says besides its items, while they go into the store.
pub struct KeystoreReading {
    decoder: Decoder,
    pub snapshot: Snapshot,
    pub log_id: Option<LogId>,
}

impl Default for KeystoreReading {
    fn default() -> Self {
        Self { decoder: Decoder::new(), snapshot: nothing(), log_id: None }
    }
}

impl KeystoreReading {
    /// Whether the end was read.
    pub const fn is_whole(&self) -> bool {
        self.decoder.is_whole()
    }

    /// The next part, which stands at the start of `bytes`.
    pub fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<Step<'a>, KeystoreFault> {
        let step = self.decoder.step(bytes)?;
        if let Step::Piece { piece, .. } = &step {
            match piece {
                Piece::Header(Header { log_id, start, last_time, .. }) => {
                    self.log_id = Some(*log_id);
                    (self.snapshot.start, self.snapshot.last_time) = (*start, *last_time);
                }
                Piece::Epochs(epochs) => self.snapshot.history.extend_from_slice(epochs),
                Piece::Items(_) => {}
                Piece::End(end) => self.snapshot.consistent = end.consistent,
            }
        }
        Ok(step)
    }

    /// Reads a whole file; each part goes to `take`.
    pub fn read<S: ReplicaStorage>(
        &mut self,
        storage: &mut S,
        file: &S::File,
        take: &mut impl FnMut(Piece<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (mut window, mut offset) = (Vec::new(), 0);
        let mut needed = config::KEYSTORE_READ_BYTES;
        while !self.is_whole() {
            let had = window.len();
            window.resize(needed.max(had), 0);
            let done = read_at(storage, file, offset + had as u64, &mut window[had..]).map_err(Failure::Io)?;
            window.truncate(had + done);
            let ended = window.len() < needed;
            let mut at = 0;
            needed = loop {
                match self.step(&window[at..]).map_err(Failure::Fault)? {
                    Step::Need { bytes } => break bytes,
                    Step::Piece { piece, consumed } => {
                        take(piece)?;
                        at += consumed;
                    }
                }
                if self.is_whole() {
                    break 0;
                }
            };
            if ended && !self.is_whole() {
                return Err(Failure::Fault(KeystoreFault::End("not come: the file ends before it")));
            }
            window.drain(..at);
            offset += at as u64;
            needed = needed.max(config::KEYSTORE_READ_BYTES);
        }
        let surplus = read_at(storage, file, offset + window.len() as u64, &mut [0]).map_err(Failure::Io)?;
        if window.is_empty() && surplus == 0 {
            return Ok(());
        }
        Err(Failure::Fault(KeystoreFault::End("bytes behind it")))
    }
}

/// Nobody reads the store yet, so that room that is to be made is there after some housekeeping.
fn restore(writes: &mut Writes, piece: Piece<'_>) -> Result<(), Failure> {
    match piece {
        Piece::Header(header) => writes.begin_restore(&header),
        Piece::Epochs(_) => {}
        Piece::Items(items) => {
            for item in items {
                let item = item.map_err(Failure::Fault)?;
                while !writes.restore(&item).map_err(Failure::Store)? {}
            }
        }
        Piece::End(end) => writes.end_restore(&end),
    }
    Ok(())
}
