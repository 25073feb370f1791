//! A snapshot from the leader takes the place of everything that is here: its bytes go into the store and into a keystore as they
//! come, and when both are whole the machine is told. Whenever this is interrupted the directory holds nothing, or all of it.
//!
//! ```text
//! begin: keystore removed -> log empty at 0       bytes: keystore.new, store
//! end:   keystore.new synced -> named keystore -> log empty at its start
//! ```

use std::fmt;

use super::found::{KeystoreReading, clear, remove_keystore};
use super::named::fatal;
use super::storage::{Name, ReplicaStorage};
use super::writing::Writing;
use super::{DiskEvent, Keystore, ReplicaDisk, Tail};
use crate::config;
use crate::keystore::{Items, KeystoreFault, Piece, Step};
use crate::log::LogId;
use crate::ring::disk::Fatal;
use crate::ring::disk::writer::is_full;
use crate::writes::{ReplicaFault, Writes};

/// Why a stream comes to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallFault {
    /// The disk has no room for it.
    Full,
    /// It is no keystore.
    Keystore(KeystoreFault),
    /// It is of another cluster.
    Foreign {
        /// This server's cluster.
        ours: LogId,
        /// The stream's.
        theirs: LogId,
    },
    /// It contradicts itself.
    Contradiction(&'static str),
    /// The store cannot hold it: the server must stop.
    Store(ReplicaFault),
}

impl fmt::Display for InstallFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the disk has no room for the snapshot; make room, it comes again"),
            Self::Keystore(fault) => write!(f, "the snapshot is damaged: {fault}"),
            Self::Foreign { ours, theirs } => write!(f, "the snapshot is of cluster {theirs}, this server of {ours}"),
            Self::Contradiction(what) => write!(f, "the snapshot has {what}"),
            Self::Store(fault) => fault.fmt(f),
        }
    }
}

/// What a turn has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installing {
    /// Nothing is to be done before more comes, or a sync has ended.
    Waiting,
    /// There is more to do in the next turn, which need not wait.
    Again,
    /// Nothing comes of it: the stream is to be closed and the machine told `SnapshotLost`, except where the server must stop.
    Failed(InstallFault),
}

/// A stream that is being taken.
pub struct Install<F> {
    writing: Writing<F>,
    reading: KeystoreReading,
    /// What came and is in neither store nor file.
    came: Vec<u8>,
    /// Items of a chunk for which the store had no room yet: their bytes, and how many.
    held: Option<(Vec<u8>, u32)>,
}

enum Stop {
    Fault(InstallFault),
    Fatal(Fatal),
}

impl<S: ReplicaStorage> ReplicaDisk<S> {
    /// `Effect::TakeSnapshot`: drops everything that is here, in the store too, and any other stream that was being taken.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn begin_install(&mut self, writes: &mut Writes) -> Result<(), Fatal> {
        self.abandon_install()?;
        self.abandon_checkpoint()?;
        clear(writes);
        let storage = self.writer.storage();
        self.committed.forget(storage).map_err(fatal(storage, "remove", Name::Committed))?;
        // it goes first: a log that begins behind it is seen not to go on from anything, and goes as well
        remove_keystore(storage).map_err(fatal(storage, "remove", Name::Keystore))?;
        self.keystore = Keystore::default();
        let header = self.keystore.log_header(self.writer.log_id());
        self.writer.reset(&header)?;
        self.tail = Tail::Whole;
        self.forget_untold();
        let storage = self.writer.storage();
        let writing = Writing::begin(storage).map_err(fatal(storage, "create", Name::KeystoreNew))?;
        self.install = Some(Install { writing, reading: KeystoreReading::default(), came: Vec::new(), held: None });
        Ok(())
    }

    /// Takes bytes of the stream, in their order; `go_on_install` does something with them.
    pub fn install(&mut self, bytes: &[u8]) {
        self.install.as_mut().expect("a snapshot is taken").came.extend_from_slice(bytes);
    }

    /// Bytes that came and are not in the store yet: above `INSTALL_TURN_BYTES` the stream should not be read.
    #[must_use]
    pub fn install_backlog(&self) -> usize {
        self.install
            .as_ref()
            .map_or(0, |install| install.came.len() + install.held.as_ref().map_or(0, |(held, _)| held.len()))
    }

    /// The stream broke off, or is not taken any more.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn abandon_install(&mut self) -> Result<(), Fatal> {
        let Some(install) = self.install.take() else { return Ok(()) };
        let storage = self.writer.storage();
        let orphan = install.writing.abandon(storage).map_err(fatal(storage, "remove", Name::KeystoreNew))?;
        self.orphan = self.orphan.take().or(orphan);
        Ok(())
    }

    /// Does a turn's part of what came: once a turn while a snapshot is taken. Its end is the event `Installed`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn go_on_install(&mut self, writes: &mut Writes) -> Result<Installing, Fatal> {
        let Some(install) = &mut self.install else { return Ok(Installing::Waiting) };
        let cluster = self.writer.log_id();
        match install.go_on(self.writer.storage(), cluster, writes) {
            Ok(true) => Ok(Installing::Again),
            Ok(false) => {
                if install.writing.is_durable() {
                    self.finish_install()?;
                }
                Ok(Installing::Waiting)
            }
            Err(Stop::Fatal(fatal)) => Err(fatal),
            Err(Stop::Fault(fault)) => {
                self.abandon_install()?;
                Ok(Installing::Failed(fault))
            }
        }
    }

    fn finish_install(&mut self) -> Result<(), Fatal> {
        let Install { writing, reading, .. } = self.install.take().expect("it is whole");
        let snapshot = reading.snapshot;
        let bytes = writing.bytes();
        let storage = self.writer.storage();
        writing.publish(storage).map_err(fatal(storage, "give its name to", Name::KeystoreNew))?;
        self.keystore = Keystore { start: snapshot.start, bytes };
        let header = self.keystore.log_header(self.writer.log_id());
        self.writer.reset(&header)?;
        self.events.push_back(DiskEvent::Durable { upto: snapshot.start.position });
        self.events.push_back(DiskEvent::Installed { snapshot });
        Ok(())
    }
}

