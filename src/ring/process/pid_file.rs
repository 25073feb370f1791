//! `-P`: the file that names this process.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The pid file; dropping it removes the file, if it still names this process.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    pid: u32,
}

impl PidFile {
    /// Writes this process' id, by way of a second file and a rename, so that nobody reads half a number.
    ///
    /// # Errors
    /// The file system's.
    pub fn create(path: PathBuf) -> io::Result<Self> {
        let pid = std::process::id();
        if let Some(other) = read(&path).filter(|&other| other != pid && is_alive(other)) {
            // memcached's way: say it and go on, the file may be from before a reboot
            tracing::warn!("the pid file {} names process {other}, which is running", path.display());
        }
        let mut fresh = path.clone().into_os_string();
        fresh.push(".tmp");
        let fresh = PathBuf::from(fresh);
        let mut file = fs::File::create(&fresh)?;
        writeln!(file, "{pid}")?;
        drop(file);
        fs::rename(&fresh, &path)?;
        Ok(Self { path, pid })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if read(&self.path) == Some(self.pid)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("the pid file {} stays: {error}", self.path.display());
        }
    }
}

fn read(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    // a process of another user answers EPERM, and is alive
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}
