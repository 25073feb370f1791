//! What the disk's faults are called: each one sentence with its remedy, and the exit code of sysexits.h.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::cluster::codec::CodecFault;
use crate::keystore::KeystoreFault;
use crate::log::{Corruption, LogId};

/// Why a data directory cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// The directory cannot be made.
    Create {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It is there and cannot be opened, or something in it.
    Open {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another server has it.
    Locked {
        /// The directory.
        path: PathBuf,
        /// Its process, when it is known.
        pid: Option<u32>,
    },
    /// It holds no log.
    NoLog {
        /// The directory.
        path: PathBuf,
    },
    /// A file cannot be read, written or synced.
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The log was whole once and is not now.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The place.
        corruption: Box<Corruption>,
    },
    /// The keystore is not what was written, and nobody else has its data.
    Keystore {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: KeystoreFault,
    },
    /// The record of a cluster's server is not what was written.
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: CodecFault,
    },
    /// Files of the directory are of different logs, or there is a gap between them.
    Mixed {
        /// The directory.
        path: PathBuf,
        /// What does not fit.
        what: &'static str,
    },
    /// It is a cluster server's, and was opened for a server that stands alone.
    OfCluster {
        /// The directory.
        path: PathBuf,
        /// The cluster.
        cluster: LogId,
    },
    /// Whoever was given the entries cannot take them; the text says why.
    Refused(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { path, error } => write!(
                f,
                "cannot create the data directory {}: {error}; choose another with --data-dir, or make it yourself and \
                 let this user write to it",
                path.display()
            ),
            Self::Open { path, error } if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "cannot open {}: {error}; give it to the user that runs this program", path.display())
            }
            Self::Open { path, error } => write!(
                f,
                "cannot open {}: {error}; the data directory must be a directory that this user may read and write",
                path.display()
            ),
            Self::Locked { path, pid: Some(pid) } => write!(
                f,
                "the data directory {} is in use by another server (process {pid}); stop that one, or choose another \
                 with --data-dir",
                path.display()
            ),
            Self::Locked { path, pid: None } => write!(
                f,
                "the data directory {} is in use by another server; stop that one, or choose another with --data-dir",
                path.display()
            ),
            Self::NoLog { path } => {
                write!(f, "there is no log in {}; name the directory that a server has as --data-dir", path.display())
            }
            Self::Io { doing, path, error } => write!(
                f,
                "cannot {doing} {}: {error}; check the disk and the kernel's log, then start again",
                path.display()
            ),
            Self::Corrupt { path, corruption } => write!(
                f,
                "the log is corrupt: {} {corruption}; nothing was changed, `store log verify` shows what is whole: \
                 restore the directory from a replica or a backup",
                path.display()
            ),
            Self::Keystore { path, fault } => write!(
                f,
                "the keystore {} is damaged: {fault}; nothing was changed: restore the directory from a replica or a backup",
                path.display()
            ),
            Self::Record { path, fault } => write!(
                f,
                "the server's record {} is damaged: {fault}; move the whole directory away and start again: as a new server \
                 it gets its data from the cluster",
                path.display()
            ),
            Self::Mixed { path, what } => write!(
                f,
                "the files in {} do not belong together: {what}; nothing was changed: restore the directory from a backup, or \
                 move it away so that the server gets its data from the cluster",
                path.display()
            ),
            Self::OfCluster { path, cluster } => write!(
                f,
                "the data directory {} belongs to a server of cluster {cluster}; start it with --lb, or choose another \
                 directory with --data-dir",
                path.display()
            ),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for OpenError {}

impl OpenError {
    /// The exit code that says it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Create { .. } => 73,
            Self::Open { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => 77,
            Self::Open { error, .. } if error.kind() == io::ErrorKind::NotADirectory => 73,
            Self::Open { .. } | Self::NoLog { .. } => 66,
            Self::Locked { .. } => 75,
            Self::Io { .. } => 74,
            Self::Corrupt { .. } | Self::Keystore { .. } | Self::Record { .. } | Self::Mixed { .. } => 65,
            Self::OfCluster { .. } => 78,
            Self::Refused(_) => 70,
        }
    }
}

/// An error of the disk after which nothing may be promised any more: the server stops. It is never tried again, because
/// the kernel may have dropped what it could not write.
#[derive(Debug)]
pub struct Fatal {
    /// What was tried.
    pub doing: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {} {}: {}; the server stops so that it acknowledges nothing it may lose: check the disk and the \
             kernel's log, then start it again",
            self.doing,
            self.path.display(),
            self.error
        )
    }
}

impl std::error::Error for Fatal {}

impl Fatal {
    /// The exit code that says it: input/output error.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        74
    }
}
