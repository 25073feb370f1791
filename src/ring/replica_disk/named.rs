//! Small files as a whole, and what is said when something cannot be done to a file.

use std::io;

use super::storage::{Name, ReplicaStorage};
use crate::config;
use crate::ring::disk::writer::append_some;
use crate::ring::disk::{Fatal, OpenError};

/// At a start: the server does not come up.
pub fn open_error<S: ReplicaStorage>(
    storage: &S,
    doing: &'static str,
    name: Name,
) -> impl FnOnce(io::Error) -> OpenError + use<S> {
    let path = storage.path_named(name);
    move |error| OpenError::Io { doing, path, error }
}

/// Later: the server stops.
pub fn fatal<S: ReplicaStorage>(
    storage: &S,
    doing: &'static str,
    name: Name,
) -> impl FnOnce(io::Error) -> Fatal + use<S> {
    let path = storage.path_named(name);
    move |error| Fatal { doing, path, error }
}

/// All bytes of a small file, if it is there. A larger one is none of ours: its first bytes are enough to see that.
pub fn read_small<S: ReplicaStorage>(storage: &mut S, name: Name) -> io::Result<Option<Vec<u8>>> {
    let Some((file, bytes)) = storage.open_named(name)? else { return Ok(None) };
    let mut read = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX).min(config::SMALL_FILE_BYTES_MAX)];
    let done = read_at(storage, &file, 0, &mut read)?;
    read.truncate(done);
    Ok(Some(read))
}

/// Reads until `into` is full or the file ends; how many bytes that were.
pub fn read_at<S: ReplicaStorage>(storage: &mut S, file: &S::File, at: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match storage.read(file, at + done as u64, &mut into[done..]) {
            Ok(0) => break,
            Ok(bytes) => done += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all bytes behind the file's end.
pub fn append_all<S: ReplicaStorage>(storage: &mut S, file: &S::File, bytes: &[u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        done += append_some(storage, file, &bytes[done..])?;
    }
    Ok(())
}

/// Replaces what a file holds, in the room that it has: whoever reads it later sees by itself whether it is whole.
pub fn overwrite<S: ReplicaStorage>(storage: &mut S, name: Name, bytes: &[u8]) -> io::Result<S::File> {
    let file = match storage.open_named(name)? {
        Some((file, _)) => file,
        None => storage.create_named(name)?,
    };
    storage.overwrite(&file, bytes)?;
    Ok(file)
}
