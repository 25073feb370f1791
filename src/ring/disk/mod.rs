//! The log's files: directory, lock, recovery, appending. Owns every byte that goes to or comes from the disk; what the
//! bytes mean is `log`'s.
//!
//! ```text
//! DataDir::open (lock) -> recover: sync, read, judge, replay, cut -> LogWriter
//!                                                                      append    write(2) of a turn's frames, and room for more
//!                                                                      next_sync what the shell shall fdatasync now (Cadence)
//!                                                                      on_synced what is durable since
//! ```

mod cadence;
mod dir;
mod error;
pub(in crate::ring) mod recover;
mod rewrite;
mod room;
mod storage;
#[cfg(test)]
mod tests;
pub(in crate::ring) mod writer;

pub use dir::DataDir;
pub use error::{Fatal, OpenError};
pub use recover::{read, recover};
pub use storage::{LogFile, LogFiles, LogStorage};
pub(in crate::ring) use storage::{forget, remove};
pub use writer::{Appended, LogWriter, SyncRequest, Synced};