impl<F> Install<F> {
    /// Whether there is more to do at once.
    fn go_on<S: ReplicaStorage<File = F>>(
        &mut self,
        storage: &mut S,
        cluster: LogId,
        writes: &mut Writes,
    ) -> Result<bool, Stop> {
        if let Some((bytes, left)) = self.held.take() {
            self.held = restore(writes, Items::resume(&bytes, left))?;
            if self.held.is_some() {
                return Ok(true);
            }
        }
        let mut done = 0;
        let mut again = false;
        while !self.reading.is_whole() && self.held.is_none() {
            if done >= config::INSTALL_TURN_BYTES {
                again = true;
                break;
            }
            let step = self.reading.step(&self.came[done..]);
            match step.map_err(|fault| Stop::Fault(InstallFault::Keystore(fault)))? {
                Step::Need { .. } => break,
                Step::Piece { piece, consumed } => {
                    self.held = take_piece(piece, cluster, writes)?;
                    done += consumed;
                }
            }
        }
        self.writing.append(storage, &self.came[..done]).map_err(|error| {
            let full = is_full(&error);
            let fatal = fatal(storage, "write to", Name::KeystoreNew)(error);
            if full { Stop::Fault(InstallFault::Full) } else { Stop::Fatal(fatal) }
        })?;
        self.came.drain(..done);
        if self.reading.is_whole() && self.held.is_none() {
            let fault = self.reading.snapshot.fault();
            let fault = fault.or_else(|| (!self.came.is_empty()).then_some("bytes behind its end"));
            if let Some(what) = fault {
                return Err(Stop::Fault(InstallFault::Contradiction(what)));
            }
            self.writing.end();
        }
        Ok(again || self.held.is_some())
    }

    /// See `Writing`.
    pub const fn writing(&mut self) -> &mut Writing<F> {
        &mut self.writing
    }
}

/// What there was no room for.
fn take_piece(piece: Piece<'_>, cluster: LogId, writes: &mut Writes) -> Result<Option<(Vec<u8>, u32)>, Stop> {
    match piece {
        Piece::Header(header) if header.log_id != cluster => {
            Err(Stop::Fault(InstallFault::Foreign { ours: cluster, theirs: header.log_id }))
        }
        Piece::Header(header) => {
            writes.begin_restore(&header);
            Ok(None)
        }
        Piece::Epochs(_) => Ok(None),
        Piece::Items(items) => restore(writes, items),
        Piece::End(end) => {
            writes.end_restore(&end);
            Ok(None)
        }
    }
}

/// Stores items; those for which there is no room yet come back.
fn restore(writes: &mut Writes, mut items: Items<'_>) -> Result<Option<(Vec<u8>, u32)>, Stop> {
    loop {
        let (rest, left) = items.rest();
        let Some(item) = items.next() else { return Ok(None) };
        let item = item.map_err(|fault| Stop::Fault(InstallFault::Keystore(fault)))?;
        if !writes.restore(&item).map_err(|fault| Stop::Fault(InstallFault::Store(fault)))? {
            return Ok(Some((rest.to_vec(), left)));
        }
    }
}
