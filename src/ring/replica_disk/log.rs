//! The log while the server runs: appended to in the order of the machine's effects, cut, synced, read back for who lacks it.

use std::io;
use std::os::fd::RawFd;

use super::found::remove_keystore;
use super::named::fatal;
use super::storage::Name;
use super::{DiskEvent, ReplicaDisk, ReplicaStorage, Tail};
use crate::cluster::{Frame, Mark, NodeRecord};
use crate::config::Fsync;
use crate::log::layout::frame as at;
use crate::log::{FrameHeader, Position};
use crate::ring::disk::{Fatal, Synced};
use crate::time::Time;

impl<S: ReplicaStorage> ReplicaDisk<S> {
    /// What has come of what was done, oldest first: take these before the next turn.
    pub fn take_event(&mut self) -> Option<DiskEvent> {
        self.events.pop_front()
    }

    /// `Effect::Persist`. While the disk has no room for a record it waits, and `advance` tries again.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn persist(&mut self, record: NodeRecord) -> Result<(), Fatal> {
        self.record.push(record);
        self.persist_waiting()
    }

    /// Makes records durable that wait for room.
    pub(super) fn persist_waiting(&mut self) -> Result<(), Fatal> {
        loop {
            if let Some(cluster) = self.record.waiting_cluster()
                && self.writer.log_id() != cluster
                && self.is_empty()
            {
                // the log of a cluster has its id; nothing is in this one yet
                let header = self.keystore.log_header(cluster);
                self.writer.reset(&header)?;
            }
            let storage = self.writer.storage();
            let done = self.record.persist_next(storage).map_err(fatal(storage, "write", Name::Record))?;
            let Some(record) = done else { return Ok(()) };
            let said = self.running.on_record_persisted(storage);
            said.map_err(fatal(storage, "write", Name::Running))?;
            self.events.push_back(DiskEvent::RecordPersisted { epoch: record.epoch() });
        }
    }

    /// Nothing was ever in the log.
    fn is_empty(&self) -> bool {
        self.tail == Tail::Whole && self.writer.written() == Position(0) && self.keystore.start == Mark::default()
    }

    /// `Effect::Append`. What it comes to are events: at once when there was no room, or when what is written is durable enough,
    /// otherwise when it is synced.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn append(&mut self, frame: &Frame, cut: u64) -> Result<(), Fatal> {
        assert!(self.tail == Tail::Whole, "what is damaged is cut before more is written");
        assert!(self.install.is_none(), "nothing is appended to what is replaced");
        self.cut = cut;
        if frame.position() > self.writer.written() {
            // it was built before the machine heard that there was no room for the one before it
            assert!(self.full, "a frame follows the one before it");
            return Ok(());
        }
        let appended = self.writer.append([frame.bytes()])?;
        if let Some(upto) = appended.persisted {
            self.tell_persisted(upto);
        }
        if let Some(written) = appended.refused {
            if !std::mem::replace(&mut self.full, true) {
                tracing::warn!("the disk is full: writes are refused until there is space");
            }
            self.events.push_back(DiskEvent::Refused { written, cut });
        } else if std::mem::replace(&mut self.full, false) {
            tracing::warn!("there is space again: writes are taken");
        }
        Ok(())
    }

    /// What nobody has heard yet of the log says nothing of what is there now.
    pub(super) fn forget_untold(&mut self) {
        self.events.retain(|event| matches!(event, DiskEvent::RecordPersisted { .. }));
    }

    /// News of the same kind that nobody has taken yet are one.
    fn tell_persisted(&mut self, upto: Position) {
        let cut = self.cut;
        self.events.pop_back_if(|last| matches!(last, DiskEvent::Persisted { cut: of, .. } if *of == cut));
        self.events.push_back(DiskEvent::Persisted { upto, cut });
    }

    /// `Effect::Truncate`. All that stays is on the disk then.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn truncate(&mut self, to: Mark, cut: u64) -> Result<(), Fatal> {
        self.cut = cut;
        let tail = std::mem::replace(&mut self.tail, Tail::Whole);
        let upto = to.position.min(self.writer.written());
        if tail != Tail::Whole && self.keystore.start == Mark::default() {
            // one that is damaged
            let storage = self.writer.storage();
            remove_keystore(storage).map_err(fatal(storage, "remove", Name::Keystore))?;
        }
        if tail == Tail::Useless {
            assert!(to == self.keystore.start, "nothing of the log counts");
            let header = self.keystore.log_header(self.writer.log_id());
            self.writer.reset(&header)?;
        } else if upto <= self.writer.begin() && self.writer.begin() == self.keystore.start.position {
            // the header of the first file may be of an epoch that is cut off
            let header = self.keystore.log_header(self.writer.log_id());
            self.writer.reset(&header)?;
        } else if upto < self.writer.written() || tail == Tail::Damaged {
            self.writer.truncate(upto)?;
        }
        self.forget_untold();
        self.events.push_back(DiskEvent::Durable { upto: self.writer.synced() });
        // where nothing was cut off, the rest is still to be synced
        let persisted = if self.fsync == Fsync::Always { self.writer.synced() } else { self.writer.written() };
        self.tell_persisted(persisted);
        Ok(())
    }

    /// The descriptor of the log to fdatasync now, if that is due; its result is handed to `on_synced` before the next is asked for.
    pub fn next_sync(&mut self, now: Time) -> Option<RawFd> {
        let request = if self.checkpoint.needs_log(self.writer.synced()) {
            self.writer.sync_now(now)
        } else {
            self.writer.next_sync(now)
        };
        request.map(|request| request.descriptor)
    }

    /// When `next_sync` is to be asked although nothing happens; nothing when it need not be.
    pub fn sync_due(&self) -> Option<Time> {
        self.writer.sync_due()
    }

    /// The sync that `next_sync` asked for has ended; `result` as io_uring gives it: 0, or a negative error number.
    ///
    /// # Errors
    /// When it failed.
    pub fn on_synced(&mut self, now: Time, result: i32) -> Result<(), Fatal> {
        let Synced { upto, persisted } = self.writer.on_synced(now, result_of(result))?;
        self.events.push_back(DiskEvent::Durable { upto });
        if let Some(upto) = persisted {
            self.tell_persisted(upto);
        }
        Ok(())
    }

    /// The descriptor of a keystore to fdatasync now, if that is due; its result is handed to `on_keystore_synced` before the next is
    /// asked for. Independent of the log's syncs, which must not wait for it.
    pub fn next_keystore_sync(&mut self) -> Option<RawFd> {
        if self.orphan.is_some() {
            return None;
        }
        let writing = match &mut self.install {
            Some(install) => Some(install.writing()),
            None => self.checkpoint.writing(),
        };
        writing?.next_sync(self.writer.storage())
    }

    /// The sync that `next_keystore_sync` asked for has ended; `result` as io_uring gives it.
    ///
    /// # Errors
    /// When it failed.
    pub fn on_keystore_synced(&mut self, result: i32) -> Result<(), Fatal> {
        if self.orphan.take().is_some() {
            // nothing of it is needed any more
            return Ok(());
        }
        let storage = self.writer.storage();
        result_of(result).map_err(fatal(storage, "sync", Name::KeystoreNew))?;
        let writing = match &mut self.install {
            Some(install) => Some(install.writing()),
            None => self.checkpoint.writing(),
        };
        writing.expect("what is synced is being written").on_synced();
        Ok(())
    }

    /// `Effect::ReadLog`: frames without gaps from there on, of about so many bytes and at least one; none where the log is no more.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read_log(&mut self, from: Mark, bytes: usize) -> Result<Vec<Frame>, Fatal> {
        let mut frames = Vec::new();
        let mut buffer = vec![0; bytes.max(at::BYTES)];
        let done = self.writer.read(from.position, &mut buffer)?;
        buffer.truncate(done);
        if let Ok(header) = FrameHeader::decode(&buffer)
            && header.frame_bytes() > buffer.len()
        {
            // one large frame
            buffer.resize(header.frame_bytes(), 0);
            let done = self.writer.read(from.position, &mut buffer)?;
            buffer.truncate(done);
        }
        let (mut rest, mut position) = (buffer.as_slice(), from.position);
        while let Ok(header) = FrameHeader::decode(rest)
            && let Some(whole) = rest.get(..header.frame_bytes())
            && let Ok(frame) = Frame::parse(whole.to_vec())
            && frame.position() == position
        {
            position = frame.end();
            rest = &rest[whole.len()..];
            frames.push(frame);
        }
        Ok(frames)
    }

    /// `Effect::Commit` is done: all of the log up to there is committed. Noted now and then, for the next start.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn committed(&mut self, upto: Mark) -> Result<(), Fatal> {
        let storage = self.writer.storage();
        self.committed.on_commit(storage, upto).map_err(fatal(storage, "write", Name::Committed))
    }

    /// Where the log ends on the disk, synced or not.
    #[must_use]
    pub const fn written(&self) -> Position {
        self.writer.written()
    }

    /// The end of an orderly stop: syncs everything and says so to the next start. `committed` is what the machine calls committed.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn finish(mut self, committed: Mark) -> Result<(), Fatal> {
        self.writer.finish()?;
        let storage = self.writer.storage();
        self.committed.write(storage, committed).map_err(fatal(storage, "write", Name::Committed))?;
        self.running.stopped(storage).map_err(fatal(storage, "write", Name::Running))
    }
}

/// What io_uring said of a sync.
pub(super) fn result_of(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}
