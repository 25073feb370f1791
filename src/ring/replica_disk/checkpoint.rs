//! A keystore of what is applied, taken while the store goes on changing, a little in each turn; then the log's files below its
//! start go. So a server's log does not grow for ever, and its next start does not read all of it.
//!
//! ```text
//! due -> items, some in each turn -> log synced up to its consistent mark, file synced -> named keystore -> old files go
//! ```

use super::named::fatal;
use super::storage::{Name, ReplicaStorage};
use super::writing::Writing;
use super::{Keystore, ReplicaDisk};
use crate::cluster::{EpochStart, Mark};
use crate::config;
use crate::log::Position;
use crate::ring::disk::Fatal;
use crate::ring::disk::writer::is_full;
use crate::time::Time;
use crate::writes::{Snapshot, Writes};

/// What a keystore is taken of, and what it may not take away.
pub struct Surroundings<'a> {
    /// The write path, and its store.
    pub writes: &'a Writes,
    /// `Replica::epochs_below`.
    pub epochs_below: &'a dyn Fn(Position) -> Vec<EpochStart>,
    /// The log is kept from here on, where the snapshots begin that are being sent to others; nothing when none is.
    pub log_needed_from: Option<Position>,
}

/// The keystore that is being taken, and when the next may be.
pub struct Checkpoint<F> {
    taking: Option<Taking<F>>,
    /// None is begun before this is applied: there was no room for the last.
    not_before: Position,
}

impl<F> Default for Checkpoint<F> {
    fn default() -> Self {
        Self { taking: None, not_before: Position(0) }
    }
}

struct Taking<F> {
    writing: Writing<F>,
    /// While there are more items.
    snapshot: Option<Snapshot>,
    start: Mark,
    /// When there are no more: all entries up to here may be in it.
    consistent: Position,
    buffer: Vec<u8>,
}

impl<F> Checkpoint<F> {
    /// Whether the keystore waits until more of the log is on the disk than up to `synced`: without it, it is not exact.
    pub fn needs_log(&self, synced: Position) -> bool {
        self.taking.as_ref().is_some_and(|taking| taking.snapshot.is_none() && synced < taking.consistent)
    }

    /// See `Writing`.
    pub fn writing(&mut self) -> Option<&mut Writing<F>> {
        self.taking.as_mut().map(|taking| &mut taking.writing)
    }
}

impl<S: ReplicaStorage> ReplicaDisk<S> {
    /// A turn's part of what is done beside everything else: once a turn.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn advance(&mut self, now: Time, around: &Surroundings<'_>) -> Result<(), Fatal> {
        if now.since(self.record_tried) >= config::CLUSTER_BEACON {
            self.record_tried = now;
            self.persist_waiting()?;
        }
        self.shorten_log(around.log_needed_from)?;
        if self.install.is_some() {
            return Ok(());
        }
        if self.checkpoint.taking.is_some() {
            self.go_on_checkpoint(around)
        } else if self.is_due(around.writes) {
            self.begin_checkpoint(around)
        } else {
            Ok(())
        }
    }

    /// Whether so much was applied since the last keystore that reading it takes longer than reading another keystore.
    fn is_due(&self, writes: &Writes) -> bool {
        let applied = writes.applied().position;
        let log = applied.0.saturating_sub(self.keystore.start.position.0);
        log >= self.checkpoint_log_bytes.max(2 * self.keystore.bytes)
            && applied >= self.checkpoint.not_before
            && writes.is_exact()
    }

    fn begin_checkpoint(&mut self, around: &Surroundings<'_>) -> Result<(), Fatal> {
        let log_id = self.writer.log_id();
        let storage = self.writer.storage();
        let start = around.writes.applied();
        let writing = match Writing::begin(storage) {
            Ok(writing) => writing,
            Err(error) if is_full(&error) => {
                self.checkpoint.not_before = after_failure(start.position);
                return Ok(());
            }
            Err(error) => return Err(fatal(storage, "create", Name::KeystoreNew)(error)),
        };
        let history = (around.epochs_below)(start.position);
        let mut buffer = Vec::new();
        let snapshot = Some(around.writes.begin_snapshot(log_id, &history, &mut buffer));
        self.checkpoint.taking = Some(Taking { writing, snapshot, start, consistent: Position(u64::MAX), buffer });
        Ok(())
    }

    fn go_on_checkpoint(&mut self, around: &Surroundings<'_>) -> Result<(), Fatal> {
        let taking = self.checkpoint.taking.as_mut().expect("one is taken");
        if let Some(snapshot) = &mut taking.snapshot {
            let writes = around.writes;
            if !writes.go_on_snapshot(snapshot, config::CHECKPOINT_TURN_BYTES, &mut taking.buffer) {
                let snapshot = taking.snapshot.take().expect("it was just there");
                taking.consistent = writes.end_snapshot(snapshot, &mut taking.buffer).consistent.position;
                taking.writing.end();
            }
            let storage = self.writer.storage();
            let written = taking.writing.append(storage, &taking.buffer);
            taking.buffer.clear();
            return match written {
                Err(error) if is_full(&error) => {
                    tracing::warn!("the disk has no room for a keystore: the log grows until there is");
                    self.checkpoint.not_before = after_failure(around.writes.applied().position);
                    self.abandon_checkpoint()
                }
                written => written.map_err(fatal(storage, "write to", Name::KeystoreNew)),
            };
        }
        // what a flipped bit of memory has made of it is not kept
        if !around.writes.is_exact() {
            return self.abandon_checkpoint();
        }
        if taking.writing.is_durable() && self.writer.synced() >= taking.consistent {
            self.finish_checkpoint()?;
        }
        Ok(())
    }

    fn finish_checkpoint(&mut self) -> Result<(), Fatal> {
        let Taking { writing, start, .. } = self.checkpoint.taking.take().expect("it is whole");
        let bytes = writing.bytes();
        let storage = self.writer.storage();
        writing.publish(storage).map_err(fatal(storage, "give its name to", Name::KeystoreNew))?;
        self.keystore = Keystore { start, bytes };
        tracing::debug!("a keystore of {bytes} bytes holds the log up to position {}", start.position.0);
        Ok(())
    }

    /// Gives up the keystore that is being taken.
    pub(super) fn abandon_checkpoint(&mut self) -> Result<(), Fatal> {
        let Some(taking) = self.checkpoint.taking.take() else { return Ok(()) };
        let storage = self.writer.storage();
        let orphan = taking.writing.abandon(storage).map_err(fatal(storage, "remove", Name::KeystoreNew))?;
        self.orphan = self.orphan.take().or(orphan);
        Ok(())
    }

    /// Lets go of the oldest file of the log when all of it is in the keystore and nobody needs it.
    fn shorten_log(&mut self, needed_from: Option<Position>) -> Result<(), Fatal> {
        let start = self.keystore.start.position;
        let Some(name) = self.writer.forget_oldest_below(needed_from.map_or(start, |needed| needed.min(start))) else {
            return Ok(());
        };
        let storage = self.writer.storage();
        storage.remove(name).map_err(|error| Fatal { doing: "remove", path: storage.path(name), error })
    }
}

const fn after_failure(applied: Position) -> Position {
    Position(applied.0 + config::CHECKPOINT_LOG_BYTES_MIN)
}
