//! The data directory and its lock: one server for each.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::error::OpenError;

/// A data directory that this process has for itself, until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    dir: File,
    /// Held, never read: closing it gives the directory free.
    _lock: File,
}

impl DataDir {
    /// Opens the directory, which is made when it does not exist, and locks it.
    ///
    /// # Errors
    /// When that cannot be done, or another server has it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        make(path).map_err(|error| OpenError::Create { path: path.to_path_buf(), error })?;
        let open_failed = |error| OpenError::Open { path: path.to_path_buf(), error };
        let dir = OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::DIRECTORY.bits().cast_signed())
            .open(path)
            .map_err(open_failed)?;
        let lock = lock(path)?;
        Ok(Self { path: path.to_path_buf(), dir, _lock: lock })
    }

    /// Its path as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns when the names of its files are on the disk.
    ///
    /// # Errors
    /// The system's.
    pub fn sync(&self) -> io::Result<()> {
        self.dir.sync_all()
    }
}

/// Makes the directory and those above it that do not exist, each durable in the one above it.
fn make(path: &Path) -> io::Result<()> {
    let missing: Vec<_> = path
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.try_exists().unwrap_or(true))
        .collect();
    for path in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

/// Takes the lock file; it goes with the process, however that ends.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let open_failed = |error| OpenError::Open { path: path.clone(), error };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(open_failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            // only for the message: a holder that could not write its number is as good
            let _ = file.read_to_string(&mut holder);
            return Err(OpenError::Locked { path: dir.to_path_buf(), pid: holder.trim().parse().ok() });
        }
        Err(error) => return Err(open_failed(error.into())),
    }
    // for the message above, no more: on a full disk the lock holds without it
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}
