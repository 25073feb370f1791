//! What a cluster does to a log besides appending: cuts it, begins it anew, lets its oldest files go, reads in the middle of it.

use std::io;

use super::error::Fatal;
use super::storage::LogStorage;
use super::writer::{Doing, LogWriter, OpenFile, create_file};
use crate::log::{FileHeader, LogId, Position};

impl<S: LogStorage> LogWriter<S> {
    /// The files' storage.
    pub const fn storage(&mut self) -> &mut S {
        &mut self.storage
    }

    /// Which log it is.
    #[must_use]
    pub const fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The position where its first file begins.
    #[must_use]
    pub fn begin(&self) -> Position {
        self.names[0]
    }

    /// Forgets the files that are written or wait for a sync; what the kernel still syncs stays open.
    pub(super) fn let_go_of_files(&mut self) {
        let first = self.files.pop_front().map(|first| first.file);
        if let Some(in_flight) = &mut self.in_flight
            && in_flight.parked.is_none()
        {
            in_flight.parked = first;
        }
        self.files.clear();
    }

    /// The sync under way, if any, says nothing of what is there from now on.
    const fn disown_sync(&mut self) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.covers = None;
        }
    }

    /// Drops everything from `to` on, where a frame ends, also what a crash left behind the last whole frame. All that stays is on the
    /// disk then, whatever the policy: an old frame that comes back before a new one would make a log that never was.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn truncate(&mut self, to: Position) -> Result<(), Fatal> {
        assert!(to >= self.begin() && to <= self.written, "a log is cut where it is");
        self.disown_sync();
        while self.names.len() > 1 && self.names.last().is_some_and(|&last| last >= to) {
            self.remove_last()?;
        }
        let name = *self.names.last().expect("the first file stays");
        if self.files.back().is_none_or(|current| current.name != name) {
            let opened = self.storage.open(name);
            let (file, _) = opened.map_err(|error| self.fatal("open", name, error))?;
            // what is before the files that wait for a sync is on the disk
            self.synced = to;
            self.files.push_back(OpenFile { name, file });
        }
        (self.written, self.synced) = (to, self.synced.min(to));
        self.cut_behind_end("truncate")?;
        for open in &self.files {
            self.storage.sync(&open.file).map_err(|error| self.fatal("sync", open.name, error))?;
        }
        while self.files.len() > 1 {
            let first = self.files.pop_front().expect("there are two").file;
            self.park(first);
        }
        (self.synced, self.is_cut) = (to, false);
        Ok(())
    }

    /// Keeps the first file open as long as the kernel syncs it.
    fn park(&mut self, first: S::File) {
        if let Some(in_flight) = &mut self.in_flight
            && in_flight.parked.is_none()
        {
            in_flight.parked = Some(first);
        }
    }

    fn remove_last(&mut self) -> Result<(), Fatal> {
        let name = self.names.pop().expect("there is one");
        if let Some(OpenFile { file, .. }) = self.files.pop_back_if(|last| last.name == name)
            && self.files.is_empty()
        {
            self.park(file);
        }
        let removed = self.storage.remove(name).and_then(|()| self.storage.sync_dir());
        removed.map_err(|error| self.fatal("remove", name, error))
    }

    /// Removes all files and begins an empty log with this header.
    ///
    /// # Errors
    /// When the disk fails, or has no room for a file's header.
    pub fn reset(&mut self, header: &FileHeader) -> Result<(), Fatal> {
        self.disown_sync();
        self.let_go_of_files();
        while !self.names.is_empty() {
            self.remove_last()?;
        }
        let created = create_file(&mut self.storage, header);
        let file = created.map_err(|failed| self.fatal(Doing::text(failed.doing), header.position, failed.error))?;
        self.log_id = header.log_id;
        self.names.push(header.position);
        self.files.push_back(OpenFile { name: header.position, file });
        (self.written, self.allotted, self.synced) = (header.position, header.position, header.position);
        Ok(())
    }

    /// The oldest file, if all of it lies below `position`; it is no part of the log from now on, and the caller's to remove. The
    /// file that is written stays.
    pub fn forget_oldest_below(&mut self, position: Position) -> Option<Position> {
        let waits = self.files.front().is_some_and(|first| first.name == self.names[0]);
        (self.names.len() > 1 && self.names[1] <= position && !waits).then(|| self.names.remove(0))
    }

    /// Reads bytes of the log from `from` on, as many as there are in its file: none where the log is not. The bytes are whatever
    /// was written.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read(&mut self, from: Position, into: &mut [u8]) -> Result<usize, Fatal> {
        let after = self.names.partition_point(|&name| name <= from);
        if after == 0 || from >= self.written {
            return Ok(0);
        }
        let (name, end) = (self.names[after - 1], self.names.get(after).map_or(self.written, |&next| next));
        let room = into.len().min((end.0 - from.0) as usize);
        let offset = from.offset_in(name);
        let done = self.read_file(name, offset, &mut into[..room]);
        done.map_err(|error| self.fatal("read", name, error))
    }

    fn read_file(&mut self, name: Position, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let opened;
        let file = match self.files.iter().find(|open| open.name == name) {
            Some(open) => &open.file,
            None => {
                opened = self.storage.open(name)?.0;
                &opened
            }
        };
        let mut done = 0;
        while done < into.len() {
            match self.storage.read(file, offset + done as u64, &mut into[done..]) {
                Ok(0) => break,
                Ok(bytes) => done += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}
