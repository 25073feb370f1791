//! The few file operations that a log needs, behind a trait so that tests can make each of them fail; and the real ones.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use super::dir::DataDir;
use crate::log::Position;

/// What a log asks of a disk. Files are named by the position of their first frame.
pub trait LogStorage {
    /// An open file.
    type File;

    /// The files there are, in order.
    fn list(&mut self) -> io::Result<Vec<Position>>;
    /// Opens a file that exists; also its size.
    fn open(&mut self, name: Position) -> io::Result<(Self::File, u64)>;
    /// Makes a file that does not exist.
    fn create(&mut self, name: Position) -> io::Result<Self::File>;
    /// Reads at `offset`; 0 at the end.
    fn read(&mut self, file: &Self::File, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes behind the end what one call takes; how many bytes that were.
    fn append(&mut self, file: &Self::File, bytes: &[u8]) -> io::Result<usize>;
    /// Writes over what is there from `offset` on, what one call takes; how many bytes that were.
    fn write_over(&mut self, file: &Self::File, offset: u64, bytes: &[u8]) -> io::Result<usize>;
    /// Drops what is behind the first `bytes` bytes.
    fn truncate(&mut self, file: &Self::File, bytes: u64) -> io::Result<()>;
    /// Returns when the file's bytes are on the disk.
    fn sync(&mut self, file: &Self::File) -> io::Result<()>;
    /// Returns when the directory is: which files there are.
    fn sync_dir(&mut self) -> io::Result<()>;
    /// Removes a file.
    fn remove(&mut self, name: Position) -> io::Result<()>;
    /// The descriptor to give to an fdatasync elsewhere; valid while `file` lives.
    fn descriptor(&self, file: &Self::File) -> RawFd;
    /// The name for people.
    fn path(&self, name: Position) -> PathBuf;
}

/// The files of a data directory.
#[derive(Debug)]
pub struct LogFiles {
    path: PathBuf,
    /// Nothing when only read.
    dir: Option<DataDir>,
}

impl LogFiles {
    /// For a server: the lock is held as long as this lives.
    #[must_use]
    pub fn new(dir: DataDir) -> Self {
        Self { path: dir.path().to_path_buf(), dir: Some(dir) }
    }

    /// For a reader; a server may be writing meanwhile.
    #[must_use]
    pub fn read_only(path: &Path) -> Self {
        Self { path: path.to_path_buf(), dir: None }
    }

    /// Whether it is a server's.
    #[must_use]
    pub const fn is_writable(&self) -> bool {
        self.dir.is_some()
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.path
    }

    fn writable(&self) -> &DataDir {
        self.dir.as_ref().expect("a reader does not write")
    }
}

/// Removes a file. Its bytes are forgotten elsewhere.
pub(in crate::ring) fn remove(path: &Path) -> io::Result<()> {
    let last = File::open(path).ok(); // what cannot be read can be removed
    std::fs::remove_file(path)?;
    last.into_iter().for_each(forget);
    Ok(())
}

/// Closes a file whose name is gone. The system then forgets its bytes, which takes its time for gigabytes, more so where it
/// tells the disk of each block that is free: nobody waits for that.
pub(in crate::ring) fn forget(file: File) {
    // without a thread it is closed here
    let _ = thread::Builder::new().name("forget".to_owned()).spawn(move || drop(file));
}

/// The position in the name of a log file: `log.` and 20 digits.
fn position_of(name: &str) -> Option<Position> {
    let digits = name.strip_prefix("log.")?;
    let well_formed = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if well_formed { digits.parse().ok().map(Position) } else { None }
}

/// An open file of a data directory. What is there is written over through a descriptor of its own: through one with `O_APPEND`
/// every write goes behind the end, and the flag that says otherwise for one write, `RWF_NOAPPEND`, is newer than Linux 6.1 and
/// passed over without a word by overlayfs.
#[derive(Debug)]
pub struct LogFile {
    append: File,
    /// Of a log's file that may be written.
    over: Option<File>,
}

impl LogFile {
    /// One that is no part of the log.
    pub(in crate::ring) const fn plain(file: File) -> Self {
        Self { append: file, over: None }
    }

    /// For what only such files need.
    pub(in crate::ring) const fn file(&self) -> &File {
        &self.append
    }
}

impl LogStorage for LogFiles {
    type File = LogFile;

    fn list(&mut self) -> io::Result<Vec<Position>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            found.extend(entry?.file_name().to_str().and_then(position_of));
        }
        found.sort_unstable();
        Ok(found)
    }

    fn open(&mut self, name: Position) -> io::Result<(LogFile, u64)> {
        let (path, writable) = (self.path(name), self.dir.is_some());
        let append = OpenOptions::new().read(true).append(writable).open(&path)?;
        let bytes = append.metadata()?.len();
        let over = if writable { Some(OpenOptions::new().write(true).open(&path)?) } else { None };
        Ok((LogFile { append, over }, bytes))
    }

    fn create(&mut self, name: Position) -> io::Result<LogFile> {
        // everything a client stores is in it: for this user only
        let path = self.path(name);
        let append = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path)?;
        Ok(LogFile { append, over: Some(OpenOptions::new().write(true).open(path)?) })
    }

    fn read(&mut self, file: &LogFile, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        file.append.read_at(into, offset)
    }

    fn append(&mut self, file: &LogFile, bytes: &[u8]) -> io::Result<usize> {
        rustix::io::write(&file.append, bytes).map_err(io::Error::from)
    }

    fn write_over(&mut self, file: &LogFile, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let over = file.over.as_ref().expect("a log's file that was opened to be written");
        rustix::io::pwrite(over, bytes, offset).map_err(io::Error::from)
    }

    fn truncate(&mut self, file: &LogFile, bytes: u64) -> io::Result<()> {
        file.append.set_len(bytes)
    }

    fn sync(&mut self, file: &LogFile) -> io::Result<()> {
        rustix::fs::fdatasync(&file.append).map_err(io::Error::from)
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        self.writable().sync()
    }

    fn remove(&mut self, name: Position) -> io::Result<()> {
        remove(&self.path(name))
    }

    fn descriptor(&self, file: &LogFile) -> RawFd {
        file.append.as_raw_fd()
    }

    fn path(&self, name: Position) -> PathBuf {
        self.path.join(format!("log.{:020}", name.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_log_files_have_positions() {
        assert_eq!(position_of("log.00000000000000000042"), Some(Position(42)));
        for name in
            ["lock", "log.42", "log.0000000000000000004x", "log.99999999999999999999", "log.+0000000000000000042"]
        {
            assert_eq!(position_of(name), None, "{name}");
        }
    }
}
