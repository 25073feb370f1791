//! The load balancer's directory: the newest configuration and how often it was started. A configuration is written whole into
//! a new file, synced, renamed over the old one, and the directory synced, before it is told to anyone (R1).

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cluster::Configuration;
use crate::cluster::codec::{self, CodecFault};
use crate::log::Incarnation;
use crate::ring::disk::{DataDir, OpenError};

/// The newest configuration.
const CONFIGURATION: &str = "configuration";
/// How often the load balancer was started, a decimal number.
const STARTS: &str = "starts";
/// What is written before it gets its name.
const NEW: &str = "new";

/// Why the directory cannot be used.
#[derive(Debug)]
pub enum RecordError {
    /// It cannot be opened, or another load balancer has it.
    Directory(OpenError),
    /// A file cannot be read or written.
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The configuration is not what this version wrote.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: CodecFault,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(error) => error.fmt(f),
            Self::File { path, error } => {
                write!(f, "cannot use {}: {error}; check the disk, then start again", path.display())
            }
            Self::Damaged { path, fault } => write!(
                f,
                "the configuration in {} is damaged: {fault}; move it away and start with --recover, which takes the \
                 newest one that the servers have",
                path.display()
            ),
        }
    }
}

impl RecordError {
    /// The exit code that says it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Directory(error) => error.exit_code(),
            Self::File { .. } => 74,
            Self::Damaged { .. } => 65,
        }
    }
}

/// The directory, which this process has for itself.
#[derive(Debug)]
pub struct RecordDir {
    dir: DataDir,
}

impl RecordDir {
    /// Opens it, makes it when it is not there, and counts the start. What it holds, and which start this is.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(path: &Path) -> Result<(Self, Option<Configuration>, Incarnation), RecordError> {
        let dir = DataDir::open(path).map_err(RecordError::Directory)?;
        let here = Self { dir };
        let configuration = here.read_configuration()?;
        let starts = here.read(STARTS)?.and_then(|bytes| String::from_utf8(bytes).ok()?.trim().parse::<u64>().ok());
        let starts = starts.unwrap_or(0) + 1;
        here.replace(STARTS, format!("{starts}\n").as_bytes())?;
        Ok((here, configuration, Incarnation(starts)))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, RecordError> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RecordError::File { path, error }),
        }
    }

    fn read_configuration(&self) -> Result<Option<Configuration>, RecordError> {
        let path = self.path(CONFIGURATION);
        let decode = |bytes: Vec<u8>| codec::decode_configuration(&bytes);
        let read = self.read(CONFIGURATION)?.map(decode).transpose();
        read.map_err(|fault| RecordError::Damaged { path, fault })
    }

    /// Makes a configuration durable.
    ///
    /// # Errors
    /// The system's: then nothing is known of what is on the disk, and the process must end.
    pub fn write(&self, configuration: &Configuration) -> Result<(), RecordError> {
        self.replace(CONFIGURATION, &codec::encode_configuration(configuration))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), RecordError> {
        let path = self.path(name);
        let write = || {
            let new = self.path(NEW);
            let mut file = fs::File::create(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            self.dir.sync()
        };
        write().map_err(|error| RecordError::File { path: path.clone(), error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Member;
    use crate::log::{Epoch, LogId, NodeId};

    #[test]
    fn a_configuration_is_there_after_a_restart_and_starts_are_counted() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lb");
        let (here, found, starts) = RecordDir::open(&path).expect("made");
        assert_eq!((found, starts), (None, Incarnation(1)));
        let configuration = Configuration {
            cluster: LogId(5),
            epoch: Epoch(2),
            leader: NodeId(1),
            leader_incarnation: Incarnation(1),
            members: vec![Member { node: NodeId(1), contact: "127.0.0.1:1 127.0.0.1:2".into() }],
            min_insync: 2,
            forced: Epoch(0),
        };
        here.write(&configuration).expect("written");
        assert!(matches!(RecordDir::open(&path), Err(RecordError::Directory(OpenError::Locked { .. }))));
        drop(here);
        // a crash in the middle of the next write leaves this
        fs::write(path.join(NEW), b"ringconf half").expect("written");
        let (here, found, starts) = RecordDir::open(&path).expect("it is free");
        assert_eq!((found, starts), (Some(configuration), Incarnation(2)));
        drop(here);
        fs::write(path.join(CONFIGURATION), b"ringconf nothing").expect("written");
        let error = RecordDir::open(&path).expect_err("damaged");
        assert!(error.to_string().contains("--recover"), "{error}");
        assert_eq!(error.exit_code(), 65);
    }
}
